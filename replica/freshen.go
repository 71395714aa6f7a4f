package replica

import (
	"fmt"
	"slices"

	"github.com/cartwheel-db/cartwheel/ring"
)

// Reads that ask for more than a quorum: a state that covers a session, or one
// that is at most so far behind. Where the first answers do not have it, the
// other owners are asked; replicas that are too far behind sound the others at
// once and answer when they know better; and everybody is asked again, for as
// long as that may help.

// joined is the staleness of all answers together. Each bounds the whole, so the
// best one holds.
func (s *Shard) joined(r *read) Staleness {
	out := Staleness{Bound: Unknown, Reachable: Unknown}
	for _, f := range r.fresh {
		out.Bound = better(out.Bound, age(s.now.Mono, f.since))
		// What one replica reaches another may not: the bound over the reachable ones
		// belongs to those that this very replica could not reach.
		a := age(s.now.Mono, f.reachable)
		if a == Unknown {
			continue
		}
		if out.Reachable == Unknown || len(f.missing) < len(out.Missing) || len(f.missing) == len(out.Missing) && a < out.Reachable {
			out.Reachable, out.Missing = a, f.missing
		}
	}
	if out.Reachable == Unknown && len(r.fresh) > 0 {
		out.Missing = r.fresh[0].missing
	}
	return out
}

func age(now, since int64) int64 {
	if since == Unknown {
		return Unknown
	}
	return max(0, now-since)
}

// covers tells whether the answers together cover what the session has seen.
func (r *read) covers() bool {
	if r.session == nil {
		return true
	}
	rest := *r.session
	for i := range r.answers {
		if rest = rest.Minus(r.answers[i].Clock); rest.IsEmpty() {
			return true
		}
	}
	return rest.IsEmpty()
}

// content tells whether a read has what it asked for beyond its quorum.
func (s *Shard) content(r *read) bool {
	return r.covers() && (r.maxStale <= 0 || s.joined(r).Within(r.maxStale))
}

// discontent says why a read that ends has not what it asked for.
func (s *Shard) discontent(r *read, m *Merged, st Staleness) *Failure {
	if r.session != nil && !m.Clock.Covers(*r.session) {
		s.Stats.SessionUnmet++
		return &Failure{Reason: SessionUnmet, Text: fmt.Sprintf("%v: %d events that this session has seen or written are known to none of the %d replicas that answered: %v",
			r.q, r.session.Minus(m.Clock).Count(), len(r.from), r.from)}
	}
	if r.maxStale > 0 && !st.Within(r.maxStale) {
		s.Stats.TooStale++
		return &Failure{Reason: TooStale, Text: fmt.Sprintf("%v: at most %d ms of staleness were asked for, the best of %d answers is %v", r.q, r.maxStale/1e6, len(r.from), st)}
	}
	return nil
}

const (
	firstAgain = int64(10e6)  // ns until everybody is asked once more
	lastAgain  = int64(160e6) // doubled from try to try up to this
)

// tryAgain lets everybody be asked once more, a little later, unless those who
// could help cannot be reached.
func (s *Shard) tryAgain(r *read) {
	if len(r.asks) == 0 && (s.unreachable(r) || r.tries > 2 && s.hopeless(r)) {
		s.endRead(r)
		return
	}
	r.againAt = s.now.Mono + min(firstAgain<<min(r.tries, 10), lastAgain)
	r.tries++
}

// unreachable tells whether all that a read lacks is word of a member whom none
// of those who answered can reach: no waiting changes that.
func (s *Shard) unreachable(r *read) bool {
	st := s.joined(r)
	return r.covers() && r.maxStale > 0 && !st.Within(r.maxStale) && len(st.Missing) > 0
}

func (s *Shard) hopeless(r *read) bool {
	return s.unreachable(r) || slices.ContainsFunc(s.others, func(id ring.NodeID) bool { return !s.up(id) })
}

func (s *Shard) askAgain(r *read) {
	for _, id := range slices.Clone(r.from) {
		if slices.ContainsFunc(r.asks, func(q uint64) bool { return s.asks[q].to == id }) {
			continue // it has not answered the last time
		}
		if id == s.cfg.Self || s.usable(id) {
			s.askReplica(r, id)
		}
	}
}

// minFreshen is how often, in ns, one partition is sounded for reads.
const minFreshen = int64(2e6)

// canFreshen tells whether waiting may bring an answer within a bound, and asks
// around for it.
func (s *Shard) canFreshen(p *part, most int64) bool {
	st := s.staleness(p)
	if st.Within(most) || len(st.Missing) > 0 {
		return false
	}
	if p.freshened != 0 && s.now.Mono-p.freshened < minFreshen {
		return true // asked just now
	}
	p.freshened = s.now.Mono
	for _, id := range s.others {
		if s.usable(id) {
			s.sound(id, []int{p.ID})
		}
	}
	return true
}

// wakeEvery is how often, in ns, those who wait are looked through: commits and
// soundings come more often under load, and many may wait.
const wakeEvery = int64(1e6)

// wakeWaiting lets those who wait for fresher data be looked through, now or in a
// moment.
func (s *Shard) wakeWaiting() {
	switch due := s.wokenAt + wakeEvery; {
	case len(s.waiting) == 0 || s.wakeDue:
	case due > s.now.Mono:
		s.wakeDue = true
		s.at(due, s.answerWaiting)
	default:
		s.answerWaiting()
	}
}

// answerWaiting answers those who wait for fresher data, when it is here or will
// not come in time.
func (s *Shard) answerWaiting() {
	s.wokenAt, s.wakeDue = s.now.Mono, false
	waiting := s.waiting
	s.waiting = nil
	reads := map[*read]bool{}
	var own []*read
	for _, w := range waiting {
		p, err := s.loaded(w.m.Partition)
		if err == nil && w.until > s.now.Mono && !s.staleness(p).Within(w.m.MaxStale) {
			s.waiting = append(s.waiting, w)
			continue
		}
		if q, asked := s.asks[w.m.ID]; w.from == s.cfg.Self && asked && !reads[q.read] {
			reads[q.read] = true
			own = append(own, q.read)
		}
		s.answerTo(w.from, w.m)
	}
	if len(s.waiting) > 0 {
		s.at(s.waiting[0].until, s.wakeWaiting)
	}
	for _, r := range own {
		s.readOn(r)
	}
}
