package replica

import "github.com/cartwheel-db/cartwheel/ring"

// staleness is how far behind this replica's durable state may be, now. Nobody
// but an owner asks around, so only owners know.
func (s *Shard) staleness(p *part) Staleness {
	if !s.owns(p.ID) {
		return Staleness{Bound: Unknown, Reachable: Unknown}
	}
	var out Staleness
	for _, id := range s.others {
		age := s.ageToward(p, id)
		out.Bound = worse(out.Bound, age)
		if s.up(id) {
			out.Reachable = worse(out.Reachable, age)
		} else {
			out.Missing = append(out.Missing, id)
		}
	}
	return out
}

// ageToward is how long ago a moment was whose durable state of one member is covered
// here.
func (s *Shard) ageToward(p *part, id ring.NodeID) int64 {
	d := s.depth(p, id)
	if d == nil || d.coveredAt == 0 {
		return Unknown
	}
	return max(0, s.now.Mono-d.coveredAt)
}

func worse(a, b int64) int64 {
	if a == Unknown || b == Unknown {
		return Unknown
	}
	return max(a, b)
}

func better(a, b int64) int64 {
	if a == Unknown || b != Unknown && b < a {
		return b
	}
	return a
}

// State tells how far this node is with one partition.
func (s *Shard) State(partition int) State {
	p := s.parts[partition]
	switch {
	case !s.owns(partition) && !s.stores(partition):
		return Left
	case !s.owns(partition):
		return Draining
	case p != nil && p.ready && !p.promoting():
		return Ready
	case p != nil && p.marked:
		return Recovering
	}
	return Joining
}

// Health tells how the partitions are doing that this node owns or stores, in
// order.
func (s *Shard) Health(now Now) []Health {
	s.now = now
	var all []Health
	for id := range s.ring.Config().Partitions {
		owns := s.owns(id)
		if !owns && !s.stores(id) {
			continue
		}
		p, err := s.loaded(id)
		if err != nil {
			continue
		}
		h := Health{Partition: id, State: s.State(id), Staleness: s.staleness(p), Install: s.installProgress(id)}
		for _, m := range s.others {
			ph := PeerHealth{ID: m, Age: s.ageToward(p, m)}
			if d := s.depth(p, m); !d.covered {
				ph.Missing = d.clock.Minus(p.durable).Count()
			}
			h.Peers = append(h.Peers, ph)
		}
		all = append(all, h)
	}
	_ = s.cfg.Read(func(v View) error {
		for i := range all {
			all[i].Groups, all[i].LogBytes, all[i].Operations = v.Tally(all[i].Partition)
		}
		return nil
	})
	return all
}
