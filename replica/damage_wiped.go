package replica

import (
	"slices"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/ring"
)

// A partition's clock says what its rows mean, its deferred clears what they will
// mean, its marks whether they fit the clock. Where one of them is damaged, the
// partition is a wiped store: it is dropped, begins anew under another actor, and
// its peers fill it. While it is loaded, what is in memory is put back instead.

// lostClock is the damage of rows that no clock speaks for: its record took
// another partition's name.
type lostClock struct{ partition int }

func (e *lostClock) Error() string { return "rows without a clock" }

func (e *lostClock) Record() (string, int, []byte) { return partClocks, e.partition, nil }

// orphaned finds rows or deferred clears of a partition that has no clock.
func (p *Partition) orphaned(v View) error {
	row, err := firstRow(v, p.ID, nil)
	if err == nil && (row != nil || len(p.dead) > 0) {
		err = &lostClock{p.ID}
	}
	return err
}

// partOrWipe is [Shard.part] in a transaction that may begin the partition anew.
func (c *commit) partOrWipe(id int) (*part, error) {
	s := c.s
	p, err := s.part(c.tx, id)
	for tries := 0; err != nil && tries < 3; tries++ {
		lost := []int{id}
		heads := true
		only := eachDamage(err, func(r record) {
			heads = heads && (r.part == partClocks || r.part == partDead || r.part == partMarks)
			if s.valid(r.partition) && r.partition != id {
				lost = append(lost, r.partition)
			}
			s.notice(id, r)
		})
		if !only || !heads {
			return nil, err
		}
		slices.Sort(lost)
		for _, q := range slices.Compact(lost) {
			if s.parts[q] == nil && !s.ownedByOthers(q) {
				return nil, &unusableError{id, err}
			}
		}
		for _, q := range slices.Compact(lost) {
			if err := c.beginAnew(q); err != nil {
				return nil, err
			}
		}
		p, err = s.part(c.tx, id)
	}
	return p, err
}

// ownedByOthers tells whether there is anybody to fetch a partition from.
func (s *Shard) ownedByOthers(partition int) bool {
	return slices.ContainsFunc(s.ring.Owners(partition), func(id ring.NodeID) bool { return id != s.cfg.Self })
}

// beginAnew drops a partition that cannot be read, or puts back what is in memory.
func (c *commit) beginAnew(id int) error {
	s := c.s
	if p := s.parts[id]; p != nil {
		return c.putBack(p)
	}
	if err := c.tx.Drop(id); err != nil {
		return err
	}
	c.drops = append(c.drops, id)
	s.Stats.WipedPartitions++
	s.report("partition %d begins anew, its clock, deferred clears or marks are damaged: peers fill it", id)
	d := &s.shardDamage
	for _, w := range slices.Clone(d.wounds) {
		if w.partition == id {
			s.abandon(w)
			s.healed(w)
		}
	}
	d.known = slices.DeleteFunc(d.known, func(r record) bool { return r.partition == id })
	p := s.newPart(&Partition{ID: id, dead: map[crdt.Key]dvv.Clock{}}, s.cfg.NewActor())
	p.since = s.now.Mono
	s.parts[id] = p
	c.then = append(c.then, func(err error) {
		for _, from := range s.ring.Owners(id) {
			if err == nil && from != s.cfg.Self && s.usable(from) {
				s.catchUpFrom(id, from, true)
			}
		}
	})
	return nil
}

// putBack writes what a loaded partition knows of itself.
func (c *commit) putBack(p *part) error {
	if !c.s.stores(p.ID) {
		return nil
	}
	if err := c.tx.PutClock(p.ID, p.clock); err != nil {
		return err
	}
	for k, dots := range p.dead {
		if err := c.tx.PutDead(p.ID, k, dots); err != nil {
			return err
		}
	}
	return c.tx.PutMark(p.ID, p.marked, p.promoting())
}

// mendHead sees to a damaged clock, deferred clear or mark, met while a partition
// was read: of that partition, or of one beside it.
func (s *Shard) mendHead(met int, r record) {
	var fresh bool
	if s.shardDamage.heads, fresh = insertRecord(s.shardDamage.heads, r); !fresh {
		return
	}
	s.enqueue(0, func(c *commit) error { return s.fillHead(c, met, r) })
}

func (s *Shard) fillHead(c *commit, met int, r record) error {
	ids := []int{r.partition}
	if met >= 0 && met != r.partition {
		ids = append(ids, met)
	}
	for _, id := range ids {
		if !s.valid(id) {
			continue
		}
		loaded := s.parts[id] != nil
		p, err := c.partOrWipe(id)
		if unusable(err) {
			s.Stats.Unrepairable++
			s.report("%v, and no other member owns it", err)
			return nil // it stays among the heads: retryHeads comes back to it
		}
		if err == nil && loaded {
			err = c.putBack(p)
		}
		if err != nil {
			return err
		}
	}
	c.then = append(c.then, func(err error) {
		if err == nil {
			s.shardDamage.heads = deleteRecord(s.shardDamage.heads, r)
			s.mended(r)
		}
	})
	return c.tx.Purge(r.part, r.partition, []byte(r.key))
}

// retryHeads looks whether there is somebody by now who owns what was damaged here
// and had nobody to be fetched from.
func (s *Shard) retryHeads() {
	for _, r := range slices.Clone(s.shardDamage.heads) {
		if s.valid(r.partition) && s.parts[r.partition] == nil && s.ownedByOthers(r.partition) {
			s.enqueue(0, func(c *commit) error { return s.fillHead(c, r.partition, r) })
		}
	}
}
