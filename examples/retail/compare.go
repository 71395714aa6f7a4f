package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	cartwheel "github.com/cartwheel-db/cartwheel/sdk"
)

// difference is a value that one node shows and the file does not.
type difference struct {
	endpoint  string
	at        address
	want, got string
}

func (d difference) String() string {
	return fmt.Sprintf("%s through %s: want %s, got %s", d.at, d.endpoint, short(d.want), short(d.got))
}

func short(picture string) string {
	const most = 300
	if len(picture) <= most {
		return picture
	}
	return fmt.Sprintf("%s... (%d bytes)", picture[:most], len(picture))
}

// look reads one value at quorum and draws its picture.
func look(ctx context.Context, db *cartwheel.DB, at address) (string, error) {
	switch at.kind {
	case cartwheel.TypeSet:
		var members []string
		for member, err := range db.Set(at.bucket, at.key).Members(ctx) {
			if err != nil {
				return "", err
			}
			members = append(members, member.Name)
		}
		return pictureOfSet(members), nil
	case cartwheel.TypeCounter:
		var info cartwheel.Info
		total, err := db.Counter(at.bucket, at.key).With(cartwheel.Report(&info)).Get(ctx)
		if info.Saturated {
			return fmt.Sprintf("saturated at %d", total), err
		}
		return strconv.FormatInt(total, 10), err
	case cartwheel.TypeRegister:
		value, err := db.Register(at.bucket, at.key).Get(ctx)
		if !value.Exists {
			return "absent", err
		}
		return pictureOfBytes(value.Value), err
	case cartwheel.TypeBlob:
		value, err := db.Blob(at.bucket, at.key).Get(ctx)
		if len(value.Siblings) != 1 {
			return fmt.Sprintf("%d siblings %q", len(value.Siblings), value.Siblings), err
		}
		return pictureOfBytes(value.Siblings[0]), err
	default:
		return "", fmt.Errorf("%s: no such type", at)
	}
}

// compare reads values through one node and no other, and returns those that
// differ from what is wanted.
func compare(ctx context.Context, endpoint string, want pictures, readers int, progress func()) ([]difference, figures, error) {
	db, err := cartwheel.Open(ctx, []string{endpoint}, cartwheel.WithoutRouting(), cartwheel.WithTimeout(patience))
	if err != nil {
		return nil, figures{}, err
	}
	defer db.Close()
	var mu sync.Mutex
	var differences []difference
	var took []time.Duration
	began := time.Now()
	all, ctx := errgroup.WithContext(ctx)
	all.SetLimit(readers)
	for at, picture := range want {
		all.Go(func() error {
			began := time.Now()
			got, err := look(ctx, db, at)
			if err != nil {
				return fmt.Errorf("through %s: %w", endpoint, err)
			}
			progress()
			mu.Lock()
			defer mu.Unlock()
			took = append(took, time.Since(began))
			if got != picture {
				differences = append(differences, difference{endpoint: endpoint, at: at, want: picture, got: got})
			}
			return nil
		})
	}
	err = all.Wait()
	slices.Sort(took)
	slices.SortFunc(differences, func(a, b difference) int { return cmp.Compare(a.at.String(), b.at.String()) })
	stats := db.Stats()
	return differences, figures{
		operations: len(took), elapsed: time.Since(began), took: took,
		retried: stats.RetriedOperations, failovers: stats.Failovers,
	}, err
}

// compareEach is compare through one node after the other.
func compareEach(ctx context.Context, endpoints []string, want pictures, readers int, progress func()) ([]difference, figures, error) {
	var differences []difference
	var sum figures
	for _, endpoint := range endpoints {
		found, f, err := compare(ctx, endpoint, want, readers, progress)
		if err != nil {
			return nil, figures{}, err
		}
		differences = append(differences, found...)
		sum.operations += f.operations
		sum.elapsed += f.elapsed
		sum.retried += f.retried
		sum.failovers += f.failovers
		sum.took = append(sum.took, f.took...)
	}
	slices.Sort(sum.took)
	return differences, sum, nil
}

