package replicatest

import (
	"slices"

	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica"
	"github.com/cartwheel-db/cartwheel/ring"
)

// small is a bound that is worth something: a checker that sees only large ones
// holds nothing.
const small = 10 * second

// checkAnswerBound holds what a read says of its own staleness to the truth: of
// all that members have had on their disks without a break since before the
// bound, the answer misses nothing. And it holds the answer to what the request
// asked for: its session, and how stale it may be.
func (w *World) checkAnswerBound(a asking, res replica.Result) {
	if w.err != nil {
		return
	}
	if f := res.Failure; f != nil {
		switch {
		case f.Reason == replica.TooStale && a.MaxStale == 0, f.Reason == replica.SessionUnmet && a.Session == nil:
			w.fail("%v failed for what nobody asked: %v", a.query, f)
		case f.Reason == replica.TooStale:
			w.report.Checked.TooStale++
		case f.Reason == replica.SessionUnmet:
			w.report.Checked.SessionsUnmet++
		}
		return
	}
	if a.MaxStale > 0 {
		if !res.Staleness.Within(a.MaxStale) {
			w.fail("%v was to be at most %d ms stale and was answered with %v", a.query, a.MaxStale/ms, res.Staleness)
		}
		w.report.Checked.MaxStale++
	}
	if a.Session != nil {
		if !res.Merged.Clock.Covers(*a.Session) {
			w.fail("%v within a session that saw %v is answered at %v: it misses %v", a.query, a.Session, res.Merged.Clock, a.Session.Minus(res.Merged.Clock))
		}
		if !a.Session.IsEmpty() {
			w.report.Checked.Sessions++
		}
	}
	w.checkBound(a.query.String(), a.partition, res.Merged.Clock, res.Staleness, w.still(a.members))
}

// still lists those who are members yet.
func (w *World) still(members []ring.NodeID) []ring.NodeID {
	now := w.members()
	return slices.DeleteFunc(slices.Clone(members), func(id ring.NodeID) bool { return !slices.Contains(now, id) })
}

// checkBound compares one bound, and the one over the reachable members, with
// the books.
func (w *World) checkBound(what string, p int, c dvv.Clock, s replica.Staleness, members []ring.NodeID) {
	c = c.Clone()
	hold := func(name string, bound int64, members []ring.NodeID) {
		if bound == replica.Unknown {
			return
		}
		if bound < 0 {
			w.fail("%s reports %d ns of staleness", what, bound)
		}
		missed, at, since := w.longest(p, c, members)
		if missed == nil {
			return
		}
		w.report.Checked.Behind++
		if w.now-since > bound {
			w.fail("%s at %v says that it is at most %.4f s behind %s, but misses %s, which %v has held for %.4f s", what, c,
				float64(bound)/1e9, name, brief(&missed.group), nodeID(at), float64(w.now-since)/1e9)
		}
	}
	hold("all members", s.Bound, members)
	hold("the reachable ones", s.Reachable, slices.DeleteFunc(slices.Clone(members), func(id ring.NodeID) bool { return slices.Contains(s.Missing, id) }))
	switch {
	case s.Bound == replica.Unknown:
		w.report.Checked.UnknownBounds++
	case s.Bound < small:
		w.report.Checked.SmallBounds++
	default:
		w.report.Checked.LargeBounds++
	}
}

// checkHealth holds what a node says of each of its partitions to its disk and
// to the books.
func (n *node) checkHealth() {
	w := n.w
	members := slices.DeleteFunc(w.members(), func(id ring.NodeID) bool { return id == n.id })
	for _, h := range n.shard.Health(n.clock()) {
		w.checkBound("the health of "+string(n.id), h.Partition, n.durableOf(h.Partition), h.Staleness, members)
		for _, p := range h.Peers {
			if slices.Contains(members, p.ID) {
				w.checkBound("the health of "+string(n.id), h.Partition, n.durableOf(h.Partition), replica.Staleness{Bound: p.Age, Reachable: replica.Unknown}, []ring.NodeID{p.ID})
			}
		}
	}
}

// lookAround asks every node for its health, again and again.
func (w *World) lookAround() {
	w.after(w.between(200*ms, 2*second), func() {
		for _, n := range w.nodes {
			if n.up && n.pausedUntil <= w.now {
				n.checkHealth()
			}
		}
		if !w.quiet {
			w.lookAround()
		}
	})
}
