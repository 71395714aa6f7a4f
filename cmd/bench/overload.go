package bench

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"
)

// Overload is what more than a cluster can do does to it: the peak of a closed
// loop, then multiples of it for a while each, then half of it.
type Overload struct {
	PeakPerS    float64 `json:"peak_per_s"`
	PeakClients int     `json:"peak_clients"`
	Phases      []Phase `json:"phases"`
	Recovered   bool    `json:"recovered"`
	// RecoveryS is how long after the last overload 99 of 100 operations are good
	// again, and stay so, at half the peak.
	RecoveryS float64 `json:"recovery_s"`
}

// Phase is one offer, in proportion to the peak.
type Phase struct {
	Times  float64 `json:"times_peak"`
	OfPeak float64 `json:"good_of_peak"`
	Offer
	ServerCPU float64 `json:"server_cpu_s"`
	ClientCPU float64 `json:"client_cpu_s"`
	Attempts  uint64  `json:"attempts"` // on the wire; without retries as many as operations were begun
}

var multiples = []float64{1, 2, 5}

// maxClients of a closed loop.
const maxClients = 10_000

// recovery is how long half the peak is offered after an overload, if the
// configuration does not say.
const recovery = 12 * time.Second

// overload measures it, and returns what became of all operations together.
func (run *runner) overload(ctx context.Context) (*Overload, *tally) {
	cfg := run.cfg
	o := &Overload{}
	sum := run.peak(ctx, o)
	for _, times := range multiples {
		phase, result := run.phase(ctx, o.PeakPerS, times, cfg.Duration)
		if sum.merge(result.tally()); ctx.Err() == nil {
			o.Phases = append(o.Phases, phase)
		}
	}
	phase, last := run.phase(ctx, o.PeakPerS, 0.5, cmp.Or(cfg.recovery, recovery))
	if sum.merge(last.tally()); ctx.Err() == nil {
		after, ok := last.settled()
		o.Phases, o.Recovered, o.RecoveryS = append(o.Phases, phase), ok, after.Seconds()
	}
	return o, sum
}

// peak finds how much a closed loop gets done: of --clients clients, then twice as
// many, as long as that gains more than 5 %. More of them share a commit, up to a
// point.
func (run *runner) peak(ctx context.Context, o *Overload) *tally {
	sum := newTally()
	for clients := run.cfg.Clients; clients <= maxClients && ctx.Err() == nil; clients *= 2 {
		run.cfg.say("closed loop of %d clients, for the peak", clients)
		for len(run.clients) < clients {
			run.clients = append(run.clients, newGenerator(run.workload, run.keys, run.cfg.Seed, len(run.clients)))
		}
		began := time.Now()
		result := drive(ctx, run.closed, run.clients[:clients], run.cfg.Duration, 0)
		_, all := result.summary(run.workload.mix, time.Since(began))
		sum.merge(result)
		if before := o.PeakPerS; all.PerS > before {
			o.PeakPerS, o.PeakClients = all.PerS, clients
			if all.PerS > before*1.05 {
				continue
			}
		}
		break
	}
	return sum
}

func (run *runner) phase(ctx context.Context, peak, times float64, d time.Duration) (Phase, *outcome) {
	looker := &http.Client{}
	defer looker.CloseIdleConnections()
	endpoints := urls(run.cfg.Endpoints)
	rate := peak * times
	run.cfg.say("offering %.0f operations a second, %v times the peak", rate, times)
	before, _ := scrape(context.WithoutCancel(ctx), looker, endpoints)
	cpu, stats, began := cpuTime(), run.db.Stats(), time.Now()
	result := offer(ctx, run.to, run.clients[0], rate, d, run.cfg)
	elapsed := min(time.Since(began), d)
	cpu = cpuTime() - cpu
	after, _ := scrape(context.WithoutCancel(ctx), looker, endpoints)
	server, _ := spent(endpoints, before, after)
	p := Phase{
		Times: times, Offer: *result.offer(run.cfg, rate, run.workload.mix, elapsed),
		ServerCPU: server.CPUSeconds, ClientCPU: cpu.Seconds(), Attempts: run.db.Stats().Attempts - stats.Attempts,
	}
	p.OfPeak = ratio(p.GoodPerS, peak)
	return p, result
}

func (o *Overload) text(b *strings.Builder) {
	fmt.Fprintf(b, "peak      %.0f ops/s, closed loop of %s\n", o.PeakPerS, counted(o.PeakClients, "client"))
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "times peak\toffered/s\tgood/s\tof peak\trefused\tlate\tfailed\tunsent\tattempts\tp50 ms\tp99\tp99.9\tserver CPU s\tclient\t")
	for _, p := range o.Phases {
		fmt.Fprintf(t, "%v\t%.0f\t%.0f\t%.0f %%\t%d\t%d\t%d\t%d\t%d\t%.1f\t%.1f\t%.1f\t%.1f\t%.1f\t\n", p.Times, p.Rate, p.GoodPerS, 100*p.OfPeak,
			p.Refused, p.Late, p.Failed, p.Unsent, p.Attempts, p.Latency.P50, p.Latency.P99, p.Latency.P999, p.ServerCPU, p.ClientCPU)
	}
	// A strings.Builder does not fail.
	_ = t.Flush()
	if o.Recovered {
		fmt.Fprintf(b, "recovered %.2f s after the overload ended: from then on 99 %% were good\n", o.RecoveryS)
	} else {
		fmt.Fprintf(b, "not recovered: less than 99 %% were good to the end\n")
	}
}

func (o *Offer) text(b *strings.Builder) {
	fmt.Fprintf(b, "offered   %d, %.0f a second, each with %v s; at most %d outstanding\n", o.Offered, o.Rate, o.DeadlineS, o.Outstanding)
	fmt.Fprintf(b, "good      %d, %.0f a second; refused %d, late %d, failed %d, not begun %d\n", o.Good, o.GoodPerS, o.Refused, o.Late, o.Failed, o.Unsent)
}