// settling is what happened between the last acknowledgement and the reading.
type settling struct {
	took    time.Duration
	touched int // values that retried operations wrote or read
	early   int // of which differed at first, summed over the nodes
	settled bool
}

func (s settling) String() string {
	text := fmt.Sprintf("all nodes ready, %.1f s after the last acknowledgement", s.took.Seconds())
	if s.touched == 0 {
		return text + "; no operation was retried"
	}
	text += fmt.Sprintf("; of the %d values that retried operations touched, %d differed at the first look", s.touched, s.early)
	if s.early > 0 && s.settled {
		text += " and none at the last"
	} else if !s.settled {
		text += " and some to the last"
	}
	return text
}

// settleTime bounds the waiting. It decides nothing: what is read afterwards does.
const settleTime = 30 * time.Second

// settle waits for what a failure leaves behind. A node that died with an
// increment nobody heard of, which its client then repeated elsewhere, brings that
// increment back when it returns; until it has met its peers, a read may show both.
// So: all nodes ready and in reach of each other, and the values of all operations
// that were tried more than once as expected, or the time is up.
func (r *replay) settle(ctx context.Context, want pictures) (settling, error) {
	touched := pictures{}
	for _, operation := range r.retried {
		touched[operation.at] = want[operation.at]
	}
	s := settling{touched: len(touched)}
	began := time.Now()
	limit, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	ready := func() (bool, error) { return allReady(limit, r.endpoints) }
	if err := await(limit, ready); err != nil {
		return s, fmt.Errorf("not all nodes became ready in %v: %w", settleTime, err)
	}
	first := true
	err := await(limit, func() (bool, error) {
		found, _, err := compareEach(limit, r.endpoints, touched, r.clients, func() {})
		if err != nil {
			return false, err
		}
		if first {
			s.early, first = len(found), false
		}
		// Look again only at what was not right yet.
		again := map[address]bool{}
		for _, d := range found {
			again[d.at] = true
		}
		maps.DeleteFunc(touched, func(at address, _ string) bool { return !again[at] })
		return len(found) == 0, nil
	})
	s.took, s.settled = time.Since(began), err == nil
	return s, ctx.Err()
}

// await asks again and again, a little more patiently each time, until the answer
// is yes. When the time is up it returns the last error, or that of the context.
func await(ctx context.Context, asked func() (bool, error)) error {
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, 250*time.Millisecond) {
		yes, err := asked()
		if yes && err == nil {
			return nil
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return cmp.Or(err, ctx.Err())
		}
	}
}

// allReady reports whether each node has caught up with all it owns and finds all
// the others. The error says who has not.
func allReady(ctx context.Context, endpoints []string) (bool, error) {
	for _, endpoint := range endpoints {
		status, err := statusOf(ctx, endpoint)
		if err != nil {
			return false, err
		}
		if status.Ready < status.Owned || status.Owned == 0 || len(status.Peers) < len(endpoints)-1 {
			return false, fmt.Errorf("%s is %s: %d of %d partitions ready, knows %d peers",
				endpoint, status.Node.State, status.Ready, status.Owned, len(status.Peers))
		}
		for _, peer := range status.Peers {
			if !peer.Alive || !peer.Reachable {
				return false, fmt.Errorf("%s does not find %s: alive %t, reachable %t",
					endpoint, peer.Node.APIAddress, peer.Alive, peer.Reachable)
			}
		}
	}
	return true, nil
}

func statusOf(ctx context.Context, endpoint string) (cartwheel.Status, error) {
	db, err := cartwheel.Open(ctx, []string{endpoint}, cartwheel.WithTimeout(2*time.Second))
	if err != nil {
		return cartwheel.Status{}, err
	}
	defer db.Close()
	return db.Cluster().Status(ctx)
}
