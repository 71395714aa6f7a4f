package replicatest

import (
	"flag"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
)

var (
	seeds = flag.Int("seeds", 100, "simulations to run")
	seed  = flag.Uint64("seed", 1, "seed of the first simulation")
	story = flag.Bool("story", false, "tell everything that happens; for one seed")
)

// simulate runs seeds on all processors and hands each report to fn, in order of
// seeds.
func simulate(first uint64, n int, opt func(seed uint64) Options, fn func(*Report, error)) {
	type outcome struct {
		report *Report
		err    error
	}
	results := make([]chan outcome, n)
	for i := range results {
		results[i] = make(chan outcome, 1)
	}
	next := make(chan int)
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := range next {
				r, err := Run(opt(first + uint64(i)))
				results[i] <- outcome{r, err}
			}
		})
	}
	go func() {
		for i := range n {
			next <- i
		}
		close(next)
	}()
	for i := range results {
		o := <-results[i]
		fn(o.report, o.err)
	}
	wg.Wait()
}

func TestSimulation(t *testing.T) {
	failures := 0
	var sum Report
	simulate(*seed, *seeds, func(seed uint64) Options {
		o := Options{Seed: seed}
		if *story {
			o.Story = os.Stdout
		}
		return o
	}, func(r *Report, err error) {
		if err != nil {
			if failures++; failures <= 3 {
				t.Errorf("%v", err)
			} else {
				first, _, _ := strings.Cut(err.Error(), "\n")
				t.Error(first)
			}
			return
		}
		sum.add(r.Stats)
		for i, n := range r.Faults {
			sum.Faults[i] += n
		}
		sum.Events += r.Events
		sum.Virtual += r.Virtual
		sum.Inside = append(sum.Inside, r.Inside...)
		sum.Ops.Acked += r.Ops.Acked
		sum.Ops.Unknown += r.Ops.Unknown
		sum.Ops.Failed += r.Ops.Failed
		sum.Ops.Reads += r.Ops.Reads
		sum.Ops.ReadFailed += r.Ops.ReadFailed
		sum.Ops.Retried += r.Ops.Retried
	})
	if failures > 0 {
		t.Errorf("%d of %d seeds failed", failures, *seeds)
	}
	t.Logf("%d events, %d s of virtual time, operations %+v\nstats %+v", sum.Events, sum.Virtual/second, sum.Ops, sum.Stats)
	for k, n := range sum.Faults {
		t.Logf("%v: %d", faultKind(k), n)
	}
	for _, s := range sum.Inside {
		t.Log(s)
	}
}
