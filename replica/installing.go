package replica

import (
	"errors"
	"slices"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica/merkle"
	"github.com/cartwheel-db/cartwheel/ring"
)

// The receiver of snapshots. An owner pulls one when a peer's log does not reach
// back to what it lacks: one question at a time, one page in memory, each page
// durable before the next is asked for.
//
//	opening ──▶ log ──▶ clears ──▶ sums ──▶ rows ──▶ operations ──▶ promoting ──▶ cleaning
//	             (a)     (b)                (c)                      (d)
//
// A question that stays unanswered is asked again; when the source has lost the
// cut meanwhile, the install is given up and begun anew. Only a promotion in
// pieces survives the process: all it needs is on this node's disk.
type phase uint8

const (
	opening phase = iota
	pulling
	promotingNow
	cleaning
)

const (
	maxInstalls  = 2          // of a shard at a time; the others wait
	maxRestarts  = 3          // of one install, when its cut is gone
	askAgain     = int64(1e9) // nanoseconds, doubled with every question in vain
	maxAskAgain  = int64(4e9) // up to this
	maxQuestions = 12         // in vain, and the install is given up
	impatient    = 3          // questions in vain from which on another source is taken
	cleanSlice   = 2000       // staged records that go in one commit
)

type install struct {
	id        uint64
	partition int
	from      ring.NodeID
	phase     phase
	asked     uint64 // counts questions: an earlier one's timer does nothing
	tries     int    // questions in vain
	restarts  int
	storing   bool // a page waits for its commit

	cut    uint64
	clock  dvv.Clock
	leaves int
	part   CutPart
	after  []byte
	in     *Install     // from the end of the log on
	early  *merkle.Tree // of a mutant
	pieces bool         // the promotion takes more than one commit, and is not through
	done   int64
}

type shardInstalls struct {
	installs []*install // under way, in order of their beginning
	queued   []queuedInstall
}

type queuedInstall struct {
	partition int
	from      ring.NodeID
}

type partInstall struct{ install *install }

// promoting tells whether a snapshot is being promoted in pieces: until that is
// done the partition is neither ready, nor a source, nor a coordinator.
func (p *part) promoting() bool { return p.install != nil && p.install.pieces }

// startInstalls looks at what an earlier opening left behind: promotions go on,
// and everything else that was staged is dropped.
func (s *Shard) startInstalls() {
	_ = s.cfg.Read(func(v View) error {
		for id := range s.ring.Config().Partitions {
			_, promoting, err := v.Mark(id)
			switch {
			case err != nil:
			case promoting:
				s.resumeInstall(v, id)
			case hasStaged(v, id):
				in := &install{id: s.id(), partition: id, phase: cleaning}
				if p, err := s.part(v, id); err == nil {
					p.install, s.installs = in, append(s.installs, in)
					s.clean(in, func() { s.endInstall(in) })
				}
			}
		}
		return nil
	})
}

func hasStaged(v View, id int) (found bool) {
	err := v.AllStaged(id, nil, func(_, _ []byte) bool { found = true; return false })
	return found || err != nil
}

func (s *Shard) resumeInstall(v View, id int) {
	p, err := s.part(v, id)
	if err != nil {
		return // a damaged clock: the partition begins anew, stage and all
	}
	in := &install{id: s.id(), partition: id, phase: promotingNow, pieces: true}
	p.install, s.installs = in, append(s.installs, in)
	if in.in, err = p.ResumeInstall(v, s.cfg.TreeKey); err != nil {
		s.enqueue(0, func(c *commit) error { return s.loseStage(c, in) })
		return
	}
	s.Stats.Resumed++
	s.promoteOn(in)
}

// startInstall begins to pull a snapshot of a partition from a peer, unless one
// is on its way already.
func (s *Shard) startInstall(partition int, from ring.NodeID) {
	if s.without(Snapshots) && s.without(Trees) || !s.valid(partition) || !s.owns(partition) || from == s.cfg.Self {
		return
	}
	p, err := s.loaded(partition)
	if err != nil || slices.ContainsFunc(s.queued, func(q queuedInstall) bool { return q.partition == partition }) {
		return
	}
	if in := p.install; in != nil {
		if in.from == from || in.tries < impatient || in.phase > pulling {
			return
		}
		s.giveUp(in, false)
	}
	s.queued = append(s.queued, queuedInstall{partition, from})
	s.beginInstalls()
}

func (s *Shard) beginInstalls() {
	for i := 0; i < len(s.queued) && len(s.installs) < maxInstalls; {
		q := s.queued[i]
		p, err := s.loaded(q.partition)
		if err == nil && p.install != nil {
			i++ // being cleaned up after
			continue
		}
		s.queued = slices.Delete(s.queued, i, i+1)
		if err != nil || !s.owns(q.partition) {
			continue
		}
		in := &install{partition: q.partition, from: q.from}
		p.install, s.installs = in, append(s.installs, in)
		s.Stats.InstallsStarted++
		s.openInstall(in)
	}
}

// openInstall asks for a cut. The stage is empty: whoever used it before has cleaned up.
func (s *Shard) openInstall(in *install) {
	*in = install{id: s.id(), partition: in.partition, from: in.from, restarts: in.restarts}
	if p := s.parts[in.partition]; mutated(leavesBeforeLog) && p.wholeTree() != nil {
		in.early = p.wholeTree().Clone()
	}
	s.askOn(in)
}

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
	s.answeredInstall(in)
	if in.part == CutSums {
		s.compareSums(in, &m)
		s.turnPage(in, m.Next)
		return
	}
	if len(m.Rows) == 0 && len(m.Operations) == 0 && in.part >= CutRows {
		s.turnPage(in, m.Next)
		return
	}
	waiting := len(s.queue)
	s.deliver(pageSize(&m), func(c *commit) error { return s.fillPage(c, in, &m) })
	if in.storing = len(s.queue) > waiting; !in.storing {
		s.askOn(in) // the queue is full
	}
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

