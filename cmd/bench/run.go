package bench

import (
	"cmp"
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
	API       string // unary, batch or stream; empty is stream
	Unrouted  bool   // operations go to any node in turn, not to an owner of their key
	Command   string // for the report

	// An open loop: Rate operations a second begin whatever becomes of those
	// before. Overload measures a closed loop and then multiples of its peak. 0 and
	// false for a closed loop alone.
	Rate        float64
	Overload    bool
	Deadline    time.Duration // of an operation in an open loop, from when it was due
	Outstanding int           // operations under way at most, in an open loop
	Retry       bool          // in an open loop: retry and hold back as the client library does
	recovery    time.Duration // tests: how long to look whether it recovers
	// Progress, if not nil, is told what is going on, in a few words.
	Progress func(string)
}

// Check refuses a configuration that cannot be run.
func (c Config) Check() error {
	if _, err := findWorkload(c.Workload); err != nil {
		return err
	}
	if !c.open() {
		c.Outstanding, c.Deadline = 1, 1 // of no use
	}
	for _, bound := range []struct {
		name                string
		value, least, bound int
	}{
		{"clients", c.Clients, 1, maxClients},
		{"keys", c.Keys, 1, 10_000_000},
		{"value size", c.ValueSize, 1, 1 << 20},
		{"outstanding", c.Outstanding, 1, 100_000},
	} {
		if bound.value < bound.least || bound.value > bound.bound {
			return fmt.Errorf("%s: %d, from %d to %d are possible", bound.name, bound.value, bound.least, bound.bound)
		}
	}
	if _, known := apis[c.api()]; !known {
		return fmt.Errorf("api %q: want unary, batch or stream", c.API)
	}
	switch {
	case !(c.Theta >= 0 && c.Theta < 1):
		return fmt.Errorf("theta: %v, from 0 to below 1 is possible", c.Theta)
	case c.Duration <= 0 && c.Ops == 0:
		return fmt.Errorf("duration: %v, more than 0 is needed", c.Duration)
	case !(c.Rate >= 0 && c.Rate <= 1e6):
		return fmt.Errorf("rate: %v, from 1 to 1e6 operations a second are possible, or 0 for a closed loop", c.Rate)
	case c.Rate > 0 && c.Overload:
		return errors.New("rate and overload: want one of them, overload finds its rates by itself")
	case c.open() && c.Ops > 0:
		return errors.New("ops: an open loop lasts for a duration")
	case c.Deadline <= 0:
		return fmt.Errorf("deadline: %v, more than 0 is needed", c.Deadline)
	case c.Warmup < 0:
		return fmt.Errorf("warmup: %v, at least 0 is needed", c.Warmup)
	case c.Fast && c.R > 0:
		return errors.New("r and fast: want one of them")
	}
	return nil
}

// api is how operations travel.
func (c Config) api() string { return cmp.Or(c.API, "stream") }

func (c Config) open() bool { return c.Rate > 0 || c.Overload }

func (c Config) say(format string, args ...any) {
	if c.Progress != nil {
		c.Progress(fmt.Sprintf(format, args...))
	}
}

var apis = map[string]cartwheel.API{"stream": cartwheel.Stream, "batch": cartwheel.Batch, "unary": cartwheel.Unary}

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
	options := []cartwheel.Option{cartwheel.WithTimeout(cfg.Timeout), cartwheel.WithRotation(), cartwheel.WithAPI(apis[cfg.api()])}
	if cfg.Unrouted {
		options = append(options, cartwheel.WithoutRouting())
	}
	if cfg.open() && cfg.api() == "unary" {
		lean := newWire()
		defer lean.close()
		options = append(options, cartwheel.WithHTTPClient(lean))
	}
	db, err := cartwheel.Open(ctx, cfg.Endpoints, options...)
	if err != nil {
		return Report{}, err
	}
	defer db.Close()
	report := Report{Command: cfg.Command, Machine: thisMachine(), Workload: cfg.workload(w)}
	if report.Cluster, err = clusterOf(ctx, db, cfg.Endpoints); err != nil {
		return Report{}, err
	}
	keys := newZipf(cfg.Keys, cfg.Theta)
	run := &runner{cfg: cfg, workload: w, db: db, keys: &keys, closed: newTarget(w, db, cfg)}
	run.to = run.closed
	if cfg.Load {
		cfg.say("loading %d keys", cfg.Keys)
		if err := load(ctx, run.to, cfg); err != nil {
			return Report{}, fmt.Errorf("loading: %w", err)
		}
	}
	for i := range cfg.Clients {
		run.clients = append(run.clients, newGenerator(w, run.keys, cfg.Seed, i))
	}
	if cfg.Warmup > 0 {
		cfg.say("warming up for %v", cfg.Warmup)
		drive(ctx, run.to, run.clients, cfg.Warmup, 0)
	}
	if cfg.open() && !cfg.Retry {
		once, err := cartwheel.Open(ctx, cfg.Endpoints, append(options, cartwheel.WithAttempts(1))...)
		if err != nil {
			return Report{}, err
		}
		defer once.Close()
		run.db, run.to = once, newTarget(w, once, cfg)
	}
	if err := ctx.Err(); err != nil {
		return Report{}, err
	}
	run.measure(ctx, &report)
	return report, nil
}

// runner is a run whose cluster is loaded and warm.
type runner struct {
	cfg      Config
	workload workload
	db       *cartwheel.DB
	keys     *zipf
	closed   target // for a closed loop: retries as the client library does
	to       target // for what is measured
	clients  []*generator
}

// measure drives the clients between two looks at everybody's counts.
func (run *runner) measure(ctx context.Context, report *Report) {
	cfg := run.cfg
	// What was interrupted still wants its second look.
	lookCtx := context.WithoutCancel(ctx)
	looker := &http.Client{}
	defer looker.CloseIdleConnections()
	endpoints := urls(cfg.Endpoints)

	before, warnings := scrape(lookCtx, looker, endpoints)
	stats, cpu := run.db.Stats(), cpuTime()
	report.Began = time.Now().UTC()
	cfg.say("measuring")
	var result *tally
	var steady *outcome
	switch {
	case cfg.Overload:
		report.Overload, result = run.overload(ctx)
	case cfg.Rate > 0:
		steady = offer(ctx, run.to, run.clients[0], cfg.Rate, cfg.Duration, cfg)
		result = steady.tally()
	default:
		result = drive(ctx, run.to, run.clients, cfg.Duration, cfg.Ops)
	}
	elapsed := time.Since(report.Began)
	if steady != nil {
		report.Offer = steady.offer(cfg, cfg.Rate, run.workload.mix, min(elapsed, cfg.Duration))
	}
	cpu = cpuTime() - cpu
	report.Client.add(stats, run.db.Stats())
	after, more := scrape(lookCtx, looker, endpoints)

	server, restarts := spent(endpoints, before, after)
	report.ElapsedS, report.Interrupted = elapsed.Seconds(), ctx.Err() != nil
	report.Operations, report.Total = result.summary(run.workload.mix, elapsed)
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
