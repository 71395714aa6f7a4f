package crdttest

import (
	"bytes"
	"slices"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
)

// Oracle returns the rows that the groups add up to, in whatever order: live is
// every payload that nobody killed, deferred every killed dot that is not
// there. Empty rows are left out. Nothing of this is clever.
func Oracle(groups []crdt.Group) map[crdt.Address]crdt.Row {
	known := Dots(groups)
	killed := map[crdt.Address]map[dvv.Dot]bool{}
	cleared := map[crdt.Key][]dvv.Clock{}
	for _, e := range events(groups) {
		if e.Clear != nil {
			cleared[e.Row.Key] = append(cleared[e.Row.Key], *e.Clear)
		}
		for _, d := range e.Kills {
			if killed[e.Row] == nil {
				killed[e.Row] = map[dvv.Dot]bool{}
			}
			killed[e.Row][d] = true
		}
	}
	rows := map[crdt.Address]crdt.Row{}
	for _, e := range events(groups) {
		inClear := slices.ContainsFunc(cleared[e.Row.Key], func(c dvv.Clock) bool { return e.Row.Cleared(c).Contains(e.dot) })
		if e.Payload == nil || killed[e.Row][e.dot] || inClear {
			continue
		}
		row := rows[e.Row]
		row.Live = append(row.Live, crdt.Live{Dot: e.dot, Payload: e.Payload})
		rows[e.Row] = row
	}
	for a, dots := range killed {
		row := rows[a]
		for d := range dots {
			if !known.Contains(d) {
				row.Deferred = append(row.Deferred, d)
			}
		}
		rows[a] = row
	}
	for a, row := range rows {
		slices.SortFunc(row.Live, compareLive)
		row.Live = slices.CompactFunc(row.Live, func(x, y crdt.Live) bool { return compareLive(x, y) == 0 })
		slices.SortFunc(row.Deferred, dvv.Dot.Compare)
		if rows[a] = row; row.IsEmpty() {
			delete(rows, a)
		}
	}
	return rows
}

// OracleDead returns what clears reached that is not among the groups, by key.
// Keys without any are left out.
func OracleDead(groups []crdt.Group) map[crdt.Key]dvv.Clock {
	known := Dots(groups)
	dead := map[crdt.Key]dvv.Clock{}
	for _, e := range events(groups) {
		if e.Clear == nil {
			continue
		}
		if unseen := e.Clear.Minus(known); !unseen.IsEmpty() {
			unseen.Join(dead[e.Row.Key])
			dead[e.Row.Key] = unseen
		}
	}
	return dead
}

// Dots returns the dots of the groups: the clock of a replica that has them.
func Dots(groups []crdt.Group) dvv.Clock {
	var c dvv.Clock
	for i := range groups {
		c.AddRange(groups[i].Actor, groups[i].First, groups[i].Last())
	}
	return c
}

type event struct {
	dot dvv.Dot
	*crdt.Event
}

func events(groups []crdt.Group) []event {
	var out []event
	for i := range groups {
		for j := range groups[i].Events {
			out = append(out, event{groups[i].Dot(j), &groups[i].Events[j]})
		}
	}
	return out
}

func compareLive(a, b crdt.Live) int {
	if c := a.Dot.Compare(b.Dot); c != 0 {
		return c
	}
	return bytes.Compare(a.Payload, b.Payload)
}
