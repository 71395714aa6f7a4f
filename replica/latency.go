package replica

import "math/bits"

// latency estimates the 99th percentile of how long answers take. Counts stand in
// log-linear buckets (eight for each power of two, as in HdrHistogram), so an
// estimate is at most an eighth above the truth; they are halved when a thousand
// have gathered, so it follows what changes within some hundreds of answers.
// Noting one allocates nothing and takes no loop but once in a while.
type latency struct {
	buckets [latencyBuckets]uint16
	n       int // sum of buckets
	fresh   int // noted since p99 was worked out
	p99     int64
}

const (
	latencySteps   = 8  // buckets of one power of two
	latencyLowest  = 13 // 2^13 ns, 8 us: all that is faster counts as that
	latencyHighest = 34 // 2^34 ns, 17 s: all that is slower counts as that
	latencyBuckets = (latencyHighest-latencyLowest)*latencySteps + 1

	latencyWindow = 1024 // counts at which they are halved
	latencyEnough = 100  // answers before which nothing can be said of one in a hundred
	latencyRound  = 16   // answers after which the estimate is worked out again
)

// note takes one answer's time, in nanoseconds.
func (l *latency) note(ns int64) {
	l.buckets[latencyBucket(ns)]++
	if l.n++; l.n >= latencyWindow {
		l.n = 0
		for i := range l.buckets {
			l.buckets[i] /= 2
			l.n += int(l.buckets[i])
		}
	}
	if l.fresh++; l.fresh >= latencyRound && l.n >= latencyEnough {
		l.fresh, l.p99 = 0, l.highest(l.n/100)
	}
}

// estimate returns the 99th percentile, false while too few answers have come.
func (l *latency) estimate() (ns int64, known bool) { return l.p99, l.p99 > 0 }

// highest returns the upper end of the bucket below which all but skip are.
func (l *latency) highest(skip int) int64 {
	for i := latencyBuckets - 1; i > 0; i-- {
		if skip -= int(l.buckets[i]); skip < 0 {
			return latencyBound(i)
		}
	}
	return latencyBound(0)
}

func latencyBucket(ns int64) int {
	if ns < 1<<latencyLowest {
		return 0
	}
	power := bits.Len64(uint64(ns)) - 1
	step := int(uint64(ns)>>(power-3)) & (latencySteps - 1)
	return min((power-latencyLowest)*latencySteps+step, latencyBuckets-1)
}

// latencyBound is where the next bucket begins.
func latencyBound(bucket int) int64 {
	bucket++
	power, step := latencyLowest+bucket/latencySteps, bucket%latencySteps
	return int64(latencySteps+step) << (power - 3)
}

const (
	minHedge  = int64(2e6) // ns: faster than that is the noise of schedulers
	mostHedge = 4          // times Config.HedgeAfter
)

// hedgeAfter is how long a read waits before it asks one replica more: for 99 of
// 100 answers, so that hedging adds about one question in a hundred (Dean and
// Barroso, "The Tail at Scale", 2013). Only answers that came in time for their
// read are measured, so one slow replica does not make the others be waited for.
// When all are slow, as under load, it waits for longer than Config.HedgeAfter,
// which stands until enough answers have come: more questions would not help.
func (s *Shard) hedgeAfter() int64 {
	p99, known := s.latency.estimate()
	if !known {
		return s.cfg.HedgeAfter
	}
	return min(max(p99, min(minHedge, s.cfg.HedgeAfter)), mostHedge*s.cfg.HedgeAfter)
}

// hedgeLater sets when a read is to be hedged. Sweeps are too coarse for short
// waits; a timer that finds the read ended costs little.
func (s *Shard) hedgeLater(r *read) {
	wait := s.hedgeAfter()
	r.hedgeAt = s.now.Mono + wait
	if wait < sweepEvery {
		s.at(r.hedgeAt, func() {
			if !r.ended {
				r.wake(s)
			}
		})
	}
}
