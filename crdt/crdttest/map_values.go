package crdttest

import (
	"slices"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
)

// Value is what a counter of a map reads at a time once everybody has all of a
// history: of each operation its increment, once, however many coordinators applied
// it, and not at all if a reset of another operation saw any copy of it. A reset sees
// of an actor all up to the newest increment that its reader knew of, or that an
// earlier reset saw which its reader knew of.
//
// The resets of the copies of one operation are part of it: a retry of "remove, then
// add 3" whose read shows the first copy takes that back and puts its own 3.
//
// What expires is reset, actor by actor, when the time of his newest entry is over.
// To an operation with a reset of its own that was known by then it is no reset of
// another: that takes back only what counts of it, and leaves another copy alone.
func (h History) Value(row crdt.Address, wallMillis int64) crdt.Total {
	v := valuation{h: h, added: map[crdt.Operation]int64{}, dots: map[crdt.Operation][]dvv.Dot{}}
	for i := range h.Groups {
		g := &h.Groups[i]
		for j := range g.Events {
			switch e, d := &g.Events[j], g.Dot(j); {
			case e.Row != row:
			case e.Delta != 0:
				entry, _ := crdt.DecodeEntry(e.Payload)
				v.added[g.Op] = e.Delta
				v.dots[g.Op] = append(v.dots[g.Op], d)
				v.entries = append(v.entries, timed{d, entry.Expires})
			case e.Payload.Kind() == crdt.KindReset:
				v.reset(d, g.Op)
			}
		}
	}
	var all dvv.Clock
	for _, e := range events(h.Groups) {
		all.Add(e.dot)
	}
	v.resets = append(v.resets, v.over(all, Lapse{Wall: wallMillis}))
	var sum crdt.Total
	for op, delta := range v.added {
		dots := v.dots[op]
		if slices.ContainsFunc(dots, v.counts) && !slices.ContainsFunc(dots, func(d dvv.Dot) bool { return v.gone(op, d) }) {
			sum = sum.Add(crdt.TotalOf(delta))
		}
	}
	return sum
}

// valuation is a counter on the way to its value.
type valuation struct {
	h       History
	added   map[crdt.Operation]int64
	dots    map[crdt.Operation][]dvv.Dot
	entries []timed
	resets  []seenReset
}

// timed is an increment and when all that its actor had counted by then is over.
type timed struct {
	dot     dvv.Dot
	expires int64
}

// seenReset is a reset and how far it saw each actor.
type seenReset struct {
	dot dvv.Dot
	saw map[dvv.Actor]uint64

	op     crdt.Operation   // that put it beside its increment, or none
	spares []crdt.Operation // to which it is no reset of another
}

func (v *valuation) reset(d dvv.Dot, op crdt.Operation) {
	known := v.h.Saw[d]
	if l, lapse := v.h.Lapsed[d]; lapse {
		z := v.over(known, l)
		z.dot = d
		v.resets = append(v.resets, z)
		return
	}
	z := seenReset{dot: d, saw: v.floor(known)}
	if v.h.Beside[d] {
		z.op = op
	}
	for _, e := range v.entries {
		if known.Contains(e.dot) {
			z.saw[e.dot.Actor] = max(z.saw[e.dot.Actor], e.dot.Seq)
		}
	}
	if !op.IsZero() {
		z.spares = []crdt.Operation{op}
	}
	v.resets = append(v.resets, z)
}

// over is the reset of what expired, as who knows some of the history finds it.
func (v *valuation) over(known dvv.Clock, l Lapse) seenReset {
	z := seenReset{saw: v.floor(known)}
	newest := map[dvv.Actor]timed{}
	for _, e := range v.entries {
		if known.Contains(e.dot) && e.dot.Seq > newest[e.dot.Actor].dot.Seq {
			newest[e.dot.Actor] = e
		}
	}
	for a, e := range newest {
		if e.expires != 0 && e.expires <= l.Wall && (l.Actor == 0 || l.Actor == a) {
			z.saw[a] = max(z.saw[a], e.dot.Seq)
		}
	}
	for _, o := range v.resets {
		if known.Contains(o.dot) && !o.op.IsZero() {
			z.spares = append(z.spares, o.op)
		}
	}
	return z
}

// floor is how far the resets that somebody knows of saw each actor.
func (v *valuation) floor(known dvv.Clock) map[dvv.Actor]uint64 {
	saw := map[dvv.Actor]uint64{}
	for _, z := range v.resets {
		if known.Contains(z.dot) {
			for a, seq := range z.saw {
				saw[a] = max(saw[a], seq)
			}
		}
	}
	return saw
}

// counts tells whether no reset at all saw the increment at d.
func (v *valuation) counts(d dvv.Dot) bool {
	return !slices.ContainsFunc(v.resets, func(z seenReset) bool { return d.Seq <= z.saw[d.Actor] })
}

// gone tells whether a reset of another operation saw the increment at d.
func (v *valuation) gone(op crdt.Operation, d dvv.Dot) bool {
	return slices.ContainsFunc(v.resets, func(z seenReset) bool { return d.Seq <= z.saw[d.Actor] && !slices.Contains(z.spares, op) })
}
