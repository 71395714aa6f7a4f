package replica_test

import (
	"testing"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica"
)

// What waited for a commit past its deadline is dropped when its turn comes: the
// client has gone, and the time is better spent on those who still wait.
func TestAMutationThatWaitedPastItsDeadlineIsNotWritten(t *testing.T) {
	w := newTrio(t, nil)
	first, client := w.node(0), w.node(2)
	w.deliver(client, first, replica.Forward{ID: 1, Left: 50 * milli, Mutation: replica.Mutation{
		Key: crdt.Key{Type: crdt.Counter, Bucket: "b", Name: "c"}, Verb: replica.Add, Delta: 1}})
	w.now += 50 * milli
	w.commit(first)
	answers := sent[replica.Forwarded](first, client.id)
	if len(answers) != 1 || answers[0].Result.Failure == nil || answers[0].Result.Failure.Reason != replica.DeadlinePast || answers[0].Result.Failure.Unknown {
		t.Fatalf("answered %+v, want that the deadline was past and nothing was done", answers)
	}
	if c, stored, err := first.shard.Durable(0); stored || err != nil || !c.IsEmpty() {
		t.Errorf("it holds %v all the same (%v)", c, err)
	}
}

// L5: a stamp from further ahead than clocks may differ is counted and not
// followed; the event that bears it is kept.
func TestAStampFromFarAheadIsCountedAndNotFollowed(t *testing.T) {
	const skew = 60 * 1000
	for _, tc := range []struct {
		name   string
		ahead  int64 // milliseconds
		follow bool
	}{
		{"as far as clocks may differ", skew, true},
		{"a millisecond further", skew + 1, false},
		{"a day further", 24 * 3600 * 1000, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newTrio(t, nil)
			first, second := w.node(0), w.node(1)
			seen := crdt.StampAt(w.clock().Wall + tc.ahead)
			first.shard.Observe(w.clock(), seen)
			if followed := first.shard.Stamp() >= seen; followed != tc.follow || (first.shard.Stats.SkewAlarms == 0) != tc.follow {
				t.Errorf("stamp %v after %v, %d alarms", first.shard.Stamp(), seen, first.shard.Stats.SkewAlarms)
			}
			name := crdt.Key{Type: crdt.Register, Bucket: "b", Name: "n"}
			w.deliver(second, first, replica.Replicate{Batch: []replica.Shipment{{Groups: []crdt.Group{{Actor: 77, First: 1, Stamp: seen,
				Events: []crdt.Event{{Row: name.Row(), Payload: crdt.Assign{Stamp: seen, Value: []byte("future")}.Payload()}}}}}}})
			w.run(nil)
			if row := w.row(first, name.Row()); len(row.Live) != 1 || row.Live[0].Dot != (dvv.Dot{Actor: 77, Seq: 1}) {
				t.Errorf("the event is not kept: %v", row)
			}
		})
	}
}
