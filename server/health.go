package server

import (
	"github.com/cartwheel-db/cartwheel/replica"
	"github.com/cartwheel-db/cartwheel/ring"
)

// summary is the health of a node: that of its partitions, put together.
type summary struct {
	states     [replica.Left + 1]int
	worst      replica.Staleness                  // over owned partitions
	peers      map[ring.NodeID]replica.PeerHealth // over owned partitions: the worst age, all that is missing
	installs   []replica.Health                   // those with a snapshot on its way in
	groups     int64
	logBytes   int64
	operations int64
	damaged    int
}

func summarize(all []replica.Health) summary {
	s := summary{peers: map[ring.NodeID]replica.PeerHealth{}}
	for _, h := range all {
		s.states[h.State]++
		s.groups += h.Groups
		s.logBytes += h.LogBytes
		s.operations += h.Operations
		s.damaged += h.Damaged
		if h.Install != nil {
			s.installs = append(s.installs, h)
		}
		if owned(h.State) {
			s.worst = worse(s.worst, h.Staleness)
			for _, p := range h.Peers {
				s.meet(p)
			}
		}
	}
	return s
}

func (s *summary) meet(p replica.PeerHealth) {
	sum := s.peers[p.ID]
	s.peers[p.ID] = replica.PeerHealth{ID: p.ID, Age: longer(sum.Age, p.Age), Missing: sum.Missing + p.Missing}
}

func owned(s replica.State) bool {
	return s == replica.Joining || s == replica.Recovering || s == replica.Ready
}

// state is the node's: as far as its partitions are, unless it is on its way in
// or out.
func (s *summary) state(now string) string {
	switch {
	case now == Starting || now == Draining || now == Left:
		return now
	case s.states[replica.Joining] > 0:
		return Joining
	case s.states[replica.Recovering] > 0:
		return Recovering
	}
	return Ready
}
