//go:build mutants

package replica_test

import (
	"testing"

	"github.com/cartwheel-db/cartwheel/replica"
)

func TestAMistakeInTheRemovalOfWhatExpiredShows(t *testing.T) {
	defer replica.Plant("")
	for _, planted := range []string{"", "a renewal expires with the rest"} {
		replica.Plant(planted)
		w := newTrio(t, func(c *replica.Config) { c.ExpireEvery = 10_000 * milli })
		w.rounds(3000)
		w.write(w.node(0), adding("mary", w.until(2000)))
		w.rounds(6900)
		w.now += 101 * milli
		w.mutation(w.node(0), 2, adding("mary", w.until(3_600_000)))
		w.node(0).shard.Tick(w.clock())
		w.run(nil)
		if stays := w.live(w.node(1), online.Member("mary")) > 0; stays != (planted == "") {
			t.Errorf("planted %q: the renewed member is there: %t", planted, stays)
		}
	}
	for _, planted := range []string{"", "removed before R owners agree"} {
		replica.Plant(planted)
		if v := renewedElsewhere(newTrio(t, nil)); (v == 8) != (planted == "") {
			t.Errorf("planted %q: the renewed counter reads %d", planted, v)
		}
	}
}
