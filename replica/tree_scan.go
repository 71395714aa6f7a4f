package replica

import (
	"slices"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/replica/merkle"
)

// Walks over all rows of a partition, to sum up its tree or to list the rows of
// some leaves. They go in slices, one at a time, and more slowly while there is
// other work.
const (
	sliceRows  = 512
	sliceBytes = 1 << 20
	slicePace  = int64(4e6)  // nanoseconds from one slice to the next
	busyPace   = int64(20e6) // the same while something waits for a commit
	flawPause  = int64(60e9) // from a walk that met damage to the next
	scanRows   = 1 << 16     // rows of one list, at most
	maxScans   = 8           // lists that wait for their turn
)

// treeState is what a shard keeps of trees.
type treeState struct {
	scans []*leafScan
	next  int  // the partition from which on one is looked for whose tree must grow
	awake bool // a slice is on its way
	turn  bool // a walk over a set had the last slice: trees are next

	pairs  []*pair // of partitions and co-owners, in this order
	under  uint64  // the ring they were made from
	walk   *treeWalk
	verify VerifyReport
}

type shardTrees struct{ trees treeState }

func (s *Shard) startTrees() {
	s.wakeTrees()
	s.after(s.lookEvery(), s.compareRound)
	s.after(treeSaveEvery, s.saveRound)
}

// settled runs fn when what is in memory is what is committed: now, or after the
// commit under way.
func (s *Shard) settled(fn func()) {
	if s.committing == nil {
		fn()
		return
	}
	s.committing.then = append(s.committing.then, func(err error) {
		if err == nil {
			fn()
		}
	})
}

func (s *Shard) wakeTrees() {
	if s.trees.awake {
		return
	}
	s.trees.awake = true
	pace := slicePace
	if s.committing != nil || len(s.queue) > 0 {
		pace = busyPace
	}
	s.after(pace, func() {
		s.settled(func() {
			s.trees.awake = false
			if s.scanSlice() {
				s.wakeTrees()
			}
		})
	})
}

// scanSlice does one slice of work, and tells whether there may be more.
func (s *Shard) scanSlice() bool {
	if len(s.trees.scans) > 0 {
		l := s.trees.scans[0]
		if over, ok := s.scanLeaves(l); over {
			s.trees.scans = slices.Delete(s.trees.scans, 0, 1)
			l.ended(ok)
		}
		return true
	}
	if len(s.wanted) > 0 && !s.trees.turn {
		s.trees.turn = true
		s.summarySlice()
		return true
	}
	s.trees.turn = false
	at, _ := slices.BinarySearch(s.stored, s.trees.next)
	for i := range s.stored {
		id := s.stored[(at+i)%len(s.stored)]
		if p := s.parts[id]; p != nil && !s.mustGrow(p) {
			continue
		}
		p, err := s.loaded(id)
		if err != nil {
			continue // another round tries again
		}
		s.trees.next = id
		if s.mustGrow(p) {
			s.growTree(p)
		}
		return true
	}
	if len(s.wanted) == 0 {
		return false
	}
	s.summarySlice()
	return true
}

func (s *Shard) mustGrow(p *part) bool {
	return (!p.sums.whole || p.sums.flawed) && p.sums.again <= s.now.Mono
}

// growTree sums up one more slice of a partition's rows.
func (s *Shard) growTree(p *part) {
	t := &p.sums
	if t.whole || t.tree == nil {
		t.forget()
		t.key, t.tree = s.cfg.TreeKey, merkle.NewTree(s.cfg.Leaves)
	}
	tree := t.tree
	next, flawed, err := s.rowsFrom(p, t.cursor, func(address []byte, _ crdt.Address, sum merkle.Sum) {
		tree.Apply(t.key.Leaf(address, s.cfg.Leaves), merkle.Sum{}, sum)
	})
	t.tree = tree // given up for a damaged row, which it does not have
	switch {
	case err != nil: // not known how far it came
		t.forget()
		t.again = s.now.Mono + flawPause
		s.trees.next = p.ID + 1
	case next != nil:
		t.cursor, t.flawed = next, t.flawed || flawed
	default:
		t.whole, t.flawed = true, t.flawed || flawed
		s.Stats.TreesRebuilt++
		if t.flawed {
			t.again = s.now.Mono + flawPause
		}
		s.trees.next = p.ID + 1
	}
}