func (s *Shard) promoteOn(in *install) {
	s.enqueue(s.promotePiece(), func(c *commit) error { return s.fillPromote(c, in) })
}

// promotePiece is how many bytes of rows are joined in one commit, about.
func (s *Shard) promotePiece() int { return s.cfg.BatchBytes / 4 }

func (s *Shard) fillPromote(c *commit, in *install) error {
	if !s.current(in) {
		s.endInstall(in)
		return nil
	}
	p, err := c.part(in.partition)
	if err != nil {
		return err
	}
	held, done, err := in.in.Promote(c.tx, s.promotePiece(), s.now.Wall, func(op crdt.Operation, dots []dvv.Dot) error {
		for _, d := range dots {
			if err := c.void(p, op, d); err != nil {
				return err
			}
		}
		return nil
	})
	if errors.Is(err, errStageLost) {
		return s.loseStage(c, in)
	}
	if err != nil {
		return err
	}
	for i := range held {
		if _, err := c.apply(p, &held[i]); err != nil {
			return err
		}
	}
	in.pieces = in.pieces || !done
	in.done++
	c.then = append(c.then, func(err error) {
		switch {
		case err != nil:
		case done:
			in.pieces = false
			s.finishInstall(in)
		default:
			s.promoteOn(in)
		}
	})
	return nil
}

// loseStage gives up a promotion whose stage cannot be read. Rows and clock of
// the partition may not fit any more: it begins anew, like a lost disk, and under
// a new actor.
func (s *Shard) loseStage(c *commit, in *install) error {
	p := s.parts[in.partition]
	switch {
	case !s.current(in):
		return nil
	case slices.Contains(c.touched, p): // not together with what else this transaction did to it
		c.then = append(c.then, func(error) {
			s.enqueue(0, func(c *commit) error { return s.loseStage(c, in) })
		})
		return nil
	}
	if err := c.tx.Drop(in.partition); err != nil {
		return err
	}
	c.drops = append(c.drops, in.partition)
	s.Stats.StagesLost++
	s.Stats.Add(p.Counts)
	s.parts[in.partition] = newPart(&Partition{ID: in.partition, dead: map[crdt.Key]dvv.Clock{}}, s.cfg.NewActor())
	c.then = append(c.then, func(error) { s.endInstall(in) })
	return nil
}

// finishInstall ends an install that brought what it could.
func (s *Shard) finishInstall(in *install) {
	if in.cut != 0 {
		s.send(in.from, CutDone{Partition: in.partition, Cut: in.cut})
	}
	if in.from != "" && s.owns(in.partition) && in.cut != 0 {
		if s.ring.Owns(in.from, in.partition) {
			s.catchUpFrom(in.partition, in.from, true) // what happened since the cut
		} else {
			s.receiveOffer(in.from, Offer{Partition: in.partition, Ring: s.ring.Hash()})
		}
	}
	s.clean(in, func() { s.endInstall(in) })
}

// giveUp ends an install before its time, and begins it anew if its cut is gone.
func (s *Shard) giveUp(in *install, again bool) {
	s.Stats.InstallsGivenUp++
	if in.in != nil {
		held := in.in.Abort()
		in.in = nil
		s.enqueue(0, func(c *commit) error { return s.fillHeld(c, in.partition, held) })
	}
	if in.cut != 0 {
		s.send(in.from, CutDone{Partition: in.partition, Cut: in.cut})
	}
	in.asked++
	in.storing = false
	s.clean(in, func() {
		if in.restarts++; again && in.restarts <= maxRestarts && s.owns(in.partition) && s.current(in) {
			s.openInstall(in)
			return
		}
		s.endInstall(in)
	})
}

func (s *Shard) fillHeld(c *commit, partition int, held []crdt.Group) error {
	if len(held) == 0 {
		return nil
	}
	p, err := c.part(partition)
	for i := range held {
		if err == nil {
			_, err = c.apply(p, &held[i])
		}
	}
	return err
}

// clean empties the stage, some of it with every commit, and goes on.
func (s *Shard) clean(in *install, then func()) {
	in.phase = cleaning
	s.enqueue(0, func(c *commit) error {
		more, err := c.tx.DropStaged(in.partition, cleanSlice)
		c.then = append(c.then, func(err error) {
			switch {
			case err != nil:
			case more:
				s.clean(in, then)
			default:
				then()
			}
		})
		return err
	})
}

// endInstall lets the next one begin.
func (s *Shard) endInstall(in *install) {
	if s.current(in) {
		s.parts[in.partition].install = nil
	}
	s.installs = slices.DeleteFunc(s.installs, func(o *install) bool { return o == in })
	s.beginInstalls()
}

// installProgress tells how far a snapshot of a partition is, nil when none is on
// its way.
func (s *Shard) installProgress(partition int) *Progress {
	p := s.parts[partition]
	if p == nil || p.install == nil || p.install.phase == cleaning {
		return nil
	}
	in := p.install
	g := &Progress{From: in.from, Phase: "log", Done: in.done}
	switch {
	case in.phase == promotingNow:
		g.Phase = "promoting"
	case in.part >= CutRows:
		g.Phase = "rows"
	case in.part >= CutClears:
		g.Phase, g.Total = "comparing", int64(in.leaves)
	}
	return g
}
