package replicatest

import (
	"testing"

	"github.com/cartwheel-db/cartwheel/replica"
)

// Each way of repair makes an owner whole that fell behind, while all others are
// switched off; and it did so by that way and no other.
func TestEachWayOfRepairSufficesAlone(t *testing.T) {
	type use struct {
		what  string
		times func(*Report) uint64
	}
	handoff := use{"partitions handed off", func(r *Report) uint64 { return r.Since.HandedOff }}
	exchange := use{"clocks exchanged", func(r *Report) uint64 { return r.Since.Exchanges }}
	caughtUp := use{"groups caught up with", func(r *Report) uint64 { return r.Since.CaughtUp }}
	promoted := use{"snapshots promoted", func(r *Report) uint64 { return r.Since.Promoted }}
	repaired := use{"rows repaired", func(r *Report) uint64 { return r.Since.RowsRepaired }}
	nudged := use{"replicas nudged", func(r *Report) uint64 { return r.Since.Nudges }}
	for _, way := range []struct {
		name      string
		mechanism replica.Mechanism
		used      []use
		unused    []use
	}{
		{"handoff", replica.Handoff, []use{handoff}, []use{exchange, promoted, repaired, nudged}},
		{"catching up from logs", replica.LogCatchUp, []use{caughtUp}, []use{handoff, promoted, repaired, nudged}},
		{"snapshots", replica.Snapshots, []use{promoted}, []use{handoff, caughtUp, repaired, nudged}},
		{"trees", replica.Trees, []use{repaired}, []use{handoff, exchange, caughtUp, promoted, nudged}},
		{"read repair", replica.ReadRepair, []use{nudged, caughtUp}, []use{handoff, exchange, promoted, repaired}},
	} {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			for seed := uint64(1); seed <= aloneSeeds; seed++ {
				r, err := Run(Options{Seed: seed, Alone: way.mechanism})
				if err != nil {
					t.Fatal(err)
				}
				for _, u := range way.used {
					if u.times(r) == 0 {
						t.Errorf("seed %d: all is equal, and no %s", seed, u.what)
					}
				}
				for _, u := range way.unused {
					if n := u.times(r); n > 0 {
						t.Errorf("seed %d: %d %s", seed, n, u.what)
					}
				}
			}
		})
	}
}

// A core with a quorum of a key's owners serves it, whatever the others do.
func TestAHealthyCoreServesItsKeysWhileTheRestIsFrozen(t *testing.T) {
	var sum Report
	simulate(1, frozenSeeds, func(seed uint64) Options { return Options{Seed: seed, Freeze: true} }, func(r *Report, err error) {
		if err != nil {
			t.Errorf("%.3000s", err)
			return
		}
		sum.Checked.add(r.Checked)
	})
	if c := sum.Checked; c.Probes < 4*frozenSeeds || c.DegradedProbes == 0 || c.DegradedProbes == c.Probes {
		t.Errorf("%d probes, %d of them degraded", c.Probes, c.DegradedProbes)
	}
}
