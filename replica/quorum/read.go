package quorum

import (
	"fmt"
	"iter"
	"strings"
)

// Read counts answers of one merged read. The zero value needs one ready answer
// and has asked nobody: it is Unreachable, never Reached.
type Read[ID comparable] struct {
	needed int
	nodes  roster[ID]
}

// NewRead starts a count of needed ready answers (below 1 is taken as 1) with
// the nodes asked so far; repeated ids count once. asked is copied. It allocates
// once.
func NewRead[ID comparable](needed int, asked []ID) Read[ID] {
	return Read[ID]{needed, roster[ID](nil).restart(asked)}
}

// Reset starts over in the same memory.
func (r *Read[ID]) Reset(needed int, asked []ID) {
	r.needed, r.nodes = needed, r.nodes.restart(asked)
}

// Ask adds a node the read was sent to: the next of the preference walk, or a
// hedge. Asking twice is asking once; asking a failed node again makes it
// outstanding again.
func (r *Read[ID]) Ask(id ID) { r.nodes.ask(id) }

// Answer records an answer, of rows or of their absence. ready says whether id
// counts toward R: an owner that has caught up since it opened. A fallback is
// never ready. Answers count from anyone, asked or not, given up or not; a node
// that answers twice keeps the better standing.
func (r *Read[ID]) Answer(id ID, ready bool) {
	if ready {
		r.nodes.heard(id, Counted)
	} else {
		r.nodes.heard(id, Uncounted)
	}
}

// Fail records that id cannot answer any more. It changes nothing for a node
// that has answered or was not asked.
func (r *Read[ID]) Fail(id ID) { r.nodes.fail(id) }

// Expire fails everyone outstanding: the deadline has passed.
func (r *Read[ID]) Expire() { r.nodes.expire() }

// Needed is R.
func (r *Read[ID]) Needed() int { return max(r.needed, 1) }

// Ready is the number of answers that count toward R.
func (r *Read[ID]) Ready() int { return r.nodes.count(Counted) }

// Answers is the number of answers of any kind, ready ones included.
func (r *Read[ID]) Answers() int { return r.Ready() + r.nodes.count(Uncounted) }

// Outstanding is the number of nodes asked and not heard of.
func (r *Read[ID]) Outstanding() int { return r.nodes.count(Outstanding) }

// Short is how many more nodes the walk must ask before R ready answers are
// possible again; 0 while they are.
func (r *Read[ID]) Short() int { return max(0, r.Needed()-r.Ready()-r.Outstanding()) }

// State is the verdict so far: Reached with enough ready answers; Pending while
// anyone is outstanding, since even an answer that cannot lift the count to R
// brings rows; then Degraded with enough answers of any kind, else Unreachable.
// To give up on stragglers, call Expire. Ask the next of the walk (see Short)
// before taking Degraded or Unreachable for an answer.
func (r *Read[ID]) State() State {
	switch {
	case r.Ready() >= r.Needed():
		return Reached
	case r.Outstanding() > 0:
		return Pending
	case r.Answers() >= r.Needed():
		return Degraded
	}
	return Unreachable
}

// All yields every node with its mark, in the order of asking.
func (r *Read[ID]) All() iter.Seq2[ID, Mark] { return r.nodes.all() }

// String draws the count: "1 of 2 ready, 2 answers: n1+ n2~ n3-".
func (r *Read[ID]) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d of %d ready, %d answers", r.Ready(), r.Needed(), r.Answers())
	r.nodes.draw(&b)
	return b.String()
}
