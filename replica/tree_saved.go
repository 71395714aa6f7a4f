package replica

import (
	"fmt"

	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica/merkle"
)

// A saved tree is the mark of the clock it belongs to, and the tree's bytes. A
// crash leaves a clock that has moved on, and so a tree that nobody takes for
// the rows' own.
//
//	keyed hash of the clock's fingerprint (16 bytes) | tree

// treeMark names a clock under the cluster's key: a store that was carried to
// another cluster has no tree there.
func treeMark(key merkle.Key, c dvv.Clock) merkle.Sum {
	mark := c.Fingerprint()
	return key.Row(mark[:])
}

// SaveTrees stores the trees that are not stored yet, in a transaction of its
// own at a clean close, when no commit is under way. The next opening then takes
// them over without reading a row.
func (s *Shard) SaveTrees(tx Tx) error {
	for _, id := range s.stored {
		if p := s.parts[id]; p != nil {
			if err := s.saveTree(tx, p); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Shard) saveTree(tx Tx, p *part) error {
	t := p.wholeTree()
	if t == nil || p.sums.saved || p.promoting() {
		return nil
	}
	mark := treeMark(p.sums.key, p.Clock())
	b, _ := t.AppendBinary(mark[:])
	if err := tx.PutTree(p.ID, b); err != nil {
		return fmt.Errorf("save the tree of partition %d: %w", p.ID, err)
	}
	p.sums.stored, p.sums.saved = true, true
	s.Stats.TreesSaved++
	return nil
}

// loadTree takes over the tree that belongs to the partition's clock, if one was
// saved; otherwise the tree grows in the background. A tree that cannot be read
// is one that was not saved.
func (s *Shard) loadTree(v View, p *Partition) {
	t := &p.sums
	t.key = s.cfg.TreeKey
	_, promoting, err := v.Mark(p.ID)
	if err != nil || promoting {
		t.stored = true // perhaps: the first change removes it
		return
	}
	if p.clock.IsEmpty() { // a new partition has no rows
		t.tree, t.whole = merkle.NewTree(s.cfg.Leaves), true
		return
	}
	b, err := v.Tree(p.ID)
	t.stored = err != nil || b != nil
	mark := treeMark(t.key, p.clock)
	if err != nil || len(b) < len(mark) || merkle.Sum(b[:len(mark)]) != mark {
		return
	}
	if t.tree, err = merkle.DecodeTree(b[len(mark):], s.cfg.Leaves); err == nil {
		t.whole, t.saved = true, true
		s.Stats.TreesLoaded++
	}
}

// treeSaveEvery is how often, in nanoseconds, one tree is saved of a partition
// that has come to rest. A crash then costs a walk of the partitions that were
// written to, and of no others.
const treeSaveEvery = int64(10e9)

func (s *Shard) saveRound() {
	s.after(treeSaveEvery, s.saveRound)
	resting := -1
	for _, id := range s.stored {
		p := s.parts[id]
		if p == nil || p.wholeTree() == nil || p.sums.saved {
			continue
		}
		if !p.sums.changed && resting < 0 {
			resting = id
		}
		p.sums.changed = false
	}
	if resting < 0 || s.ailing {
		return
	}
	s.enqueue(0, func(c *commit) error {
		p, err := c.part(resting)
		if err != nil {
			return err
		}
		return s.saveTree(c.tx, p)
	})
}
