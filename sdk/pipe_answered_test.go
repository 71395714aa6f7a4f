package cartwheel

import (
	"runtime"
	"sync"
	"testing"
)

func quietStream(callers *answered) *stream {
	return &stream{wake: make(chan struct{}, 1), under: map[uint64]*waiting{}, callers: callers}
}

func roused(s *stream) bool {
	select {
	case <-s.wake:
		return true
	default:
		return false
	}
}

func enqueue(s *stream, id uint64) {
	s.enter(&waiting{id: id, request: []byte{1}, done: make(chan struct{})})
}

func TestAMessageIsMadeAfterThoseWhoWereAnsweredHaveRunOnWhicheverStreamTheyWere(t *testing.T) {
	callers := &answered{}
	one, other := quietStream(callers), quietStream(callers)
	callers.add(2)
	for i, s := range []*stream{one, other} {
		enqueue(s, uint64(i))
		if !roused(s) || s.message() != nil {
			t.Fatal("a message was made while two callers who were answered have not run")
		}
	}
	callers.ran()
	if roused(one) || roused(other) {
		t.Error("a stream was roused while one caller has not run")
	}
	callers.ran()
	for _, s := range []*stream{one, other} {
		if !roused(s) || s.message() == nil {
			t.Error("the last caller who ran did not let the message go")
		}
	}
}

func TestAStreamDoesNotWaitForThoseWhoAreAnsweredMeanwhile(t *testing.T) {
	callers := &answered{}
	s := quietStream(callers)
	for id := range uint64(3) { // and of a busy client somebody always is
		callers.add(1)
		enqueue(s, id)
		if !roused(s) || s.message() != nil {
			t.Fatal("a message was made while a caller who was answered has not run")
		}
		callers.add(1)
		callers.ran()
		if !roused(s) || s.message() == nil {
			t.Error("the stream waits for a caller who was answered after it began to wait")
		}
		callers.ran()
	}
}

func TestEnoughCallsWaitForNobody(t *testing.T) {
	s := quietStream(&answered{})
	s.callers.add(1)
	for i := range uint64(enough) {
		if s.message() != nil {
			t.Fatalf("%d calls did not wait", i)
		}
		enqueue(s, i)
	}
	if s.message() == nil {
		t.Errorf("%d calls waited", enough)
	}
}

func TestNoStreamIsLeftWaitingForCallersWhoRanAlready(t *testing.T) {
	callers := &answered{}
	for range 2_000 {
		s := quietStream(callers)
		enqueue(s, 1)
		<-s.wake
		callers.add(1)
		var both sync.WaitGroup
		var sent bool
		both.Go(callers.ran)
		both.Go(func() { sent = s.message() != nil })
		both.Wait()
		if !sent && !roused(s) {
			t.Fatal("a stream waits, and nobody is left to rouse it")
		}
		runtime.Gosched()
	}
}

func TestWhatAMessageHasNoRoomForIsSentInTheNext(t *testing.T) {
	for _, test := range []struct{ calls, bytes, messages int }{{2, 600 << 10, 2}, {3, 1 << 20, 3}, {maxCalls + 20, 1, 2}} {
		s := quietStream(&answered{})
		for id := range test.calls {
			s.enter(&waiting{id: uint64(id), request: make([]byte, test.bytes), done: make(chan struct{})})
		}
		messages := 0
		for ; roused(s); messages++ {
			if s.message() == nil {
				t.Error("a stream was roused for nothing")
			}
		}
		if messages != test.messages || len(s.under) != test.calls {
			t.Errorf("%d calls of %d bytes: %d sent in %d messages, want all in %d", test.calls, test.bytes, len(s.under), messages, test.messages)
		}
	}
}
