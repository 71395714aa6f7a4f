package dvv

import (
	"cmp"
	"fmt"
	"iter"
	"math"
	"math/bits"
	"slices"
)

// Clock is a set of dots, kept as intervals per actor: a version vector with
// gaps (Malkhi and Terry 2005; the node clock of DottedDB, Gonçalves et al.
// 2017, section 3). The zero value is the empty set, ready to use.
//
// Size is proportional to actors and gaps, never to events. Like a map, a
// copied Clock shares its contents: Clone before changing one of the two.
type Clock struct {
	entries []entry // sorted by actor, none without runs
}

type entry struct {
	actor Actor
	runs  runs
}

// ClockOf returns the set of the given dots. It panics on a dot of seq 0.
func ClockOf(dots ...Dot) Clock {
	var c Clock
	for _, d := range dots {
		c.Add(d)
	}
	return c
}

// find returns where the actor is, or where it would be.
func (c Clock) find(a Actor) (int, bool) {
	return slices.BinarySearchFunc(c.entries, a, func(e entry, a Actor) int { return cmp.Compare(e.actor, a) })
}

// runsOf returns the actor's runs, nil if it has none.
func (c Clock) runsOf(a Actor) runs {
	if i, ok := c.find(a); ok {
		return c.entries[i].runs
	}
	return nil
}

// Add puts d into the set and reports whether it was new. The next dot of a
// known actor, by far the commonest, only lengthens the last run and allocates
// nothing. It panics on seq 0, which names no event.
func (c *Clock) Add(d Dot) bool {
	if i, ok := c.find(d.Actor); ok {
		r := c.entries[i].runs
		if newest := &r[len(r)-1]; newest.Last != math.MaxUint64 && d.Seq == newest.Last+1 {
			newest.Last++
			return true
		}
		if r.containsRange(d.Seq, d.Seq) {
			return false
		}
	}
	c.AddRange(d.Actor, d.Seq, d.Seq)
	return true
}

// AddRange puts the actor's dots first..last, both included, into the set. It
// panics if first is 0 or greater than last: a range read from outside is
// checked where it is read.
func (c *Clock) AddRange(a Actor, first, last uint64) {
	if first == 0 || first > last {
		panic(fmt.Sprintf("dvv: add %v:%d-%d: want 1 <= first <= last", a, first, last))
	}
	i, ok := c.find(a)
	if !ok {
		c.entries = slices.Insert(c.entries, i, entry{a, runs{{first, last}}})
		return
	}
	c.entries[i].runs = c.entries[i].runs.with(first, last)
}

// Remove takes d out of the set and reports whether it was in.
func (c *Clock) Remove(d Dot) bool {
	i, ok := c.find(d.Actor)
	if !ok {
		return false
	}
	r, removed := c.entries[i].runs.without(d.Seq)
	if len(r) == 0 {
		c.entries = slices.Delete(c.entries, i, i+1)
	} else {
		c.entries[i].runs = r
	}
	return removed
}

// Join makes c the union of c and o. Nothing of o is shared afterwards, and
// nothing is allocated when o says nothing new.
func (c *Clock) Join(o Clock) {
	if c.Covers(o) {
		return
	}
	fresh := 0
	for _, e := range o.entries {
		if i, ok := c.find(e.actor); ok {
			c.entries[i].join(e.runs)
		} else {
			fresh++
		}
	}
	if fresh > 0 {
		c.admit(o, fresh)
	}
}

func (e *entry) join(o runs) {
	switch {
	case len(o) == 1: // a delta: stay in place
		e.runs = e.runs.with(o[0].First, o[0].Last)
	case !e.runs.covers(o):
		e.runs = union(e.runs, o)
	}
}

// admit merges the entries of o's actors that c does not have; it walks from
// the back so that one growth of the slice makes room for all of them.
func (c *Clock) admit(o Clock, fresh int) {
	i, j := len(c.entries)-1, len(o.entries)-1
	c.entries = slices.Grow(c.entries, fresh)[:len(c.entries)+fresh]
	for k := len(c.entries) - 1; j >= 0; k-- {
		switch {
		case i >= 0 && c.entries[i].actor >= o.entries[j].actor:
			if c.entries[i].actor == o.entries[j].actor {
				j--
			}
			c.entries[k] = c.entries[i]
			i--
		default:
			c.entries[k] = o.entries[j].clone()
			j--
		}
	}
}

func (e entry) clone() entry { return entry{e.actor, slices.Clone(e.runs)} }

// Clone returns a copy that shares nothing with c.
func (c Clock) Clone() Clock {
	if len(c.entries) == 0 {
		return Clock{}
	}
	total := 0
	for _, e := range c.entries {
		total += len(e.runs)
	}
	out, room := make([]entry, len(c.entries)), make(shelf, total)
	for i, e := range c.entries {
		r := room.take(len(e.runs))
		copy(r, e.runs)
		out[i] = entry{e.actor, r}
	}
	return Clock{out}
}

