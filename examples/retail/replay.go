package main

import (
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	cartwheel "github.com/cartwheel-db/cartwheel/sdk"
)

// patience bounds one operation with all its retries. It outlasts the death and
// return of a node: a replay of which one outcome is unknown proves nothing.
const patience = time.Minute

// replay sends a job to a cluster.
type replay struct {
	endpoints []string
	clients   int
	lanes     int            // queues that one client serves at once
	progress  func(done int) // after each step, from many goroutines; may hold them up

	inFlight atomic.Int64 // operations begun and not yet answered

	mu      sync.Mutex
	took    []time.Duration // of each operation
	retried []attempted     // operations that took more than one attempt
	kinds   map[string]int  // operations by name
}

// attempted is an operation that had to be tried again.
type attempted struct {
	at    address
	began time.Time
}

// figures are what a replay or a reading came to.
type figures struct {
	operations int
	elapsed    time.Duration
	took       []time.Duration // sorted
	retried    uint64          // operations
	failovers  uint64
}

func (f figures) String() string {
	return fmt.Sprintf("%d operations in %.1f s: %.0f/s, p50 %.1f ms, p99 %.1f ms, slowest %.0f ms; %d retried, %d failovers",
		f.operations, f.elapsed.Seconds(), float64(f.operations)/f.elapsed.Seconds(),
		ms(f.percentile(50)), ms(f.percentile(99)), ms(f.percentile(100)), f.retried, f.failovers)
}

func (f figures) percentile(p int) time.Duration {
	if len(f.took) == 0 {
		return 0
	}
	return f.took[(len(f.took)-1)*p/100]
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// client is one user of the cluster, with connections of its own.
type client struct {
	db *cartwheel.DB
	r  *replay
}

// send replays the job and returns when every operation was acknowledged. Queues
// go to clients by the hash of their name, so a customer meets one client only,
// and a client serves the longest queue first: the guests' would else outlast all.
func (r *replay) send(ctx context.Context, j job) (figures, error) {
	share := make([][]queue, r.clients)
	for _, q := range j.queues {
		hash := fnv.New32a()
		_, _ = hash.Write([]byte(q.name))
		mine := &share[hash.Sum32()%uint32(r.clients)]
		*mine = append(*mine, q)
	}
	clients := make([]*client, r.clients)
	for i := range clients {
		db, err := cartwheel.Open(ctx, rotated(r.endpoints, i), cartwheel.WithRotation(), cartwheel.WithTimeout(patience))
		if err != nil {
			return figures{}, err
		}
		defer db.Close()
		clients[i] = &client{db: db, r: r}
	}
	r.kinds = map[string]int{}
	var done atomic.Int64
	began := time.Now()
	all, ctx := errgroup.WithContext(ctx)
	for i, c := range clients {
		slices.SortStableFunc(share[i], func(a, b queue) int { return cmp.Compare(len(b.steps), len(a.steps)) })
		all.Go(func() error { return c.serve(ctx, share[i], &done) })
	}
	err := all.Wait()
	f := figures{operations: len(r.took), elapsed: time.Since(began), took: slices.Sorted(slices.Values(r.took))}
	for _, c := range clients {
		stats := c.db.Stats()
		f.retried += stats.RetriedOperations
		f.failovers += stats.Failovers
	}
	return f, err
}

// rotated begins the list elsewhere for every client.
func rotated(endpoints []string, by int) []string {
	by %= len(endpoints)
	return slices.Concat(endpoints[by:], endpoints[:by])
}

func (c *client) serve(ctx context.Context, queues []queue, done *atomic.Int64) error {
	lanes, ctx := errgroup.WithContext(ctx)
	lanes.SetLimit(c.r.lanes)
	for _, q := range queues {
		lanes.Go(func() error {
			for _, replay := range q.steps {
				if err := replay(ctx, c); err != nil {
					return err
				}
				c.r.progress(int(done.Add(1)))
			}
			return nil
		})
	}
	return lanes.Wait()
}

// do measures one operation.
func (c *client) do(name string, at address, operation func(report cartwheel.CallOption) error) error {
	var info cartwheel.Info
	began := time.Now()
	c.r.inFlight.Add(1)
	err := operation(cartwheel.Report(&info))
	c.r.inFlight.Add(-1)
	c.r.mu.Lock()
	defer c.r.mu.Unlock()
	c.r.took = append(c.r.took, time.Since(began))
	c.r.kinds[name]++
	if info.Attempts > 1 {
		c.r.retried = append(c.r.retried, attempted{at: at, began: began})
	}
	return err
}

func (c *client) add(ctx context.Context, at address, members ...string) error {
	return c.do("set.add", at, func(report cartwheel.CallOption) error {
		return c.db.Set(at.bucket, at.key).With(report).Add(ctx, members...)
	})
}

func (c *client) remove(ctx context.Context, at address, members ...string) error {
	return c.do("set.remove", at, func(report cartwheel.CallOption) error {
		return c.db.Set(at.bucket, at.key).With(report).Remove(ctx, members...)
	})
}

func (c *client) count(ctx context.Context, at address, delta int64) error {
	return c.do("counter.add", at, func(report cartwheel.CallOption) error {
		_, err := c.db.Counter(at.bucket, at.key).With(report).Add(ctx, delta)
		return err
	})
}

func (c *client) total(ctx context.Context, at address) (total int64, err error) {
	err = c.do("counter.get", at, func(report cartwheel.CallOption) error {
		total, err = c.db.Counter(at.bucket, at.key).With(report).Get(ctx)
		return err
	})
	return total, err
}

func (c *client) set(ctx context.Context, at address, value []byte) error {
	return c.do("register.set", at, func(report cartwheel.CallOption) error {
		return c.db.Register(at.bucket, at.key).With(report).Set(ctx, value)
	})
}

func (c *client) put(ctx context.Context, at address, value []byte) error {
	return c.do("blob.put", at, func(report cartwheel.CallOption) error {
		_, err := c.db.Blob(at.bucket, at.key).With(report).Put(ctx, value, "")
		return err
	})
}
