package replica_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica"
)

// oracle is the plain truth about a set of events: no clocks, no joins, no
// order. Live is what nobody killed.
type oracle struct {
	live     map[crdt.Address]map[dvv.Dot]crdt.Payload
	deferred map[crdt.Address]map[dvv.Dot]bool
	dead     map[crdt.Key]dvv.Clock
}

// truth folds the events among minted that are known.
func truth(minted map[dvv.Dot]*crdt.Group, known dvv.Clock) oracle {
	o := oracle{map[crdt.Address]map[dvv.Dot]crdt.Payload{}, map[crdt.Address]map[dvv.Dot]bool{}, map[crdt.Key]dvv.Clock{}}
	killed := map[crdt.Address]map[dvv.Dot]bool{}
	cleared := map[crdt.Key]dvv.Clock{}
	for _, g := range minted {
		if !g.In(known) {
			continue
		}
		for _, e := range g.Events {
			if e.Clear != nil {
				all := cleared[e.Row.Key]
				all.Join(*e.Clear)
				cleared[e.Row.Key] = all
			}
			for _, k := range e.Kills {
				put(killed, e.Row, k, true)
			}
		}
	}
	for _, g := range minted {
		if !g.In(known) {
			continue
		}
		for i, e := range g.Events {
			if d := g.Dot(i); e.Payload != nil && !killed[e.Row][d] && (isCounter(e.Row) || !cleared[e.Row.Key].Contains(d)) {
				put(o.live, e.Row, d, e.Payload)
			}
		}
	}
	for a, dots := range killed {
		for d := range dots {
			if !known.Contains(d) {
				put(o.deferred, a, d, true)
			}
		}
	}
	for k, c := range cleared {
		if unseen := c.Minus(known); !unseen.IsEmpty() {
			o.dead[k] = unseen
		}
	}
	return o
}

func put[K comparable, V any](m map[K]map[dvv.Dot]V, k K, d dvv.Dot, v V) {
	if m[k] == nil {
		m[k] = map[dvv.Dot]V{}
	}
	m[k][d] = v
}

// compare holds a replica against the truth.
func (o oracle) compare(v replica.View) error {
	var problems []error
	rows := 0
	err := v.AllRows(partition, nil, func(a crdt.Address, r crdt.Row) bool {
		live, deferred := o.live[a], o.deferred[a]
		if len(live) > 0 || len(deferred) > 0 {
			rows++
		}
		ok := len(r.Live) == len(live) && len(r.Deferred) == len(deferred)
		for _, l := range r.Live {
			ok = ok && live[l.Dot].Equal(l.Payload) && l.Payload != nil
		}
		for _, d := range r.Deferred {
			ok = ok && deferred[d]
		}
		if !ok {
			problems = append(problems, fmt.Errorf("%v is %v, the oracle says live %v deferred %v", a, r, live, deferred))
		}
		return true
	})
	want := len(o.live)
	for a := range o.deferred {
		if o.live[a] == nil {
			want++
		}
	}
	if rows != want {
		problems = append(problems, fmt.Errorf("%d rows, the oracle says %d: %v", rows, want, o.live))
	}
	keys := 0
	dead := v.AllDead(partition, func(k crdt.Key, c dvv.Clock) bool {
		if keys++; !c.Equal(o.dead[k]) {
			problems = append(problems, fmt.Errorf("%v is deferred at %v, the oracle says %v", c, k, o.dead[k]))
		}
		return true
	})
	if keys != len(o.dead) {
		problems = append(problems, fmt.Errorf("clears deferred at %d keys, the oracle says %v", keys, o.dead))
	}
	return errors.Join(append(problems, err, dead)...)
}

// checkRows holds a replica to the oracle in the middle of its life: its rows are
// the fold of the events in its clock, at any time.
func (w *world) checkRows(n *node) {
	if w.counter == "" { // the mutants of the counter forge their own payloads
		w.check(truth(w.minted, n.p.Clock()).compare(n.store.View()), "%s against the oracle", n.name)
	}
}

// judge compares every replica with the oracle, and with one another.
func (w *world) judge() {
	known := w.nodes[0].p.Clock()
	for _, n := range w.nodes {
		w.checkRows(n)
		if !sameBytes(n, w.nodes[0]) {
			w.check(errors.New("equal clocks and different bytes"), "%s and %s", n.name, w.nodes[0].name)
		}
		tree, err := replica.Tree(n.store.View(), partition, hashKey, leaves)
		w.check(err, "tree of %s", n.name)
		first, err := replica.Tree(w.nodes[0].store.View(), partition, hashKey, leaves)
		w.check(err, "tree of %s", w.nodes[0].name)
		if tree.Root() != first.Root() {
			w.check(errors.New("equal bytes and different trees"), "%s and %s", n.name, w.nodes[0].name)
		}
		if n.p.Counts.Collisions > 0 {
			w.check(errors.New("a dot with different bytes"), "%s", n.name)
		}
	}
	w.judgeCounter(known)
	w.judgeMaps(known)
}

// fate is what became of an operation's applications.
type fate struct {
	delta   int64
	known   int  // whose event is known
	counted int  // of those, that are in a total and that no reset saw
	hidden  int  // whose event was lost with its process, but that a later total carries
	lost    int  // hidden, or lost and seen by a reset
	reset   bool // of a map's counter: a reset of another operation saw one that is known
}

