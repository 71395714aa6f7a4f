//go:build mutants

package replica_test

import (
	"testing"

	"github.com/cartwheel-db/cartwheel/replica"
)

func TestARowHashedInTheOrderOfArrivalIsAnAlarm(t *testing.T) {
	defer replica.Plant("")
	for _, planted := range []string{"", "unsorted tree bytes"} {
		replica.Plant(planted)
		g := newGrove(t, 2, 1, only(replica.Trees))
		milk := []replica.Message{g.adding(0, dot(7, 1), "milk"), g.adding(0, dot(8, 1), "milk")}
		for n := range 2 {
			g.hear(milk[n], n)
			g.hear(milk[1-n], n)
		}
		g.nodes[0].shard.Verify(g.clock())
		g.take(g.nodes[0])
		g.pass(10 * second)
		if found := g.stats(0).Diverged > 0; found != (planted != "") || !g.same(0) {
			t.Errorf("planted %q: %d alarms", planted, g.stats(0).Diverged)
		}
	}
}
