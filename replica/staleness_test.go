package replica_test

import (
	"strings"
	"testing"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica"
)

func (w *trio) health(m *member) replica.Health {
	w.t.Helper()
	all := m.shard.Health(w.clock())
	if len(all) != 1 {
		w.t.Fatalf("%v tells of %d partitions", m.id, len(all))
	}
	return all[0]
}

// within tells whether a bound lies between two numbers of milliseconds.
func within(bound, from, to int64) bool { return bound >= from*milli && bound <= to*milli }

func TestTheBoundGrowsTowardWhoIsAwayAndNotTowardWhoAnswers(t *testing.T) {
	w := newTrio(t, withBarrier)
	node, away := w.node(0), w.node(2)
	if st := w.health(node).Staleness; st.Bound != replica.Unknown {
		t.Errorf("before anybody was met the bound is %v", st)
	}
	w.rounds(3000)
	if st := w.health(node).Staleness; !within(st.Bound, 0, 1100) || !within(st.Reachable, 0, 1100) || len(st.Missing) != 0 {
		t.Errorf("among three that meet every second the bound is %v", st)
	}
	w.stop(away)
	w.rounds(20_000)
	st := w.health(node).Staleness
	if !within(st.Bound, 20_000, 22_100) || !within(st.Reachable, 0, 1100) || len(st.Missing) != 1 || st.Missing[0] != away.id {
		t.Errorf("20 s after %v left the bound is %v, %d ms over the rest", away.id, st, st.Reachable/milli)
	}
	res := w.read(node, replica.Request{ID: 1, R: 2}, nil)
	if res.Failure != nil || !within(res.Staleness.Bound, 20_000, 22_200) {
		t.Errorf("a read says %v, %v", res.Staleness, res.Failure)
	}
	w.link(away.id, true)
	w.rounds(3000)
	if st := w.health(node).Staleness; !within(st.Bound, 0, 1100) || len(st.Missing) != 0 {
		t.Errorf("when it is back the bound is %v", st)
	}
}

// The bound speaks of what a member held when it was asked, and holds only once
// all of that is durable here.
func TestTheBoundDoesNotShrinkBeforeWhatTheOthersHaveIsHere(t *testing.T) {
	w := newTrio(t, withBarrier)
	w.rounds(3000)
	writer, deaf := w.node(0), w.node(2)
	lose := func(s replica.Send) bool {
		switch s.Message.(type) {
		case replica.Replicate, replica.Events:
			return s.To == deaf.id
		}
		return false
	}
	w.add(writer, 1, 1, "milk", 5000)
	w.run(lose)
	w.success(writer)
	missing := func() (n uint64) {
		for _, p := range w.health(deaf).Peers {
			n = max(n, p.Missing)
		}
		return n
	}
	for range 50 {
		w.now += 100 * milli
		for _, id := range w.first {
			w.nodes[id].shard.Tick(w.clock())
			w.nodes[id].take()
		}
		w.run(lose)
	}
	if st := w.health(deaf).Staleness; !within(st.Bound, 5000, 6200) || missing() != 1 {
		t.Errorf("it has missed a write for five seconds; its bound is %v, missing %d", st, missing())
	}
	if st := w.health(writer).Staleness; !within(st.Bound, 0, 1200) {
		t.Errorf("who wrote it misses nothing; its bound is %v", st)
	}
	w.rounds(6000)
	if st := w.health(deaf).Staleness; !within(st.Bound, 0, 1200) || missing() != 0 {
		t.Errorf("when it has caught up the bound is %v, missing %d", st, missing())
	}
}

