package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	cartwheel "github.com/cartwheel-db/cartwheel/sdk"
)

// scripted is a cluster that does what it is told.
type scripted func(ctx context.Context, n uint64) error

type script struct {
	did  atomic.Uint64
	next scripted
}

func (s *script) load(context.Context, int) error { return nil }

func (s *script) do(ctx context.Context, _ step) (int, error) { return 0, s.next(ctx, s.did.Add(1)) }

func openConfig(outstanding int) Config {
	return Config{Deadline: time.Minute, Outstanding: outstanding}
}

func newSteps() *generator {
	keys := newZipf(10, 0)
	return newGenerator(workloads[0], &keys, 1, 0)
}

func TestAnOpenLoopBeginsEveryOperationWhateverBecomesOfThem(t *testing.T) {
	to := &script{next: func(_ context.Context, n uint64) error {
		switch n % 4 {
		case 0:
			return &cartwheel.Error{Reason: cartwheel.Overloaded}
		case 1:
			return &cartwheel.Error{Reason: cartwheel.DeadlinePast}
		case 2:
			return &cartwheel.Error{Reason: cartwheel.QuorumNotReached}
		}
		return nil
	}}
	cfg := openConfig(64)
	o := offer(t.Context(), to, newSteps(), 2000, 500*time.Millisecond, cfg)
	sum := o.offer(cfg, 2000, workloads[0].mix, 500*time.Millisecond)
	begun := to.did.Load()
	if sum.Offered != 1000 || sum.Good+sum.Refused+sum.Late+sum.Failed != begun || begun+sum.Unsent != 1000 {
		t.Errorf("%d reached the cluster: %+v", begun, sum)
	}
	if quarter := begun / 4; sum.Refused != quarter || sum.Good < quarter-1 || sum.Good > quarter+1 || sum.Failed < quarter-1 {
		t.Errorf("%d reached the cluster, which is to have a quarter of each: %+v", begun, sum)
	}
}

func TestWhatIsDueBeyondTheBoundIsNotBegun(t *testing.T) {
	release := make(chan struct{})
	to := &script{next: func(context.Context, uint64) error { <-release; return nil }}
	cfg := openConfig(10)
	go func() {
		for to.did.Load() < 10 {
			time.Sleep(time.Millisecond)
		}
		time.AfterFunc(150*time.Millisecond, func() { close(release) })
	}()
	o := offer(t.Context(), to, newSteps(), 1000, 100*time.Millisecond, cfg)
	if sum := o.offer(cfg, 1000, workloads[0].mix, 100*time.Millisecond); sum.Offered != 100 || sum.Good != 10 || sum.Unsent != 90 {
		t.Errorf("%+v, want 100 offered, 10 begun", sum)
	}
}

func TestTheFateOfAnOperation(t *testing.T) {
	for _, test := range []struct {
		name string
		err  error
		took time.Duration
		want int
	}{
		{"in time", nil, 999, good},
		{"at the deadline is too late", nil, 1000, late},
		{"refused", &cartwheel.Error{Reason: cartwheel.Overloaded}, 10, refused},
		{"refused late is refused", &cartwheel.Error{Reason: cartwheel.Overloaded}, 2000, refused},
		{"no answer in time", &cartwheel.Error{Reason: cartwheel.Unreachable}, 1001, late},
		{"no time left at a node", &cartwheel.Error{Reason: cartwheel.DeadlinePast}, 900, late},
		{"anything else", errors.New("tripped"), 10, failed},
	} {
		if got := fateOf(test.err, test.took, 1000); got != test.want {
			t.Errorf("%s: %d, want %d", test.name, got, test.want)
		}
	}
}

func TestRecoveryIsFromWhenOnAllWindowsAreGood(t *testing.T) {
	for _, test := range []struct {
		name string
		good []uint64 // of 100 in each window
		want time.Duration
		ok   bool
	}{
		{"good all the time", []uint64{100, 99, 100}, 0, true},
		{"bad at first", []uint64{10, 98, 99, 100}, 2 * window, true},
		{"bad in between", []uint64{100, 100, 50, 100}, 3 * window, true},
		{"bad at the end", []uint64{100, 100, 98}, 3 * window, false},
	} {
		o := newOutcome(time.Duration(len(test.good)) * window) // one more, in which nothing is due
		for i, n := range test.good {
			o.windows[i].offered.Store(100)
			o.windows[i].good.Store(n)
		}
		if after, ok := o.settled(); after != test.want || ok != test.ok {
			t.Errorf("%s: after %v, %v; want %v, %v", test.name, after, ok, test.want, test.ok)
		}
	}
}