// rowsFrom calls fn for the rows of one slice, and returns where the next one
// begins, nil at the end. Damaged rows are noted and passed over: flawed tells of
// them.
func (s *Shard) rowsFrom(p *part, from []byte, fn func(address []byte, a crdt.Address, sum merkle.Sum)) (next []byte, flawed bool, err error) {
	var t rowTree
	t.key = s.cfg.TreeKey
	rows, size := 0, 0
	err = s.cfg.Read(func(v View) error {
		return v.AllRows(p.ID, from, func(a crdt.Address, r crdt.Row) bool {
			t.scratch = a.AppendBinary(t.scratch[:0])
			n := len(t.scratch)
			sum := t.sum(n, r)
			fn(t.scratch[:n], a, sum)
			size += len(t.scratch)
			if rows++; rows < sliceRows && size < sliceBytes {
				return true
			}
			next = append(slices.Clone(t.scratch[:n]), 0) // the address that follows
			return false
		})
	})
	if p.spares(err) {
		return next, true, nil
	}
	return next, false, err
}

// leafScan lists the rows of some leaves, as they are under one clock. It also
// sums them up: a tree with other leaves is wrong, whatever the peer has.
type leafScan struct {
	partition int
	print     [16]byte
	leaves    []int // sorted
	limit     int   // rows from which on leaves are left out, but for one
	ended     func(ok bool)

	from []byte
	rows []scannedRow
}

type scannedRow struct {
	leaf    int
	place   uint64
	address crdt.Address
	sum     merkle.Sum
}

// scan queues a list, and tells whether there is room for it.
func (s *Shard) scan(l *leafScan) bool {
	if len(s.trees.scans) >= maxScans {
		return false
	}
	s.trees.scans = append(s.trees.scans, l)
	s.wakeTrees()
	return true
}

func (s *Shard) scanLeaves(l *leafScan) (over, ok bool) {
	p, tree := s.comparable(l.partition, l.print)
	if tree == nil {
		return true, false
	}
	next, flawed, err := s.rowsFrom(p, l.from, func(address []byte, a crdt.Address, sum merkle.Sum) {
		place := p.sums.key.Place(address)
		leaf := merkle.LeafAt(place, tree.Leaves())
		if _, wanted := slices.BinarySearch(l.leaves, leaf); wanted {
			l.rows = append(l.rows, scannedRow{leaf, place, a, sum})
		}
	})
	if flawed && p.sums.whole {
		p.sums.flawed, p.sums.again = true, s.now.Mono+flawPause
	}
	if err != nil || flawed || !l.fits() {
		return true, false
	}
	if l.from = next; next != nil {
		return false, false
	}
	sums := map[int]merkle.Sum{}
	for i := range l.rows {
		sums[l.rows[i].leaf] = sums[l.rows[i].leaf].Add(l.rows[i].sum)
	}
	for _, leaf := range l.leaves {
		if sums[leaf] != tree.Leaf(leaf) {
			s.miscounted(p)
			return true, false
		}
	}
	return true, true
}

// fits leaves out leaves, the last first, until the list is short enough.
func (l *leafScan) fits() bool {
	for len(l.leaves) > 1 && len(l.rows) > l.limit {
		last := len(l.leaves) - 1
		l.rows = slices.DeleteFunc(l.rows, func(r scannedRow) bool { return r.leaf == l.leaves[last] })
		l.leaves = l.leaves[:last]
	}
	return len(l.rows) <= scanRows
}

// miscounted gives up a tree that is not the sum of its rows.
func (s *Shard) miscounted(p *part) {
	s.Stats.Miscounted++
	p.sums.forget()
	s.enqueue(0, func(c *commit) error {
		p, err := c.part(p.ID)
		if err != nil {
			return err
		}
		if err := p.forgetSummaries(c.tx); err != nil {
			return err
		}
		return p.outdateTree(c.tx)
	})
	s.wakeTrees()
}
