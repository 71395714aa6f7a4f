package replicatest

import (
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica"
)

// What the barrier is for, end to end. A write that W=2 of three owners hold
// durably, and whose client was told, is in every read at R=2 that is not
// degraded: whoever was killed meanwhile, and whoever lost its disk, for it does
// not count toward R again before it has caught up with all other owners.
//
// Such a promise ends with the ring it was given under; with the last owner that
// holds the write; and when a disk is replaced by an older or a foreign one,
// which bears marks that its owner did not earn: the others tell it only of what
// they saw it have.

// promise notes an acknowledged write that enough owners hold.
func (w *World) promise(rec *opRecord) {
	part := w.memory.parts[rec.partition]
	if !w.agreed() {
		return
	}
	for _, k := range rec.groups {
		if w.owning(k) >= 2 {
			part.promised.AddRange(k.group.Actor, k.group.First, k.group.Last())
			if k.promised == 0 {
				k.promised = w.now
			}
		}
	}
}

// owning counts the owners that hold a group durably.
func (w *World) owning(k *known) (n int) {
	for _, id := range w.ring.Owners(k.partition) {
		if k.since[w.index(id)] > 0 {
			n++
		}
	}
	return n
}

// agreed tells whether all nodes go by the same ring.
func (w *World) agreed() bool {
	for _, n := range w.nodes {
		if n.ring.Hash() != w.ring.Hash() {
			return false
		}
	}
	return true
}

// newRing ends all promises.
func (w *World) newRing() {
	w.wild++
	w.rings++
	for _, part := range w.memory.parts {
		part.promised = dvv.Clock{}
	}
}

// release ends the promises that a lost disk puts in doubt: those that no other
// owner can keep; or all that not two owners keep, when something else than an
// empty disk took its place. It is told when the books are closed over the disk.
func (w *World) release(part *partition, emptied bool) {
	need := 2
	if emptied {
		need = 1
	}
	for d := range part.promised.Clone().Dots() {
		if w.owning(part.groups[d]) < need {
			part.promised.Remove(d)
		}
	}
}

// checkPromised holds a read to the promises that were given when it began and
// still stood when it ended.
func (w *World) checkPromised(a asking, res replica.Result) {
	if a.r < 2 || res.Degraded || a.rings != w.rings {
		return
	}
	part := w.memory.parts[a.partition]
	if res.Merged.Clock.Covers(a.promised) {
		if !a.promised.IsEmpty() {
			w.report.Checked.Promised++
		}
		return
	}
	missed := a.promised.Minus(res.Merged.Clock).Intersect(part.promised)
	for d := range missed.Dots() {
		k := part.groups[d]
		w.fail("%v at R=%d was answered by %d, not degraded, at %v: it misses %v, which two owners held and its client was told",
			a.query, a.r, res.Answers, res.Merged.Clock, brief(&k.group))
		return
	}
}