// max_staleness under a split: what is served, and what is refused.
func TestAReadThatMustBeFreshIsServedOrRefusedButNeverStale(t *testing.T) {
	const second = 1000 * milli
	w := newTrio(t, withBarrier)
	w.rounds(3000)
	near, other, far := w.node(0), w.node(1), w.node(2)
	w.add(near, 1, 1, "milk", 5000)
	w.run(nil)
	w.success(near)
	if res := w.read(near, replica.Request{ID: 1, MaxStale: 5 * second}, nil); res.Failure != nil || !res.Staleness.Within(5*second) {
		t.Errorf("with all there: %v, %v", res.Staleness, res.Failure)
	}
	// Fresher than the last round: everybody is sounded for this read.
	if res := w.read(near, replica.Request{ID: 2, MaxStale: 50 * milli}, nil); res.Failure != nil || !res.Staleness.Within(50*milli) {
		t.Errorf("within 50 ms with all there: %v, %v", res.Staleness, res.Failure)
	}
	w.stop(far)
	w.rounds(3000)
	if res := w.read(near, replica.Request{ID: 3, MaxStale: 5 * second}, nil); res.Failure != nil {
		t.Errorf("3 s into the split five seconds can still be told: %v", res.Failure)
	}
	w.rounds(4000)
	began := w.now
	res := w.read(near, replica.Request{ID: 4, MaxStale: 5 * second}, nil)
	if res.Failure == nil || res.Failure.Reason != replica.TooStale || !strings.Contains(res.Failure.Text, string(far.id)) {
		t.Errorf("7 s into the split: %+v", res)
	}
	if w.now-began > 500*milli {
		t.Errorf("it took %d ms to say what no waiting changes", (w.now-began)/milli)
	}
	if res := w.read(near, replica.Request{ID: 5}, nil); res.Failure != nil || len(res.Merged.Rows) != 1 {
		t.Errorf("who does not ask for freshness is served: %+v", res)
	}
	w.add(other, 6, 2, "eggs", 5000)
	w.run(nil)
	w.success(other)
	w.link(far.id, true)
	w.rounds(3000)
	if res := w.read(far, replica.Request{ID: 7, MaxStale: 5 * second}, nil); res.Failure != nil || len(res.Merged.Rows) != 2 {
		t.Errorf("after the split: %+v", res)
	}
}

// A session's reads never go back, and see its own writes, or are refused.
func TestAReadUnderASessionCoversItOrIsRefused(t *testing.T) {
	w := newTrio(t, withBarrier)
	w.rounds(3000)
	writer, deaf, third := w.node(0), w.node(2), w.node(1)
	lose := func(s replica.Send) bool {
		_, replicate := s.Message.(replica.Replicate)
		return replicate && s.To == deaf.id
	}
	w.add(writer, 1, 1, "milk", 5000)
	w.run(lose)
	session := w.success(writer).Context
	if session.IsEmpty() {
		t.Fatal("the write names no dots")
	}
	if res := w.read(deaf, replica.Request{ID: 2, R: 1}, nil); res.Failure != nil || len(res.Merged.Rows) != 0 {
		t.Fatalf("without a session one replica that missed the write answers: %+v", res)
	}
	w.stop(writer)
	w.stop(third)
	res := w.read(deaf, replica.Request{ID: 3, R: 1, Session: &session}, nil)
	if res.Failure == nil || res.Failure.Reason != replica.SessionUnmet {
		t.Errorf("with nobody there who has it: %+v", res)
	}
	w.link(writer.id, true)
	if res := w.read(deaf, replica.Request{ID: 4, R: 1, Session: &session}, nil); res.Failure != nil || len(res.Merged.Rows) != 1 {
		t.Errorf("with the writer there: %+v", res)
	}
	lost := dvv.ClockOf(dvv.Dot{Actor: 4711, Seq: 1})
	if res := w.read(writer, replica.Request{ID: 5, R: 1, Session: &lost}, nil); res.Failure == nil || res.Failure.Reason != replica.SessionUnmet {
		t.Errorf("a session that has seen what is nowhere any more: %+v", res)
	}
}

// A remove without a context takes away what its client was shown, whichever
// node it asks.
func TestARemoveUnderASessionReadsWhatTheSessionHasSeen(t *testing.T) {
	w := newTrio(t, func(c *replica.Config) { c.R, c.W, c.NoBarrier = 1, 1, false })
	w.rounds(3000)
	writer, deaf := w.node(2), w.node(0)
	w.link(deaf.id, false)
	w.add(writer, 1, 1, "milk", 5000)
	for range 3 {
		w.run(func(s replica.Send) bool { return s.To == deaf.id })
	}
	session := w.success(writer).Context
	w.link(deaf.id, true)
	m := replica.Mutation{Key: carts, Verb: replica.Update, Changes: []replica.Change{{Member: "milk", Remove: true}}, Session: &session}
	w.ask(deaf, replica.Request{ID: 2, Deadline: w.clock().Mono + 1000*milli, Mutation: &m})
	w.rounds(1200)
	if res := w.result(deaf); res.Failure != nil || !res.Wrote {
		t.Errorf("the remove found nothing to remove: %+v", res)
	}
	w.rounds(6000)
	if n := len(w.row(writer, carts.Member("milk")).Live); n != 0 {
		t.Errorf("%d live after the remove", n)
	}
}

