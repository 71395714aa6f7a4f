package merkle_test

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"github.com/dchest/siphash"
	"pgregory.net/rapid"

	"github.com/cartwheel-db/cartwheel/replica/merkle"
)

var key = merkle.NewKey([]byte("a cluster's secret"))

// naiveRoot computes a level from the one below until one node is left, with
// nothing remembered.
func naiveRoot(leaves []merkle.Sum) merkle.Sum {
	for len(leaves) > 1 {
		var above []merkle.Sum
		for children := range slices.Chunk(leaves, merkle.Fanout) {
			var b []byte
			for _, c := range children {
				b = append(b, c[:]...)
			}
			var s merkle.Sum
			if !slices.Equal(b, make([]byte, len(b))) {
				hi, lo := siphash.Hash128(0x636172747768656c, 0x6d65726b6c653031, b)
				binary.BigEndian.PutUint64(s[:8], hi)
				binary.BigEndian.PutUint64(s[8:], lo)
			}
			above = append(above, s)
		}
		leaves = above
	}
	return leaves[0]
}

// partition is the naive twin: rows in a map, leaves summed from scratch.
type partition map[string]string

func (p partition) leaves(n int) []merkle.Sum {
	sums := make([]merkle.Sum, n)
	for address, bytes := range p {
		i := key.Leaf([]byte(address), n)
		sums[i] = sums[i].Add(key.Row([]byte(address + bytes)))
	}
	return sums
}

func (p partition) row(address string) merkle.Sum {
	if bytes, ok := p[address]; ok {
		return key.Row([]byte(address + bytes))
	}
	return merkle.Sum{}
}

// put changes a row ("" removes it) in the twin and, by its difference, in the tree.
func (p partition) put(t *merkle.Tree, address, bytes string) {
	before := p.row(address)
	if bytes == "" {
		delete(p, address)
	} else {
		p[address] = bytes
	}
	t.Apply(key.Leaf([]byte(address), t.Leaves()), before, p.row(address))
}

func treeOf(leaves []merkle.Sum) *merkle.Tree {
	t := merkle.NewTree(len(leaves))
	for i, s := range leaves {
		t.Set(i, s)
	}
	return t
}

var (
	sizes     = rapid.SampledFrom([]int{1, 2, 4, 16, 32, 64, 256, 1024})
	addresses = rapid.Custom(func(t *rapid.T) string { return fmt.Sprintf("row %d", rapid.IntRange(0, 30).Draw(t, "n")) })
	contents  = rapid.SampledFrom([]string{"", "a", "b", "c"}) // "" removes
)

func TestTreeKeptInStepEqualsTreeFromScratchAfterAnyChanges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := sizes.Draw(t, "leaves")
		tree, twin := merkle.NewTree(n), partition{}
		for range rapid.IntRange(0, 40).Draw(t, "changes") {
			twin.put(tree, addresses.Draw(t, "address"), contents.Draw(t, "bytes"))
			// Looking at any node between changes must not disturb what is lazy.
			switch rapid.IntRange(0, 4).Draw(t, "look") {
			case 0:
				level := rapid.IntRange(0, tree.Levels()-1).Draw(t, "level")
				tree.Node(level, rapid.IntRange(0, tree.Width(level)-1).Draw(t, "node"))
			case 1:
				if got, want := tree.Root(), naiveRoot(twin.leaves(n)); got != want {
					t.Fatalf("root %v, from scratch %v", got, want)
				}
			}
		}
		leaves := twin.leaves(n)
		for i, want := range leaves {
			if got := tree.Leaf(i); got != want {
				t.Fatalf("leaf %d is %v, from scratch %v", i, got, want)
			}
		}
		if got, want := tree.Root(), naiveRoot(leaves); got != want {
			t.Fatalf("root %v, from scratch %v", got, want)
		}
	})
}

