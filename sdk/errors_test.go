package cartwheel_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	cartwheel "github.com/cartwheel-db/cartwheel/sdk"
)

func TestErrorsCarryTheReasonTheNumbersAndWhetherTheOutcomeIsKnown(t *testing.T) {
	for _, test := range []struct {
		name    string
		faults  []fault
		do      func(context.Context, *cartwheel.DB) error
		reason  cartwheel.Reason
		unknown bool
		text    string // part of the message
	}{
		{"an overflow is final", nil, func(ctx context.Context, db *cartwheel.DB) error {
			_, err := db.Counter("stock", "full").Add(ctx, 1)
			return err
		}, cartwheel.CounterOverflow, false, "counter.add stock/full: counter overflow"},
		{"a forged context is final", nil, func(ctx context.Context, db *cartwheel.DB) error {
			return db.Set("carts", "1").RemoveWith(ctx, "forged", "milk")
		}, cartwheel.ContextForged, false, "set.remove carts/1: context forged"},
		{"an option out of range names both numbers", nil, func(ctx context.Context, db *cartwheel.DB) error {
			return db.Set("carts", "1").With(cartwheel.W(4)).Add(ctx, "milk")
		}, cartwheel.InvalidOption, false, "limit 3, got 4"},
		{"a quorum missed after a write went out", nil, func(ctx context.Context, db *cartwheel.DB) error {
			ctx, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			_, err := db.Counter("stock", "split").Add(ctx, 1)
			return err
		}, cartwheel.QuorumNotReached, true, "needed 2, got 1; outcome unknown"},
		{"an answer that makes the last attempt certain does not make the first so", []fault{abort}, func(ctx context.Context, db *cartwheel.DB) error {
			_, err := db.Counter("stock", "full").Add(ctx, 1)
			return err
		}, cartwheel.CounterOverflow, true, "outcome unknown; tried 2 times"},
		{"silence until the deadline does not hide what was heard before", []fault{cut, hang}, func(ctx context.Context, db *cartwheel.DB) error {
			ctx, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			_, err := db.Counter("stock", "1").Add(ctx, 1)
			return err
		}, cartwheel.Unreachable, true, "outcome unknown; tried 2 times: context deadline exceeded; last attempt: "},
		{"a node that tripped is not asked again, and may have done the work", nil, func(ctx context.Context, db *cartwheel.DB) error {
			_, err := db.Counter("stock", "tripping").Add(ctx, 1)
			return err
		}, cartwheel.Refused, true, "tripped"},
		{"a name that is not UTF-8 is not sent", nil, func(ctx context.Context, db *cartwheel.DB) error {
			return db.Set("carts", "1").Add(ctx, "milk", "\xff")
		}, cartwheel.InvalidName, false, `names are UTF-8, and "\xff" is not`},
		{"nor asked about", nil, func(ctx context.Context, db *cartwheel.DB) error {
			_, err := db.Set("carts", "1").Contains(ctx, "\xff")
			return err
		}, cartwheel.InvalidName, false, "names are UTF-8"},
		{"nor located", nil, func(ctx context.Context, db *cartwheel.DB) error {
			_, err := db.Cluster().Locate(ctx, cartwheel.TypeSet, "carts", "\xff")
			return err
		}, cartwheel.InvalidName, false, "names are UTF-8"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, nodes := newCluster(t, 1)
			db := open(t, nodes)
			nodes[0].plant(counterAdd, test.faults...)
			err := test.do(t.Context(), db)
			var failed *cartwheel.Error
			if !errors.As(err, &failed) {
				t.Fatalf("got %v", err)
			}
			if !errors.Is(err, test.reason) || failed.Reason != test.reason {
				t.Errorf("reason %q, want %q: %v", failed.Reason, test.reason, err)
			}
			if errors.Is(err, cartwheel.ErrUnknownOutcome) != test.unknown || failed.OutcomeUnknown != test.unknown {
				t.Errorf("outcome unknown %t, want %t: %v", failed.OutcomeUnknown, test.unknown, err)
			}
			if !strings.Contains(err.Error(), test.text) {
				t.Errorf("%q does not say %q", err, test.text)
			}
			if got := db.Stats(); test.unknown != (got.UnknownOutcomes == 1) {
				t.Errorf("stats %+v", got)
			}
		})
	}
}

