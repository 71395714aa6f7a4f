package replica

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica/quorum"
	"github.com/cartwheel-db/cartwheel/ring"
)

// write is a mutation that this node coordinates: read what it observes, mint,
// commit and send at the same time, count durable acknowledgements.
type write struct {
	m        Mutation
	part     int
	w        int
	deadline int64
	done     func(Result)
	finished bool

	group  crdt.Group
	count  quorum.Write[ring.NodeID]
	slowAt int64
	result Result
}

// coordinate takes a mutation whose coordinator this node is.
func (s *Shard) coordinate(m Mutation, w int, deadline int64, done func(Result)) {
	s.Stats.Coordinated++
	wr := &write{m: m, part: s.ring.Partition(m.Key.Bucket, m.Key.Name), w: w, deadline: deadline, done: done}
	if wr.w <= 0 {
		wr.w = s.cfg.W
	}
	if s.departed() {
		s.finish(wr, s.refuseDeparted(&m))
		return
	}
	if s.ailing {
		s.finish(wr, &Failure{Reason: Internal, Text: fmt.Sprintf("%v: the store of %v failed a moment ago and takes no writes yet; nothing was done", &m, s.cfg.Self)})
		return
	}
	q, observes := m.Observes()
	if !observes || s.full() {
		s.queueWrite(wr, nil)
		return
	}
	s.read(&read{q: q, session: m.covers(), deadline: deadline, done: func(r Result) {
		if r.Failure != nil {
			f := *r.Failure
			f.Text = fmt.Sprintf("%v: nothing was written, because what it would remove could not be read: %s", &m, f.Text)
			s.finish(wr, &f)
			return
		}
		if q.Span == nil && r.Merged.More {
			s.finish(wr, &Failure{Reason: Invalid, Text: fmt.Sprintf("%v: %v: what it would remove is more than %d rows or %d bytes; nothing was written", &m, ErrTooManyRows, MaxRows, maxAnswer)})
			return
		}
		wr.result.Degraded = r.Degraded
		s.queueWrite(wr, r.Merged)
	}}, s.cfg.R)
}

// queueWrite lets a mutation wait for the next transaction, if there is room.
func (s *Shard) queueWrite(w *write, seen *Merged) {
	if s.full() {
		s.Stats.Refused++
		s.finish(w, &Failure{Reason: Overloaded, Text: fmt.Sprintf("%v: %d mutations of %d bytes are waiting at %v already; nothing was done", &w.m, len(s.queue), s.queueBytes, s.cfg.Self)})
		return
	}
	s.enqueue(w.m.bytes(), func(c *commit) error { return s.fillWrite(c, w, seen) })
}

func (s *Shard) finish(w *write, f *Failure) {
	if w.finished {
		return
	}
	w.finished = true
	w.result.Failure = f
	w.result.Coordinator = s.cfg.Self
	if w.result.Wrote {
		w.result.Answers = w.count.Acked()
	}
	s.forgetWrite(w)
	w.done(w.result)
}

