package cartwheel_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	cartwheel "github.com/cartwheel-db/cartwheel/sdk"
)

func TestACallOfASessionKnowsOfEachCallThatHadEndedBeforeItBegan(t *testing.T) {
	cluster, nodes := newCluster(t, 2)
	db := open(t, nodes, cartwheel.WithRotation(), cartwheel.WithTimeout(patience), cartwheel.WithAttemptTimeout(patience))
	cart := db.Set("carts", "42")
	var mu sync.Mutex
	var ended []int              // stamps of replies
	before := map[uint64][]int{} // by the stamp of a reply: those that had ended when it was asked for
	var crowd sync.WaitGroup
	for i := range 100 {
		crowd.Go(func() {
			for range 8 {
				var info cartwheel.Info
				mine := cart.With(cartwheel.Report(&info))
				mu.Lock()
				known := slices.Clone(ended)
				mu.Unlock()
				var err error
				if i%2 == 0 {
					err = mine.Add(t.Context(), "milk")
				} else {
					_, err = mine.Size(t.Context())
				}
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				ended = append(ended, int(info.Stamp))
				before[info.Stamp] = known
				mu.Unlock()
			}
		})
	}
	crowd.Wait()
	most := 0
	for _, r := range append(cluster.requests("add"), cluster.requests("size")...) {
		most = max(most, len(r.session.GetTokens()))
		for _, known := range before[r.reply] {
			if _, covers := slices.BinarySearch(r.covers, known); !covers {
				t.Fatalf("the request that got reply %d covers %v and not %d, which had ended before", r.reply, r.covers, known)
			}
		}
	}
	if most < 2 || most > 32 || len(before) != 800 {
		t.Errorf("%d calls, with at most %d tokens", len(before), most)
	}
}

func TestEveryHandleHasItsOwnSessionUnlessItIsToldOtherwise(t *testing.T) {
	cluster, nodes := newCluster(t, 1)
	db := open(t, nodes)
	without := open(t, nodes, cartwheel.WithoutSessions())
	first := db.Counter("stock", "1")
	if _, err := first.Add(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	added := int(cluster.requests("counter.add")[0].reply)
	for _, test := range []struct {
		name    string
		handle  *cartwheel.Counter
		session bool // at all
		shared  bool // with the first
	}{
		{"the handle itself", first, true, true},
		{"one made from it", first.With(cartwheel.R(1)), true, true},
		{"one put into its session", db.Counter("stock", "1").With(cartwheel.InSession(first.Session())), true, true},
		{"one that goes on from its token", db.Counter("stock", "1").With(cartwheel.InSession(cartwheel.NewSession(first.Session().Token()))), true, true},
		{"one of a client without sessions put into its session", without.Counter("stock", "1").With(cartwheel.InSession(first.Session())), true, true},
		{"another handle on the value", db.Counter("stock", "1"), true, false},
		{"one made from it with a new session", first.With(cartwheel.InSession(cartwheel.NewSession(""))), true, false},
		{"one made from it without a session", first.With(cartwheel.NoSession()), false, false},
		{"one of a client without sessions", without.Counter("stock", "1"), false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, err := test.handle.Get(t.Context()); err != nil {
				t.Fatal(err)
			}
			gets := cluster.requests("counter.get")
			last := gets[len(gets)-1]
			if (last.session != nil) != test.session || slices.Contains(last.covers, added) != test.shared || (test.handle.Session() != nil) != test.session {
				t.Errorf("sent %v, which covers %v", last.session, last.covers)
			}
		})
	}
}

