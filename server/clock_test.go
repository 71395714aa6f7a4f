package server

import (
	"testing"
	"time"
)

func TestTheClockRunsAsFastAsTime(t *testing.T) {
	at, from := uptime(), time.Now()
	for last := at; time.Since(from) < 20*time.Millisecond; {
		now := uptime()
		if now < last {
			t.Fatalf("%v after %v", now, last)
		}
		last = now
	}
	if by, took := uptime()-at, time.Since(from); by < 20*time.Millisecond || by > took+10*time.Millisecond {
		t.Errorf("went on by %v in %v", by, took)
	}
}

func BenchmarkClock(b *testing.B) {
	for b.Loop() {
		_ = uptime()
	}
}
