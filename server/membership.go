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
	n.mu.Lock()
	defer n.mu.Unlock()
	if m, member := n.Ring().Node(n.id); member && m.PeerAddr == fact.PeerAddr && m.APIAddr == fact.APIAddr && m.Zone == fact.Zone && m.Weight == fact.Weight {
		n.setRing(n.Ring())
		return nil
	}
	if n.Ring().HasDeparted(n.id) {
		return n.carryOnLeaving()
	}
	fact.Number = n.facts.Next()
	var one ring.Facts
	if _, err := one.Add(fact); err != nil {
		return fmt.Errorf("sign on: %w", err)
	}
	if err := n.mergeLocked(one); err != nil {
		return err
	}
	n.talk.Load().AddFacts(one)
	return nil
}

// carryOnLeaving starts a node that departed and was stopped before it had handed
// everything off. One that has nothing left does not start.
func (n *Node) carryOnLeaving() error {
	var stored []int
	n.loop.call(func() { stored = n.loop.shard.Stored() })
	if len(stored) == 0 {
		return &DepartedError{n.id, n.cfg.Data}
	}
	n.setRing(n.Ring())
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
	return n.mergeLocked(facts)
}

func (n *Node) mergeLocked(facts ring.Facts) error {
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

// setRing moves to a ring. It is called under the lock of the facts.
func (n *Node) setRing(r *ring.Ring) {
	n.ring.Store(r)
	n.loop.setRing(r)
	n.setPeers()
	// A node that departed says so at once: nobody shall turn to it any more.
	if now := n.state.Load(); r.HasDeparted(n.id) && gossip.State(now) != gossip.Left {
		n.state.CompareAndSwap(now, int32(gossip.Draining))
	}
	if talk := n.talk.Load(); talk != nil {
		talk.SetMeta(r.Hash(), gossip.State(n.state.Load()))
	}
}

// setPeers holds links to all members, and to nodes that departed for as long as
// they run: what they hand off is acknowledged, and asked for, over these links.
func (n *Node) setPeers() {
	r, peers := n.Ring(), map[ring.NodeID]string{}
	for _, m := range r.Members() {
		if m.ID != n.id {
			peers[m.ID] = m.PeerAddr
		}
	}
	if talk := n.talk.Load(); talk != nil {
		for _, p := range talk.Peers() {
			if p.Up && r.HasDeparted(p.ID) {
				peers[p.ID] = p.PeerAddr // of now: nobody says anything more of it in facts
			}
		}
	}
	n.links.SetPeers(peers)
}

func (n *Node) onPeer(id ring.NodeID, p gossip.Peer, up bool) {
	n.loop.setPeer(id, up && p.State != gossip.Left && p.State != gossip.Draining)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.Ring().HasDeparted(id) {
		n.setPeers()
	}
	// Where members gossip is worth keeping: it is how a restarted node finds them.
	if err := writeFacts(n.cfg.Data, known{n.facts, n.whereToAsk()}); err != nil {
		n.log.Error("gossip addresses could not be kept", "err", err)
	}
}
