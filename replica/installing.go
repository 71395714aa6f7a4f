package replica

import (
	"slices"

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
		// A source that is gone is not waited for when another one offers itself.
		if in.from == from || in.tries < impatient && s.up(in.from) || in.phase > pulling {
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
	s.askOn(in)
}
