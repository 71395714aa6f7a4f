package replica_test

import (
	"fmt"
	"testing"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/replica"
)

// The least stories in which each step of a snapshot, left out, shows: names of
// mutants, and what is wrong in the end.
var mistakes = []struct {
	mutant string
	play   func(t *testing.T) error
}{
	{"leaves compared before the log", func(t *testing.T) error {
		// The log brings what the rest of the cut has killed. Before it both leaves are
		// equal, without the row.
		w, first, other := pair(t)
		a := w.author(first)
		w.author(other).write(w.add(w.key(crdt.Set, 1), "y"))
		a.write(w.add(w.key(crdt.Set, 0), "x"))
		a.drop(a.write(w.remove(w.key(crdt.Set, 0), "x"))...)
		quiet := w.pass
		w.pass = func(from, to *post, m replica.Message) int {
			if e, ok := m.(replica.Events); ok && from == first {
				to.inbox = append(to.inbox, letter{from, replica.Events{Partition: e.Partition, Gap: e.Gap}})
				return 0
			}
			return quiet(from, to, m)
		}
		return w.meet(first, other)
	}},
	{"only the source's rows joined", func(t *testing.T) error {
		// What the source removed is a row of the receiver only.
		w, first, other := pair(t)
		a, b := w.author(first), w.author(other)
		b.take(a.write(w.add(w.key(crdt.Set, 0), "x"))...)
		a.write(w.remove(w.key(crdt.Set, 0), "x"))
		a.trim(0)
		return w.meet(first, other)
	}},
	{"no hold", func(t *testing.T) error {
		// Of an add that the cut has seen removed, the add arrives late.
		w, first, other := pair(t)
		a := w.author(first)
		add := a.write(w.add(w.key(crdt.Set, 0), "x"))
		a.write(w.remove(w.key(crdt.Set, 0), "x"))
		for i := range 6 {
			m := w.add(w.key(crdt.Set, 0), fmt.Sprint(i))
			m.Changes[0].Note = make([]byte, 900)
			a.write(m)
		}
		a.trim(0)
		late := false
		w.done = func(n *post) {
			if n == other && !late && n.shard.Totals().RowsStaged >= 2 {
				late = true
				n.shard.Receive(w.clock(), "stranger", replica.Replicate{Batch: []replica.Shipment{{Partition: partition, Groups: add}}})
			}
		}
		return w.meet(first, other)
	}},
	{"deferral dropped", func(t *testing.T) error {
		w, first, other := pair(t)
		a := w.author(first)
		add := a.write(w.add(w.key(crdt.Set, 0), "x"))
		gone := a.write(w.remove(w.key(crdt.Set, 0), "x"))
		w.open(other)
		for _, groups := range [][]crdt.Group{gone, add} {
			w.give(first, other, replica.Replicate{Batch: []replica.Shipment{{Partition: partition, Groups: groups}}})
			w.settle()
		}
		return w.wrong(other)
	}},
}

// pair is two owners whose trees are summed up before anybody asks for a cut, and
// whose trees repair nothing.
func pair(t *testing.T) (w *relay, first, other *post) {
	w = newRelay(t, func(c *replica.Config) { c.Without, c.Leaves, c.SnapshotRate = 0, 4096, 8<<10 })
	w.pass = func(_, _ *post, m replica.Message) int {
		switch m.(type) {
		case replica.TreeRoots:
			return 0
		case replica.CutOpen:
			if w.now < 8*second {
				return 0
			}
		}
		return 1
	}
	return w, w.posts[0], w.posts[1]
}

// meet opens both and waits until they have all of one another.
func (w *relay) meet(first, other *post) error {
	w.open(first, other)
	w.until("of one clock", 60*second, func() bool { return first.clockOf().Equal(other.clockOf()) })
	w.wait(5 * second)
	return w.wrong(first, other)
}

func TestASnapshotIsRightWhereALeftOutStepWouldShow(t *testing.T) {
	for _, m := range mistakes {
		t.Run("not so: "+m.mutant, func(t *testing.T) {
			if err := m.play(t); err != nil {
				t.Error(err)
			}
		})
	}
}
