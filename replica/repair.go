package replica

import "github.com/cartwheel-db/cartwheel/ring"

// repair nudges replicas whose rows a merged read found behind: they pull what
// they lack from one that had it. Nobody pushes rows into them.
func (s *Shard) repair(r *read, m *Merged) {
	if s.without(ReadRepair) {
		return
	}
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
