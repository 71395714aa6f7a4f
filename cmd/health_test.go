package cmd

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	cartwheel "github.com/cartwheel-db/cartwheel/sdk"
	"github.com/cartwheel-db/cartwheel/server"
)

// startNodes runs a cluster of three real nodes in this process.
func startNodes(t *testing.T) []*server.Node {
	t.Helper()
	cluster, err := server.NewCluster()
	if err != nil {
		t.Fatal(err)
	}
	cluster.Partitions = 8
	var nodes []*server.Node
	for range 3 {
		cfg := server.Config{
			Cluster: cluster, Data: t.TempDir(), API: "127.0.0.1:0", Peer: "127.0.0.1:0", Gossip: "127.0.0.1:0", NoSync: true,
		}
		for _, n := range nodes {
			cfg.Join = append(cfg.Join, n.GossipAddr())
		}
		node, err := server.Start(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = node.Close(context.Background()) })
		nodes = append(nodes, node)
	}
	eventually(t, "all are ready, and know of each other", func() bool {
		for _, n := range nodes {
			if !n.Meets(3) || n.Snapshot().State != server.Ready {
				return false
			}
		}
		return true
	})
	return nodes
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for until := time.Now().Add(30 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("not in 30 s: %s", what)
		}
	}
}

func connectTo(t *testing.T, nodes []*server.Node, options ...cartwheel.Option) *cartwheel.DB {
	t.Helper()
	var addresses []string
	for _, n := range nodes {
		addresses = append(addresses, n.APIAddr())
	}
	db, err := cartwheel.Open(t.Context(), addresses, append(options, cartwheel.WithoutRouting())...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func TestASessionReadsItsOwnWritesThroughWhateverNodeAndReplica(t *testing.T) {
	nodes := startNodes(t)
	db := connectTo(t, nodes, cartwheel.WithRotation())
	cart, stock := db.Set("carts", "42"), db.Counter("stock", "1")
	for i := range 60 {
		// One copy is written, and one copy is read, at another node.
		member := strings.Repeat("m", i+1)
		if err := cart.With(cartwheel.W(1)).Add(t.Context(), member); err != nil {
			t.Fatal(err)
		}
		if found, err := cart.With(cartwheel.Fast()).Contains(t.Context(), member); err != nil || !found {
			t.Fatalf("round %d: added and then contained %t, %v", i, found, err)
		}
		if i%3 == 0 {
			if err := cart.With(cartwheel.W(1)).Remove(t.Context(), member); err != nil {
				t.Fatal(err)
			}
			if found, err := cart.With(cartwheel.Fast()).Contains(t.Context(), member); err != nil || found {
				t.Fatalf("round %d: removed and then contained %t, %v", i, found, err)
			}
		}
		if _, err := stock.With(cartwheel.W(1)).Add(t.Context(), 2); err != nil {
			t.Fatal(err)
		}
		if got, err := stock.With(cartwheel.Fast()).Get(t.Context()); err != nil || got != int64(2*i+2) {
			t.Fatalf("round %d: counted to %d, %v", i, got, err)
		}
	}
	// What one process has seen another goes on from.
	token := cart.Session().Token()
	later := connectTo(t, nodes[1:]).Set("carts", "42").With(cartwheel.InSession(cartwheel.NewSession(token)), cartwheel.Fast())
	if size, err := later.Size(t.Context()); err != nil || size != 40 {
		t.Errorf("another process counts %d, %v", size, err)
	}
}

func TestTheAgeOfAnAnswerIsBoundedUntilANodeGoesAway(t *testing.T) {
	nodes := startNodes(t)
	db := connectTo(t, nodes[:2], cartwheel.WithTimeout(5*time.Second))
	var info cartwheel.Info
	cart := db.Set("carts", "42").With(cartwheel.Report(&info))
	if err := cart.Add(t.Context(), "milk"); err != nil {
		t.Fatal(err)
	}
	const limit = 10 * time.Second
	if _, err := cart.With(cartwheel.MaxStaleness(limit)).Size(t.Context()); err != nil || !info.Staleness.Known() || info.Staleness.Bound > limit || len(info.Staleness.Unreachable) > 0 {
		t.Errorf("a healthy cluster: %v, %v", info.Staleness, err)
	}
	away := string(nodes[2].ID())
	if err := nodes[2].Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	// The bound over all nodes grows, that over those that are left does not.
	const short = 300 * time.Millisecond
	var failed *cartwheel.Error
	eventually(t, "reads say who is missing, and refuse what only it could tell", func() bool {
		_, err := cart.Size(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_, strict := cart.With(cartwheel.MaxStaleness(short)).Size(t.Context())
		return errors.As(strict, &failed) && failed.Reason == cartwheel.TooStale && slices.Equal(info.Staleness.Unreachable, []string{away}) && info.Staleness.Bound > 2*short &&
			info.Staleness.Reachable != cartwheel.UnknownStaleness && info.Staleness.Reachable < info.Staleness.Bound
	})
	if failed.Staleness == nil || !slices.Equal(failed.Staleness.Unreachable, []string{away}) || failed.Staleness.Bound <= short || failed.Limit != uint64(short.Milliseconds()) {
		t.Errorf("refused with %+v", failed)
	}
	status, err := db.Cluster().Status(t.Context())
	if err != nil || !status.Staleness.Known() || !slices.Equal(status.Staleness.Unreachable, []string{away}) || status.Partitions.Ready != 8 {
		t.Errorf("status: %+v, %v", status, err)
	}
}

func TestAHealthyClusterVerifiesAndShowsItsPartitions(t *testing.T) {
	nodes := startNodes(t)
	db := connectTo(t, nodes)
	for i := range 50 {
		if err := db.Set("carts", strings.Repeat("k", i+1)).With(cartwheel.W(3)).Add(t.Context(), "milk"); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	v, err := db.Cluster().Verify(ctx, nil)
	if err != nil || !v.Done || v.Total != 16 || v.Compared != v.Total || v.Equal != v.Total || v.Differed != 0 {
		t.Errorf("%+v, %v", v, err)
	}
	partitions, err := db.Cluster().Partitions(t.Context())
	if err != nil || len(partitions) != 8 {
		t.Fatalf("%d partitions, %v", len(partitions), err)
	}
	for _, p := range partitions {
		if p.State != "ready" || !p.Staleness.Known() || len(p.Peers) != 2 {
			t.Errorf("%+v", p)
		}
	}
	if forced, err := db.Cluster().ForceAllReady(t.Context()); err != nil || len(forced) != 0 {
		t.Errorf("all were ready, and %v were made so, %v", forced, err)
	}
}

func TestMetricsTellTheHealthOfEachPartitionAndPeer(t *testing.T) {
	nodes := startNodes(t)
	if err := connectTo(t, nodes).Set("carts", "42").Add(t.Context(), "milk"); err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+nodes[0].APIAddr()+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	count := func(prefix string) (n int) {
		for l := range strings.Lines(string(body)) {
			if strings.HasPrefix(l, prefix) {
				n++
			}
		}
		return n
	}
	for _, test := range []struct {
		prefix string
		lines  int
	}{
		{"cartwheel_staleness_seconds ", 1},
		{"cartwheel_staleness_reachable_seconds ", 1},
		{"cartwheel_members_unreachable 0", 1},
		{`cartwheel_partitions{state="ready"} 8`, 1},
		{"cartwheel_partitions{", 4},
		{"cartwheel_partition_staleness_seconds{", 8},
		{"cartwheel_partition_state{", 8},
		{"cartwheel_partition_log_bytes{", 8},
		{`cartwheel_peer_age_seconds{peer="` + string(nodes[1].ID()) + `"}`, 1},
		{"cartwheel_peer_missing_events{", 2},
		{"cartwheel_log_bytes ", 1},
		{"cartwheel_operations_remembered ", 1},
		{"cartwheel_damaged_rows 0", 1},
		{"cartwheel_snapshot_installs 0", 1},
		{"cartwheel_partitions_became_ready_total ", 1},
		{"cartwheel_alarm_trees_diverged_total 0", 1},
		{"cartwheel_alarm_rows_damaged_total 0", 1},
		{"cartwheel_snapshots_promoted_total ", 1},
	} {
		if got := count(test.prefix); got != test.lines {
			t.Errorf("%d lines begin with %s, want %d", got, test.prefix, test.lines)
		}
	}
}
