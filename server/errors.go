package server

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"connectrpc.com/connect"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/replica"
	cartwheelv1 "github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1"
)

// codes is the Connect code of each reason, as the contract names it. A client
// goes by the reason; the code is for proxies, curl and dashboards.
var codes = map[cartwheelv1.ErrorDetail_Reason]connect.Code{
	cartwheelv1.ErrorDetail_REASON_INVALID_NAME:       connect.CodeInvalidArgument,
	cartwheelv1.ErrorDetail_REASON_TOO_LARGE:          connect.CodeInvalidArgument,
	cartwheelv1.ErrorDetail_REASON_CONTEXT_FORGED:     connect.CodeInvalidArgument,
	cartwheelv1.ErrorDetail_REASON_CONTEXT_FOREIGN:    connect.CodeInvalidArgument,
	cartwheelv1.ErrorDetail_REASON_CONTEXT_MALFORMED:  connect.CodeInvalidArgument,
	cartwheelv1.ErrorDetail_REASON_CURSOR_INVALID:     connect.CodeInvalidArgument,
	cartwheelv1.ErrorDetail_REASON_COUNTER_OVERFLOW:   connect.CodeOutOfRange,
	cartwheelv1.ErrorDetail_REASON_QUORUM_NOT_REACHED: connect.CodeUnavailable,
	cartwheelv1.ErrorDetail_REASON_OPERATION_EXPIRED:  connect.CodeFailedPrecondition,
	cartwheelv1.ErrorDetail_REASON_OPERATION_REUSED:   connect.CodeFailedPrecondition,
	cartwheelv1.ErrorDetail_REASON_OPERATION_INVALID:  connect.CodeInvalidArgument,
	cartwheelv1.ErrorDetail_REASON_INVALID_OPTION:     connect.CodeInvalidArgument,
	cartwheelv1.ErrorDetail_REASON_OVERLOADED:         connect.CodeResourceExhausted,
	cartwheelv1.ErrorDetail_REASON_DEADLINE_PAST:      connect.CodeDeadlineExceeded,
	cartwheelv1.ErrorDetail_REASON_NOT_READY:          connect.CodeUnavailable,
	cartwheelv1.ErrorDetail_REASON_DAMAGED:            connect.CodeDataLoss,
	// Asking again as it is helps nobody while the same members are away …
	cartwheelv1.ErrorDetail_REASON_TOO_STALE: connect.CodeFailedPrecondition,
	// … and what a session has seen is on its way to the replicas.
	cartwheelv1.ErrorDetail_REASON_SESSION_UNMET:   connect.CodeUnavailable,
	cartwheelv1.ErrorDetail_REASON_SESSION_INVALID: connect.CodeInvalidArgument,
	cartwheelv1.ErrorDetail_REASON_PLAN_STALE:      connect.CodeFailedPrecondition,
	cartwheelv1.ErrorDetail_REASON_PLAN_RISKY:      connect.CodeFailedPrecondition,
}

// problem is why a call fails, before it is put into the form of the wire.
type problem struct {
	reason           cartwheelv1.ErrorDetail_Reason
	limit, actual    uint64
	needed, answered int
	unknown          bool // the mutation may have been applied, or may be yet
	staleness        *cartwheelv1.Staleness
	canceled         bool // the caller went away
	text             string
}

func invalidOption(limit, actual uint64, format string, args ...any) *problem {
	return &problem{reason: cartwheelv1.ErrorDetail_REASON_INVALID_OPTION, limit: limit, actual: actual, text: fmt.Sprintf(format, args...)}
}

func tooLarge(limit, actual int, format string, args ...any) *problem {
	return &problem{reason: cartwheelv1.ErrorDetail_REASON_TOO_LARGE, limit: uint64(limit), actual: uint64(actual), text: fmt.Sprintf(format, args...)}
}

// error returns the problem of a call as a Connect error. Every error that a
// handler answers on purpose is made here, and carries an ErrorDetail.
func (c *call) error(p *problem) error {
	code, known := codes[p.reason]
	switch {
	case p.canceled:
		code = connect.CodeCanceled
	case !known:
		code = connect.CodeInternal
	}
	bucket, key := shown(c.key.Bucket, crdt.MaxBucket), shown(c.key.Name, crdt.MaxKey)
	where := c.op
	if bucket != "" || key != "" {
		where += " " + bucket + "/" + key
	}
	failed := connect.NewError(code, errors.New(where+": "+p.text))
	detail, err := connect.NewErrorDetail(&cartwheelv1.ErrorDetail{
		Reason: p.reason, Operation: c.op, Bucket: bucket, Key: key,
		Needed: uint32(p.needed), Answered: uint32(p.answered), OutcomeUnknown: p.unknown,
		Limit: p.limit, Actual: p.actual, Staleness: p.staleness,
	})
	if err == nil {
		failed.AddDetail(detail)
	}
	return failed
}

