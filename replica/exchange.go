package replica

import (
	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/ring"
)

// Anti-entropy by clocks: co-owners send each other fingerprints of their
// clocks; where two differ, each sends its clock and the other replies with the
// logged events that the clock lacks.
//
//	a ── Digest ──▶ b      equal: nothing more
//	a ◀─ CatchUp ── b      b's clock
//	a ── Events ──▶ b      what b lacks
//	a ── CatchUp ──▶ b     a's clock, if b has more
//	a ◀── Events ── b

func (s *Shard) valid(partition int) bool {
	return partition >= 0 && partition < s.ring.Config().Partitions
}

// loaded returns a partition's replica, loading it from the committed state.
func (s *Shard) loaded(id int) (*part, error) {
	if p := s.parts[id]; p != nil {
		return p, nil
	}
	return s.load(id)
}

func (s *Shard) load(id int) (p *part, err error) {
	err = s.cfg.Read(func(v View) error {
		p, err = s.part(v, id)
		return err
	})
	s.damaged(id, err)
	return p, err
}

func (s *Shard) exchangeRound() {
	for _, id := range s.others {
		if s.usable(id) {
			s.exchangeWith(id)
		}
	}
	s.after(s.cfg.ExchangeEvery, s.exchangeRound)
}

// exchangeWith sends a co-owner the fingerprints of all partitions both own.
func (s *Shard) exchangeWith(id ring.NodeID) {
	if s.without(LogCatchUp) {
		return
	}
	var d Digest
	for _, partition := range s.stored {
		if !s.owns(partition) || !s.ring.Owns(id, partition) {
			continue
		}
		if p, err := s.loaded(partition); err == nil {
			d.Batch = append(d.Batch, ClockPrint{partition, p.Clock().Fingerprint()})
		}
	}
	if len(d.Batch) > 0 {
		s.send(id, d)
	}
}

func (s *Shard) receiveDigest(from ring.NodeID, m Digest) {
	for i, e := range m.Batch {
		if !s.valid(e.Partition) || i > 0 && e.Partition <= m.Batch[i-1].Partition {
			s.Stats.Malformed++ // each entry may be answered by a whole clock: one a partition
			return
		}
		if !s.owns(e.Partition) {
			continue
		}
		p, err := s.loaded(e.Partition)
		if err == nil && p.Clock().Fingerprint() != e.Print {
			s.Stats.Exchanges++
			s.catchUpFrom(e.Partition, from, false)
		}
	}
}

// catchUpFrom asks a peer for what this owner lacks. A node that stores a
// partition without owning it has nothing to catch up with: it hands off what it
// has and drops it, and would otherwise begin the store again with what it asked
// for before.
func (s *Shard) catchUpFrom(partition int, from ring.NodeID, final bool) {
	if !s.owns(partition) {
		return
	}
	p, err := s.loaded(partition)
	if err == nil {
		s.send(from, CatchUp{Partition: partition, Clock: p.Clock().Clone(), Final: final})
	}
}

// receiveCatchUp replies with events that are durable here and that the
// sender lacks.
func (s *Shard) receiveCatchUp(from ring.NodeID, m CatchUp) {
	if !s.valid(m.Partition) {
		s.Stats.Malformed++
		return
	}
	if p := s.parts[m.Partition]; p != nil && p.promoting() {
		return
	}
	e := Events{Partition: m.Partition}
	if s.missing(&e, m.Clock) == nil && (len(e.Groups) > 0 || e.Gap) {
		s.send(from, e)
	}
	if m.Final || !s.owns(m.Partition) {
		return
	}
	if p, err := s.loaded(m.Partition); err == nil && !p.Clock().Covers(m.Clock) {
		s.catchUpFrom(m.Partition, from, true)
	}
}

// missing fills e with committed groups that a peer's clock lacks, up to the
// bounds of one message.
func (s *Shard) missing(e *Events, theirs clock) error {
	bytes := 0
	return s.cfg.Read(func(v View) error {
		complete, err := Missing(v, e.Partition, theirs, func(g crdt.Group, size int) bool {
			if bytes > 0 && (bytes+size > s.cfg.BatchBytes || len(e.Groups) >= s.cfg.BatchGroup) {
				e.More = true
				return false
			}
			bytes += size
			e.Groups = append(e.Groups, g)
			return true
		})
		if s.damaged(e.Partition, err) && inLog(err) {
			err = nil // what the log cannot give is a gap
		}
		e.Gap = err == nil && !complete && !e.More
		return err
	})
}

// receiveEvents applies events that this replica asked for, or that are handed
// off to it. The talk goes on only while it brings something new: of several
// that run beside each other, or of messages that came twice, one goes on, and
// the others do not send the same once more.
func (s *Shard) receiveEvents(from ring.NodeID, m Events) {
	if !s.valid(m.Partition) || !s.owns(m.Partition) {
		return // it owned the partition when it asked
	}
	if p := s.parts[m.Partition]; len(m.Groups) == 0 && p != nil && p.install != nil {
		// Nothing to commit, and a snapshot is on its way: at most from another source.
		if m.Gap {
			s.startInstall(m.Partition, from)
		}
		return
	}
	size := 0
	for i := range m.Groups {
		size += m.Groups[i].Bytes()
	}
	s.deliver(size, func(c *commit) error {
		p, err := c.part(m.Partition)
		if err != nil || p.promoting() {
			return err
		}
		news, early := false, false
		for i := range m.Groups {
			s.noteForgotten(c, p, from, &m.Groups[i])
			outcome, err := c.apply(p, &m.Groups[i])
			if err != nil {
				return err
			}
			if early = early || outcome == Early; outcome == Applied {
				s.Stats.CaughtUp++
				news = true
			}
		}
		// What comes too early although it comes in order follows what the sender's log
		// has no more, and so would all that comes behind it.
		gap := m.Gap || early && !news
		c.then = append(c.then, func(err error) {
			switch {
			case err != nil:
			case gap && !s.without(Snapshots):
				s.startInstall(m.Partition, from)
			case !news:
			case m.Report:
				s.receiveOffer(from, Offer{Partition: m.Partition, Ring: s.ring.Hash()})
			case m.More:
				s.catchUpFrom(m.Partition, from, true)
			}
		})
		return nil
	})
}
