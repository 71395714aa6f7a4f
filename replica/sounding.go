package replica

import (
	"slices"

	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/ring"
)

// A sounding finds out how deep the water is: at a moment t1 of its own clock an
// owner asks every member, and each replies with what it holds durably. Once the
// owner's durable clock covers the reply, it lacks nothing that the member held
// at t1. Three things rest on that one fact:
//
//	staleness.go   how far behind may an answer be      now - t1, at worst, over all members
//	trim.go        what is stable, and leaves the log   in the replies of all owners
//	barrier.go     when is an owner ready               replies since it opened are covered
//
// The reply waits for the commit under way, so it holds all that was minted or
// taken before the question came. Nobody compares clocks of two machines.

// partDepth is what is known of the others in one partition.
type partDepth struct {
	durable dvv.Clock // the stored clock; replaced, never changed in place
	print   [16]byte  // its fingerprint, if printed
	printed bool
	depths  []depth // of the members, in the order of Shard.others; nil before the first question
	since   int64   // [Now.Mono] from which on answers count for the barrier: it owned the partition, and its store was open
	ready   bool
	marked  bool // it is durable here that this owner has been ready

	freshened    int64     // when the others were sounded for a read
	trimmed      dvv.Clock // stable when the log was last gone through to its end
	cutting      bool      // the log is to be cut with the next commit
	forgotBefore int64     // see closedBefore, when the operations were
}

// shown is one answer of a member about one partition.
type shown struct {
	asked, askedWall int64 // when the question went out; 0 for never
	clock            dvv.Clock
	active           bool // its sender had this node on its active lists
}

// depth is what one member has shown of one partition, under the present ring.
type depth struct {
	shown                          // the latest
	covered              bool      // its clock is durable here
	owed                 shown     // an earlier one that is not; nobody asks so often that it is never reached
	peak                 dvv.Clock // all it ever showed
	ready                bool      // what the latest answer said
	coveredAt, coverWall int64     // the latest asked that is covered; 0 for never
	barrierAt            int64     // the latest of those whose sender had this node on its active lists
	pulledAt             int64     // when what is missing was asked for; 0 for never
}

// sounded is a question under way.
type sounded struct {
	to       ring.NodeID
	at, wall int64
	parts    []int
	clocks   []dvv.Clock
}

// moment is when something was asked: 0 means never.
func moment(mono int64) int64 { return max(mono, 1) }

func (p *partDepth) fingerprint() [16]byte {
	if !p.printed {
		p.print, p.printed = p.durable.Fingerprint(), true
	}
	return p.print
}

func (p *partDepth) committed(c dvv.Clock) {
	p.durable, p.printed = c.Clone(), false
	for i := range p.depths {
		p.depths[i].settle(p.durable)
	}
}

func (d *depth) settle(durable dvv.Clock) {
	if d.asked == 0 || d.covered {
		return
	}
	if d.owed.asked != 0 && durable.Covers(d.owed.clock) {
		d.reached(&d.owed)
		d.owed = d.shown
	}
	if durable.Covers(d.clock) {
		d.reached(&d.shown)
		d.covered, d.owed = true, shown{}
	}
}

func (d *depth) reached(a *shown) {
	d.coveredAt, d.coverWall = a.asked, a.askedWall
	if a.active {
		d.barrierAt = a.asked
	}
}

// show takes the next answer. One before it that is not covered yet stays until
// it is: who is always a little behind knows how little. It goes when the member
// holds less now than it did, for then nobody may have what it held.
func (d *depth) show(a shown) {
	if d.asked != 0 && !d.covered && d.owed.asked == 0 {
		d.owed = d.shown
	}
	d.shown, d.covered = a, false
	if !a.clock.Covers(d.owed.clock) {
		d.owed = shown{}
	}
	d.peak.Join(a.clock)
}

// depth returns what another member showed; nil for who is none.
func (s *Shard) depth(p *part, id ring.NodeID) *depth {
	i, found := slices.BinarySearch(s.others, id)
	if !found {
		return nil
	}
	if p.depths == nil {
		p.depths = make([]depth, len(s.others))
	}
	return &p.depths[i]
}

func (s *Shard) soundRound() {
	s.soundAll()
	wait := s.cfg.SoundEvery
	if s.unready > 0 {
		wait /= 4
	}
	s.after(wait, s.soundRound)
}

func (s *Shard) soundAll() {
	s.unready = 0
	owned := s.ring.PartitionsOf(s.cfg.Self)
	for _, id := range owned {
		if p, err := s.loaded(id); err == nil {
			if s.checkReady(p); !p.ready {
				s.unready++
			}
		}
	}
	for _, id := range s.others {
		if s.usable(id) {
			s.sound(id, owned)
		}
	}
	s.forgetSoundings()
}

