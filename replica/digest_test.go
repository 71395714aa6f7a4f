package replica_test

import (
	"testing"

	"github.com/cartwheel-db/cartwheel/replica"
)

func TestADigestThatNamesAPartitionTwiceIsRefused(t *testing.T) {
	w := newTrio(t, nil)
	first, second := w.node(0), w.node(1)
	w.deliver(first, second, replica.Digest{Batch: make([]replica.ClockPrint, 1000)})
	if asked := sent[replica.CatchUp](second, first.id); len(asked) > 1 {
		t.Errorf("one message of 20 KB was answered by %d clocks", len(asked))
	}
	if n := second.shard.Totals().Malformed; n != 1 {
		t.Errorf("%d of 1 counted as malformed", n)
	}
}
