package cartwheel_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	cartwheel "github.com/cartwheel-db/cartwheel/sdk"
)

var apiNames = map[cartwheel.API]string{cartwheel.Unary: "unary", cartwheel.Batch: "batch", cartwheel.Stream: "stream"}

func eachAPI(t *testing.T, name string, fn func(*testing.T, cartwheel.API)) {
	for _, api := range []cartwheel.API{cartwheel.Unary, cartwheel.Batch, cartwheel.Stream} {
		t.Run(name+apiNames[api], func(t *testing.T) { fn(t, api) })
	}
}

// openBy returns a client whose calls travel this way from the first one on.
func openBy(t *testing.T, nodes []*fakeNode, api cartwheel.API, options ...cartwheel.Option) *cartwheel.DB {
	t.Helper()
	db := open(t, nodes, append([]cartwheel.Option{cartwheel.WithAPI(api)}, options...)...)
	if api == cartwheel.Stream {
		eventually(t, "a stream to every node is open", func() bool { return db.Warm() == len(nodes) })
	}
	return db
}

// patience is for what takes a moment, on a machine that has much else to do.
const patience = 2 * time.Minute

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for until := time.Now().Add(patience); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

func TestConcurrentCallsTravelTogether(t *testing.T) {
	for _, api := range []cartwheel.API{cartwheel.Batch, cartwheel.Stream} {
		t.Run(apiNames[api], func(t *testing.T) {
			_, nodes := newCluster(t, 1)
			db := openBy(t, nodes, api)
			const workers, each = 64, 30
			var running sync.WaitGroup
			for range workers {
				running.Go(func() {
					for range each {
						if _, err := db.Counter("stock", "1").Add(t.Context(), 1); err != nil {
							t.Error(err)
						}
					}
				})
			}
			running.Wait()
			messages, calls, _ := nodes[0].pipedSoFar()
			if len(calls) != workers*each || slices.Max(messages) < 2 || len(messages) > len(calls)*3/4 {
				t.Errorf("%d calls travelled in %d messages, at most %d in one", len(calls), len(messages), slices.Max(messages))
			}
			if got, err := db.Counter("stock", "1").Get(t.Context()); got != workers*each || err != nil {
				t.Errorf("got %d, %v", got, err)
			}
		})
	}
}

// What a call ends with does not depend on how it travels.
func TestAFailureIsTheSameWhicheverWayACallTravels(t *testing.T) {
	_, nodes := newCluster(t, 1)
	calls := []struct {
		name string
		call func(*cartwheel.DB) error
	}{
		{"an overflow", func(db *cartwheel.DB) error { _, err := db.Counter("b", "full").Add(t.Context(), 1); return err }},
		{"a read too stale", func(db *cartwheel.DB) error { _, err := db.Counter("b", "stale").Get(t.Context()); return err }},
		{"a session that is none", func(db *cartwheel.DB) error { _, err := db.Counter("b", "torn").Get(t.Context()); return err }},
		{"an option out of bounds", func(db *cartwheel.DB) error {
			return db.Set("b", "s").With(cartwheel.W(4)).Add(t.Context(), "m")
		}},
		{"a forged context", func(db *cartwheel.DB) error { return db.Set("b", "s").RemoveWith(t.Context(), "forged", "m") }},
		{"a quorum not reached", func(db *cartwheel.DB) error {
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			_, err := db.Counter("b", "split").Add(ctx, 1)
			return err
		}},
		{"a node that trips", func(db *cartwheel.DB) error {
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			_, err := db.Counter("b", "tripping").Add(ctx, 1)
			return err
		}},
		{"an unexplained refusal", func(db *cartwheel.DB) error {
			nodes[0].plant(counterAdd, refuse)
			_, err := db.Counter("b", "k").Add(t.Context(), 1)
			return err
		}},
	}
	want := map[string]cartwheel.Error{}
	eachAPI(t, "", func(t *testing.T, api cartwheel.API) {
		for _, test := range calls {
			attempts := cartwheel.WithAttempts(0)
			if test.name == "an unexplained refusal" {
				attempts = cartwheel.WithAttempts(1)
			}
			db := openBy(t, nodes, api, attempts)
			_, before, _ := nodes[0].pipedSoFar()
			err := test.call(db)
			var failed *cartwheel.Error
			if !errors.As(err, &failed) {
				t.Errorf("%s: %v", test.name, err)
				continue
			}
			got := *failed
			got.OperationID, got.Attempts, got.Err = "", 0, nil
			if api == cartwheel.Unary {
				want[test.name] = got
			} else if _, after, _ := nodes[0].pipedSoFar(); len(after) == len(before) {
				t.Errorf("%s: it did not travel in a pipeline", test.name)
			}
			w := want[test.name]
			if got.Staleness != nil && w.Staleness != nil && got.Staleness.String() == w.Staleness.String() {
				got.Staleness = w.Staleness
			}
			if got != w {
				t.Errorf("%s is %+v, by itself %+v", test.name, got, w)
			}
			if !strings.Contains(err.Error(), string(w.Reason)) {
				t.Errorf("%s reads %q", test.name, err)
			}
		}
	})
}

