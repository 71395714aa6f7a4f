package quorum

import (
	"fmt"
	"iter"
	"strings"
)

// Write counts durable acknowledgements of one event group. The zero value
// needs one ack and has asked nobody: it is Unreachable, never Reached.
type Write[ID comparable] struct {
	needed int
	nodes  roster[ID]
}

// NewWrite starts a count of needed acks (below 1 is taken as 1) with the nodes
// asked so far, the coordinator itself among them; repeated ids count once.
// asked is copied. It allocates once.
func NewWrite[ID comparable](needed int, asked []ID) Write[ID] {
	return Write[ID]{needed, roster[ID](nil).restart(asked)}
}

// Reset starts over in the same memory.
func (w *Write[ID]) Reset(needed int, asked []ID) {
	w.needed, w.nodes = needed, w.nodes.restart(asked)
}

// Ask adds a node the events were sent to, for instance a fallback. Asking twice
// is asking once; asking a failed node again makes it outstanding again.
func (w *Write[ID]) Ask(id ID) { w.nodes.ask(id) }

// Ack records that id holds the events durably. It is idempotent, and it counts
// from a node given up before and from a node never asked: durable is durable.
// Who may hold events (a member of this ring) is for the caller to check.
func (w *Write[ID]) Ack(id ID) { w.nodes.heard(id, Counted) }

// Fail records that id cannot ack any more: its link is down or it refused. It
// changes nothing for a node that has acked or was not asked.
func (w *Write[ID]) Fail(id ID) { w.nodes.fail(id) }

// Expire fails everyone outstanding: the deadline has passed.
func (w *Write[ID]) Expire() { w.nodes.expire() }

// Needed is W.
func (w *Write[ID]) Needed() int { return max(w.needed, 1) }

// Acked is the number of nodes that hold the events durably.
func (w *Write[ID]) Acked() int { return w.nodes.count(Counted) }

// Outstanding is the number of nodes asked and not heard of.
func (w *Write[ID]) Outstanding() int { return w.nodes.count(Outstanding) }

// Short is how many more nodes must be asked before the quorum is possible
// again; 0 while it is.
func (w *Write[ID]) Short() int { return max(0, w.Needed()-w.Acked()-w.Outstanding()) }

// State is the verdict so far: Reached with enough acks, Unreachable as soon as
// acks and outstanding together are too few, else Pending.
func (w *Write[ID]) State() State {
	switch {
	case w.Acked() >= w.Needed():
		return Reached
	case w.Short() > 0:
		return Unreachable
	}
	return Pending
}

// All yields every node with its mark, in the order of asking.
func (w *Write[ID]) All() iter.Seq2[ID, Mark] { return w.nodes.all() }

// String draws the count: "2 of 3 acks: n1+ n2+ n3? n4-".
func (w *Write[ID]) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d of %d acks", w.Acked(), w.Needed())
	w.nodes.draw(&b)
	return b.String()
}
