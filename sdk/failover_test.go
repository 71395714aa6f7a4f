package cartwheel_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	cartwheel "github.com/cartwheel-db/cartwheel/sdk"
)

const counterAdd = "CounterService/Add"

func TestAMutationIsRetriedUnderItsFirstOperationID(t *testing.T) {
	for _, test := range []struct {
		name   string
		faults []fault
		runs   int // how often the work reached a handler
	}{
		{"after an unexplained unavailable", []fault{refuse}, 1},
		{"after a connection cut before the work", []fault{cut}, 1},
		{"after a connection cut after the work", []fault{abort}, 2},
		{"after no answer in an attempt's time", []fault{hang}, 1},
		{"after several of them", []fault{abort, refuse, abort, cut}, 3},
	} {
		eachAPI(t, test.name+", by ", func(t *testing.T, api cartwheel.API) {
			t.Parallel()
			cluster, nodes := newCluster(t, 1)
			var tries []cartwheel.Attempt
			db := openBy(t, nodes, api, cartwheel.WithObserver(func(a cartwheel.Attempt) { tries = append(tries, a) }))
			tries = nil
			nodes[0].plant(counterAdd, test.faults...)
			got, err := db.Counter("stock", "1").Add(t.Context(), 5)
			if got != 5 || err != nil {
				t.Fatalf("got %d, %v; want 5 counted once", got, err)
			}
			if len(tries) != len(test.faults)+1 {
				t.Errorf("took %d attempts, want %d", len(tries), len(test.faults)+1)
			}
			for i, try := range tries {
				if try.OperationID == "" || try.OperationID != tries[0].OperationID || try.Number != i+1 || (try.Err == nil) != (i == len(test.faults)) {
					t.Errorf("attempt %d: %+v", i+1, try)
				}
			}
			arrived := cluster.requests("counter.add")
			if len(arrived) != test.runs {
				t.Errorf("the work was reached %d times, want %d", len(arrived), test.runs)
			}
			for _, request := range arrived {
				if request.operationID != tries[0].OperationID {
					t.Errorf("arrived under %s, sent under %s", request.operationID, tries[0].OperationID)
				}
			}
			stats := db.Stats()
			if stats.RetriedOperations != 1 || stats.Retries != uint64(len(test.faults)) || stats.Failures != 0 {
				t.Errorf("stats %+v", stats)
			}
		})
	}
}

