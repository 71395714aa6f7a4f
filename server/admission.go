package server

import (
	"container/list"
	"context"
	"math"
	"sync"
	"time"
)

// admission bounds the requests of clients that a node works on at a time, in
// number and in bytes, before they are parsed. What is admitted gets done in
// time; the rest is refused early, while that is cheap, and nothing was done.
//
// Who finds no room waits a little. When the line was empty a moment ago, this is
// a burst: patience is fair, and all are taken in turn. When it was not, waiting
// helps nobody: patience is short, and the newest goes first, whose client is
// still there. That is the controlled delay with adaptive LIFO of Maurer, "Fail at
// Scale" (ACM Queue 13(8), 2015), after CoDel (Nichols and Jacobson, 2012).
//
// Refusing costs as well, and a client that asks again at once can make it all
// that a node does. So the more are refused, the longer each is left waiting for
// it, up to half the time it has: early enough to go elsewhere, and meanwhile its
// connection, or its stream, asks for nothing.
//
// The bound itself follows the deadlines: while requests that were admitted miss
// theirs, fewer are admitted; while they do not and the bound is reached, more,
// up to the one that was configured. A slow disk or short deadlines thus find
// their own bound.
type admission struct {
	most  int
	bytes int64 // bound
	now   func() time.Time

	mu     sync.Mutex
	limit  int // from leastInside to most
	inside int
	held   int64      // bytes of those inside
	line   *list.List // of *waiter, the oldest in front
	empty  time.Time  // when the line was empty last

	judged        time.Time // when the limit was set last
	ended, missed int       // since then
	reached       bool      // the limit, since then

	refusals  float64 // decaying with refusalMemory
	refusedAt time.Time

	counts AdmissionCounts
}

// AdmissionCounts is what an admission has done so far, and how it stands.
type AdmissionCounts struct {
	Admitted, Refused, Missed uint64
	Inside, Waiting, Limit    int
}

type waiter struct {
	size int64
	in   chan struct{} // closed when admitted
	at   *list.Element // nil when admitted
}

const (
	// DefaultRequests is how many requests of clients a node works on at a time,
	// unless configured otherwise. The more there are, the more share a commit, and
	// the longer each takes: this many still take a fraction of a second.
	DefaultRequests = 256
	// requestBytes bounds what those inside have announced to send.
	requestBytes = 64 << 20

	leastInside   = 8
	burstPatience = 100 * time.Millisecond
	shortPatience = 5 * time.Millisecond
	standing      = 100 * time.Millisecond // a line that old is no burst
	judgeEvery    = 200 * time.Millisecond
	judgeLeast    = 20 // requests

	cheapRefusals = 500                    // a second: what a node can well afford
	patiencePer   = 400 * time.Microsecond // for each beyond
	mostPatience  = time.Second
	lineFor       = 8 // as many as are let in
	refusalMemory = time.Second
)

func newAdmission(most int, now func() time.Time) *admission {
	if most <= 0 {
		most = DefaultRequests
	}
	return &admission{most: most, limit: most, bytes: requestBytes, now: now, line: list.New(), judged: now()}
}

// enter waits for room, but not long, nor past left (0 for no deadline), nor for
// a client that has gone. Whoever is admitted leaves again, with the same size.
func (a *admission) enter(ctx context.Context, size int64, left time.Duration) bool {
	a.mu.Lock()
	if a.line.Len() == 0 && a.room(size) {
		a.take(size)
		a.mu.Unlock()
		return true
	}
	now := a.now()
	if a.line.Len() == 0 {
		a.empty = now
	}
	patience := burstPatience
	if now.Sub(a.empty) > standing {
		patience = a.patience(now)
	}
	if left > 0 {
		patience = min(patience, left/2)
	}
	if a.line.Len() >= lineFor*a.most {
		a.refuse(now)
		a.mu.Unlock()
		return false
	}
	w := &waiter{size: size, in: make(chan struct{})}
	w.at = a.line.PushBack(w)
	a.mu.Unlock()

	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-w.in:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if w.at == nil {
		return true // admitted at the last moment
	}
	a.line.Remove(w.at)
	a.refuse(a.now())
	a.admit() // what waited behind it may be smaller
	return false
}

// leave makes room again.
func (a *admission) leave(size int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.inside--
	a.held -= size
	a.ended++
	a.judge()
	a.admit()
}

// miss tells that a request that was admitted was not done before its deadline.
func (a *admission) miss() {
	a.mu.Lock()
	a.missed++
	a.counts.Missed++
	a.mu.Unlock()
}

// refuse counts a refusal.
func (a *admission) refuse(now time.Time) {
	a.fade(now)
	a.refusals++
	a.counts.Refused++
}

// patience is how long to wait in a line that stands.
func (a *admission) patience(now time.Time) time.Duration {
	a.fade(now)
	costly := a.refusals/refusalMemory.Seconds() - cheapRefusals
	return min(mostPatience, shortPatience+time.Duration(max(0, costly)*float64(patiencePer)))
}

func (a *admission) fade(now time.Time) {
	if past := now.Sub(a.refusedAt); past > 0 {
		a.refusals *= math.Exp(-past.Seconds() / refusalMemory.Seconds())
		a.refusedAt = now
	}
}

// room tells whether one more of this size fits. One alone always does.
func (a *admission) room(size int64) bool {
	return a.inside == 0 || a.inside < a.limit && a.held+size <= a.bytes
}

func (a *admission) take(size int64) {
	a.inside++
	a.held += size
	a.counts.Admitted++
	a.reached = a.reached || a.inside >= a.limit
}

// admit lets in who waits, as far as there is room.
func (a *admission) admit() {
	for a.line.Len() > 0 {
		next := a.line.Front()
		if a.now().Sub(a.empty) > standing {
			next = a.line.Back()
		}
		w := next.Value.(*waiter)
		if !a.room(w.size) {
			return
		}
		a.line.Remove(next)
		w.at = nil
		a.take(w.size)
		close(w.in)
	}
}

// judge sets the limit by what became of those admitted since it did so last.
func (a *admission) judge() {
	now := a.now()
	if a.ended < judgeLeast || now.Sub(a.judged) < judgeEvery {
		return
	}
	switch {
	case a.missed*20 > a.ended:
		a.limit = max(min(leastInside, a.most), a.limit*3/4)
	case a.missed*100 <= a.ended && a.reached:
		a.limit = min(a.most, a.limit+max(1, a.limit/8))
	}
	a.judged, a.ended, a.missed, a.reached = now, 0, 0, a.inside >= a.limit
}

func (a *admission) stats() AdmissionCounts {
	a.mu.Lock()
	defer a.mu.Unlock()
	c := a.counts
	c.Inside, c.Waiting, c.Limit = a.inside, a.line.Len(), a.limit
	return c
}
