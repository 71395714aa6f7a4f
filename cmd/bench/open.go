package bench

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	cartwheel "github.com/cartwheel-db/cartwheel/sdk"
)

// An open loop: operations begin at a steady rate, whatever becomes of those
// before, as those of many users do that know nothing of each other. Latencies
// and deadlines count from the instant at which an operation was due, so a
// generator that is late does not flatter the cluster (Tene's "coordinated
// omission").

// Offer is what became of a steady stream of operations.
type Offer struct {
	Rate        float64 `json:"rate_per_s"`
	DeadlineS   float64 `json:"deadline_s"`
	Outstanding int     `json:"outstanding_bound"`
	ElapsedS    float64 `json:"elapsed_s"`
	Offered     uint64  `json:"offered"`
	Good        uint64  `json:"good"` // succeeded within the deadline
	GoodPerS    float64 `json:"good_per_s"`
	Refused     uint64  `json:"refused"` // told at once that nothing was done
	Late        uint64  `json:"late"`    // no answer, or a late one
	Failed      uint64  `json:"failed"`
	Unsent      uint64  `json:"unsent"` // not begun: the bound on outstanding operations was hit
	Latency     Latency `json:"latency_ms"`
}

// window is the resolution at which an offer is watched over time.
const window = 250 * time.Millisecond

// fates of an operation.
const (
	good = iota
	refused
	late
	failed
	unsent
	fates
)

// outcome gathers what many workers see.
type outcome struct {
	counts  [fates]atomic.Uint64
	windows []struct{ offered, good atomic.Uint64 }
	stripes [16]struct {
		sync.Mutex
		*tally
	}
}

func newOutcome(d time.Duration) *outcome {
	o := &outcome{windows: make([]struct{ offered, good atomic.Uint64 }, int(d/window)+1)}
	for i := range o.stripes {
		o.stripes[i].tally = newTally()
	}
	return o
}

// tally sums up. Nobody may be working any more.
func (o *outcome) tally() *tally {
	sum := newTally()
	for i := range o.stripes {
		sum.merge(o.stripes[i].tally)
	}
	return sum
}

// due is a step and the time at which it is to begin, since the beginning.
type due struct {
	step
	at time.Duration
}

// offer begins rate operations a second for a while, at most cfg.Outstanding at a
// time, each of which has until cfg.Deadline after it was due. It returns when
// all of them have ended.
func offer(ctx context.Context, to target, g *generator, rate float64, d time.Duration, cfg Config) *outcome {
	o := newOutcome(d)
	jobs := make(chan due)
	var all sync.WaitGroup
	start, workers := time.Now(), 0
	work := func(stripe int, first due) {
		for job, more := first, true; more; job, more = <-jobs {
			o.do(ctx, to, stripe, start, job, cfg.Deadline)
		}
	}
	begin := func(job due) {
		o.windows[job.at/window].offered.Add(1)
		select {
		case jobs <- job:
			return
		default:
		}
		if workers == cfg.Outstanding {
			o.counts[unsent].Add(1)
			return
		}
		stripe := workers % len(o.stripes)
		workers++
		all.Go(func() { work(stripe, job) })
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for begun := 0; ctx.Err() == nil; <-tick.C {
		now := min(time.Since(start), d)
		for ; begun < int(now.Seconds()*rate); begun++ {
			begin(due{g.next(), time.Duration(float64(begun) / rate * float64(time.Second))})
		}
		if now == d {
			break
		}
	}
	close(jobs)
	all.Wait()
	return o
}

func (o *outcome) do(ctx context.Context, to target, stripe int, start time.Time, job due, deadline time.Duration) {
	limited, cancel := context.WithDeadline(ctx, start.Add(job.at+deadline))
	items, err := to.do(limited, job.step)
	cancel()
	took := time.Since(start) - job.at
	if err != nil && ctx.Err() != nil {
		return // interrupted: nobody's failure
	}
	fate := fateOf(err, took, deadline)
	if o.counts[fate].Add(1); fate == good {
		o.windows[job.at/window].good.Add(1)
	}
	if err == nil && fate == late {
		err = cartwheel.DeadlinePast
	}
	s := &o.stripes[stripe]
	s.Lock()
	s.note(job.kind, took, items, err)
	s.Unlock()
}

func fateOf(err error, took, deadline time.Duration) int {
	switch {
	case errors.Is(err, cartwheel.Overloaded):
		return refused
	case took >= deadline, errors.Is(err, cartwheel.DeadlinePast):
		return late
	case err != nil:
		return failed
	}
	return good
}

func (o *outcome) offer(cfg Config, rate float64, mix []share, elapsed time.Duration) *Offer {
	sum := &Offer{
		Rate: rate, DeadlineS: cfg.Deadline.Seconds(), Outstanding: cfg.Outstanding, ElapsedS: elapsed.Seconds(),
		Good: o.counts[good].Load(), Refused: o.counts[refused].Load(), Late: o.counts[late].Load(),
		Failed: o.counts[failed].Load(), Unsent: o.counts[unsent].Load(),
	}
	for i := range o.windows {
		sum.Offered += o.windows[i].offered.Load()
	}
	sum.GoodPerS = ratio(float64(sum.Good), sum.ElapsedS)
	_, all := o.tally().summary(mix, elapsed)
	sum.Latency = all.Latency
	return sum
}

// settled returns how long it took until, from some window on, 99 of 100
// operations were good in every one to the end; ok is false when the last window
// was not.
func (o *outcome) settled() (after time.Duration, ok bool) {
	list := o.windows
	for len(list) > 0 && list[len(list)-1].offered.Load() == 0 {
		list = list[:len(list)-1]
	}
	bad := -1
	for i := range slices.Backward(list) {
		if float64(list[i].good.Load()) < 0.99*float64(list[i].offered.Load()) {
			bad = i
			break
		}
	}
	return time.Duration(bad+1) * window, bad < len(list)-1
}
