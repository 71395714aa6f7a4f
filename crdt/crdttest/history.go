package crdttest

import (
	"fmt"
	"maps"
	"slices"

	"pgregory.net/rapid"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
)

// History is what the coordinators of one partition minted, oldest first.
type History struct {
	Groups []crdt.Group
	Saw    map[dvv.Dot]dvv.Clock // of a reset of a map's counter: the clock that it was read under
	Beside map[dvv.Dot]bool      // those that an update put beside its increment, after a read
	Lapsed map[dvv.Dot]Lapse     // of those that take back what expired: what that was
}

// Lapse is what a removal of what expired takes back.
type Lapse struct {
	Wall  int64     // what was over by then
	Actor dvv.Actor // of whom; 0 for all
}

func (h History) String() string {
	s := ""
	for i := range h.Groups {
		s += fmt.Sprintf("%3d  %v\n", i, h.Groups[i])
	}
	return s
}

// Histories generates what three coordinators mint for keys of the given types,
// all types if none is given, while groups travel between them in any order.
// Every group is one that a client could have caused.
func Histories(types ...crdt.Type) *rapid.Generator[History] {
	types = orAll(types)
	return rapid.Custom(func(t *rapid.T) History {
		w := newWorld(t, types)
		w.live()
		return w.history()
	})
}

func orAll(types []crdt.Type) []crdt.Type {
	if len(types) == 0 {
		return []crdt.Type{crdt.Set, crdt.Counter, crdt.Register, crdt.Blob, crdt.Map}
	}
	return types
}

// world is the partition while its history is made.
type world struct {
	*rapid.T
	types  []crdt.Type
	nodes  [3]*node
	actors int
	groups []crdt.Group
	shown  []shown
	asked  []asked
	wall   int64

	saw    map[dvv.Dot]dvv.Clock // see [History]
	beside map[dvv.Dot]bool      // see [History]
	lapsed map[dvv.Dot]Lapse     // see [History]
	added  map[crdt.Address]int  // increments asked for, of each counter of a map
	rules  rules
}

func newWorld(t *rapid.T, types []crdt.Type) *world {
	w := &world{T: t, types: types, actors: 3, saw: map[dvv.Dot]dvv.Clock{}, beside: map[dvv.Dot]bool{}, lapsed: map[dvv.Dot]Lapse{}, added: map[crdt.Address]int{}}
	for i := range w.nodes {
		w.nodes[i] = w.open(dvv.Actor(i + 1))
	}
	return w
}

func (w *world) open(a dvv.Actor) *node {
	return &node{actor: a, Replica: NewReplica(), remembers: map[crdt.Operation]*crdt.Remembered{}}
}

func (w *world) live() {
	for range rapid.IntRange(3, 36).Draw(w.T, "steps") {
		w.step()
	}
}

func (w *world) history() History {
	return History{Groups: w.groups, Saw: w.saw, Beside: w.beside, Lapsed: w.lapsed}
}

// node is one coordinator: an actor and what it knows.
type node struct {
	*Replica
	actor     dvv.Actor
	seq       uint64
	remembers map[crdt.Operation]*crdt.Remembered
}

// shown is a context that some client holds.
type shown struct {
	key    crdt.Key
	dots   dvv.Clock
	resets map[string]crdt.Payload // of a map: what takes back the counters that it shows
	at     dvv.Clock               // what the reader knew
}

// asked is a write that some client may try again.
type asked struct {
	key     crdt.Key
	op      crdt.Operation
	delta   int64
	changes []change // of a map
	context *shown   // of them
}

func (w *world) below(n int, label string) int { return rapid.IntRange(0, n-1).Draw(w.T, label) }

func (w *world) node() *node { return w.nodes[w.below(len(w.nodes), "node")] }

func (w *world) key() crdt.Key {
	t := w.types[w.below(len(w.types), "type")]
	return crdt.Key{Type: t, Bucket: "b", Name: [...]string{"k", "k", "l"}[w.below(3, "key")]}
}

func (w *world) step() {
	n := w.node()
	switch what := w.below(22, "step"); {
	case what < 10:
		w.mutate(n, w.key())
	case what < 14 && len(w.groups) > 0:
		w.deliver(n, &w.groups[w.below(len(w.groups), "group")])
	case what < 16:
		for _, g := range w.known(w.node()) {
			w.deliver(n, &g)
		}
	case what < 19:
		if s := n.show(w.key()); !s.dots.IsEmpty() {
			w.shown = append(w.shown, s)
		}
	case what < 21:
		w.lapse(n)
	default: // opened again, perhaps with an empty disk
		w.actors++
		n.actor, n.seq = dvv.Actor(w.actors), 0
		if w.below(2, "wiped") == 0 {
			*n = *w.open(n.actor)
		}
	}
}