// shelf is room for the runs of several actors in one allocation. What is taken
// has no spare capacity, so a list that grows moves out and never into its
// neighbour.
type shelf runs

func (s *shelf) take(n int) runs {
	if n > len(*s) {
		return make(runs, n)
	}
	out := (*s)[:n:n]
	*s = (*s)[n:]
	return runs(out)
}

// Contains reports whether d is in the set. It allocates nothing.
func (c Clock) Contains(d Dot) bool {
	return c.runsOf(d.Actor).containsRange(d.Seq, d.Seq)
}

// ContainsRange reports whether all of the actor's dots first..last are in the
// set. A range that is none (first 0 or greater than last) is not.
func (c Clock) ContainsRange(a Actor, first, last uint64) bool {
	return first <= last && c.runsOf(a).containsRange(first, last)
}

// Covers reports whether every dot of o is in c. It allocates nothing.
func (c Clock) Covers(o Clock) bool {
	if len(o.entries) > len(c.entries) {
		return false
	}
	for _, e := range o.entries {
		i, ok := c.find(e.actor)
		if !ok || !c.entries[i].runs.covers(e.runs) {
			return false
		}
		c.entries = c.entries[i+1:]
	}
	return true
}

// Equal reports whether both hold the same dots.
func (c Clock) Equal(o Clock) bool {
	return slices.EqualFunc(c.entries, o.entries, func(x, y entry) bool {
		return x.actor == y.actor && slices.Equal(x.runs, y.runs)
	})
}

// Minus returns the dots of c that are not in o, as a Clock of its own: what a
// peer with clock o lacks.
func (c Clock) Minus(o Clock) Clock {
	return c.combine(o, subtract)
}

// Intersect returns the dots that are in both, as a Clock of its own.
func (c Clock) Intersect(o Clock) Clock {
	return c.combine(o, intersect)
}

func (c Clock) combine(o Clock, op func(a, b runs) runs) Clock {
	var out Clock
	for _, e := range c.entries {
		if r := op(e.runs, o.runsOf(e.actor)); len(r) > 0 {
			out.entries = append(out.entries, entry{e.actor, r})
		}
	}
	return out
}

// IsEmpty reports whether the set has no dot.
func (c Clock) IsEmpty() bool { return len(c.entries) == 0 }

// Count returns the number of dots, or the largest uint64 if there are more.
func (c Clock) Count() uint64 {
	var n uint64
	for _, e := range c.entries {
		for _, v := range e.runs {
			// Cannot wrap: First is at least 1, so a run has at most 2^64-1 dots.
			sum, carry := bits.Add64(n, v.Last-v.First+1, 0)
			if carry != 0 {
				return math.MaxUint64
			}
			n = sum
		}
	}
	return n
}

// Actors returns the number of actors with at least one dot.
func (c Clock) Actors() int { return len(c.entries) }

// Last returns the highest seq of the actor in the set, 0 if there is none.
// There may be gaps below it.
func (c Clock) Last(a Actor) uint64 {
	if r := c.runsOf(a); len(r) > 0 {
		return r[len(r)-1].Last
	}
	return 0
}

// Intervals yields the maximal runs of dots, by actor, then seq. The clock must
// not be changed meanwhile.
func (c Clock) Intervals() iter.Seq2[Actor, Interval] {
	return func(yield func(Actor, Interval) bool) {
		for _, e := range c.entries {
			for _, v := range e.runs {
				if !yield(e.actor, v) {
					return
				}
			}
		}
	}
}

// Dots yields every dot in the order of Dot.Compare. A clock from outside may
// hold 2^64 of them in a dozen bytes: look at Count before walking one. The
// clock must not be changed meanwhile.
func (c Clock) Dots() iter.Seq[Dot] {
	return func(yield func(Dot) bool) {
		for a, v := range c.Intervals() {
			for seq := v.First; ; seq++ {
				if !yield(Dot{a, seq}) {
					return
				}
				if seq == v.Last { // not in the loop's condition: Last may be the maximum
					break
				}
			}
		}
	}
}

// String prints the set as a version vector with its exceptions: a run from 1
// as "a:3", every other run as "+b:5" or "+b:5-7", as in {a:3 b:2 +b:5}.
func (c Clock) String() string {
	b := []byte{'{'}
	for a, v := range c.Intervals() {
		if len(b) > 1 {
			b = append(b, ' ')
		}
		if v.First == 1 {
			v.First = v.Last
		} else {
			b = append(b, '+')
		}
		b = v.appendTo(append(a.appendTo(b), ':'))
	}
	return string(append(b, '}'))
}
