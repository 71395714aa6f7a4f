package bench

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	cartwheel "github.com/cartwheel-db/cartwheel/sdk"
	"github.com/cartwheel-db/cartwheel/server"
)

func startNode(t *testing.T) *server.Node {
	t.Helper()
	cluster, err := server.NewCluster()
	if err != nil {
		t.Fatal(err)
	}
	cluster.Partitions, cluster.Replicas, cluster.Read, cluster.Write = 8, 1, 1, 1
	node, err := server.Start(t.Context(), server.Config{
		Cluster: cluster, Data: t.TempDir(), API: "127.0.0.1:0", Peer: "127.0.0.1:0", Gossip: "127.0.0.1:0", NoSync: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = node.Close(t.Context()) })
	return node
}

func small(endpoint, workload string) Config {
	return Config{
		Endpoints: []string{endpoint}, Timeout: 5 * time.Second, Workload: workload, Clients: 4, Ops: 300,
		Keys: 20, ValueSize: 1024, Theta: 0.99, Load: true, Seed: 1,
	}
}

func TestEveryWorkloadRunsAgainstARealNode(t *testing.T) {
	node := startNode(t)
	for _, test := range []struct {
		workload    string
		least, most float64 // items a read gives
	}{
		{"cart", 10, shelf}, {"counter", 1, 1}, {"blob-a", 1, 4}, {"blob-b", 1, 4},
	} {
		t.Run(test.workload, func(t *testing.T) {
			report, err := Run(t.Context(), small(node.APIAddr(), test.workload))
			if err != nil {
				t.Fatal(err)
			}
			if report.Total.Ops != 300 || report.Total.Errors != 0 || len(report.Warnings) > 0 || report.Interrupted {
				t.Errorf("300 operations read %+v, warnings %q", report.Total, report.Warnings)
			}
			for _, o := range report.Operations {
				if o.Ops == 0 || o.Latency.Max <= 0 || o.Latency.P50 > o.Latency.P999 {
					t.Errorf("%s: %+v", o.Kind, o)
				}
				if o.Kind == read && (o.PerRead < test.least || o.PerRead > test.most) {
					t.Errorf("a read gave %.1f, want %v to %v", o.PerRead, test.least, test.most)
				}
			}
			// All in this process: the writes must show in what the node counts.
			if s := report.Server; s.Nodes != 1 || s.Processes != 1 || s.Groups < float64(report.writes())/2 || s.Commits == 0 {
				t.Errorf("%d writes read %+v", report.writes(), s)
			}
		})
	}
}