// sound asks one member about partitions this node owns. While one of them is
// not ready it shows its clock too: a member that saw a higher one says so.
func (s *Shard) sound(to ring.NodeID, parts []int) {
	q := sounded{to: to, at: moment(s.now.Mono), wall: s.now.Wall}
	m := Sounding{ID: s.id()}
	for _, id := range parts {
		p, err := s.loaded(id)
		if err != nil {
			continue
		}
		e := Shown{Partition: id, Print: p.fingerprint()}
		if !p.ready {
			e.Open, e.Clock = true, p.durable
		}
		q.parts, q.clocks = append(q.parts, id), append(q.clocks, p.durable)
		m.Batch = append(m.Batch, e)
	}
	if len(m.Batch) == 0 {
		return
	}
	s.soundings[m.ID] = q
	s.send(to, m)
}

const (
	maxSounding = 16 // rounds that a reply may take
	pullsARound = 8  // times at most that a member is asked for what is missing, however often it is sounded
)

func (s *Shard) forgetSoundings() {
	for id, q := range s.soundings {
		if q.at < s.now.Mono-maxSounding*s.cfg.SoundEvery {
			delete(s.soundings, id)
		}
	}
}

// maxWaitingSoundings bounds what waits for one commit.
const maxWaitingSoundings = 256

func (s *Shard) receiveSounding(from ring.NodeID, m Sounding) {
	for i, e := range m.Batch {
		if !s.valid(e.Partition) || i > 0 && e.Partition <= m.Batch[i-1].Partition {
			s.Stats.Malformed++
			return
		}
	}
	lost := s.lost(from, m)
	if s.committing == nil {
		s.answerSounding(from, m, lost)
	} else if len(s.committing.soundings) < maxWaitingSoundings {
		s.committing.soundings = append(s.committing.soundings, func() { s.answerSounding(from, m, lost) })
	}
}

// lost lists the partitions of which the asker shows less than it has shown
// before. That is looked at when the question comes: while it waits for a commit
// the asker goes on, and shows more.
func (s *Shard) lost(from ring.NodeID, m Sounding) (partitions []int) {
	for _, e := range m.Batch {
		if p := s.parts[e.Partition]; p != nil && e.Open {
			if d := s.depth(p, from); d != nil && !e.Clock.Covers(d.peak) {
				partitions = append(partitions, e.Partition)
			}
		}
	}
	return partitions
}

func (s *Shard) answerSounding(from ring.NodeID, m Sounding, lost []int) {
	reply := Sounded{ID: m.ID, Ring: s.ring.Hash(), Active: s.up(from)}
	for _, e := range m.Batch {
		d := Depth{Partition: e.Partition}
		if s.parts[e.Partition] != nil || s.stores(e.Partition) || s.owns(e.Partition) {
			p, err := s.loaded(e.Partition)
			if err != nil {
				return // what it has nobody knows: no answer
			}
			d.Same = p.fingerprint() == e.Print
			d.Ready = s.owns(e.Partition) && (p.ready || p.marked) && !p.promoting()
			if !d.Same {
				d.Clock = p.durable
			}
			_, d.Lost = slices.BinarySearch(lost, e.Partition)
		} else {
			d.Same = e.Print == dvv.Clock{}.Fingerprint()
		}
		reply.Batch = append(reply.Batch, d)
	}
	s.send(from, reply)
}

// receiveSounded takes a reply. One that was given under another ring says
// nothing: its sender may coordinate where this node would not look.
func (s *Shard) receiveSounded(from ring.NodeID, m Sounded) {
	q, asked := s.soundings[m.ID]
	if !asked || q.to != from {
		return
	}
	delete(s.soundings, m.ID)
	if m.Ring != s.ring.Hash() {
		return
	}
	if len(m.Batch) != len(q.parts) {
		s.Stats.Malformed++
		return
	}
	at := q.at
	if mutated(staleFromAnswer) {
		at = s.now.Mono
	}
	for i, e := range m.Batch {
		p := s.parts[q.parts[i]]
		if e.Partition != q.parts[i] || p == nil {
			continue
		}
		d := s.depth(p, from)
		if d == nil || d.asked >= at {
			continue
		}
		d.settle(p.durable)
		late := d.asked != 0 && !d.covered // still not, when the next answer comes: something is missing
		a := shown{at, q.wall, e.Clock, m.Active}
		if e.Same {
			a.clock = q.clocks[i]
		}
		d.show(a)
		d.ready = e.Ready
		if e.Lost {
			s.forgotten(p)
		}
		d.settle(p.durable)
		if !d.covered && (late || !p.ready) && !s.without(LogCatchUp) && (d.pulledAt == 0 || s.now.Mono-d.pulledAt >= s.cfg.SoundEvery/pullsARound) {
			d.pulledAt = moment(s.now.Mono)
			s.catchUpFrom(p.ID, from, true)
		}
		s.checkReady(p)
	}
	s.wakeWaiting()
}
