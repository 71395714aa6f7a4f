package replicatest

import (
	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/replica"
)

// checkAtQuiet runs the checkers that look at the end of a history.
func (w *World) checkAtQuiet() {
	checks := []func(){
		w.checkEqualOwners, w.checkNothingLost, w.checkRemovals, w.checkHonesty,
		w.checkCounters, w.checkResets, w.checkRegisters, w.checkBlobs, w.countGhosts,
	}
	for _, check := range checks {
		if w.err == nil {
			check()
		}
	}
}

// readEverything reads every key once more, each through some node.
func (w *World) readEverything() {
	left := 0
	for _, part := range w.memory.parts {
		for _, log := range part.keys {
			q := replica.Query{Key: log.key}
			if log.key.Type == crdt.Set {
				q.Span = &replica.Span{Limit: replica.MaxPage}
			}
			c := newClient(w, len(w.clients), 0)
			left++
			c.ask(replica.Request{Query: &q}, 5*second, func(res *replica.Result) {
				left--
				if res == nil || res.Failure != nil {
					w.fail("at quiet, %v cannot be read through %v: %+v", q, nodeID(c.node), res)
				}
			})
		}
	}
	w.loop(func() bool { return left == 0 })
}

func (r *Report) add(s replica.Stats) {
	t := &r.Stats
	t.Add(s.Counts)
	for _, f := range [...][2]*uint64{
		{&t.Minted, &s.Minted}, {&t.Commits, &s.Commits}, {&t.CommitGroups, &s.CommitGroups}, {&t.Retries, &s.Retries},
		{&t.Nothing, &s.Nothing}, {&t.Fallbacks, &s.Fallbacks}, {&t.Coordinated, &s.Coordinated}, {&t.Forwards, &s.Forwards},
		{&t.ReadsMerged, &s.ReadsMerged}, {&t.Degraded, &s.Degraded}, {&t.Hedges, &s.Hedges}, {&t.Nudges, &s.Nudges},
		{&t.Exchanges, &s.Exchanges}, {&t.CaughtUp, &s.CaughtUp}, {&t.HandedOff, &s.HandedOff}, {&t.Rotations, &s.Rotations},
		{&t.SkewAlarms, &s.SkewAlarms}, {&t.Malformed, &s.Malformed}, {&t.Refused, &s.Refused},
	} {
		*f[0] += *f[1]
	}
}
