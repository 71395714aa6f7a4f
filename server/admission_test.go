package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect"
	"connectrpc.com/grpchealth"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/replica"
	cartwheelv1 "github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1"
	"github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1/cartwheelv1connect"
)

// stand fills an admission with as many as it lets in.
func stand(a *admission) {
	for a.enter(context.Background(), 0, time.Nanosecond) {
	}
}

func TestAnAdmissionNeverLetsInMoreThanItsBound(t *testing.T) {
	const most, callers, calls = 7, 200, 20
	a := newAdmission(most, time.Now)
	var inside, highest, entered atomic.Int64
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			for range calls {
				if !a.enter(t.Context(), 1, 0) {
					continue
				}
				n := inside.Add(1)
				for h := highest.Load(); n > h && !highest.CompareAndSwap(h, n); h = highest.Load() {
				}
				runtime.Gosched()
				inside.Add(-1)
				entered.Add(1)
				a.leave(1)
			}
		})
	}
	all.Wait()
	s := a.stats()
	if h := highest.Load(); h > most || h < 2 {
		t.Errorf("%d were inside at a time, the bound is %d", h, most)
	}
	if s.Inside != 0 || s.Waiting != 0 || a.held != 0 || s.Admitted != uint64(entered.Load()) || s.Admitted+s.Refused != callers*calls {
		t.Errorf("afterwards: %+v, %d bytes held, %d had entered", s, a.held, entered.Load())
	}
}

func TestABurstWaitsItsTurnAndALineThatStandsIsRefusedSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAdmission(2, time.Now) // a line of 16
		stand(a)
		began := time.Now()
		order := make(chan int, 3)
		for i := range 3 {
			go func() {
				if a.enter(t.Context(), 0, 0) {
					order <- i
				}
			}()
			synctest.Wait()
		}
		for i := range 3 {
			time.Sleep(10 * time.Millisecond)
			a.leave(0)
			if got := <-order; got != i {
				t.Errorf("%d entered as number %d of a burst", got, i)
			}
		}
		// From here on nobody leaves.
		if took := time.Since(began); took != 30*time.Millisecond {
			t.Errorf("the burst took %v", took)
		}
		began = time.Now()
		if a.enter(t.Context(), 0, 0) || time.Since(began) != burstPatience {
			t.Errorf("refused after %v, want %v", time.Since(began), burstPatience)
		}
		for since := time.Now(); time.Since(since) <= 2*standing; {
			go a.enter(t.Context(), 0, 0)
			time.Sleep(time.Millisecond)
		}
		began = time.Now()
		if a.enter(t.Context(), 0, 0) || time.Since(began) > 2*shortPatience {
			t.Errorf("in a line that stands refused after %v, want about %v", time.Since(began), shortPatience)
		}
		newest := make(chan bool, 1)
		go func() { newest <- a.enter(t.Context(), 0, 0) }()
		synctest.Wait()
		a.leave(0)
		synctest.Wait()
		select {
		case in := <-newest:
			if !in {
				t.Error("the newest was refused though there was room")
			}
		default:
			t.Error("room went to somebody older than the newest")
		}
		time.Sleep(time.Second)
	})
}

func TestTheMoreAreRefusedTheLongerEachWaitsForItButNeverTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAdmission(100, time.Now)
		stand(a)
		refusedAfter := func(left time.Duration) time.Duration {
			began := time.Now()
			if a.enter(t.Context(), 0, left) {
				t.Fatal("there was no room")
			}
			return time.Since(began)
		}
		hold := func(line time.Duration) { // the line does not become empty
			for range int(line / time.Millisecond) {
				go a.enter(t.Context(), 0, 0)
				time.Sleep(time.Millisecond)
			}
		}
		hold(300 * time.Millisecond)
		a.mu.Lock()
		a.refusals, a.refusedAt = 0, time.Now()
		a.mu.Unlock()
		if got := refusedAfter(0); got != shortPatience {
			t.Errorf("few are refused: after %v", got)
		}
		hold(300 * time.Millisecond)
		a.mu.Lock()
		a.refusals, a.refusedAt = cheapRefusals+500, time.Now()
		a.mu.Unlock()
		if got := refusedAfter(0); got < 150*time.Millisecond || got > 250*time.Millisecond {
			t.Errorf("500 a second more than is cheap: after %v, want about 200 ms", got)
		}
		hold(300 * time.Millisecond)
		a.mu.Lock()
		a.refusals, a.refusedAt = 1e6, time.Now()
		a.mu.Unlock()
		if got := refusedAfter(120 * time.Millisecond); got != 60*time.Millisecond {
			t.Errorf("a client with 120 ms waited %v, want half of that", got)
		}
		time.Sleep(2 * time.Second)
	})
}

func TestWhoGoesAwayGivesUpItsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAdmission(1, time.Now)
		stand(a)
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan bool, 1)
		go func() { gone <- a.enter(ctx, 0, 0) }()
		synctest.Wait()
		cancel()
		if <-gone {
			t.Error("was admitted")
		}
		if s := a.stats(); s.Waiting != 0 {
			t.Errorf("%d wait", s.Waiting)
		}
	})
}

func TestBytesAreBoundedButOneRequestAlwaysFits(t *testing.T) {
	a := newAdmission(10, time.Now)
	now := time.Nanosecond
	if !a.enter(t.Context(), requestBytes+1, now) {
		t.Error("the first is too large for an empty node")
	}
	if a.enter(t.Context(), 1, now) {
		t.Error("a second was let in beside it")
	}
	a.leave(requestBytes + 1)
	for i, want := range []bool{true, true, false} {
		if got := a.enter(t.Context(), requestBytes/2, now); got != want {
			t.Errorf("half of the bytes for the %d. time: %v", i+1, got)
		}
	}
}

func TestTheBoundFollowsTheDeadlinesThatAreMissed(t *testing.T) {
	now := time.Unix(0, 0)
	a := newAdmission(64, func() time.Time { return now })
	round := func(missed int) int { // as many as fit, of which some miss
		stand(a)
		n := a.stats().Inside
		for i := range n {
			if i < missed {
				a.miss()
			}
			now = now.Add(judgeEvery)
			a.leave(0)
		}
		for a.stats().Inside > 0 {
			a.leave(0)
		}
		return a.stats().Limit
	}
	for range 30 {
		round(64)
	}
	if low := a.stats().Limit; low != leastInside {
		t.Errorf("while all miss their deadline the limit falls to %d, want %d", low, leastInside)
	}
	for range 300 {
		round(0)
	}
	if high := a.stats().Limit; high != 64 {
		t.Errorf("when none does, it comes back to %d, want 64", high)
	}
}

// stuckBackend holds every request until it is let go.
type stuckBackend struct {
	Backend
	inside, highest atomic.Int64
	let             chan struct{}
}

func (b *stuckBackend) Do(_ context.Context, _ replica.Request, seen crdt.Stamp) (replica.Result, crdt.Stamp) {
	n := b.inside.Add(1)
	for h := b.highest.Load(); n > h && !b.highest.CompareAndSwap(h, n); h = b.highest.Load() {
	}
	<-b.let
	b.inside.Add(-1)
	return replica.Result{Merged: &replica.Merged{}, Answers: 1}, seen
}

