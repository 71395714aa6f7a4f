package server

import (
	"fmt"
	"time"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/replica"
	"github.com/cartwheel-db/cartwheel/ring"
	"github.com/cartwheel-db/cartwheel/server/peer"
)

// factsKind marks a message that carries membership facts instead of one of the
// replica protocol. Peers whose frames bear another ring hash get one.
const (
	factsKind  = 0xf0
	factsEvery = 500 * time.Millisecond
)

func (n *Node) listenPeers(boot uint64) (*peer.Transport, error) {
	return peer.Listen(peer.Config{
		Self: n.id, ClusterID: n.cfg.Cluster.ID, Partitions: n.cfg.Cluster.Partitions, Replicas: n.cfg.Cluster.Replicas,
		Secret: n.cfg.Cluster.Secret, Boot: boot, Listen: n.cfg.Peer, Logger: n.log,
		Deliver: n.deliver,
		OnLink:  func(id ring.NodeID, up bool) { n.loop.setLink(id, up) },
		Header: func() peer.Header {
			return peer.Header{RingHash: n.Ring().Hash(), Stamp: n.loop.stamp.Load()}
		},
	})
}

// send encodes a message for a peer. One that cannot be queued is lost, like
// any message: whoever needs it asks again.
func (n *Node) send(to ring.NodeID, m replica.Message) {
	if err := n.links.Send(to, peer.Append(nil, m)); err != nil {
		n.log.Debug("message lost", "to", short(to), "kind", fmt.Sprintf("%T", m), "err", err)
	}
}

// deliver takes a frame of a peer on the connection's own goroutine: decoding
// runs beside the shard's loop. Peers call as soon as the address listens, and
// wait until there is a whole node to answer them.
func (n *Node) deliver(from ring.NodeID, h peer.Header, messages [][]byte) {
	<-n.wired
	if h.RingHash != n.Ring().Hash() {
		n.sendFacts(from)
	}
	decoded := make([]replica.Message, 0, len(messages))
	for _, b := range messages {
		if len(b) > 0 && b[0] == factsKind {
			facts, err := ring.DecodeFacts(append([]byte(nil), b[1:]...))
			if err != nil {
				n.log.Warn("malformed membership facts", "from", short(from), "err", err)
				continue
			}
			n.learn(facts)
			if talk := n.talk.Load(); talk != nil {
				talk.AddFacts(facts)
			}
			continue
		}
		m, err := peer.Decode(b)
		if err != nil {
			n.log.Warn("malformed message", "from", short(from), "bytes", len(b), "err", err)
			continue
		}
		decoded = append(decoded, m)
	}
	n.loop.deliver(from, crdt.Stamp(h.Stamp), decoded)
}

// sendFacts tells a peer with another ring what this node knows; it will answer
// in kind when it sees this node's hash.
func (n *Node) sendFacts(to ring.NodeID) {
	now := time.Now()
	if last, ok := n.factsSent.Load(to); ok && now.Sub(last.(time.Time)) < factsEvery {
		return
	}
	n.factsSent.Store(to, now)
	n.mu.Lock()
	b, err := n.facts.AppendBinary([]byte{factsKind})
	n.mu.Unlock()
	if err == nil {
		err = n.links.Send(to, b)
	}
	if err != nil {
		n.log.Debug("facts not sent", "to", short(to), "err", err)
	}
}