// fillWrite mints the mutation inside a transaction, or finds that it was
// minted before.
func (s *Shard) fillWrite(c *commit, w *write, seen *Merged) error {
	if w.deadline <= s.now.Mono {
		s.finish(w, &Failure{Reason: DeadlinePast, Text: fmt.Sprintf("%v: the deadline passed while it waited; nothing was done", &w.m)})
		return nil
	}
	if s.age(&w.m) > s.cfg.OpWindow { // it may be forgotten already that this was done
		s.finish(w, s.expired(&w.m))
		return nil
	}
	if s.departed() {
		s.finish(w, s.refuseDeparted(&w.m))
		return nil
	}
	active := s.ring.Active(w.part, s.usable)
	if len(active) < w.w {
		s.finish(w, &Failure{Reason: NoQuorum, Needed: w.w, Got: len(active),
			Text: fmt.Sprintf("%v: needs %d durable copies, only %d replicas can be reached (%v); nothing was written", &w.m, w.w, len(active), active)})
		return nil
	}
	p, err := c.part(w.part)
	if unusable(err) {
		s.finish(w, &Failure{Reason: Internal, Text: fmt.Sprintf("%v: %v; nothing was done", &w.m, err)})
	}
	if err != nil {
		return err
	}
	if p.promoting() {
		s.finish(w, &Failure{Reason: Internal, Text: fmt.Sprintf("%v: %v is joining a snapshot of partition %d; nothing was done", &w.m, s.cfg.Self, w.part)})
		return nil
	}
	group, again, err := s.mintOnce(c, p, w, seen)
	if err != nil || w.finished {
		return err
	}
	w.group, w.result.Answer = group, group.Answer
	if len(group.Events) == 0 {
		s.Stats.Nothing++
		c.then = append(c.then, func(err error) { s.finish(w, s.storeFailure(w, err)) })
		return nil
	}
	w.result.Wrote = true
	w.result.Minted.AddRange(group.Actor, group.First, group.Dot(len(group.Events)-1).Seq)
	for i := range group.Events {
		if w.m.Verb == Edit && group.Events[i].Row.RowType() == crdt.Counter {
			continue // a dot does not say which of the totals under it a client was shown
		}
		if group.Events[i].Payload != nil {
			w.result.Context.Add(group.Dot(i))
			continue
		}
		for _, d := range group.Events[i].Kills {
			w.result.Context.Add(d)
		}
	}
	if !again {
		if _, err := c.apply(p, &group); err != nil {
			return err
		}
	}
	s.replicate(c, w, active)
	return nil
}

// mintOnce returns the group of a mutation: the one it had when it was tried
// before, or a new one.
func (s *Shard) mintOnce(c *commit, p *part, w *write, seen *Merged) (g crdt.Group, again bool, err error) {
	if !w.m.Op.IsZero() {
		m, found, err := c.tx.Remembered(p.ID, w.m.Op)
		if p.spares(err) {
			if p.doubts(err, w.m.Op) {
				s.doubtful(w, err)
				return crdt.Group{}, true, nil
			}
			err = nil
		}
		if err != nil {
			return crdt.Group{}, false, err
		}
		if found {
			// Another coordinator may have read for it what it removes. Whether at R nobody
			// noted, and what was read just now says nothing about that.
			if _, observed := w.m.Observes(); observed {
				w.result.Degraded = true
			}
			return s.recall(c, p, w, m)
		}
	}
	first := dvv.Dot{Actor: p.actor, Seq: p.seq + 1}
	g, err = p.Mint(c.tx, &w.m, seen, first, s.nextStamp(), crdt.StampAt(s.now.Wall+s.cfg.MaxSkew), s.now.Wall)
	switch {
	case errors.Is(err, crdt.ErrOverflow):
		s.finish(w, &Failure{Reason: Overflow, Text: fmt.Sprintf("%v: %v; nothing was written", &w.m, err)})
		return crdt.Group{}, false, nil
	case errors.Is(err, ErrContextTooWide), errors.Is(err, ErrTooManySiblings), errors.Is(err, ErrTooManyRows):
		s.finish(w, &Failure{Reason: Invalid, Text: fmt.Sprintf("%v: %v; nothing was written", &w.m, err)})
		return crdt.Group{}, false, nil
	case p.spares(err):
		s.finish(w, &Failure{Reason: Internal, Text: fmt.Sprintf("%v: a row it would change is damaged at %v, and fetched again from another owner: %v; nothing was done", &w.m, s.cfg.Self, err)})
		return crdt.Group{}, false, nil
	case err != nil:
		return crdt.Group{}, false, err
	}
	s.hlc = max(s.hlc, g.Stamp)
	p.follow(&g)
	if n := len(g.Events); n > 0 {
		p.seq += uint64(n)
		s.Stats.Minted++
	}
	return g, false, nil
}

