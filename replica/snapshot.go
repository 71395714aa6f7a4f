package replica

import (
	"fmt"
	"slices"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica/merkle"
)

// RowSum is the hash of one row under the cluster's key: what a leaf of the
// partition's Merkle tree sums up. An empty row counts as nothing.
func RowSum(key merkle.Key, a crdt.Address, r crdt.Row) merkle.Sum {
	if r.IsEmpty() {
		return merkle.Sum{}
	}
	return key.Row(crdt.AppendRow(a.AppendBinary(nil), r))
}

// LeafOf returns the leaf of the tree that a row belongs to.
func LeafOf(key merkle.Key, a crdt.Address, leaves int) int {
	return key.Leaf(a.AppendBinary(nil), leaves)
}

// Tree sums up a partition's rows by a scan.
func Tree(v View, id int, key merkle.Key, leaves int) (*merkle.Tree, error) {
	t := merkle.NewTree(leaves)
	err := v.AllRows(id, func(a crdt.Address, r crdt.Row) bool {
		t.Apply(LeafOf(key, a, leaves), merkle.Sum{}, RowSum(key, a, r))
		return true
	})
	return t, err
}

// Cut is the head of a snapshot: the source's clock at one moment, the dots
// deferred at keys then, and the operations remembered. Rows of unequal leaves
// follow through [Install.Stage].
type Cut struct {
	Clock      dvv.Clock
	Dead       map[crdt.Key]dvv.Clock
	Remembered []crdt.Remembered
}

// TakeCut reads the head of a snapshot. The view must stay open until the rows
// that the receiver asks for were read from it: the cut is one moment.
func TakeCut(v View, id int) (Cut, error) {
	clock, _, err := v.Clock(id)
	cut := Cut{Clock: clock, Dead: map[crdt.Key]dvv.Clock{}}
	if err == nil {
		err = v.AllDead(id, func(k crdt.Key, c dvv.Clock) bool { cut.Dead[k] = c; return true })
	}
	if err == nil {
		err = v.AllRemembered(id, func(m crdt.Remembered) bool { cut.Remembered = append(cut.Remembered, m); return true })
	}
	if err != nil {
		return Cut{}, fmt.Errorf("cut of partition %d: %w", id, err)
	}
	return cut, nil
}

// Install is a snapshot on its way in (rule 5). The order of its steps is the
// rule: the source's log first, then the comparison of leaves against the cut,
// then the rows staged aside while their events are held, then everything in
// one commit.
//
//	Apply… ──▶ Compare ──▶ Stage … Stage ──▶ Promote
//	 (a)         (b)          (c)    └────▶ Abort
type Install struct {
	p      *Partition
	cut    Cut
	tree   func(crdt.Address) int
	leaves map[int]bool
	keys   map[crdt.Key]bool
	staged map[crdt.Address]crdt.Row
}

// Compare is step (b). It may only be called when every group that the source
// still logged in its cut was applied. theirs is the tree of the cut; mine is
// read from v, the writer's own view. From here on, events of the cut that were
// not seen yet are held.
func (p *Partition) Compare(v View, cut Cut, theirs *merkle.Tree, key merkle.Key) (*Install, error) {
	mine, err := Tree(v, p.ID, key, theirs.Leaves())
	if err != nil {
		return nil, fmt.Errorf("compare partition %d with a cut: %w", p.ID, err)
	}
	in := &Install{
		p: p, cut: cut,
		tree:   func(a crdt.Address) int { return LeafOf(key, a, theirs.Leaves()) },
		leaves: map[int]bool{}, keys: map[crdt.Key]bool{}, staged: map[crdt.Address]crdt.Row{},
	}
	for leaf := range theirs.Leaves() {
		if mine.Leaf(leaf) != theirs.Leaf(leaf) {
			in.leaves[leaf] = true
		}
	}
	// Rows of a key whose deferred clears differ are joined all, equal or not: a
	// clear that only one side knows may reach into any of them.
	for k, c := range cut.Dead {
		if !c.Equal(p.dead[k]) {
			in.keys[k] = true
		}
	}
	for k, c := range p.dead {
		if !c.Equal(cut.Dead[k]) {
			in.keys[k] = true
		}
	}
	p.awaited = cut.Clock.Minus(p.clock)
	return in, nil
}

