package replica_test

import (
	"errors"
	"fmt"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica"
)

// read is a merged read of one to three replicas.
func (w *world) read(q replica.Query) replica.Merged {
	var answers []replica.Answer
	for range 1 + w.rng.IntN(3) {
		if n := w.up(); n != nil {
			a, err := replica.Ask(n.store.View(), partition, q)
			w.check(err, "ask %s", n.name)
			answers = append(answers, a)
		}
	}
	return replica.Merge(answers)
}

// mutate mints a mutation at a node, unless the node remembers its operation.
func (w *world) mutate(n *node, m *replica.Mutation) {
	w.check(m.Check(), "check %v", m.Verb)
	if _, known, err := n.store.View().Remembered(partition, m.Op); known || err != nil {
		w.check(err, "recognise %v", m.Op)
		w.tally.Recognised++
		return
	}
	var seen *replica.Merged
	if q, ok := m.Observes(); ok {
		r := w.read(q)
		if seen = &r; m.Verb == replica.Edit && m.Context != nil && !r.Clock.Covers(*m.Context) {
			return // such a read waits until it does
		}
	}
	if m.Context != nil && !m.Context.Minus(n.p.Clock()).IsEmpty() {
		w.tally.UnseenContexts++
	}
	w.commit(n, func(tx replica.Tx) {
		g, err := n.p.Mint(tx, m, seen, dvv.Dot{Actor: n.actor, Seq: n.seq + 1}, w.stamp(), w.stamp()+1<<20, 0)
		if errors.Is(err, crdt.ErrOverflow) {
			return
		}
		w.check(err, "mint %v at %s", m.Verb, n.name)
		if len(g.Events) == 0 {
			return
		}
		if w.counter != "" {
			w.restartTotals(tx, &g)
		}
		if g.Events[0].Clear != nil {
			w.tally.Clears++
		}
		n.seq += uint64(len(g.Events))
		w.note("%s mints for %v of %v", n.name, m.Verb, m.Op.Seq)
		w.publish(n, &g)
		if o := w.apply(n, tx, &g); o != replica.Applied {
			w.check(errors.New("a group just minted is not new"), "mint %v", &g)
		}
	})
}

// mutation invents what a client asks for.
func (w *world) mutation() *replica.Mutation {
	if len(w.ops) > 0 && !w.once && w.rng.IntN(6) == 0 {
		m := w.ops[w.rng.IntN(len(w.ops))]
		if w.rng.IntN(2) == 0 { // clients retry soon
			m = w.ops[len(w.ops)-1-w.rng.IntN(min(4, len(w.ops)))]
		}
		if w.forget == "" || w.now-m.Op.Issued <= window {
			w.tally.Retries++
			return m
		}
	}
	m := &replica.Mutation{Op: crdt.Operation{Client: [16]byte{1}, Seq: uint64(len(w.ops) + 1), Issued: w.now}}
	w.ops = append(w.ops, m)
	if w.maps {
		w.mutateMap(m)
		return m
	}
	pick := w.rng.IntN(100)
	if w.counters {
		pick = 75 + w.rng.IntN(25)
	}
	if w.storm {
		pick = 8 + w.rng.IntN(35)
	}
	switch {
	case pick < 36:
		m.Key, m.Verb = cart, replica.Update
		if pick < 8 {
			m.Key = wishes
		}
		removes := 2 // of five
		if w.storm {
			removes = 3
		}
		for range 1 + w.rng.IntN(3)/2*2 {
			m.Changes = append(m.Changes, replica.Change{
				Member: members[m.Key][w.rng.IntN(len(members[m.Key]))],
				Remove: w.rng.IntN(5) < removes,
				Note:   fmt.Append(nil, m.Op.Seq),
			})
		}
	case pick < 43:
		m.Key, m.Verb = []crdt.Key{cart, cart, wishes, doc, last}[w.rng.IntN(5)], replica.Delete
		if w.storm {
			m.Key = cart
		}
	case pick < 53:
		m.Key, m.Verb, m.Value = last, replica.Assign, fmt.Append(nil, m.Op.Seq)
	case pick < 75:
		m.Key, m.Verb, m.Value = doc, replica.Put, fmt.Append(nil, m.Op.Seq)
	case pick < 92 || !w.resets:
		m.Key, m.Verb, m.Delta = hits, replica.Add, 1<<(m.Op.Seq%40)+int64(m.Op.Seq)
		if w.rng.IntN(3) == 0 {
			m.Delta = -m.Delta
		}
	default:
		m.Key, m.Verb = hits, replica.Zero
	}
	if m.Key.Type != crdt.Counter && w.rng.IntN(2) == 0 {
		m.Context = w.context(m.Key)
	}
	return m
}

// context is one that some client was shown for the key; nil if there is none.
func (w *world) context(k crdt.Key) *dvv.Clock {
	at := w.rng.IntN(len(w.contexts) + 1)
	for i := range w.contexts {
		if c := w.contexts[(at+i)%len(w.contexts)]; c.key == k {
			dots := c.dots.Clone()
			return &dots
		}
	}
	return nil
}

// show lets a client read a key and keep the context of what it was shown.
func (w *world) show() {
	k := []crdt.Key{cart, cart, wishes, doc, last}[w.rng.IntN(5)]
	if w.maps {
		w.showMap()
		return
	}
	q := replica.Query{Key: k}
	if k.Type == crdt.Set {
		q.Span = &replica.Span{Limit: 1 + w.rng.IntN(3)}
		if w.rng.IntN(3) == 0 {
			q.Span, q.Fields = nil, []string{members[k][w.rng.IntN(len(members[k]))]}
		}
	}
	r := w.read(q)
	var dots dvv.Clock
	for _, f := range r.Rows {
		for _, d := range f.Row.Dots() {
			dots.Add(d)
		}
	}
	if len(r.Rows) > 1 {
		w.tally.WideContexts++
	}
	w.note("a client is shown %v of %v", dots, k)
	w.contexts = append(w.contexts, shown{key: k, dots: dots})
}
