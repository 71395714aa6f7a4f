package merkle

import (
	"fmt"
	"math/bits"

	"github.com/dchest/siphash"
)

const (
	// Fanout is the number of children of a node: part of what peers agree on.
	Fanout = 16
	// DefaultLeaves keeps a partition of 100,000 rows at about 100 rows a leaf,
	// in a tree of 17 KiB.
	DefaultLeaves = 1024
	// MaxLeaves bounds what a tree may take: about 1.1 MiB.
	MaxLeaves = 1 << 16
)

// Tree holds the leaf sums of one partition and, above them, nodes computed when
// asked for. It is not safe for concurrent use: even reading a node may compute.
type Tree struct {
	levels [][]Sum  // levels[0] is the root, the last level the leaves
	dirty  [][]bool // as levels without the last; a dirty node's ancestors are dirty
}

// NewTree returns the tree of an empty partition. leaves is a power of two from
// 1 to MaxLeaves, the same on every replica; NewTree panics on anything else, as
// it is a constant of the cluster and never a peer's word.
func NewTree(leaves int) *Tree {
	mustSize(leaves)
	t := &Tree{}
	var widths []int
	for n := leaves; ; n = (n + Fanout - 1) / Fanout {
		widths = append([]int{n}, widths...)
		if n == 1 {
			break
		}
	}
	for level, n := range widths {
		t.levels = append(t.levels, make([]Sum, n))
		if level < len(widths)-1 {
			t.dirty = append(t.dirty, make([]bool, n))
		}
	}
	return t
}

func validSize(leaves int) bool {
	return leaves >= 1 && leaves <= MaxLeaves && bits.OnesCount(uint(leaves)) == 1
}

func mustSize(leaves int) {
	if !validSize(leaves) {
		panic(fmt.Sprintf("merkle: %d leaves, want a power of two from 1 to %d", leaves, MaxLeaves))
	}
}

// Leaves is the number of leaves.
func (t *Tree) Leaves() int { return t.Width(t.last()) }

// Levels is the number of levels, root and leaves included: 4 for 1,024 leaves.
func (t *Tree) Levels() int { return len(t.levels) }

// Width is the number of nodes at a level; 0 for a level that does not exist.
func (t *Tree) Width(level int) int {
	if level < 0 || level >= len(t.levels) {
		return 0
	}
	return len(t.levels[level])
}

func (t *Tree) last() int { return len(t.levels) - 1 }

// Leaf returns the sum of leaf i. Like Set, Apply and Node it panics on an index
// out of range.
func (t *Tree) Leaf(i int) Sum { return t.levels[t.last()][i] }

// Set replaces the sum of a leaf, as when loading a stored tree.
func (t *Tree) Set(leaf int, s Sum) {
	leaves := t.levels[t.last()]
	if leaves[leaf] == s {
		return
	}
	leaves[leaf] = s
	t.soil(leaf)
}

// Apply takes one row of a leaf from its hash before a change to its hash after;
// Sum{} stands for a row that is not there.
func (t *Tree) Apply(leaf int, before, after Sum) {
	t.Set(leaf, t.Leaf(leaf).Sub(before).Add(after))
}

// soil marks the ancestors of a leaf dirty. It may stop at the first dirty one:
// everything above that is dirty already.
func (t *Tree) soil(leaf int) {
	i := leaf
	for level := t.last() - 1; level >= 0; level-- {
		i /= Fanout
		if t.dirty[level][i] {
			return
		}
		t.dirty[level][i] = true
	}
}

// Root is the sum of the whole partition: equal roots, equal rows. It is zero
// when there are none.
func (t *Tree) Root() Sum { return t.Node(0, 0) }

// Node is the sum of one node, computed now if anything below it has changed.
func (t *Tree) Node(level, index int) Sum {
	if level < t.last() && t.dirty[level][index] {
		t.refresh(level, index)
	}
	return t.levels[level][index]
}

// refresh recomputes one node and what is dirty below it. Its ancestors stay
// dirty, which keeps soil's shortcut true.
func (t *Tree) refresh(level, index int) {
	below := t.levels[level+1]
	first, end := index*Fanout, min((index+1)*Fanout, len(below))
	var buf [Fanout * len(Sum{})]byte
	b, empty := buf[:0], true
	for child := first; child < end; child++ {
		s := t.Node(level+1, child)
		empty = empty && s.IsZero()
		b = append(b, s[:]...)
	}
	// An empty subtree is zero at every level, whatever its size.
	t.levels[level][index] = Sum{}
	if !empty {
		t.levels[level][index] = joined(siphash.Hash128(inner0, inner1, b))
	}
	t.dirty[level][index] = false
}

// The key of inner nodes need not be secret: nobody outside can choose a leaf sum.
const (
	inner0 = 0x636172747768656c // "cartwhel"
	inner1 = 0x6d65726b6c653031 // "merkle01"
)

// Clone returns an independent copy, for instance as part of a cut.
func (t *Tree) Clone() *Tree {
	c := NewTree(t.Leaves())
	for level := range t.levels {
		copy(c.levels[level], t.levels[level])
	}
	for level := range t.dirty {
		copy(c.dirty[level], t.dirty[level])
	}
	return c
}

// String names the size and the root: "1024 leaves, 3 in use, root 5f0c...".
func (t *Tree) String() string {
	used := 0
	for _, s := range t.levels[t.last()] {
		if !s.IsZero() {
			used++
		}
	}
	return fmt.Sprintf("%d leaves, %d in use, root %v", t.Leaves(), used, t.Root())
}