func TestTheLeanClientSpeaksHTTPAndKeepsItsConnection(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			<-r.Context().Done()
			return
		}
		body, err := io.ReadAll(r.Body)
		w.Header().Set("From", r.RemoteAddr)
		w.WriteHeader(http.StatusTooManyRequests)
		fmt.Fprintf(w, "%s %s %s %v", r.Method, r.Header.Get("Kind"), body, err)
	}))
	defer server.Close()
	lean := newWire()
	defer lean.close()
	post := func(ctx context.Context, path, body string) (*http.Response, string, error) {
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Kind", "of proof")
		response, err := lean.Do(r)
		if err != nil {
			return nil, "", err
		}
		got, err := io.ReadAll(response.Body)
		return response, string(got), err
	}
	var from string
	for _, body := range []string{"one", "", strings.Repeat("many ", 10_000)} {
		response, got, err := post(t.Context(), "/x?y=1", body)
		if err != nil || response.StatusCode != http.StatusTooManyRequests || got != "POST of proof "+body+" <nil>" {
			t.Fatalf("%v, %v, %.100q", response, err, got)
		}
		if from != "" && response.Header.Get("From") != from {
			t.Errorf("a new connection: %s, before %s", response.Header.Get("From"), from)
		}
		from = response.Header.Get("From")
	}
	limited, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, _, err := post(limited, "/slow", ""); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("no answer in time: %v", err)
	}
	if _, got, err := post(t.Context(), "/x", "again"); err != nil || got != "POST of proof again <nil>" {
		t.Errorf("after that: %q, %v", got, err)
	}
}

func TestASteadyRateRunsAgainstARealNode(t *testing.T) {
	node := startNode(t)
	cfg := small(node.APIAddr(), "cart")
	cfg.Ops, cfg.Duration, cfg.Rate, cfg.Deadline, cfg.Outstanding = 0, 500*time.Millisecond, 200, 10*time.Second, 100
	report, err := Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if o := report.Offer; o == nil || o.Offered != 100 || o.Good != 100 || report.Total.Ops != 100 || o.Latency.P50 <= 0 {
		t.Errorf("%+v of %+v, want 100 good ones", report.Offer, report.Total)
	}
}

func TestTheOverloadCurveHasItsPhasesAndAnEnd(t *testing.T) {
	node := startNode(t)
	cfg := small(node.APIAddr(), "counter")
	cfg.Ops, cfg.Duration, cfg.Clients, cfg.Overload = 0, 100*time.Millisecond, 64, true
	cfg.Deadline, cfg.Outstanding, cfg.recovery = 10*time.Second, 50, 300*time.Millisecond
	report, err := Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	o := report.Overload
	if o == nil || o.PeakPerS <= 0 || len(o.Phases) != 4 {
		t.Fatalf("%+v", o)
	}
	for i, times := range []float64{1, 2, 5, 0.5} {
		p := o.Phases[i]
		if p.Times != times || p.Offered == 0 || p.Good == 0 || p.Good+p.Refused+p.Late+p.Failed+p.Unsent != p.Offered {
			t.Errorf("phase %v: %+v", times, p)
		}
	}
}

func TestTheOverloadCurveReadsAsItAlwaysDid(t *testing.T) {
	r := sample()
	phase := func(times, rate float64, good, refused, unsent uint64) Phase {
		return Phase{Times: times, OfPeak: float64(good) / 5 / 4000, ServerCPU: 7.5, ClientCPU: 2, Attempts: good + refused, Offer: Offer{
			Rate: rate, DeadlineS: 1, Outstanding: 4096, ElapsedS: 5, Offered: good + refused + unsent, Good: good, GoodPerS: float64(good) / 5,
			Refused: refused, Unsent: unsent, Latency: Latency{P50: 12.34, P99: 56.78, P999: 90.12}}}
	}
	r.Overload = &Overload{PeakPerS: 4000, PeakClients: 256, Recovered: true, RecoveryS: 0.75, Phases: []Phase{
		phase(1, 4000, 19_000, 1000, 0), phase(5, 20_000, 16_000, 80_000, 4000), phase(0.5, 2000, 10_000, 0, 0)}}
	r.Offer = &r.Overload.Phases[1].Offer
	var text bytes.Buffer
	if err := r.Text(&text); err != nil {
		t.Fatal(err)
	}
	object, err := json.MarshalIndent(r.Overload, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "overload.txt", text.Bytes())
	golden(t, "overload.json", append(object, '\n'))
}
