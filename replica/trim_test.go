package replica_test

import (
	"fmt"
	"testing"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica"
)

func (m *member) tally() (groups, bytes, operations int64) { return m.store.View().Tally(0) }

func TestAnEventLeavesTheLogWhenEveryOwnerHoldsItDurably(t *testing.T) {
	w := newTrio(t, withBarrier)
	w.rounds(3000)
	writer, away := w.node(0), w.node(2)
	w.stop(away)
	w.add(writer, 1, 1, "milk", 5000)
	w.run(nil)
	w.success(writer)
	w.rounds(30_000)
	if groups, _, _ := writer.tally(); groups != 1 {
		t.Errorf("one owner is away and lacks the event; %d are logged for it", groups)
	}
	w.link(away.id, true)
	w.rounds(15_000)
	for i := range 3 {
		if groups, bytes, _ := w.node(i).tally(); groups != 0 || bytes != 0 {
			t.Errorf("all have it, and %v still logs %d groups of %d bytes", w.node(i).id, groups, bytes)
		}
		if len(w.row(w.node(i), carts.Member("milk")).Live) != 1 {
			t.Errorf("the row left with the log at %v", w.node(i).id)
		}
	}
	commits := writer.store.Commits
	w.rounds(30_000)
	if writer.store.Commits != commits {
		t.Errorf("nothing happens, and %d commits are made", writer.store.Commits-commits)
	}
}

func TestALogOverItsCapIsCutFromItsOldestEndAndSaysSo(t *testing.T) {
	w := newTrio(t, func(c *replica.Config) { c.NoBarrier, c.LogCap = false, 4000 })
	w.rounds(3000)
	writer, away := w.node(0), w.node(2)
	w.stop(away)
	for i := range uint64(200) {
		w.add(writer, 1+i, 1+i, fmt.Sprintf("item-%03d", i), 5000)
		w.run(nil)
		w.success(writer)
		w.now += milli
	}
	w.rounds(20_000)
	groups, bytes, _ := writer.tally()
	if bytes > 4000 || groups < 10 || writer.shard.Stats.TrimmedEarly == 0 {
		t.Errorf("%d groups of %d bytes are logged, %d were cut", groups, bytes, writer.shard.Stats.TrimmedEarly)
	}
	newest := false
	if err := writer.store.View().Log(0, mustClock(writer), func(g crdt.Group, _ int) bool {
		newest = newest || g.Events[0].Row.Field == "item-199"
		if g.Events[0].Row.Field == "item-000" {
			t.Error("the oldest is still there")
		}
		return true
	}); err != nil || !newest {
		t.Errorf("the newest is logged: %t, %v", newest, err)
	}
}

// Between two rounds a log may pass its cap, and not by more than once.
func TestALogIsCutBetweenRoundsWhenItIsTwiceItsCap(t *testing.T) {
	w := newTrio(t, func(c *replica.Config) { c.NoBarrier, c.LogCap, c.TrimEvery = false, 4000, 1<<60 })
	w.rounds(3000)
	writer := w.node(0)
	w.stop(w.node(2))
	most := int64(0)
	for i := range uint64(300) {
		w.add(writer, 1+i, 1+i, fmt.Sprintf("item-%03d", i), 5000)
		w.run(nil)
		w.success(writer)
		_, bytes, _ := writer.tally()
		most = max(most, bytes)
	}
	if most > 2*4000+300 || writer.shard.Stats.TrimmedEarly == 0 {
		t.Errorf("the log grew to %d bytes, %d groups were cut", most, writer.shard.Stats.TrimmedEarly)
	}
}

// An operation is remembered until no retry of it can count: its window closed,
// its dots stable, and everybody's clock of after that time covered.
func TestAnOperationIsForgottenWhenNobodyCanRepeatItAnyMore(t *testing.T) {
	const window, skew = 20_000, 2_000
	w := newTrio(t, func(c *replica.Config) { c.NoBarrier, c.OpWindow, c.MaxSkew = false, window, skew })
	w.rounds(3000)
	writer, away := w.node(0), w.node(2)
	w.add(writer, 1, 1, "milk", 5000)
	w.run(nil)
	w.success(writer)
	w.rounds(window - 2000)
	if _, _, n := writer.tally(); n != 1 {
		t.Errorf("within the window %d are remembered", n)
	}
	w.stop(away)
	w.rounds(60_000)
	if _, _, n := writer.tally(); n != 1 {
		t.Errorf("a member that is away may bring a repetition; %d are remembered", n)
	}
	w.link(away.id, true)
	w.rounds(15_000)
	for i := range 3 {
		if _, _, n := w.node(i).tally(); n != 0 {
			t.Errorf("%v still remembers %d", w.node(i).id, n)
		}
	}
	if writer.shard.Stats.Forgotten != 1 || writer.shard.Stats.MayRepeat != 0 {
		t.Errorf("forgotten %d, of them too early %d", writer.shard.Stats.Forgotten, writer.shard.Stats.MayRepeat)
	}
}

