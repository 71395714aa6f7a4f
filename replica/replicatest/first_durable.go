package replicatest

import (
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/ring"
)

// The books of who holds what, and since when: the truth that bounds of
// staleness, barriers and promises are held to. They follow the stored clocks
// alone, so it is all the same by which way a group came: from a client, a
// coordinator, a log, a snapshot or a copied disk.

const maxNodes = 8

// learnDurable enters what became durable on a node, or is gone from it, since
// the last look at a partition.
func (n *node) learnDurable(p int) {
	part, now := n.w.memory.parts[p], n.durableOf(p)
	before := n.entered[p]
	if now.Equal(before) {
		return
	}
	for d := range now.Minus(before).Dots() {
		if k := part.groups[d]; k != nil {
			k.since[n.at] = max(n.w.now, 1)
			k.held |= 1 << n.at
		}
	}
	for d := range before.Minus(now).Dots() {
		if k := part.groups[d]; k != nil {
			k.since[n.at] = 0
		}
	}
	n.entered[p] = now
}

// longest returns the group that a clock lacks and that one of the members has
// held durably for the longest time without a break, and since when; nil when
// the clock lacks nothing that any of them holds.
func (w *World) longest(p int, c dvv.Clock, members []ring.NodeID) (missed *known, at int, since int64) {
	part := w.memory.parts[p]
	for _, id := range members {
		n := w.nodes[w.index(id)]
		held := n.durableOf(p)
		if c.Covers(held) {
			continue
		}
		for d := range held.Minus(c).Dots() {
			if k := part.groups[d]; k != nil && (missed == nil || k.since[n.at] < since) {
				missed, at, since = k, n.at, k.since[n.at]
			}
		}
	}
	return missed, at, since
}

// members lists those whom every node's ring knows: of another one, nobody's
// bound needs to speak.
func (w *World) members() []ring.NodeID {
	var all []ring.NodeID
	for _, m := range w.ring.Members() {
		everywhere := true
		for _, n := range w.nodes {
			everywhere = everywhere && isMember(n.ring, m.ID)
		}
		if everywhere {
			all = append(all, m.ID)
		}
	}
	return all
}

func isMember(r *ring.Ring, id ring.NodeID) bool {
	_, found := r.Node(id)
	return found
}
