package replica_test

import (
	"flag"
	"testing"

	"github.com/cartwheel-db/cartwheel/replica"
)

var (
	seedsFlag = flag.Int("partition.seeds", modelSeeds, "random lives of a partition per setting")
	seedFlag  = flag.Uint64("partition.seed", 0, "first seed; alone, the only one")
)

// seeds is the range to run: a seed given alone is run alone.
func seeds(share int) (first, n uint64) {
	n = uint64(*seedsFlag / share)
	if *seedFlag != 0 && *seedsFlag == modelSeeds {
		n = 1
	}
	return max(*seedFlag, 1), n
}

// lives runs worlds of a setting, as many as its share of the seeds, and returns
// what they did all together.
func lives(t *testing.T, s setting, share int) (replica.Counts, tally) {
	t.Helper()
	var counts replica.Counts
	var done tally
	first, n := seeds(share)
	for seed := first; seed < first+n; seed++ {
		w, err := run(s, seed, nil)
		if err != nil {
			t.Fatalf("seed %d: %v\nreplay: go test ./replica -run '^%s$' -partition.seed %d\n\n%s", seed, err, t.Name(), seed, story(s, seed))
		}
		counts.Add(w.counts)
		done.add(w.tally)
	}
	t.Logf("%d seeds: %+v %+v", n, counts, done)
	return counts, done
}

// taken fails for each path that no run took: a law that was never tested.
func taken(t *testing.T, paths map[string]uint64) {
	t.Helper()
	if _, n := seeds(1); n == 1 {
		return // a replay
	}
	for name, n := range paths {
		if n == 0 {
			t.Errorf("no run ever took the path %q", name)
		}
	}
}

func TestReplicasEqualTheOracleWhateverHappensToMessagesLogsAndDisks(t *testing.T) {
	c, d := lives(t, setting{resets: true}, 1)
	taken(t, map[string]uint64{
		"an event is held while a snapshot is staged": c.Held, "a snapshot is given up": c.Aborted, "a snapshot is promoted": c.Promoted,
		"a held event is released": c.Released, "a kill is deferred": c.Deferred, "a clear is deferred": c.DeferredKeys,
		"a payload is dead on arrival": c.Stillborn, "a repetition is voided": c.Voids, "a group arrives twice": c.Known,
		"a reset arrives before what it saw": uint64(d.EarlyResets), "a log is too short": uint64(d.ShortLogs), "a log is trimmed": uint64(d.Trimmed),
		"a context names unseen dots": uint64(d.UnseenContexts), "a context covers several members": uint64(d.WideContexts),
		"a retry is recognised": uint64(d.Recognised), "a key is cleared": uint64(d.Clears), "a node crashes": uint64(d.Crashes), "a disk is lost": uint64(d.Wipes),
	})
	if c.Collisions > 0 {
		t.Errorf("%d collisions: a dot had different bytes", c.Collisions)
	}
}

func TestSnapshotsThatRaceWithTheEventsOfTheirCutEqualTheOracle(t *testing.T) {
	c, d := lives(t, setting{storm: true}, 1)
	taken(t, map[string]uint64{
		"an event is held while a snapshot is staged": c.Held, "a snapshot is given up": c.Aborted, "a snapshot is promoted": c.Promoted,
		"a held event is released": c.Released, "a clear is deferred": c.DeferredKeys, "a log is too short": uint64(d.ShortLogs),
		"a snapshot is promoted in pieces": c.Pieces, "a promotion goes on after a crash": uint64(d.Resumed),
	})
}

func TestCountersAreExactAcrossResetsRetriesAndLostProcesses(t *testing.T) {
	c, d := lives(t, setting{counters: true, resets: true}, 1)
	taken(t, map[string]uint64{
		"a repetition is voided": c.Voids, "a reset arrives before what it saw": uint64(d.EarlyResets), "an entry is dead on arrival": c.Stillborn,
		"a snapshot is promoted": c.Promoted,
	})
}

func TestMapsEqualTheOracleAndTheirCountersAreExact(t *testing.T) {
	c, d := lives(t, setting{maps: true, resets: true}, 2)
	taken(t, map[string]uint64{
		"a repetition is voided": c.Voids, "of several counters together": uint64(d.Together), "a reset arrives before what it saw": uint64(d.EarlyResets),
		"a retry takes back its own first copy": uint64(d.OwnCopies), "a clear is deferred": c.DeferredKeys, "a payload is dead on arrival": c.Stillborn,
		"a kill is deferred": c.Deferred, "a snapshot is promoted": c.Promoted, "a context names unseen dots": uint64(d.UnseenContexts),
		"a retry is recognised": uint64(d.Recognised), "a map is deleted": uint64(d.Clears), "a disk is lost": uint64(d.Wipes), "a log is too short": uint64(d.ShortLogs),
	})
	if c.Collisions > 0 {
		t.Errorf("%d collisions: a dot had different bytes", c.Collisions)
	}
}

func TestAnIncrementIsCountedOnceThoughItsOperationIsForgottenOnceAllHaveHeardOfIt(t *testing.T) {
	c, d := lives(t, setting{counters: true, forget: "heard", resets: true}, 4)
	taken(t, map[string]uint64{
		"a repetition is voided": c.Voids, "an operation is forgotten": uint64(d.Forgotten), "a retry is recognised": uint64(d.Recognised),
		"a disk is lost": uint64(d.Wipes), "a log is too short": uint64(d.ShortLogs),
	})
	if d.HiddenTwice > 0 {
		t.Errorf("%d operations counted twice", d.HiddenTwice)
	}
}

func TestASeedTellsTheSameStoryTwice(t *testing.T) {
	for seed := uint64(1); seed <= 20; seed++ {
		if a, b := story(setting{resets: true}, seed), story(setting{resets: true}, seed); a != b {
			t.Errorf("seed %d tells two stories:\n%s\n%s", seed, a, b)
		}
	}
}
