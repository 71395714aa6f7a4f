package replica

import (
	"slices"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/ring"
)

// Questions and pages of a snapshot on its way in.

// askOn sends the question that an install is at, and asks it again when there is
// no answer.
func (s *Shard) askOn(in *install) {
	in.asked++
	asked := in.asked
	s.after(min(askAgain<<in.tries, maxAskAgain), func() {
		switch {
		case in.asked != asked || in.phase > pulling:
		case !s.current(in):
			s.endInstall(in)
		case in.tries+1 >= maxQuestions || !s.owns(in.partition):
			s.giveUp(in, false)
		default:
			in.tries++
			s.askOn(in)
		}
	})
	if in.phase == opening {
		s.send(in.from, CutOpen{ID: in.id, Partition: in.partition, Clock: s.parts[in.partition].Clock().Clone()})
		return
	}
	m := CutAsk{ID: in.id, Partition: in.partition, Cut: in.cut, Part: in.part, After: in.after}
	if in.part == CutRows {
		m.Wanted = in.in.Wanted()
	}
	s.send(in.from, m)
}

// answeredInstall takes note that a question was answered, and stops its timer.
func (s *Shard) answeredInstall(in *install) {
	if in.tries > 0 {
		s.Stats.Resumed++
	}
	in.asked++
	in.tries = 0
}

// current tells whether an install is still the one of its partition, which may
// have been dropped meanwhile.
func (s *Shard) current(in *install) bool {
	p := s.parts[in.partition]
	return p != nil && p.install == in
}

func (s *Shard) installOf(from ring.NodeID, id uint64, partition int) *install {
	for _, in := range s.installs {
		if in.id == id && in.from == from && in.partition == partition && s.current(in) {
			return in
		}
	}
	return nil
}

// receiveSnapshot takes the messages of snapshots, of both sides.
func (s *Shard) receiveSnapshot(from ring.NodeID, m Message) bool {
	switch m := m.(type) {
	case CutOpen:
		s.receiveCutOpen(from, m)
	case CutHead:
		s.receiveCutHead(from, m)
	case CutAsk:
		s.receiveCutAsk(from, m)
	case CutPage:
		s.receiveCutPage(from, m)
	case CutDone:
		s.receiveCutDone(from, m)
	default:
		return false
	}
	return true
}

func (s *Shard) receiveCutHead(from ring.NodeID, m CutHead) {
	in := s.installOf(from, m.ID, m.Partition)
	switch {
	case in == nil:
		if m.Cut != 0 {
			s.send(from, CutDone{Partition: m.Partition, Cut: m.Cut})
		}
	case in.phase != opening || m.Busy:
	case m.Cut == 0:
		s.finishInstall(in)
	default:
		s.answeredInstall(in)
		in.phase, in.cut, in.clock, in.part = pulling, m.Cut, m.Clock, CutLog
		if t := s.parts[in.partition].wholeTree(); mutated(leavesBeforeLog) && t != nil {
			in.early = t.Clone()
		}
		if m.Leaves == s.cfg.Leaves {
			in.leaves = m.Leaves
		}
		s.askOn(in)
	}
}

func (s *Shard) receiveCutPage(from ring.NodeID, m CutPage) {
	in := s.installOf(from, m.ID, m.Partition)
	if in == nil || in.phase != pulling || in.storing || m.Cut != in.cut || m.Part != in.part || string(m.After) != string(in.after) {
		return
	}
	if m.Gone {
		s.giveUp(in, true)
		return
	}
	if !s.fits(in, &m) {
		s.Stats.Malformed++
		s.giveUp(in, false)
		return
	}
	if in.part == CutSums {
		s.answeredInstall(in)
		s.compareSums(in, &m)
		s.turnPage(in, m.Next)
		return
	}
	if len(m.Rows) == 0 && len(m.Operations) == 0 && in.part >= CutRows {
		s.answeredInstall(in)
		s.turnPage(in, m.Next)
		return
	}
	if s.ailing {
		s.Stats.Refused++
		return
	}
	// However long the queue is: of each install one page waits at a time, and what
	// fills the queue may come just because this node is behind.
	in.storing = true
	s.answeredInstall(in)
	s.enqueue(pageSize(&m), func(c *commit) error { return s.fillPage(c, in, &m) })
}

func pageSize(m *CutPage) (n int) {
	for i := range m.Groups {
		n += m.Groups[i].Bytes()
	}
	for i := range m.Rows {
		n += 64 + rowBytes(m.Rows[i].Row)
	}
	return n + 64*len(m.Clears) + 128*len(m.Operations)
}

