package replica_test

import (
	"errors"
	"fmt"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica"
	"github.com/cartwheel-db/cartwheel/replica/merkle"
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
	if !w.earlyLeaf {
		stale = n.store.View()
	}
	clock, _, err := v.Clock(partition)
	w.check(err, "clock of %s", from.name)
	in := n.p.Await(clock, hashKey, leaves)
	w.commit(n, func(tx replica.Tx) { w.check(compare(in, tx, stale, v), "compare %s with %s", n.name, from.name) })
	if w.rowLeaf {
		in.IgnoreKeys()
	}
	if w.noHold {
		n.p.StopHolding()
	}
	n.install = &install{Install: in, from: from, view: v}
	err = v.AllRows(partition, nil, func(a crdt.Address, _ crdt.Row) bool {
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
	w.note("%s stages %d rows of %s at %v", n.name, len(n.install.rows), from.name, clock)
}

// advance stages another row, or promotes when none is left.
func (w *world) advance(n *node) {
	in := n.install
	if len(in.rows) > 0 {
		a := in.rows[0]
		in.rows = in.rows[1:]
		r, err := in.view.Row(partition, a)
		w.check(err, "row %v of %s", a, in.from.name)
		w.commit(n, func(tx replica.Tx) { w.check(in.Stage(tx, a, r), "stage %v", a) })
		return
	}
	limit := 1 << 20
	if in.pieces || w.rng.IntN(2) == 0 {
		limit = 1
	}
	w.commit(n, func(tx replica.Tx) {
		promote := tx
		if w.sourceOnly {
			promote = blind{tx}
		}
		held, done, err := in.Promote(promote, limit, w.now, func(op crdt.Operation, dots []dvv.Dot) error {
			w.void(n, tx, op, dots)
			return nil
		})
		w.check(err, "promote at %s", n.name)
		w.note("%s promotes, done %t, %d held", n.name, done, len(held))
		if in.pieces = !done; done {
			n.install = nil
		}
		for i := range held {
			w.apply(n, tx, &held[i])
		}
	})
	if n.install == nil {
		w.dropStage(n)
		w.checkRows(n)
	}
}

// crashInPieces lets a node crash in the middle of a promotion: it goes on with
// it, or never began, if that was not durable.
func (w *world) crashInPieces(n *node) {
	if w.rng.IntN(3) > 0 {
		n.durable = n.store.Clone()
	}
	w.note("%s crashes", n.name)
	w.tally.Crashes++
	w.open(n, n.durable.Clone())
}

// compare is step (b): what of the cut is no row is staged, and leaves are
// compared.
func compare(in *replica.Install, tx replica.Tx, mine, cut replica.View) error {
	var failed error
	walk := cut.AllDead(partition, func(k crdt.Key, dots dvv.Clock) bool {
		failed = in.CompareClears(tx, k, dots)
		return failed == nil
	})
	if err := errors.Join(walk, failed, in.EndClears(tx)); err != nil {
		return err
	}
	walk = cut.AllRemembered(partition, crdt.Operation{}, func(m crdt.Remembered) bool {
		failed = in.StageOperation(tx, &m)
		return failed == nil
	})
	ours, err := replica.Tree(mine, partition, hashKey, leaves)
	theirs, err2 := replica.Tree(cut, partition, hashKey, leaves)
	if err := errors.Join(walk, failed, err, err2); err != nil {
		return err
	}
	for leaf := range leaves {
		in.CompareSums(ours, leaf, []merkle.Sum{theirs.Leaf(leaf)})
	}
	return nil
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
	w.dropStage(n)
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
		gone, _, err := n.p.Trim(tx, stable, 1<<30)
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
	err := tx.AllRemembered(partition, crdt.Operation{}, func(m crdt.Remembered) bool {
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
