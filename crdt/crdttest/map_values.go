package crdttest

import (
	"slices"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
)

// Value is what a counter of a map reads once everybody has all of a history in
// which nothing expires: of each operation its increment, once, however many
// coordinators applied it, and not at all if a reset of another operation saw any
// copy of it. A reset sees of an actor all up to the newest increment that its
// reader knew of, or that an earlier reset saw which its reader knew of.
//
// The resets of the copies of one operation are part of it: a retry of "remove, then
// add 3" whose read shows the first copy takes that back and puts its own 3.
func (h History) Value(row crdt.Address) crdt.Total {
	added := map[crdt.Operation]int64{}
	dots := map[crdt.Operation][]dvv.Dot{}
	var resets []seenReset
	for i := range h.Groups {
		g := &h.Groups[i]
		for j := range g.Events {
			switch e := &g.Events[j]; {
			case e.Row != row:
			case e.Delta != 0:
				added[g.Op] = e.Delta
				dots[g.Op] = append(dots[g.Op], g.Dot(j))
			case e.Payload.Kind() == crdt.KindReset:
				resets = append(resets, seenReset{g.Dot(j), g.Op, h.floor(resets, dots, h.Saw[g.Dot(j)])})
			}
		}
	}
	var sum crdt.Total
	for op, delta := range added {
		if !slices.ContainsFunc(dots[op], func(d dvv.Dot) bool { return gone(resets, op, d) }) {
			sum = sum.Add(crdt.TotalOf(delta))
		}
	}
	return sum
}

// seenReset is a reset and how far it saw each actor.
type seenReset struct {
	dot dvv.Dot
	op  crdt.Operation
	saw map[dvv.Actor]uint64
}

func (h History) floor(resets []seenReset, dots map[crdt.Operation][]dvv.Dot, known dvv.Clock) map[dvv.Actor]uint64 {
	saw := map[dvv.Actor]uint64{}
	for _, of := range dots {
		for _, d := range of {
			if known.Contains(d) {
				saw[d.Actor] = max(saw[d.Actor], d.Seq)
			}
		}
	}
	for _, z := range resets {
		if known.Contains(z.dot) {
			for a, seq := range z.saw {
				saw[a] = max(saw[a], seq)
			}
		}
	}
	return saw
}

// gone tells whether a reset of another operation saw the increment at d.
func gone(resets []seenReset, op crdt.Operation, d dvv.Dot) bool {
	return slices.ContainsFunc(resets, func(z seenReset) bool { return (z.op != op || op.IsZero()) && d.Seq <= z.saw[d.Actor] })
}