// fits tells whether a page is one that an honest source sends.
func (s *Shard) fits(in *install, m *CutPage) bool {
	here := func(k crdt.Key) bool { return s.ring.Partition(k.Bucket, k.Name) == in.partition }
	switch m.Part {
	case CutLog:
		return !slices.ContainsFunc(m.Groups, func(g crdt.Group) bool { return !g.In(in.clock) })
	case CutClears:
		return !slices.ContainsFunc(m.Clears, func(c Clears) bool { return !here(c.Key) })
	case CutSums:
		n := int(in.done) + len(m.Sums)
		return len(m.Sums) > 0 && n <= in.leaves && (n == in.leaves) == (len(m.Next) == 0)
	case CutRows:
		return !slices.ContainsFunc(m.Rows, func(r AddressedRow) bool {
			return !here(r.Address.Key) || !in.in.Wants(r.Address) ||
				slices.ContainsFunc(r.Row.Live, func(l crdt.Live) bool { return !in.clock.Contains(l.Dot) })
		})
	}
	return true
}

func (s *Shard) compareSums(in *install, m *CutPage) {
	mine := s.parts[in.partition].wholeTree()
	if in.early != nil {
		mine = in.early
	}
	if mine == nil || mine.Leaves() != in.leaves {
		in.in.all = true // given up meanwhile: it grows anew
	} else {
		in.in.CompareSums(mine, int(in.done), m.Sums)
	}
	in.done += int64(len(m.Sums))
}

// fillPage makes a page durable: events are applied, the rest is staged.
func (s *Shard) fillPage(c *commit, in *install, m *CutPage) error {
	if !s.current(in) || !in.storing {
		if !s.current(in) {
			s.endInstall(in)
		}
		return nil
	}
	p, err := c.part(in.partition)
	for i := range m.Groups {
		if err == nil {
			var o Outcome
			if o, err = c.apply(p, &m.Groups[i]); o == Applied && err == nil {
				s.Stats.CaughtUp++
			}
		}
	}
	for i := range m.Clears {
		if err == nil {
			err = in.in.CompareClears(c.tx, m.Clears[i].Key, m.Clears[i].Dots)
		}
	}
	for i := range m.Rows {
		if err == nil {
			err = in.in.Stage(c.tx, m.Rows[i].Address, m.Rows[i].Row)
		}
	}
	for i := range m.Operations {
		if err == nil {
			err = in.in.StageOperation(c.tx, &m.Operations[i])
		}
	}
	if len(m.Next) == 0 && err == nil {
		err = s.fillLastPage(c, p, in)
	}
	if err != nil {
		return err
	}
	s.Stats.RowsStaged += uint64(len(m.Rows))
	in.done += int64(len(m.Groups) + len(m.Rows) + len(m.Operations))
	c.then = append(c.then, func(err error) {
		if in.storing = false; err == nil && s.current(in) {
			s.turnPage(in, m.Next)
		}
	})
	return nil
}

// fillLastPage ends a part of the cut. Behind the log what the cut has and this
// replica still lacks is held.
func (s *Shard) fillLastPage(c *commit, p *part, in *install) error {
	switch in.part {
	case CutLog:
		if p.Clock().Covers(in.clock) {
			return nil
		}
		s.Stats.InstallsNeeded++
		if p.wholeTree() == nil {
			in.leaves = 0
		}
		in.in = p.Await(in.clock, s.cfg.TreeKey, in.leaves)
	case CutClears:
		return in.in.EndClears(c.tx)
	}
	return nil
}

// turnPage goes on behind a page: to the next, to the next part, to the end.
func (s *Shard) turnPage(in *install, next []byte) {
	if !s.owns(in.partition) {
		s.giveUp(in, false)
		return
	}
	if in.after = next; len(next) > 0 {
		s.askOn(in)
		return
	}
	if in.in == nil {
		s.finishInstall(in) // the log brought everything
		return
	}
	in.part++
	if in.part == CutSums {
		if in.done = 0; in.leaves == 0 {
			in.part++
		}
	}
	if in.part == CutRows {
		if in.done = 0; in.in.Wanted().IsEmpty() {
			in.part++
		}
	}
	if in.part == cutPartEnd {
		in.phase = promotingNow
		s.promoteOn(in)
		return
	}
	s.askOn(in)
}
