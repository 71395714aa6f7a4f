package replica

import (
	"container/heap"
	"slices"
)

// What happens later: timers, which run once at their time, and waiters, which a
// sweep wakes until they are over.

// Tick lets due timers run.
func (s *Shard) Tick(now Now) {
	s.now = now
	for len(s.timers) > 0 && s.timers[0].at <= now.Mono {
		heap.Pop(&s.timers).(*timer).run()
	}
	if s.sweepAt <= now.Mono {
		s.sweep()
	}
}

// NextTick returns the [Now.Mono] at which something is due.
func (s *Shard) NextTick() int64 {
	if len(s.pending) > 0 {
		return min(s.timers[0].at, s.sweepAt)
	}
	return s.timers[0].at
}

// waiter is a write, a read or a forwarded mutation under way.
type waiter interface {
	over() bool
	wake(*Shard) // looks at the time; called every sweepEvery
}

const sweepEvery = int64(10e6) // nanoseconds

func (s *Shard) await(w waiter) {
	if len(s.pending) == 0 {
		s.sweepAt = s.now.Mono + sweepEvery
	}
	s.pending = append(s.pending, w)
}

// sweep wakes what is under way, in order of arrival, and forgets what is over.
// One pass in ten milliseconds costs less than a timer for each operation.
func (s *Shard) sweep() {
	s.sweepAt = s.now.Mono + sweepEvery
	// The list stays whole meanwhile: what wakes may find that a peer is lost, and
	// everybody who waits for that peer must hear of it.
	for i := range len(s.pending) {
		if w := s.pending[i]; !w.over() {
			w.wake(s)
		}
	}
	s.pending = slices.DeleteFunc(s.pending, waiter.over)
}

// timers is a heap by time, then by order of setting: the same inputs run the
// same timers in the same order.
type timers []*timer

type timer struct {
	at  int64
	seq uint64
	run func()
}

func (t timers) Len() int { return len(t) }

func (t timers) Less(i, j int) bool {
	return t[i].at < t[j].at || t[i].at == t[j].at && t[i].seq < t[j].seq
}

func (t timers) Swap(i, j int) { t[i], t[j] = t[j], t[i] }

func (t *timers) Push(x any) { *t = append(*t, x.(*timer)) }

func (t *timers) Pop() any {
	old := *t
	x := old[len(old)-1]
	old[len(old)-1] = nil
	*t = old[:len(old)-1]
	return x
}

func (s *Shard) after(d int64, run func()) { s.at(s.now.Mono+d, run) }

func (s *Shard) at(mono int64, run func()) {
	heap.Push(&s.timers, &timer{mono, s.id(), run})
}
