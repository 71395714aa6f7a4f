package merkle

import "fmt"

// Step is one message of a walk: the sender's sums of some nodes of one level,
// indices strictly ascending. A step without indices says "nothing (more) differs".
type Step struct {
	Level   int
	Indices []int
	Sums    []Sum // one for each index
}

// String draws the step: "level 2: 17=5f0c0e1d 18=00000000".
func (s Step) String() string {
	out := fmt.Sprintf("level %d:", s.Level)
	for i, index := range s.Indices {
		if i < len(s.Sums) {
			out += fmt.Sprintf(" %d=%.8s", index, s.Sums[i])
		}
	}
	return out
}

// StepError refuses a step that no tree of this size would have sent. The tree
// is unchanged; the walk is over.
type StepError struct {
	Level, Levels int
	Why           string
}

func (e *StepError) Error() string {
	return fmt.Sprintf("merkle: compare level %d of %d: %s", e.Level, e.Levels, e.Why)
}

// Open begins a walk with the root. Send it to the peer, who answers with Descend.
//
//	mine                                          theirs
//	Open     -> root sum
//	                            Descend  <- its sums of the root's children
//	Descend  -> sums of the children of those that differ
//	                            Descend  <- ... until the leaves: "leaf 17 differs"
func (t *Tree) Open() Step {
	return Step{Sums: []Sum{t.Root()}, Indices: []int{0}}
}

// Descend takes the peer's step. Above the leaves it returns my next step: my
// sums of the children of all nodes that differ, empty if none do. At the leaves
// it returns the leaves that differ, ascending, and an empty next step.
func (t *Tree) Descend(theirs Step) (next Step, leaves []int, err error) {
	differing, err := t.Differing(theirs.Level, theirs.Indices, theirs.Sums)
	if err != nil {
		return Step{}, nil, err
	}
	if theirs.Level == t.last() {
		return Step{Level: t.last()}, differing, nil
	}
	next = Step{Level: theirs.Level + 1}
	next.Indices = t.Children(theirs.Level, differing)
	next.Sums = t.Sums(next.Level, next.Indices)
	return next, nil, nil
}

// Differing returns those of the indices, at one level, where my sum is not
// theirs. Indices and sums may come straight from a peer: a level that does not
// exist, an index out of range or order, or a different number of sums is a
// [*StepError].
func (t *Tree) Differing(level int, indices []int, theirs []Sum) ([]int, error) {
	if err := t.check(level, indices, len(theirs)); err != nil {
		return nil, err
	}
	var differing []int
	for i, index := range indices {
		if t.Node(level, index) != theirs[i] {
			differing = append(differing, index)
		}
	}
	return differing, nil
}

func (t *Tree) check(level int, indices []int, sums int) error {
	refuse := func(format string, args ...any) error {
		return &StepError{level, t.Levels(), fmt.Sprintf(format, args...)}
	}
	width := t.Width(level)
	switch {
	case width == 0:
		return refuse("no such level")
	case len(indices) > width:
		return refuse("%d indices for %d nodes", len(indices), width)
	case len(indices) != sums:
		return refuse("%d indices with %d sums", len(indices), sums)
	}
	least := 0
	for _, index := range indices {
		if index < least || index >= width {
			return refuse("index %d, want one from %d to %d", index, least, width-1)
		}
		least = index + 1
	}
	return nil
}

// Children returns the indices, one level down, of all children of these nodes;
// none for leaves.
func (t *Tree) Children(level int, indices []int) []int {
	width := t.Width(level + 1)
	if width == 0 || len(indices) == 0 {
		return nil
	}
	children := make([]int, 0, len(indices)*Fanout)
	for _, index := range indices {
		for child := index * Fanout; child < min((index+1)*Fanout, width); child++ {
			children = append(children, child)
		}
	}
	return children
}

// Sums returns my sums of these nodes, in their order. It panics on an index out
// of range.
func (t *Tree) Sums(level int, indices []int) []Sum {
	if len(indices) == 0 {
		return nil
	}
	sums := make([]Sum, len(indices))
	for i, index := range indices {
		sums[i] = t.Node(level, index)
	}
	return sums
}
