package replica_test

import (
	"fmt"
	"slices"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica"
)

// Maps in a random life: one map, and another one of which keys share the leaves.

var baskets = []crdt.Key{basket, {Type: crdt.Map, Bucket: "carts", Name: "7"}}

var mapFields = []crdt.Path{
	{Name: "apples", Kind: crdt.CounterField}, {Name: "pears", Kind: crdt.CounterField}, {Name: "apples", Kind: crdt.CounterField},
	{Name: "note", Kind: crdt.RegisterField}, {Name: "gift", Kind: crdt.FlagField},
	{Name: "tags", Kind: crdt.SetField, Member: "x"}, {Name: "tags", Kind: crdt.SetField, Member: "y"}, {Name: "tags", Kind: crdt.SetField},
}

func isCounter(a crdt.Address) bool { return a.Type == crdt.Map && a.RowType() == crdt.Counter }

// mutateMap invents an update of a map, or its delete.
func (w *world) mutateMap(m *replica.Mutation) {
	m.Key = baskets[w.rng.IntN(5)/4]
	var context shown
	if w.rng.IntN(2) == 0 {
		for i, at := 0, w.rng.IntN(len(w.contexts)+1); i < len(w.contexts) && m.Context == nil; i++ {
			if c := w.contexts[(at+i)%len(w.contexts)]; c.key == m.Key {
				dots := c.dots.Clone()
				context, m.Context = c, &dots
			}
		}
	}
	if m.Verb = replica.Delete; w.rng.IntN(8) == 0 {
		m.Changes = slices.Clone(context.resets)
		return
	}
	m.Verb = replica.Edit
	for range 1 + w.rng.IntN(4) {
		p := mapFields[w.rng.IntN(len(mapFields))]
		c := replica.Change{Member: p.Encode()}
		remove := p.Whole() || w.rng.IntN(5) < 2
		if remove {
			m.Changes = append(m.Changes, replica.Change{Member: c.Member, Remove: true})
			for _, z := range context.resets {
				if z.Member == c.Member {
					m.Changes[len(m.Changes)-1].Shown = z.Shown
				}
			}
		}
		if p.Kind != crdt.CounterField && remove || p.Kind == crdt.CounterField && remove && w.rng.IntN(2) == 0 {
			continue
		}
		if p.Kind == crdt.CounterField {
			c.Delta = 1<<(m.Op.Seq%40) + int64(m.Op.Seq)
			if w.rng.IntN(3) == 0 {
				c.Delta = -c.Delta
			}
		} else if p.Kind != crdt.FlagField {
			c.Note = fmt.Append(nil, m.Op.Seq)
		}
		m.Changes = append(m.Changes, c)
	}
}

// showMap lets a client read a map, all or some of it, and keep the context.
func (w *world) showMap() {
	k := baskets[w.rng.IntN(5)/4]
	q := replica.Query{Key: k, Every: true}
	if w.rng.IntN(3) == 0 {
		q.Every, q.Fields = false, []string{mapFields[w.rng.IntN(len(mapFields))].Encode()}
	}
	r := w.read(q)
	dots, resets, err := shownOfMap(k, &r)
	w.check(err, "a context of %v", k)
	if len(r.Rows) > 1 {
		w.tally.WideContexts++
	}
	w.note("a client is shown %v of %v", dots, k)
	w.contexts = append(w.contexts, shown{k, dots, resets})
}

// judgeMaps recomputes the counters of maps as judgeCounter does, but for one thing:
// the resets that an operation puts beside its increments do not take back what
// other copies of that operation added.
func (w *world) judgeMaps(known dvv.Clock) {
	rows := map[crdt.Address]bool{}
	for _, g := range w.minted {
		for _, add := range g.Increments() {
			rows[add.Row] = rows[add.Row] || isCounter(add.Row)
		}
	}
	for row, counts := range rows {
		if !counts {
			continue
		}
		sums := map[int64]bool{0: true}
		for _, f := range w.fatesOf(row, known) {
			once := 0
			if f.known > 0 && f.counted > 0 {
				once = 1
			}
			least := once
			if f.lost > 0 {
				least = 0
			}
			if once+f.hidden > 1 {
				w.tally.HiddenTwice++
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
			r, err := n.store.View().Row(partition, row)
			w.check(err, "%v of %s", row, n.name)
			t, err := r.Tally()
			w.check(err, "%v of %s", row, n.name)
			if got, _ := t.Value(); !sums[got] {
				w.check(fmt.Errorf("%v is %d, the oracle says one of %d values, as %v: %v", row, got, len(sums), some(sums), r), "%s", n.name)
			}
		}
	}
}

func some(sums map[int64]bool) (v int64) {
	for v = range sums {
		break
	}
	return v
}

// zeroing is a reset of one counter.
type zeroing struct {
	op      crdt.Operation
	payload crdt.Payload
	known   bool
}

// covers tells whether the reset took back an increment, or whether it did so by what
// it carries on of others' resets.
func (z zeroing) covers(d dvv.Dot, but crdt.Operation) bool {
	dots, err := crdt.Foreign(z.payload, but)
	return err == nil && slices.ContainsFunc(dots, func(c dvv.Dot) bool { return c.Actor == d.Actor && c.Seq >= d.Seq })
}

func (w *world) fatesOf(row crdt.Address, known dvv.Clock) map[crdt.Operation]*fate {
	top := map[dvv.Actor]uint64{}
	var resets []zeroing
	for _, g := range w.minted {
		for i, e := range g.Events {
			switch {
			case e.Row != row:
			case e.Payload.Kind() == crdt.KindReset:
				resets = append(resets, zeroing{g.Op, e.Payload, g.In(known)})
			case e.Delta != 0 && g.In(known):
				top[g.Actor] = max(top[g.Actor], g.Dot(i).Seq)
			}
		}
	}
	fates := map[crdt.Operation]*fate{}
	for _, g := range w.minted {
		for i, e := range g.Events {
			if e.Row == row && e.Delta != 0 {
				if fates[g.Op] == nil {
					fates[g.Op] = &fate{delta: e.Delta}
				}
				w.copyOf(fates[g.Op], g, g.Dot(i), resets, top, known)
			}
		}
	}
	for _, f := range fates {
		if f.reset {
			f.counted = 0
		}
	}
	return fates
}

func (w *world) copyOf(f *fate, g *crdt.Group, d dvv.Dot, resets []zeroing, top map[dvv.Actor]uint64, known dvv.Clock) {
	var byOthers, byItself, carried, lost bool
	for _, z := range resets {
		own := z.op == g.Op && !z.op.IsZero()
		if !z.covers(d, crdt.Operation{}) {
			continue
		}
		byOthers = byOthers || !own && z.known
		lost = lost || !own && !z.known
		byItself = byItself || own && z.known
		carried = carried || own && z.known && z.covers(d, g.Op)
	}
	byOthers = byOthers || carried && lost
	inTotal := !byOthers && !byItself && d.Seq <= top[d.Actor]
	switch {
	case g.In(known):
		f.known++
		f.reset = f.reset || byOthers
		if inTotal {
			f.counted++
		}
		if byItself && !byOthers {
			w.tally.OwnCopies++
		}
	case inTotal:
		f.hidden++
		f.lost++
	case byOthers || byItself:
		f.lost++
	}
}