// Many more callers than the bound, by every protocol: at most as many as it says
// are inside, all others hear in the words of their protocol that nothing was
// done, and who looks after the node is not refused.
func TestCallersBeyondTheBoundAreRefusedByEveryProtocol(t *testing.T) {
	const most, callers = 4, 60
	for _, test := range []struct {
		name    string
		http2   bool
		options []connect.ClientOption
	}{
		{"Connect over HTTP/1.1", false, nil},
		{"Connect over HTTP/1.1 with JSON", false, []connect.ClientOption{connect.WithProtoJSON()}},
		{"Connect over HTTP/2", true, nil},
		{"gRPC", true, []connect.ClientOption{connect.WithGRPC()}},
		{"gRPC-Web", false, []connect.ClientOption{connect.WithGRPCWeb()}},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := &stuckBackend{Backend: newTestCluster(t, 1).nodes[0], let: make(chan struct{})}
			a := newAdmission(most, time.Now)
			server := httptest.NewUnstartedServer(Handler(b, HandlerOptions{admission: a}))
			protocols := new(http.Protocols)
			protocols.SetHTTP1(!test.http2)
			protocols.SetUnencryptedHTTP2(test.http2)
			server.Config.Protocols = protocols
			server.Start()
			defer server.Close()
			client := &http.Client{Transport: &http.Transport{Protocols: protocols}}
			defer client.CloseIdleConnections()
			counter := cartwheelv1connect.NewCounterServiceClient(client, server.URL, test.options...)

			results := make(chan error, callers)
			for range callers {
				go func() {
					_, err := counter.Get(t.Context(), connect.NewRequest(&cartwheelv1.CounterServiceGetRequest{Bucket: "b", Key: "k"}))
					results <- err
				}()
			}
			for range callers - most {
				err := <-results
				var failed *connect.Error
				if !errors.As(err, &failed) || failed.Code() != connect.CodeResourceExhausted {
					t.Fatalf("got %v, want resource exhausted", err)
				}
				detail := detailOf(t, failed)
				if detail.GetReason() != cartwheelv1.ErrorDetail_REASON_OVERLOADED || detail.GetOutcomeUnknown() || detail.GetOperation() != "counter.get" || detail.GetLimit() != most {
					t.Fatalf("detail %v", detail)
				}
				if failed.Meta().Get(pushbackHeader) == "" || !strings.Contains(failed.Message(), "nothing was done") {
					t.Fatalf("%v with %v", failed, failed.Meta())
				}
			}
			status := cartwheelv1connect.NewClusterServiceClient(client, server.URL, test.options...)
			if _, err := status.Status(t.Context(), connect.NewRequest(&cartwheelv1.ClusterServiceStatusRequest{})); err != nil {
				t.Errorf("the state of the cluster is refused: %v", err)
			}
			health := connect.NewClient[emptypb.Empty, emptypb.Empty](client, server.URL+"/"+grpchealth.HealthV1ServiceName+"/Check", test.options...)
			if _, err := health.CallUnary(t.Context(), connect.NewRequest(&emptypb.Empty{})); err != nil {
				t.Errorf("health is refused: %v", err)
			}
			close(b.let)
			for range most {
				if err := <-results; err != nil {
					t.Errorf("one that was let in failed: %v", err)
				}
			}
			if h := b.highest.Load(); h != most {
				t.Errorf("%d were inside at a time, want %d", h, most)
			}
			if s := a.stats(); s.Inside != 0 || s.Waiting != 0 || s.Admitted != most || s.Refused != callers-most {
				t.Errorf("afterwards: %+v", s)
			}
		})
	}
}

func detailOf(t *testing.T, failed *connect.Error) *cartwheelv1.ErrorDetail {
	t.Helper()
	for _, attached := range failed.Details() {
		if value, err := attached.Value(); err == nil {
			if detail, ok := value.(*cartwheelv1.ErrorDetail); ok {
				return detail
			}
		}
	}
	t.Fatalf("no detail in %v", failed)
	return nil
}

func TestTheTimeAClientGivesIsReadFromEitherProtocol(t *testing.T) {
	for _, test := range []struct {
		header, value string
		want          time.Duration
	}{
		{"Connect-Timeout-Ms", "1500", 1500 * time.Millisecond},
		{"Connect-Timeout-Ms", "-1", 0},
		{"Connect-Timeout-Ms", "99999999999999999999", 0},
		{"Grpc-Timeout", "20m", 20 * time.Millisecond},
		{"Grpc-Timeout", "3S", 3 * time.Second},
		{"Grpc-Timeout", "2H", 2 * time.Hour},
		{"Grpc-Timeout", "7u", 7 * time.Microsecond},
		{"Grpc-Timeout", "99999999H", 0}, // would not fit
		{"Grpc-Timeout", "m", 0},
		{"Grpc-Timeout", "5x", 0},
		{"Other", "5", 0},
	} {
		h := http.Header{}
		h.Set(test.header, test.value)
		if got := timeLeft(h); got != test.want {
			t.Errorf("%s: %s is %v, want %v", test.header, test.value, got, test.want)
		}
	}
}

func BenchmarkRefusal(b *testing.B) {
	a := newAdmission(1, time.Now)
	stand(a)
	handler := admitting(http.NotFoundHandler(), a, connect.NewErrorWriter())
	for _, test := range []struct{ name, kind string }{{"Connect", "application/proto"}, {"gRPC", "application/grpc+proto"}} {
		b.Run(test.name, func(b *testing.B) {
			r := httptest.NewRequest(http.MethodPost, cartwheelv1connect.CounterServiceAddProcedure, nil)
			r.Header.Set("Content-Type", test.kind)
			ctx, cancel := context.WithCancel(b.Context())
			cancel() // refused without waiting
			r = r.WithContext(ctx)
			b.ReportAllocs()
			for b.Loop() {
				w := &recorder{header: http.Header{}}
				handler.ServeHTTP(w, r)
				if w.Len() == 0 && test.kind == "application/proto" {
					b.Fatal(fmt.Sprint("nothing was written: ", w.header))
				}
			}
		})
	}
}
