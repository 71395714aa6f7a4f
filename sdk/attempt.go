package cartwheel

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"time"

	"connectrpc.com/connect"

	cartwheelv1 "github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1"
)

// call is one operation on its way through its attempts.
type call struct {
	op          string // "set.add"
	bucket, key string
	operationID string // of a mutation; empty for a read
	routable    bool   // an owner of the key may be asked

	attempts int
	endpoint *endpoint                // of the last attempt
	unknown  bool                     // some attempt may have taken effect
	told     *cartwheelv1.ErrorDetail // the last reason a node gave
	last     error                    // of the last attempt that was not met with silence, if any
}

// run carries a call through attempts until one is answered for good or the
// deadline passes. Whatever attempt does with a reply, it does once.
func (db *DB) run(ctx context.Context, c *call, attempt func(context.Context, *endpoint) error) error {
	ctx, cancel := db.inTime(ctx)
	defer cancel()
	db.stats.operations.Add(1)
	from := db.endpoints.first()
	var room [6]*endpoint
	order := db.router.route(room[:0], c)
	routed := len(order)
	var hopeless *cartwheelv1.ErrorDetail
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		stay := time.Duration(0)
		for i, e := range db.endpoints.round(order, from) {
			if ctx.Err() != nil {
				return db.giveUp(c, ctx.Err())
			}
			if db.config.attempts != 1 && !db.throttle.allow(time.Now()) {
				c.told = &cartwheelv1.ErrorDetail{Reason: cartwheelv1.ErrorDetail_REASON_OVERLOADED, Operation: c.op}
				db.stats.held.Add(1)
				break
			}
			err := db.try(ctx, c, e, attempt)
			if err == nil {
				db.endpoints.answered(e, i < routed)
				db.throttle.note(time.Now(), true)
				return nil
			}
			v := judge(err)
			if v.detail != nil {
				db.throttle.note(time.Now(), !v.overloaded)
			}
			if c.unknown = c.unknown || v.unknown; v.detail != nil {
				c.told = v.detail
			}
			if v.hopeless {
				hopeless = v.detail
			}
			// Silence explains less than any word heard before it.
			silent := v.detail == nil && connect.CodeOf(err) == connect.CodeDeadlineExceeded
			if c.last == nil || !silent {
				c.last = err
			}
			// The caller's own deadline or cancellation is nobody's fault.
			if v.blame && ctx.Err() == nil {
				db.endpoints.failed(e)
				db.router.failed(e)
			}
			if !v.retry {
				c.told = v.detail
				return db.giveUp(c, nil)
			}
			if c.attempts == db.config.attempts {
				return db.giveUp(c, nil)
			}
			if v.overloaded {
				// The others have as much to do: to ask them at once makes it worse.
				from, stay = e.position+1, v.stay
				break
			}
		}
		order, routed = room[:0], 0 // whoever owns it was asked
		if hopeless != nil {
			c.told = hopeless
			return db.giveUp(c, nil)
		}
		// Half the pause is fixed and half is dice, so that clients that failed
		// together do not come back together.
		wait := max(pause/2+rand.N(pause/2), stay+rand.N(stay/4+1))
		if deadline, _ := ctx.Deadline(); stay > 0 && time.Until(deadline) < wait {
			return db.giveUp(c, nil) // nobody will listen before it is too late
		}
		if !sleep(ctx, wait) {
			return db.giveUp(c, ctx.Err())
		}
	}
}

// inTime gives a call without a deadline that of the client.
func (db *DB) inTime(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, has := ctx.Deadline(); has {
		return ctx, func() {}
	}
	b := bound(ctx, time.Now().Add(db.config.timeout))
	return b, b.release
}

const (
	firstPause = 10 * time.Millisecond
	lastPause  = 500 * time.Millisecond

	longestStay = 2 * time.Second // however long a node wants to be left alone
)

