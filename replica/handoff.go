package replica

import (
	"slices"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/ring"
)

type clock = dvv.Clock

// The one handoff rule, for hints, joins, leaves and rebalancing alike: a node
// that stores a partition it does not own offers its events to the owners until
// each owner's durable clock covers its own, then drops the store.
//
//	holder ── Offer ────▶ owner
//	holder ◀─ Coverage ── owner     the owner's durable clock
//	holder ── Events ───▶ owner     what that clock lacks; Coverage follows
//	  …
//	all owners cover: drop, after one more look at the holder's clock

func (s *Shard) handoffRound() {
	for _, partition := range s.stored {
		if !s.owns(partition) && !s.without(Handoff) {
			s.offer(partition)
		}
	}
	s.after(s.cfg.HandoffEvery, s.handoffRound)
}

// offerTo offers a peer that came back what is stored here for it.
func (s *Shard) offerTo(id ring.NodeID) {
	for _, partition := range s.stored {
		if !s.owns(partition) && s.ring.Owns(id, partition) && !s.without(Handoff) {
			s.send(id, Offer{Partition: partition, Ring: s.ring.Hash()})
		}
	}
}

func (s *Shard) offer(partition int) {
	for _, id := range s.ring.Owners(partition) {
		if s.usable(id) {
			s.send(id, Offer{Partition: partition, Ring: s.ring.Hash()})
		}
	}
}

// receiveOffer replies with this owner's durable clock: the stored one, never
// the one in memory that runs ahead of it.
func (s *Shard) receiveOffer(from ring.NodeID, m Offer) {
	if !s.valid(m.Partition) || !s.owns(m.Partition) {
		return
	}
	if p := s.parts[m.Partition]; p != nil && p.promoting() {
		return
	}
	reply := Coverage{Partition: m.Partition, Ring: s.ring.Hash()}
	err := s.cfg.Read(func(v View) (err error) {
		reply.Clock, _, err = v.Clock(m.Partition)
		return err
	})
	if p := s.parts[m.Partition]; mutated(dropBeforeDurable) && p != nil {
		reply.Clock = p.Clock().Clone()
	}
	if s.damaged(m.Partition, err); err == nil {
		s.send(from, reply)
	}
}

func (s *Shard) receiveCoverage(from ring.NodeID, m Coverage) {
	if !s.valid(m.Partition) || s.owns(m.Partition) || !s.stores(m.Partition) {
		return
	}
	p, err := s.loaded(m.Partition)
	if err != nil || p.promoting() {
		return
	}
	if !m.Clock.Covers(p.Clock()) {
		e := Events{Partition: m.Partition, Report: true}
		if s.missing(&e, m.Clock) == nil && (len(e.Groups) > 0 || e.Gap) {
			s.send(from, e)
		}
		return
	}
	if m.Ring != s.ring.Hash() || !s.ring.Owns(from, m.Partition) {
		return
	}
	p.covered[from] = m.Clock
	if s.coveredByAll(p) {
		s.enqueue(0, func(c *commit) error { return s.fillDrop(c, m.Partition) })
	}
}

// coveredByAll tells whether every owner, under this ring, holds durably all
// that is stored here, and no write waits for this replica.
func (s *Shard) coveredByAll(p *part) bool {
	owners := s.ring.Owners(p.ID)
	if len(owners) == 0 {
		return false // in a ring that everybody has left this is the only copy
	}
	for _, id := range owners {
		c, reported := p.covered[id]
		if !reported || !c.Covers(p.Clock()) {
			return false
		}
	}
	for key := range s.writes {
		if key.partition == p.ID {
			return false
		}
	}
	return true
}

// fillDrop drops the store, after checking everything again inside the
// transaction: the ring, the clock, the writes that wait.
func (s *Shard) fillDrop(c *commit, partition int) error {
	p, err := s.part(c.tx, partition)
	if err != nil {
		return err
	}
	if s.owns(partition) || !s.stores(partition) || slices.Contains(c.touched, p) || p.promoting() || !s.coveredByAll(p) {
		return nil
	}
	if err := c.tx.Drop(partition); err != nil {
		return err
	}
	c.drops = append(c.drops, partition)
	s.Stats.HandedOff++
	s.Stats.Add(p.Counts)
	// What follows in this very transaction begins a new store. It mints under a
	// new actor: the running totals of the old one are gone from this node, and an
	// actor's totals must never restart.
	s.parts[partition] = s.newPart(&Partition{ID: partition, dead: map[crdt.Key]dvv.Clock{}}, s.cfg.NewActor())
	return nil
}
