package replica_test

import (
	"fmt"
	"testing"

	"github.com/cartwheel-db/cartwheel/replica"
)

// Under load a commit takes long, and all that waits for it is late at once. A
// peer that is busy must not be taken for dead by that: its return would cost even
// more. One that is silent as well is.
func TestManyLateAnswersMakeASilentPeerUnreachableAndABusyOneNot(t *testing.T) {
	for _, test := range []struct {
		name  string
		heard int64 // milliseconds into the wait of which the last word is; 0 for none
		want  bool
	}{
		{"not a word", 0, false},
		{"a word before the others were late for long", 100, false},
		{"a word a moment ago", 250, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newTrio(t, nil)
			first, second := w.node(0), w.node(1)
			for i := range uint64(40) {
				w.add(first, i, i+1, fmt.Sprint("m", i), 5000)
			}
			w.commit(first) // nobody acknowledges
			w.pass(first, test.heard)
			if test.heard > 0 {
				w.deliver(second, first, replica.Nudge{Partition: 0, From: first.id})
			}
			w.pass(first, 320-test.heard)
			if got := first.shard.Reaches(w.clock(), second.id); got != test.want {
				t.Errorf("reachable: %v", got)
			}
		})
	}
}