func (db *DB) try(ctx context.Context, c *call, e *endpoint, attempt func(context.Context, *endpoint) error) error {
	db.stats.attempts.Add(1)
	if c.attempts++; c.attempts > 1 {
		db.stats.retries.Add(1)
		if c.attempts == 2 {
			db.stats.retried.Add(1)
		}
		if e != c.endpoint {
			db.stats.failovers.Add(1)
		}
	}
	c.endpoint = e
	began := time.Now()
	limited := bound(ctx, began.Add(db.config.attemptTimeout))
	defer limited.release()
	err := attempt(limited, e)
	if db.config.observe != nil {
		db.config.observe(Attempt{Op: c.op, OperationID: c.operationID, Number: c.attempts, Endpoint: e.url, Took: time.Since(began), Err: err})
	}
	return err
}

func (db *DB) giveUp(c *call, ended error) error {
	db.stats.failures.Add(1)
	err := newError(c, ended)
	if err.OutcomeUnknown {
		db.stats.unknown.Add(1)
	}
	return err
}

// verdict is what a failed attempt means.
type verdict struct {
	detail   *cartwheelv1.ErrorDetail // what the node said, if it said anything
	retry    bool                     // another attempt may fare better
	hopeless bool                     // and not once everybody was asked
	unknown  bool                     // a mutation may have taken effect
	blame    bool                     // leave this endpoint alone for a while

	overloaded bool          // refused for having too much to do already
	stay       time.Duration // away from the node, as it asked
}

// judge tells three cases apart: a node that explained itself is believed; a
// code without an explanation came from a proxy or from the HTTP layer of a
// node; anything else is the connection, and then only a failed dial proves
// that nothing was sent.
func judge(err error) verdict {
	if detail := detailOf(err); detail != nil {
		v := verdict{detail: detail, unknown: detail.GetOutcomeUnknown()}
		switch detail.GetReason() {
		case cartwheelv1.ErrorDetail_REASON_NOT_READY:
			v.retry, v.blame = true, true
		case cartwheelv1.ErrorDetail_REASON_TOO_STALE:
			// Another node may hear from more members. Waiting makes it worse.
			v.retry, v.hopeless = true, true
		case cartwheelv1.ErrorDetail_REASON_OVERLOADED:
			v.retry, v.overloaded, v.stay = true, true, pushback(err)
		case cartwheelv1.ErrorDetail_REASON_QUORUM_NOT_REACHED,
			cartwheelv1.ErrorDetail_REASON_SESSION_UNMET,
			cartwheelv1.ErrorDetail_REASON_DEADLINE_PAST:
			v.retry = true
		case cartwheelv1.ErrorDetail_REASON_OPERATION_EXPIRED:
			v.unknown = true
		default:
		}
		return v
	}
	var dial *net.OpError
	sent := !errors.As(err, &dial) || dial.Op != "dial"
	switch connect.CodeOf(err) {
	case connect.CodeUnavailable, connect.CodeDeadlineExceeded, connect.CodeCanceled, connect.CodeAborted:
		return verdict{retry: true, unknown: sent, blame: true}
	case connect.CodeUnknown, connect.CodeInternal, connect.CodeDataLoss:
		// From the wire it is a node that tripped over this very request.
		broken := !connect.IsWireError(err)
		return verdict{retry: broken, unknown: sent, blame: broken}
	default:
		// Refused before it reached a service: malformed, too large, not allowed.
		return verdict{}
	}
}

// pushbackHeader is gRPC's.
const pushbackHeader = "Grpc-Retry-Pushback-Ms"

// pushback is how long a node wants to be left alone.
func pushback(err error) time.Duration {
	var failed *connect.Error
	if !errors.As(err, &failed) {
		return 0
	}
	ms, err := strconv.ParseUint(failed.Meta().Get(pushbackHeader), 10, 16)
	if err != nil {
		return 0
	}
	return min(time.Duration(ms)*time.Millisecond, longestStay)
}

func detailOf(err error) *cartwheelv1.ErrorDetail {
	var failed *connect.Error
	if !errors.As(err, &failed) {
		return nil
	}
	for _, attached := range failed.Details() {
		if value, err := attached.Value(); err == nil {
			if detail, ok := value.(*cartwheelv1.ErrorDetail); ok {
				return detail
			}
		}
	}
	return nil
}

// sleep reports whether it slept to the end.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
