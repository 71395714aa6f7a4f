package replica_test

import (
	"strings"
	"testing"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica"
	"github.com/cartwheel-db/cartwheel/ring"
)

// Scenarios of whole shards: operation ids that are too old, rings that change
// under a write, fallbacks that restart, stores that were copied.

// run carries messages and commits until nobody has anything more to say. lost
// says which messages never arrive; nil loses none.
func (w *trio) run(lost func(replica.Send) bool) {
	w.t.Helper()
	for range 100 {
		quiet := true
		for _, id := range w.first {
			from := w.nodes[id]
			sends := from.sends
			from.sends = nil
			for _, s := range sends {
				quiet = false
				if lost == nil || !lost(s) {
					w.deliver(from, w.nodes[s.To], s.Message)
				}
			}
			if from.shard.Waiting() {
				quiet = false
				w.commit(from)
			}
		}
		if quiet {
			return
		}
	}
	w.t.Fatal("still talking after a hundred rounds")
}

// rounds lets every node's timers run for a while, and what follows from them.
func (w *trio) rounds(ms int64) {
	w.t.Helper()
	for until := w.now + ms*milli; w.now < until; {
		w.now += 100 * milli
		for _, id := range w.first {
			w.nodes[id].shard.Tick(w.clockOf(w.nodes[id]))
			w.nodes[id].take()
		}
		w.run(nil)
	}
}

func (w *trio) setRing(r *ring.Ring) {
	for _, id := range w.first {
		w.nodes[id].shard.SetRing(w.clock(), r)
		w.nodes[id].take()
	}
}

// link cuts or heals the links between a node and the others.
func (w *trio) link(id ring.NodeID, up bool) {
	for _, other := range w.first {
		if other != id {
			w.nodes[id].shard.SetLink(w.clockOf(w.nodes[id]), other, up)
			w.nodes[other].shard.SetLink(w.clockOf(w.nodes[other]), id, up)
			w.nodes[id].take()
			w.nodes[other].take()
		}
	}
}

// mutation asks a node for a write with five seconds of time.
func (w *trio) mutation(m *member, id uint64, change replica.Mutation) {
	w.ask(m, replica.Request{ID: id, Deadline: w.clock().Mono + 5000*milli, Mutation: &change})
}

// result takes the only reply a node has for its client.
func (w *trio) result(m *member) replica.Result {
	w.t.Helper()
	if len(m.reply) != 1 {
		w.t.Fatalf("%v has %d replies for its client, want 1: %+v", m.id, len(m.reply), m.reply)
	}
	r := m.reply[0].Result
	m.reply = nil
	return r
}

func (w *trio) success(m *member) replica.Result {
	w.t.Helper()
	r := w.result(m)
	if r.Failure != nil {
		w.t.Fatalf("at %v: %v", m.id, r.Failure)
	}
	return r
}

func (w *trio) row(m *member, a crdt.Address) crdt.Row {
	w.t.Helper()
	r, err := m.store.View().Row(0, a)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func (w *trio) count(m *member, a crdt.Address) int64 {
	w.t.Helper()
	tally, err := w.row(m, a).Tally()
	if err != nil {
		w.t.Fatal(err)
	}
	v, _ := tally.Value()
	return v
}

// C5, C7: inside the window a retry is the first answer once more; beyond it
// nobody can tell, and says so, and a second count there is not.
func TestARetryBeyondTheWindowIsRefusedAsUnknownAndNotCountedAgain(t *testing.T) {
	const window, skew = 10 * 60 * 1000, 60 * 1000
	for _, tc := range []struct {
		name             string
		age              int64 // milliseconds since the id was issued, at the retry
		expired, unknown bool
		text             string
	}{
		{"at the end of the window it is recognised", window, false, false, ""},
		{"a millisecond later it is refused, and what became of it is unknown", window + 1, true, true, "issued 600001 ms ago, retries are recognised for 600000 ms"},
		{"an id from as far ahead as clocks may differ is taken", -skew, false, false, ""},
		{"one from further ahead was never applied, and is not", -skew - 1, true, false, "issued 60001 ms in the future, at most 60000 ms"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newTrio(t, nil)
			first := w.node(0)
			likes := crdt.Key{Type: crdt.Counter, Bucket: "b", Name: "likes"}
			inc := replica.Mutation{Key: likes, Verb: replica.Add, Delta: 5, Op: crdt.Operation{Client: [16]byte{9}, Seq: 1, Issued: w.clock().Wall}}
			if tc.age >= 0 {
				w.mutation(first, 1, inc)
				w.run(nil)
				w.success(first)
				w.now += tc.age * milli
			} else {
				inc.Op.Issued -= tc.age
			}
			w.mutation(first, 2, inc)
			w.run(nil)
			r := w.result(first)
			switch {
			case !tc.expired && r.Failure != nil:
				t.Fatalf("refused: %v", r.Failure)
			case !tc.expired && r.Answer != 5:
				t.Errorf("answered %d, want 5", r.Answer)
			case tc.expired && (r.Failure == nil || r.Failure.Reason != replica.OpExpired || r.Failure.Unknown != tc.unknown || !strings.Contains(r.Failure.Text, tc.text)):
				t.Fatalf("got %+v, want operation expired with %q, unknown %t", r.Failure, tc.text, tc.unknown)
			}
			want := int64(5)
			if tc.expired && tc.age < 0 {
				want = 0
			}
			for i := range 3 {
				if got := w.count(w.node(i), likes.Row()); got != want {
					t.Errorf("%v counts %d, want %d", w.node(i).id, got, want)
				}
			}
		})
	}
}

