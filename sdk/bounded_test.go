package cartwheel

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

type valueKey struct{}

func TestABoundedContextEndsAsOthersDo(t *testing.T) {
	for _, waited := range []bool{false, true} {
		name := map[bool]string{false: "nobody waits on it", true: "somebody waits on it"}[waited]
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				parent, cancel := context.WithTimeout(context.WithValue(t.Context(), valueKey{}, 7), 5*time.Second)
				defer cancel()
				b := bound(parent, time.Now().Add(time.Second))
				defer b.release()
				if at, has := b.Deadline(); !has || time.Until(at) != time.Second || b.Err() != nil || b.Value(valueKey{}) != 7 {
					t.Errorf("at first: %v, %v", time.Until(at), b.Err())
				}
				if waited {
					child, stop := context.WithCancel(b)
					defer stop()
					<-child.Done()
				} else {
					time.Sleep(time.Second)
				}
				if !errors.Is(b.Err(), context.DeadlineExceeded) || b.Value(valueKey{}) != 7 || parent.Err() != nil {
					t.Errorf("after its deadline: %v", b.Err())
				}
				late := bound(parent, time.Now().Add(time.Hour))
				if at, _ := late.Deadline(); time.Until(at) != 4*time.Second {
					t.Errorf("its parent ends in 4 s, it in %v", time.Until(at))
				}
				if waited {
					defer late.release()
					_ = late.Done()
				}
				cancel()
				synctest.Wait()
				if !errors.Is(late.Err(), context.Canceled) {
					t.Errorf("after its parent was cancelled: %v", late.Err())
				}
			})
		})
	}
}

func TestWaitingEndsWithTheReplyTheCallerOrTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		caller, cancel := context.WithCancel(t.Context())
		defer cancel()
		ctx := bound(bound(caller, time.Now().Add(time.Hour)), time.Now().Add(time.Second))
		never := make(chan struct{})
		done := make(chan struct{})
		time.AfterFunc(time.Millisecond, func() { close(done) })
		if !await(ctx, done) {
			t.Error("the reply came, and the wait was in vain")
		}
		if began := time.Now(); await(ctx, never) || time.Since(began) > time.Second || !errors.Is(ctx.Err(), context.DeadlineExceeded) {
			t.Errorf("the deadline ended the wait after %v", time.Since(began))
		}
		time.AfterFunc(time.Millisecond, cancel)
		long := bound(caller, time.Now().Add(time.Hour))
		if await(long, never) || !errors.Is(long.Err(), context.Canceled) {
			t.Errorf("the caller left, and the wait ended with %v", long.Err())
		}
	})
}
