package replica_test

import (
	"testing"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/replica"
)

// A mutation may lie in the buffers of a coordinator that was stopped for long.
// What it has left of its deadline does not tell; its operation id does.
func TestAForwardThatArrivesAfterTheWindowOfRetriesIsNotApplied(t *testing.T) {
	w := newTrio(t, nil)
	first, client := w.node(0), w.node(2)
	w.deliver(client, first, replica.Forward{ID: 1, Left: 5000 * milli, Mutation: replica.Mutation{
		Key: crdt.Key{Type: crdt.Set, Bucket: "b", Name: "k"}, Verb: replica.Update, Changes: []replica.Change{{Member: "milk"}},
		Op: crdt.Operation{Client: [16]byte{9}, Seq: 1, Issued: w.clock().Wall - 11*60*1000},
	}})
	if first.shard.Waiting() {
		t.Error("it waits to be written: it may have been written, forgotten, and removed since")
	}
	told := sent[replica.Forwarded](first, client.id)
	if len(told) != 1 || told[0].Result.Failure == nil || told[0].Result.Failure.Reason != replica.OpExpired || !told[0].Result.Failure.Unknown {
		t.Errorf("told %+v", told)
	}
}
