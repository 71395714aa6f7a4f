package replicatest

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
)

var (
	seeds  = flag.Int("seeds", 0, "simulations to run; 0 for a few seconds' worth")
	seed   = flag.Uint64("seed", 1, "seed of the first simulation")
	story  = flag.Bool("story", false, "tell everything that happens; for one seed, with -v")
	alone  = flag.String("alone", "", "the one way of repair that is not switched off: handoff, logs, snapshots, trees, reads")
	freeze = flag.Bool("freeze", false, "freeze all but a core after some faults")
	ragged = flag.Bool("ragged", false, "logs lose every third group")
	update = flag.Bool("update", false, "write the golden files anew")
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

// TestSimulation runs -seeds simulations from -seed on. In a run of some size,
// every rare path of the protocol must have been taken.
func TestSimulation(t *testing.T) {
	n := *seeds
	if n == 0 {
		n = defaultSeeds
	}
	failures, quietest := 0, Tally{Acked: 1 << 30}
	var sum Report
	simulate(*seed, n, func(seed uint64) Options {
		o := Options{Seed: seed, Freeze: *freeze, Ragged: *ragged}
		if *alone != "" {
			if o.Alone = Ways[*alone]; o.Alone == 0 {
				t.Fatalf("-alone %s: there are %v", *alone, Ways)
			}
		}
		if *story {
			o.Story = os.Stdout
		}
		return o
	}, func(r *Report, err error) {
		if err != nil {
			if failures++; failures <= 3 {
				t.Errorf("%v", err)
			} else if failures <= 20 {
				first, _, _ := strings.Cut(err.Error(), "\n")
				t.Error(first)
			}
			return
		}
		faults := 0
		for k, n := range r.Faults {
			sum.Faults[k] += n
			faults += n
		}
		if *alone == "" && !*freeze && (faults < minFaults || r.Ops.All() < minOps) {
			t.Errorf("seed %d: %d faults and %d operations", r.Seed, faults, r.Ops.All())
		}
		if r.Ops.Acked < quietest.Acked {
			quietest = r.Ops
		}
		sum.add(r.Stats)
		sum.Checked.add(r.Checked)
		sum.Settled = max(sum.Settled, r.Settled)
		sum.Events += r.Events
		sum.Virtual += r.Virtual
		sum.Ops.add(r.Ops)
	})
	if failures > 0 {
		t.Errorf("%d of %d seeds failed", failures, n)
	}
	t.Logf("%d events in %d s of virtual time", sum.Events, sum.Virtual/second)
	t.Logf("operations: %+v; fewest acknowledged: %+v", sum.Ops, quietest)
	t.Logf("checked: %+v; longest until all agreed: %d s", sum.Checked, sum.Settled/second)
	t.Logf("shards: %+v", sum.Stats)
	var faults []string
	for k, n := range sum.Faults {
		faults = append(faults, fmt.Sprintf("%v %d", faultKind(k), n))
	}
	t.Logf("faults: %s", strings.Join(faults, ", "))
	if n >= enough && failures == 0 && !*freeze && !*ragged && *alone == "" {
		everythingHappened(t, &sum)
	}
}

// enough is how many seeds reach every rare path.
const enough = 100

func everythingHappened(t *testing.T, r *Report) {
	s := r.Stats
	for _, m := range []struct {
		what  string
		times uint64
	}{
		{"a group came twice", s.Known},
		{"a dot was killed before it arrived", s.Deferred},
		{"a payload was dead on arrival", s.Stillborn},
		{"a clear reached dots not seen yet", s.DeferredKeys},
		{"an increment was applied twice and taken back", s.Voids},
		{"registers were written concurrently", s.Concurrent},
		{"a commit held more groups than one", uint64(r.Checked.Batches)},
		{"a retry was recognised", s.Retries},
		{"a mutation had nothing to change", s.Nothing},
		{"a fallback stood in", s.Fallbacks},
		{"a mutation was handed on", s.Forwards},
		{"a read was degraded", s.Degraded},
		{"a read was hedged", s.Hedges},
		{"a replica was nudged", s.Nudges},
		{"an exchange found a difference", s.Exchanges},
		{"a group was caught up with", s.CaughtUp},
		{"a partition was handed off", s.HandedOff},
		{"a queue was full", s.Refused},
		{"an increment came before the one it follows", s.Early},
		{"an event left the log because all had it", s.Trimmed},
		{"an event left the log because it was too long", s.TrimmedEarly},
		{"an operation was forgotten", s.Forgotten},
		{"an operation was forgotten because there were too many", s.MayRepeat},
		{"an owner became ready", s.BecameReady},
		{"a node was told that its store is an older one", s.StoresLost},
		{"a snapshot was needed", s.InstallsNeeded},
		{"a snapshot was promoted", s.Promoted},
		{"a snapshot was promoted in pieces", s.Pieces},
		{"a promotion went on after a crash", s.Resumed},
		{"a snapshot was given up", s.Aborted},
		{"a group was held while a snapshot was staged", s.Held},
		{"a group that was held was released", s.Released},
		{"a cut was dropped", s.CutsDropped},
		{"trees were compared and equal", s.TreesEqual},
		{"trees were compared under different clocks", s.TreesApart},
		{"trees found that a snapshot is due", s.TreeInstalls},
		{"a tree was taken over from a clean close", s.TreesLoaded},
		{"a tree was summed up anew", s.TreesRebuilt},
		{"a tree was saved while nothing happened", s.TreesSaved},
		{"a hash was sent instead of rows", s.SameRows},
		{"a read was too stale for its client", uint64(r.Checked.TooStale)},
		{"a read was as fresh as its client asked", uint64(r.Checked.MaxStale)},
		{"a summary of a set was compared with its rows", uint64(r.Checked.Summaries)},
		{"a size was told without reading", uint64(r.Checked.Sizes)},
		{"a session could not be honoured", uint64(r.Checked.SessionsUnmet)},
		{"a session was honoured", uint64(r.Checked.Sessions)},
		{"a bound of staleness spoke of something that was behind", uint64(r.Checked.Behind)},
		{"a bound of staleness was small", uint64(r.Checked.SmallBounds)},
		{"a bound of staleness was large", uint64(r.Checked.LargeBounds)},
		{"a bound of staleness was unknown", uint64(r.Checked.UnknownBounds)},
		{"a barrier was looked at", uint64(r.Checked.Barriers)},
		{"a read had to show what an earlier client was told", uint64(r.Checked.Promised)},
		{"a retry was refused because its window had closed", uint64(r.Checked.Expired)},
		{"a read had something it could not miss", uint64(r.Checked.FreshReads)},
		{"a removal without a context was certain of what it observed", uint64(r.Checked.Blind)},
		{"a removal with a context was acknowledged", uint64(r.Checked.Removals - r.Checked.Blind)},
		{"a reset was certain of what it observed", uint64(r.Checked.Resets)},
		{"an exact counter was counted", uint64(r.Checked.Counters)},
		{"an exact counter of a map was counted", uint64(r.Checked.MapCounters)},
		{"a counter of a map that may be removed was counted", uint64(r.Checked.Lines)},
		{"a removal of a map's counter was certain of what it observed", uint64(r.Checked.MapResets)},
		{"something was removed because its time was over", uint64(r.Checked.Expiries)},
		{"owners had to agree that something was over", uint64(r.Checked.Agreed)},
		{"what was over waited for R owners to agree", s.ExpiryWaits},
		{"a read hid what was over", uint64(r.Checked.Hidden)},
		{"an increment in doubt was counted", uint64(r.Checked.Doubtful)},
		{"a register was overwritten by one who had seen it", uint64(r.Checked.Overwrites)},
		{"a blob had siblings", uint64(r.Checked.Siblings)},
		{"an operation was minted twice", uint64(r.Checked.TwiceMinted)},
		{"an outcome was unknown", uint64(r.Ops.Unknown)},
		{"an operation failed", uint64(r.Ops.Failed)},
	} {
		if m.times == 0 {
			t.Errorf("it never happened that %s", m.what)
		}
	}
	for k, n := range r.Faults {
		if n == 0 {
			t.Errorf("no fault was a %v", faultKind(k))
		}
	}
}

// Without faults nothing fails, nothing is tried twice, no fallback stands in and
// no two nodes mint for one operation.
func TestWithoutFaultsNothingFails(t *testing.T) {
	for seed := uint64(1); seed <= 20; seed++ {
		r, err := Run(Options{Seed: seed, Fair: true})
		if err != nil {
			t.Fatal(err)
		}
		if o := r.Ops; o.Unknown+o.Failed+o.ReadFailed+o.Retried > 0 {
			t.Errorf("seed %d: %+v", seed, o)
		}
		if s := r.Stats; s.Fallbacks+s.Degraded+s.HandedOff+s.Retries+s.Voids > 0 {
			t.Errorf("seed %d: %+v", seed, s)
		}
	}
}

func TestTheSameSeedGivesTheSameHistory(t *testing.T) {
	for seed := range uint64(8) {
		a, errA := Run(Options{Seed: seed})
		b, errB := Run(Options{Seed: seed})
		if errA != nil || errB != nil {
			t.Fatal(errA, errB)
		}
		if a.Hash != b.Hash || a.Events != b.Events {
			t.Errorf("seed %d: %016x after %d events, then %016x after %d", seed, a.Hash, a.Events, b.Hash, b.Events)
		}
	}
}

// TestHistoriesAreTheSameOnEveryMachine compares hashes with those of another
// day and machine. Whatever changes what shards say or when, or how a seed is
// read, changes them: look whether that was meant, and write them anew with
//
//	go test ./replica/replicatest -run TestHistories -update
func TestHistoriesAreTheSameOnEveryMachine(t *testing.T) {
	const path = "testdata/histories.golden"
	var b strings.Builder
	for seed := uint64(1); seed <= 5; seed++ {
		r, err := Run(Options{Seed: seed})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "seed %d: %016x, %d events, %d operations\n", seed, r.Hash, r.Events, r.Ops.All())
	}
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("histories are\n%sand were\n%s", b.String(), want)
	}
}
