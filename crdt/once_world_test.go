package crdt_test

import (
	"fmt"
	"slices"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/crdt/crdttest"
	"github.com/cartwheel-db/cartwheel/dvv"
)

// Retried increments against resets. An operation may be applied by several
// coordinators, so that it has up to three dots; resets are minted from partial
// views that see some of them; whoever sees a second dot mints a void, at any
// time. In the end an operation counts once, and not at all if any copy of it
// was under a reset. Deltas are powers of 8: the value's octal digits tell how
// often each operation was counted.

const maxOperations = 20

type onceWorld struct {
	draw  func(n int) int // from 0 to n-1
	rules onceRules
	nodes []*onceNode
	ops   [][]dvv.Dot // the dots each operation got
	all   []crdt.Group
	cover map[dvv.Dot]map[dvv.Actor]uint64 // what each reset saw, by its dot
	actor dvv.Actor
	voids int
	mixed int // operations with a dot under a reset and one that is not

	lossy bool // disks are wiped, and groups that nobody else has are lost
	lost  int
	twice bool // ended inexact, in the one way that a lossy world may
}

type onceNode struct {
	*crdttest.Replica
	actor     dvv.Actor
	seq       uint64
	remembers map[crdt.Operation]*crdt.Remembered
}

// onceRules are what mutants replace.
type onceRules struct {
	resetKills func(t *crdt.Tally, row crdt.Row) []dvv.Dot
	value      func(w *onceWorld, n *onceNode) (crdt.Total, error)
}

var ourRules = onceRules{
	resetKills: func(t *crdt.Tally, _ crdt.Row) []dvv.Dot { _, kills := t.Reset(); return kills },
	value: func(_ *onceWorld, n *onceNode) (crdt.Total, error) {
		t, err := n.Rows[hits].Tally()
		if err != nil {
			return crdt.Total{}, err
		}
		return t.Exact(), nil
	},
}

var hits = crdt.Key{Type: crdt.Counter, Bucket: "b", Name: "hits"}.Row()

func playOnce(draw func(int) int, rules onceRules) (*onceWorld, error) {
	return (&onceWorld{draw: draw, rules: rules}).play()
}

func (w *onceWorld) play() (*onceWorld, error) {
	w.cover = map[dvv.Dot]map[dvv.Actor]uint64{}
	for range 3 {
		w.actor++
		w.nodes = append(w.nodes, &onceNode{Replica: crdttest.NewReplica(), actor: w.actor, remembers: map[crdt.Operation]*crdt.Remembered{}})
	}
	for range 3 + w.draw(28) {
		if err := w.step(); err != nil {
			return w, err
		}
	}
	for again := true; again; { // voids are minted on the way, and must arrive too
		again = false
		for i := range w.all {
			for _, n := range w.nodes {
				if !w.all[i].In(n.Clock) {
					w.deliver(n, w.all[i])
					again = true
				}
			}
		}
	}
	return w, w.settled()
}

func (w *onceWorld) step() error {
	n := w.nodes[w.draw(len(w.nodes))]
	switch what := w.draw(20); {
	case what < 8:
		w.increment(n)
	case what < 12 && len(w.all) > 0:
		w.deliver(n, w.all[w.draw(len(w.all))])
	case what < 15:
		w.install(n, w.nodes[w.draw(len(w.nodes))])
	case what < 19:
		w.reset(n, w.nodes[w.draw(len(w.nodes))])
	default:
		w.actor++
		n.actor, n.seq = w.actor, 0
		if w.lossy {
			w.wipe(n)
		}
	}
	return w.midway(n)
}

func (w *onceWorld) wipe(n *onceNode) {
	n.Replica, n.remembers = crdttest.NewReplica(), map[crdt.Operation]*crdt.Remembered{}
	before := len(w.all)
	w.all = slices.DeleteFunc(w.all, func(g crdt.Group) bool {
		return !slices.ContainsFunc(w.nodes, func(n *onceNode) bool { return g.In(n.Clock) })
	})
	w.lost += before - len(w.all)
}