func TestForgettingBeginsASessionAnewForCallsUnderWayToo(t *testing.T) {
	cluster, nodes := newCluster(t, 1)
	var forget func()
	db := open(t, nodes, cartwheel.WithObserver(func(a cartwheel.Attempt) {
		if a.Op == "counter.add" && forget != nil {
			forget()
		}
	}))
	stock := db.Counter("stock", "1")
	covers := func() []int {
		t.Helper()
		if _, err := stock.Get(t.Context()); err != nil {
			t.Fatal(err)
		}
		gets := cluster.requests("counter.get")
		return gets[len(gets)-1].covers
	}
	if _, err := stock.Add(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if got := covers(); len(got) != 1 {
		t.Fatalf("after one call a session covers %v", got)
	}
	stock.Session().Forget()
	if got := covers(); len(got) != 0 {
		t.Errorf("forgotten, it covers %v", got)
	}
	forget = stock.Session().Forget
	if _, err := stock.Add(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if got := stock.Session().Token(); got != "" {
		t.Errorf("a call that was under way left %q", got)
	}
}

func TestWhatFailsOrDoesNotFitLeavesASessionAsItWas(t *testing.T) {
	cluster, nodes := newCluster(t, 1)
	stock := open(t, nodes).Counter("stock", "full")
	if _, err := stock.Get(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := stock.Session().Token()
	if _, err := stock.Add(t.Context(), 1); !errors.Is(err, cartwheel.CounterOverflow) || stock.Session().Token() != before {
		t.Errorf("%v, and the session went from %q to %q", err, before, stock.Session().Token())
	}
	cluster.mu.Lock()
	cluster.sessionLimit = 1
	cluster.mu.Unlock()
	var info cartwheel.Info
	if _, err := stock.With(cartwheel.Report(&info)).Get(t.Context()); err != nil || !info.SessionOverflow || stock.Session().Token() != before {
		t.Errorf("%+v, %v, and the session went from %q to %q", info, err, before, stock.Session().Token())
	}
}

func TestCallsBeyondWhatARequestCarriesWaitTheirTurn(t *testing.T) {
	_, nodes := newCluster(t, 1)
	stock := open(t, nodes, cartwheel.WithAttemptTimeout(time.Minute)).Counter("stock", "1")
	long, done := context.WithCancel(t.Context())
	defer done()
	const most = 32
	nodes[0].plant("CounterService/Get", slices.Repeat([]fault{hang}, most)...)
	crowd := callers(t)
	for range most {
		crowd.Go(func() { _, _ = stock.Get(long) })
	}
	eventually(t, "the requests arrive", func() bool { return nodes[0].requests("CounterService/Get") >= most })
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	var failed *cartwheel.Error
	if _, err := stock.Get(short); !errors.As(err, &failed) || failed.Reason != cartwheel.DeadlinePast || failed.Attempts != 0 {
		t.Errorf("one call more: %v", err)
	}
	if _, err := stock.With(cartwheel.NoSession()).Get(t.Context()); err != nil {
		t.Errorf("one call more without the session: %v", err)
	}
	done()
	crowd.Wait()
	if _, err := stock.Get(t.Context()); err != nil {
		t.Errorf("after they have ended: %v", err)
	}
}

func TestASessionThatCannotBeHonouredIsTriedAgainUntilTheDeadline(t *testing.T) {
	cluster, nodes := newCluster(t, 2)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := open(t, nodes).Counter("stock", "unmet").Get(ctx)
	var failed *cartwheel.Error
	if !errors.As(err, &failed) || !errors.Is(err, cartwheel.SessionUnmet) || failed.Attempts < 3 || failed.Staleness == nil || !slices.Equal(failed.Staleness.Unreachable, []string{"n2", "n3"}) {
		t.Errorf("got %v", err)
	}
	asked := map[int]bool{}
	for _, r := range cluster.requests("counter.get") {
		asked[r.node] = true
	}
	if len(asked) != 2 {
		t.Errorf("only %v were asked", asked)
	}
	if _, err := open(t, nodes).Counter("stock", "torn").Get(t.Context()); !errors.As(err, &failed) || failed.Reason != cartwheel.SessionInvalid || failed.Attempts != 1 || failed.Limit != 21 || failed.Actual != 3 {
		t.Errorf("a torn session: %v", err)
	}
}
