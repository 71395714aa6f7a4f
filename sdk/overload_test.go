package cartwheel_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"

	cartwheel "github.com/cartwheel-db/cartwheel/sdk"
	cartwheelv1 "github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1"
)

// busy is a node that refuses its first calls of value services for overload.
func busy(t *testing.T, inside http.Handler, refusals int64, pushback string) (*httptest.Server, *atomic.Int64) {
	t.Helper()
	asked := &atomic.Int64{}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/cartwheel.v1.PipelineService/") {
			http.NotFound(w, r) // calls come one by one
			return
		}
		if strings.HasPrefix(r.URL.Path, "/cartwheel.v1.ClusterService/") || asked.Add(1) > refusals {
			inside.ServeHTTP(w, r)
			return
		}
		err := connect.NewError(connect.CodeResourceExhausted, errors.New("too much to do"))
		detail, _ := connect.NewErrorDetail(&cartwheelv1.ErrorDetail{Reason: cartwheelv1.ErrorDetail_REASON_OVERLOADED})
		err.AddDetail(detail)
		w.Header().Set("Grpc-Retry-Pushback-Ms", pushback)
		_ = connect.NewErrorWriter().Write(w, r, err)
	}))
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	t.Cleanup(server.Close)
	return server, asked
}

func TestARefusalForOverloadIsRetriedAfterTheTimeThatTheNodeAskedFor(t *testing.T) {
	_, nodes := newCluster(t, 1)
	server, asked := busy(t, nodes[0].server.Config.Handler, 1, "150")
	db, err := cartwheel.Open(t.Context(), []string{server.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	began := time.Now()
	if got, err := db.Counter("stock", "1").Add(t.Context(), 5); got != 5 || err != nil {
		t.Fatalf("got %d, %v", got, err)
	}
	if took := time.Since(began); took < 150*time.Millisecond || asked.Load() != 2 {
		t.Errorf("took %v and %d attempts, want 2 and 150 ms between them", took, asked.Load())
	}
}

func TestACallThatCannotOutliveTheWaitFailsAtOnceAsOverloaded(t *testing.T) {
	_, nodes := newCluster(t, 1)
	server, asked := busy(t, nodes[0].server.Config.Handler, 1, "1500")
	db, err := cartwheel.Open(t.Context(), []string{server.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err = db.Counter("stock", "1").Add(ctx, 5)
	if !errors.Is(err, cartwheel.Overloaded) || errors.Is(err, cartwheel.ErrUnknownOutcome) || ctx.Err() != nil || asked.Load() != 1 {
		t.Errorf("%v after %d attempts; want overloaded at once, with nothing done", err, asked.Load())
	}
}

func TestOverloadIsNotCarriedToTheOtherNodesAtOnce(t *testing.T) {
	_, nodes := newCluster(t, 2)
	first, askedFirst := busy(t, nodes[0].server.Config.Handler, 1, "100")
	second, askedSecond := busy(t, nodes[1].server.Config.Handler, 0, "")
	db, err := cartwheel.Open(t.Context(), []string{first.URL, second.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	began := time.Now()
	if _, err := db.Counter("stock", "1").Add(t.Context(), 5); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < 100*time.Millisecond || askedFirst.Load() != 1 || askedSecond.Load() != 1 {
		t.Errorf("took %v, asked %d and %d times; want the second node after 100 ms", took, askedFirst.Load(), askedSecond.Load())
	}
}

func TestACallOfOneAttemptIsNotRetried(t *testing.T) {
	_, nodes := newCluster(t, 2)
	db := open(t, nodes, cartwheel.WithAttempts(1))
	nodes[0].plant(counterAdd, refuse)
	if _, err := db.Counter("stock", "1").Add(t.Context(), 5); !errors.Is(err, cartwheel.Unreachable) {
		t.Errorf("refused once: %v", err)
	}
	if got := nodes[0].requests(counterAdd) + nodes[1].requests(counterAdd); got != 1 {
		t.Errorf("%d requests", got)
	}
}

func TestWhatIsRefusedAgainAndAgainIsKeptBack(t *testing.T) {
	_, nodes := newCluster(t, 1)
	server, asked := busy(t, nodes[0].server.Config.Handler, 1<<40, "0")
	db, err := cartwheel.Open(t.Context(), []string{server.URL}, cartwheel.WithTimeout(2*patience))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	const crowd = 100
	running := callers(t)
	for range crowd {
		running.Go(func() { _, _ = db.Counter("stock", "1").Add(ctx, 1) })
	}
	eventually(t, "as much is kept back as was sent", func() bool {
		sent := asked.Load()
		return sent >= crowd && db.Stats().HeldBack >= uint64(sent)
	})
	cancel()
	running.Wait()
}

// An attempt that the deadline overtakes may have been carried out; one that was refused
// was not, and says why the call failed.
func TestACallThatWasRefusedUntilItsDeadlineIsOverloaded(t *testing.T) {
	const crowd = 100
	for limit := time.Second; ; limit *= 2 {
		_, nodes := newCluster(t, 1)
		server, _ := busy(t, nodes[0].server.Config.Handler, 1<<40, "0")
		var mu sync.Mutex
		refused, silent := map[string]bool{}, map[string]bool{} // by operation
		db, err := cartwheel.Open(t.Context(), []string{server.URL}, cartwheel.WithObserver(func(a cartwheel.Attempt) {
			mu.Lock()
			defer mu.Unlock()
			if connect.CodeOf(a.Err) == connect.CodeResourceExhausted {
				refused[a.OperationID] = true
			} else {
				silent[a.OperationID] = true
			}
		}))
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		failed := make(chan error, crowd)
		for range crowd {
			go func() { _, err := db.Counter("stock", "1").Add(ctx, 1); failed <- err }()
		}
		for range crowd {
			err := <-failed
			var e *cartwheel.Error
			if !errors.As(err, &e) {
				t.Fatal(err)
			}
			mu.Lock()
			told, unanswered := refused[e.OperationID], silent[e.OperationID]
			mu.Unlock()
			// One that was not refused may have been kept back, for what befell the others.
			late := e.Reason == cartwheel.DeadlinePast && !told
			if e.Reason != cartwheel.Overloaded && !late || e.OutcomeUnknown != unanswered {
				t.Errorf("refused %t, and without an answer %t: %v", told, unanswered, err)
			}
		}
		if len(refused) > 0 {
			return
		}
		t.Logf("nothing was answered within %v", limit)
	}
}
