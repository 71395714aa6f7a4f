package replica_test

import (
	"fmt"
	"slices"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica"
	"github.com/cartwheel-db/cartwheel/replica/replicatest"
)

// catchUp is rule 3, and tells whether the peer's log reached back far enough.
func (w *world) catchUp(n, from *node) bool {
	v := from.store.View()
	complete := true
	w.commit(n, func(tx replica.Tx) {
		var err error
		complete, err = replica.Missing(v, partition, n.p.Clock().Clone(), func(g crdt.Group, size int) bool {
			if raw := crdt.AppendGroup(nil, &g); len(raw) != size {
				w.check(fmt.Errorf("%d bytes, told %d", len(raw), size), "size of %v", g.Dot(0))
			}
			w.apply(n, tx, &g)
			return true
		})
		w.check(err, "what %s lacks of %s", n.name, from.name)
	})
	if !complete {
		w.tally.ShortLogs++
	}
	if n.p.Clock().Covers(from.p.Clock()) {
		n.heard[from] = w.now
	}
	return complete
}

// begin is rule 5 up to (b): a durable cut, its log, the comparison of leaves.
func (w *world) begin(n, from *node) {
	w.tally.Snapshots++
	from.durable = from.store.Clone()
	v := from.durable.View()
	stale := n.store.View()
	w.catchUp(n, from)
	cut, err := replica.TakeCut(v, partition)
	w.check(err, "cut of %s", from.name)
	theirs, err := replica.Tree(v, partition, hashKey, leaves)
	w.check(err, "tree of %s", from.name)
	if !w.earlyLeaf {
		stale = n.store.View()
	}
	in, err := n.p.Compare(stale, cut, theirs, hashKey)
	w.check(err, "compare %s with %s", n.name, from.name)
	if w.rowLeaf {
		in.IgnoreKeys()
	}
	if w.noHold {
		n.p.StopHolding()
	}
	n.install = &install{Install: in, from: from, view: v}
	err = v.AllRows(partition, func(a crdt.Address, _ crdt.Row) bool {
		if in.Wants(a) {
			n.install.rows = append(n.install.rows, a)
		}
		return true
	})
	w.check(err, "rows of %s", from.name)
	w.rng.Shuffle(len(n.install.rows), func(i, j int) {
		r := n.install.rows
		r[i], r[j] = r[j], r[i]
	})
	w.note("%s stages %d rows of %s at %v", n.name, len(n.install.rows), from.name, cut.Clock)
}

// advance stages another row, or promotes when none is left.
func (w *world) advance(n *node) {
	in := n.install
	if len(in.rows) > 0 {
		a := in.rows[0]
		in.rows = in.rows[1:]
		r, err := in.view.Row(partition, a)
		w.check(err, "row %v of %s", a, in.from.name)
		in.Stage(a, r)
		return
	}
	n.install = nil
	w.commit(n, func(tx replica.Tx) {
		promote := tx
		if w.sourceOnly {
			promote = blind{tx}
		}
		held, voids, err := in.Promote(promote)
		w.check(err, "promote at %s", n.name)
		w.note("%s promotes, %d held, voids %v", n.name, len(held), voids)
		ops := make([]crdt.Operation, 0, len(voids))
		for op := range voids {
			ops = append(ops, op)
		}
		slices.SortFunc(ops, crdt.Operation.Compare)
		for _, op := range ops {
			w.void(n, tx, op, voids[op])
		}
		for i := range held {
			w.apply(n, tx, &held[i])
		}
	})
	w.checkRows(n)
}

// abort gives a snapshot up half way: what was held arrives now.
func (w *world) abort(n *node) {
	in := n.install
	n.install = nil
	held := in.Abort()
	w.note("%s aborts, %d held", n.name, len(held))
	w.commit(n, func(tx replica.Tx) {
		for i := range held {
			w.apply(n, tx, &held[i])
		}
	})
	w.checkRows(n)
}

// stable is what every owner holds durably.
func (w *world) stable() dvv.Clock {
	var s dvv.Clock
	for i, n := range w.nodes[:3] {
		c, _, err := n.durable.View().Clock(partition)
		w.check(err, "durable clock of %s", n.name)
		if c = c.Intersect(n.p.Clock()); i == 0 {
			s = c
		} else {
			s = s.Intersect(c)
		}
	}
	return s
}

// some is what a store holds of some actors.
func (w *world) some(store *replicatest.MemStore) (dots dvv.Clock) {
	clock, _, err := store.View().Clock(partition)
	w.check(err, "durable clock")
	var of dvv.Actor
	keep := false
	for a, run := range clock.Intervals() {
		if a != of {
			of, keep = a, w.rng.IntN(2) == 0
		}
		if keep {
			dots.AddRange(a, run.First, run.Last)
		}
	}
	return dots
}

// trim shortens a node's log, on disk too.
func (w *world) trim(n *node, stable dvv.Clock) {
	for _, store := range []*replicatest.MemStore{n.store, n.durable} {
		tx := store.Begin()
		gone, err := n.p.Trim(tx, stable)
		w.check(err, "trim %s", n.name)
		w.check(tx.Commit(), "trim %s", n.name)
		w.tally.Trimmed += gone
	}
	w.note("%s trims below %v", n.name, stable)
}

// forgetOps drops operations that the setting allows to forget.
func (w *world) forgetOps(n *node, stable dvv.Clock) {
	tx := n.store.Begin()
	var gone []crdt.Operation
	err := tx.AllRemembered(partition, func(m crdt.Remembered) bool {
		ok := w.now-m.Op.Issued > window
		if w.forget == "heard" {
			for i := range m.Events {
				for _, d := range m.Dots {
					ok = ok && stable.Contains(dvv.Dot{Actor: d.Actor, Seq: d.Seq + uint64(i)})
				}
			}
			for _, o := range w.nodes {
				ok = ok && (o == n || n.heard[o] > m.Op.Issued+window)
			}
		}
		if ok {
			gone = append(gone, m.Op)
		}
		return true
	})
	w.check(err, "operations of %s", n.name)
	for _, op := range gone {
		w.note("%s forgets operation %d", n.name, op.Seq)
		w.check(tx.DeleteRemembered(partition, op), "forget %v", op)
		w.tally.Forgotten++
	}
	w.check(tx.Commit(), "forget at %s", n.name)
}