// shown cuts a name that is too long to be given back: errors travel in headers.
func shown(name string, limit int) string {
	if len(name) <= limit {
		return name
	}
	return strings.ToValidUTF8(name[:min(limit, 64)], "") + "…"
}

// in says which of the n things of a call the problem has: "member 2 of 3, "milk"".
// i counts from 0.
func (p *problem) in(what string, i, n int, name string) *problem {
	which := fmt.Sprintf("%s %d of %d", what, i+1, n)
	if name != "" {
		which += ", " + clipped(name)
	}
	p.text = which + ": " + p.text
	return p
}

// clipped quotes as much of a name as it takes to know it again.
func clipped(name string) string {
	return strconv.Quote(shown(name, 32))
}

// failure says what the engine's word means to a client.
//
// Internal is the store of a node that cannot be read or written, so it reads
// NOT_READY: another node may do better. Of invalid requests the handlers leave
// only a context of more unseen dots than one event may name. An operation id
// is refused as expired without being unknown only when it comes from the
// future.
func failure(ctx context.Context, r *replica.Request, res *replica.Result) *problem {
	f := res.Failure
	p := &problem{needed: f.Needed, answered: f.Got, unknown: f.Unknown, text: f.Text}
	switch f.Reason {
	case replica.Invalid:
		p.reason = cartwheelv1.ErrorDetail_REASON_TOO_LARGE
	case replica.NoQuorum:
		p.reason = cartwheelv1.ErrorDetail_REASON_QUORUM_NOT_REACHED
	case replica.DeadlinePast:
		p.reason = cartwheelv1.ErrorDetail_REASON_DEADLINE_PAST
	case replica.Overloaded:
		p.reason = cartwheelv1.ErrorDetail_REASON_OVERLOADED
	case replica.OpExpired:
		p.reason = cartwheelv1.ErrorDetail_REASON_OPERATION_EXPIRED
		if !f.Unknown {
			p.reason = cartwheelv1.ErrorDetail_REASON_OPERATION_INVALID
		}
	case replica.OpReused:
		p.reason = cartwheelv1.ErrorDetail_REASON_OPERATION_REUSED
	case replica.Overflow:
		p.reason = cartwheelv1.ErrorDetail_REASON_COUNTER_OVERFLOW
	case replica.TooStale:
		p.reason, p.staleness = cartwheelv1.ErrorDetail_REASON_TOO_STALE, staleness(res.Staleness)
		p.limit, p.actual = millis(r.MaxStale), p.staleness.GetBoundMs()
	case replica.SessionUnmet:
		p.reason = cartwheelv1.ErrorDetail_REASON_SESSION_UNMET
		if r.Query != nil { // a mutation was read for by its coordinator, who says why in words
			p.staleness = staleness(res.Staleness)
		}
	default:
		p.reason = cartwheelv1.ErrorDetail_REASON_NOT_READY
	}
	p.canceled = errors.Is(ctx.Err(), context.Canceled)
	return p
}

// overdue tells that a call had no time left, or no caller, before anything was
// done.
func overdue(cause error) *problem {
	p := &problem{canceled: errors.Is(cause, context.Canceled), text: "canceled by the caller; nothing was done"}
	if !p.canceled {
		p.reason, p.text = cartwheelv1.ErrorDetail_REASON_DEADLINE_PAST, "the deadline was past on arrival, 0 ms were left; nothing was done"
	}
	return p
}

// damaged is a payload that cannot be read, though it was written by a node.
func damaged(err error) *problem {
	return &problem{reason: cartwheelv1.ErrorDetail_REASON_DAMAGED, text: err.Error()}
}

// badName says why a name was refused.
func badName(err error) *problem {
	p := &problem{reason: cartwheelv1.ErrorDetail_REASON_INVALID_NAME, text: err.Error()}
	var name *crdt.NameError
	if errors.As(err, &name) {
		p.limit, p.actual = uint64(name.Limit), uint64(name.Size)
		if name.Size > name.Limit {
			p.reason = cartwheelv1.ErrorDetail_REASON_TOO_LARGE
		}
	}
	return p
}
