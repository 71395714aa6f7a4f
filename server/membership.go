package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cartwheel-db/cartwheel/ring"
	"github.com/cartwheel-db/cartwheel/ring/gossip"
)

// How a node becomes a member, and what it makes of the facts it hears.

// alone tells whether the facts speak of a ring whose only member is id.
func alone(facts ring.Facts, id ring.NodeID) bool {
	others := 0
	for _, f := range facts.All() {
		if f.Node != id {
			others++
		}
	}
	return facts.Len() > 0 && others == 0
}

// join meets the members named by the operator, trying until one answers.
func (n *Node) join(ctx context.Context) error {
	if len(n.cfg.Join) == 0 {
		return nil
	}
	until := time.Now().Add(n.cfg.JoinTimeout)
	for {
		_, err := n.talk.Load().Join(n.cfg.Join...)
		var foreign *gossip.ForeignError
		var twin *gossip.TwinError
		switch {
		case err == nil:
			n.learn(n.talk.Load().Facts())
			return nil
		case errors.As(err, &foreign), errors.As(err, &twin), time.Now().After(until):
			return fmt.Errorf("join %v: %w", n.cfg.Join, err)
		}
		n.log.Info("no member answers yet", "join", n.cfg.Join, "err", err)
		select {
		case <-ctx.Done():
			return fmt.Errorf("join %v: %w", n.cfg.Join, context.Cause(ctx))
		case <-time.After(250 * time.Millisecond):
		}
	}
}

// signOn makes this node a member, or tells the others where it listens now.
// Starting an empty node is the operator's act that changes the ring.
func (n *Node) signOn() error {
	fact := ring.Fact{
		Kind: ring.Joined, Node: n.id, PeerAddr: n.links.Addr(), APIAddr: n.apiAt.Addr().String(),
		Zone: n.cfg.Zone, Weight: max(1, n.cfg.Weight),
	}
	if m, member := n.Ring().Node(n.id); member && m.PeerAddr == fact.PeerAddr && m.APIAddr == fact.APIAddr && m.Zone == fact.Zone && m.Weight == fact.Weight {
		n.setRing(n.Ring())
		return nil
	}
	for _, m := range n.Ring().Departed() {
		if m.ID == n.id {
			return fmt.Errorf("node %s left this cluster; a node that left never comes back: start it with an empty data directory", n.id)
		}
	}
	n.mu.Lock()
	fact.Number = n.facts.Next()
	n.mu.Unlock()
	var one ring.Facts
	if _, err := one.Add(fact); err != nil {
		return fmt.Errorf("sign on: %w", err)
	}
	if err := n.merge(one); err != nil {
		return err
	}
	n.talk.Load().AddFacts(one)
	return nil
}

// learn takes facts from others.
func (n *Node) learn(facts ring.Facts) {
	if err := n.merge(facts); err != nil {
		n.log.Error("membership facts could not be kept", "err", err)
	}
}

// merge stores facts before it acts on them, and moves to the ring they fold to.
func (n *Node) merge(facts ring.Facts) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	next := n.facts.Clone()
	if !next.Merge(facts) {
		return nil
	}
	r, err := ring.Fold(n.cfg.Cluster.Ring(), next)
	if err != nil {
		return fmt.Errorf("fold %d membership facts: %w", next.Len(), err)
	}
	if err := writeFacts(n.cfg.Data, known{next, n.whereToAsk()}); err != nil {
		return err
	}
	n.facts = next
	n.log.Info("ring", "members", len(r.Members()), "hash", fmt.Sprintf("%016x", r.Hash()))
	n.setRing(r)
	return nil
}

// maxSeeds bounds the gossip addresses kept of peers that were not met since
// this node started.
const maxSeeds = 64

// whereToAsk returns where others gossip, for the next start: who was met in
// this life, and then those of earlier ones. A node that starts alone has met
// nobody yet, and must not forget everybody for that.
func (n *Node) whereToAsk() []string {
	var seeds []string
	add := func(addr string) {
		if addr != "" && !slices.Contains(seeds, addr) {
			seeds = append(seeds, addr)
		}
	}
	if talk := n.talk.Load(); talk != nil {
		for _, p := range talk.Peers() {
			add(p.GossipAddr)
		}
	}
	for _, addr := range n.seeds {
		if len(seeds) < maxSeeds {
			add(addr)
		}
	}
	n.seeds = seeds
	return seeds
}

func (n *Node) setRing(r *ring.Ring) {
	n.ring.Store(r)
	n.loop.setRing(r)
	peers := map[ring.NodeID]string{}
	for _, m := range r.Members() {
		if m.ID != n.id {
			peers[m.ID] = m.PeerAddr
		}
	}
	n.links.SetPeers(peers)
	if talk := n.talk.Load(); talk != nil {
		talk.SetMeta(r.Hash(), gossip.State(n.state.Load()))
	}
}

func (n *Node) onPeer(id ring.NodeID, p gossip.Peer, up bool) {
	n.loop.setPeer(id, up && p.State != gossip.Left && p.State != gossip.Draining)
	n.mu.Lock()
	defer n.mu.Unlock()
	// Where members gossip is worth keeping: it is how a restarted node finds them.
	if err := writeFacts(n.cfg.Data, known{n.facts, n.whereToAsk()}); err != nil {
		n.log.Error("gossip addresses could not be kept", "err", err)
	}
}
