package replica_test

import (
	"testing"

	"github.com/cartwheel-db/cartwheel/replica"
	"github.com/cartwheel-db/cartwheel/ring"
)

// A ring can lose all its members at once for one that was away. Nobody is then
// left to have taken what is stored here.
func TestAPartitionWithoutOwnersIsNotDropped(t *testing.T) {
	w := newTrio(t, func(c *replica.Config) { c.W = 1 })
	holder := w.node(0)
	w.add(holder, 1, 1, "milk", 5000)
	w.commit(holder)
	without := w.pair(holder.id)
	holder.shard.SetRing(w.clock(), without)
	clock, _, err := holder.store.View().Clock(0)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []*member{w.node(1), w.node(2)} {
		w.deliver(m, holder, replica.Coverage{Ring: without.Hash(), Clock: clock})
	}
	if !holder.shard.Waiting() {
		t.Fatal("all owners cover it, and no drop waits")
	}
	var facts ring.Facts
	for i, id := range []ring.NodeID{"n1", "n2", "n3"} {
		_, _ = facts.Add(ring.Fact{Number: uint64(i + 1), Kind: ring.Joined, Node: id, PeerAddr: string(id) + ":1", APIAddr: string(id) + ":2"})
		_, _ = facts.Add(ring.Fact{Number: uint64(i + 4), Kind: ring.Left, Node: id})
	}
	empty, err := ring.Fold(ring.Config{Partitions: 1, Replicas: 3}, facts)
	if err != nil {
		t.Fatal(err)
	}
	holder.shard.SetRing(w.clock(), empty)
	w.commit(holder)
	if len(holder.shard.Stored()) != 1 {
		t.Error("dropped, and nobody owns it")
	}
}