func TestAMutationThatNobodyAnswersHasAnUnknownOutcomeOnlyIfItWasSent(t *testing.T) {
	_, nodes := newCluster(t, 1)
	db := open(t, nodes, cartwheel.WithAttemptTimeout(100*time.Millisecond))
	hanging := make([]fault, 100)
	for i := range hanging {
		hanging[i] = hang
	}
	nodes[0].plant(counterAdd, hanging...)
	short, cancel := context.WithTimeout(t.Context(), 350*time.Millisecond)
	defer cancel()
	_, err := db.Counter("stock", "1").Add(short, 1)
	if !errors.Is(err, cartwheel.ErrUnknownOutcome) || !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, cartwheel.DeadlinePast) {
		t.Errorf("hanging: %v", err)
	}
	_, err = db.Counter("stock", "1").Get(t.Context())
	if err != nil {
		t.Errorf("a read, next to it: %v", err)
	}

	// Ended by hand after three refusals: a deadline might fall inside of an
	// attempt, and what that one sent nobody knows.
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	alone := open(t, nodes, cartwheel.WithHTTPClient(refusingAfterStatus{unencryptedHTTP2(t)}),
		cartwheel.WithObserver(func(a cartwheel.Attempt) {
			if a.Number == 3 {
				cancel()
			}
		}))
	err = alone.Set("carts", "1").Add(ctx, "milk")
	if !errors.Is(err, cartwheel.Canceled) || errors.Is(err, cartwheel.ErrUnknownOutcome) || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("never connected: %v", err)
	}
}

// refusing is a network where every connection is refused.
type refusing struct{}

func (refusing) Do(request *http.Request) (*http.Response, error) {
	return nil, &url.Error{Op: "Post", URL: request.URL.String(), Err: &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}}
}

// refusingAfterStatus lets a client open, and then no connection succeeds.
type refusingAfterStatus struct{ *http.Client }

func unencryptedHTTP2(t *testing.T) *http.Client {
	t.Helper()
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func (r refusingAfterStatus) Do(request *http.Request) (*http.Response, error) {
	if strings.HasSuffix(request.URL.Path, "ClusterService/Status") {
		return r.Client.Do(request)
	}
	return refusing{}.Do(request)
}

func TestAQuorumRefusedBeforeTheWriteWentOutHasAKnownOutcome(t *testing.T) {
	_, nodes := newCluster(t, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	db := open(t, nodes, cartwheel.WithObserver(func(a cartwheel.Attempt) {
		if a.Number == 3 {
			cancel()
		}
	}))
	_, err := db.Counter("stock", "alone").Add(ctx, 1)
	var failed *cartwheel.Error
	if !errors.As(err, &failed) || failed.OutcomeUnknown || failed.Needed != 2 || failed.Answered != 0 || failed.Attempts != 3 {
		t.Errorf("got %v", err)
	}
}

func TestACanceledCallEndsAtOnceAndBlamesNobody(t *testing.T) {
	_, nodes := newCluster(t, 2)
	db := open(t, nodes)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := db.Set("carts", "1").Add(ctx, "milk")
	if !errors.Is(err, context.Canceled) || !errors.Is(err, cartwheel.Canceled) || errors.Is(err, cartwheel.ErrUnknownOutcome) {
		t.Errorf("canceled before: %v", err)
	}

	ctx, cancel = context.WithCancel(t.Context())
	nodes[0].plant(counterAdd, hang)
	arrived := make(chan error)
	go func() {
		_, err := db.Counter("stock", "1").Add(ctx, 1)
		arrived <- err
	}()
	select {
	case <-nodes[0].hanging:
	case <-time.After(10 * time.Second):
		t.Fatal("the request never arrived")
	}
	cancel()
	if err := <-arrived; !errors.Is(err, cartwheel.Canceled) || !errors.Is(err, cartwheel.ErrUnknownOutcome) {
		t.Errorf("canceled under way: %v", err)
	}
	var info cartwheel.Info
	if _, err := db.Counter("stock", "1").With(cartwheel.Report(&info)).Get(t.Context()); err != nil || info.Endpoint != nodes[0].server.URL {
		t.Errorf("after a cancellation %s was asked, %v", info.Endpoint, err)
	}
}

func TestAnUnknownOutcomeIsLearntUnderItsOperationID(t *testing.T) {
	_, nodes := newCluster(t, 1)
	db := open(t, nodes, cartwheel.WithTimeout(5*time.Second))
	nodes[0].plant(counterAdd, abort, hang)
	stock := db.Counter("stock", "1")
	short, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
	defer cancel()
	_, err := stock.Add(short, 5)
	var failed *cartwheel.Error
	if !errors.As(err, &failed) || !failed.OutcomeUnknown {
		t.Fatalf("got %v", err)
	}
	if got, err := stock.With(cartwheel.Operation(failed.OperationID)).Add(t.Context(), 5); got != 5 || err != nil {
		t.Errorf("got %d, %v, want the first answer", got, err)
	}
}
