package crdttest

import (
	"slices"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
)

// Replica is a partition folded in memory with crdt's own steps: rule 1, and
// nothing around it.
type Replica struct {
	Clock dvv.Clock
	Rows  map[crdt.Address]crdt.Row // no empty ones
	Dead  map[crdt.Key]dvv.Clock    // deferred by clears; no empty ones
	Paths Paths

	clearsAll bool // a mistake: clears reach the counters of maps
}

// Paths counts how often the rare paths were taken.
type Paths struct {
	Repeated       int // groups that were there already
	DeferredAtRow  int // dots killed before they arrived
	DeferredAtKey  int // clears that reached dots not seen yet
	StillbornAtRow int // payloads dead on arrival, by a deferred kill
	StillbornAtKey int // payloads dead on arrival, by a deferred clear
	Strayed        int // deferrals settled in a row the dot never belonged to
	ResetFirst     int // resets that arrived before an increment they saw
	Voided         int // operations applied twice and taken back
	VoidFirst      int // voids that arrived before the increment they take back
	Collided       int // second payloads kept under one dot
	DroppedSeen    int // joins that dropped a dot because the other side had seen it die
	DroppedRow     int // joins that dropped a dot by a kill deferred at the row
	DroppedKey     int // joins that dropped a dot by a clear deferred at the key
	KeptUnseen     int // joins that kept a dot because the other side never saw it
	Spared         int // dots of a map's counter that a clear names and leaves alone
	VoidedTogether int // groups of voids, of several counters of a map
	ResetBeside    int // increments of a map's counter beside its reset, in one group
}

// Add adds q to p.
func (p *Paths) Add(q Paths) {
	mine, theirs := p.counters(), q.counters()
	for name, n := range theirs {
		*mine[name] += *n
	}
}

