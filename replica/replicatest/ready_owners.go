package replicatest

import (
	"github.com/cartwheel-db/cartwheel/replica"
)

// checkBarrier looks who became ready. At that moment an owner's disk holds all
// that each member which the owner can reach has held since before the owner's
// store was opened, or since before it became an owner, without a break.
func (n *node) checkBarrier() {
	w := n.w
	if w.opt.NoBarrier || w.quiet && n.allReady {
		return
	}
	n.allReady = true
	for p := range w.profile.partitions {
		if n.ready[p] || !n.ring.Owns(n.id, p) {
			continue
		}
		if n.shard.State(p) != replica.Ready {
			n.allReady = false
			continue
		}
		n.ready[p] = true
		w.report.Checked.Barriers++
		mine := n.durableOf(p)
		for _, m := range n.ring.Members() {
			if m.ID == n.id || !n.shard.Reaches(n.clock(), m.ID) {
				continue
			}
			o := w.nodes[w.index(m.ID)]
			for d := range o.durableOf(p).Minus(mine).Dots() {
				if k := w.memory.parts[p].groups[d]; k.since[o.at] <= n.ownerSince[p] {
					w.fail("%v counts as ready for partition %d, which it has owned and had open since %.4f s; it reaches %v, which has held %s since %.4f s, and lacks that", n.id, p,
						float64(n.ownerSince[p])/1e9, o.id, brief(&k.group), float64(k.since[o.at])/1e9)
					return
				}
			}
		}
	}
}

// ownNow notes what a node owns: when it opened, and when it learnt a ring.
func (n *node) ownNow(opened bool) {
	for p := range n.w.profile.partitions {
		owns := n.ring.Owns(n.id, p)
		if opened || !owns || n.ownerSince[p] == 0 {
			n.ready[p] = false
			n.ownerSince[p] = 0
			if owns {
				n.ownerSince[p] = max(n.w.now, 1)
			}
		}
	}
	n.allReady = false
}
