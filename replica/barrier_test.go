package replica_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica"
	"github.com/cartwheel-db/cartwheel/replica/replicatest"
	"github.com/cartwheel-db/cartwheel/ring"
)

func withBarrier(c *replica.Config) { c.NoBarrier = false }

// state is what a node says of the only partition.
func (w *trio) state(m *member) replica.State {
	for _, h := range m.shard.Health(w.clock()) {
		return h.State
	}
	return replica.Left
}

// stop takes a node off the network; what it was about to say is lost.
func (w *trio) stop(m *member) {
	w.link(m.id, false)
	m.sends = nil
}

// restart opens a stopped node's store again, under a new actor, and plugs it in.
func (w *trio) restart(m *member, actor dvv.Actor, set func(*replica.Config)) {
	w.open(m, actor, set)
	w.link(m.id, false)
	w.link(m.id, true)
}

var carts = crdt.Key{Type: crdt.Set, Bucket: "b", Name: "k"}

// read asks a node at R and lets what follows happen, for as long as the client
// waits.
func (w *trio) read(m *member, r replica.Request, lost func(replica.Send) bool) replica.Result {
	w.t.Helper()
	if r.Query == nil {
		r.Query = &replica.Query{Key: carts, Span: &replica.Span{Limit: 10}}
	}
	r.Deadline = w.clock().Mono + 1000*milli
	w.ask(m, r)
	for until := w.now + 1100*milli; len(m.reply) == 0 && w.now < until; {
		w.run(lost)
		w.now += 10 * milli
		for _, id := range w.first {
			w.nodes[id].shard.Tick(w.clock())
			w.nodes[id].take()
		}
	}
	return w.result(m)
}

func TestAClusterThatStartsGetsReadyByItself(t *testing.T) {
	w := newTrio(t, withBarrier)
	for i := range 3 {
		if got := w.state(w.node(i)); got != replica.Joining {
			t.Errorf("a new node is %v", got)
		}
	}
	w.rounds(3000)
	for i := range 3 {
		if got := w.state(w.node(i)); got != replica.Ready {
			t.Errorf("after three seconds %v is %v", w.node(i).id, got)
		}
	}
	// From cold, with two of three: each has the other, which has been ready.
	w.stop(w.node(2))
	for i := range 2 {
		w.stop(w.node(i))
	}
	for i := range 2 {
		w.open(w.node(i), dvv.Actor(50+i), withBarrier)
		w.node(i).shard.SetLink(w.clock(), w.node(2).id, false)
		if got := w.state(w.node(i)); got != replica.Recovering {
			t.Errorf("a node that was ready before is %v when it opens", got)
		}
	}
	w.rounds(1000)
	if got := w.state(w.node(0)); got != replica.Recovering {
		t.Errorf("%v while the third may still show up", got)
	}
	w.rounds(3000)
	for i := range 2 {
		if got := w.state(w.node(i)); got != replica.Ready {
			t.Errorf("two of three have each other, and %v is %v", w.node(i).id, got)
		}
	}
}

// What each kind of owner waits for before it counts toward R.
func TestWhatTheBarrierWaitsFor(t *testing.T) {
	for _, tc := range []struct {
		name   string
		wiped  bool          // the restarted owner lost its disk
		absent []int         // who stays unreachable
		want   replica.State // in the end
		force  bool
	}{
		{"an owner that was ready needs what all reachable members hold", false, nil, replica.Ready, false},
		{"one other owner that has been ready is enough for it", false, []int{1}, replica.Ready, false},
		{"without another owner it stays recovering", false, []int{1, 2}, replica.Recovering, false},
		{"an owner with an empty disk gets ready by all other owners", true, nil, replica.Ready, false},
		{"and not by one of two", true, []int{1}, replica.Joining, false},
		{"unless an operator says so", true, []int{1}, replica.Ready, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newTrio(t, withBarrier)
			w.rounds(3000)
			gone := w.node(0)
			w.stop(gone)
			w.add(w.node(1), 1, 1, "milk", 5000)
			w.run(nil)
			w.success(w.node(1))
			if tc.wiped {
				gone.store = replicatest.NewMemStore()
			}
			w.open(gone, 77, withBarrier)
			for i := 1; i < 3; i++ {
				if up := !slices.Contains(tc.absent, i); up {
					w.link(w.node(i).id, false)
					w.link(w.node(i).id, true)
				} else {
					w.stop(w.node(i))
				}
			}
			if got := w.state(gone); got == replica.Ready {
				t.Fatalf("%v before anybody was asked", got)
			}
			if res := w.read(gone, replica.Request{ID: 5, R: 1}, func(replica.Send) bool { return true }); res.Failure == nil && !res.Degraded {
				t.Errorf("before it is ready its word alone is taken for an answer at R=1: %+v", res)
			}
			w.rounds(5000)
			if tc.force && !gone.shard.ForceReady(w.clock(), 0) {
				t.Error("it cannot be forced")
			}
			if got := w.state(gone); got != tc.want {
				t.Errorf("it is %v, want %v", got, tc.want)
			}
			if tc.want == replica.Ready && !tc.force && len(w.row(gone, carts.Member("milk")).Live) == 0 {
				t.Error("it is ready and has not what was written meanwhile")
			}
		})
	}
}

