package replica

import (
	"bytes"
	"fmt"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/replica/merkle"
)

// partTree is the Merkle tree of a partition, kept in memory and stepped with
// every row that changes: asking for it costs no reading. It runs ahead of the
// disk as the clock does, by what the open transaction changed.
type partTree struct{ sums rowTree }

// rowTree sums up all rows of a partition, or, while it grows, those whose
// addresses lie below the cursor of the walk that it grows with.
type rowTree struct {
	key    merkle.Key
	tree   *merkle.Tree // nil before the walk began
	cursor []byte
	whole  bool
	flawed bool  // the walk met damaged rows: the tree lacks them
	again  int64 // nanoseconds: no walk before that

	stored  bool // the store keeps the bytes of a tree
	saved   bool // and it is this tree
	changed bool // since somebody last looked whether to save it

	scratch []byte
}

// TreeStats counts what the trees were good for.
type TreeStats struct {
	Compared       uint64 // pairs of roots that this node asked for
	TreesEqual     uint64
	TreesApart     uint64 // compared under different clocks: not compared at all
	Diverged       uint64 // equal clocks and different trees: an alarm
	Walks          uint64 // down a tree, to the leaves that differ
	WalksRestarted uint64 // walks given up because a clock moved or a message was lost
	RowsRepaired   uint64 // rows that took in what another owner had under an equal clock
	TreeInstalls   uint64 // snapshots asked for because clocks stayed apart
	TreesLoaded    uint64 // trees taken over from the last clean close
	TreesRebuilt   uint64 // trees summed up from all rows
	TreesSaved     uint64
	Miscounted     uint64 // trees that were not the sum of their rows: an alarm
}

// putRow replaces a row, and keeps the tree in step.
func (p *Partition) putRow(tx Tx, a crdt.Address, before, after crdt.Row) error {
	if err := tx.PutRow(p.ID, a, before, after); err != nil {
		return err
	}
	if mutated(unsortedTreeBytes) {
		after = inOrderOfArrival(before, after)
	}
	was, is, hashed := p.sums.step(a, before, after)
	if a.Type == crdt.Set {
		err := p.summarize(tx, a, before, after, func() (merkle.Sum, merkle.Sum) {
			if !hashed {
				was, is = p.sums.row(a, before), p.sums.row(a, after)
			}
			return was, is
		})
		if err != nil {
			return fmt.Errorf("summarize %v: %w", a.Key, err)
		}
	}
	return p.outdateTree(tx)
}

// outdateTree removes a stored tree, in the transaction that changes the rows.
// The clock it was saved under tells most of that on its own, but rows may change
// under one clock: a repair, a snapshot promoted in pieces.
func (p *Partition) outdateTree(tx Tx) error {
	if !p.sums.stored {
		return nil
	}
	p.sums.stored, p.sums.saved = false, false
	if err := tx.PutTree(p.ID, nil); err != nil {
		return fmt.Errorf("outdate the tree of partition %d: %w", p.ID, err)
	}
	return nil
}

// wholeTree is the tree of all rows, nil while it is not known. The caller must
// not change it.
func (p *Partition) wholeTree() *merkle.Tree {
	if p.sums.whole && !p.sums.flawed {
		return p.sums.tree
	}
	return nil
}

// step takes the tree from a row before a change to the row after. What the walk
// has yet to come to, it will meet as it is then. The hashes are those of
// the two, where the tree needed them.
func (t *rowTree) step(a crdt.Address, before, after crdt.Row) (was, is merkle.Sum, hashed bool) {
	t.changed = true
	if t.tree == nil {
		return was, is, false
	}
	t.scratch = a.AppendBinary(t.scratch[:0])
	if t.whole || bytes.Compare(t.scratch, t.cursor) < 0 {
		leaf, n := t.key.Leaf(t.scratch, t.tree.Leaves()), len(t.scratch)
		was, is, hashed = t.sum(n, before), t.sum(n, after), true
		t.tree.Apply(leaf, was, is)
	}
	return was, is, hashed
}

// row hashes a row.
func (t *rowTree) row(a crdt.Address, r crdt.Row) merkle.Sum {
	t.scratch = a.AppendBinary(t.scratch[:0])
	return t.sum(len(t.scratch), r)
}

// sum hashes a row whose address is the first n bytes of the scratch space.
func (t *rowTree) sum(n int, r crdt.Row) merkle.Sum {
	if r.IsEmpty() {
		return merkle.Sum{}
	}
	t.scratch = crdt.AppendRow(t.scratch[:n], r)
	return t.key.Row(t.scratch)
}

// forget gives the tree up; it grows again from nothing.
func (t *rowTree) forget() {
	t.tree, t.cursor, t.whole, t.flawed, t.saved, t.again = nil, nil, false, false, false, 0
}

// inOrderOfArrival is a mistake to be planted: rows are kept sorted, and one that
// is not has another hash on every replica.
func inOrderOfArrival(before, after crdt.Row) crdt.Row {
	out := crdt.Row{Deferred: after.Deferred}
	for _, old := range []bool{true, false} {
		for _, l := range after.Live {
			if contains(before.Live, l) == old {
				out.Live = append(out.Live, l)
			}
		}
	}
	return out
}

func contains(live []crdt.Live, l crdt.Live) bool {
	for _, o := range live {
		if o.Dot == l.Dot && o.Payload.Equal(l.Payload) {
			return true
		}
	}
	return false
}
