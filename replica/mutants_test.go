//go:build !race

package replica_test

import (
	"strings"
	"testing"
)

// A checker that finds nothing proves nothing. Each mutant breaks one step of
// the rules, and the same lives and the same oracle must notice.
func TestTheOracleFindsEveryMutant(t *testing.T) {
	for _, mutant := range []struct {
		name   string
		life   setting
		within uint64 // seeds
	}{
		{"leaves compared before the source's log was applied", setting{rules: rules{earlyLeaf: true}, storm: true}, 20000},
		{"only the rows that the source has are joined", setting{rules: rules{sourceOnly: true}, storm: true}, 20000},
		{"events of a staged cut are not held", setting{rules: rules{noHold: true}, storm: true}, 20000},
		{"dots killed before they arrived are not remembered", setting{rules: rules{noDefer: true}}, 100},
		{"deferred clears are not compared", setting{rules: rules{rowLeaf: true}, storm: true}, 20000},
		{"totals restart after a reset, and resets are subtracted", setting{rules: rules{counter: "naive"}, counters: true, resets: true, once: true}, 100},
		{"totals restart after a reset, and differences are clamped", setting{rules: rules{counter: "naiveclamp"}, counters: true, resets: true, once: true}, 100},
		{"operations are remembered for a time only", setting{forget: "time", counters: true}, 1000},
	} {
		t.Run(mutant.name, func(t *testing.T) {
			t.Parallel()
			for seed := uint64(1); seed <= mutant.within; seed++ {
				if _, err := run(mutant.life, seed, nil); err != nil {
					line, _, _ := strings.Cut(err.Error(), "\n")
					t.Logf("found by seed %d: %.300s", seed, line)
					return
				}
			}
			t.Errorf("not found by %d seeds", mutant.within)
		})
	}
}