// judgeCounter recomputes the counter from the increments themselves.
//
// An actor's increments count up to its newest known entry and beyond what
// resets saw. An operation counts once, and not at all when a reset saw one of
// its applications. An application whose event was lost may still be inside a
// later total of its process: its outcome was unknown, so its operation may
// count or not, and where no void that names it survived, a retry elsewhere may
// count beside it.
func (w *world) judgeCounter(known dvv.Clock) {
	sums := map[int64]bool{0: true} // what the counter may be
	for op, f := range w.fates(known) {
		once := 0
		if f.known > 0 && f.counted == f.known {
			once = 1
		}
		least := once
		if f.lost > 0 {
			least = 0
		}
		if once+f.hidden > 1 {
			w.tally.HiddenTwice++
			w.note("operation %d may count %d times: an application was lost inside a later total", op.Seq, once+f.hidden)
		}
		next := map[int64]bool{}
		for v := range sums {
			for times := least; times <= once+f.hidden; times++ {
				next[v+int64(times)*f.delta] = true
			}
		}
		sums = next
	}
	for _, n := range w.nodes {
		row, err := n.store.View().Row(partition, hits.Row())
		w.check(err, "counter of %s", n.name)
		got, err := w.value(row)
		w.check(err, "counter of %s", n.name)
		if !sums[got] {
			w.check(fmt.Errorf("counter is %d, the oracle says one of %v: %v", got, slices.Collect(maps.Keys(sums)), row), "%s", n.name)
		}
	}
}

func (w *world) fates(known dvv.Clock) map[crdt.Operation]*fate {
	floor, top := map[dvv.Actor]uint64{}, map[dvv.Actor]uint64{}
	for _, g := range w.minted {
		if !g.In(known) || g.Events[0].Row.Type != crdt.Counter {
			continue
		}
		if g.Adds() {
			top[g.Actor] = max(top[g.Actor], g.First)
		}
		for _, c := range resetOf(g) {
			floor[c.Actor] = max(floor[c.Actor], c.Seq)
		}
	}
	fates := map[crdt.Operation]*fate{}
	for _, g := range w.minted {
		if !g.Adds() {
			continue
		}
		f := fates[g.Op]
		if f == nil {
			f = &fate{delta: g.Increments()[0].Delta}
			fates[g.Op] = f
		}
		reset := g.First <= floor[g.Actor]
		carried := !reset && g.First <= top[g.Actor]
		switch {
		case g.In(known):
			f.known++
			if carried {
				f.counted++
			}
		case carried:
			f.hidden++
			f.lost++
		case reset:
			f.lost++
		}
	}
	return fates
}

func resetOf(g *crdt.Group) crdt.Reset {
	for _, e := range g.Events {
		if e.Payload.Kind() == crdt.KindReset {
			z, err := crdt.DecodeReset(e.Payload)
			if err != nil {
				panic(err)
			}
			return z
		}
	}
	return nil
}

// value reads a counter by the rule, or by that of a mutant.
func (w *world) value(row crdt.Row) (int64, error) {
	if w.counter == "" {
		t, err := row.Tally()
		if err != nil {
			return 0, err
		}
		v, _ := t.Value()
		return v, nil
	}
	newest, floor := map[dvv.Actor]crdt.Component{}, map[dvv.Actor]crdt.Component{}
	raise := func(m map[dvv.Actor]crdt.Component, c crdt.Component) {
		if c.Seq > m[c.Actor].Seq {
			m[c.Actor] = c
		}
	}
	for _, l := range row.Live {
		if l.Payload.Kind() == crdt.KindEntry {
			e, err := crdt.DecodeEntry(l.Payload)
			if err != nil {
				return 0, err
			}
			raise(newest, crdt.Component{Actor: l.Dot.Actor, Seq: l.Dot.Seq, Entry: e})
		}
		if l.Payload.Kind() == crdt.KindReset {
			z, err := crdt.DecodeReset(l.Payload)
			if err != nil {
				return 0, err
			}
			for _, c := range z {
				raise(floor, c)
			}
		}
	}
	var v int64
	low := func(t crdt.Total) int64 { x, _ := t.Int64(); return x }
	for a, e := range newest {
		z := floor[a]
		p, n := low(e.P.Sub(z.P)), low(e.N.Sub(z.N))
		if w.counter == "naiveclamp" {
			p, n = max(0, p), max(0, n)
		}
		v += p - n
	}
	if w.counter == "naive" {
		for a, z := range floor {
			if _, ok := newest[a]; !ok {
				v -= low(z.P) - low(z.N)
			}
		}
	}
	return v, nil
}

// restartTotals is the mint of the mutants: an entry that was reset is begun anew.
func (w *world) restartTotals(tx replica.View, g *crdt.Group) {
	e := &g.Events[0]
	if e.Delta == 0 {
		return
	}
	row, err := tx.Row(partition, e.Row)
	w.check(err, "mint")
	var own crdt.Entry
	at := slices.IndexFunc(row.Live, func(l crdt.Live) bool {
		return l.Dot.Actor == g.Actor && l.Payload.Kind() == crdt.KindEntry
	})
	if at >= 0 {
		own, err = crdt.DecodeEntry(row.Live[at].Payload)
		w.check(err, "mint")
	}
	if e.Delta > 0 {
		own.P = own.P.Add(crdt.TotalOf(e.Delta))
	} else {
		own.N = own.N.Add(crdt.TotalOf(-e.Delta))
	}
	e.Payload = own.Payload()
}
