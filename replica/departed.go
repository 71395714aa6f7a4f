package replica

import "fmt"

// A node that departed, because an operator said that it leaves or is replaced,
// owns nothing any more. What it stores goes the way of everything that is
// stored without being owned: it is offered to the owners and dropped. What
// clients ask of it goes through the ring, as at any node that owns nothing.
//
// It takes nothing new, though a peer that has not heard yet may send it more: a
// copy that it acknowledged would count toward W, and be gone with the process
// that an operator is about to stop.

func (s *Shard) departed() bool { return s.ring.HasDeparted(s.cfg.Self) }

// Drained tells whether this node departed and holds nothing any more, nor ever
// will: its process may be stopped for good.
func (s *Shard) Drained() bool {
	return s.departed() && len(s.stored) == 0 && s.committing == nil && len(s.queue) == 0
}

// refuseDeparted is what a departed node says to a mutation that it was to
// coordinate. It did nothing, so that the next coordinator is tried.
func (s *Shard) refuseDeparted(m *Mutation) *Failure {
	return &Failure{Reason: Internal, Text: fmt.Sprintf("%v: %v has left the ring and coordinates nothing; nothing was done", m, s.cfg.Self)}
}
