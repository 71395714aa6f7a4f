package replica

import (
	"slices"

	"github.com/cartwheel-db/cartwheel/ring"
)

// The rejoin barrier. An owner whose store was just opened takes writes at once,
// and does not count toward R before it has caught up with what every member
// that can be reached held after it opened:
//
//	joining ──────┐                       no durable mark: new, wiped, restored; needs all other owners
//	              ├─▶ ready ─▶ (restart) ─▶ recovering
//	recovering ───┘                       with the mark: needs one other owner that is or has been ready
//
// Writes that go without it meanwhile are in what the others hold when they
// answer: a member answers a sounding after the commit under way, and its answer
// counts only if it had this node back on its active lists by then. What a member
// that cannot be reached may still know shows in the staleness bound.

// isReady tells whether an answer of this node counts toward R.
func (s *Shard) isReady(p *part) bool {
	if !s.owns(p.ID) || p.promoting() {
		return false
	}
	return p.ready || s.cfg.NoBarrier || mutated(skipBarrier)
}

// checkReady makes an owner ready when it has caught up.
func (s *Shard) checkReady(p *part) {
	if p.ready || !s.owns(p.ID) || p.promoting() || !s.caughtUp(p) {
		return
	}
	p.ready = true
	s.Stats.BecameReady++
	s.putMark(p.ID)
}

func (s *Shard) caughtUp(p *part) bool {
	owners := s.ring.Owners(p.ID)
	met, seasoned := 0, 0
	for _, id := range s.others {
		d := s.depth(p, id)
		if d.barrierAt == 0 || d.barrierAt < p.since {
			if s.up(id) || s.now.Mono < p.since+s.cfg.Patience {
				return false
			}
			continue
		}
		if slices.Contains(owners, id) {
			if met++; d.ready {
				seasoned++
			}
		}
	}
	others := len(owners) - 1
	return met == others || p.marked && seasoned > 0
}

// forgotten is told that this node has shown more of the partition than it holds
// now: its store was restored or lost, and its mark with it.
func (s *Shard) forgotten(p *part) {
	if !p.ready && !p.marked {
		return
	}
	p.ready, p.marked = false, false
	s.Stats.StoresLost++
	s.putMark(p.ID)
}

// putMark makes durable whether this owner has been ready, as it is when the
// transaction is filled.
func (s *Shard) putMark(partition int) {
	s.enqueue(0, func(c *commit) error {
		p := s.parts[partition]
		if p == nil {
			return nil
		}
		was, promoting, err := c.tx.Mark(partition)
		want := p.ready && s.owns(partition)
		if s.damaged(partition, err) {
			return nil // it is seen to, and what is in memory put back
		}
		if err != nil || was == want {
			p.marked = want
			return err
		}
		c.then = append(c.then, func(err error) { p.marked = err == nil && want })
		return c.tx.PutMark(partition, want, promoting)
	})
}

// turnRing fits what is known of others, and who is ready, to a new ring.
func (s *Shard) turnRing(old *ring.Ring) {
	s.others = s.others[:0:0]
	for _, m := range s.ring.Members() {
		if m.ID != s.cfg.Self {
			s.others = append(s.others, m.ID)
		}
	}
	slices.Sort(s.others)
	for _, id := range sortedKeys(s.parts) {
		p := s.parts[id]
		p.depths = nil
		if s.owns(id) {
			if !old.Owns(s.cfg.Self, id) {
				p.since = s.now.Mono
			}
			continue
		}
		// It may own the partition again one day, and others write meanwhile.
		if p.ready || p.marked {
			p.ready, p.marked = false, false
			s.putMark(id)
		}
	}
}

// ForceReady lets an owner count toward R although it has not caught up: an
// operator's act, for when those it waits for do not come back. It tells whether
// that changed anything.
func (s *Shard) ForceReady(now Now, partition int) bool {
	s.now = now
	if !s.valid(partition) || !s.owns(partition) {
		return false
	}
	p, err := s.loaded(partition)
	if err != nil || p.ready || p.promoting() {
		return false
	}
	p.ready = true
	s.Stats.ForcedReady++
	s.putMark(partition)
	return true
}
