package bench

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	cartwheel "github.com/cartwheel-db/cartwheel/sdk"
)

// Config says what to measure.
type Config struct {
	Endpoints []string
	Timeout   time.Duration // of one operation, retries included
	Workload  string
	Clients   int
	Duration  time.Duration // of the measurement; without Ops
	Ops       uint64        // to measure; 0 for Duration
	Warmup    time.Duration // before the measurement
	Keys      int
	ValueSize int     // of a blob, in bytes
	Theta     float64 // skew of the keys: 0 is uniform, below 1
	Load      bool    // make every key first
	Seed      uint64
	W, R      uint32 // 0 for the cluster's
	Fast      bool
	Command   string // for the report
	// Progress, if not nil, is told what is going on, in a few words.
	Progress func(string)
}

// Check refuses a configuration that cannot be run.
func (c Config) Check() error {
	if _, err := findWorkload(c.Workload); err != nil {
		return err
	}
	for _, bound := range []struct {
		name                string
		value, least, bound int
	}{
		{"clients", c.Clients, 1, 10_000},
		{"keys", c.Keys, 1, 10_000_000},
		{"value size", c.ValueSize, 1, 1 << 20},
	} {
		if bound.value < bound.least || bound.value > bound.bound {
			return fmt.Errorf("%s: %d, from %d to %d are possible", bound.name, bound.value, bound.least, bound.bound)
		}
	}
	switch {
	case !(c.Theta >= 0 && c.Theta < 1):
		return fmt.Errorf("theta: %v, from 0 to below 1 is possible", c.Theta)
	case c.Duration <= 0 && c.Ops == 0:
		return fmt.Errorf("duration: %v, more than 0 is needed", c.Duration)
	case c.Warmup < 0:
		return fmt.Errorf("warmup: %v, at least 0 is needed", c.Warmup)
	case c.Fast && c.R > 0:
		return errors.New("r and fast: want one of them")
	}
	return nil
}

func (c Config) say(format string, args ...any) {
	if c.Progress != nil {
		c.Progress(fmt.Sprintf(format, args...))
	}
}

// Run measures. When ctx is cancelled during the measurement, the report says
// what was measured until then.
func Run(ctx context.Context, cfg Config) (Report, error) {
	if err := cfg.Check(); err != nil {
		return Report{}, err
	}
	w, err := findWorkload(cfg.Workload)
	if err != nil {
		return Report{}, err
	}
	db, err := cartwheel.Open(ctx, cfg.Endpoints, cartwheel.WithTimeout(cfg.Timeout), cartwheel.WithRotation())
	if err != nil {
		return Report{}, err
	}
	defer db.Close()
	report := Report{Command: cfg.Command, Machine: thisMachine(), Workload: cfg.workload(w)}
	if report.Cluster, err = clusterOf(ctx, db, cfg.Endpoints); err != nil {
		return Report{}, err
	}
	to := newTarget(w, db, cfg)
	if cfg.Load {
		cfg.say("loading %d keys", cfg.Keys)
		if err := load(ctx, to, cfg); err != nil {
			return Report{}, fmt.Errorf("loading: %w", err)
		}
	}
	keys := newZipf(cfg.Keys, cfg.Theta)
	var clients []*generator
	for i := range cfg.Clients {
		clients = append(clients, newGenerator(w, &keys, cfg.Seed, i))
	}
	if cfg.Warmup > 0 {
		cfg.say("warming up for %v", cfg.Warmup)
		drive(ctx, to, clients, cfg.Warmup, 0)
	}
	if err := ctx.Err(); err != nil {
		return Report{}, err
	}
	measure(ctx, &report, cfg, db, to, w, clients)
	return report, nil
}

