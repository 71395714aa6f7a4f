//go:build mutants

package replica_test

import (
	"testing"

	"github.com/cartwheel-db/cartwheel/replica"
)

func TestALeftOutStepOfASnapshotShows(t *testing.T) {
	defer replica.Plant("")
	for _, m := range mistakes {
		replica.Plant(m.mutant)
		if err := m.play(t); err == nil {
			t.Errorf("%q goes unnoticed", m.mutant)
		}
	}
}
