package replica

import (
	"slices"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/ring"
)

// What is kept for others, and when it goes (rule 4, and the retries of the
// table of types).
//
// A logged event is kept for owners that lack it: once its dot is stable, in the
// durable clock of every owner, it leaves the log. A log that grows over its cap,
// because an owner stays away, is cut from its oldest end; that owner then needs
// a snapshot.
//
// An operation is remembered so that a retry does not count twice. It goes when
// three things hold: its window is closed, so that no coordinator takes a retry;
// its dots are stable; and every member that may have coordinated one has, after
// the window closed, shown a clock that is covered here: what it minted in the
// window's last moment has arrived, and was recognised.

const (
	trimSlice = 2000 // groups or operations that leave in one commit
	trimWalk  = 8000 // records looked at in one commit
)

func (s *Shard) trimRound() {
	for _, id := range slices.Clone(s.stored) {
		p, err := s.loaded(id)
		if err != nil {
			continue
		}
		trim, forget := false, false
		_ = s.cfg.Read(func(v View) error {
			trim, forget = s.hasStable(v, p), s.hasClosed(v, p)
			return nil
		})
		if trim {
			s.enqueue(0, func(c *commit) error { return s.fillTrim(c, id) })
		}
		if forget {
			s.enqueue(0, func(c *commit) error { return s.fillForget(c, id, crdt.Operation{}) })
		}
	}
	s.after(s.cfg.TrimEvery, s.trimRound)
}

// hasStable tells whether something is to leave the log. It looks before a
// transaction is begun: an idle node must not commit for nothing.
func (s *Shard) hasStable(v View, p *part) (found bool) {
	groups, bytes, _ := v.Tally(p.ID)
	if !p.trimmable() && len(p.torn) == 0 {
		return false // until its rows are whole again
	}
	if groups == 0 || bytes > s.cfg.LogCap {
		return groups > 0
	}
	stable := s.stable(p)
	if p.trimmed.Covers(stable) {
		return false
	}
	_ = v.Log(p.ID, stable, func(g crdt.Group, _ int) bool {
		found = g.In(stable)
		return !found
	})
	if !found {
		p.trimmed = stable
	}
	return found
}

// hasClosed tells whether the oldest operation is to be forgotten.
func (s *Shard) hasClosed(v View, p *part) (found bool) {
	_, _, operations := v.Tally(p.ID)
	if operations == 0 {
		return false
	}
	closed := s.closedBefore(p)
	if operations > s.cfg.OpCap {
		closed = max(closed, s.closedAt(s.now.Wall))
	}
	if closed <= p.forgotBefore {
		return false
	}
	_ = v.AllRemembered(p.ID, crdt.Operation{}, func(m crdt.Remembered) bool {
		found = m.Op.Issued < closed
		return false
	})
	return found
}

// stable returns the dots that every owner is known to hold durably.
func (s *Shard) stable(p *part) dvv.Clock {
	if !s.owns(p.ID) {
		return dvv.Clock{}
	}
	stable := p.durable
	for _, id := range s.ring.Owners(p.ID) {
		if id == s.cfg.Self {
			continue
		}
		d := s.depth(p, id)
		if d.asked == 0 {
			return dvv.Clock{}
		}
		if mutated(trimTooEarly) {
			return p.durable.Intersect(d.clock)
		}
		stable = stable.Intersect(d.clock)
	}
	return stable
}

// fillTrim lets groups leave the log: those that are stable, and, where the log
// is over its cap, the oldest.
func (s *Shard) fillTrim(c *commit, id int) error {
	p, err := s.part(c.tx, id)
	if err != nil || !s.stores(id) {
		return err
	}
	stable := s.stable(p)
	whole := p.trimmable()
	gone, more, err := p.Trim(c.tx, stable, trimSlice)
	if err != nil {
		return err
	}
	s.Stats.Trimmed += uint64(gone)
	s.noticed(p.Partition)
	dropped, err := p.dropTorn(c.tx, stable)
	if err != nil {
		return err
	}
	s.Stats.DroppedLog += uint64(dropped)
	if more {
		c.then = append(c.then, func(err error) {
			if err == nil {
				s.enqueue(0, func(c *commit) error { return s.fillTrim(c, id) })
			}
		})
		return nil
	}
	c.then = append(c.then, func(err error) {
		if err == nil && whole {
			p.trimmed = stable
		}
	})
	if _, bytes, _ := c.tx.Tally(id); bytes > s.cfg.LogCap {
		return s.fillCut(c, p, bytes)
	}
	return nil
}

// cutSoon cuts a log that grew to twice its cap since the last round with the
// next commit: the cap is a bound, not a matter of how fast clients write.
func (s *Shard) cutSoon(c *commit, p *part) {
	if _, bytes, _ := c.tx.Tally(p.ID); bytes <= 2*s.cfg.LogCap || p.cutting || !p.trimmable() {
		return
	}
	p.cutting = true
	s.enqueue(0, func(c *commit) error {
		p.cutting = false
		return s.fillTrim(c, p.ID)
	})
}