func TestARefusalForOverloadInAPipelineIsLeftAloneForAsLongAsTheNodeAsks(t *testing.T) {
	eachAPI(t, "", func(t *testing.T, api cartwheel.API) {
		_, nodes := newCluster(t, 1)
		db := openBy(t, nodes, api)
		nodes[0].plant(counterAdd, busied)
		began := time.Now()
		if got, err := db.Counter("stock", "1").Add(t.Context(), 5); got != 5 || err != nil {
			t.Fatalf("got %d, %v", got, err)
		}
		if took := time.Since(began); took < 150*time.Millisecond || nodes[0].requests(counterAdd) != 2 {
			t.Errorf("took %v and %d attempts, want 2 and 150 ms between them", took, nodes[0].requests(counterAdd))
		}
	})
}

func TestACallThatIsGivenUpIsCancelledAtTheNodeAndNoOther(t *testing.T) {
	_, nodes := newCluster(t, 1)
	db := openBy(t, nodes, cartwheel.Stream)
	nodes[0].plant(counterAdd, hang)
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	go func() { _, err := db.Counter("stock", "1").Add(ctx, 1); failed <- err }()
	<-nodes[0].hanging
	if got, err := db.Counter("stock", "2").Add(t.Context(), 2); got != 2 || err != nil {
		t.Errorf("beside a call that hangs: %d, %v", got, err)
	}
	cancel()
	if err := <-failed; !errors.Is(err, cartwheel.Canceled) || !errors.Is(err, cartwheel.ErrUnknownOutcome) {
		t.Errorf("given up: %v", err)
	}
	eventually(t, "the node hears of it", func() bool {
		_, calls, canceled := nodes[0].pipedSoFar()
		return len(canceled) == 1 && canceled[0] == calls[0].GetId()
	})
	if got, err := db.Counter("stock", "2").Add(t.Context(), 2); got != 4 || err != nil {
		t.Errorf("afterwards: %d, %v", got, err)
	}
}

func TestEachCallOfAPipelineSaysHowLongItsCallerWaits(t *testing.T) {
	for _, api := range []cartwheel.API{cartwheel.Batch, cartwheel.Stream} {
		_, nodes := newCluster(t, 1)
		db := openBy(t, nodes, api, cartwheel.WithAttemptTimeout(700*time.Millisecond))
		short, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		for _, ctx := range []context.Context{t.Context(), short} {
			if _, err := db.Counter("stock", "1").Add(ctx, 1); err != nil {
				t.Fatal(err)
			}
		}
		_, calls, _ := nodes[0].pipedSoFar()
		for i, most := range []uint32{700, 300} {
			if got := calls[i].GetTimeoutMs(); got > most || got < most/2 {
				t.Errorf("%s: call %d says %d ms, want about %d", apiNames[api], i, got, most)
			}
		}
	}
}