// One of three owners is away while another one misses writes that a fallback
// took. When it is back, the two of them are R owners who know nothing of those
// writes: that is what the barrier is there for.
func TestQuorumReadsAreStaleWithoutTheBarrierAndNotWithIt(t *testing.T) {
	// Nothing is repaired for the moment.
	repair := func(s replica.Send) bool {
		switch s.Message.(type) {
		case replica.Digest, replica.CatchUp, replica.Offer, replica.Nudge:
			return true
		}
		return false
	}
	for _, barrier := range []bool{false, true} {
		t.Run(fmt.Sprintf("barrier %t", barrier), func(t *testing.T) {
			set := func(c *replica.Config) { c.NoBarrier = !barrier }
			w := newCrowd(t, 5, 3, set)
			w.rounds(3000)
			away, writer, other := w.node(0), w.node(1), w.node(2)
			w.stop(away)
			// A minute of writes. All that the writer sends to the other owner is lost, so
			// a fallback is its second copy.
			deaf := func(s replica.Send) bool { _, ok := s.Message.(replica.Replicate); return ok && s.To == other.id }
			for i := range uint64(60) {
				w.add(writer, 1+i, 1+i, fmt.Sprintf("item-%02d", i), 5000)
				for until := w.now + 1000*milli; w.now < until; w.now += 50 * milli {
					w.run(func(s replica.Send) bool { return deaf(s) || repair(s) })
					writer.shard.Tick(w.clock())
					writer.take()
				}
				w.success(writer)
			}
			// It is back, and the writer does not answer reads for a moment.
			w.restart(away, 99, set)
			res := w.read(away, replica.Request{ID: 7, R: 2}, func(s replica.Send) bool {
				_, asking := s.Message.(replica.Asking)
				return asking && s.To == writer.id || repair(s)
			})
			missed := res.Failure == nil && !res.Degraded && len(res.Merged.Rows) < 10
			if missed == barrier {
				t.Errorf("R=2 of the owners: stale %t, degraded %t, %v", missed, res.Degraded, res.Failure)
			}
			w.rounds(8000)
			if res := w.read(away, replica.Request{ID: 8, R: 2}, nil); res.Failure != nil || res.Degraded || len(res.Merged.Rows) != 10 {
				t.Errorf("when all is repaired: %+v", res)
			}
		})
	}
}

// A store that was restored from a backup carries its mark along. Who has seen
// more of it says so, and then it needs all other owners, as an empty one does.
func TestARestoredStoreIsNotTakenForOneThatWasMerelyClosed(t *testing.T) {
	w := newTrio(t, withBarrier)
	w.rounds(3000)
	node := w.node(0)
	backup := node.store.Clone()
	w.add(node, 1, 1, "milk", 5000)
	w.run(nil)
	w.success(node)
	w.rounds(3000) // the others hear what it holds
	w.stop(node)
	w.stop(w.node(2))
	node.store = backup
	w.open(node, 88, withBarrier)
	node.shard.SetLink(w.clock(), w.node(2).id, false)
	w.node(1).shard.SetLink(w.clock(), node.id, true)
	w.rounds(5000)
	if got := w.state(node); got != replica.Joining {
		t.Errorf("one other owner is there, and the restored one is %v", got)
	}
	if node.shard.Stats.StoresLost == 0 {
		t.Error("nobody noticed that it held more before")
	}
	w.link(w.node(2).id, true)
	w.rounds(5000)
	if got := w.state(node); got != replica.Ready {
		t.Errorf("both others are there, and it is %v", got)
	}
}