// Where this node's own rows are large, the others are asked to send theirs only
// if they differ.
func TestLargeRowsTravelOnlyWhereTheyDiffer(t *testing.T) {
	w := newTrio(t, withBarrier)
	w.rounds(3000)
	blob := crdt.Key{Type: crdt.Blob, Bucket: "b", Name: "k"}
	put := func(m *member, id uint64, value []byte, context *dvv.Clock, lost func(replica.Send) bool) {
		t.Helper()
		w.ask(m, replica.Request{ID: id, Deadline: w.clock().Mono + 5000*milli, Mutation: &replica.Mutation{Key: blob, Verb: replica.Put, Value: value, Context: context}})
		w.run(lost)
		w.success(m)
	}
	reader, other := w.node(0), w.node(1)
	put(reader, 1, make([]byte, 50_000), nil, nil)
	heaviest := func(id uint64) (rows int) {
		res := w.read(reader, replica.Request{ID: id, R: 2, Query: &replica.Query{Key: blob}}, func(s replica.Send) bool {
			if a, ok := s.Message.(replica.Answered); ok {
				rows = max(rows, len(a.Answer.Rows))
			}
			return false
		})
		if res.Failure != nil || len(res.Merged.Row("").Live) != int(id-1) {
			t.Fatalf("read %d: %+v", id, res)
		}
		return rows
	}
	if n := heaviest(2); n != 0 || reader.shard.Stats.HashFirst != 1 || other.shard.Stats.SameRows != 1 {
		t.Errorf("equal rows: %d rows travelled, %d hashes were sent along, %d found equal", n, reader.shard.Stats.HashFirst, other.shard.Stats.SameRows)
	}
	w.link(reader.id, false)
	put(other, 2, make([]byte, 40_000), nil, nil)
	w.link(reader.id, true)
	for id := range w.nodes { // nothing is repaired meanwhile
		w.nodes[id].sends = nil
	}
	if n := heaviest(3); n == 0 {
		t.Error("the other had one value more and did not send it")
	}
}

// A read that covers a session does not stand still because one of those it asked
// is silent: the others may get what is missing meanwhile.
func TestAReadUnderASessionGoesOnWhileOneReplicaIsSilent(t *testing.T) {
	w := newTrio(t, withBarrier)
	w.rounds(3000)
	writer, reader := w.node(0), w.node(2)
	late := func(s replica.Send) bool {
		_, replicate := s.Message.(replica.Replicate)
		return replicate && s.To == reader.id
	}
	w.add(writer, 1, 1, "milk", 5000)
	w.run(late)
	session := w.success(writer).Context
	began := w.now
	w.ask(reader, replica.Request{ID: 2, R: 1, Session: &session, Deadline: w.clock().Mono + 3000*milli, Query: &replica.Query{Key: carts, Span: &replica.Span{Limit: 10}}})
	caught := false
	for len(reader.reply) == 0 && w.now < began+3500*milli {
		w.run(func(s replica.Send) bool {
			_, asking := s.Message.(replica.Asking)
			return asking && !caught && s.To != reader.id
		})
		w.now += 10 * milli
		if !caught && w.now > began+300*milli { // what it lacks arrives
			caught = true
			writer.shard.Receive(w.clock(), reader.id, replica.CatchUp{Final: true})
			writer.take()
			w.run(nil)
			if len(w.row(reader, carts.Member("milk")).Live) != 1 {
				t.Fatal("it did not arrive")
			}
		}
		for _, id := range w.first {
			w.nodes[id].shard.Tick(w.clock())
			w.nodes[id].take()
		}
	}
	if res := w.result(reader); res.Failure != nil || w.now > began+1000*milli {
		t.Errorf("its own disk has had it since 300 ms; after %d ms: %v", (w.now-began)/milli, res.Failure)
	}
}