func TestANodeWithoutPipelinesIsAskedOneByOneAndLeftAloneWithThem(t *testing.T) {
	for _, api := range []cartwheel.API{cartwheel.Batch, cartwheel.Stream} {
		t.Run(apiNames[api], func(t *testing.T) {
			_, nodes := newCluster(t, 1)
			nodes[0].old = true
			db := open(t, nodes, cartwheel.WithAPI(api))
			tried := func() int {
				return nodes[0].requests("PipelineService/Stream") + nodes[0].requests("PipelineService/Batch")
			}
			for want := int64(1); want <= 20 || tried() == 0; want++ {
				if got, err := db.Counter("stock", "1").Add(t.Context(), 1); got != want || err != nil {
					t.Fatalf("got %d, %v", got, err)
				}
			}
			if n := tried(); n != 1 {
				t.Errorf("a pipeline was tried %d times", n)
			}
			if s := db.Stats(); s.Retries != 0 {
				t.Errorf("%d retries", s.Retries)
			}
		})
	}
}

// readAll is a client that sends a request when it has all of its body.
type readAll struct{ plain http.Client }

func (c *readAll) Do(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		r.Body = io.NopCloser(strings.NewReader(string(body)))
	}
	return c.plain.Do(r)
}

func TestHTTPClientsThatCannotStreamAreServedAllTheSame(t *testing.T) {
	_, nodes := newCluster(t, 1)
	server := httptest.NewUnstartedServer(nodes[0].server.Config.Handler)
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetHTTP1(true)
	server.Start()
	t.Cleanup(server.Close)
	want := int64(0)
	for name, client := range map[string]interface {
		Do(*http.Request) (*http.Response, error)
	}{"HTTP/1.1 only": &http.Client{Timeout: 10 * time.Second}, "whole requests only": &readAll{}} {
		db, err := cartwheel.Open(t.Context(), []string{server.URL}, cartwheel.WithHTTPClient(client))
		if err != nil {
			t.Fatal(err)
		}
		for range 20 {
			want++
			if got, err := db.Counter("stock", "1").Add(t.Context(), 1); got != want || err != nil {
				t.Fatalf("%s: %d, %v", name, got, err)
			}
		}
		if s := db.Stats(); s.Retries != 0 || db.Warm() != 0 {
			t.Errorf("%s: %d retries, %d streams", name, s.Retries, db.Warm())
		}
		db.Close()
	}
	nothingRuns(t)
}

// nothingRuns waits until no goroutine of the client is left.
func nothingRuns(t *testing.T) {
	t.Helper()
	var stacks string
	defer func() {
		if t.Failed() {
			t.Log(stacks)
		}
	}()
	eventually(t, "no goroutine of the client runs", func() bool {
		buffer := make([]byte, 1<<20)
		stacks = ""
		for one := range strings.SplitSeq(string(buffer[:runtime.Stack(buffer, true)]), "\n\n") {
			if strings.Contains(one, "cartwheel/sdk.") || strings.Contains(one, "http2clientConnReadLoop") {
				stacks += one + "\n\n"
			}
		}
		return stacks == ""
	})
}