// known returns the groups that a node has.
func (w *world) known(n *node) []crdt.Group {
	var out []crdt.Group
	for i := range w.groups {
		if w.groups[i].In(n.Clock) {
			out = append(out, w.groups[i])
		}
	}
	return out
}

// read is what a merged read of two nodes shows.
func (w *world) read(a, b *node) *Replica { return Fold(append(w.known(a), w.known(b)...)) }

// deliver applies a group and mints the voids that it gives cause for.
func (w *world) deliver(n *node, g *crdt.Group) {
	if !n.Apply(g) || g.Op.IsZero() {
		return
	}
	m := n.remembers[g.Op]
	if m == nil {
		m = &crdt.Remembered{}
		n.remembers[g.Op] = m
	}
	for _, d := range m.Record(g, w.wall) {
		w.commit(n, crdt.Operation{}, w.rules.voids(m.Void(d))...)
	}
}

// commit gives the events dots of the node, and applies them there.
func (w *world) commit(n *node, op crdt.Operation, events ...crdt.Event) crdt.Group {
	g := crdt.Group{Actor: n.actor, First: n.seq + 1, Op: op, Stamp: w.stamp(), Events: events}
	n.seq = g.Last()
	w.groups = append(w.groups, g)
	w.deliver(n, &g)
	return g
}

func (w *world) stamp() crdt.Stamp {
	w.wall += int64(w.below(3, "millis"))
	return crdt.StampAt(w.wall)
}

func (w *world) operation() crdt.Operation {
	o := crdt.Operation{Seq: uint64(len(w.asked) + 1), Issued: 1}
	o.Client[0] = 1
	return o
}

// context returns the dots of some context of the key, nil for none.
func (w *world) context(k crdt.Key) *dvv.Clock {
	if s := w.sight(k); s != nil {
		return &s.dots
	}
	return nil
}

// sight returns some context of the key, nil for none.
func (w *world) sight(k crdt.Key) *shown {
	var of []shown
	for _, s := range w.shown {
		if s.key == k {
			of = append(of, s)
		}
	}
	if i := w.below(len(of)+1, "context"); i < len(of) {
		return &of[i]
	}
	return nil
}

// reached returns what of a context an event on the row kills: what is live
// here, and what was not seen here yet, whose row nobody knows.
func (n *node) reached(a crdt.Address, context *dvv.Clock) []dvv.Dot {
	if context == nil {
		return nil
	}
	kills := slices.Collect(context.Minus(n.Clock).Dots())
	for _, d := range n.Rows[a].Dots() {
		if context.Contains(d) {
			kills = append(kills, d)
		}
	}
	return kills
}

func (w *world) mutate(n *node, k crdt.Key) {
	if retry, ok := w.retry(k); ok {
		if _, done := n.remembers[retry.op]; done {
			return
		}
		if k.Type == crdt.Map {
			w.edit(n, retry)
			return
		}
		w.write(n, k, retry)
		return
	}
	if k.Type == crdt.Map {
		w.mutateMap(n, k)
		return
	}
	if k.Type == crdt.Set && w.below(6, "clear") > 0 {
		w.changes(n, k)
		return
	}
	if w.below(5, "delete") > 0 && k.Type != crdt.Set {
		a := asked{key: k, op: w.operation(), delta: int64(rapid.SampledFrom([]int{1, 2, 4, 8, -1, -3}).Draw(w.T, "delta"))}
		w.asked = append(w.asked, a)
		w.write(n, k, a)
		return
	}
	w.remove(n, k)
}

func (w *world) retry(k crdt.Key) (asked, bool) {
	var of []asked
	for _, a := range w.asked {
		if a.key == k {
			of = append(of, a)
		}
	}
	if len(of) == 0 || w.below(4, "retry") > 0 {
		return asked{}, false
	}
	return of[w.below(len(of), "of")], true
}

