package replica

import (
	"slices"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/replica/merkle"
	"github.com/cartwheel-db/cartwheel/ring"
)

// receiveRowPrints lists the rows of the same leaves, and replies with those that
// are others here.
func (s *Shard) receiveRowPrints(from ring.NodeID, m RowPrints) {
	reply := RowsApart{ID: m.ID, Partition: m.Partition}
	_, tree := s.comparable(m.Partition, m.Print)
	if tree == nil || s.without(Trees) {
		s.send(from, reply)
		return
	}
	if !wellFormed(m, tree.Leaves()) {
		s.Stats.Malformed++
		return
	}
	l := &leafScan{partition: m.Partition, print: m.Print, leaves: slices.Clone(m.Leaves), limit: scanRows}
	l.ended = func(ok bool) {
		if ok && len(l.leaves) == len(m.Leaves) {
			reply.Print = m.Print
			var apart []crdt.Address
			apart, reply.Wanted = l.apart(m.Rows)
			reply.Rows = s.readRows(m.Partition, apart)
		}
		s.send(from, reply)
	}
	if !s.scan(l) {
		s.send(from, reply)
	}
}

func wellFormed(m RowPrints, leaves int) bool {
	for i, leaf := range m.Leaves {
		if leaf < 0 || leaf >= leaves || i > 0 && leaf <= m.Leaves[i-1] {
			return false
		}
	}
	return len(m.Leaves) > 0 && slices.IsSortedFunc(m.Rows, RowPrint.compare)
}

// apart returns the rows listed here that differ from a peer's, and the places
// of the peer's that differ from these.
func (l *leafScan) apart(theirs []RowPrint) (mine []crdt.Address, wanted []uint64) {
	sums := make(map[uint64]merkle.Sum, len(theirs))
	for _, r := range theirs {
		sums[r.Place] = r.Sum
	}
	same := make(map[uint64]bool, len(l.rows))
	for i := range l.rows {
		r := &l.rows[i]
		if sum, there := sums[r.place]; there && sum == r.sum {
			same[r.place] = true
			continue
		}
		mine = append(mine, r.address)
	}
	for _, r := range theirs {
		if !same[r.Place] && (len(wanted) == 0 || wanted[len(wanted)-1] != r.Place) {
			wanted = append(wanted, r.Place)
		}
	}
	return mine, wanted
}

// readRows reads rows, up to the bounds of one message.
func (s *Shard) readRows(id int, addresses []crdt.Address) (rows []AddressedRow) {
	size := 0
	_ = s.cfg.Read(func(v View) error { // a row that cannot be read is left to the next walk
		for _, a := range addresses {
			r, err := v.Row(id, a)
			if err != nil {
				continue
			}
			if size += mendBytes(a, r); len(rows) > 0 && (size > s.cfg.BatchBytes || len(rows) >= s.cfg.BatchGroup) {
				break
			}
			rows = append(rows, AddressedRow{a, r})
		}
		return nil
	})
	return rows
}

func mendBytes(a crdt.Address, r crdt.Row) int {
	n := 32 + len(a.Bucket) + len(a.Name) + len(a.Field) + 16*len(r.Deferred)
	for _, l := range r.Live {
		n += 20 + len(l.Payload)
	}
	return n
}

func (s *Shard) receiveRowsApart(from ring.NodeID, m RowsApart) {
	w, _ := s.walking(from, m.ID, m.Partition, m.Print)
	if w == nil {
		return
	}
	var wanted []crdt.Address
	for i := range w.rows {
		if _, found := slices.BinarySearch(m.Wanted, w.rows[i].place); found {
			wanted = append(wanted, w.rows[i].address)
		}
	}
	w.until = s.now.Mono + walkAllows
	s.mend(m.Partition, m.Print, m.Rows, func(held bool) {
		if s.trees.walk != w {
			return
		}
		if !held {
			s.restartWalk(w)
			return
		}
		if rows := s.readRows(m.Partition, wanted); len(rows) > 0 {
			s.send(from, RowsMend{Partition: m.Partition, Print: m.Print, Rows: rows})
		}
		s.trees.walk = nil
		if w.pair.mends++; w.pair.mends < maxMends && len(m.Rows)+len(wanted) > 0 {
			w.pair.looks = 0
		}
		s.lookAgain(w.pair) // which finds them equal now
	})
}

// mend makes rows the union of what two owners have of them under one clock. In
// the transaction the clock must still be that one: then tells whether it was,
// when everything is durable.
func (s *Shard) mend(id int, mark [16]byte, rows []AddressedRow, then func(held bool)) {
	if !s.valid(id) || !s.owns(id) || s.without(Trees) {
		return
	}
	size := 0
	for _, r := range rows {
		size += mendBytes(r.Address, r.Row)
	}
	s.deliver(size, func(c *commit) error {
		p, err := c.part(id)
		if err != nil {
			return err
		}
		held := !p.promoting() && p.Clock().Fingerprint() == mark
		for i := 0; held && i < len(rows); i++ {
			if err := s.mendRow(c, p, rows[i]); err != nil {
				return err
			}
		}
		if then != nil {
			c.then = append(c.then, func(err error) {
				if err == nil {
					then(held)
				}
			})
		}
		return nil
	})
}

func (s *Shard) mendRow(c *commit, p *part, theirs AddressedRow) error {
	a := theirs.Address
	outside := slices.ContainsFunc(theirs.Row.Live, func(l crdt.Live) bool { return !p.Clock().Contains(l.Dot) })
	if outside || s.ring.Partition(a.Bucket, a.Name) != p.ID {
		s.Stats.Malformed++
		return nil
	}
	before, err := c.tx.Row(p.ID, a)
	if p.spares(err) {
		return nil // a damaged row is replaced, and not merged
	}
	if err != nil {
		return err
	}
	if err := p.forgetSummary(c.tx, a.Key); err != nil { // it may be of rows as they should be
		return err
	}
	after, collisions := union(before, theirs.Row, p.Clock())
	p.Counts.Collisions += uint64(collisions)
	if after.Equal(before) {
		return nil
	}
	s.Stats.RowsRepaired++
	return p.putRow(c.tx, a, before, after)
}

// union is what two rows under one clock come to when they differ all the same:
// nobody can tell who is right, so nothing that is live on either side is lost.
func union(a, b crdt.Row, seen clock) (crdt.Row, int) {
	a, b = a.Clone(), b.Clone()
	a.Forget(seen)
	b.Forget(seen)
	return crdt.Join(crdt.Side{Row: a}, crdt.Side{Row: b})
}