func TestOperationsTravelEachWayAndReadsAlone(t *testing.T) {
	node := startNode(t)
	for _, api := range []string{"", "stream", "batch", "unary"} {
		for _, workload := range []string{"counter-get", "contains"} {
			cfg := small(node.APIAddr(), workload)
			cfg.API, cfg.Fast, cfg.Unrouted = api, true, api == "unary"
			report, err := Run(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			if report.Total.Ops != 300 || report.Total.Errors != 0 || report.writes() != 0 || report.Server.Forwards != 0 || report.Client.CPUPerOp <= 0 {
				t.Errorf("%s by %q: %+v, %d writes, %v forwards", workload, api, report.Total, report.writes(), report.Server.Forwards)
			}
		}
	}
}

func TestIncrementsOfARunAreInTheCounters(t *testing.T) {
	node := startNode(t)
	report, err := Run(t.Context(), small(node.APIAddr(), "counter"))
	if err != nil {
		t.Fatal(err)
	}
	db, err := cartwheel.Open(t.Context(), []string{node.APIAddr()})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	sum := int64(0)
	for key := range 20 {
		value, err := db.Counter("bench-counter", keyName(key)).Get(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		sum += value
	}
	if want := int64(report.writes()) + 20; sum != want {
		t.Errorf("the counters add up to %d, want %d: the run and 1 of loading each", sum, want)
	}
}

func TestAnInterruptedRunReportsWhatItMeasured(t *testing.T) {
	node := startNode(t)
	cfg := small(node.APIAddr(), "counter")
	cfg.Ops, cfg.Duration = 0, time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cfg.Progress = func(doing string) {
		if doing == "measuring" {
			go func() {
				for ctx.Err() == nil && node.Snapshot().Totals.Coordinated < 100 {
					time.Sleep(time.Millisecond)
				}
				cancel()
			}()
		}
	}
	report, err := Run(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if !report.Interrupted || report.Total.Ops == 0 || report.Total.Errors != 0 {
		t.Errorf("interrupted %v, %+v; want some operations and no errors", report.Interrupted, report.Total)
	}
}

func TestARunThatIsInterruptedBeforeItMeasuresFails(t *testing.T) {
	node := startNode(t)
	ctx, cancel := context.WithCancel(t.Context())
	cfg := small(node.APIAddr(), "cart")
	cfg.Progress = func(doing string) {
		if strings.HasPrefix(doing, "loading") {
			cancel()
		}
	}
	if _, err := Run(ctx, cfg); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

func TestFailuresAreCountedByReason(t *testing.T) {
	node := startNode(t)
	cfg := small(node.APIAddr(), "counter")
	cfg.Load, cfg.W, cfg.Ops = false, 3, 100 // of one owner
	report, err := Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Failures) != 1 || report.Failures[0].Reason != "invalid option" || report.Failures[0].Ops != report.Operations[0].Errors ||
		report.Operations[0].Ops != 0 || report.Operations[1].Ops == 0 {
		t.Errorf("increments that are refused read %+v, %+v", report.Failures, report.Operations)
	}
	cfg.Load = true
	if _, err := Run(t.Context(), cfg); !errors.Is(err, cartwheel.InvalidOption) {
		t.Errorf("loading that is refused ended with %v", err)
	}
}

func TestAConfigurationThatCannotRunIsRefusedWithItsBounds(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"an unknown workload", func(c *Config) { c.Workload = "cars" }, `workload "cars": want cart, counter, counter-get, contains, blob-a, blob-b`},
		{"an unknown api", func(c *Config) { c.API = "pigeon" }, `api "pigeon": want unary, batch or stream`},
		{"no clients", func(c *Config) { c.Clients = 0 }, "clients: 0, from 1 to 10000"},
		{"no keys", func(c *Config) { c.Keys = 0 }, "keys: 0, from 1"},
		{"values past the limit", func(c *Config) { c.ValueSize = 1<<20 + 1 }, "value size: 1048577, from 1 to 1048576"},
		{"all on one key by theta", func(c *Config) { c.Theta = 1 }, "theta: 1,"},
		{"nothing to measure", func(c *Config) { c.Ops = 0 }, "duration: 0s"},
		{"a negative warmup", func(c *Config) { c.Warmup = -1 }, "warmup: -1ns"},
		{"a rate below nothing", func(c *Config) { c.Rate = -1 }, "rate: -1,"},
		{"an open loop of a number of operations", func(c *Config) { c.Rate, c.Deadline, c.Outstanding = 1, 1, 1 }, "ops: an open loop"},
		{"an open loop without deadline", func(c *Config) { c.Ops, c.Duration, c.Rate, c.Outstanding = 0, 1, 1, 1 }, "deadline: 0s"},
		{"an open loop of nothing at a time", func(c *Config) { c.Rate, c.Deadline = 1, 1 }, "outstanding: 0, from 1"},
		{"rate and overload", func(c *Config) { c.Rate, c.Overload, c.Deadline, c.Outstanding = 1, true, 1, 1 }, "rate and overload"},
		{"fast and r", func(c *Config) { c.Fast, c.R = true, 2 }, "r and fast"},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := small("127.0.0.1:0", "cart")
			test.change(&cfg)
			if _, err := Run(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want an error with %q", err, test.want)
			}
		})
	}
}
