package cartwheel

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"connectrpc.com/connect"

	cartwheelv1 "github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1"
)

// ErrUnknownOutcome is what errors.Is finds in the error of a mutation that may
// have taken effect, or may yet. Call again under Error.OperationID to find
// out: see Operation.
var ErrUnknownOutcome = errors.New("outcome unknown")

// ErrSiblings is what errors.Is finds when Blob.Update stored its value but
// ended before its siblings were resolved. Nothing is lost: the next Update
// meets them.
var ErrSiblings = errors.New("stored, with siblings left")

// Reason says why an operation failed. Reasons are errors, for errors.Is:
//
//	if errors.Is(err, cartwheel.QuorumNotReached) { ... }
type Reason string

// Reasons a node gives.
const (
	InvalidName      Reason = "invalid name"           // bucket, key or member empty or not UTF-8
	TooLarge         Reason = "too large"              // see Limit and Actual
	ContextForged    Reason = "context forged"         // not made by this cluster
	ContextForeign   Reason = "context foreign"        // of another type, bucket or key
	ContextMalformed Reason = "context malformed"      // not a whole token
	CursorInvalid    Reason = "cursor invalid"         // not from this listing
	CounterOverflow  Reason = "counter overflow"       // the sum would leave int64
	QuorumNotReached Reason = "quorum not reached"     // see Needed and Answered
	OperationExpired Reason = "operation expired"      // too old for anyone to know its outcome
	OperationReused  Reason = "operation id reused"    // the id names another operation
	OperationInvalid Reason = "operation id malformed" // or issued in the future
	InvalidOption    Reason = "invalid option"         // such as W(4) where N is 3
	Overloaded       Reason = "overloaded"             // queues were full until the deadline
	DeadlinePast     Reason = "deadline past"          // the time was up
	NotReady         Reason = "not ready"              // nodes were starting or stopping
	Damaged          Reason = "damaged"                // a checksum failed on every replica
	TooStale         Reason = "too stale"              // no replica is as fresh as MaxStaleness asks; see Staleness
	SessionUnmet     Reason = "session unmet"          // no state that was reached covers the session; see Staleness
	SessionInvalid   Reason = "session invalid"        // not a session of this value and cluster
	PlanStale        Reason = "plan stale"             // the ring is not the one that was planned for
	PlanRisky        Reason = "plan risky"             // the plan has risks: see them, and Force
)

// Reasons the client finds by itself.
const (
	Unreachable Reason = "unreachable" // no endpoint answered
	Canceled    Reason = "canceled"    // the caller's context was canceled
	Refused     Reason = "refused"     // something on the way refused; see Err
)

func (r Reason) Error() string { return "cartwheel: " + string(r) }

var reasons = map[cartwheelv1.ErrorDetail_Reason]Reason{
	cartwheelv1.ErrorDetail_REASON_INVALID_NAME:       InvalidName,
	cartwheelv1.ErrorDetail_REASON_TOO_LARGE:          TooLarge,
	cartwheelv1.ErrorDetail_REASON_CONTEXT_FORGED:     ContextForged,
	cartwheelv1.ErrorDetail_REASON_CONTEXT_FOREIGN:    ContextForeign,
	cartwheelv1.ErrorDetail_REASON_CONTEXT_MALFORMED:  ContextMalformed,
	cartwheelv1.ErrorDetail_REASON_CURSOR_INVALID:     CursorInvalid,
	cartwheelv1.ErrorDetail_REASON_COUNTER_OVERFLOW:   CounterOverflow,
	cartwheelv1.ErrorDetail_REASON_QUORUM_NOT_REACHED: QuorumNotReached,
	cartwheelv1.ErrorDetail_REASON_OPERATION_EXPIRED:  OperationExpired,
	cartwheelv1.ErrorDetail_REASON_OPERATION_REUSED:   OperationReused,
	cartwheelv1.ErrorDetail_REASON_OPERATION_INVALID:  OperationInvalid,
	cartwheelv1.ErrorDetail_REASON_INVALID_OPTION:     InvalidOption,
	cartwheelv1.ErrorDetail_REASON_OVERLOADED:         Overloaded,
	cartwheelv1.ErrorDetail_REASON_DEADLINE_PAST:      DeadlinePast,
	cartwheelv1.ErrorDetail_REASON_NOT_READY:          NotReady,
	cartwheelv1.ErrorDetail_REASON_DAMAGED:            Damaged,
	cartwheelv1.ErrorDetail_REASON_TOO_STALE:          TooStale,
	cartwheelv1.ErrorDetail_REASON_SESSION_UNMET:      SessionUnmet,
	cartwheelv1.ErrorDetail_REASON_SESSION_INVALID:    SessionInvalid,
	cartwheelv1.ErrorDetail_REASON_PLAN_STALE:         PlanStale,
	cartwheelv1.ErrorDetail_REASON_PLAN_RISKY:         PlanRisky,
}

