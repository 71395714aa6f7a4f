package cartwheel_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	cartwheel "github.com/cartwheel-db/cartwheel/sdk"
	cartwheelv1 "github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1"
)

const unknown = cartwheel.UnknownStaleness

func TestAReadReportsHowFarBehindItMayBe(t *testing.T) {
	cluster, nodes := newCluster(t, 1)
	var info cartwheel.Info
	stock := open(t, nodes).Counter("stock", "1").With(cartwheel.Report(&info))
	for _, test := range []struct {
		name string
		wire *cartwheelv1.Staleness
		want cartwheel.Staleness
		text string
	}{
		{"fresh", &cartwheelv1.Staleness{BoundMs: proto.Uint64(0), ReachableBoundMs: proto.Uint64(0)}, cartwheel.Staleness{}, "at most 0s behind"},
		{"a bound", &cartwheelv1.Staleness{BoundMs: proto.Uint64(1200), ReachableBoundMs: proto.Uint64(7)}, cartwheel.Staleness{Bound: 1200 * time.Millisecond, Reachable: 7 * time.Millisecond}, "at most 1.2s behind"},
		{"somebody is away", &cartwheelv1.Staleness{BoundMs: proto.Uint64(9000), ReachableBoundMs: proto.Uint64(7), Unreachable: []string{"n2", "n3"}},
			cartwheel.Staleness{Bound: 9 * time.Second, Reachable: 7 * time.Millisecond, Unreachable: []string{"n2", "n3"}}, "at most 9s behind (7ms but for n2, n3, which cannot be reached)"},
		{"nobody knows of one", &cartwheelv1.Staleness{ReachableBoundMs: proto.Uint64(7), Unreachable: []string{"n2"}},
			cartwheel.Staleness{Bound: unknown, Reachable: 7 * time.Millisecond, Unreachable: []string{"n2"}}, "unknown (7ms but for n2, which cannot be reached)"},
		{"nobody knows", &cartwheelv1.Staleness{Unreachable: []string{"n2"}}, cartwheel.Staleness{Bound: unknown, Reachable: unknown, Unreachable: []string{"n2"}}, "unknown (but for n2, which cannot be reached)"},
		{"an older node does not say", nil, cartwheel.Staleness{Bound: unknown, Reachable: unknown}, "unknown"},
		{"longer than a duration", &cartwheelv1.Staleness{BoundMs: proto.Uint64(1 << 63), ReachableBoundMs: proto.Uint64(0)}, cartwheel.Staleness{Bound: 9223372036854 * time.Millisecond}, "at most 2562047h47m16.854s behind"},
	} {
		t.Run(test.name, func(t *testing.T) {
			cluster.mu.Lock()
			cluster.staleness = test.wire
			cluster.mu.Unlock()
			if _, err := stock.Get(t.Context()); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, info.Staleness); diff != "" {
				t.Error(diff)
			}
			if got := info.Staleness.String(); got != test.text || info.Staleness.Known() != (test.want.Bound != unknown) {
				t.Errorf("reads %q, want %q", got, test.text)
			}
		})
	}
	if _, err := stock.Add(t.Context(), 1); err != nil || info.Staleness.Known() {
		t.Errorf("a mutation: %+v, %v", info.Staleness, err)
	}
}

func TestMaxStalenessTravelsInMillisecondsAndNeverLonger(t *testing.T) {
	cluster, nodes := newCluster(t, 1)
	stock := open(t, nodes).Counter("stock", "1")
	for _, test := range []struct {
		asked time.Duration
		sent  uint64
	}{{0, 0}, {1, 1}, {time.Millisecond, 1}, {1999 * time.Microsecond, 1}, {5 * time.Second, 5000}, {-time.Second, 1}} {
		if _, err := stock.With(cartwheel.MaxStaleness(test.asked)).Get(t.Context()); err != nil {
			t.Fatal(err)
		}
		gets := cluster.requests("counter.get")
		if got := gets[len(gets)-1].maxStale; got != test.sent {
			t.Errorf("%v was sent as %d ms, want %d", test.asked, got, test.sent)
		}
	}
}