// write mints an increment, an assignment or a put.
func (w *world) write(n *node, k crdt.Key, a asked) {
	row := k.Row()
	e := crdt.Event{Row: row}
	switch k.Type {
	case crdt.Counter:
		entry, kills, z, _, err := w.tally(n.Rows[row]).IncrementUntil(n.actor, a.delta, w.expiry())
		if err != nil {
			w.Fatalf("increment: %v", err)
		}
		e.Payload, e.Kills, e.Delta = entry.Payload(), kills, a.delta
		if len(z) > 0 {
			w.commit(n, a.op, e, crdt.Event{Row: row, Payload: z})
			return
		}
	case crdt.Register:
		e.Kills = append(n.reached(row, w.context(k)), n.Rows[row].Dots()...)
		e.Payload = crdt.Assign{Stamp: w.stamp(), Value: fmt.Appendf(nil, "v%d", a.op.Seq), Expires: w.expiry()}.Payload()
	default:
		e.Kills = n.reached(row, w.context(k))
		e.Payload = crdt.BlobValue{Op: a.op, Value: fmt.Appendf(nil, "v%d", a.op.Seq), Expires: w.expiry()}.Payload()
	}
	e.Kills = sorted(e.Kills)
	w.commit(n, a.op, e)
}

// remove resets a counter, and clears a key of another type: by a context, or
// by what a merged read shows.
func (w *world) remove(n *node, k crdt.Key) {
	other := w.node()
	merged := w.read(n, other)
	if k.Type == crdt.Counter {
		if z, kills := w.tally(merged.Rows[k.Row()]).Reset(); len(kills) > 0 {
			w.commit(n, crdt.Operation{}, crdt.Event{Row: k.Row(), Kills: kills, Payload: z.Payload()})
		}
		return
	}
	context := w.context(k)
	if context == nil {
		context = &merged.Clock
	}
	if dots := context.Clone(); !dots.IsEmpty() {
		w.commit(n, crdt.Operation{}, crdt.Event{Row: k.Row(), Clear: &dots})
	}
}

// changes mints a batch on a set: adds and removes in order, of which a later
// one replaces an earlier one of the same member.
func (w *world) changes(n *node, k crdt.Key) {
	var events []crdt.Event
	context := w.context(k)
	merged := w.read(n, w.node())
	minted := map[string]dvv.Dot{}
	for range 1 + w.below(3, "changes") {
		a := k.Member([...]string{"x", "y", "z"}[w.below(3, "member")])
		e := crdt.Event{Row: a, Kills: n.reached(a, context)}
		own := dvv.Dot{Actor: n.actor, Seq: n.seq + uint64(len(events)) + 1}
		if d, ok := minted[a.Field]; ok {
			e.Kills = append(e.Kills, d)
		}
		delete(minted, a.Field)
		if w.below(2, "add") == 0 {
			for _, d := range n.Rows[a].Dots() {
				if d.Actor == n.actor {
					e.Kills = append(e.Kills, d)
				}
			}
			e.Payload = crdt.Member{Stamp: w.stamp(), Expires: w.expiry()}.Payload()
			minted[a.Field] = own
		} else if context == nil {
			e.Kills = append(e.Kills, merged.Rows[a].Dots()...)
		}
		if e.Kills = sorted(e.Kills); len(e.Kills) > 0 || e.Payload != nil {
			events = append(events, e)
		}
	}
	if len(events) > 0 {
		w.commit(n, crdt.Operation{}, events...)
	}
}

// expiry returns a time soon to come, or mostly none.
func (w *world) expiry() int64 {
	if w.rules.forEver || w.below(3, "expires") > 0 {
		return 0
	}
	return w.wall + 1 + int64(w.below(8, "after"))
}

// lapse removes what has expired of all that a node knows.
func (w *world) lapse(n *node) {
	w.stamp()
	var events []crdt.Event
	for _, a := range slices.SortedFunc(maps.Keys(n.Rows), crdt.Address.Compare) {
		kills, put, err := n.Rows[a].Lapse(a.RowType(), w.wall)
		if err != nil {
			w.Fatalf("lapse of %v: %v", n.Rows[a], err)
		}
		if len(kills) > 0 {
			events = append(events, crdt.Event{Row: a, Kills: kills, Payload: put})
		}
	}
	if len(events) > 0 {
		clock, wall := n.Clock.Clone(), w.wall
		g := w.commit(n, crdt.Operation{}, events...)
		for i := range g.Events {
			w.saw[g.Dot(i)], w.lapsed[g.Dot(i)] = clock, Lapse{Wall: wall}
		}
	}
}

// tally decodes a row that was minted here, which cannot fail.
func (w *world) tally(r crdt.Row) *crdt.Tally { return decoded(r, w.wall) }

func decoded(r crdt.Row, wall int64) *crdt.Tally {
	t, err := r.TallyAt(wall)
	if err != nil {
		panic(fmt.Sprintf("tally of %v: %v", r, err))
	}
	return t
}

func sorted(dots []dvv.Dot) []dvv.Dot {
	slices.SortFunc(dots, dvv.Dot.Compare)
	return slices.Compact(dots)
}