// D13: a put whose coordinator loses the partition meanwhile, and which arrives
// there twice, is one value under one dot.
func TestAPutDuringAHandoffIsOneValueUnderOneDot(t *testing.T) {
	w := newTrio(t, nil)
	old, second, third := w.node(0), w.node(1), w.node(2)
	after := w.demoting(old.id)
	old.shard.SetRing(w.clock(), after) // the client's node has not heard of it yet
	note := crdt.Key{Type: crdt.Blob, Bucket: "b", Name: "note"}
	w.mutation(third, 1, replica.Mutation{Key: note, Verb: replica.Put, Value: []byte("v"), Op: crdt.Operation{Client: [16]byte{9}, Seq: 1, Issued: w.clock().Wall}})
	twice := sent[replica.Forward](third, old.id)
	if len(twice) != 1 {
		t.Fatalf("%d forwards to the former owner", len(twice))
	}
	w.deliver(third, old, twice[0], twice[0])
	w.setRing(after)
	w.run(nil)
	if r := w.success(third); !r.Wrote || r.Coordinator != old.id {
		t.Errorf("the client hears %+v", r)
	}
	w.rounds(3000)
	if stored := old.shard.Stored(); len(stored) != 0 || old.shard.Stats.HandedOff != 1 {
		t.Errorf("the former owner still stores %v, and handed off %d", stored, old.shard.Stats.HandedOff)
	}
	for _, m := range []*member{second, third} {
		if row := w.row(m, note.Row()); len(row.Live) != 1 {
			t.Errorf("%v holds %v", m.id, row)
		}
		if c, _, err := m.shard.Durable(0); err != nil || c.Count() != 1 {
			t.Errorf("%v has seen %v (%v), want one dot", m.id, c, err)
		}
	}
}

// A15: a partition that leaves a node and comes back finds another actor there,
// because the totals of the old one went with its store.
func TestAPartitionThatComesBackCountsOnUnderAnotherActor(t *testing.T) {
	w := newTrio(t, nil)
	first, second := w.node(0), w.node(1)
	likes := crdt.Key{Type: crdt.Counter, Bucket: "b", Name: "likes"}
	want, id := int64(0), uint64(0)
	write := func(at *member) dvv.Actor {
		id++
		w.mutation(at, id, replica.Mutation{Key: likes, Verb: replica.Add, Delta: 1 << id})
		w.run(nil)
		r := w.success(at)
		want += 1 << id
		for d := range r.Context.Dots() {
			return d.Actor
		}
		t.Fatal("no dot")
		return 0
	}
	before := write(first)
	w.setRing(w.demoting(first.id)) // A → B, and a write under way meets the new ring
	write(second)
	w.rounds(3000)
	if stored := first.shard.Stored(); len(stored) != 0 {
		t.Fatalf("it still stores %v", stored)
	}
	write(second)
	w.setRing(w.ring) // B → A
	back := write(first)
	w.rounds(6000)
	write(second)
	if back == before {
		t.Errorf("actor %v counts on without its totals", back)
	}
	for i := range 3 {
		if got := w.count(w.node(i), likes.Row()); got != want {
			t.Errorf("%v counts %d, want %d", w.node(i).id, got, want)
		}
	}
}

