package quorum

// State is the verdict so far.
//
// Reached is final: acknowledgements and answers are never taken back. Degraded
// and Unreachable stand until another node is asked or a late answer arrives.
type State uint8

const (
	// Pending: not enough yet, and what is outstanding may change that.
	Pending State = iota
	// Reached: the promise holds.
	Reached
	// Degraded (reads only): enough answers, but too few of them from ready
	// replicas, and nobody left to wait for.
	Degraded
	// Unreachable: not enough, and what is outstanding cannot make it enough.
	// For a write the outcome is unknown to the client, not "did not happen":
	// whoever took the events keeps them.
	Unreachable
)

// String is the lower-case name.
func (s State) String() string {
	switch s {
	case Pending:
		return "pending"
	case Reached:
		return "reached"
	case Degraded:
		return "degraded"
	case Unreachable:
		return "unreachable"
	}
	return "state?"
}

// Mark is where one node stands in one operation.
type Mark uint8

const (
	// Outstanding: asked, nothing heard.
	Outstanding Mark = iota
	// Counted: a durable acknowledgement, or an answer that counts toward R.
	Counted
	// Uncounted (reads only): answered without being ready.
	Uncounted
	// Failed: cannot answer any more (link down, refused, out of time).
	Failed
)

// String is the one character of the pictures: ? + ~ -
func (m Mark) String() string {
	const marks = "?+~-"
	if int(m) < len(marks) {
		return marks[m : m+1]
	}
	return "!"
}
