package cartwheel

import (
	"testing"
	"time"
)

func TestTheServerClockGoesOnFromWhatItWasToldAndKnowsWhenToAskAgain(t *testing.T) {
	server := time.UnixMilli(1764000000000)
	for _, test := range []struct {
		name  string
		ago   time.Duration
		stale bool
	}{
		{"just told", 0, false},
		{"told a minute ago", time.Minute, false},
		{"told an hour ago", time.Hour, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			var clock serverClock
			clock.set(server, time.Now().Add(-test.ago))
			now, stale := clock.now()
			if off := now.Sub(server.Add(test.ago)); off < 0 || off > 10*time.Second || stale != test.stale {
				t.Errorf("off by %v, stale %t, want %t", off, stale, test.stale)
			}
		})
	}
}

func TestAClockIsStaleByTheMonotonicClockOrByTheWall(t *testing.T) {
	for _, test := range []struct {
		name            string
		monotonic, wall time.Duration
		want            bool
	}{
		{"neither moved much", time.Minute, time.Minute, false},
		{"both moved", time.Hour, time.Hour, true},
		{"the wall moved on while the machine was suspended", time.Second, time.Hour, true},
		{"the wall was set back", time.Minute, -time.Hour, true},
		{"the wall was set back by what had passed", time.Hour, 0, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := stale(test.monotonic, test.wall); got != test.want {
				t.Errorf("got %t", got)
			}
		})
	}
}