// recall finds the group of an operation that was applied before. The client is
// answered as it was then, once W replicas hold the group durably.
func (s *Shard) recall(c *commit, p *part, w *write, m crdt.Remembered) (crdt.Group, bool, error) {
	s.Stats.Retries++
	if m.Sum != w.m.Sum {
		s.finish(w, &Failure{Reason: OpReused, Text: fmt.Sprintf("%v: operation id %v stands for another mutation; nothing was written", &w.m, w.m.Op)})
		return crdt.Group{}, true, nil
	}
	g, logged, err := c.tx.Group(p.ID, m.Dots[0])
	if p.spares(err) {
		s.doubtful(w, err)
		return crdt.Group{}, true, nil
	}
	if err != nil {
		return crdt.Group{}, true, err
	}
	if logged {
		return g, true, nil
	}
	// It left the log. Mostly every owner holds it durably; but a log over its cap is
	// cut, and after a restart nobody knows yet.
	if known := s.copies(p, &m); known < w.w {
		s.finish(w, &Failure{Reason: NoQuorum, Needed: w.w, Got: known, Unknown: true,
			Text: fmt.Sprintf("%v: it was applied before, and of %d replicas only is it known at %v now that they hold it durably", &w.m, known, s.cfg.Self)})
		return crdt.Group{}, true, nil
	}
	// The context is named only where it is known for sure which dots were minted.
	w.result.Wrote, w.result.Answer = true, m.Answer
	for _, d := range m.Dots {
		w.result.Minted.Add(d) // the first of each group, and groups come whole
	}
	if d := m.Dots[0]; len(m.Dots) == 1 && m.Events > 0 && w.m.Verb != Edit {
		w.result.Context.AddRange(d.Actor, d.Seq, d.Seq+uint64(m.Events)-1)
	}
	c.then = append(c.then, func(err error) { s.finish(w, s.storeFailure(w, err)) })
	return crdt.Group{}, true, nil
}

// copies counts the replicas that are known to hold all of an operation durably.
func (s *Shard) copies(p *part, m *crdt.Remembered) (n int) {
	if coversAll(p.durable, m) {
		n++
	}
	for _, id := range s.others {
		if d := s.depth(p, id); d.asked != 0 && coversAll(d.clock, m) {
			n++
		}
	}
	return n
}

// doubtful refuses a mutation that was applied before, as a damaged record says
// that nobody can read: another coordinator may know more.
func (s *Shard) doubtful(w *write, damage error) {
	s.finish(w, &Failure{Reason: Internal, Unknown: true,
		Text: fmt.Sprintf("%v: it may have been applied before, and what %v knew of it is damaged: %v; the outcome is unknown", &w.m, s.cfg.Self, damage)})
}

// replicate sends a write's group to the active list and starts counting.
func (s *Shard) replicate(c *commit, w *write, active ring.Preference) {
	w.count = quorum.NewWrite[ring.NodeID](w.w, nil)
	w.count.Ask(s.cfg.Self)
	for _, st := range active {
		w.count.Ask(st.Node)
		if st.For == "" {
			c.shipTo(st.Node, w.part, w.group)
			continue
		}
		s.Stats.Fallbacks++
		c.shipChain(st.Node, w.part, &w.group)
	}
	key := place{w.part, w.group.Dot(0)}
	s.writes[key] = append(s.writes[key], w)
	c.then = append(c.then, func(err error) {
		if err != nil {
			w.count.Fail(s.cfg.Self)
			s.finish(w, s.storeFailure(w, err))
			return
		}
		w.count.Ack(s.cfg.Self)
		s.writeOn(w)
	})
	w.slowAt = s.now.Mono + s.cfg.FallbackAfter
	s.await(w)
}

func (s *Shard) storeFailure(w *write, err error) *Failure {
	if err == nil {
		return nil
	}
	return &Failure{Reason: Internal, Unknown: len(w.group.Events) > 0, Text: fmt.Sprintf("%v: the store of %v failed: %v", &w.m, s.cfg.Self, err)}
}

func (s *Shard) forgetWrite(w *write) {
	if len(w.group.Events) == 0 {
		return
	}
	key := place{w.part, w.group.Dot(0)}
	rest := s.writes[key]
	for i, o := range rest {
		if o == w {
			rest = append(rest[:i:i], rest[i+1:]...)
			break
		}
	}
	if len(rest) == 0 {
		delete(s.writes, key)
	} else {
		s.writes[key] = rest
	}
}

