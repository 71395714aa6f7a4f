package replica_test

import (
	"fmt"
	"testing"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/replica"
)

func TestAResetBeforeAnIncrementDoesNotHideWhatItFollows(t *testing.T) {
	w := newTrioOwned(t, 2, func(c *replica.Config) { c.R = 1 })
	first, second, other := w.node(0), w.node(1), w.node(2)
	do := func(id uint64, verb replica.Verb, delta int64) {
		w.ask(first, replica.Request{ID: id, Deadline: w.clock().Mono + 5000*milli, Mutation: &replica.Mutation{
			Key: crdt.Key{Type: crdt.Counter, Bucket: "b", Name: "c"}, Verb: verb, Delta: delta}})
	}
	do(1, replica.Add, 1)
	w.commit(first) // the message to the second is lost
	first.shard.SetLink(w.clock(), second.id, false)
	first.take()
	sent[replica.Replicate](first, other.id)
	do(2, replica.Zero, 0)
	do(3, replica.Add, 1)
	w.fill(first)
	for _, m := range sent[replica.Replicate](first, other.id) {
		w.deliver(first, other, m)
	}
	w.commit(other)
	if n := other.shard.Totals().Early; n > 0 {
		t.Errorf("the fallback had to leave %d increments: it was not sent what they follow", n)
	}
}

func TestARetryOfAnEarlierIncrementDoesNotHideTheOnesAfterIt(t *testing.T) {
	w := newTrioOwned(t, 2, nil)
	first, second, other := w.node(0), w.node(1), w.node(2)
	add := func(id, op uint64) {
		w.ask(first, replica.Request{ID: id, Deadline: w.clock().Mono + 5000*milli, Mutation: &replica.Mutation{
			Key: crdt.Key{Type: crdt.Counter, Bucket: "b", Name: "c"}, Verb: replica.Add, Delta: 1,
			Op: crdt.Operation{Client: [16]byte{1}, Seq: op, Issued: w.clock().Wall}}})
	}
	for op := range uint64(3) {
		add(op, op)
	}
	w.commit(first) // the message to the second is lost
	first.shard.SetLink(w.clock(), second.id, false)
	first.take()
	sent[replica.Replicate](first, other.id)
	add(3, 0) // a retry
	add(4, 4)
	w.fill(first)
	for _, m := range sent[replica.Replicate](first, other.id) {
		w.deliver(first, other, m)
	}
	w.commit(other)
	if n := other.shard.Totals().Early; n > 0 {
		t.Errorf("the fallback had to leave %d increments: it was not sent what they follow", n)
	}
}

func TestLargeUpdatesThatAreLateAreSentOnceToAFallbackInMessagesOfSomeSize(t *testing.T) {
	w := newTrioOwned(t, 2, nil)
	first, other := w.node(0), w.node(2)
	k := crdt.Key{Type: crdt.Map, Bucket: "b", Name: "m"}
	const updates = 40
	for id := range uint64(updates) {
		m := replica.Mutation{Key: k, Verb: replica.Edit, Op: crdt.Operation{Client: [16]byte{1}, Seq: id, Issued: w.clock().Wall}}
		for i := range 500 {
			m.Changes = append(m.Changes, replica.Change{Member: field(fmt.Sprintf("%0400d", i), crdt.CounterField, ""), Delta: 1})
		}
		w.ask(first, replica.Request{ID: id, Deadline: w.clock().Mono + 60_000*milli, Mutation: &m})
	}
	for first.shard.Waiting() {
		w.commit(first)
	}
	for range 20_000 {
		first.sends = nil
		w.pass(first, 1)
		times := map[uint64]int{}
		for _, m := range sent[replica.Replicate](first, other.id) {
			size := 0
			for _, s := range m.Batch {
				for _, g := range s.Groups {
					size += g.Bytes()
					times[g.First]++
				}
			}
			if size > 2<<20 {
				t.Errorf("a message holds %d bytes", size)
			}
			w.deliver(first, other, m)
		}
		for seq, n := range times {
			if n > 1 {
				t.Fatalf("the group at %d is sent %d times at one moment", seq, n)
			}
		}
		if len(times) > 0 {
			break
		}
	}
	for other.shard.Waiting() {
		w.commit(other)
	}
	if s := other.shard.Totals(); s.Early > 0 || s.Applied != updates {
		t.Errorf("the fallback has %d updates of %d, %d came too early", s.Applied, updates, s.Early)
	}
}
