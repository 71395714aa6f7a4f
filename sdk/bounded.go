package cartwheel

import (
	"context"
	"sync"
	"time"
)

// bounded is a context with a deadline of its own that makes a timer, and hooks
// into its parent, only when somebody waits on Done. Both would be a quarter of
// what a call costs that travels with others: there a caller waits with one timer
// for itself (see await).
type bounded struct {
	context.Context // not past its deadline, which is not earlier
	at              time.Time

	mu     sync.Mutex
	timed  context.Context // once somebody waited on Done
	cancel context.CancelFunc
}

// bound returns a context that ends at a time at the latest. Whoever made it calls
// release.
func bound(parent context.Context, at time.Time) *bounded {
	if earlier, has := parent.Deadline(); has && earlier.Before(at) {
		at = earlier
	}
	return &bounded{Context: parent, at: at}
}

func (b *bounded) Deadline() (time.Time, bool) { return b.at, true }

func (b *bounded) Done() <-chan struct{} { return b.arm().Done() }

func (b *bounded) arm() context.Context {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.timed == nil {
		b.timed, b.cancel = context.WithDeadline(b.Context, b.at)
	}
	return b.timed
}

func (b *bounded) armed() context.Context {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.timed
}

func (b *bounded) Err() error {
	if timed := b.armed(); timed != nil {
		return timed.Err()
	}
	if err := b.Context.Err(); err != nil {
		return err
	}
	if !time.Now().Before(b.at) {
		return context.DeadlineExceeded
	}
	return nil
}

// Value shows the timed context to those derived from it, who then hook into it.
func (b *bounded) Value(key any) any {
	if timed := b.armed(); timed != nil {
		return timed.Value(key)
	}
	return b.Context.Value(key)
}

// release ends what waits on Done, as a context's cancel does.
func (b *bounded) release() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.cancel != nil {
		b.cancel()
	}
}

// root is the context that the caller gave, without the bounds put on it here.
func root(ctx context.Context) context.Context {
	for {
		b, ok := ctx.(*bounded)
		if !ok {
			return ctx
		}
		ctx = b.Context
	}
}

// await waits until done is closed, and tells whether that was before the context
// ended.
func await(ctx context.Context, done <-chan struct{}) bool {
	at, has := ctx.Deadline()
	if !has {
		select {
		case <-done:
			return true
		case <-ctx.Done():
			return false
		}
	}
	timer := time.NewTimer(time.Until(at))
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-root(ctx).Done():
	case <-timer.C:
	}
	return false
}
