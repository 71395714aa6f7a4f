package replica

import (
	"fmt"
	"strings"

	"github.com/cartwheel-db/cartwheel/ring"
)

// State tells how far a node is with a partition.
type State uint8

// The states.
const (
	Joining    State = 1 + iota // an owner that has never been ready: counts for W, not for R
	Recovering                  // an owner that was ready before its store was opened: the same
	Ready                       // an owner that has caught up since it opened
	Draining                    // stores what others own, and hands it to them
	Left                        // neither owns nor stores it
	stateEnd
)

var stateNames = [stateEnd]string{Joining: "joining", Recovering: "recovering", Ready: "ready", Draining: "draining", Left: "left"}

func (s State) String() string {
	if s > 0 && s < stateEnd {
		return stateNames[s]
	}
	return fmt.Sprintf("state(%d)", uint8(s))
}

// Unknown is a bound that nobody can tell.
const Unknown = int64(-1)

// Staleness bounds how far behind an answer may be: of everything that any
// possible coordinator held durably this long ago, the answer misses nothing.
// It is measured by the one clock of who reports it.
type Staleness struct {
	Bound     int64         // nanoseconds, over all members; [Unknown] before all of them were met
	Reachable int64         // the same over the members that can be reached now
	Missing   []ring.NodeID // those that cannot, sorted
}

// Within tells whether the bound is known and at most so many nanoseconds.
func (s Staleness) Within(most int64) bool { return s.Bound != Unknown && s.Bound <= most }

func (s Staleness) String() string {
	text, missing := "unknown", "not heard of"
	if s.Bound != Unknown {
		text, missing = fmt.Sprintf("%d ms", s.Bound/1e6), "unreachable"
	}
	if len(s.Missing) == 0 {
		return text
	}
	names := make([]string, len(s.Missing))
	for i, id := range s.Missing {
		names[i] = string(id)
	}
	return fmt.Sprintf("%s (%s: %s)", text, missing, strings.Join(names, ", "))
}

// Health tells how one partition is doing on this node.
type Health struct {
	Partition  int
	State      State
	Staleness  Staleness
	Groups     int64 // logged
	LogBytes   int64
	Operations int64 // remembered
	Damaged    int   // rows that wait to be fetched again
	Install    *Progress
	Peers      []PeerHealth // the other members, in order of ids
}

// PeerHealth tells how far a partition is known to hold what a member holds.
type PeerHealth struct {
	ID      ring.NodeID
	Age     int64  // nanoseconds since a moment whose durable state of that member is covered here; [Unknown] before the first
	Missing uint64 // dots that it showed and that are not durable here
}

// Progress of a snapshot on its way in.
type Progress struct {
	From  ring.NodeID
	Phase string // "log", "comparing", "rows", "promoting"
	Done  int64  // rows, or groups of the log
	Total int64  // 0 when nobody knows yet
}
