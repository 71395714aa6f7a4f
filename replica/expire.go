package replica

import (
	"slices"

	"github.com/cartwheel-db/cartwheel/crdt"
)

// What expired is hidden from readers at once, by the clock of the node that they
// ask. Its removal only frees what it takes: an observed remove of just the dots
// that expired, under dots of its own, so that a renewal wins wherever the two
// meet, and a replica that lags brings nothing back.
//
//	index: time -> rows ──▶ the first live owner, ready ──▶ commit: rows read again,
//	                        R owners agree                  dots that expired die ──▶ owners
//
// One node mints it, as one coordinates: the first live owner. During a split each
// side may have one, and then the same dots are killed twice, which is once; of a
// counter the same totals are reset twice, and the larger reset counts.
//
// R owners agree: this one, and R-1 others of which it has, durably, all that they
// held at a moment when the time was over already (a sounding asked for it then).
// A renewal that was acknowledged before that moment is durable at W owners, one
// of those R has it when R+W > N, and so it is known here: what is removed was
// over for everybody. Without that a set loses nothing, since kills name dots. But
// a counter's renewal extends the life of totals that it continues, and a removal
// that does not know of it would take the totals back and leave the increment
// alone. It also keeps an owner that was away from minting again what others have
// removed since. What a fallback acknowledged and nobody handed off yet is not
// covered: there the increment stays and the former totals go, as with a reset
// that is concurrent. Owners beyond R are not waited for; below R nothing is
// minted, and readers still do not see it.
//
// Clocks of nodes differ, and nothing here compares them. A node whose clock is
// ahead hides early, and mints early if it is first; one that is behind shows
// longer. Both change when something is over and not what: the dots that a kill
// names are dead everywhere, whatever time it is there, and what is written after
// them has another dot.

const (
	expireSlice = 256  // rows of one partition of which something is removed in one commit
	expireMost  = 4096 // rows of all partitions from which on the others wait for the next commit
	expireWalk  = 1024 // entries of the index looked at for them: rows that cannot be read do not stand in the way
)

// expireRound looks through the partitions that are this node's to clean. It reads
// the index only, and of most partitions that there is nothing.
func (s *Shard) expireRound() {
	var mine []*part
	for _, id := range slices.Clone(s.stored) {
		if p, err := s.loaded(id); err == nil && !p.expiring && s.cleans(p) {
			mine = append(mine, p)
		}
	}
	s.findExpired(mine...)
	s.after(s.cfg.ExpireEvery, s.expireRound)
}

// findExpired looks for what is to be removed and lets it wait for a commit.
func (s *Shard) findExpired(parts ...*part) {
	if len(parts) == 0 {
		return
	}
	_ = s.cfg.Read(func(v View) error {
		for _, p := range parts {
			until := s.agreedUntil(p)
			var found []crdt.Address
			err := v.Expiring(p.ID, s.now.Wall, func(at int64, a crdt.Address) bool {
				if at > until {
					s.Stats.ExpiryWaits++
					return false
				}
				found = append(found, a)
				return len(found) < expireWalk
			})
			s.damaged(p.ID, err)
			if len(found) > 0 {
				p.expiring = true
				s.enqueue(0, func(c *commit) error { return s.fillExpire(c, p.ID, found) })
			}
		}
		return nil
	})
}

// cleans tells whether this node removes what expired in a partition.
func (s *Shard) cleans(p *part) bool {
	if s.ailing || !s.isReady(p) {
		return false
	}
	owners := s.ring.Owners(p.ID)
	return owners[slices.IndexFunc(owners, s.up)] == s.cfg.Self // this node is up, and among them
}

// agreedUntil returns the latest time, by this node's wall clock, such that what
// was over then is over for R owners: at that moment or later each of R-1 others
// was asked what it held, and all of that is durable here. 0 for no such time. One
// that is not ready may have lost what it had acknowledged, and does not count.
func (s *Shard) agreedUntil(p *part) int64 {
	if mutated(expireUnagreed) {
		return s.now.Wall
	}
	until := []int64{s.now.Wall}
	for _, id := range s.ring.Owners(p.ID) {
		if id == s.cfg.Self {
			continue
		}
		if d := s.depth(p, id); d != nil && d.coveredAt != 0 && d.ready {
			// When it was asked, by what the clock shows now: it may have been set since.
			until = append(until, min(d.coverWall, s.now.Wall-(s.now.Mono-d.coveredAt)/1e6))
		}
	}
	if len(until) < s.cfg.R {
		return 0
	}
	slices.Sort(until)
	return until[len(until)-max(s.cfg.R, 1)]
}

// fillExpire removes what of some rows is over. They are read again: what was
// renewed since they were found, or removed by somebody else, is let be.
func (s *Shard) fillExpire(c *commit, id int, found []crdt.Address) error {
	p, err := c.part(id)
	if err != nil {
		return err
	}
	if c.expired >= expireMost { // very much is over at once: clients do not wait for all of it
		c.then = append(c.then, func(err error) {
			if p.expiring = err == nil; p.expiring {
				s.enqueue(0, func(c *commit) error { return s.fillExpire(c, id, found) })
			}
		})
		return nil
	}
	removed := 0
	c.then = append(c.then, func(err error) {
		if p.expiring = false; err == nil && removed == expireSlice {
			s.findExpired(p) // there may be more; clients that waited come first
		}
	})
	if !s.cleans(p) {
		return nil
	}
	until := s.agreedUntil(p)
	slices.SortFunc(found, crdt.Address.Compare)
	var events []crdt.Event // of one key
	kills := 0
	for _, a := range found {
		if removed == expireSlice {
			break
		}
		row, err := c.tx.Row(id, a)
		if err = p.sparing(err); err != nil {
			return err
		}
		e := crdt.Event{Row: a}
		if e.Kills, e.Payload, err = row.Lapse(a.RowType(), until); err != nil {
			continue // it expires when it can be read
		}
		if mutated(expireRenewed) {
			e.Kills = row.Dots()
		}
		if len(e.Kills) == 0 {
			continue
		}
		if len(events) > 0 && (events[0].Row.Key != a.Key || kills+len(e.Kills) > crdt.MaxKills) {
			if err := c.expire(p, events); err != nil {
				return err
			}
			events, kills = nil, 0
		}
		events, kills = append(events, e), kills+len(e.Kills)
		removed++
	}
	return c.expire(p, events)
}

// expire mints the removal of what expired of one key as one group, and sends it
// to the other owners. No client waits for it: an owner that does not get it
// catches up, and should it be lost with this node, the next owner removes again.
// A fallback is not asked, for it would only have to hand it off.
func (c *commit) expire(p *part, events []crdt.Event) error {
	if len(events) == 0 {
		return nil
	}
	s := c.s
	first := p.mint(len(events))
	g := crdt.Group{Actor: first.Actor, First: first.Seq, Stamp: s.nextStamp(), Events: events}
	if _, _, err := p.Apply(c.tx, &g, s.now.Wall); err != nil {
		return err
	}
	s.Stats.Minted++
	s.Stats.Expired += uint64(len(events))
	c.expired += len(events)
	c.groups++
	for _, id := range s.ring.Owners(p.ID) {
		if id != s.cfg.Self && s.up(id) {
			c.shipTo(id, p.ID, g)
		}
	}
	return nil
}
