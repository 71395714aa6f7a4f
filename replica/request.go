package replica

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"

	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/ring"
)

// Now is the time an input arrives at.
type Now struct {
	Mono int64 // nanoseconds of a clock that never goes back, from any start
	Wall int64 // milliseconds since the Unix epoch, by the node's own clock
}

// Request is what a client asks of a node: a mutation or a query.
type Request struct {
	ID       uint64 // of the driver; returned with the reply
	Deadline int64  // [Now.Mono] at which the client gives up
	Mutation *Mutation
	W        int // durable acknowledgements needed; 0 for the default
	Query    *Query
	R        int        // answers needed; 0 for the default
	MaxStale int64      // of a query: nanoseconds that the answer's staleness bound may reach at most; 0 for any
	Session  *dvv.Clock // of a query: the answer must cover it; of a mutation see [Mutation]
}

// Result is what a client is told.
type Result struct {
	Failure *Failure // nil on success

	// Of a query, or of what a mutation had to read before it.
	// Fewer than R owners answered, so what only absent ones know was not seen; or a
	// retry was recognised, and nobody knows how many had answered at the first try.
	Degraded bool

	Answers int // of a query: replicas whose rows were joined; of a mutation: replicas that hold it durably

	// Of a query.
	Merged    *Merged
	Staleness Staleness

	// Of a mutation.
	Wrote       bool      // false when there was nothing to change
	Context     dvv.Clock // the dots that were minted with a payload, and those that removes killed
	Minted      dvv.Clock // the dots of all its events: a state that covers them shows what was written
	Answer      int64     // the counter's value after an increment, before a reset
	Coordinator ring.NodeID
}

// Reason tells failures apart.
type Reason uint8

// The reasons.
const (
	Internal     Reason = 1 + iota // the store failed; the text says how
	Invalid                        // the request makes no sense
	NoQuorum                       // too few replicas answered
	DeadlinePast                   // the deadline was over before anything was done
	Overloaded                     // a queue is full; nothing was done
	OpExpired                      // the operation id is too old to tell whether it was applied
	OpReused                       // the operation id stands for another mutation
	Overflow                       // the counter would leave int64
	TooStale                       // no replica that can be reached satisfies the staleness that was asked for
	SessionUnmet                   // no state that can be reached covers what the session has seen
	reasonEnd
)

var reasonNames = [...]string{
	Internal: "internal", Invalid: "invalid", NoQuorum: "no quorum", DeadlinePast: "deadline past",
	Overloaded: "overloaded", OpExpired: "operation expired", OpReused: "operation id reused", Overflow: "overflow",
	TooStale: "too stale", SessionUnmet: "session unmet",
}

func (r Reason) String() string {
	if r > 0 && r < reasonEnd {
		return reasonNames[r]
	}
	return fmt.Sprintf("reason(%d)", uint8(r))
}

// Valid tells whether r is one of the reasons.
func (r Reason) Valid() bool { return r > 0 && r < reasonEnd }

// Failure is why a request failed, in a form that travels between nodes. Text
// names the operation, the key and the numbers.
type Failure struct {
	Reason  Reason
	Needed  int
	Got     int
	Unknown bool // the mutation may have been applied, or may be yet
	Text    string
}

func (f *Failure) Error() string { return f.Text }

// Fingerprint sums up what a mutation asks for, so that a retry can be told
// from an operation id used twice. The context is left out: a client may read
// again between two tries.
func (m *Mutation) Fingerprint() uint64 {
	h := fnv.New64a()
	b := m.Key.Row().AppendBinary(nil)
	b = append(b, byte(m.Verb))
	b = binary.BigEndian.AppendUint64(b, uint64(m.Delta))
	b = binary.BigEndian.AppendUint64(b, uint64(len(m.Value)))
	_, _ = h.Write(b)
	_, _ = h.Write(m.Value)
	if m.Expires != 0 {
		_, _ = h.Write(binary.BigEndian.AppendUint64(b[:0], uint64(m.Expires)))
	}
	if m.Verb == Delete {
		return h.Sum64() // its changes are what its context shows
	}
	for _, c := range m.Changes {
		b = binary.BigEndian.AppendUint64(b[:0], uint64(len(c.Member)))
		b = append(b, c.Member...)
		b = binary.BigEndian.AppendUint64(b, uint64(len(c.Note)))
		b = append(b, c.Note...)
		b = binary.BigEndian.AppendUint64(b, uint64(c.Expires))
		if c.Remove {
			b = append(b, 1)
		}
		if c.Delta != 0 {
			b = binary.BigEndian.AppendUint64(b, uint64(c.Delta))
		}
		_, _ = h.Write(b)
	}
	return h.Sum64()
}

// String names the mutation for messages: "add set carts/42".
func (m *Mutation) String() string { return fmt.Sprintf("%v %v", m.Verb, m.Key) }

func (q Query) String() string { return fmt.Sprintf("read %v", q.Key) }

// bytes estimates the size of a mutation's events.
func (m *Mutation) bytes() int {
	n := len(m.Value) + 64
	for _, c := range m.Changes {
		n += len(c.Member) + len(c.Note) + len(c.Shown) + 32
	}
	return n
}
