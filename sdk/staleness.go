package cartwheel

import (
	"fmt"
	"strings"
	"time"

	cartwheelv1 "github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1"
)

// Staleness bounds how far behind an answer may be: of everything that any node
// held durably this long ago it misses nothing. The nodes measure it, each by
// its own clock.
type Staleness struct {
	Bound       time.Duration // over all nodes, or UnknownStaleness; it grows while one cannot be reached
	Reachable   time.Duration // over the nodes that could be reached
	Unreachable []string      // ids of those that could not
}

// UnknownStaleness is a bound that nobody can tell: some node was never heard
// of, or the answer was not that of a read.
const UnknownStaleness = time.Duration(-1)

// Known tells whether there is a bound over all nodes.
func (s Staleness) Known() bool { return s.Bound != UnknownStaleness }

// String reads "at most 5.2s behind (1s but for n2, which cannot be reached)".
func (s Staleness) String() string {
	text := "unknown"
	if s.Known() {
		text = fmt.Sprintf("at most %v behind", s.Bound)
	}
	if len(s.Unreachable) == 0 {
		return text
	}
	away := strings.Join(s.Unreachable, ", ") + ", which cannot be reached"
	if s.Reachable == UnknownStaleness {
		return text + " (but for " + away + ")"
	}
	return fmt.Sprintf("%s (%v but for %s)", text, s.Reachable, away)
}

func staleness(s *cartwheelv1.Staleness) Staleness {
	if s == nil {
		s = &cartwheelv1.Staleness{}
	}
	return Staleness{Bound: milliseconds(s.BoundMs), Reachable: milliseconds(s.ReachableBoundMs), Unreachable: s.GetUnreachable()}
}

// milliseconds is a duration of the wire, where nil is one nobody knows.
func milliseconds(ms *uint64) time.Duration {
	const most = uint64(1<<63-1) / uint64(time.Millisecond)
	if ms == nil {
		return UnknownStaleness
	}
	return time.Duration(min(*ms, most)) * time.Millisecond
}

// MaxStaleness makes reads be answered by replicas that are at most this far
// behind, and fail with TooStale where none is. Rounded down to milliseconds, 1
// at least; 0 is however far.
func MaxStaleness(d time.Duration) CallOption {
	return func(s *settings) {
		if s.maxStaleness = 0; d != 0 {
			s.maxStaleness = uint64(max(1, d.Milliseconds()))
		}
	}
}