func TestCloseEndsEverythingThatRunsInTheBackground(t *testing.T) {
	eachAPI(t, "", func(t *testing.T, api cartwheel.API) {
		_, nodes := newCluster(t, 3)
		db := openBy(t, nodes, api, cartwheel.WithRotation())
		for range 9 {
			if _, err := db.Counter("stock", "1").Add(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
		}
		db.Close()
		nothingRuns(t)
		db.Close()
	})
}

func TestACallUnderWayWhenTheClientIsClosedIsAnswered(t *testing.T) {
	for _, api := range []cartwheel.API{cartwheel.Batch, cartwheel.Stream} {
		t.Run(apiNames[api], func(t *testing.T) {
			cluster, nodes := newCluster(t, 1)
			db := openBy(t, nodes, api)
			release := cluster.hold(t)
			got := make(chan error, 1)
			go func() {
				value, err := db.Counter("stock", "1").Add(t.Context(), 5)
				if value != 5 && err == nil {
					err = fmt.Errorf("got %d", value)
				}
				got <- err
			}()
			eventually(t, "the call is at the node", func() bool { _, calls, _ := nodes[0].pipedSoFar(); return len(calls) == 1 })
			db.Close()
			release()
			if err := <-got; err != nil {
				t.Error(err)
			}
			nothingRuns(t)
		})
	}
}

func TestAStreamThatBreaksIsOpenedAgainAndItsCallsAreTriedAgain(t *testing.T) {
	cluster, nodes := newCluster(t, 1)
	db := openBy(t, nodes, cartwheel.Stream, cartwheel.WithCooldown(0))
	const workers = 20
	running, release := callers(t), cluster.hold(t)
	for range workers {
		running.Go(func() {
			if _, err := db.Counter("stock", "1").Add(t.Context(), 1); err != nil {
				t.Error(err)
			}
		})
	}
	eventually(t, "all are at the node", func() bool { _, calls, _ := nodes[0].pipedSoFar(); return len(calls) == workers })
	nodes[0].plant("CounterService/Get", cut)
	if _, err := db.Counter("stock", "2").With(cartwheel.NoSession()).Get(contextOf(t, 50*time.Millisecond)); err == nil {
		t.Error("a read that cut the connection was answered")
	}
	release()
	running.Wait()
	if got, err := db.Counter("stock", "1").Get(t.Context()); got != workers || err != nil {
		t.Errorf("%d increments, each sent twice, came to %d, %v", workers, got, err)
	}
	if s := db.Stats(); s.RetriedOperations < workers {
		t.Errorf("%d operations were tried again, want %d", s.RetriedOperations, workers)
	}
	eventually(t, "there is a stream again", func() bool { return db.Warm() == 1 })
}

func contextOf(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// A request that is larger than a message travels by itself, and what is too large
// for the node befalls itself only.
func TestALargeRequestTravelsByItself(t *testing.T) {
	for _, api := range []cartwheel.API{cartwheel.Batch, cartwheel.Stream} {
		_, nodes := newCluster(t, 1)
		db := openBy(t, nodes, api)
		if _, err := db.Blob("b", "k").Put(t.Context(), make([]byte, 2<<20), ""); err != nil {
			t.Fatal(err)
		}
		if _, calls, _ := nodes[0].pipedSoFar(); len(calls) != 0 || nodes[0].requests("BlobService/Put") != 1 {
			t.Errorf("%s: %d calls travelled together", apiNames[api], len(calls))
		}
	}
}

// More callers than a stream takes at a time: the rest waits in the client.
func TestMoreCallersThanAStreamTakesAreAllServed(t *testing.T) {
	cluster, nodes := newCluster(t, 1)
	db := openBy(t, nodes, cartwheel.Stream, cartwheel.WithAttemptTimeout(2*patience), cartwheel.WithTimeout(2*patience))
	const crowd = 1500
	running, release := callers(t), cluster.hold(t)
	var done atomic.Int64
	for range crowd {
		running.Go(func() {
			if _, err := db.Counter("stock", "1").Add(t.Context(), 1); err != nil {
				t.Error(err)
			}
			done.Add(1)
		})
	}
	eventually(t, "the stream is full", func() bool { _, calls, _ := nodes[0].pipedSoFar(); return len(calls) == 1024 })
	release()
	running.Wait()
	if _, calls, _ := nodes[0].pipedSoFar(); len(calls) != crowd || done.Load() != crowd {
		t.Errorf("%d calls, %d done", len(calls), done.Load())
	}
}

// Four batches may be under way, and those that nobody waits for are none of them.
func TestABatchThatNobodyWaitsForEnds(t *testing.T) {
	_, nodes := newCluster(t, 1)
	db := openBy(t, nodes, cartwheel.Batch, cartwheel.WithAttemptTimeout(20*time.Second))
	nodes[0].plant(counterAdd, hang, hang, hang, hang)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	running := callers(t)
	for i := range 4 {
		running.Go(func() {
			if _, err := db.Counter("stock", fmt.Sprint(i)).Add(ctx, 1); !errors.Is(err, cartwheel.Canceled) {
				t.Errorf("given up: %v", err)
			}
		})
		<-nodes[0].hanging
	}
	cancel()
	running.Wait()
	began := time.Now()
	if _, err := db.Counter("stock", "9").Add(t.Context(), 1); err != nil || time.Since(began) > 10*time.Second {
		t.Errorf("the next call took %v: %v", time.Since(began), err)
	}
}