func TestACallFailsOverToTheNextEndpointAndStaysThere(t *testing.T) {
	_, nodes := newCluster(t, 3)
	// No cooldown: what keeps later calls away is the memory of who answered.
	db := open(t, nodes, cartwheel.WithCooldown(0))
	before := db.Stats()
	nodes[0].plant(counterAdd, cut)
	stock := db.Counter("stock", "1")
	var info cartwheel.Info
	if _, err := stock.With(cartwheel.Report(&info)).Add(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if info.Endpoint != nodes[1].server.URL || info.Attempts != 2 {
		t.Errorf("answered by %s in %d attempts, want the second endpoint in 2", info.Endpoint, info.Attempts)
	}
	for range 5 {
		if got, err := stock.With(cartwheel.Report(&info)).Get(t.Context()); got != 1 || err != nil || info.Attempts != 1 || info.Endpoint != nodes[1].server.URL {
			t.Errorf("got %d, %v, reported %+v", got, err, info)
		}
	}
	after := db.Stats()
	if after.Failovers-before.Failovers != 1 || after.Retries-before.Retries != 1 || after.Operations-before.Operations != 6 || after.Attempts-before.Attempts != 7 {
		t.Errorf("stats %+v, before %+v", after, before)
	}
}

func TestRotationSpreadsCallsAndSkipsAnEndpointThatCoolsDown(t *testing.T) {
	_, nodes := newCluster(t, 3)
	db := open(t, nodes, cartwheel.WithRotation(), cartwheel.WithCooldown(time.Hour))
	stock := db.Counter("stock", "1")
	add := func(times int) {
		t.Helper()
		for range times {
			if _, err := stock.Add(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
		}
	}
	add(9)
	for i, node := range nodes {
		if got := node.requests(counterAdd); got != 3 {
			t.Errorf("node %d got %d of 9 calls", i, got)
		}
	}
	nodes[1].plant(counterAdd, refuse, refuse, refuse, refuse)
	add(9)
	if got := nodes[1].requests(counterAdd); got != 4 {
		t.Errorf("the endpoint that failed once was asked %d times after", got-4)
	}
}

func TestAnEndpointThatCoolsDownIsStillAskedWhenNoOtherAnswers(t *testing.T) {
	_, nodes := newCluster(t, 2)
	db := open(t, nodes, cartwheel.WithCooldown(time.Hour))
	nodes[0].plant(counterAdd, refuse)
	stock := db.Counter("stock", "1")
	if _, err := stock.Add(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	nodes[1].plant(counterAdd, cut)
	if got, err := stock.Add(t.Context(), 1); got != 2 || err != nil {
		t.Errorf("got %d, %v", got, err)
	}
}

func TestOpenFindsTheEndpointThatIsThere(t *testing.T) {
	_, nodes := newCluster(t, 3)
	nodes[0].plant("ClusterService/Status", cut)
	nodes[1].plant("ClusterService/Status", refuse)
	// A router asks for the status as well, and would meet what is planted for Open.
	db := open(t, nodes, cartwheel.WithoutRouting())
	var info cartwheel.Info
	if err := db.Set("carts", "1").With(cartwheel.Report(&info)).Add(t.Context(), "milk"); err != nil || info.Endpoint != nodes[2].server.URL {
		t.Errorf("answered by %s, %v, want the one that answered at first", info.Endpoint, err)
	}
	if got := db.Stats().Failovers; got != 2 {
		t.Errorf("%d failovers to find it, want 2", got)
	}
}

func TestAnEndpointNeedsNoScheme(t *testing.T) {
	_, nodes := newCluster(t, 1)
	db, err := cartwheel.Open(t.Context(), []string{nodes[0].server.Listener.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	db.Close()
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	_, err := cartwheel.Open(t.Context(), []string{"nowhere:1"}, cartwheel.WithHTTPClient(refusing{}), cartwheel.WithTimeout(200*time.Millisecond))
	if !errors.Is(err, cartwheel.Unreachable) || !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, cartwheel.ErrUnknownOutcome) {
		t.Errorf("nobody there: %v", err)
	}
	for _, addresses := range [][]string{nil, {""}, {"ftp://here"}, {"http://"}, {"a b:1"}} {
		if _, err := cartwheel.Open(t.Context(), addresses); err == nil {
			t.Errorf("opened %q", addresses)
		}
	}
}

// Sixteen clients' worth of increments through nodes that cut connections
// before and after the work: the sum is exact, and ids never repeat.
func TestConcurrentIncrementsThroughFailingNodesCountOnce(t *testing.T) {
	eachAPI(t, "by ", concurrentIncrements)
}

func concurrentIncrements(t *testing.T, api cartwheel.API) {
	cluster, nodes := newCluster(t, 3)
	db := openBy(t, nodes, api, cartwheel.WithRotation(), cartwheel.WithCooldown(time.Millisecond))
	const workers, each = 16, 25
	for i, node := range nodes {
		for range workers {
			node.plant(counterAdd, working, abort, working, fault(i)) // fault(0..2): refuse, abort, cut
		}
	}
	var running sync.WaitGroup
	for worker := range workers {
		running.Go(func() {
			for range each {
				if _, err := db.Counter("stock", "1").Add(t.Context(), 1); err != nil {
					t.Errorf("worker %d: %v", worker, err)
				}
			}
		})
	}
	running.Wait()
	if got, err := db.Counter("stock", "1").Get(t.Context()); got != workers*each || err != nil {
		t.Errorf("got %d, %v, want %d", got, err, workers*each)
	}
	ids := map[string]bool{}
	for _, request := range cluster.requests("counter.add") {
		ids[request.operationID] = true
	}
	if len(ids) != workers*each {
		t.Errorf("%d operations went under %d ids", workers*each, len(ids))
	}
	if stats := db.Stats(); stats.RetriedOperations == 0 || stats.Failovers == 0 {
		t.Errorf("nothing was retried: %+v", stats)
	}
}

func TestTheHighestStampSeenIsEchoed(t *testing.T) {
	cluster, nodes := newCluster(t, 2)
	cluster.stamp = 1000
	db := open(t, nodes, cartwheel.WithRotation())
	for i := range 4 {
		if err := db.Register("b", fmt.Sprint(i)).Set(t.Context(), []byte("v")); err != nil {
			t.Fatal(err)
		}
	}
	last := uint64(999)
	for _, request := range cluster.requests("register.set") {
		if request.stamp <= last {
			t.Errorf("echoed %d after %d", request.stamp, last)
		}
		last = request.stamp
	}
}