// measure drives the clients between two looks at everybody's counts.
func measure(ctx context.Context, report *Report, cfg Config, db *cartwheel.DB, to target, w workload, clients []*generator) {
	// What was interrupted still wants its second look.
	lookCtx := context.WithoutCancel(ctx)
	looker := &http.Client{}
	defer looker.CloseIdleConnections()
	endpoints := urls(cfg.Endpoints)

	before, warnings := scrape(lookCtx, looker, endpoints)
	stats, cpu := db.Stats(), cpuTime()
	report.Began = time.Now().UTC()
	cfg.say("measuring")
	result := drive(ctx, to, clients, cfg.Duration, cfg.Ops)
	elapsed := time.Since(report.Began)
	cpu = cpuTime() - cpu
	report.Client.add(stats, db.Stats())
	after, more := scrape(lookCtx, looker, endpoints)

	server, restarts := spent(endpoints, before, after)
	report.ElapsedS, report.Interrupted = elapsed.Seconds(), ctx.Err() != nil
	report.Operations, report.Total = result.summary(w.mix, elapsed)
	report.Failures = result.reasons()
	report.Client.CPUPerOp = ratio(float64(cpu.Microseconds()), float64(report.Total.Ops))
	report.Server = server.over(report.Total.Ops, report.writes())
	report.Warnings = append(append(append([]string{}, warnings...), more...), restarts...)
	if missing := report.Cluster.Nodes - server.Nodes; missing > 0 {
		report.Warnings = append(report.Warnings, fmt.Sprintf(
			"figures of the servers are of %d of %d nodes: name every node with --endpoint", server.Nodes, report.Cluster.Nodes))
	}
}

// load makes every key, many at a time.
func load(ctx context.Context, to target, cfg Config) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var all sync.WaitGroup
	for range cfg.Clients {
		all.Go(func() {
			for key := int(next.Add(1)) - 1; key < cfg.Keys && ctx.Err() == nil; key = int(next.Add(1)) - 1 {
				if err := to.load(ctx, key); err != nil {
					cancel(err)
				}
			}
		})
	}
	all.Wait()
	return context.Cause(ctx)
}

// drive lets the clients work, each one step at a time, for a duration or until
// they began ops steps between them. A step that was begun is finished.
func drive(ctx context.Context, to target, clients []*generator, d time.Duration, ops uint64) *tally {
	end := time.Now().Add(d)
	var begun atomic.Uint64
	more := func() bool {
		if ctx.Err() != nil {
			return false
		}
		if ops > 0 {
			return begun.Add(1) <= ops
		}
		return time.Now().Before(end)
	}
	tallies := make([]*tally, len(clients))
	var all sync.WaitGroup
	for i, client := range clients {
		tallies[i] = newTally()
		all.Go(func() {
			for more() {
				s := client.next()
				began := time.Now()
				items, err := to.do(ctx, s)
				if err != nil && ctx.Err() != nil {
					return // interrupted: nobody's failure
				}
				tallies[i].note(s.kind, time.Since(began), items, err)
			}
		})
	}
	all.Wait()
	sum := newTally()
	for _, t := range tallies {
		sum.merge(t)
	}
	return sum
}

// cpuTime is what this process has used so far, user and system.
func cpuTime() time.Duration {
	var usage syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &usage) != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// urls completes addresses as the client does.
func urls(endpoints []string) []string {
	var full []string
	for _, e := range endpoints {
		if !strings.Contains(e, "://") {
			e = "http://" + e
		}
		full = append(full, strings.TrimSuffix(e, "/"))
	}
	return full
}

func clusterOf(ctx context.Context, db *cartwheel.DB, endpoints []string) (Cluster, error) {
	status, err := db.Cluster().Status(ctx)
	if err != nil {
		return Cluster{}, err
	}
	members, err := db.Cluster().Members(ctx)
	if err != nil {
		return Cluster{}, err
	}
	return Cluster{
		Nodes: len(members), N: status.N, R: status.R, W: status.W, Q: status.Q,
		Version: status.Version, Endpoints: urls(endpoints),
	}, nil
}
