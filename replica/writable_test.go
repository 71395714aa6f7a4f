package replica_test

import (
	"testing"

	"github.com/cartwheel-db/cartwheel/replica"
)

// A node whose disk is full answers at once that it did nothing, so that the
// next coordinator is tried long before the client gives up; what peers send it
// is not acknowledged.
func TestANodeWhoseStoreTakesNoWritesLeavesThemToTheNext(t *testing.T) {
	w := newTrio(t, nil)
	full, second, client := w.node(0), w.node(1), w.node(2)
	full.shard.SetWritable(w.clock(), false)

	w.add(client, 1, 1, "milk", 5000)
	pass[replica.Forward](w, client, full)
	answers := sent[replica.Forwarded](full, client.id)
	if len(answers) != 1 || answers[0].Result.Failure == nil || answers[0].Result.Failure.Unknown {
		t.Fatalf("the full node answers %+v, want at once that nothing was done", answers)
	}
	w.deliver(full, client, answers[0])
	pass[replica.Forward](w, client, second)
	w.commit(second)
	pass[replica.Replicate](w, second, full)
	if full.shard.Waiting() {
		t.Error("the full node queues what it cannot store")
	}
	pass[replica.Replicate](w, second, client)
	w.commit(client)
	pass[replica.Acked](w, client, second)
	pass[replica.Forwarded](w, second, client)
	if len(client.reply) != 1 || client.reply[0].Result.Failure != nil {
		t.Fatalf("the client hears %+v", client.reply)
	}

	// Asked itself, the full node hands on instead of coordinating.
	w.add(full, 2, 2, "eggs", 5000)
	if n := len(sent[replica.Forward](full, second.id)); n != 1 {
		t.Errorf("%d mutations handed on, want 1", n)
	}
	full.shard.SetWritable(w.clock(), true)
	w.add(full, 3, 3, "bread", 5000)
	if !full.shard.Waiting() {
		t.Error("with space again the node does not write")
	}
}

// pass delivers all that one node sent another of one type of message.
func pass[M replica.Message](w *trio, from, to *member) {
	for _, m := range sent[M](from, to.id) {
		w.deliver(from, to, m)
	}
}