func operation(i int) crdt.Operation {
	return crdt.Operation{Client: [16]byte{7}, Seq: uint64(i) + 1, Issued: 1}
}

func (w *onceWorld) increment(n *onceNode) {
	i := w.draw(len(w.ops) + 2) // an old operation, or more likely a new one
	if i >= len(w.ops) {
		if i = len(w.ops); i == maxOperations {
			return
		}
		w.ops = append(w.ops, nil)
	}
	if _, done := n.remembers[operation(i)]; done {
		return
	}
	t, err := n.Rows[hits].Tally()
	if err != nil {
		panic(err)
	}
	delta := int64(1) << (3 * i)
	entry, kills, _, err := t.Increment(n.actor, delta)
	if err != nil {
		panic(err)
	}
	d := w.commit(n, operation(i), crdt.Event{Row: hits, Kills: kills, Payload: entry.Payload(), Delta: delta})
	w.ops[i] = append(w.ops[i], d)
}

func (w *onceWorld) commit(n *onceNode, op crdt.Operation, e crdt.Event) dvv.Dot {
	n.seq++
	g := crdt.Group{Actor: n.actor, First: n.seq, Op: op, Events: []crdt.Event{e}}
	w.all = append(w.all, g)
	w.deliver(n, g)
	return g.Dot(0)
}

func (w *onceWorld) deliver(n *onceNode, g crdt.Group) {
	if !n.Apply(&g) || g.Op.IsZero() {
		return
	}
	w.void(n, n.remember(g.Op), n.remember(g.Op).Record(&g, 0))
}

func (n *onceNode) remember(op crdt.Operation) *crdt.Remembered {
	if n.remembers[op] == nil {
		n.remembers[op] = &crdt.Remembered{}
	}
	return n.remembers[op]
}

func (w *onceWorld) void(n *onceNode, m *crdt.Remembered, dots []dvv.Dot) {
	for _, d := range dots {
		w.voids++
		w.commit(n, crdt.Operation{}, m.Void(d)[0])
	}
}

// install is a snapshot: n takes in all that o knows, by join.
func (w *onceWorld) install(n, o *onceNode) {
	side, _ := crdt.JoinSides(n.Side(hits), o.Side(hits))
	n.Rows[hits], n.Clock = side.Row, side.Clock
	for i := range w.ops {
		if theirs := o.remembers[operation(i)]; theirs != nil {
			m := n.remember(operation(i))
			w.void(n, m, m.Join(*theirs))
		}
	}
}

// reset mints at n what a merged read of n and o shows.
func (w *onceWorld) reset(n, o *onceNode) {
	side, _ := crdt.JoinSides(n.Side(hits), o.Side(hits))
	t, err := side.Row.Tally()
	if err != nil {
		panic(err)
	}
	z, _ := t.Reset()
	if kills := w.rules.resetKills(t, side.Row); len(kills) > 0 {
		saw := w.floor(side.Clock)
		for i := range w.ops {
			for _, d := range w.ops[i] {
				if side.Clock.Contains(d) {
					saw[d.Actor] = max(saw[d.Actor], d.Seq)
				}
			}
		}
		w.cover[dvv.Dot{Actor: n.actor, Seq: n.seq + 1}] = saw
		w.commit(n, crdt.Operation{}, crdt.Event{Row: hits, Kills: kills, Payload: z.Payload()})
	}
}

// floor is how far the resets within the clock reach.
func (w *onceWorld) floor(c dvv.Clock) map[dvv.Actor]uint64 {
	z := map[dvv.Actor]uint64{}
	for d, saw := range w.cover {
		if c.Contains(d) {
			for a, seq := range saw {
				z[a] = max(z[a], seq)
			}
		}
	}
	return z
}

