package replica

import (
	"slices"

	"github.com/cartwheel-db/cartwheel/replica/breaker"
	"github.com/cartwheel-db/cartwheel/ring"
)

func (s *Shard) peer(id ring.NodeID) *peer {
	p := s.peers[id]
	if p == nil {
		p = &peer{id: id, breaker: breaker.New(breaker.Config{})}
		p.breaker.LinkDown(s.now.Mono) // until SetLink tells of one
		s.peers[id] = p
	}
	return p
}

// SetPeer tells what gossip believes of a member. It is a hint: the breaker on
// the data path decides as well.
func (s *Shard) SetPeer(now Now, id ring.NodeID, alive bool) {
	s.now = now
	p := s.peer(id)
	if p.alive == alive {
		return
	}
	p.alive = alive
	s.turned(p, alive)
}

// SetLink tells that the link to a member came up or went down.
func (s *Shard) SetLink(now Now, id ring.NodeID, up bool) {
	s.now = now
	p := s.peer(id)
	was := s.up(id)
	if up {
		p.breaker.LinkUp(now.Mono)
		p.breaker.Success(now.Mono) // the handshake is an answer
	} else {
		p.breaker.LinkDown(now.Mono)
	}
	if is := s.up(id); is != was {
		s.turned(p, is)
	}
}

func (s *Shard) turned(p *peer, up bool) {
	if !up {
		s.peerLost(p.id)
		return
	}
	if s.up(p.id) {
		s.sound(p.id, s.ring.PartitionsOf(s.cfg.Self))
		s.exchangeWith(p.id)
		s.offerTo(p.id)
	}
}

// up tells whether a node counts as reachable: this one, or one that gossip
// believes alive and whose breaker is not open.
func (s *Shard) up(id ring.NodeID) bool {
	if id == s.cfg.Self {
		return true
	}
	p := s.peers[id]
	return p != nil && p.alive && p.breaker.State(s.now.Mono) != breaker.Open
}

// Reaches tells whether the shard counts a node as reachable now.
func (s *Shard) Reaches(now Now, id ring.NodeID) bool {
	s.now = now
	return s.up(id)
}

// usable tells whether something may be sent to a node now. Of a peer that is
// being tried again, one request at a time goes through.
func (s *Shard) usable(id ring.NodeID) bool {
	return id == s.cfg.Self || s.up(id) && s.peers[id].breaker.Allow(s.now.Mono)
}

const heardLately = int64(200e6) // ns: less than any answer is waited for

// failed notes that a peer left a request unanswered.
//
// One that has said something else a moment ago is not dead but busy: under load
// many requests are late at once, and a cluster that took its members for dead
// would be busy with their return as well.
func (s *Shard) failed(id ring.NodeID) {
	was, p := s.up(id), s.peer(id)
	if p.heard && s.now.Mono-p.heardAt < heardLately && p.breaker.State(s.now.Mono) == breaker.Closed {
		return
	}
	p.breaker.Failure(s.now.Mono)
	if was && !s.up(id) {
		s.peerLost(id)
	}
}

// peerLost takes a peer out of everything that waits for it, in a fixed order.
func (s *Shard) peerLost(id ring.NodeID) {
	for _, w := range slices.Clone(s.pending) {
		switch w := w.(type) {
		case *forward:
			if !w.finished && w.to == id {
				s.forwardNext(w)
			}
		case *read:
			w.count.Fail(id)
			s.dropAsks(w, id)
			s.readOn(w)
		case *write:
			w.count.Fail(id)
			s.writeOn(w)
		}
	}
}
