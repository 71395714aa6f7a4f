package replica

import (
	"bytes"
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
	err := v.AllRows(id, nil, func(a crdt.Address, r crdt.Row) bool {
		t.Apply(LeafOf(key, a, leaves), merkle.Sum{}, RowSum(key, a, r))
		return true
	})
	return t, err
}

// Install is a snapshot on its way in (rule 5). The order of its steps is the
// rule: the source's log first, then the comparison with the cut, then the rows
// staged aside while their events are held, then everything joined.
//
//	Apply… ──▶ Await ──▶ CompareClears, CompareSums ──▶ Stage… ──▶ Promote…
//	 (a)                 (b)                            (c)  └───▶ Abort
//
// Clears and leaves may be compared one by one, each at any time after Await:
// what of the cut arrives from then on is held, so a row that is equal to the
// cut's once needs no join any more, whatever else happens to it.
type Install struct {
	p    *Partition
	cut  dvv.Clock
	key  merkle.Key
	size int // leaves of the trees

	all    bool
	leaves []byte // a bit for each unequal leaf
	keys   map[crdt.Key]bool

	step   step
	at     []byte // where the step goes on
	marked bool   // the durable mark is put: what was begun can only be finished
}

// Await begins an install of a cut with the given clock, when every group that
// the source still logged in it was applied or refused as early. Groups refused
// are like those trimmed: the rows bring what they did. leaves is the size of
// both trees, 0 when there is no comparing them: then all rows are joined.
func (p *Partition) Await(cut dvv.Clock, key merkle.Key, leaves int) *Install {
	in := &Install{p: p, cut: cut, key: key, size: leaves, all: leaves == 0, keys: map[crdt.Key]bool{}}
	in.leaves = make([]byte, (leaves+7)/8)
	if !mutated(noHold) {
		p.awaited = cut.Minus(p.clock)
	}
	return in
}

// CompareClears stages the dots that clears of a key had deferred in the cut.
// Rows of a key whose deferred clears differ are joined all, equal or not: a
// clear that only one side knows may reach into any of them.
func (in *Install) CompareClears(tx Tx, k crdt.Key, theirs dvv.Clock) error {
	differ := !theirs.Equal(in.p.dead[k])
	if differ {
		in.keys[k] = true
	}
	return tx.Stage(in.p.ID, stageKey(stagedClears, k.AppendPrefix(nil)), appendClears(nil, differ, theirs))
}

// EndClears follows the last of the cut's deferred clears: the keys that only
// this replica has some of differ too.
func (in *Install) EndClears(tx Tx) error {
	var mine []crdt.Key
	for k := range in.p.dead {
		_, found, err := tx.Staged(in.p.ID, stageKey(stagedClears, k.AppendPrefix(nil)))
		if err != nil {
			return err
		}
		if !found {
			mine = append(mine, k)
		}
	}
	slices.SortFunc(mine, func(a, b crdt.Key) int { return a.Row().Compare(b.Row()) })
	for _, k := range mine {
		if err := in.CompareClears(tx, k, dvv.Clock{}); err != nil {
			return err
		}
	}
	return nil
}

// CompareSums compares leaves from the given one on with those of the cut.
func (in *Install) CompareSums(mine *merkle.Tree, first int, theirs []merkle.Sum) {
	for i, sum := range theirs {
		if leaf := first + i; mine.Leaf(leaf) != sum {
			in.leaves[leaf/8] |= 1 << (leaf % 8)
		}
	}
}

// Wanted tells which rows of the cut must be staged.
func (in *Install) Wanted() Wanted {
	w := Wanted{All: in.all || len(in.keys) > MaxWantedKeys}
	if w.All {
		in.all = true // of what is staged, nothing is left out
		return w
	}
	if slices.ContainsFunc(in.leaves, func(b byte) bool { return b != 0 }) {
		w.Leaves = bytes.Clone(in.leaves)
	}
	for k := range in.keys {
		w.Keys = append(w.Keys, k)
	}
	slices.SortFunc(w.Keys, func(a, b crdt.Key) int { return a.Row().Compare(b.Row()) })
	return w
}

// IsEmpty tells whether no row is wanted.
func (w Wanted) IsEmpty() bool { return !w.All && len(w.Leaves) == 0 && len(w.Keys) == 0 }

// Wants tells whether a row must be staged and joined: it lies in an unequal
// leaf, or its key's deferred clears differ.
func (in *Install) Wants(a crdt.Address) bool {
	return in.all || in.keys[a.Key] || in.size > 0 && bit(in.leaves, LeafOf(in.key, a, in.size))
}

func bit(b []byte, i int) bool { return b[i/8]&(1<<(i%8)) != 0 }

// Stage is step (c) for one row of the cut. Nothing touches the replica's rows.
func (in *Install) Stage(tx Tx, a crdt.Address, r crdt.Row) error {
	return tx.Stage(in.p.ID, stageKey(stagedRow, a.AppendBinary(nil)), crdt.AppendRow(nil, r))
}

// StageOperation stages what the source remembered of an operation.
func (in *Install) StageOperation(tx Tx, m *crdt.Remembered) error {
	return tx.Stage(in.p.ID, operationKey(m.Op), crdt.AppendRemembered(nil, m))
}

// Abort gives the snapshot up and releases what was held: the groups are
// returned to be applied as if they had just arrived. The stage is left to
// [Tx.DropStaged]. What is being promoted in pieces cannot be given up.
func (in *Install) Abort() []crdt.Group {
	if in.marked {
		panic(fmt.Sprintf("replica: abort of a promotion of partition %d that has begun", in.p.ID))
	}
	in.p.Counts.Aborted++
	return in.p.release()
}

func (p *Partition) release() []crdt.Group {
	held := p.held
	p.held, p.heldBytes, p.awaited = nil, 0, dvv.Clock{}
	p.Counts.Released += uint64(len(held))
	return held
}

// What is held while a snapshot is staged, at most; what comes beyond is dropped,
// and its sender, which is not told that it is durable, sends it again.
const (
	maxHeld      = 1 << 10
	maxHeldBytes = 1 << 20
)

func (p *Partition) hold(g *crdt.Group) {
	size := g.Bytes()
	if len(p.held) >= maxHeld || p.heldBytes+size > maxHeldBytes {
		p.Counts.Unheld++
		return
	}
	if slices.ContainsFunc(p.held, func(h crdt.Group) bool { return h.Dot(0) == g.Dot(0) }) {
		return
	}
	p.held = append(p.held, *g)
	p.heldBytes += size
	p.Counts.Held++
}
