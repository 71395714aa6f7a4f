package replica_test

import (
	"strings"
	"testing"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/replica"
	"github.com/cartwheel-db/cartwheel/ring"
)

// demoting is the ring in which the two others own the partition, and one node is
// a member that owns nothing: the others became so much heavier.
func (w *trio) demoting(id ring.NodeID) *ring.Ring {
	w.t.Helper()
	var facts ring.Facts
	for i, other := range []ring.NodeID{"n1", "n2", "n3"} {
		f := ring.Fact{Number: uint64(i + 1), Kind: ring.Joined, Node: other, PeerAddr: string(other) + ":1", APIAddr: string(other) + ":2", Weight: 1000}
		if other == id {
			f.Weight = 1
		}
		if _, err := facts.Add(f); err != nil {
			w.t.Fatal(err)
		}
	}
	r, err := ring.Fold(ring.Config{Partitions: 1, Replicas: 2}, facts)
	if err != nil {
		w.t.Fatal(err)
	}
	if _, member := r.Node(id); !member || r.Owns(id, 0) {
		w.t.Fatalf("the ring gives %v the partition\n%v", id, r)
	}
	return r
}

// H5: what a node is asked for after it left is refused or done by others, and
// nothing new is stored there.
func TestANodeThatLeftTakesNothingNewAndDropsWhatItHas(t *testing.T) {
	cart := crdt.Key{Type: crdt.Set, Bucket: "b", Name: "cart"}
	add := func(member string) replica.Mutation {
		return replica.Mutation{Key: cart, Verb: replica.Update, Changes: []replica.Change{{Member: member}}}
	}
	leave := func(t *testing.T) (w *trio, gone, second, third *member) {
		w = newTrio(t, nil)
		gone, second, third = w.node(0), w.node(1), w.node(2)
		w.mutation(gone, 1, add("milk"))
		w.run(nil)
		w.success(gone)
		gone.shard.SetRing(w.clock(), w.pair(gone.id)) // the others have not heard of it yet
		gone.take()
		return w, gone, second, third
	}
	t.Run("a client's write goes to an owner", func(t *testing.T) {
		w, gone, second, third := leave(t)
		w.mutation(gone, 2, add("eggs"))
		w.setRing(w.pair(gone.id))
		w.run(nil)
		if r := w.success(gone); r.Coordinator != second.id && r.Coordinator != third.id {
			t.Errorf("coordinated by %v", r.Coordinator)
		}
	})
	t.Run("a write that waited for its commit when the node left goes to an owner", func(t *testing.T) {
		w := newTrio(t, nil)
		gone := w.node(0)
		w.mutation(gone, 1, add("milk"))
		if !gone.shard.Waiting() {
			t.Fatal("it does not wait")
		}
		w.setRing(w.pair(gone.id))
		w.run(nil)
		if r := w.success(gone); r.Coordinator == gone.id || len(gone.shard.Stored()) != 0 {
			t.Errorf("coordinated by %v, which stores %v", r.Coordinator, gone.shard.Stored())
		}
	})
	t.Run("a forward of a node that has not heard is refused, and the next coordinator tried", func(t *testing.T) {
		w, gone, second, third := leave(t)
		w.mutation(third, 2, add("eggs"))
		forwards := sent[replica.Forward](third, gone.id)
		if len(forwards) != 1 {
			t.Fatalf("%d forwards to the node that left", len(forwards))
		}
		w.deliver(third, gone, forwards[0])
		w.run(nil)
		if r := w.success(third); r.Coordinator != second.id || r.Answers < 2 {
			t.Errorf("coordinated by %v with %d copies, want %v and 2", r.Coordinator, r.Answers, second.id)
		}
	})
	t.Run("a copy is not taken and not acknowledged", func(t *testing.T) {
		w, gone, second, _ := leave(t)
		before, _, _ := gone.shard.Durable(0)
		w.deliver(gone, second, replica.Forward{ID: 9, Mutation: add("eggs"), Left: 5000 * milli})
		w.commit(second)
		copies := sent[replica.Replicate](second, gone.id)
		if len(copies) != 1 {
			t.Fatalf("%d copies sent to the node that left", len(copies))
		}
		w.deliver(second, gone, copies[0])
		for gone.shard.Waiting() {
			w.commit(gone)
		}
		if acks := sent[replica.Acked](gone, second.id); len(acks) != 0 {
			t.Errorf("acknowledged: %+v", acks)
		}
		if after, _, _ := gone.shard.Durable(0); !before.Covers(after) {
			t.Errorf("it took %v", after.Minus(before))
		}
	})
	t.Run("it is drained when the owners hold all of it, and not before", func(t *testing.T) {
		w, gone, second, third := leave(t)
		w.setRing(w.pair(gone.id))
		if gone.shard.Drained() || second.shard.Drained() {
			t.Fatal("drained before anything was handed off, or a member is")
		}
		w.rounds(3000)
		if !gone.shard.Drained() || gone.shard.Stats.HandedOff != 1 {
			t.Errorf("drained %t, stores %v", gone.shard.Drained(), gone.shard.Stored())
		}
		for _, m := range []*member{second, third} {
			if row := w.row(m, crdt.Address{Key: cart, Field: "milk"}); len(row.Live) != 1 {
				t.Errorf("%v holds %v", m.id, row)
			}
		}
	})
	t.Run("alone with nobody to hand it to it refuses and keeps what it has", func(t *testing.T) {
		w, gone, _, _ := leave(t)
		w.link(gone.id, false)
		w.mutation(gone, 2, add("eggs"))
		r := w.result(gone)
		if r.Failure == nil || r.Failure.Reason != replica.NoQuorum || r.Failure.Unknown || !strings.Contains(r.Failure.Text, "no node that could coordinate it") {
			t.Errorf("told %+v", r.Failure)
		}
		w.rounds(3000)
		if len(gone.shard.Stored()) != 1 || gone.shard.Drained() {
			t.Errorf("it stores %v", gone.shard.Stored())
		}
	})
}
