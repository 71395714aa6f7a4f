package cartwheel

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"time"

	"connectrpc.com/connect"

	cartwheelv1 "github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1"
)

// call is one operation on its way through its attempts.
type call struct {
	op          string // "set.add"
	bucket, key string
	operationID string // of a mutation; empty for a read

	attempts int
	endpoint *endpoint                // of the last attempt
	unknown  bool                     // some attempt may have taken effect
	told     *cartwheelv1.ErrorDetail // the last reason a node gave
	last     error                    // of the last attempt that was not met with silence, if any
}

// run carries a call through attempts until one is answered for good or the
// deadline passes. Whatever attempt does with a reply, it does once.
func (db *DB) run(ctx context.Context, c *call, attempt func(context.Context, *endpoint) error) error {
	if _, has := ctx.Deadline(); !has {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, db.config.timeout)
		defer cancel()
	}
	db.stats.operations.Add(1)
	from := db.endpoints.first()
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		for _, e := range db.endpoints.round(from) {
			if ctx.Err() != nil {
				return db.giveUp(c, ctx.Err())
			}
			err := db.try(ctx, c, e, attempt)
			if err == nil {
				return nil
			}
			v := judge(err)
			if c.unknown = c.unknown || v.unknown; v.detail != nil {
				c.told = v.detail
			}
			// Silence explains less than any word heard before it.
			silent := v.detail == nil && connect.CodeOf(err) == connect.CodeDeadlineExceeded
			if c.last == nil || !silent {
				c.last = err
			}
			// The caller's own deadline or cancellation is nobody's fault.
			if v.blame && ctx.Err() == nil {
				db.endpoints.failed(e)
			}
			if !v.retry {
				c.told = v.detail
				return db.giveUp(c, nil)
			}
		}
		// Everybody was asked once. Half the pause is fixed and half is dice, so
		// that clients that failed together do not come back together.
		if !sleep(ctx, pause/2+rand.N(pause/2)) {
			return db.giveUp(c, ctx.Err())
		}
	}
}

const (
	firstPause = 10 * time.Millisecond
	lastPause  = 500 * time.Millisecond
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
	limited, cancel := context.WithTimeout(ctx, db.config.attemptTimeout)
	defer cancel()
	began := time.Now()
	err := attempt(limited, e)
	if db.config.observe != nil {
		db.config.observe(Attempt{Op: c.op, OperationID: c.operationID, Number: c.attempts, Endpoint: e.url, Took: time.Since(began), Err: err})
	}
	if err == nil {
		db.endpoints.answered(e)
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
	detail  *cartwheelv1.ErrorDetail // what the node said, if it said anything
	retry   bool                     // another attempt may fare better
	unknown bool                     // a mutation may have taken effect
	blame   bool                     // leave this endpoint alone for a while
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
		case cartwheelv1.ErrorDetail_REASON_QUORUM_NOT_REACHED,
			cartwheelv1.ErrorDetail_REASON_OVERLOADED,
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
