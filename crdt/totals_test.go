package crdt_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/crdt/crdttest"
	"github.com/cartwheel-db/cartwheel/dvv"
)

// A counter under resets, crashes that lose what was not synced, and wiped disks.
// The oracle: an actor's increments count from the newest that a known reset saw
// of it to the newest that anybody knows of it. Increments lost with their
// process in between are inside its later totals and count too.

// totalsRule is how a counter keeps its totals.
type totalsRule interface {
	increment(row crdt.Row, d dvv.Dot, delta int64) (crdt.Payload, []dvv.Dot)
	reset(row crdt.Row) (crdt.Payload, []dvv.Dot)
	value(row crdt.Row) int64
}

// ours is the tally.
type ours struct{}

func (ours) tally(row crdt.Row) *crdt.Tally {
	t, err := row.Tally()
	if err != nil {
		panic(err)
	}
	return t
}

func (o ours) increment(row crdt.Row, d dvv.Dot, delta int64) (crdt.Payload, []dvv.Dot) {
	e, kills, _, err := o.tally(row).Increment(d.Actor, delta)
	if err != nil {
		panic(err)
	}
	return e.Payload(), kills
}

func (o ours) reset(row crdt.Row) (crdt.Payload, []dvv.Dot) {
	z, kills := o.tally(row).Reset()
	return z.Payload(), kills
}

func (o ours) value(row crdt.Row) int64 { v, _ := o.tally(row).Value(); return v }

// restarting are the rules that fail. Their totals restart at zero when a reset
// killed them; they differ in how they then tell new totals from old ones.
type restarting struct{ clamp, epochs bool }

// note is a payload of theirs: an entry named (actor, epoch), or a reset.
type note struct {
	Actor, Epoch, Seq uint64
	P, N              int64
	Saw               map[string]note
}

func (n note) name() string { return fmt.Sprint(n.Actor, ".", n.Epoch) }

func (n note) payload() crdt.Payload {
	b, err := json.Marshal(n)
	if err != nil {
		panic(err)
	}
	return b
}

func (restarting) read(row crdt.Row) (newest, saw map[string]note) {
	newest, saw = map[string]note{}, map[string]note{}
	for _, l := range row.Live {
		var n note
		if err := json.Unmarshal(l.Payload, &n); err != nil {
			panic(err)
		}
		if n.Saw == nil && newest[n.name()].Seq < n.Seq {
			newest[n.name()] = n
		}
		for name, c := range n.Saw {
			if saw[name].Seq < c.Seq {
				saw[name] = c
			}
		}
	}
	return newest, saw
}

func (r restarting) increment(row crdt.Row, d dvv.Dot, delta int64) (crdt.Payload, []dvv.Dot) {
	e := note{Actor: uint64(d.Actor)}
	if r.epochs {
		e.Epoch = d.Seq // unless an entry is alive, its epoch goes on
	}
	newest, _ := r.read(row)
	for _, n := range newest {
		if n.Actor == e.Actor && (n.Epoch == e.Epoch || r.epochs) && e.Seq <= n.Seq {
			e = n
		}
	}
	var kills []dvv.Dot
	for _, l := range row.Live {
		var n note
		if err := json.Unmarshal(l.Payload, &n); err != nil {
			panic(err)
		}
		if n.Saw == nil && n.name() == e.name() {
			kills = append(kills, l.Dot)
		}
	}
	e.Seq = d.Seq
	if delta > 0 {
		e.P += delta
	} else {
		e.N -= delta
	}
	return e.payload(), kills
}

func (r restarting) reset(row crdt.Row) (crdt.Payload, []dvv.Dot) {
	newest, saw := r.read(row)
	for name, n := range newest {
		if saw[name].Seq < n.Seq {
			saw[name] = n
		}
	}
	return note{Saw: saw}.payload(), row.Dots()
}

func (r restarting) value(row crdt.Row) int64 {
	newest, saw := r.read(row)
	var v int64
	for name, n := range newest {
		z := saw[name]
		switch {
		case r.clamp:
			v += max(0, n.P-z.P) - max(0, n.N-z.N)
		case r.epochs:
			if n.Seq > z.Seq {
				v += n.P - z.P - n.N + z.N
			}
		default:
			v += n.P - n.N
		}
	}
	if !r.clamp && !r.epochs {
		for _, z := range saw {
			v -= z.P - z.N
		}
	}
	return v
}

type totalsWorld struct {
	draw       func(int) int
	rule       totalsRule
	nodes      []*totalsNode
	actors     dvv.Actor
	increments map[dvv.Dot]int64
	cover      map[dvv.Dot]map[dvv.Actor]uint64
	on         []sent // on its way
	lost, hits int    // increments nobody knows, and of those how many count
}

type totalsNode struct {
	*crdttest.Replica
	actor  dvv.Actor
	seq    uint64
	log    []crdt.Group
	synced int // groups of the log that survive a crash
}

type sent struct {
	to *totalsNode
	g  crdt.Group
}

func (n *totalsNode) take(g crdt.Group) {
	if n.Apply(&g) {
		n.log = append(n.log, g)
	}
}

