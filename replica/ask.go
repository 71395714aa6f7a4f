package replica

import (
	"encoding/binary"
	"slices"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/replica/merkle"
	"github.com/cartwheel-db/cartwheel/ring"
)

// ask is a question to one replica under way. Each has an id of its own: an
// answer to an earlier question of the same read must not count as a fresh one.
type ask struct {
	read *read
	to   ring.NodeID
	at   int64
}

// asking is a question of another node, or of this one, that waits for fresher
// data than there is.
type asking struct {
	from  ring.NodeID
	m     Asking
	until int64
}

const (
	maxAskings = 1024         // that wait
	freshWait  = int64(200e6) // ns that one waits at most
)

func (s *Shard) askReplica(r *read, id ring.NodeID) {
	r.count.Ask(id)
	m := Asking{ID: s.id(), Partition: r.part, Query: r.q, MaxStale: r.maxStale}
	s.asks[m.ID] = ask{r, id, s.now.Mono}
	r.asks = append(r.asks, m.ID)
	if id == s.cfg.Self {
		s.receiveAsking(id, m)
		return
	}
	if m.Hashed = r.hashed != nil; m.Hashed {
		m.Hash = r.hash
	}
	s.send(id, m)
}

// dropAsks forgets what was asked of one node, or of all.
func (s *Shard) dropAsks(r *read, of ring.NodeID) {
	r.asks = slices.DeleteFunc(r.asks, func(id uint64) bool {
		if of != "" && s.asks[id].to != of {
			return false
		}
		delete(s.asks, id)
		return true
	})
}

func (s *Shard) receiveAsking(from ring.NodeID, m Asking) {
	if m.Query.Check() != nil || m.Partition != s.ring.Partition(m.Query.Key.Bucket, m.Query.Key.Name) {
		s.Stats.Malformed++
		return
	}
	if m.MaxStale > 0 && len(s.waiting) < maxAskings && s.owns(m.Partition) {
		if p, err := s.loaded(m.Partition); err == nil && s.canFreshen(p, m.MaxStale) {
			s.waiting = append(s.waiting, asking{from, m, s.now.Mono + freshWait})
			if len(s.waiting) == 1 {
				s.after(freshWait, s.wakeWaiting)
			}
			return
		}
	}
	s.answerTo(from, m)
}

func (s *Shard) answerTo(to ring.NodeID, m Asking) {
	a := s.answer(m)
	if to == s.cfg.Self {
		s.takeAnswer(to, a)
		return
	}
	s.send(to, a)
}

// asked is a question while it is answered, and what came of it.
type asked struct {
	of        Asking
	answer    Answer
	uncounted error // why the rows were not counted
}

func (s *Shard) answerFrom(v View) (err error) {
	if s.asked.answer, err = Ask(v, s.asked.of.Partition, s.asked.of.Query); err == nil && s.asked.of.Query.Count != 0 {
		s.asked.uncounted = s.countFor(v, s.asked.of, &s.asked.answer)
	}
	return err
}

func (s *Shard) answer(m Asking) Answered {
	out := Answered{ID: m.ID, Staleness: Staleness{Bound: Unknown, Reachable: Unknown}}
	if s.owns(m.Partition) {
		p, err := s.loaded(m.Partition)
		if err != nil {
			out.Failed = true
			return out
		}
		out.Ready, out.Staleness = s.isReady(p), s.staleness(p)
	}
	if p := s.parts[m.Partition]; p != nil && p.promoting() {
		out.Failed = true // rows and clock do not fit
		return out
	}
	s.asked = asked{of: m}
	err := s.cfg.Read(s.readAsked)
	_ = s.damaged(m.Partition, s.asked.uncounted) // what cannot be counted can be read
	out.Answer, s.asked = s.asked.answer, asked{}
	if out.Failed = err != nil; out.Failed {
		s.damaged(m.Partition, err)
		out.Ready, out.Answer = false, Answer{}
		return out
	}
	if m.Hashed && out.Answer.size() >= s.cfg.LargeRows/2 && out.Answer.Hash(s.cfg.TreeKey) == m.Hash {
		s.Stats.SameRows++
		out.Same, out.Answer.Rows = true, nil
	}
	return out
}

func (s *Shard) receiveAnswered(from ring.NodeID, m Answered) {
	if q, asked := s.asks[m.ID]; asked && q.to == from {
		if q.read.maxStale == 0 { // else it may have waited for fresher data
			s.latency.note(s.now.Mono - q.at)
		}
		s.takeAnswer(from, m)
		s.readOn(q.read)
	}
}

// takeAnswer joins one answer to its read.
func (s *Shard) takeAnswer(from ring.NodeID, a Answered) {
	q, asked := s.asks[a.ID]
	if !asked {
		return
	}
	r := q.read
	delete(s.asks, a.ID)
	r.asks = slices.DeleteFunc(r.asks, func(id uint64) bool { return id == a.ID })
	if a.Failed {
		r.count.Fail(from)
		return
	}
	if a.Same {
		if r.hashed == nil {
			s.Stats.Malformed++
			r.count.Fail(from)
			return
		}
		a.Answer.Rows = r.hashed // whatever this node itself shows by now
	}
	r.count.Answer(from, a.Ready && s.ring.Owns(from, r.part))
	f := freshness{since(q.at, a.Staleness.Bound), since(q.at, a.Staleness.Reachable), a.Staleness.Missing}
	if i := slices.Index(r.from, from); i >= 0 {
		r.answers[i], r.fresh[i] = a.Answer, f
		return
	}
	r.answers, r.from, r.fresh = append(r.answers, a.Answer), append(r.from, from), append(r.fresh, f)
	if from == s.cfg.Self && a.Answer.size() >= s.cfg.LargeRows {
		r.hash, r.hashed = a.Answer.Hash(s.cfg.TreeKey), a.Answer.Rows
		s.Stats.HashFirst++
	}
}

// since is the moment a bound speaks of, when it was asked for at that time.
func since(asked, bound int64) int64 {
	if bound == Unknown {
		return Unknown
	}
	return asked - bound
}

// size estimates the bytes of an answer's rows.
func (a *Answer) size() int {
	n := 0
	for _, f := range a.Rows {
		n += len(f.Field) + rowBytes(f.Row)
	}
	return n
}

// Hash is the hash of an answer's rows under the cluster's key: equal rows, equal
// hashes. Clock and deferred clears stay outside.
func (a *Answer) Hash(key merkle.Key) [16]byte {
	b := []byte{0}
	if a.More {
		b[0] = 1
	}
	for _, f := range a.Rows {
		b = binary.AppendUvarint(b, uint64(len(f.Field)))
		b = append(b, f.Field...)
		from := len(b)
		b = crdt.AppendRow(b, f.Row)
		b = binary.AppendUvarint(b, uint64(len(b)-from))
	}
	return key.Row(b)
}