// gaps tells whether the clock lacks an event of an actor of whom it has a later
// one.
func gaps(c dvv.Clock) bool {
	for _, v := range c.Intervals() {
		if v.First > 1 {
			return true
		}
	}
	return false
}

// newest is how far every actor's increments are known.
func (w *onceWorld) newest(c dvv.Clock) map[dvv.Actor]uint64 {
	top := map[dvv.Actor]uint64{}
	for _, dots := range w.ops {
		for _, d := range dots {
			if c.Contains(d) {
				top[d.Actor] = max(top[d.Actor], d.Seq)
			}
		}
	}
	return top
}

// settled checks that everybody ends with the same bytes and the right value.
func (w *onceWorld) settled() error {
	var want crdt.Total
	first := w.nodes[0]
	z, top := w.floor(first.Clock), w.newest(first.Clock)
	for i, dots := range w.ops {
		reset := slices.ContainsFunc(dots, func(d dvv.Dot) bool { return d.Seq <= z[d.Actor] && first.Clock.Contains(d) })
		if !reset && slices.ContainsFunc(dots, func(d dvv.Dot) bool { return d.Seq <= top[d.Actor] }) {
			want = want.Add(crdt.TotalOf(1 << (3 * i)))
		}
		if reset && slices.ContainsFunc(dots, func(d dvv.Dot) bool { return d.Seq > z[d.Actor] }) {
			w.mixed++
		}
	}
	for _, n := range w.nodes {
		got, err := w.rules.value(w, n)
		if err != nil {
			return err
		}
		if w.twice = w.lost > 0 && got != want && gaps(n.Clock); w.twice {
			return nil
		}
		if got != want {
			return fmt.Errorf("at %v the value is %v, want %v\nrow %v\n%v", n.actor, octal(got), octal(want), n.Rows[hits], crdttest.History{Groups: w.all})
		}
		if a, b := crdt.AppendRow(nil, n.Rows[hits]), crdt.AppendRow(nil, first.Rows[hits]); string(a) != string(b) {
			return fmt.Errorf("%v and %v end with different bytes", n.actor, first.actor)
		}
	}
	return nil
}

// midway checks a node that does not know everything: no operation may ever show
// twice there, and one that is known whole shows as it will in the end. Totals
// that hold an increment whose own group has not arrived are left out: nobody
// can tell yet what is in them.
func (w *onceWorld) midway(n *onceNode) error {
	got, err := w.rules.value(w, n)
	if err != nil {
		return err
	}
	z, top := w.floor(n.Clock), w.newest(n.Clock)
	var must, may crdt.Total // may is a sum of distinct powers
	for i, dots := range w.ops {
		known, counted, reset, hidden := 0, 0, 0, 0
		for _, d := range dots {
			switch {
			case d.Seq <= z[d.Actor]:
				reset++
			case d.Seq <= top[d.Actor]:
				counted++
			}
			if n.Clock.Contains(d) {
				known++
			} else if d.Seq <= top[d.Actor] || d.Seq <= z[d.Actor] {
				hidden++
			}
		}
		one := crdt.TotalOf(1 << (3 * i))
		switch {
		case hidden > 0 && counted > 1:
			return nil
		case hidden > 0:
			may = may.Add(one)
		case counted > 0 && reset == 0:
			must = must.Add(one)
		}
	}
	rest := got.Sub(must)
	if rest.Hi != 0 || rest.Lo&^may.Lo != 0 {
		return fmt.Errorf("at %v, knowing %v, the value is %v, want %v and perhaps some of %v\nrow %v\n%v",
			n.actor, n.Clock, octal(got), octal(must), octal(may), n.Rows[hits], crdttest.History{Groups: w.all})
	}
	return nil
}

func octal(t crdt.Total) string {
	if t.Hi != 0 {
		return t.String()
	}
	return fmt.Sprintf("%#o", t.Lo)
}
