package ring

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestSharesListEveryNodeBeforeAndAfter(t *testing.T) {
	cfg := Config{Partitions: 8, Replicas: 2}
	three := joined(t, "n1", "n2", "n3")
	without := three.Clone()
	without.Merge(setOf(t, Fact{Number: 4, Kind: Left, Node: "n2"}))
	replaced := three.Clone()
	replaced.Merge(setOf(t, Fact{Number: 4, Kind: Replaced, Node: "n1", By: "n0"}))
	before := fold(t, cfg, three)
	was := map[NodeID]int{}
	for _, s := range Shares(before, before) {
		was[s.Node] = s.Before
	}
	for _, c := range []struct {
		name          string
		before, after *Ring
		want          string
	}{
		{"who leaves ends with nothing, the others take it", before, fold(t, cfg, without), fmt.Sprintf("[{n1 %d 8} {n2 %d 0} {n3 %d 8}]", was["n1"], was["n2"], was["n3"])},
		{"who replaces takes exactly what the other had", before, fold(t, cfg, replaced), fmt.Sprintf("[{n0 0 %d} {n1 %[1]d 0} {n2 %d %[2]d} {n3 %d %[3]d}]", was["n1"], was["n2"], was["n3"])},
		{"nil is a ring of nobody", nil, fold(t, cfg, joined(t, "n1")), "[{n1 0 8}]"},
		{"of nobody there is nothing to say", nil, nil, "[]"},
	} {
		if got := fmt.Sprint(Shares(c.before, c.after)); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// H11: whatever the nodes are called, and in whatever order four became five.
func TestFromFourNodesToFiveNobodyOwnsTwoPartitionsMoreThanAnother(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 11))
	for range 200 {
		var names []string
		for range 5 {
			names = append(names, fmt.Sprintf("%016x", rng.Uint64()))
		}
		cfg := Config{Partitions: 32, Replicas: 3}
		before, after := fold(t, cfg, joined(t, names[:4]...)), fold(t, cfg, joined(t, names...))
		var owned []int
		for _, s := range Shares(before, after) {
			owned = append(owned, s.After)
		}
		if len(owned) != 5 || slices.Max(owned)-slices.Min(owned) > 1 {
			t.Fatalf("%v own %v", names, owned)
		}
		// And only the fifth gained anything.
		for _, m := range Plan(before, after) {
			if m.To != NodeID(names[4]) {
				t.Fatalf("moves to a node that was there: %v", m)
			}
		}
	}
}
