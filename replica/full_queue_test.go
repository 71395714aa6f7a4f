package replica_test

import (
	"testing"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/replica"
)

func TestAQueueIsFullByBytesToo(t *testing.T) {
	w := newTrio(t, func(c *replica.Config) { c.BatchBytes = 1 << 10 })
	first, client := w.node(0), w.node(2)
	for id := range uint64(100) {
		w.deliver(client, first, replica.Forward{ID: id, Left: 5000 * milli, Mutation: replica.Mutation{
			Key: crdt.Key{Type: crdt.Register, Bucket: "b", Name: "k"}, Verb: replica.Assign, Value: make([]byte, 1<<10),
		}})
	}
	refused := sent[replica.Forwarded](first, client.id)
	if len(refused) < 50 {
		t.Fatalf("100 mutations of 1 KiB came while commits of 1 KiB were due: %d were refused", len(refused))
	}
	for _, r := range refused {
		if f := r.Result.Failure; f == nil || f.Reason != replica.Overloaded || f.Unknown {
			t.Fatalf("a mutation beyond the bounds is told %+v", f)
		}
	}
}

// A remove reads before it waits for a transaction. What was room then may be
// none when the answer is there.
func TestARemoveThatHasReadWaitsOnlyWhereThereIsRoom(t *testing.T) {
	w := newTrio(t, func(c *replica.Config) { c.MaxQueue = 2 })
	first := w.node(0)
	w.add(first, 1, 1, "milk", 5000)
	w.run(nil)
	w.success(first)
	m := replica.Mutation{Key: carts, Verb: replica.Update, Changes: []replica.Change{{Member: "milk", Remove: true}}}
	w.mutation(first, 2, m)
	for i := range uint64(2) {
		w.add(first, 3+i, 3+i, "eggs", 5000)
	}
	for _, s := range first.sends { // the answer to its read
		if _, asking := s.Message.(replica.Asking); asking {
			other := w.nodes[s.To]
			w.deliver(first, other, s.Message)
			for _, a := range sent[replica.Answered](other, first.id) {
				w.deliver(other, first, a)
			}
		}
	}
	if passed := len(sent[replica.Forward](first, w.node(1).id)) + len(sent[replica.Forward](first, w.node(2).id)); passed != 1 || first.shard.Stats.Refused != 1 {
		t.Fatalf("the queue holds two; the remove is refused %d times here and given to %d others", first.shard.Stats.Refused, passed)
	}
}
