package cartwheel

import (
	"sync/atomic"
	"time"
)

// Attempt is one try of one operation at one endpoint.
type Attempt struct {
	Op          string // "set.add"
	OperationID string // of a mutation
	Number      int    // 1 for the first
	Endpoint    string
	Took        time.Duration
	Err         error // nil when it was answered
}

// Stats counts what this client has done since Open.
type Stats struct {
	Operations        uint64 // calls begun, asking for the time included
	Attempts          uint64 // requests sent for them
	Retries           uint64 // attempts beyond the first of their operation
	RetriedOperations uint64 // operations that took more than one attempt
	Failovers         uint64 // retries at another endpoint than the attempt before
	Failures          uint64 // operations that ended with an error
	UnknownOutcomes   uint64 // failures of which nobody knows the outcome
	HeldBack          uint64 // attempts not made, because the cluster refused too many for overload
}

type counters struct {
	operations, attempts, retries, retried, failovers, failures, unknown, held atomic.Uint64
}

// Stats returns the counts so far. Each is exact; together they are not one
// instant's.
func (db *DB) Stats() Stats {
	return Stats{
		Operations:        db.stats.operations.Load(),
		Attempts:          db.stats.attempts.Load(),
		Retries:           db.stats.retries.Load(),
		RetriedOperations: db.stats.retried.Load(),
		Failovers:         db.stats.failovers.Load(),
		Failures:          db.stats.failures.Load(),
		UnknownOutcomes:   db.stats.unknown.Load(),
		HeldBack:          db.stats.held.Load(),
	}
}
