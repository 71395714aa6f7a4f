package replica_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/replica"
	"github.com/cartwheel-db/cartwheel/replica/replicatest"
	"github.com/cartwheel-db/cartwheel/ring"
	"github.com/cartwheel-db/cartwheel/server/peer"
)

// Everything a snapshot commits, from the first page to the last piece, is a
// place to crash at: before the commit, or right behind it.
func TestACrashAtAnyCommitOfASnapshotLosesNothing(t *testing.T) {
	run := func(at int, doomed doom) (commits int, s replica.Stats) {
		w := newRelay(t, func(c *replica.Config) { c.SnapshotRate, c.BatchBytes = 16<<10, 2<<10 })
		first, other, _ := w.apart(30)
		w.dooms = func(n *post) doom {
			if n == other && n.commits == at {
				return doomed
			}
			return survives
		}
		w.open(first, other)
		w.until("alike", 60*second, func() bool {
			if other.shard == nil {
				w.open(other)
			}
			return w.alike(first, other)()
		})
		s = other.shard.Totals()
		w.wait(40 * second)
		w.truth(first, other)
		return other.commits, s
	}
	commits, calm := run(0, survives)
	if calm.Pieces < 3 || calm.Promoted != 1 {
		t.Fatalf("%d commits, %+v: it is to be promoted in pieces", commits, calm)
	}
	resumed := uint64(0)
	for at := 1; at <= min(commits, 60); at++ {
		for _, doomed := range []doom{crashesBefore, crashesAfter} {
			_, s := run(at, doomed)
			resumed += s.Resumed
		}
		if t.Failed() {
			t.Fatalf("crash at commit %d of %d", at, commits)
		}
	}
	if resumed < 3 {
		t.Errorf("%d promotions went on after a crash", resumed)
	}
}

// A promotion in pieces into an empty partition puts rows before there is a
// clock. A crash between the pieces is no damage: the promotion goes on.
func TestRowsOfAPromotionThatHasNoClockYetAreNoDamage(t *testing.T) {
	interrupted := 0
	for at := 1; at <= 40; at++ {
		w := newRelay(t, func(c *replica.Config) { c.SnapshotRate, c.BatchBytes = 16<<10, 2<<10 })
		first, other, _ := w.apart(30)
		w.author(first).trim(0)
		other.store = replicatest.NewMemStore()
		w.dooms = func(n *post) doom {
			if n == other && n.commits == at {
				return crashesAfter
			}
			return survives
		}
		w.open(first, other)
		w.until("alike", 60*second, func() bool {
			if other.shard == nil {
				_, promoting, _ := other.store.View().Mark(partition)
				if _, stored, _ := other.store.View().Clock(partition); promoting && !stored {
					interrupted++
				}
				w.open(other)
			}
			return w.alike(first, other)()
		})
		if s := other.shard.Totals(); s.WipedPartitions > 0 || s.DamagedOthers > 0 {
			t.Errorf("crash behind commit %d: %d damaged records, %d partitions begun anew", at, s.DamagedOthers, s.WipedPartitions)
		}
	}
	if interrupted == 0 {
		t.Error("no crash came between the first piece and the clock")
	}
}

// Between the pieces of a promotion the partition speaks to nobody, and takes
// nothing.
func TestAPartitionThatIsPromotedInPiecesIsNoSourceAndTakesNothing(t *testing.T) {
	w := newRelay(t, func(c *replica.Config) { c.BatchBytes = 2 << 10 })
	first, other, groups := w.apart(60)
	asked, refused, spoken := 0, 0, []string{}
	stranger := ring.NodeID("stranger")
	w.heard = func(n *post, s replica.Send) {
		if n != other || s.To != stranger {
			return
		}
		switch m := s.Message.(type) {
		case replica.CutHead:
			if m.Cut == 0 {
				return
			}
		case replica.Answered:
			if m.Failed {
				return
			}
		case replica.Forwarded:
			if f := m.Result.Failure; f != nil && f.Reason == replica.Internal && !f.Unknown {
				refused++
				return
			}
		}
		spoken = append(spoken, fmt.Sprintf("%T", s.Message))
	}
	var late []crdt.Group
	w.done = func(n *post) {
		if _, promoting, _ := n.store.View().Mark(partition); n != other || !promoting {
			return
		}
		asked++
		before := n.store.View()
		for _, m := range []replica.Message{
			replica.CatchUp{Partition: partition}, replica.Offer{Partition: partition, Ring: w.ring.Hash()}, replica.CutOpen{ID: 7, Partition: partition},
			replica.Replicate{Batch: []replica.Shipment{{Partition: partition, Groups: append(late, groups[10])}}},
			replica.Events{Partition: partition, Groups: late},
			replica.Asking{ID: 7, Partition: partition, Query: replica.Query{Key: w.key(crdt.Set, 0), Fields: []string{"mine"}}},
			replica.Forward{ID: uint64(asked), W: 1, Left: second, Mutation: *w.add(w.key(crdt.Set, 0), "forwarded")},
		} {
			n.shard.Receive(w.clock(), stranger, m)
			w.take(n)
		}
		if now := n.store.View(); !bytes.Equal(mustDump(t, before), mustDump(t, now)) {
			t.Errorf("something changed without a commit")
		}
	}
	c := w.author(w.posts[2])
	c.take(groups...)
	late = c.write(w.remove(w.key(crdt.Set, 0), "member 000003"), w.add(w.key(crdt.Set, 0), "late"))
	w.open(first, other)
	w.until("promoted", 30*second, func() bool { return other.shard.Totals().Promoted == 1 })
	if asked < 3 || refused != asked || len(spoken) > 0 {
		t.Errorf("asked %d times between the pieces, it refused %d writes, and answered %v", asked, refused, spoken)
	}
	if err := other.store.View().Log(partition, other.clockOf(), func(g crdt.Group, _ int) bool {
		if g.Actor == late[0].Actor {
			t.Errorf("%v was taken between the pieces", g)
		}
		return true
	}); err != nil {
		t.Fatal(err)
	}
	w.done = nil
	w.wait(20 * second)
	for _, g := range late {
		delete(w.minted, g.Dot(0))
	}
	w.truth(first, other)
}

