package server

import (
	"math"
	"slices"
	"time"

	"github.com/cartwheel-db/cartwheel/replica"
	cartwheelv1 "github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1"
)

// maxStale turns what a client asks for into the engine's nanoseconds, 0 for
// any. Longer than this program can count is any too.
func maxStale(ms uint64) (int64, *problem) {
	const limit = math.MaxInt64 / int64(time.Millisecond)
	if ms > uint64(limit) {
		return 0, invalidOption(uint64(limit), ms, "max_staleness_ms is %d, limit %d", ms, limit)
	}
	return int64(ms) * int64(time.Millisecond), nil
}

// millis rounds a bound up: down would promise more than is known.
func millis(nanos int64) uint64 {
	const ms = uint64(time.Millisecond)
	return (uint64(max(0, nanos)) + ms - 1) / ms
}

// bound is nil where nobody knows.
func bound(nanos int64) *uint64 {
	if nanos == replica.Unknown {
		return nil
	}
	ms := millis(nanos)
	return &ms
}

func staleness(s replica.Staleness) *cartwheelv1.Staleness {
	return &cartwheelv1.Staleness{BoundMs: bound(s.Bound), ReachableBoundMs: bound(s.Reachable), Unreachable: texts(s.Missing)}
}

// worse is the staleness of two answers, or of two partitions, together.
func worse(a, b replica.Staleness) replica.Staleness {
	missing := slices.Concat(a.Missing, b.Missing)
	slices.Sort(missing)
	return replica.Staleness{
		Bound: longer(a.Bound, b.Bound), Reachable: longer(a.Reachable, b.Reachable), Missing: slices.Compact(missing),
	}
}

// longer is the longer of two times, and what nobody knows is the longest.
func longer(a, b int64) int64 {
	if a == replica.Unknown || b == replica.Unknown {
		return replica.Unknown
	}
	return max(a, b)
}
