package crdt_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/crdt/crdttest"
	"github.com/cartwheel-db/cartwheel/dvv"
)

// What a counter under expiry comes to, by plain sums. An actor's increments count
// from the newest that a removal, a reset or the actor itself found over, to the
// newest that a replica knows of; all of them are over when the latest time that
// was asked for since then has come.

// added is an increment as the oracle sees it.
type added struct {
	dot     dvv.Dot
	delta   int64
	expires int64 // of all the actor's increments up to this one that were not over
}

// taken is a reset, a removal of what expired, or an increment that found what its
// actor had over: how far it reached with each actor, earlier ones included.
type taken struct {
	dot dvv.Dot
	saw map[dvv.Actor]uint64
}

type expiryWorld struct {
	*rapid.T
	nodes  [3]*crdttest.Replica
	seqs   [3]uint64
	skew   [3]int64
	groups []crdt.Group
	wall   int64
	added  []added
	taken  []taken
	over   map[string]int // how often each path was taken
}

func (w *expiryWorld) clock(n int) int64 { return w.wall + w.skew[n] }

func (w *expiryWorld) commit(n int, events ...crdt.Event) dvv.Dot {
	g := crdt.Group{Actor: dvv.Actor(n + 1), First: w.seqs[n] + 1, Events: events}
	w.seqs[n] = g.Last()
	w.groups = append(w.groups, g)
	w.nodes[n].Apply(&g)
	return g.Dot(0)
}

func (w *expiryWorld) tally(n int) *crdt.Tally {
	return tallyAt(w.T, w.nodes[n].Rows[hits], w.clock(n))
}

// knows says from which increment of an actor on and up to which a node would count,
// were it not for their time.
func (w *expiryWorld) knows(n int, actor dvv.Actor) (from, to uint64, expires int64) {
	known := w.nodes[n].Clock
	for _, z := range w.taken {
		if known.Contains(z.dot) {
			from = max(from, z.saw[actor])
		}
	}
	for _, a := range w.added {
		if a.dot.Actor == actor && known.Contains(a.dot) {
			to, expires = a.dot.Seq, a.expires
		}
	}
	return from, to, expires
}

// reads is what the node counts at its time; 0, 0 for nothing.
func (w *expiryWorld) reads(n int, actor dvv.Actor) (from, to uint64, expires int64) {
	from, to, expires = w.knows(n, actor)
	if to <= from || expires != 0 && expires <= w.clock(n) {
		return 0, 0, 0
	}
	return from, to, expires
}

func (w *expiryWorld) value(n int) (sum int64) {
	for actor := range dvv.Actor(4) {
		from, to, _ := w.reads(n, actor)
		for _, a := range w.added {
			if a.dot.Actor == actor && a.dot.Seq > from && a.dot.Seq <= to {
				sum += a.delta
			}
		}
	}
	return sum
}

func (w *expiryWorld) increment(n int) {
	actor := dvv.Actor(n + 1)
	delta := int64(1) << w.below(20, "delta")
	expires := w.wall + 1 + int64(w.below(30, "expires"))
	if w.below(5, "for ever") == 0 {
		expires = 0
	}
	a := added{delta: delta, expires: expires}
	from, to, before := w.reads(n, actor)
	switch {
	case to > from && (before == 0 || expires == 0):
		a.expires = 0
	case to > from:
		a.expires = max(before, expires)
	}
	over := w.reach(n, func(of dvv.Actor, _ bool) bool { return of == actor && to <= from })
	e, kills, z, v, err := w.tally(n).IncrementUntil(actor, delta, expires)
	if err != nil {
		w.Fatal(err)
	}
	if want := w.value(n) + delta; v != want {
		w.Fatalf("adding %d answers %d, want %d", delta, v, want)
	}
	events := []crdt.Event{{Row: hits, Kills: sortedDots(kills), Payload: e.Payload(), Delta: delta}}
	if len(z) > 0 {
		w.over["an increment after what expired"]++
		events = append(events, crdt.Event{Row: hits, Payload: z})
	}
	a.dot = w.commit(n, events...)
	w.added = append(w.added, a)
	if len(z) > 0 {
		w.taken = append(w.taken, taken{a.dot, over})
	}
}

