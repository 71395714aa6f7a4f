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
// may go to another node than the last. A stream waits for as many as there are when
// it looks, and not for those who are answered meanwhile: of a busy client some
// always are.
type answered struct {
	given, run atomic.Uint64 // callers who were given a reply; who ran since

	mu   sync.Mutex
	held []*stream     // whose messages wait
	due  atomic.Uint64 // when so many ran, the first of them may go; 0 without any
}

// enough calls make a message of their own, whoever else might have some.
const enough = 64

func (a *answered) add(n int) { a.given.Add(uint64(n)) }

// ran tells that one of them runs again.
func (a *answered) ran() {
	n := a.run.Add(1)
	if due := a.due.Load(); due == 0 || n < due {
		return
	}
	a.mu.Lock()
	held := a.held
	a.held = nil
	a.due.Store(0)
	a.mu.Unlock()
	for _, s := range held { // and whoever has to wait for more does so again
		s.rouse()
	}
}

// hold tells whether a stream is to wait for them: then the last of them rouses it.
// The stream is locked.
func (a *answered) hold(s *stream) bool {
	if s.until == 0 {
		s.until = a.given.Load()
	}
	if a.run.Load() < s.until {
		a.mu.Lock()
		defer a.mu.Unlock()
		if !slices.Contains(a.held, s) {
			a.held = append(a.held, s)
		}
		if due := a.due.Load(); due == 0 || s.until < due {
			a.due.Store(s.until)
		}
		if a.run.Load() < s.until { // and whoever comes to it sees when s is due
			return true
		}
	}
	return false
}
