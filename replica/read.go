package replica

import (
	"fmt"
	"slices"

	"github.com/cartwheel-db/cartwheel/replica/quorum"
	"github.com/cartwheel-db/cartwheel/ring"
)

// read is a merged read that this node coordinates.
type read struct {
	id       uint64
	q        Query
	part     int
	deadline int64
	done     func(Result)

	count   quorum.Read[ring.NodeID]
	answers []Answer
	from    []ring.NodeID
	hedgeAt int64
	ended   bool
}

func (r *read) over() bool { return r.ended }

func (r *read) wake(s *Shard) {
	switch {
	case r.deadline <= s.now.Mono:
		r.count.Expire()
		s.readOn(r)
	case r.hedgeAt <= s.now.Mono:
		r.hedgeAt = s.now.Mono + s.cfg.HedgeAfter
		if s.askNext(r) {
			s.Stats.Hedges++
			s.readOn(r)
		}
	}
}

// query takes a client's query.
func (s *Shard) query(r Request) {
	if err := r.Query.Check(); err != nil {
		s.reply(r.ID, Result{Failure: &Failure{Reason: Invalid, Text: fmt.Sprintf("%v: %v", r.Query, err)}})
		return
	}
	need := r.R
	if need <= 0 {
		need = s.cfg.R
	}
	s.read(*r.Query, need, r.Deadline, func(res Result) { s.reply(r.ID, res) })
}

// read asks replicas until need owners have answered.
func (s *Shard) read(q Query, need int, deadline int64, done func(Result)) {
	r := &read{id: s.id(), q: q, part: s.ring.Partition(q.Key.Bucket, q.Key.Name), deadline: deadline, done: done}
	r.count = quorum.NewRead[ring.NodeID](need, nil)
	s.reads[r.id] = r
	s.Stats.ReadsMerged++
	r.hedgeAt = s.now.Mono + s.cfg.HedgeAfter
	s.await(r)
	// This node's own answer costs no message.
	if s.owns(r.part) {
		s.askReplica(r, s.cfg.Self)
	}
	s.readOn(r)
}

// readOn goes on with a read after its count changed: it is over, or the next
// nodes of the walk are asked.
func (s *Shard) readOn(r *read) {
	for !r.ended {
		if r.count.State() == quorum.Reached {
			s.endRead(r)
			return
		}
		short := r.count.Short()
		if short == 0 {
			return
		}
		if r.deadline > s.now.Mono && s.askNext(r) {
			continue
		}
		if r.count.State() != quorum.Pending {
			s.endRead(r)
		}
		return
	}
}

// askNext asks the next usable node of the walk: owners first, then those who
// stand in for them. Their answers join, and do not count toward R.
func (s *Shard) askNext(r *read) bool {
	var asked []ring.NodeID
	fallbacks := 0
	for id := range r.count.All() {
		asked = append(asked, id)
		if !s.ring.Owns(id, r.part) {
			fallbacks++
		}
	}
	for id := range s.ring.InOrder(r.part) {
		if slices.Contains(asked, id) {
			continue
		}
		if !s.ring.Owns(id, r.part) {
			if fallbacks >= s.ring.Config().Replicas {
				return false
			}
		}
		if s.usable(id) {
			s.askReplica(r, id)
			return true
		}
	}
	return false
}

func (s *Shard) askReplica(r *read, id ring.NodeID) {
	r.count.Ask(id)
	if id != s.cfg.Self {
		s.send(id, Asking{ID: r.id, Partition: r.part, Query: r.q})
		return
	}
	a := s.answer(r.id, r.part, r.q)
	if a.Failed {
		r.count.Fail(id)
		return
	}
	s.answered(r, id, a)
}

func (s *Shard) answer(id uint64, partition int, q Query) Answered {
	out := Answered{ID: id, Owner: s.owns(partition)}
	err := s.cfg.Read(func(v View) (err error) {
		out.Answer, err = Ask(v, partition, q)
		return err
	})
	out.Failed = err != nil
	return out
}

func (s *Shard) answered(r *read, from ring.NodeID, a Answered) {
	for _, id := range r.from {
		if id == from {
			return
		}
	}
	r.count.Answer(from, a.Owner && s.ring.Owns(from, r.part))
	r.answers = append(r.answers, a.Answer)
	r.from = append(r.from, from)
}

func (s *Shard) receiveAsking(from ring.NodeID, m Asking) {
	if m.Query.Check() != nil || m.Partition != s.ring.Partition(m.Query.Key.Bucket, m.Query.Key.Name) {
		s.Stats.Malformed++
		return
	}
	s.send(from, s.answer(m.ID, m.Partition, m.Query))
}

func (s *Shard) receiveAnswered(from ring.NodeID, m Answered) {
	r := s.reads[m.ID]
	switch {
	case r == nil:
		return
	case m.Failed:
		r.count.Fail(from)
	default:
		s.answered(r, from, m)
	}
	s.readOn(r)
}

func (s *Shard) endRead(r *read) {
	delete(s.reads, r.id)
	r.ended = true
	res := Result{Answers: r.count.Answers(), Coordinator: s.cfg.Self}
	switch r.count.State() {
	case quorum.Reached, quorum.Degraded:
		if res.Degraded = r.count.State() == quorum.Degraded; res.Degraded {
			s.Stats.Degraded++
		}
		m := Merge(r.answers)
		res.Merged = &m
		s.repair(r, &m)
	default:
		res.Failure = &Failure{Reason: NoQuorum, Needed: r.count.Needed(), Got: r.count.Answers(),
			Text: fmt.Sprintf("%v: %v", r.q, &r.count)}
	}
	for id, mark := range r.count.All() {
		if mark == quorum.Failed && r.deadline <= s.now.Mono && id != s.cfg.Self {
			s.failed(id)
		}
	}
	r.done(res)
}

// repair nudges replicas whose rows a merged read found behind: they pull what
// they lack from one that had it. Nobody pushes rows into them.
func (s *Shard) repair(r *read, m *Merged) {
	for i := range r.answers {
		if !m.differs(&r.answers[i]) {
			continue
		}
		for j := range r.answers {
			if j != i && !r.answers[i].Clock.Covers(r.answers[j].Clock) {
				s.nudge(r.part, r.from[i], r.from[j])
				break
			}
		}
	}
}

func (s *Shard) nudge(partition int, behind, from ring.NodeID) {
	p, err := s.loaded(partition)
	if err != nil || p.nudged[behind] > s.now.Mono {
		return
	}
	p.nudged[behind] = s.now.Mono + s.cfg.NudgeEvery
	s.Stats.Nudges++
	if behind == s.cfg.Self {
		s.catchUpFrom(partition, from, false)
		return
	}
	s.send(behind, Nudge{Partition: partition, From: from})
}

func (s *Shard) receiveNudge(_ ring.NodeID, m Nudge) {
	if s.valid(m.Partition) && m.From != s.cfg.Self {
		s.catchUpFrom(m.Partition, m.From, false)
	}
}
