package server

import (
	"context"
	"testing"
	"time"
)

// A client that hangs up leaves its request behind until the deadline: it must
// not be able to leave it for days.
func TestADeadlineLeavesRoomForTheAnswerAndIsNeverFarAway(t *testing.T) {
	now := time.Now()
	for _, test := range []struct {
		name string
		left time.Duration // 0 for no deadline
		want time.Duration
	}{
		{"none", 0, 5 * time.Second},
		{"short", 100 * time.Millisecond, 90 * time.Millisecond},
		{"usual", 5 * time.Second, 4950 * time.Millisecond},
		{"past", -time.Second, -time.Second},
		{"a day", 24 * time.Hour, time.Minute},
	} {
		ctx, cancel := context.Background(), func() {}
		if test.left != 0 {
			ctx, cancel = context.WithDeadline(ctx, now.Add(test.left))
		}
		if got := deadlineOf(ctx, now).Sub(now); got != test.want {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
		cancel()
	}
}