// H1: what a fallback holds for an owner survives a failed delivery and the
// fallback's restart, and finds its owner though nobody comes back any more.
func TestAFallbackThatRestartsStillDeliversWhatItHolds(t *testing.T) {
	w := newTrioOwned(t, 2, nil)
	first, absent, fallback := w.node(0), w.node(1), w.node(2)
	w.link(absent.id, false)
	w.add(first, 1, 1, "milk", 5000)
	w.run(nil)
	w.success(first)
	if stored := fallback.shard.Stored(); len(stored) != 1 {
		t.Fatalf("the fallback stores %v", stored)
	}
	w.link(absent.id, true)
	reached := false
	w.run(func(s replica.Send) bool { // the offer arrives, what it holds does not
		switch s.Message.(type) {
		case replica.Events, replica.Digest, replica.CatchUp:
			reached = reached || s.To == absent.id
			return true
		}
		return false
	})
	milk := crdt.Key{Type: crdt.Set, Bucket: "b", Name: "k"}.Member("milk")
	if !reached || !w.row(absent, milk).IsEmpty() {
		t.Fatalf("a delivery was tried: %t, and must not have arrived: %v", reached, w.row(absent, milk))
	}
	w.open(fallback, 1000, nil)
	absent.shard.SetLink(w.clock(), first.id, false) // so that it is the fallback who brings it
	absent.take()
	w.rounds(3000)
	if len(w.row(absent, milk).Live) != 1 {
		t.Errorf("the owner holds %v", w.row(absent, milk))
	}
	if stored := fallback.shard.Stored(); len(stored) != 0 {
		t.Errorf("the fallback still stores %v", stored)
	}
}

// H13: that a node which does not own a partition has nothing of it means
// nothing. An owner is asked, whatever R is.
func TestAReadOfOneDoesNotTakeTheWordOfANodeThatOwnsNothing(t *testing.T) {
	w := newTrioOwned(t, 2, nil)
	first, second, other := w.node(0), w.node(1), w.node(2)
	w.add(first, 1, 1, "milk", 5000)
	w.run(nil)
	w.success(first)
	key := crdt.Key{Type: crdt.Set, Bucket: "b", Name: "k"}
	read := func(id uint64) replica.Result {
		w.ask(other, replica.Request{ID: id, R: 1, Deadline: w.clock().Mono + 1000*milli, Query: &replica.Query{Key: key, Fields: []string{"milk"}}})
		w.run(nil)
		if len(other.reply) == 0 {
			w.pass(other, 1100)
		}
		return w.result(other)
	}
	if r := read(1); r.Failure != nil || r.Degraded || r.Merged.IsEmpty() {
		t.Errorf("got %+v, want milk from an owner", r)
	}
	w.link(first.id, false)
	w.link(second.id, false)
	if r := read(2); r.Failure == nil && !r.Degraded {
		t.Errorf("no owner answers, and the client hears %+v", r)
	}
}

// A11: an event from elsewhere bears this opening's actor: the store was copied
// or restored under it. It is stored, the alarm is counted, and the next write
// here gets a dot that nobody has.
func TestAnEventOfTheOwnActorFromElsewhereEndsThatActor(t *testing.T) {
	w := newTrio(t, nil)
	first, second := w.node(0), w.node(1)
	key := crdt.Key{Type: crdt.Set, Bucket: "b", Name: "k"}
	w.add(first, 1, 1, "milk", 5000)
	w.run(nil)
	var mine dvv.Dot
	for d := range w.success(first).Context.Dots() {
		mine = d
	}
	stamp := first.shard.Stamp() + 1
	foreign := crdt.Group{Actor: mine.Actor, First: mine.Seq + 5, Stamp: stamp, Events: []crdt.Event{{Row: key.Member("eggs"), Payload: crdt.Member{Stamp: stamp}.Payload()}}}
	w.add(first, 2, 2, "bread", 5000) // minted in the transaction that meets it
	w.deliver(second, first, replica.Replicate{Batch: []replica.Shipment{{Partition: 0, Groups: []crdt.Group{foreign}}}})
	names := []string{"milk", "eggs", "bread"}
	for i, name := range []string{"jam", "tea", "rice", "salt"} { // as many as would come to the foreign dot
		w.run(nil)
		w.add(first, uint64(3+i), uint64(3+i), name, 5000)
		names = append(names, name)
	}
	w.run(nil)
	seen := map[dvv.Dot]string{}
	for _, name := range names {
		row := w.row(first, key.Member(name))
		if len(row.Live) != 1 {
			t.Fatalf("%s: %v", name, row)
		}
		if other, taken := seen[row.Live[0].Dot]; taken {
			t.Errorf("%s and %s share the dot %v", name, other, row.Live[0].Dot)
		}
		seen[row.Live[0].Dot] = name
	}
	if n := first.shard.Stats.Rotations; n != 1 {
		t.Errorf("%d rotations counted, want 1", n)
	}
}
