package cartwheel

import "time"

// A stream watches the deadlines of its calls with one timer: calls that begin one
// after the other have deadlines one after the other, nearly all are answered long
// before, and a timer for each would be a tenth of what a call costs.
//
//	deadlines   ──┬────┬──────┬───────▶
//	timer        next: who of all is late now? and the one after is next

// watch sees that the timer goes off at a deadline, zero for none.
func (s *stream) watch(deadline time.Time) {
	if deadline.IsZero() || !s.next.IsZero() && !deadline.Before(s.next) {
		return
	}
	s.next = deadline
	if s.late == nil {
		s.late = time.AfterFunc(time.Until(deadline), s.expire)
		return
	}
	s.late.Reset(time.Until(deadline))
}

func (s *stream) unwatch() {
	if s.late != nil {
		s.late.Stop()
	}
}

// expire ends what is late, and sets the timer for what is not yet.
func (s *stream) expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken {
		return
	}
	now, next := time.Now(), time.Time{}
	look := func(w *waiting) {
		switch {
		case w.deadline.IsZero() || w.gone:
		case !now.Before(w.deadline):
			s.drop(w)
			w.late = true
			close(w.done)
		case next.IsZero() || w.deadline.Before(next):
			next = w.deadline
		}
	}
	for _, w := range s.under {
		look(w)
	}
	for _, w := range s.queue {
		look(w)
	}
	s.next = time.Time{}
	s.watch(next)
	s.endIfDone()
}