// fillCut removes the oldest groups of a log that is over its cap, down to seven
// eighths of it.
func (s *Shard) fillCut(c *commit, p *part, bytes int64) error {
	type logged struct {
		group crdt.Group
		size  int
	}
	var all []logged
	if !p.trimmable() {
		return nil
	}
	err := c.tx.Log(p.ID, p.Clock(), func(g crdt.Group, size int) bool {
		all = append(all, logged{crdt.Group{Actor: g.Actor, First: g.First, Stamp: g.Stamp, Events: make([]crdt.Event, len(g.Events))}, size})
		return true
	})
	if err != nil && !s.damaged(p.ID, err) {
		return err
	}
	slices.SortStableFunc(all, func(a, b logged) int {
		switch {
		case a.group.Stamp < b.group.Stamp:
			return -1
		case a.group.Stamp > b.group.Stamp:
			return 1
		}
		return a.group.Dot(0).Compare(b.group.Dot(0))
	})
	for i := range all {
		if bytes <= s.cfg.LogCap-s.cfg.LogCap/8 {
			break
		}
		if err := c.tx.DeleteGroup(p.ID, &all[i].group); err != nil {
			return err
		}
		bytes -= int64(all[i].size)
		s.Stats.TrimmedEarly++
	}
	return nil
}

// closedBefore returns the time, by this node's wall clock, before which an
// operation must have been issued for its window to be closed everywhere and
// everything done in it to be covered here; 0 when nobody can tell.
func (s *Shard) closedBefore(p *part) int64 {
	if !s.owns(p.ID) {
		return 0
	}
	wall := s.now.Wall
	if mutated(forgetOperationEarly) {
		return wall - s.cfg.OpWindow
	}
	for _, id := range s.others {
		d := s.depth(p, id)
		if d.coveredAt == 0 {
			return 0
		}
		wall = min(wall, d.coverWall)
	}
	return s.closedAt(wall)
}

// closedAt returns the time before which an operation must have been issued for
// its window to be closed everywhere when this node's wall clock shows wall: no
// two clocks differ by more than the maximum skew, or stamps raise an alarm.
func (s *Shard) closedAt(wall int64) int64 { return wall - s.cfg.OpWindow - s.cfg.MaxSkew }

// fillForget forgets operations, in order of issue from one on.
func (s *Shard) fillForget(c *commit, id int, from crdt.Operation) error {
	p, err := s.part(c.tx, id)
	if err != nil || !s.stores(id) {
		return err
	}
	closed, stable := s.closedBefore(p), s.stable(p)
	if mutated(forgetOperationEarly) {
		stable = p.durable
	}
	_, _, operations := c.tx.Tally(id)
	over := operations - s.cfg.OpCap
	var gone []crdt.Operation
	walked, next := 0, crdt.Operation{}
	err = c.tx.AllRemembered(id, from, func(m crdt.Remembered) bool {
		if walked++; walked > trimWalk || len(gone) >= trimSlice {
			next = m.Op
			return false
		}
		switch {
		case m.Op.Issued < closed && coversAll(stable, &m):
			s.Stats.Forgotten++
		case over > 0 && m.Op.Issued < s.closedAt(s.now.Wall):
			s.Stats.MayRepeat++
		default:
			return m.Op.Issued < closed // what follows was issued later
		}
		over--
		gone = append(gone, m.Op)
		return true
	})
	if s.damaged(id, err) {
		err = nil
	}
	for _, op := range gone {
		if err == nil {
			err = c.tx.DeleteRemembered(id, op)
		}
	}
	c.then = append(c.then, func(err error) {
		switch {
		case err != nil:
		case next != crdt.Operation{}:
			s.enqueue(0, func(c *commit) error { return s.fillForget(c, id, next) })
		default:
			p.forgotBefore = closed
		}
	})
	return err
}

// noteForgotten counts an increment that may count twice. Members are waited for
// before an operation is forgotten; one that departed is not, for it may never
// come back. If it does, with an increment whose window is closed and that nobody
// remembers, then nobody can tell either whether it was retried elsewhere.
func (s *Shard) noteForgotten(c *commit, p *part, from ring.NodeID, g *crdt.Group) {
	if !g.Adds() || g.Op.IsZero() || !s.ring.HasDeparted(from) || g.In(p.Clock()) {
		return
	}
	if _, known, err := c.tx.Remembered(p.ID, g.Op); err == nil && !known && g.Op.Issued < s.closedAt(s.now.Wall) {
		s.Stats.MayRepeat++
	}
}

// coversAll tells whether a clock has all groups of an operation. Groups come
// whole, so their first dots tell; two coordinators may have minted groups of
// different lengths.
func coversAll(c dvv.Clock, m *crdt.Remembered) bool {
	for _, d := range m.Dots {
		if !c.Contains(d) {
			return false
		}
	}
	return true
}
