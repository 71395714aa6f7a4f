package cartwheel

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestEachCallOfAStreamEndsAtItsOwnDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := quietStream(&answered{})
		defer s.fail(context.Canceled)
		began := time.Now()
		in := func(d time.Duration, id uint64) *waiting {
			w := &waiting{id: id, request: []byte{1}, deadline: began.Add(d), done: make(chan struct{})}
			s.enter(w)
			return w
		}
		last, first := in(3*time.Second, 1), in(time.Second, 2)
		sent, answered := in(2*time.Second, 3), in(2*time.Second, 4)
		if s.message() == nil {
			t.Fatal("nothing is sent")
		}
		queued, forever := in(1500*time.Millisecond, 5), &waiting{id: 6, request: []byte{1}, done: make(chan struct{})}
		s.enter(forever)
		s.mu.Lock()
		delete(s.under, answered.id)
		s.mu.Unlock()
		for _, test := range []struct {
			w    *waiting
			want time.Duration
		}{{first, time.Second}, {queued, 1500 * time.Millisecond}, {sent, 2 * time.Second}, {last, 3 * time.Second}} {
			if s.wait(t.Context(), test.w) || time.Since(began) != test.want {
				t.Errorf("call %d ended after %v, want late after %v", test.w.id, time.Since(began), test.want)
			}
		}
		select {
		case <-answered.done:
			t.Error("a call that was answered is ended")
		case <-forever.done:
			t.Error("a call without a deadline is ended")
		default:
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.under) != 0 || len(s.canceled) != 3 {
			t.Errorf("%d calls are under way, %d cancelled, want 0 and the 3 that were sent", len(s.under), len(s.canceled))
		}
	})
}

func TestACallIsLateOrAnsweredAndNotBoth(t *testing.T) {
	for range 300 {
		s := quietStream(&answered{})
		w := &waiting{id: 1, request: []byte{1}, deadline: time.Now().Add(50 * time.Microsecond), done: make(chan struct{})}
		s.enter(w)
		s.message()
		go func() { _ = s.deliver([]byte{0x0a, 2, 0x08, 1}) }() // the reply to call 1
		if ok := s.wait(t.Context(), w); ok != (w.reply != nil) || ok == w.late {
			t.Fatalf("answered %v, with reply %x, late %v", ok, w.reply, w.late)
		}
		if n := s.callers.given.Load() - s.callers.run.Load(); n != 0 {
			t.Fatalf("%d callers are waited for, who all ran", n)
		}
		s.fail(context.Canceled)
	}
}
