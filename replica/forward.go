package replica

import (
	"fmt"
	"slices"

	"github.com/cartwheel-db/cartwheel/ring"
)

// forward is a client's mutation that another node coordinates.
type forward struct {
	id       uint64
	request  Request
	to       ring.NodeID // who has it now
	tried    []ring.NodeID
	doubt    []ring.NodeID // of those tried: have not said that they did nothing
	heard    *Failure      // of a coordinator that was given up for being late
	nextAt   int64
	finished bool
}

// mutate takes a client's mutation: it goes to the first live owner, or, when
// no owner can be reached, to a fallback.
func (s *Shard) mutate(r Request) {
	m := r.Mutation
	if err := m.Check(); err != nil {
		s.reply(r.ID, Result{Failure: &Failure{Reason: Invalid, Text: fmt.Sprintf("%v: %v", m, err)}})
		return
	}
	m.Sum = m.Fingerprint()
	if age := s.age(m); age > s.cfg.OpWindow || -age > s.cfg.MaxSkew {
		s.reply(r.ID, Result{Failure: s.expired(m)})
		return
	}
	f := &forward{id: s.id(), request: r}
	s.forwards[f.id] = f
	s.await(f)
	s.forwardNext(f)
}

// age is how long ago a mutation was first tried, in milliseconds, 0 where nothing
// tells.
func (s *Shard) age(m *Mutation) int64 {
	if m.Op.IsZero() {
		return 0
	}
	return s.now.Wall - m.Op.Issued
}

// expired refuses an operation id that is too old to be remembered, or from
// further ahead than clocks may differ.
func (s *Shard) expired(m *Mutation) *Failure {
	if age := s.age(m); age < 0 {
		return &Failure{Reason: OpExpired,
			Text: fmt.Sprintf("%v: operation id issued %d ms in the future, at most %d ms are taken for clocks that differ: nothing was done", m, -age, s.cfg.MaxSkew)}
	}
	return &Failure{Reason: OpExpired, Unknown: true,
		Text: fmt.Sprintf("%v: operation id issued %d ms ago, retries are recognised for %d ms: the outcome is unknown, nothing was done now", m, s.age(m), s.cfg.OpWindow)}
}

// lastWord is how much earlier than the client a coordinator gives up, at most,
// in nanoseconds: "1 of 2 acks" says more than that there was no answer, if it
// still arrives.
const lastWord = int64(25e6)

// forwardNext gives the mutation to the next node that may coordinate it. A
// second coordinator may apply what the first applied too: the operation id
// makes that one.
func (s *Shard) forwardNext(f *forward) {
	if f.finished || f.request.Deadline <= s.now.Mono {
		return // the next sweep ends it
	}
	m := f.request.Mutation
	to, found := s.coordinatorFor(s.ring.Partition(m.Key.Bucket, m.Key.Name), f.tried)
	if !found {
		s.endForward(f, Result{Failure: &Failure{Reason: NoQuorum, Needed: 1,
			Text: fmt.Sprintf("%v: no node that could coordinate it can be reached (tried %v)", m, f.tried)}})
		return
	}
	f.to, f.nextAt = to, f.request.Deadline
	f.tried, f.doubt = append(f.tried, to), append(f.doubt, to)
	left := f.request.Deadline - s.now.Mono
	left -= min(left/10, lastWord)
	if to == s.cfg.Self {
		s.coordinate(*m, f.request.W, s.now.Mono+left, func(r Result) { s.forwarded(f, to, r) })
		return
	}
	s.Stats.Forwards++
	s.send(to, Forward{ID: f.id, Mutation: *m, W: f.request.W, Left: left})
	f.nextAt = s.now.Mono + s.cfg.ForwardAfter
}

func (f *forward) over() bool { return f.finished }

func (f *forward) wake(s *Shard) {
	switch {
	case f.request.Deadline <= s.now.Mono:
		fail := f.heard
		if fail == nil {
			fail = &Failure{Reason: NoQuorum, Needed: 1,
				Text: fmt.Sprintf("%v: no answer from its coordinator (tried %v) before the deadline", f.request.Mutation, f.tried)}
		}
		s.endForward(f, Result{Failure: fail})
	case f.nextAt <= s.now.Mono:
		late := f.to
		f.nextAt = f.request.Deadline
		s.failed(late)
		if !f.finished && f.to == late {
			s.forwardNext(f)
		}
	}
}

// coordinatorFor returns the first live owner that was not tried, or else the
// first such node of the walk.
func (s *Shard) coordinatorFor(partition int, tried []ring.NodeID) (ring.NodeID, bool) {
	for id := range s.ring.InOrder(partition) {
		if !slices.Contains(tried, id) && s.usable(id) && !(s.ailing && id == s.cfg.Self) {
			return id, true
		}
	}
	return "", false
}

// endForward tells the client. A failure of the last coordinator is not the
// whole truth while an earlier one may still do it, or has done it.
func (s *Shard) endForward(f *forward, r Result) {
	if f.finished {
		return
	}
	f.finished = true
	delete(s.forwards, f.id)
	if fail := r.Failure; fail != nil && !fail.Unknown && len(f.doubt) > 0 {
		unsure := *fail
		unsure.Unknown = true
		unsure.Text = fmt.Sprintf("%s; %v may have written it all the same, so the outcome is unknown", fail.Text, f.doubt)
		r.Failure = &unsure
	}
	s.reply(f.request.ID, r)
}

// receiveForward coordinates, whatever this node thinks of its place in the
// ring: passing it on again could go round in circles, and what a node stores
// without owning it, it hands off. Only one that has left refuses.
func (s *Shard) receiveForward(from ring.NodeID, m Forward) {
	if err := m.Mutation.Check(); err != nil || m.Left <= 0 {
		s.Stats.Malformed++
		return
	}
	// How long it was on its way nobody knows: it may have waited for a node that
	// was stopped. Beyond the window the operation may be forgotten here already.
	if s.age(&m.Mutation) > s.cfg.OpWindow {
		s.send(from, Forwarded{ID: m.ID, Result: Result{Failure: s.expired(&m.Mutation), Coordinator: s.cfg.Self}})
		return
	}
	s.coordinate(m.Mutation, m.W, s.now.Mono+m.Left, func(r Result) {
		s.send(from, Forwarded{ID: m.ID, Result: r})
	})
}

func (s *Shard) receiveForwarded(from ring.NodeID, m Forwarded) {
	if f := s.forwards[m.ID]; f != nil {
		s.forwarded(f, from, m.Result)
	}
}

// forwarded takes a coordinator's result. One that could not do it (its disk is
// full, say) leaves the next one a chance, if it knows that it did nothing or the
// operation id makes a second application one; the failure of one that was
// given up decides nothing while the next one is at it.
func (s *Shard) forwarded(f *forward, from ring.NodeID, r Result) {
	if fail := r.Failure; fail != nil && !f.finished {
		if !fail.Unknown {
			f.doubt = slices.DeleteFunc(f.doubt, func(id ring.NodeID) bool { return id == from })
		}
		if f.to != from {
			f.heard = fail
			return
		}
		again := !fail.Unknown || !f.request.Mutation.Op.IsZero()
		if again && (fail.Reason == Internal || fail.Reason == Overloaded) && len(f.tried) < s.ring.Config().Replicas {
			s.forwardNext(f)
			return
		}
	}
	s.endForward(f, r)
}
