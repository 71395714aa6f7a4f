package server

import (
	"context"
	"errors"
	"time"

	cartwheelv1 "github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1"
)

// pipelined is one call under way, and its context: one that is cancelled or
// overdue by itself, and costs no timer, for whoever works on a call looks at its
// deadline. What should be late all the same is cancelled by the sweep.
type pipelined struct {
	lane     *lane
	call     *cartwheelv1.PipelinedCall
	place    int       // in its message
	deadline time.Time // zero for none
	canceled chan struct{}
	cause    error // set before canceled is closed

	asked       int // bytes of the call
	reply       *cartwheelv1.PipelinedReply
	bound, size int // of the reply
}

// Deadline implements context.Context.
func (p *pipelined) Deadline() (time.Time, bool) { return p.deadline, !p.deadline.IsZero() }

// Done implements context.Context.
func (p *pipelined) Done() <-chan struct{} { return p.canceled }

// Err implements context.Context.
func (p *pipelined) Err() error {
	select {
	case <-p.canceled:
		return p.cause
	default:
		return nil
	}
}

// Value implements context.Context.
func (p *pipelined) Value(key any) any { return p.lane.ctx.Value(key) }

// cancel ends calls that nobody waits for any more; unknown ids have been answered.
func (l *lane) cancel(ids []uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range ids {
		if p := l.calls[id]; p != nil {
			p.cancel(context.Canceled)
		}
	}
}

func (l *lane) cancelAll(cause error) {
	if !errors.Is(cause, context.DeadlineExceeded) {
		cause = context.Canceled
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.calls {
		p.cancel(cause)
	}
}

// cancel is called under the lane's lock.
func (p *pipelined) cancel(cause error) {
	if p.cause == nil {
		p.cause = cause
		close(p.canceled)
	}
}
