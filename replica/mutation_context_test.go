package replica_test

import (
	"slices"
	"testing"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
)

// The write that replaced what a client was shown may be known to its coordinator
// alone, and be lost with it. A later write under the same context was acknowledged by
// others: it takes away all that its client was shown, and does not rest on the first.
func TestAWriteUnderAContextKillsWhatIsDeadAtItsCoordinatorToo(t *testing.T) {
	for _, test := range []struct {
		kind  crdt.Type
		steps string
	}{
		{crdt.Blob, "A put v1; c := ctx A; A put v2 with c; A put v3 with c"},
		{crdt.Register, "A assign v1; c := ctx A; A assign v2 with c; A assign v3 with c"},
	} {
		t.Run(test.kind.String(), func(t *testing.T) {
			a := play(t, byLog, scenario{kind: test.kind, steps: test.steps}).actor("A")
			first, last := dvv.Dot{Actor: a.id, Seq: 1}, dvv.Dot{Actor: a.id, Seq: 3}
			g, found, err := a.store.View().Group(partition, last)
			if err != nil || !found || !slices.Contains(g.Events[0].Kills, first) {
				t.Errorf("%v kills %v (%v), and not %v", last, g.Events, err, first)
			}
		})
	}
}
