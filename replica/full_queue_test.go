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
