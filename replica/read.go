package replica

import (
	"fmt"
	"slices"

	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica/quorum"
	"github.com/cartwheel-db/cartwheel/ring"
)

// read is a merged read that this node coordinates.
type read struct {
	q        Query
	part     int
	maxStale int64
	session  *dvv.Clock
	deadline int64
	request  uint64       // of the client who is told the result,
	done     func(Result) // unless somebody else is

	count   quorum.Read[ring.NodeID]
	answers []Answer
	from    []ring.NodeID
	fresh   []freshness // of the answers
	asks    []uint64    // under way
	hedgeAt int64
	againAt int64 // everybody was asked and it is not enough yet; 0 when not so
	tries   int
	ended   bool

	hash   [16]byte // of this node's own rows, when they were large at first
	hashed []Found  // those rows; nil when there are none

	// Room for what most reads come to.
	few struct {
		answers [2]Answer
		from    [2]ring.NodeID
		fresh   [2]freshness
		asks    [2]uint64
	}
}

// freshness is the staleness of one answer on this node's clock: all that was
// held durably before a moment is in it.
type freshness struct {
	since, reachable int64 // moments; [Unknown] when nobody can tell
	missing          []ring.NodeID
}

func (r *read) over() bool { return r.ended }

func (r *read) wake(s *Shard) {
	switch {
	case r.deadline <= s.now.Mono:
		r.count.Expire()
		s.dropAsks(r, "")
		s.readOn(r)
	case r.againAt != 0 && r.againAt <= s.now.Mono:
		r.againAt = 0
		s.askAgain(r)
		s.readOn(r)
	case r.hedgeAt <= s.now.Mono:
		s.hedgeLater(r)
		switch {
		case len(r.asks) == 0:
		case s.askNext(r):
			s.Stats.Hedges++
			s.readOn(r)
		case r.count.State() == quorum.Reached && r.againAt == 0:
			s.tryAgain(r) // not fresh enough yet, and somebody is silent: the others may know better by now
		}
	}
}

// query takes a client's query.
func (s *Shard) query(r Request) {
	if err := r.Query.Check(); err != nil {
		s.reply(r.ID, Result{Failure: &Failure{Reason: Invalid, Text: fmt.Sprintf("%v: %v", r.Query, err)}})
		return
	}
	need := r.R
	if need <= 0 {
		need = s.cfg.R
	}
	at := s.spare
	if s.spare = nil; at == nil {
		at = &read{}
	}
	*at = read{q: *r.Query, maxStale: r.MaxStale, session: r.Session, deadline: r.Deadline, request: r.ID}
	if s.read(at, need) {
		*at = read{}
		s.spare = at // nobody else has heard of it
	}
}

// read asks replicas until need ready owners have answered, and what they say
// together is as fresh as was asked for. It tells whether the read ended at once.
func (s *Shard) read(r *read, need int) bool {
	r.part = s.ring.Partition(r.q.Key.Bucket, r.q.Key.Name)
	r.count = quorum.NewRead[ring.NodeID](need, nil)
	s.Stats.ReadsMerged++
	r.answers, r.from, r.fresh, r.asks = r.few.answers[:0], r.few.from[:0], r.few.fresh[:0], r.few.asks[:0]
	// This node's own answer costs no message, and may be all that is wanted.
	if s.owns(r.part) {
		s.askReplica(r, s.cfg.Self)
	}
	s.readOn(r)
	if r.ended {
		return true
	}
	s.hedgeLater(r)
	s.await(r)
	return false
}

// readOn goes on with a read after its count changed: it is over, or the next
// nodes of the walk are asked.
func (s *Shard) readOn(r *read) {
	for !r.ended {
		late := r.deadline <= s.now.Mono
		if r.count.State() == quorum.Reached {
			if late || s.content(r) {
				s.endRead(r)
			} else if len(r.asks) == 0 && r.againAt == 0 {
				if s.askNext(r) {
					continue
				}
				s.tryAgain(r)
			}
			return
		}
		if r.count.Short() == 0 {
			return
		}
		if !late && s.askNext(r) {
			continue
		}
		if r.count.State() != quorum.Pending {
			if r.count.State() == quorum.Degraded && !late && !s.content(r) {
				if len(r.asks) == 0 && r.againAt == 0 {
					s.tryAgain(r)
				}
				return
			}
			s.endRead(r)
		}
		return
	}
}

// askNext asks the next usable node of the walk: owners first, then those who
// stand in for them. Their answers join, and do not count toward R.
func (s *Shard) askNext(r *read) bool {
	var asked []ring.NodeID
	fallbacks := 0
	for id := range r.count.All() {
		asked = append(asked, id)
		if !s.ring.Owns(id, r.part) {
			fallbacks++
		}
	}
	for id := range s.ring.InOrder(r.part) {
		if slices.Contains(asked, id) {
			continue
		}
		if !s.ring.Owns(id, r.part) {
			if fallbacks >= s.ring.Config().Replicas {
				return false
			}
		}
		if s.usable(id) {
			s.askReplica(r, id)
			return true
		}
	}
	return false
}

func (s *Shard) endRead(r *read) {
	s.dropAsks(r, "")
	r.ended = true
	res := Result{Answers: r.count.Answers(), Coordinator: s.cfg.Self}
	switch r.count.State() {
	case quorum.Reached, quorum.Degraded:
		if res.Degraded = r.count.State() == quorum.Degraded; res.Degraded {
			s.Stats.Degraded++
		}
		m := Merge(r.answers)
		if r.q.Count != 0 && m.Counted {
			s.Stats.SizesTold++
		} else if r.q.Count != 0 {
			s.Stats.SizesApart++
		}
		res.Staleness = s.joined(r)
		if res.Failure = s.discontent(r, &m, res.Staleness); res.Failure == nil {
			res.Merged = &m
		}
		s.repair(r, &m)
	default:
		res.Failure = &Failure{Reason: NoQuorum, Needed: r.count.Needed(), Got: r.count.Answers(),
			Text: fmt.Sprintf("%v: %v", r.q, &r.count)}
		res.Staleness = Staleness{Bound: Unknown, Reachable: Unknown}
	}
	for id, mark := range r.count.All() {
		if mark == quorum.Failed && r.deadline <= s.now.Mono && id != s.cfg.Self {
			s.failed(id)
		}
	}
	if r.done != nil {
		r.done(res)
		return
	}
	if res.Merged != nil {
		res.Merged.answers = nil // are for who mints
	}
	s.reply(r.request, res)
}
