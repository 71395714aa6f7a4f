package peer

import (
	"sync"
	"sync/atomic"

	"github.com/cartwheel-db/cartwheel/ring"
)

// Stats is what a Transport counted since Listen.
type Stats struct {
	Peers       map[ring.NodeID]PeerStats // members, and whoever else is connected to us
	Refused     uint64                    // connections to us that failed the handshake
	TurnedAway  uint64                    // connections to us closed unheard: too many were in their handshake
	LastRefusal error                     // of Refused, the latest: a *HandshakeError
}

// PeerStats is one peer's part. Heartbeats are counted on their own, so MessagesSent / FramesSent is how well batches form.
type PeerStats struct {
	Addr    string // where we dial it; empty if it is not among SetPeers
	Up      bool   // our link for sending stands
	Inbound bool   // its link to us stands
	Boot    uint64 // its boot id at the latest handshake

	FramesSent, MessagesSent, BytesSent             uint64 // bytes on the wire, frame heads included
	FramesReceived, MessagesReceived, BytesReceived uint64
	HeartbeatsSent, HeartbeatsReceived              uint64

	RefusedFull, RefusedNoLink, RefusedTooLarge uint64 // messages Send refused
	Dropped                                     uint64 // messages queued or under way when the link broke
	QueueMessages, QueueBytes                   int

	Reconnects uint64 // times the link came up again after the first
	LastError  error  // why the latest dial, handshake or link ended; kept while the link is up
}

// MessagesPerFrame is the average batch this peer was sent, 0 before the first.
func (s PeerStats) MessagesPerFrame() float64 {
	if s.FramesSent == 0 {
		return 0
	}
	return float64(s.MessagesSent) / float64(s.FramesSent)
}

// tally is the live counters behind a PeerStats. It outlives the connections and re-dials of its peer.
type tally struct {
	boot, ups                                       atomic.Uint64
	framesSent, messagesSent, bytesSent             atomic.Uint64
	framesReceived, messagesReceived, bytesReceived atomic.Uint64
	heartbeatsSent, heartbeatsReceived              atomic.Uint64
	refusedFull, refusedNoLink, refusedTooLarge     atomic.Uint64
	dropped                                         atomic.Uint64

	mu        sync.Mutex
	lastError error
}

func (c *tally) sent(messages, bytes int) {
	c.bytesSent.Add(uint64(bytes))
	if messages == 0 {
		c.heartbeatsSent.Add(1)
		return
	}
	c.framesSent.Add(1)
	c.messagesSent.Add(uint64(messages))
}

func (c *tally) received(messages, bytes int) {
	c.bytesReceived.Add(uint64(bytes))
	if messages == 0 {
		c.heartbeatsReceived.Add(1)
		return
	}
	c.framesReceived.Add(1)
	c.messagesReceived.Add(uint64(messages))
}

// failed keeps err and reports whether it says something new, worth a line in the log.
func (c *tally) failed(err error) (news bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	news = c.lastError == nil || c.lastError.Error() != err.Error()
	c.lastError = err
	return news
}

func (c *tally) stats() PeerStats {
	c.mu.Lock()
	last := c.lastError
	c.mu.Unlock()
	return PeerStats{
		Boot:       c.boot.Load(),
		FramesSent: c.framesSent.Load(), MessagesSent: c.messagesSent.Load(), BytesSent: c.bytesSent.Load(),
		FramesReceived: c.framesReceived.Load(), MessagesReceived: c.messagesReceived.Load(), BytesReceived: c.bytesReceived.Load(),
		HeartbeatsSent: c.heartbeatsSent.Load(), HeartbeatsReceived: c.heartbeatsReceived.Load(),
		RefusedFull: c.refusedFull.Load(), RefusedNoLink: c.refusedNoLink.Load(), RefusedTooLarge: c.refusedTooLarge.Load(),
		Dropped:    c.dropped.Load(),
		Reconnects: max(c.ups.Load(), 1) - 1,
		LastError:  last,
	}
}

// Stats returns a snapshot of all counters.
func (t *Transport) Stats() Stats {
	t.mu.RLock()
	defer t.mu.RUnlock()
	s := Stats{
		Peers:       make(map[ring.NodeID]PeerStats, len(t.tallies)),
		Refused:     t.refused,
		TurnedAway:  t.turnedAway.Load(),
		LastRefusal: t.lastRefusal,
	}
	for id, c := range t.tallies {
		p := c.stats()
		if l := t.links[id]; l != nil {
			p.Addr, p.Up = l.addr, l.queue.isOpen()
			p.QueueMessages, p.QueueBytes = l.queue.size()
		}
		p.Inbound = t.inbound[id] != nil
		s.Peers[id] = p
	}
	return s
}