func TestAReadThatNobodyCanAnswerFreshEnoughFailsOnceAllWereAsked(t *testing.T) {
	cluster, nodes := newCluster(t, 3)
	nodes[1].plant("CounterService/Get", refuse)
	_, err := open(t, nodes).Counter("stock", "stale").With(cartwheel.MaxStaleness(5 * time.Second)).Get(t.Context())
	var failed *cartwheel.Error
	if !errors.As(err, &failed) || !errors.Is(err, cartwheel.TooStale) || failed.Attempts != 3 || len(cluster.requests("counter.get")) != 2 {
		t.Fatalf("got %v", err)
	}
	want := cartwheel.Staleness{Bound: 7300 * time.Millisecond, Reachable: 40 * time.Millisecond, Unreachable: []string{"n2", "n3"}}
	if diff := cmp.Diff(&want, failed.Staleness); diff != "" || failed.Limit != 5000 || failed.Actual != 7300 {
		t.Error(diff, failed.Limit, failed.Actual)
	}
	if text := "counter.get stock/stale: too stale, asked for at most 5s, the best is at most 7.3s behind (40ms but for n2, n3, which cannot be reached); tried 3 times"; !strings.Contains(err.Error(), text) {
		t.Errorf("reads %q, want %q", err, text)
	}
}

func TestPartitionsAreListedWhateverPagesTheyComeIn(t *testing.T) {
	_, nodes := newCluster(t, 1)
	got, err := open(t, nodes).Cluster().Partitions(t.Context())
	want := []cartwheel.Partition{
		{Number: 0, State: "joining", Staleness: cartwheel.Staleness{Bound: 12 * time.Millisecond, Reachable: 12 * time.Millisecond}, LogGroups: 1, LogBytes: 2, Operations: 3, DamagedRows: 4,
			Install: &cartwheel.Install{Partition: 0, From: "other", Phase: "rows", Done: 5, Total: 6}, Peers: []cartwheel.PartitionPeer{{ID: "other", Age: 12 * time.Millisecond, Missing: 8}}},
		{Number: 7, State: "draining", Staleness: cartwheel.Staleness{Bound: unknown, Reachable: unknown}, Peers: []cartwheel.PartitionPeer{{ID: "other", Age: unknown}}},
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Error(err, diff)
	}
}

func TestVerifyReportsAsItGoesAndStaysWithTheNodeThatBegan(t *testing.T) {
	_, nodes := newCluster(t, 3)
	nodes[0].plant("ClusterService/Verify", refuse)
	db := open(t, nodes)
	var compared []int
	got, err := db.Cluster().Verify(t.Context(), func(v cartwheel.Verification) { compared = append(compared, v.Compared) })
	want := cartwheel.Verification{Node: "node-1", Total: 2, Compared: 2, Equal: 1, Differed: 1, Repaired: 9, Done: true,
		Findings: []cartwheel.Finding{{Partition: 1, Peer: "other", Outcome: "unlike", Differed: true}}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil || !slices.Equal(compared, []int{0, 1, 2}) {
		t.Error(err, diff, compared)
	}
	got, err = open(t, []*fakeNode{nodes[2], nodes[0]}).Cluster().Verify(t.Context(), nil)
	if !errors.Is(err, cartwheel.NotReady) || got.Done || got.Node != "node-2" || nodes[0].requests("ClusterService/Verify") != 1 {
		t.Errorf("ended halfway: %+v, %v", got, err)
	}
}

func TestForcingReadySaysWhichPartitions(t *testing.T) {
	cluster, nodes := newCluster(t, 1)
	c := open(t, nodes).Cluster()
	if got, err := c.ForceReady(t.Context(), 3, 5); err != nil || !slices.Equal(got, []int{3, 5}) {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := c.ForceReady(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := c.ForceAllReady(t.Context()); err != nil {
		t.Error(err)
	}
	named, none, all := cluster.forced[0], cluster.forced[1], cluster.forced[2]
	if !slices.Equal(named.GetPartitions(), []uint32{3, 5}) || named.GetAll() || none.GetAll() || len(none.GetPartitions()) > 0 || !all.GetAll() {
		t.Errorf("sent %v", cluster.forced)
	}
}