func TestANodeThatOwnsNothingIsNeverReady(t *testing.T) {
	w := newTrioOwned(t, 2, withBarrier)
	w.rounds(3000)
	if got := w.state(w.node(2)); got != replica.Left {
		t.Errorf("it is %v", got)
	}
	if w.node(2).shard.ForceReady(w.clock(), 0) {
		t.Error("it could be forced")
	}
}

// A member that is busy with a commit answers a sounding afterwards. What the
// asker showed it meanwhile is no sign that the asker's store was lost.
func TestAnOwnerThatGrowsWhileItsSoundingWaitsHasNotLostItsStore(t *testing.T) {
	w := newTrio(t, withBarrier)
	w.rounds(3000)
	node, busy := w.node(1), w.node(0)
	w.stop(node)
	w.rounds(100)
	w.restart(node, 77, withBarrier)
	questions := sent[replica.Sounding](node, busy.id)
	if len(questions) == 0 {
		t.Fatal("it asks nobody")
	}
	w.add(busy, 1, 1, "milk", 5000)
	tx := w.fill(busy)
	w.deliver(node, busy, replica.Message(questions[0])) // waits for the commit under way
	// Meanwhile the asker takes that write, and the busy one hears that it has it.
	for _, m := range sent[replica.Replicate](busy, node.id) {
		w.deliver(busy, node, m)
	}
	w.commit(node)
	w.now += 1100 * milli
	busy.shard.Tick(w.clock())
	busy.take()
	asked := sent[replica.Sounding](busy, node.id)
	if len(asked) == 0 {
		t.Fatal("the busy one does not ask")
	}
	for _, m := range asked {
		w.deliver(busy, node, m)
	}
	for _, m := range sent[replica.Sounded](node, busy.id) {
		w.deliver(node, busy, m)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	busy.shard.Committed(w.clock(), nil)
	busy.take()
	for _, m := range sent[replica.Sounded](busy, node.id) {
		for _, d := range m.Batch {
			if d.Lost {
				t.Errorf("%v is told that it lost its store: it showed less before it showed more", node.id)
			}
		}
		w.deliver(busy, node, m)
	}
	if n := node.shard.Stats.StoresLost; n != 0 {
		t.Errorf("%d stores are taken for lost", n)
	}
}

// ringWithout is the ring of the first nodes after some have left.
func (w *trio) ringWithout(nodes, owners int, left ...ring.NodeID) *ring.Ring {
	var facts ring.Facts
	for i, id := range []ring.NodeID{"n1", "n2", "n3", "n4", "n5"}[:nodes] {
		_, _ = facts.Add(ring.Fact{Number: uint64(i + 1), Kind: ring.Joined, Node: id, PeerAddr: string(id) + ":1", APIAddr: string(id) + ":2"})
	}
	for i, id := range left {
		_, _ = facts.Add(ring.Fact{Number: uint64(10 + i), Kind: ring.Left, Node: id})
	}
	r, err := ring.Fold(ring.Config{Partitions: 1, Replicas: owners}, facts)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// A stand-in that becomes an owner waits for those who may show up, from then on:
// that it has had a store for long does not matter.
func TestAStandInThatBecomesAnOwnerIsPatientFromThenOn(t *testing.T) {
	w := newCrowd(t, 5, 3, withBarrier)
	w.rounds(3000)
	next := w.ringWithout(5, 3, w.first[0])
	var heir, absent *member
	for _, id := range w.first[3:] {
		if next.Owns(id, 0) {
			heir = w.nodes[id]
		} else {
			absent = w.nodes[id]
		}
	}
	// It stands in for an owner, so it has a store.
	w.stop(w.node(2))
	for i := range uint64(4) {
		w.add(w.node(0), 1+i, 1+i, "milk", 5000)
		w.run(nil)
		w.success(w.node(0))
		if len(heir.shard.Stored()) > 0 {
			break
		}
		w.stop(absent)
	}
	if len(heir.shard.Stored()) == 0 {
		t.Fatal("the heir does not stand in")
	}
	w.rounds(10_000)
	w.link(w.node(2).id, true)
	w.stop(absent)
	w.rounds(100)
	w.setRing(next)
	w.rounds(1000)
	if got := w.state(heir); got == replica.Ready {
		t.Errorf("a second after it became an owner it is %v, and %v may show up yet", got, absent.id)
	}
	w.rounds(4000)
	if got := w.state(heir); got != replica.Ready {
		t.Errorf("in the end it is %v", got)
	}
}