// Untaken returns the names of the paths that were never taken, of those that a
// thousand histories of the given types cannot well miss.
func (p *Paths) Untaken(types ...crdt.Type) []string {
	maps := slices.Contains(types, crdt.Map)
	counter := maps || slices.Contains(types, crdt.Counter)
	clearable := slices.ContainsFunc(types, func(t crdt.Type) bool { return t != crdt.Counter })
	var out []string
	for name, n := range p.counters() {
		possible := true
		switch name {
		case "ResetFirst", "Voided", "VoidFirst":
			possible = counter
		case "Spared", "VoidedTogether", "ResetBeside":
			possible = maps
		case "DeferredAtKey", "StillbornAtKey", "DroppedKey":
			possible = clearable
		case "Strayed": // the other types have one row per key, and dilute the sets
			possible = slices.Equal(types, []crdt.Type{crdt.Set})
		}
		if possible && *n == 0 {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

func (p *Paths) counters() map[string]*int {
	return map[string]*int{
		"Repeated": &p.Repeated, "DeferredAtRow": &p.DeferredAtRow, "DeferredAtKey": &p.DeferredAtKey,
		"StillbornAtRow": &p.StillbornAtRow, "StillbornAtKey": &p.StillbornAtKey, "Strayed": &p.Strayed,
		"ResetFirst": &p.ResetFirst, "Voided": &p.Voided, "VoidFirst": &p.VoidFirst, "Collided": &p.Collided,
		"DroppedSeen": &p.DroppedSeen, "DroppedRow": &p.DroppedRow, "DroppedKey": &p.DroppedKey, "KeptUnseen": &p.KeptUnseen,
		"Spared": &p.Spared, "VoidedTogether": &p.VoidedTogether, "ResetBeside": &p.ResetBeside,
	}
}

// NewReplica returns a replica that knows nothing.
func NewReplica() *Replica {
	return &Replica{Rows: map[crdt.Address]crdt.Row{}, Dead: map[crdt.Key]dvv.Clock{}}
}

// Fold returns a replica that received the groups in the given order.
func Fold(groups []crdt.Group) *Replica {
	r := NewReplica()
	for i := range groups {
		r.Apply(&groups[i])
	}
	return r
}

// Apply applies a group and tells whether it was new.
func (r *Replica) Apply(g *crdt.Group) bool {
	if g.In(r.Clock) {
		r.collide(g)
		r.Paths.Repeated++
		return false
	}
	for i := range g.Events {
		r.applyEvent(g.Dot(i), &g.Events[i])
	}
	r.countGroup(g)
	for a, row := range r.Rows {
		if row = row.Clone(); row.Forget(r.Clock) {
			r.Paths.Strayed++
			r.put(a, row)
		}
	}
	for k, dots := range r.Dead {
		r.putDead(k, dots.Minus(r.Clock))
	}
	return true
}

func (r *Replica) applyEvent(d dvv.Dot, e *crdt.Event) {
	r.Clock.Add(d)
	dead := r.Dead[e.Row.Key]
	if e.Clear != nil {
		for a, row := range r.Rows {
			if row = row.Clone(); a.Key == e.Row.Key && row.Clear(r.cleared(a, *e.Clear)) {
				r.put(a, row)
			}
		}
		unseen := e.Clear.Minus(r.Clock)
		if !unseen.IsEmpty() {
			r.Paths.DeferredAtKey++
		}
		unseen.Join(dead)
		r.putDead(e.Row.Key, unseen)
		return
	}
	row := r.Rows[e.Row].Clone()
	dead = r.cleared(e.Row, dead)
	deferred, stillborn := row.Apply(d, e.Kills, e.Payload, r.Clock, dead)
	r.put(e.Row, row)
	r.count(e, deferred, stillborn, dead.Contains(d))
}

// cleared is [crdt.Address.Cleared], and counts what it spares.
func (r *Replica) cleared(a crdt.Address, c dvv.Clock) dvv.Clock {
	if r.clearsAll {
		return c
	}
	if a.Type == crdt.Map && a.RowType() == crdt.Counter {
		for _, l := range r.Rows[a].Live {
			if c.Contains(l.Dot) {
				r.Paths.Spared++
			}
		}
	}
	return a.Cleared(c)
}

// countGroup counts what groups of maps alone have in them.
func (r *Replica) countGroup(g *crdt.Group) {
	voids := 0
	for i := range g.Events {
		e := &g.Events[i]
		if e.Payload.Kind() == crdt.KindVoid {
			voids++
		}
		if e.Delta != 0 && slices.ContainsFunc(g.Events, func(o crdt.Event) bool { return o.Row == e.Row && o.Payload.Kind() == crdt.KindReset }) {
			r.Paths.ResetBeside++
		}
	}
	if voids > 1 {
		r.Paths.VoidedTogether++
	}
}

func (r *Replica) count(e *crdt.Event, deferred int, stillborn, atKey bool) {
	r.Paths.DeferredAtRow += deferred
	switch {
	case stillborn && atKey:
		r.Paths.StillbornAtKey++
	case stillborn:
		r.Paths.StillbornAtRow++
	}
	if e.Payload.Kind() == crdt.KindReset && deferred > 0 {
		r.Paths.ResetFirst++
	}
	if v, err := crdt.DecodeVoid(e.Payload); err == nil {
		r.Paths.Voided++
		if !r.Clock.Contains(v.Voided) {
			r.Paths.VoidFirst++
		}
	}
}

func (r *Replica) collide(g *crdt.Group) {
	for i := range g.Events {
		e := &g.Events[i]
		if row := r.Rows[e.Row].Clone(); e.Payload != nil && row.Collide(g.Dot(i), e.Payload) {
			r.Paths.Collided++
			r.put(e.Row, row)
		}
	}
}

func (r *Replica) put(a crdt.Address, row crdt.Row) {
	if row.IsEmpty() {
		delete(r.Rows, a)
		return
	}
	r.Rows[a] = row
}

func (r *Replica) putDead(k crdt.Key, dots dvv.Clock) {
	if dots.IsEmpty() {
		delete(r.Dead, k)
		return
	}
	r.Dead[k] = dots
}

// Side returns what the replica knows of a row. It shares nothing that later
// steps change.
func (r *Replica) Side(a crdt.Address) crdt.Side {
	return crdt.Side{Row: r.Rows[a].Clone(), Clock: r.Clock.Clone(), Dead: r.cleared(a, r.Dead[a.Key]).Clone()}
}

// Shown returns the dots that a reader of the key is shown: its context.
func (r *Replica) Shown(k crdt.Key) dvv.Clock {
	var c dvv.Clock
	for a, row := range r.Rows {
		if a.Key != k {
			continue
		}
		for _, d := range row.Dots() {
			c.Add(d)
		}
	}
	return c
}
