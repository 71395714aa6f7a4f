package replica_test

import (
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
