package replica_test

import (
	"strings"
	"testing"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica"
)

// A blob written without a context again and again gathers siblings. They must
// stay few enough to be read: nobody could resolve them otherwise.
func TestABlobDoesNotGatherMoreSiblingsThanCanBeRead(t *testing.T) {
	for _, size := range []int{0, 1 << 10, crdt.MaxValue} {
		w := newTrio(t, func(c *replica.Config) { c.R, c.W = 1, 1 })
		first := w.node(0)
		key := crdt.Key{Type: crdt.Blob, Bucket: "b", Name: "k"}
		do := func(r replica.Request) replica.Result {
			first.reply, first.sends = nil, nil
			r.Deadline = w.clock().Mono + 5000*milli
			w.ask(first, r)
			if first.shard.Waiting() {
				w.commit(first)
			}
			if len(first.reply) != 1 {
				t.Fatalf("%d replies", len(first.reply))
			}
			return first.reply[0].Result
		}
		put := replica.Mutation{Key: key, Verb: replica.Put, Value: make([]byte, size)}
		var refused *replica.Failure
		for range 1100 {
			m := put
			if refused = do(replica.Request{Mutation: &m}).Failure; refused != nil {
				break
			}
		}
		if refused == nil || refused.Reason != replica.Invalid || refused.Unknown || !strings.Contains(refused.Text, "siblings") {
			t.Fatalf("values of %d bytes: after 1100 writes that saw nothing the next is told %+v", size, refused)
		}
		read := do(replica.Request{Query: &replica.Query{Key: key}})
		if read.Failure != nil {
			t.Fatalf("values of %d bytes: %v", size, read.Failure)
		}
		shown := dvv.ClockOf(read.Merged.Row("").Dots()...)
		put.Context = &shown
		if res := do(replica.Request{Mutation: &put}); res.Failure != nil {
			t.Fatalf("values of %d bytes: resolving them: %v", size, res.Failure)
		}
		if n := len(do(replica.Request{Query: &replica.Query{Key: key}}).Merged.Row("").Live); n != 1 {
			t.Errorf("values of %d bytes: %d values after resolving them", size, n)
		}
	}
}
