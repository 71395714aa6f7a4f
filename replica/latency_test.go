package replica

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestAnEstimateIsTheNinetyNinthPercentileToAnEighth(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := rapid.SliceOfN(rapid.OneOf(rapid.Int64Range(1<<latencyLowest, 1<<20), rapid.Int64Range(1<<latencyLowest, 1<<(latencyHighest-1))),
			latencyEnough+latencyRound, latencyWindow-1).Draw(t, "answers")
		all = all[:len(all)-(len(all)-latencyEnough)%latencyRound] // when it is worked out
		var l latency
		for _, ns := range all {
			l.note(ns)
		}
		got, known := l.estimate()
		slices.Sort(all)
		want := all[len(all)-1-len(all)/100]
		if !known || got <= want || got > want+want/latencySteps+1 {
			t.Fatalf("estimated %d (%v), want more than %d and at most an eighth more", got, known, want)
		}
	})
}

func TestEveryTimeHasABucketAndTheBucketsAreInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ns := rapid.Int64().Draw(t, "ns")
		i := latencyBucket(ns)
		if i < 0 || i >= latencyBuckets {
			t.Fatalf("%d ns: bucket %d of %d", ns, i, latencyBuckets)
		}
		if ns >= latencyBound(i) && i < latencyBuckets-1 || i > 0 && ns < latencyBound(i-1) {
			t.Fatalf("%d ns: bucket %d, from %d to %d", ns, i, latencyBound(i-1), latencyBound(i))
		}
	})
}

func TestAnEstimateFollowsWhatChanges(t *testing.T) {
	var l latency
	note := func(n int, ns int64) (p99 int64) {
		for range n {
			l.note(ns)
		}
		p99, _ = l.estimate()
		return p99
	}
	if _, known := l.estimate(); known {
		t.Error("known before the first answer")
	}
	if note(latencyEnough-1, 1e6); l.p99 != 0 {
		t.Errorf("known after %d answers", latencyEnough-1)
	}
	if p99 := note(10_000, 1e6); p99 < 1e6 || p99 > 1.2e6 {
		t.Errorf("answers take 1 ms, estimated %d ns", p99)
	}
	if p99 := note(200, 80e6); p99 < 80e6 || p99 > 90e6 {
		t.Errorf("200 answers after they began to take 80 ms: estimated %d ns", p99)
	}
	if p99 := note(8*latencyWindow, 1e6); p99 < 1e6 || p99 > 1.2e6 {
		t.Errorf("back at 1 ms: estimated %d ns", p99)
	}
}

func TestNotingAnAnswerAllocatesNothing(t *testing.T) {
	var l latency
	if n := testing.AllocsPerRun(10_000, func() { l.note(1_234_567) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
