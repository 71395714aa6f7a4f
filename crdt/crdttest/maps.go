package crdttest

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
)

// Updates and deletes of maps. An update is one group:
//
//	increments, by path      each continues its actor's totals
//	resets, by path          what a merged read, or the client's context, shows of a counter
//	the rest, in order       registers, flags, members of sets, removals of whole sets
//
// and a retry has the same increments at the same places. Increments of one counter
// are distinct powers of 8: the octal digits of its value tell how often each counts.

// change is one step of an update.
type change struct {
	path   crdt.Path
	remove bool
	delta  int64
	until  int64 // 0 for ever
}

// maxAdded is how many powers of 8 a total has room for, of each counter.
const maxAdded = 20

// rules are what mistakes replace.
type rules struct {
	firstVoidOnly    bool
	retriesForgotten bool
	resetsAnonymous  bool
	forEver          bool // no mistake: nothing expires
}

func (r rules) voids(events []crdt.Event) []crdt.Event {
	switch {
	case r.retriesForgotten:
		return nil
	case r.firstVoidOnly:
		return events[:min(1, len(events))]
	}
	return events
}

func (w *world) mutateMap(n *node, k crdt.Key) {
	if w.below(6, "delete") == 0 {
		w.deleteMap(n, k)
		return
	}
	a := asked{key: k, op: w.operation(), context: w.sight(k)}
	for range 1 + w.below(3, "changes") {
		a.changes = append(a.changes, w.change(k)...)
	}
	for i := range a.changes {
		if !a.changes[i].remove {
			a.changes[i].until = w.expiry()
		}
	}
	if len(a.changes) == 0 {
		return
	}
	w.asked = append(w.asked, a)
	w.edit(n, a)
}

// change invents one step, or two: a counter is set to a value by its removal and
// an increment.
func (w *world) change(k crdt.Key) []change {
	set := crdt.Path{Name: "tags", Kind: crdt.SetField}
	switch w.below(8, "field") {
	case 0:
		return []change{{path: crdt.Path{Name: "note", Kind: crdt.RegisterField}, remove: w.below(3, "remove") == 0}}
	case 1:
		return []change{{path: crdt.Path{Name: "gift", Kind: crdt.FlagField}, remove: w.below(2, "remove") == 0}}
	case 2:
		set.Member = [...]string{"x", "y"}[w.below(2, "member")]
		return []change{{path: set, remove: w.below(3, "remove") == 0}}
	case 3:
		return []change{{path: set, remove: true}}
	}
	p := crdt.Path{Name: [...]string{"apples", "pears"}[w.below(2, "counter")], Kind: crdt.CounterField}
	what := w.below(4, "what")
	var out []change
	if what == 0 || what == 1 {
		out = append(out, change{path: p, remove: true})
	}
	if at := k.At(p); what > 0 && w.added[at] < maxAdded {
		out = append(out, change{path: p, delta: 1 << (3 * w.added[at])})
		w.added[at]++
	}
	return out
}

// show returns what a reader of the key at a node may use as a context.
func (n *node) show(k crdt.Key) shown {
	s := shown{key: k, at: n.Clock.Clone(), resets: map[string]crdt.Payload{}}
	if k.Type != crdt.Map {
		s.dots = n.Shown(k)
		return s
	}
	for a, row := range n.Rows {
		if a.Key != k {
			continue
		}
		kills := row.Dots()
		if a.RowType() == crdt.Counter {
			var z crdt.Reset
			if z, kills = decoded(row, 0).Reset(); len(z) > 0 {
				s.resets[a.Field] = z.Payload()
			}
		}
		for _, d := range kills {
			s.dots.Add(d)
		}
	}
	return s
}

// minting is a group of a map as it comes about.
type minting struct {
	w      *world
	n      *node
	a      asked
	seen   *Replica
	events []crdt.Event
	saw    map[int]dvv.Clock // of resets, by place
	beside []int             // of these the ones after a read, beside an increment
	lapsed map[int]Lapse     // of those of what expired
}

// edit mints an update. One under a context that removes a whole set waits for a
// read that covers the context.
func (w *world) edit(n *node, a asked) {
	m := minting{w: w, n: n, a: a, seen: w.read(n, w.node()), saw: map[int]dvv.Clock{}, lapsed: map[int]Lapse{}}
	whole := slices.ContainsFunc(a.changes, func(c change) bool { return c.path.Whole() })
	if whole && a.context != nil && !m.seen.Clock.Covers(a.context.dots) {
		return
	}
	sums := m.sums()
	m.increments(sums)
	for _, c := range sums {
		if c.remove {
			m.reset(c)
		}
	}
	m.others()
	m.commit()
}

func (m *minting) commit() {
	if len(m.events) == 0 {
		return
	}
	g := m.w.commit(m.n, m.a.op, m.events...)
	for at, clock := range m.saw {
		m.w.saw[g.Dot(at)] = clock
	}
	for _, at := range m.beside {
		m.w.beside[g.Dot(at)] = true
	}
	for at, l := range m.lapsed {
		m.w.lapsed[g.Dot(at)] = l
	}
}

// sums takes the changes of each counter together, by path: what was added before a
// removal goes with it.
func (m *minting) sums() []change {
	var all []change
	for _, c := range m.a.changes {
		if c.path.Kind != crdt.CounterField {
			continue
		}
		at := slices.IndexFunc(all, func(o change) bool { return o.path == c.path })
		if at < 0 {
			at, all = len(all), append(all, change{path: c.path})
		}
		if c.remove {
			all[at].remove, all[at].delta = true, 0
			continue
		}
		all[at].delta, all[at].until = all[at].delta+c.delta, c.until
	}
	slices.SortFunc(all, func(a, b change) int { return cmp.Compare(a.path.Encode(), b.path.Encode()) })
	return all
}

