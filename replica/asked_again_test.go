package replica_test

import (
	"testing"

	"github.com/cartwheel-db/cartwheel/replica"
)

// A peer that was lost while a write waited, and is back, may still give the
// acknowledgement that is missing.
func TestAWriteAsksAPeerThatCameBackOnceMore(t *testing.T) {
	w := newTrio(t, nil)
	first, second := w.node(0), w.node(1)
	w.add(first, 1, 1, "milk", 5000)
	w.commit(first)
	lost := sent[replica.Replicate](first, second.id)
	if len(lost) != 1 {
		t.Fatalf("%d messages to %v", len(lost), second.id)
	}
	first.shard.SetLink(w.clock(), second.id, false)
	first.take()
	w.pass(first, 50)
	first.shard.SetLink(w.clock(), second.id, true)
	first.take()
	w.pass(first, 1000) // the third node is silent all the while
	for _, m := range sent[replica.Replicate](first, second.id) {
		w.deliver(first, second, m)
	}
	if !second.shard.Waiting() {
		t.Fatal("nobody asked it again")
	}
	w.commit(second)
	for _, a := range sent[replica.Acked](second, first.id) {
		w.deliver(second, first, a)
	}
	if len(first.reply) != 1 || first.reply[0].Result.Failure != nil {
		t.Errorf("the client hears %+v", first.reply)
	}
}