func TestMoreOperationsThanTheCapGoUnprovenAndAreCounted(t *testing.T) {
	w := newTrio(t, func(c *replica.Config) { c.NoBarrier, c.OpWindow, c.MaxSkew, c.OpCap = false, 10_000, 1000, 5 })
	w.rounds(3000)
	writer := w.node(0)
	w.stop(w.node(2))
	for i := range uint64(9) {
		w.add(writer, 1+i, 1+i, fmt.Sprint(i), 5000)
		w.run(nil)
		w.success(writer)
	}
	w.rounds(5000)
	if _, _, n := writer.tally(); n != 9 {
		t.Errorf("within the window nothing goes, cap or not; %d are remembered", n)
	}
	w.rounds(20_000)
	if _, _, n := writer.tally(); n != 5 || writer.shard.Stats.MayRepeat != 4 {
		t.Errorf("%d are remembered, %d went unproven", n, writer.shard.Stats.MayRepeat)
	}
}

// A log that was cut says nothing about who holds an event: a retry is not
// acknowledged on the strength of its absence.
func TestARetryOfWhatLeftTheLogIsOnlyAcknowledgedWhenItIsStable(t *testing.T) {
	w := newTrio(t, func(c *replica.Config) { c.NoBarrier, c.LogCap = false, 1 })
	w.rounds(3000)
	writer := w.node(0)
	w.stop(w.node(1))
	w.stop(w.node(2))
	add := func(id uint64, replicas int) {
		w.ask(writer, replica.Request{ID: id, W: replicas, Deadline: w.clock().Mono + 1000*milli, Mutation: &replica.Mutation{
			Key: carts, Verb: replica.Update, Changes: []replica.Change{{Member: "milk"}}, Op: crdt.Operation{Client: [16]byte{9}, Seq: 1, Issued: 1_750_000_003_000}}})
		w.run(nil)
	}
	add(1, 1)
	w.success(writer)
	w.rounds(12_000)
	if groups, _, _ := writer.tally(); groups != 0 {
		t.Fatalf("%d groups are logged", groups)
	}
	w.link(w.node(1).id, true)
	w.nodes[w.node(1).id].sends = nil
	writer.sends = nil
	add(2, 2)
	if res := w.result(writer); res.Failure == nil || !res.Failure.Unknown {
		t.Errorf("one copy exists, and two were acknowledged: %+v", res)
	}
}

// Who departed is not waited for before an operation is forgotten. If it comes back
// with the same increment, that counts twice, and is said to.
func TestWhatADepartedNodeBringsAfterItsWindowIsCounted(t *testing.T) {
	const window, skew = 20_000, 2_000
	w := newTrio(t, func(c *replica.Config) { c.NoBarrier, c.OpWindow, c.MaxSkew, c.W, c.R = false, window, skew, 1, 1 })
	w.rounds(3000)
	gone, other := w.node(0), w.node(1)
	hits := crdt.Key{Type: crdt.Counter, Bucket: "b", Name: "k"}
	inc := func(id uint64) replica.Request {
		return replica.Request{ID: id, W: 1, Deadline: w.clock().Mono + 1000*milli, Mutation: &replica.Mutation{Key: hits, Verb: replica.Add, Delta: 5,
			Op: crdt.Operation{Client: [16]byte{9}, Seq: 1, Issued: 1_750_000_003_000}}}
	}
	w.stop(gone)
	w.ask(gone, inc(1))
	w.run(func(s replica.Send) bool { return true })
	w.success(gone)
	w.stop(gone)
	w.ask(other, inc(2))
	w.run(nil)
	w.success(other)
	left := w.pair(gone.id)
	other.shard.SetRing(w.clock(), left)
	w.node(2).shard.SetRing(w.clock(), left)
	for until := w.now + 120_000*milli; w.now < until; w.now += 100 * milli {
		for _, m := range []*member{other, w.node(2)} {
			m.shard.Tick(w.clock())
			m.take()
		}
		w.run(func(s replica.Send) bool { return s.To == gone.id })
	}
	if _, _, n := other.tally(); n != 0 {
		t.Fatalf("%d operations are remembered", n)
	}
	w.link(gone.id, true)
	gone.shard.SetRing(w.clock(), left)
	gone.take()
	w.rounds(10_000)
	if got, alarms := w.count(other, hits.Row()), other.shard.Stats.MayRepeat; got != 10 || alarms != 1 {
		t.Errorf("the counter is %d, with %d alarms: nobody can tell that the 5 are the same", got, alarms)
	}
}

func mustClock(m *member) (c dvv.Clock) { c, _, _ = m.store.View().Clock(0); return c }