// Wants tells whether the row is part of what must be staged: it lies in an
// unequal leaf, or its key's deferred clears differ.
func (in *Install) Wants(a crdt.Address) bool { return in.leaves[in.tree(a)] || in.keys[a.Key] }

// Stage is step (c) for one row of the cut. Nothing touches the replica's rows.
func (in *Install) Stage(a crdt.Address, r crdt.Row) { in.staged[a] = r }

// Abort gives the snapshot up and releases what was held: the groups are
// returned to be applied as if they had just arrived.
func (in *Install) Abort() []crdt.Group {
	in.p.Counts.Aborted++
	return in.p.release()
}

func (p *Partition) release() []crdt.Group {
	held := p.held
	p.held, p.awaited, p.vouched = nil, dvv.Clock{}, dvv.Clock{}
	p.Counts.Released += uint64(len(held))
	return held
}

// Promote is step (d), in one transaction: every row of the unequal leaves,
// those that only one side has included, is joined under the cut's whole clock;
// the clock takes in the cut's; what it now covers leaves the deferred lists, in
// untouched rows too. The held groups are returned, to be applied in the same
// transaction; voids are the operations that turned out to be applied twice.
func (in *Install) Promote(tx Tx) (held []crdt.Group, voids map[crdt.Operation][]dvv.Dot, err error) {
	p := in.p
	rows, err := in.touched(tx)
	if err != nil {
		return nil, nil, err
	}
	for _, a := range rows {
		before, err := tx.Row(p.ID, a)
		if err != nil {
			return nil, nil, fmt.Errorf("promote %v: %w", a, err)
		}
		after, collisions := crdt.Join(
			crdt.Side{Row: before, Clock: p.clock, Dead: p.dead[a.Key]},
			crdt.Side{Row: in.staged[a], Clock: in.cut.Clock, Dead: in.cut.Dead[a.Key]},
		)
		p.Counts.Collisions += uint64(collisions)
		if err := tx.PutRow(p.ID, a, before, after); err != nil {
			return nil, nil, fmt.Errorf("promote %v: %w", a, err)
		}
	}
	p.fresh.Join(in.cut.Clock.Minus(p.clock))
	p.clock.Join(in.cut.Clock)
	for k, c := range in.cut.Dead {
		both := c.Clone()
		both.Join(p.dead[k])
		if err := p.putDead(tx, k, p.dead[k], both.Minus(p.clock)); err != nil {
			return nil, nil, err
		}
	}
	if voids, err = p.adopt(tx, in.cut.Remembered); err != nil {
		return nil, nil, err
	}
	p.Counts.Promoted++
	return p.release(), voids, nil
}

// touched lists the rows to join: those staged, and the replica's own in the
// same leaves and keys.
func (in *Install) touched(v View) ([]crdt.Address, error) {
	var rows []crdt.Address
	for a := range in.staged {
		rows = append(rows, a)
	}
	err := v.AllRows(in.p.ID, func(a crdt.Address, _ crdt.Row) bool {
		if _, staged := in.staged[a]; !staged && in.Wants(a) {
			rows = append(rows, a)
		}
		return true
	})
	slices.SortFunc(rows, crdt.Address.Compare)
	return rows, err
}

func (p *Partition) adopt(tx Tx, theirs []crdt.Remembered) (map[crdt.Operation][]dvv.Dot, error) {
	voids := map[crdt.Operation][]dvv.Dot{}
	for _, o := range theirs {
		m, _, err := p.recall(tx, o.Op)
		if err != nil {
			return nil, err
		}
		if v := m.Join(o); len(v) > 0 {
			voids[o.Op] = v
		}
		if err := tx.PutRemembered(p.ID, &m); err != nil {
			return nil, err
		}
	}
	return voids, nil
}
