package crdttest

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/cartwheel-db/cartwheel/crdt"
)

// settledMaps makes a history of maps, brings all of it to everybody, the voids that
// are minted on the way included, and compares what counters read with the oracle:
// then, when all is over that expires, and when that is removed.
func settledMaps(t *rapid.T, r rules) (again, own int, err error) {
	w := newWorld(t, []crdt.Type{crdt.Map})
	w.rules = r
	w.live()
	w.settle()
	if err = w.readAsTheOracleSays(); err != nil {
		return 0, 0, err
	}
	again, own = w.copies()
	if r.forEver {
		return again, own, nil
	}
	w.wall += 100
	if err = w.readAsTheOracleSays(); err != nil {
		return 0, 0, fmt.Errorf("when all is over: %w", err)
	}
	w.lapse(w.nodes[0])
	w.settle()
	if err = w.readAsTheOracleSays(); err != nil {
		return 0, 0, fmt.Errorf("when what is over is removed: %w", err)
	}
	return again, own, nil
}

func (w *world) settle() {
	for i := 0; i < len(w.groups); i++ { //nolint:intrange // delivering mints more of them
		for _, n := range w.nodes {
			g := w.groups[i]
			w.deliver(n, &g)
		}
	}
}

func (w *world) readAsTheOracleSays() error {
	h := w.history()
	for _, n := range w.nodes {
		for _, a := range slices.SortedFunc(maps.Keys(w.added), crdt.Address.Compare) {
			if got, want := decoded(n.Rows[a], w.wall).Exact(), h.Value(a, w.wall); got != want {
				return fmt.Errorf("at %v, %v reads %s; the oracle says %s\n%v\n%v", n.actor, a, octal(got), octal(want), n.Rows[a], h)
			}
		}
	}
	return nil
}

// copies counts operations of more than one increment that were applied twice, and
// those of which a copy was reset by another one.
func (w *world) copies() (again, own int) {
	first := map[crdt.Operation]crdt.Group{}
	for _, g := range w.groups {
		f, met := first[g.Op]
		if !met {
			first[g.Op] = g
			continue
		}
		if len(g.Increments()) > 1 && !g.Op.IsZero() {
			again++
		}
		for i := range g.Events {
			if z, err := crdt.DecodeReset(g.Events[i].Payload); err == nil && !g.Op.IsZero() {
				for j, add := range f.Increments() {
					d := f.Dot(j)
					if add.Row == g.Events[i].Row && slices.ContainsFunc(z, func(c crdt.Component) bool { return c.Actor == d.Actor && c.Seq >= d.Seq }) {
						own++
					}
				}
			}
		}
	}
	return again, own
}

func octal(t crdt.Total) string {
	if t.Hi != 0 {
		return t.String()
	}
	return fmt.Sprintf("%#o", t.Lo)
}

func TestTheCountersOfMapsAreExact(t *testing.T) {
	for name, r := range map[string]rules{"for ever": {forEver: true}, "some of which expire": {}} {
		t.Run(name, func(t *testing.T) {
			var again, own int
			run := func(t *rapid.T) {
				for range 10 {
					a, o, err := settledMaps(t, r)
					if err != nil {
						t.Fatal(err)
					}
					again, own = again+a, own+o
				}
			}
			for range 10 {
				if rapid.Check(t, run); t.Failed() || again > 0 && own > 0 {
					break
				}
			}
			if !t.Failed() && (again == 0 || own == 0) {
				t.Errorf("the run proves little: %d operations with several increments applied twice, %d with a copy that its retry took back", again, own)
			}
			t.Logf("%d operations with several increments applied twice, %d with a copy that its retry took back", again, own)
		})
	}
}

// Counters mostly read the same when a clear reaches them: a reset stands beside it.
// Rows do not.
func TestAFoldWhoseClearsReachCountersIsNotWhatTheOracleSays(t *testing.T) {
	histories := Histories(crdt.Map)
	for seed := range 2000 {
		h := histories.Example(seed)
		r := NewReplica()
		r.clearsAll = true
		for i := range h.Groups {
			r.Apply(&h.Groups[i])
		}
		if err := sameAsOracle("fold", r, h.Groups); err != nil {
			t.Logf("caught by history %d: %v", seed, err)
			return
		}
	}
	t.Error("2000 histories did not catch it")
}

func TestSimplerMapsMiscount(t *testing.T) {
	for name, r := range map[string]rules{
		"a second application is taken back of one counter":   {firstVoidOnly: true, forEver: true},
		"a second application of an update is not taken back": {retriesForgotten: true, forEver: true},
		"a retry may take back its own first copy":            {resetsAnonymous: true, forEver: true},
	} {
		t.Run(name, func(t *testing.T) {
			histories := rapid.Custom(func(t *rapid.T) error { _, _, err := settledMaps(t, r); return err })
			for seed := range 20_000 {
				if err := histories.Example(seed); err != nil {
					t.Logf("caught by history %d: %v", seed, err)
					return
				}
			}
			t.Error("20000 histories did not catch it")
		})
	}
}