func (s *Shard) receiveAcked(from ring.NodeID, m Acked) {
	for _, r := range m.Batch {
		for _, d := range r.Dots {
			// A copy: finishing takes a write out of the list.
			for _, w := range append([]*write(nil), s.writes[place{r.Partition, d}]...) {
				w.count.Ack(from)
				s.writeOn(w)
			}
		}
	}
}

// writeOn goes on with a write after its count changed.
func (s *Shard) writeOn(w *write) {
	if w.finished || len(w.group.Events) == 0 {
		return
	}
	switch w.count.State() {
	case quorum.Reached:
		if p := s.parts[w.part]; p != nil {
			p.settle(&w.group)
		}
		s.finish(w, nil)
	case quorum.Unreachable:
		if s.askFallbacks(w) == 0 {
			s.finish(w, s.shortOf(w, "nobody else can be reached"))
		}
	}
}

// writeSlow asks fallbacks to stand in for those who have not acknowledged.
func (s *Shard) writeSlow(w *write) {
	if w.finished {
		return
	}
	var late []ring.NodeID
	for id, mark := range w.count.All() {
		if mark == quorum.Outstanding && id != s.cfg.Self {
			late = append(late, id)
		}
	}
	for _, id := range late {
		if s.failed(id); s.usable(id) {
			s.resend(w, id) // the message or its acknowledgement may be lost
		}
	}
	if !w.finished {
		s.askFallbacks(w)
	}
}

// resend sends a write's group to one node, with the increments before it that
// it follows: those that it was not sent at this very moment, with other writes that
// are as late. They may be large, and take several messages.
func (s *Shard) resend(w *write, to ring.NodeID) {
	groups := []crdt.Group{w.group}
	if p := s.parts[w.part]; p != nil {
		if s.resent.at != s.now.Mono {
			s.resent.at, s.resent.groups = s.now.Mono, map[chained]bool{}
		}
		of := func(first uint64) chained {
			return chained{to, w.part, dvv.Dot{Actor: w.group.Actor, Seq: first}}
		}
		if s.resent.groups[of(w.group.First)] {
			return
		}
		groups = p.chain(&w.group, func(first uint64) bool { return s.resent.groups[of(first)] })
		for i := range groups {
			s.resent.groups[of(groups[i].First)] = true
		}
	}
	for len(groups) > 0 {
		n, bytes := 1, groups[0].Bytes()
		for n < len(groups) && bytes+groups[n].Bytes() <= s.cfg.BatchBytes {
			bytes += groups[n].Bytes()
			n++
		}
		s.send(to, Replicate{Batch: []Shipment{{w.part, groups[:n:n]}}})
		groups = groups[n:]
	}
}

// resent is what was sent again at one moment.
type resent struct {
	at     int64
	groups map[chained]bool
}

// askFallbacks sends the group to the next nodes of the walk, as many as the
// quorum is short of counting only those who answered, and returns how many it
// asked. One that was lost meanwhile and can be reached again is asked again.
func (s *Shard) askFallbacks(w *write) int {
	asked := []ring.NodeID{s.cfg.Self}
	for id, mark := range w.count.All() {
		if mark != quorum.Failed {
			asked = append(asked, id)
		}
	}
	missing, sent := w.count.Needed()-w.count.Acked(), 0
	for _, id := range s.ring.Walk(w.part) {
		if sent >= missing {
			break
		}
		if !slices.Contains(asked, id) && s.usable(id) {
			w.count.Ask(id)
			if !s.ring.Owns(id, w.part) {
				s.Stats.Fallbacks++
			}
			s.resend(w, id)
			sent++
		}
	}
	return sent
}

func (w *write) over() bool { return w.finished }

func (w *write) wake(s *Shard) {
	switch {
	case w.deadline <= s.now.Mono:
		s.finish(w, s.shortOf(w, "the deadline passed"))
	case w.slowAt <= s.now.Mono:
		w.slowAt = s.now.Mono + s.cfg.FallbackAfter
		s.writeSlow(w)
	}
}

func (s *Shard) shortOf(w *write, why string) *Failure {
	return &Failure{Reason: NoQuorum, Needed: w.count.Needed(), Got: w.count.Acked(), Unknown: true,
		Text: fmt.Sprintf("%v: %v; %s; the outcome is unknown", &w.m, &w.count, why)}
}