// Error is every error of an operation. Unless OutcomeUnknown is set, a failed
// mutation changed nothing.
type Error struct {
	Op             string // "set.add"; "open" of Open
	Bucket, Key    string
	Reason         Reason
	OutcomeUnknown bool       // a mutation that may have taken effect
	OperationID    string     // of a mutation
	Needed         int        // QuorumNotReached: replicas asked for
	Answered       int        // QuorumNotReached: replicas that answered
	Limit, Actual  uint64     // TooLarge, InvalidOption, SessionInvalid: the bound, and what was given; TooStale: milliseconds asked for, and the best
	Staleness      *Staleness // TooStale, SessionUnmet: the best there is, if a node told
	Attempts       int        // how often it was tried
	Endpoint       string     // where it was tried last
	Err            error      // the last telling error of an attempt, and that of the context if it ended
}

// Error names operation, key and numbers: "set.add carts/42: quorum not
// reached, needed 2, got 1; outcome unknown, tried 3 times".
func (e *Error) Error() string {
	var b strings.Builder
	where := e.Op
	if e.Bucket != "" || e.Key != "" {
		where += " " + clip(e.Bucket, maxBucket) + "/" + clip(e.Key, maxKey)
	}
	b.WriteString("cartwheel: " + where + ": " + string(e.Reason))
	if e.Needed > 0 {
		fmt.Fprintf(&b, ", needed %d, got %d", e.Needed, e.Answered)
	}
	switch {
	case e.Reason == TooStale:
		fmt.Fprintf(&b, ", asked for at most %v", time.Duration(e.Limit)*time.Millisecond)
	case e.Limit > 0 && e.Actual > e.Limit: // else it is no upper bound, and the node's words say what it is
		fmt.Fprintf(&b, ", limit %d, got %d", e.Limit, e.Actual)
	}
	if e.Staleness != nil {
		fmt.Fprintf(&b, ", the best is %v", *e.Staleness)
	}
	if e.OutcomeUnknown {
		b.WriteString("; outcome unknown")
	}
	if e.Attempts > 1 {
		fmt.Fprintf(&b, "; tried %d times", e.Attempts)
	}
	if e.Err != nil {
		b.WriteString(": " + words(e.Err, where))
	}
	return b.String()
}

// words are those of an error without what a node repeats: its code, which the
// reason says better, and where it was.
func words(err error, where string) string {
	text := err.Error()
	var failed *connect.Error
	if !errors.As(err, &failed) || detailOf(failed) == nil {
		return text
	}
	return strings.Replace(text, failed.Error(), strings.TrimPrefix(failed.Message(), where+": "), 1)
}

// Names that are too long are cut, as nodes do.
const (
	maxBucket = 64
	maxKey    = 1 << 10
)

func clip(name string, limit int) string {
	if len(name) <= limit {
		return name
	}
	return strings.ToValidUTF8(name[:min(limit, 64)], "") + "…"
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// Is matches ErrUnknownOutcome and the Reason.
func (e *Error) Is(target error) bool {
	if target == ErrUnknownOutcome {
		return e.OutcomeUnknown
	}
	reason, ok := target.(Reason)
	return ok && reason == e.Reason
}

// newError sums up a call that is over. The reason a node gave says more than
// the deadline that ended the waiting, so it is preferred; ended is the error of
// the context, nil if it was not that.
func newError(c *call, ended error) *Error {
	e := &Error{
		Op: c.op, Bucket: c.bucket, Key: c.key, OperationID: c.operationID,
		OutcomeUnknown: c.unknown && c.operationID != "",
		Attempts:       c.attempts, Err: c.last,
	}
	if c.endpoint != nil {
		e.Endpoint = c.endpoint.url
	}
	switch {
	case c.last == nil:
		e.Err = ended
	case ended != nil && !errors.Is(c.last, ended):
		e.Err = fmt.Errorf("%w; last attempt: %w", ended, c.last)
	}
	if detail := c.told; detail != nil {
		// Refused, if the reason is newer than this client.
		e.Reason = cmp.Or(reasons[detail.GetReason()], Refused)
		e.Needed, e.Answered = int(detail.GetNeeded()), int(detail.GetAnswered())
		e.Limit, e.Actual = detail.GetLimit(), detail.GetActual()
		if detail.GetStaleness() != nil {
			best := staleness(detail.GetStaleness())
			e.Staleness = &best
		}
	}
	switch {
	case errors.Is(ended, context.Canceled):
		e.Reason = Canceled
	case e.Reason != "":
	case c.last == nil || connect.CodeOf(c.last) == connect.CodeDeadlineExceeded:
		e.Reason = DeadlinePast
	case judge(c.last).retry:
		e.Reason = Unreachable
	case connect.CodeOf(c.last) == connect.CodeResourceExhausted:
		e.Reason = TooLarge
	default:
		e.Reason = Refused
	}
	return e
}
