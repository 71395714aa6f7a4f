package cmd

import (
	"errors"
	"fmt"
	"testing"

	cartwheel "github.com/cartwheel-db/cartwheel/sdk"
)

func TestEveryReasonHasTheExitCodeTheHelpPromises(t *testing.T) {
	failed := func(reason cartwheel.Reason) error { return &cartwheel.Error{Op: "set.add", Reason: reason} }
	for _, test := range []struct {
		name string
		err  error
		want int
	}{
		{"no error", nil, 0},
		{"any other error", errors.New("disk full"), 1},
		{"the caller went away", failed(cartwheel.Canceled), 1},
		{"every replica is damaged", failed(cartwheel.Damaged), 1},
		{"a wrong command line", usagef("key"), 2},
		{"a wrong command line, wrapped", fmt.Errorf("bench: %w", usagef("key")), 2},
		{"nothing there", &absentError{}, 3},
		{"too few replicas", failed(cartwheel.QuorumNotReached), 4},
		{"no endpoint", failed(cartwheel.Unreachable), 4},
		{"nodes starting", failed(cartwheel.NotReady), 4},
		{"queues full", failed(cartwheel.Overloaded), 4},
		{"the time was up", failed(cartwheel.DeadlinePast), 4},
		{"the time was up and nobody knows", &cartwheel.Error{Reason: cartwheel.DeadlinePast, OutcomeUnknown: true}, 5},
		{"too few replicas and nobody knows", &cartwheel.Error{Reason: cartwheel.QuorumNotReached, OutcomeUnknown: true}, 5},
		{"an id too old to know", &cartwheel.Error{Reason: cartwheel.OperationExpired, OutcomeUnknown: true}, 5},
		{"nobody is fresh enough", failed(cartwheel.TooStale), 4},
		{"nobody covers the session", failed(cartwheel.SessionUnmet), 4},
		{"a session of something else", failed(cartwheel.SessionInvalid), 6},
		{"a wrong name", failed(cartwheel.InvalidName), 6},
		{"too large", failed(cartwheel.TooLarge), 6},
		{"a forged context", failed(cartwheel.ContextForged), 6},
		{"a foreign context", failed(cartwheel.ContextForeign), 6},
		{"half a context", failed(cartwheel.ContextMalformed), 6},
		{"a wrong cursor", failed(cartwheel.CursorInvalid), 6},
		{"overflow", failed(cartwheel.CounterOverflow), 6},
		{"an id of something else", failed(cartwheel.OperationReused), 6},
		{"an id that is none", failed(cartwheel.OperationInvalid), 6},
		{"an option out of range", failed(cartwheel.InvalidOption), 6},
		{"a proxy that refuses", failed(cartwheel.Refused), 6},
		{"a reason newer than this program", failed("teapot"), 6},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := exitCode(test.err); got != test.want {
				t.Errorf("exit code of %v: got %d, want %d", test.err, got, test.want)
			}
		})
	}
}