func sortedDots(dots []dvv.Dot) []dvv.Dot {
	var c dvv.Clock
	for _, d := range dots {
		c.Add(d)
	}
	var out []dvv.Dot
	for d := range c.Dots() {
		out = append(out, d)
	}
	return out
}

// reach is how far a removal at a node reaches that takes back what it says of each
// actor, and carries on what those before it took.
func (w *expiryWorld) reach(n int, takes func(of dvv.Actor, counts bool) bool) map[dvv.Actor]uint64 {
	saw := map[dvv.Actor]uint64{}
	for actor := range dvv.Actor(4) {
		floor, newest, _ := w.knows(n, actor)
		from, to, _ := w.reads(n, actor)
		if saw[actor] = floor; takes(actor, to > from) {
			saw[actor] = max(floor, newest)
		}
	}
	return saw
}

// remove takes back what expired, or everything.
func (w *expiryWorld) remove(n int, all bool) bool {
	put, kills := w.tally(n).Lapse()
	path := "a removal"
	if all {
		z, seen := w.tally(n).Reset()
		put, kills, path = z.Payload(), seen, "a reset"
	}
	if len(kills) == 0 {
		return false
	}
	w.over[path]++
	t := taken{saw: w.reach(n, func(_ dvv.Actor, counts bool) bool { return all || !counts })}
	t.dot = w.commit(n, crdt.Event{Row: hits, Kills: kills, Payload: put})
	w.taken = append(w.taken, t)
	return true
}

func (w *expiryWorld) below(n int, label string) int { return rapid.IntRange(0, n-1).Draw(w.T, label) }

func TestACounterUnderExpiryReadsThePlainSumOfWhatIsNotOver(t *testing.T) {
	over := map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		w := &expiryWorld{T: t, wall: 100, over: over}
		for n := range w.nodes {
			w.nodes[n] = crdttest.NewReplica()
			w.skew[n] = int64(w.below(41, "skew")) - 20
		}
		for range 60 {
			n := w.below(3, "node")
			switch what := w.below(12, "step"); {
			case what < 4:
				w.increment(n)
			case what < 6:
				w.remove(n, false)
			case what < 7:
				w.remove(n, true)
			case what < 9:
				w.wall += int64(w.below(15, "later"))
			case len(w.groups) > 0:
				w.nodes[n].Apply(&w.groups[w.below(len(w.groups), "group")])
			}
			if v, _ := w.tally(n).Value(); v != w.value(n) {
				t.Fatalf("node %d at %d reads %d of %v, want %d", n, w.clock(n), v, w.nodes[n].Rows[hits], w.value(n))
			}
		}
		resets := 0
		for n := range w.nodes {
			for i := range w.groups {
				w.nodes[n].Apply(&w.groups[i])
			}
			if !w.nodes[n].Rows[hits].Equal(w.nodes[0].Rows[hits]) {
				t.Fatalf("after all is delivered: %v and %v", w.nodes[n].Rows[hits], w.nodes[0].Rows[hits])
			}
		}
		w.wall += 1000
		last := w.remove(0, false)
		for _, l := range w.nodes[0].Rows[hits].Live {
			if l.Payload.Kind() == crdt.KindReset {
				resets++
			}
		}
		if v, _ := w.tally(0).Value(); v != w.value(0) || w.nodes[0].Rows[hits].Expires(crdt.Counter) != 0 {
			t.Fatalf("in the end %v reads %d, want %d", w.nodes[0].Rows[hits], v, w.value(0))
		}
		if last && resets > 1 {
			t.Fatalf("resets pile up: %v", w.nodes[0].Rows[hits])
		}
	})
	for _, path := range []string{"an increment after what expired", "a removal", "a reset"} {
		if over[path] == 0 {
			t.Errorf("the run proves nothing about %s", path)
		}
	}
	t.Log(over)
}
