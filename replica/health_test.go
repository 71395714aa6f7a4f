package replica_test

import (
	"testing"

	"github.com/cartwheel-db/cartwheel/replica"
	"github.com/cartwheel-db/cartwheel/ring"
)

func TestAStalenessReadsAsASentence(t *testing.T) {
	for _, test := range []struct {
		s    replica.Staleness
		want string
	}{
		{replica.Staleness{Bound: 70e6}, "70 ms"},
		{replica.Staleness{Bound: 70e6, Missing: []ring.NodeID{"n3"}}, "70 ms (unreachable: n3)"},
		{replica.Staleness{Bound: replica.Unknown}, "unknown"},
		{replica.Staleness{Bound: replica.Unknown, Missing: []ring.NodeID{"n2", "n3"}}, "unknown (not heard of: n2, n3)"},
	} {
		if got := test.s.String(); got != test.want {
			t.Errorf("%q, want %q", got, test.want)
		}
	}
}
