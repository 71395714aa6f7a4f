package cartwheel

import (
	"context"
	"sync"
	"time"
)

// life is what a client does in the background, until it is closed.
type life struct {
	closing context.Context // cancelled when the client is closed
	cancel  context.CancelFunc
	callers answered

	mu      sync.Mutex
	closed  bool
	running sync.WaitGroup
}

func newLife() *life {
	l := &life{}
	l.closing, l.cancel = context.WithCancel(context.Background())
	return l
}

// begin runs fn in the background, unless the client is closed.
func (l *life) begin(fn func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.running.Go(fn)
	}
	return !l.closed
}

// end begins nothing new, and calls last when nothing runs any more, several times.
func (l *life) end(last func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	l.closed = true
	l.cancel()
	go func() {
		l.running.Wait()
		last()
		// A transport hears that a request has ended a moment after its caller, and
		// closes only connections that carry none.
		time.AfterFunc(100*time.Millisecond, last)
		time.AfterFunc(2*time.Second, last)
	}()
}
