package replicatest

import (
	"reflect"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/replica"
)

// checkAtQuiet runs the checkers that look at the end of a history.
func (w *World) checkAtQuiet() {
	checks := []func(){
		w.checkEqualOwners, w.checkNothingLost, w.checkRemovals, w.checkHonesty,
		w.checkCounters, w.checkResets, w.checkRegisters, w.checkBlobs, w.countGhosts,
		w.checkSummaries,
	}
	for _, check := range checks {
		if w.err == nil {
			check()
		}
	}
}

// readEverything reads every key once more, each through some node.
func (w *World) readEverything() {
	left := 0
	for _, part := range w.memory.parts {
		for _, log := range part.keys {
			q := replica.Query{Key: log.key}
			if log.key.Type == crdt.Set {
				q.Span, q.Count = &replica.Span{Limit: replica.MaxPage}, epochMillis+w.now/ms
			}
			q.Every = log.key.Type == crdt.Map
			c := newClient(w, len(w.clients), 0)
			left++
			final := w.final(part.id)
			c.ask(replica.Request{Query: &q, MaxStale: 2*w.profile.sound + second, Session: &final}, 5*second, func(res *replica.Result) {
				left--
				if res == nil || res.Failure != nil {
					w.fail("at quiet, %v cannot be read through %v: %+v", q, nodeID(c.node), res)
					return
				}
				w.checkSize(&q, res.Merged)
			})
		}
	}
	w.loop(func() bool { return left == 0 })
}

func (r *Report) add(s replica.Stats) { sumUp(&r.Stats, s) }

func (c *Checked) add(o Checked) { sumUp(c, o) }

func (t *Tally) add(o Tally) { sumUp(t, o) }

// sumUp adds all the numbers of a struct to those of another one.
func sumUp[T any](to *T, of T) { addNumbers(reflect.ValueOf(to).Elem(), reflect.ValueOf(of)) }

// minus takes the numbers of one struct from those of another one.
func minus[T any](a, b T) T {
	neg := b
	walkNumbers(reflect.ValueOf(&neg).Elem(), func(v reflect.Value) { v.SetUint(-v.Uint()) })
	sumUp(&a, neg)
	return a
}

func walkNumbers(v reflect.Value, fn func(reflect.Value)) {
	if v.Kind() != reflect.Struct {
		fn(v)
		return
	}
	for i := range v.NumField() {
		walkNumbers(v.Field(i), fn)
	}
}

// totals sums up what all shards did that ever lived.
func (w *World) totals() replica.Stats {
	all := w.report.Stats
	for _, n := range w.nodes {
		if n.shard != nil {
			sumUp(&all, n.shard.Totals())
		}
	}
	return all
}

func addNumbers(to, of reflect.Value) {
	switch {
	case to.Kind() == reflect.Struct:
		for i := range to.NumField() {
			addNumbers(to.Field(i), of.Field(i))
		}
	case to.CanUint():
		to.SetUint(to.Uint() + of.Uint())
	case to.CanInt():
		to.SetInt(to.Int() + of.Int())
	default:
		panic("replicatest: a counter of " + to.Type().String())
	}
}