func TestEqualRowsGiveEqualBytesInWhateverOrderTheyCame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := sizes.Draw(t, "leaves")
		final := rapid.MapOfN(addresses, rapid.SampledFrom([]string{"a", "b"}), 1, 20).Draw(t, "rows")
		var order []string
		for address := range final {
			order = append(order, address)
		}
		slices.Sort(order)
		build := func(name string) []byte {
			tree, twin := merkle.NewTree(n), partition{}
			for _, address := range rapid.Permutation(order).Draw(t, name) {
				// A past that must leave no trace.
				twin.put(tree, address, contents.Draw(t, "past"))
				twin.put(tree, addresses.Draw(t, "passer-by"), contents.Draw(t, "past"))
			}
			for i := range 31 {
				address := fmt.Sprintf("row %d", i)
				twin.put(tree, address, final[address])
			}
			tree.Root()
			b, _ := tree.AppendBinary(nil)
			return b
		}
		if a, b := build("one order"), build("another"); !slices.Equal(a, b) {
			t.Fatal("two orders, two trees")
		}
	})
}

func TestATreeEmptiedAgainIsZeroAtEveryLevel(t *testing.T) {
	tree, twin := merkle.NewTree(256), partition{}
	for i := range 100 {
		twin.put(tree, fmt.Sprint(i), "x")
	}
	if tree.Root().IsZero() {
		t.Fatal("100 rows and a zero root")
	}
	for i := range 100 {
		twin.put(tree, fmt.Sprint(i), "")
	}
	for level := range tree.Levels() {
		for i := range tree.Width(level) {
			if s := tree.Node(level, i); !s.IsZero() {
				t.Errorf("level %d node %d is %v", level, i, s)
			}
		}
	}
}

func TestRowsThatChangePlacesBetweenLeavesChangeTheRoot(t *testing.T) {
	a, b := merkle.NewTree(256), merkle.NewTree(256)
	x, y := key.Row([]byte("x")), key.Row([]byte("y"))
	a.Set(3, x)
	a.Set(200, y)
	b.Set(3, y)
	b.Set(200, x)
	if a.Root() == b.Root() {
		t.Error("the root does not see which leaf holds what")
	}
}

func TestACloneLivesItsOwnLife(t *testing.T) {
	tree := merkle.NewTree(64)
	tree.Set(1, key.Row([]byte("a"))) // still dirty when cloned
	clone := tree.Clone()
	before := tree.Root()
	if clone.Root() != before {
		t.Fatal("the clone is not equal")
	}
	clone.Set(40, key.Row([]byte("b")))
	if clone.Root() == before || tree.Root() != before {
		t.Error("a change of the clone shows in the original, or not in the clone")
	}
}

func TestShapes(t *testing.T) {
	tests := []struct {
		leaves int
		widths []int
	}{
		{1, []int{1}},
		{2, []int{1, 2}},
		{16, []int{1, 16}},
		{32, []int{1, 2, 32}},
		{merkle.DefaultLeaves, []int{1, 4, 64, 1024}},
		{merkle.MaxLeaves, []int{1, 16, 256, 4096, 65536}},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%d leaves stand in %d levels", tt.leaves, len(tt.widths)), func(t *testing.T) {
			tree := merkle.NewTree(tt.leaves)
			var widths []int
			for level := range tree.Levels() {
				widths = append(widths, tree.Width(level))
			}
			if !slices.Equal(widths, tt.widths) || tree.Leaves() != tt.leaves || tree.Width(-1) != 0 || tree.Width(len(widths)) != 0 {
				t.Errorf("widths %v, want %v", widths, tt.widths)
			}
		})
	}
	for _, leaves := range []int{-1, 0, 3, 1000, merkle.MaxLeaves * 2} {
		t.Run(fmt.Sprintf("%d leaves are refused", leaves), func(t *testing.T) {
			for _, try := range []func(){
				func() { merkle.NewTree(leaves) },
				func() { key.Leaf([]byte("a"), leaves) },
			} {
				func() {
					defer func() {
						if recover() == nil {
							t.Error("taken")
						}
					}()
					try()
				}()
			}
		})
	}
}

func TestStringCountsLeavesInUse(t *testing.T) {
	tree := merkle.NewTree(16)
	tree.Set(3, merkle.Sum{15: 1})
	if got, want := tree.String(), "16 leaves, 1 in use, root "+tree.Root().String(); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