func TestASnapshotNeverHoldsMoreThanAPageInMemoryNorJoinsMoreThanAPieceAtOnce(t *testing.T) {
	w := newRelay(t, nil)
	first, other := w.posts[0], w.posts[1]
	a := w.author(first)
	const rowBytes = 2000
	for range 15 {
		var ms []*replica.Mutation
		for range 100 {
			m := w.add(w.key(crdt.Set, 0), fmt.Sprintf("member %06d", w.issued))
			m.Changes[0].Note = make([]byte, rowBytes)
			ms = append(ms, m)
		}
		a.write(ms...)
	}
	a.trim(0)
	page, waiting, piece := 0, 0, 0
	w.heard = func(n *post, s replica.Send) {
		if m, ok := s.Message.(replica.CutPage); ok {
			page = max(page, len(peer.Append(nil, m)))
		}
		inFlight := 0
		for _, l := range other.inbox {
			if _, ok := l.message.(replica.CutPage); ok {
				inFlight++
			}
		}
		waiting = max(waiting, inFlight)
	}
	w.done = func(n *post) {
		if n == other {
			piece = max(piece, n.written)
		}
	}
	w.open(first, other)
	w.until("alike", 60*second, w.alike(first, other))
	w.wait(10 * second)
	w.truth(first, other)
	if page > 256<<10+2*rowBytes || page < 200<<10 {
		t.Errorf("a page of %d bytes", page)
	}
	if limit := (replica.Config{}).Defaults().BatchBytes/4 + 2*rowBytes; piece > limit || piece < limit/2 {
		t.Errorf("%d bytes of rows joined in one commit, want about %d", piece, limit)
	}
	if s := other.shard.Totals(); waiting > 1 || s.Pieces < 4 || s.RowsStaged != 1500 {
		t.Errorf("%d pages at once, %+v", waiting, s)
	}
}

// stageless is a transaction that cannot read a staged row.
type stageless struct {
	replica.Tx
	bad func() bool
}

func (t stageless) AllStaged(p int, from []byte, fn func(key, value []byte) bool) error {
	var met error
	err := t.Tx.AllStaged(p, from, func(key, value []byte) bool {
		if key[0] == 'r' && t.bad() {
			met = &damagedRecord{part: "staged", partition: p, key: string(key)}
			return true
		}
		return fn(key, value)
	})
	if err == nil {
		err = met
	}
	return err
}

func TestAPromotionWhoseStageCannotBeReadBeginsThePartitionAnew(t *testing.T) {
	w := newRelay(t, func(c *replica.Config) { c.BatchBytes = 2 << 10 })
	first, other, _ := w.apart(60)
	other.watch = func(tx replica.Tx) replica.Tx {
		return stageless{tx, func() bool {
			_, promoting, _ := tx.Mark(partition)
			return promoting && other.shard.Totals().StagesLost == 0
		}}
	}
	w.open(first, other)
	w.until("alike", 60*second, func() bool { return other.shard.Totals().StagesLost == 1 && w.alike(first, other)() })
	w.wait(40 * second)
	w.truth(first, other)
	if s := other.shard.Totals(); s.Promoted != 1 || s.Rotations > 0 {
		t.Errorf("%+v", s)
	}
}
