package cartwheel

import (
	"slices"
	"sync"
	"sync/atomic"
)

// answered are callers who have their reply and have not run since. They may have
// more to send and only lack a processor, so messages are made after they ran:
//
//	replies ─▶ 6 callers ─▶ each runs, and calls again ─▶ one message of 6
//
// They are counted for all streams of a client together, for a caller's next call
// may go to another node than the last.
type answered struct {
	callers atomic.Int64

	mu   sync.Mutex
	held []*stream // whose messages wait for them
}

// enough calls make a message of their own, whoever else might have some.
const enough = 64

func (a *answered) add(n int) { a.callers.Add(int64(n)) }

// ran tells that one of them runs again.
func (a *answered) ran() {
	if a.callers.Add(-1) > 0 {
		return
	}
	a.mu.Lock()
	held := a.held
	a.held = nil
	a.mu.Unlock()
	for _, s := range held {
		s.rouse()
	}
}

// hold tells whether a stream is to wait for them: then the last of them rouses it.
func (a *answered) hold(s *stream) bool {
	if a.callers.Load() == 0 {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.callers.Load() == 0 { // and whoever found that may not see s
		return false
	}
	if !slices.Contains(a.held, s) {
		a.held = append(a.held, s)
	}
	return true
}