func (m *minting) increments(sums []change) {
	var lapsed []crdt.Event
	for _, c := range sums {
		if c.delta == 0 {
			continue
		}
		row := m.a.key.At(c.path)
		t := m.w.tally(m.n.Rows[row])
		if c.remove {
			z, _ := m.taken(row)
			t.Forget(z)
		}
		entry, kills, z, _, err := t.IncrementUntil(m.n.actor, c.delta, c.until)
		if err != nil {
			m.w.Fatalf("increment of %v: %v", row, err)
		}
		m.events = append(m.events, crdt.Event{Row: row, Kills: sorted(kills), Payload: entry.Payload(), Delta: c.delta})
		if len(z) > 0 {
			lapsed = append(lapsed, crdt.Event{Row: row, Payload: z})
		}
	}
	for i := range lapsed {
		at := len(m.events) + i
		m.saw[at], m.lapsed[at] = m.n.Clock.Clone(), Lapse{m.w.wall, m.n.actor}
	}
	m.events = append(m.events, lapsed...)
}

// taken is what a removal takes back of a counter: all that the read, or the context,
// shows.
func (m *minting) taken(row crdt.Address) (crdt.Reset, []dvv.Dot) {
	if m.a.context == nil {
		return decoded(m.seen.Rows[row], 0).Reset()
	}
	shown := m.a.context.resets[row.Field]
	if shown == nil {
		return nil, nil
	}
	z, err := crdt.DecodeReset(shown)
	if err != nil {
		m.w.Fatalf("reset in a context: %v", err)
	}
	return z, m.n.reached(row, &m.a.context.dots)
}

func (m *minting) reset(c change) {
	row := m.a.key.At(c.path)
	z, kills := m.taken(row)
	if len(z)+len(kills) == 0 {
		return
	}
	e := crdt.Event{Row: row, Kills: sorted(kills), Payload: z.Payload()}
	if c.delta != 0 && m.a.context == nil && !m.w.rules.resetsAnonymous {
		e.Payload, _ = decoded(m.seen.Rows[row], 0).ResetBeside(m.a.op)
	}
	if c.delta != 0 && m.a.context == nil {
		m.beside = append(m.beside, len(m.events))
	}
	m.saw[len(m.events)] = m.seen.Clock.Clone()
	if m.a.context != nil {
		m.saw[len(m.events)] = m.a.context.at
	}
	m.events = append(m.events, e)
}

func (m *minting) others() {
	minted := map[crdt.Address]dvv.Dot{}
	for _, c := range m.a.changes {
		row := m.a.key.At(c.path)
		switch {
		case c.path.Kind == crdt.CounterField:
		case c.path.Whole():
			for _, member := range [...]string{"x", "y"} {
				c.path.Member = member
				m.other(m.a.key.At(c.path), c, minted)
			}
		default:
			m.other(row, c, minted)
		}
	}
}

func (m *minting) other(row crdt.Address, c change, minted map[crdt.Address]dvv.Dot) {
	e := crdt.Event{Row: row}
	own := dvv.Dot{Actor: m.n.actor, Seq: m.n.seq + uint64(len(m.events)) + 1}
	if m.a.context != nil {
		e.Kills = m.n.reached(row, &m.a.context.dots)
	}
	if d, ok := minted[row]; ok {
		e.Kills = append(e.Kills, d)
	}
	delete(minted, row)
	switch {
	case c.remove && m.a.context == nil:
		e.Kills = append(e.Kills, m.seen.Rows[row].Dots()...)
	case c.remove:
		for _, d := range m.seen.Rows[row].Dots() {
			if m.a.context.dots.Contains(d) {
				e.Kills = append(e.Kills, d)
			}
		}
	case c.path.Kind == crdt.RegisterField:
		e.Kills = append(e.Kills, m.n.Rows[row].Dots()...)
		e.Payload = crdt.Assign{Stamp: m.w.stamp(), Value: fmt.Appendf(nil, "v%d", m.a.op.Seq), Expires: c.until}.Payload()
	default:
		for _, d := range m.n.Rows[row].Dots() {
			if d.Actor == m.n.actor {
				e.Kills = append(e.Kills, d)
			}
		}
		e.Payload = crdt.Member{Stamp: m.w.stamp(), Expires: c.until}.Payload()
	}
	if e.Kills = sorted(e.Kills); len(e.Kills) == 0 && e.Payload == nil {
		return
	}
	if e.Payload != nil {
		minted[row] = own
	}
	m.events = append(m.events, e)
}

// deleteMap mints the delete of a map: a clear, which spares counters, and a reset of
// each of them.
func (w *world) deleteMap(n *node, k crdt.Key) {
	m := minting{w: w, n: n, a: asked{key: k, context: w.sight(k)}, seen: w.read(n, w.node()), saw: map[int]dvv.Clock{}}
	dots, counters := m.seen.Clock.Clone(), []string{}
	if m.a.context != nil {
		dots = m.a.context.dots.Clone()
		for field := range m.a.context.resets {
			counters = append(counters, field)
		}
	} else {
		for a := range m.seen.Rows {
			if a.Key == k && a.RowType() == crdt.Counter {
				counters = append(counters, a.Field)
			}
		}
	}
	if dots.IsEmpty() {
		return
	}
	m.events = []crdt.Event{{Row: k.Row(), Clear: &dots}}
	slices.Sort(counters)
	for _, field := range counters {
		p, err := crdt.DecodePath(field)
		if err != nil {
			w.Fatalf("path of a row: %v", err)
		}
		m.reset(change{path: p})
	}
	m.commit()
}
