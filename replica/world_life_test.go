package replica_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cartwheel-db/cartwheel/replica"
	"github.com/cartwheel-db/cartwheel/replica/replicatest"
)

func (w *world) deliver() {
	if len(w.net) > 0 {
		w.receive(w.rng.IntN(len(w.net)))
	}
}

// deliverTo hands a node some of what is on its way to it.
func (w *world) deliverTo(n *node) {
	for i := len(w.net) - 1; i >= 0; i-- {
		if w.net[i].to == n && w.rng.IntN(3) == 0 {
			w.receive(i)
		}
	}
}

func (w *world) receive(i int) {
	p := w.net[i]
	if w.rng.IntN(10) < 6 {
		w.net = slices.Delete(w.net, i, i+1)
	} else {
		w.tally.Duplicates++
	}
	if !p.to.down && !p.to.inPieces() && w.rng.IntN(20) < 17 {
		w.commit(p.to, func(tx replica.Tx) { w.apply(p.to, tx, p.g) })
	}
}

func (w *world) step() {
	w.now++
	for _, n := range w.nodes {
		if n.install != nil && w.rng.IntN(3) == 0 {
			switch o := w.rng.IntN(20); {
			case o == 0 && n.inPieces():
				w.crashInPieces(n)
			case o == 0:
				w.abort(n)
			case o < 7 && !n.down && !n.inPieces():
				w.deliverTo(n)
			default:
				w.advance(n)
			}
		}
	}
	n := w.up()
	if n == nil {
		w.nodes[0].down = false
		return
	}
	if w.forget != "" { // nothing that was committed is lost by a crash
		n.durable = n.store.Clone()
	}
	o := w.rng.IntN(1000)
	if w.forget != "" && o < 200 { // the world in which nodes often hear of one another
		o = 836 + o%64
	}
	if w.storm && o > 300 && o < 600 {
		o = 836 + (o-300)*164/300
	}
	switch {
	case o < 430:
		w.mutate(n, w.mutation())
	case o < 700:
		w.deliver()
	case o < 750:
		w.show()
	case o < 810:
		n.durable = n.store.Clone()
	case o < 830 && w.forget == "":
		w.note("%s crashes", n.name)
		w.tally.Crashes++
		w.open(n, n.durable.Clone())
	case o < 836:
		if w.forget != "" && !w.spare(n) {
			return
		}
		w.note("%s loses its disk", n.name)
		w.tally.Wipes++
		w.open(n, replicatest.NewMemStore())
		n.durable = n.store.Clone()
	case o < 900:
		if from := w.up(); from != nil && from != n {
			w.catchUp(n, from)
		}
	case o < 945:
		if from := w.up(); from != nil && from != n && n.install == nil {
			w.begin(n, from)
		}
	case o < 970 && w.forget != "":
		n.down = true
		back := w.pick()
		back.down = false
	default:
		stable := w.stable()
		for _, n := range w.nodes {
			switch w.rng.IntN(4) {
			case 0, 1:
				w.trim(n, stable)
			case 2: // the log is over its cap: groups leave it in any order
				w.trim(n, w.some(n.durable))
			}
			if w.forget != "" && !n.down {
				w.forgetOps(n, stable)
			}
		}
	}
}

// spare tells whether another node has all that n has.
func (w *world) spare(n *node) bool {
	return slices.ContainsFunc(w.nodes, func(o *node) bool { return o != n && o.p.Clock().Covers(n.p.Clock()) })
}

// reconcile brings all replicas together by logs and snapshots.
func (w *world) reconcile() {
	for _, n := range w.nodes {
		n.down = false
		for n.install != nil {
			if w.rng.IntN(10) == 0 && !n.inPieces() {
				w.abort(n)
			} else {
				w.advance(n)
			}
		}
	}
	for round := 0; ; round++ {
		quiet := true
		for _, n := range w.nodes {
			for _, from := range w.nodes {
				if n.p.Clock().Covers(from.p.Clock()) || w.catchUp(n, from) {
					continue
				}
				quiet = false
				w.begin(n, from)
				for n.install != nil {
					switch o := w.rng.IntN(20); {
					case o == 0 && round < 5 && n.inPieces():
						w.crashInPieces(n)
					case o == 0 && round < 5:
						w.abort(n)
					case o < 8:
						w.deliver()
					default:
						w.advance(n)
					}
				}
			}
		}
		for _, n := range w.nodes {
			quiet = quiet && n.p.Clock().Equal(w.nodes[0].p.Clock())
		}
		if quiet {
			return
		}
		if round == 50 {
			w.check(errors.New("the replicas' clocks still differ"), "reconcile")
		}
	}
}

// run leads one world from its seed to its end and returns what broke it.
func run(s setting, seed uint64, trace *strings.Builder) (w *world, err error) {
	w = newWorld(s, seed)
	w.trace = trace
	defer func() {
		switch r := recover().(type) {
		case nil:
		case broken:
			err = r.err
		default:
			panic(r)
		}
		for _, n := range w.nodes {
			w.counts.Add(n.p.Counts)
		}
	}()
	steps := 20 + w.rng.IntN(140)
	if w.forget != "" {
		steps *= 2
	}
	for range steps {
		w.step()
	}
	w.reconcile()
	w.judge()
	return w, nil
}

// story is a failing run told again: the trace and every replica's end.
func story(s setting, seed uint64) string {
	var trace strings.Builder
	w, err := run(s, seed, &trace)
	fmt.Fprintf(&trace, "\n%v\n", err)
	for _, n := range w.nodes {
		fmt.Fprintf(&trace, "\n%s (actor %v) %s", n.name, n.actor, n.store.DumpText(partition))
	}
	return trace.String()
}

func sameBytes(a, b *node) bool { return bytes.Equal(a.store.Dump(partition), b.store.Dump(partition)) }