func playTotals(draw func(int) int, rule totalsRule) (*totalsWorld, error) {
	w := &totalsWorld{draw: draw, rule: rule, increments: map[dvv.Dot]int64{}, cover: map[dvv.Dot]map[dvv.Actor]uint64{}}
	for range 3 {
		w.actors++
		w.nodes = append(w.nodes, &totalsNode{Replica: crdttest.NewReplica(), actor: w.actors})
	}
	for range 5 + draw(50) {
		w.step(w.nodes[draw(3)])
	}
	for range 2 {
		for _, a := range w.nodes {
			for _, b := range w.nodes {
				w.catchUp(a, b)
			}
		}
	}
	return w, w.check()
}

func (w *totalsWorld) step(n *totalsNode) {
	switch what := w.draw(100); {
	case what < 35:
		delta := int64(1+w.draw(9)) * []int64{1, 10, 100, 1000, -1, -10, -100, -1000}[w.draw(8)]
		d := dvv.Dot{Actor: n.actor, Seq: n.seq + 1}
		p, kills := w.rule.increment(n.Rows[hits], d, delta)
		w.increments[d] = delta
		w.commit(n, p, kills)
	case what < 45:
		p, kills := w.rule.reset(n.Rows[hits])
		w.cover[dvv.Dot{Actor: n.actor, Seq: n.seq + 1}] = w.saw(n.Clock)
		w.commit(n, p, kills)
	case what < 80 && len(w.on) > 0:
		i := w.draw(len(w.on))
		m := w.on[i]
		if w.draw(10) < 7 {
			w.on = slices.Delete(w.on, i, i+1)
		}
		m.to.take(m.g)
	case what < 88:
		n.synced = len(n.log)
	case what < 93: // a crash, or a wiped disk
		if what == 92 {
			n.synced = 0
		}
		w.actors++
		n.log = n.log[:n.synced:n.synced]
		n.Replica, n.actor, n.seq = crdttest.Fold(n.log), w.actors, 0
	case what < 97:
		w.catchUp(n, w.nodes[w.draw(3)])
	}
}

func (w *totalsWorld) catchUp(a, b *totalsNode) {
	for _, g := range b.log {
		a.take(g)
	}
}

func (w *totalsWorld) commit(n *totalsNode, p crdt.Payload, kills []dvv.Dot) {
	n.seq++
	g := crdt.Group{Actor: n.actor, First: n.seq, Events: []crdt.Event{{Row: hits, Kills: kills, Payload: p}}}
	n.take(g)
	for _, o := range w.nodes {
		if o != n && w.draw(10) < 6 {
			w.on = append(w.on, sent{o, g})
		}
	}
}

// saw is how far someone with the clock sees every actor's increments, through
// known resets too.
func (w *totalsWorld) saw(c dvv.Clock) map[dvv.Actor]uint64 {
	out := w.floor(c)
	for d := range w.increments {
		if c.Contains(d) {
			out[d.Actor] = max(out[d.Actor], d.Seq)
		}
	}
	return out
}

func (w *totalsWorld) floor(c dvv.Clock) map[dvv.Actor]uint64 {
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

func (w *totalsWorld) check() error {
	known := w.nodes[0].Clock
	z, top := w.floor(known), w.saw(known)
	var want int64
	for d, delta := range w.increments {
		counts := d.Seq > z[d.Actor] && d.Seq <= top[d.Actor]
		if counts {
			want += delta
		}
		if !known.Contains(d) {
			if w.lost++; counts {
				w.hits++
			}
		}
	}
	for _, n := range w.nodes {
		if !n.Clock.Equal(known) {
			return fmt.Errorf("clocks %v and %v did not meet", n.Clock, known)
		}
		if got := w.rule.value(n.Rows[hits]); got != want {
			return fmt.Errorf("value %d, want %d", got, want)
		}
	}
	return nil
}

func TestTotalsSurviveResetsCrashesAndWipes(t *testing.T) {
	var lost, carried, resets int
	rapid.Check(t, func(t *rapid.T) {
		for range 5 {
			w, err := playTotals(func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "draw") }, ours{})
			if err != nil {
				t.Fatalf("%v\n%v", err, crdttest.History{Groups: w.nodes[0].log})
			}
			lost, carried, resets = lost+w.lost, carried+w.hits, resets+len(w.cover)
		}
	})
	if lost == carried || carried == 0 || resets == 0 {
		t.Errorf("the run proves little: %d increments lost, %d of them carried by later totals, %d resets", lost, carried, resets)
	}
}

func TestTotalsThatRestartFail(t *testing.T) {
	rules := map[string]totalsRule{
		"subtract what resets saw":           restarting{},
		"subtract it but not below zero":     restarting{clamp: true},
		"begin a new epoch after each reset": restarting{epochs: true},
	}
	for _, name := range slices.Sorted(maps.Keys(rules)) {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(3000) {
				if _, err := playTotals(rand.New(rand.NewPCG(seed, 2)).IntN, rules[name]); err != nil {
					if _, err := playTotals(rand.New(rand.NewPCG(seed, 2)).IntN, ours{}); err != nil {
						t.Fatalf("our rule fails seed %d: %v", seed, err)
					}
					t.Logf("caught by seed %d: %v", seed, err)
					return
				}
			}
			t.Error("3000 histories did not catch it")
		})
	}
}
