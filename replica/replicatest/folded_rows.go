package replicatest

import (
	"fmt"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica"
)

// checkCommitted looks at a store after a commit, once in a while: it must be
// the fold of the events in its clock.
func (n *node) checkCommitted() {
	if n.store.Commits%23 != 0 {
		return
	}
	for _, p := range n.changed {
		n.checkFold(p)
	}
}

// checkFold compares what a node stores of a partition with what follows from
// its clock: rows with live and deferred dots, deferred clears, and so also
// that nothing lives outside the clock.
func (n *node) checkFold(p int) {
	v, part := n.store.View(), n.w.memory.parts[p]
	if _, promoting, _ := v.Mark(p); promoting {
		return // half of it is from before, and nobody may see it
	}
	clock := n.durableOf(p)
	for d := range clock.Dots() {
		if part.groups[d] == nil {
			n.w.fail("the clock of %v in partition %d holds %v, which nobody minted", n.id, p, d)
			return
		}
	}
	stored := 0
	err := v.AllRows(p, nil, func(a crdt.Address, r crdt.Row) bool {
		stored++
		log := part.byKey[a.Key]
		var row *rowLog
		if log != nil {
			row = log.row(a.Field)
		}
		if row == nil {
			n.w.fail("%v stores a row %v in partition %d that no event speaks of", n.id, a, p)
			return false
		}
		if want := log.fold(row, clock); !want.Equal(r) {
			n.w.fail("%v stores %v as %v; from its clock %v follows %v", n.id, a, r, clock, want)
		}
		return true
	})
	expected := 0
	for _, log := range part.keys {
		for _, row := range log.rows {
			if !log.fold(row, clock).IsEmpty() {
				expected++
			}
		}
		dead, err := v.Dead(p, log.key)
		if want := log.dead(clock); err != nil || !want.Equal(dead) {
			n.w.fail("%v defers %v at %v; from its clock %v follows %v (%v)", n.id, dead, log.key, clock, want, err)
		}
	}
	n.checkExpiring(p)
	if err != nil || expected != stored {
		n.w.fail("%v stores %d rows of partition %d; from its clock follow %d (%v)", n.id, stored, p, expected, err)
	}
}

// apart tells why the cluster is not at rest yet: owners that differ, stores
// that should have been handed off, commits under way.
func (w *World) apart() string {
	for _, n := range w.nodes {
		if len(n.changed) > 0 {
			return fmt.Sprintf("%v is still committing", n.id)
		}
	}
	for _, part := range w.memory.parts {
		owners := w.ring.Owners(part.id)
		first := w.nodes[w.index(owners[0])]
		for _, n := range w.nodes {
			if !w.ring.Owns(n.id, part.id) {
				if _, stored, _ := n.store.View().Clock(part.id); stored {
					return fmt.Sprintf("%v still stores partition %d, which %v own", n.id, part.id, owners)
				}
				continue
			}
			if a, b := first.durableOf(part.id), n.durableOf(part.id); !a.Equal(b) {
				return fmt.Sprintf("clocks of partition %d differ: %v has %v, %v has %v", part.id, first.id, a, n.id, b)
			}
		}
		for _, id := range owners {
			n := w.nodes[w.index(id)]
			if why := n.leftover(part.id); why != "" {
				return why
			}
			if why := n.unsettled(part.id); why != "" {
				return why
			}
		}
	}
	return ""
}

// unsettled tells what an owner still keeps for others, or is not yet, although
// all of them have everything: it counts as ready, every event is stable and so
// out of its log, and operations whose windows closed are forgotten.
func (n *node) unsettled(p int) string {
	v := n.store.View()
	groups, bytes, operations := v.Tally(p)
	_, promoting, _ := v.Mark(p)
	staged := false
	_ = v.AllStaged(p, nil, func(_, _ []byte) bool { staged = true; return false })
	switch state := n.shard.State(p); {
	case state != replica.Ready:
		return fmt.Sprintf("%v is %v with partition %d", n.id, state, p)
	case promoting || staged:
		return fmt.Sprintf("%v is not done with a snapshot of partition %d: promoting %t, staged records %t", n.id, p, promoting, staged)
	case groups > 0 || bytes != 0:
		return fmt.Sprintf("%v still logs %d groups of %d bytes of partition %d, which all owners hold", n.id, groups, bytes, p)
	case n.w.profile.opWindow < longWindow && operations > 0:
		var first crdt.Remembered
		_ = v.AllRemembered(p, crdt.Operation{}, func(m crdt.Remembered) bool { first = m; return false })
		return fmt.Sprintf("%v still remembers %d operations of partition %d, of which none can be tried again: the first is %s, %v", n.id, operations, p, opName(first.Op), first)
	}
	root, known := n.shard.Root(p)
	tree, err := replica.Tree(v, p, treeKey, leaves)
	switch first, _ := n.w.nodes[n.w.index(n.w.ring.Owners(p)[0])].shard.Root(p); {
	case err != nil:
		n.w.fail("%v: tree of partition %d: %w", n.id, p, err)
	case !known:
		return fmt.Sprintf("%v has no tree of partition %d yet", n.id, p)
	case root != tree.Root():
		return fmt.Sprintf("%v keeps a tree of partition %d with the root %v; its rows make %v", n.id, p, root, tree.Root())
	case root != first:
		return fmt.Sprintf("the tree of partition %d has the root %v at %v and %v at another owner", p, root, n.id, first)
	}
	return ""
}

// checkEqualOwners compares the bytes of all owners, and each with the fold.
func (w *World) checkEqualOwners() {
	for _, part := range w.memory.parts {
		owners := w.ring.Owners(part.id)
		first := w.nodes[w.index(owners[0])]
		for _, id := range owners {
			n := w.nodes[w.index(id)]
			n.checkFold(part.id)
			if string(n.store.Dump(part.id)) != string(first.store.Dump(part.id)) {
				w.fail("%v and %v agree on the clock of partition %d and not on its bytes:\n%s\n%s", first.id, n.id, part.id,
					first.store.DumpText(part.id), n.store.DumpText(part.id))
			}
		}
	}
}

// final is the clock all owners agree on at quiet.
func (w *World) final(p int) dvv.Clock {
	return w.nodes[w.index(w.ring.Owners(p)[0])].durableOf(p)
}
