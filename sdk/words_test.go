package cartwheel_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	cartwheel "github.com/cartwheel-db/cartwheel/sdk"
	cartwheelv1 "github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1"
)

func TestAnErrorSaysEachThingOnce(t *testing.T) {
	told := func(text string) error {
		err := connect.NewError(connect.CodeInvalidArgument, errors.New(text))
		detail, wrong := connect.NewErrorDetail(&cartwheelv1.ErrorDetail{Reason: cartwheelv1.ErrorDetail_REASON_TOO_LARGE})
		if wrong != nil {
			t.Fatal(wrong)
		}
		err.AddDetail(detail)
		return err
	}
	long := strings.Repeat("k", 1025)
	for _, test := range []struct {
		name string
		err  cartwheel.Error
		want string
	}{
		{"operation and key, which a node repeats", cartwheel.Error{Op: "set.add", Bucket: "carts", Key: "42", Reason: cartwheel.TooLarge, Limit: 64, Actual: 65, Err: told("set.add carts/42: member 2 of 3: too long")},
			"cartwheel: set.add carts/42: too large, limit 64, got 65: member 2 of 3: too long"},
		{"beside the end of a deadline too", cartwheel.Error{Op: "set.add", Bucket: "carts", Key: "42", Reason: cartwheel.QuorumNotReached, Needed: 2, Answered: 1, Attempts: 3, Err: fmt.Errorf("%w; last attempt: %w", context.DeadlineExceeded, told("set.add carts/42: 1 of 2"))},
			"cartwheel: set.add carts/42: quorum not reached, needed 2, got 1; tried 3 times: context deadline exceeded; last attempt: 1 of 2"},
		{"words of something on the way stay as they are", cartwheel.Error{Op: "set.add", Reason: cartwheel.Refused, Err: connect.NewError(connect.CodeUnimplemented, errors.New("set.add: 404"))},
			"cartwheel: set.add: refused: unimplemented: set.add: 404"},
		{"a number below the bound is no excess", cartwheel.Error{Op: "set.add", Bucket: "carts", Key: "42", Reason: cartwheel.ContextMalformed, Limit: 21, Actual: 2, Err: told("set.add carts/42: context: cut")},
			"cartwheel: set.add carts/42: context malformed: context: cut"},
		{"a key that is too long is cut, as nodes cut it", cartwheel.Error{Op: "set.add", Bucket: "carts", Key: long, Reason: cartwheel.TooLarge, Limit: 1024, Actual: 1025, Err: told("set.add carts/" + long[:64] + "…: too long")},
			"cartwheel: set.add carts/" + long[:64] + "…: too large, limit 1024, got 1025: too long"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := test.err.Error(); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

func TestAnErrorOfOpenIsThatOfOpen(t *testing.T) {
	_, err := cartwheel.Open(t.Context(), []string{"127.0.0.1:0"}, cartwheel.WithTimeout(50*time.Millisecond))
	var failed *cartwheel.Error
	if !errors.As(err, &failed) || failed.Op != "open" || failed.Reason != cartwheel.Unreachable {
		t.Errorf("got %v", err)
	}
}
