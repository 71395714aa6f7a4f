package replica_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica"
	"github.com/cartwheel-db/cartwheel/replica/replicatest"
)

// One row's record is damaged; its name may be what is damaged of it.
var damages = []struct {
	name string
	key  func(crdt.Address) string
}{
	{"the row's bytes are damaged", func(crdt.Address) string { return "" }},
	{"its name is another member's now", func(a crdt.Address) string { return string(a.Key.Member(a.Field + "~").AppendBinary(nil)) }},
	{"its name is no address any more", func(a crdt.Address) string {
		b := a.AppendBinary(nil)
		b[len(b)-1] ^= 0x80 // not UTF-8
		return string(b)
	}},
}

// filled is a trio that holds a few members, everywhere.
func filled(t *testing.T, members ...string) *trio {
	t.Helper()
	w := newTrio(t, nil)
	for i, m := range members {
		w.add(w.node(0), uint64(i+1), uint64(i+1), m, 5000)
		w.run(nil)
		w.success(w.node(0))
	}
	return w
}

// sameRows fails unless all nodes hold the same rows, as far as they can read.
func (w *trio) sameRows(t rapid.TB) {
	t.Helper()
	var first string
	for i, id := range w.first {
		var b strings.Builder
		m := w.nodes[id]
		v := m.damage.of(m.store.View())
		ps, err := v.Partitions()
		for _, p := range ps {
			if err == nil {
				err = v.AllRows(p, nil, func(a crdt.Address, r crdt.Row) bool { fmt.Fprintln(&b, p, a, r); return true })
			}
		}
		if err != nil {
			t.Fatalf("%v: %v", id, err)
		}
		if i == 0 {
			first = b.String()
		} else if b.String() != first {
			t.Fatalf("%v holds\n%s%v holds\n%s", w.first[0], first, id, b.String())
		}
	}
}

func (w *trio) members(m *member) string {
	w.t.Helper()
	res := w.read(m, replica.Request{ID: 99}, nil)
	if res.Failure != nil {
		w.t.Fatal(res.Failure)
	}
	var names []string
	for _, f := range res.Merged.Rows {
		names = append(names, f.Field)
	}
	return strings.Join(names, " ")
}

func TestADamagedRowIsNotServedAndIsFetchedAgain(t *testing.T) {
	for _, d := range damages {
		t.Run(d.name, func(t *testing.T) {
			w := filled(t, "eggs", "milk", "tea")
			hurt := w.node(1)
			hurt.damage.row(0, carts.Member("milk"), d.key(carts.Member("milk")))
			if _, err := replica.Ask(hurt.damage.of(hurt.store.View()), 0, replica.Query{Key: carts, Span: &replica.Span{Limit: 10}}); err == nil {
				t.Fatal("a page with a hole")
			}
			if got := w.members(hurt); got != "eggs milk tea" {
				t.Errorf("a read shows %q", got)
			}
			w.rounds(1000)
			w.sameRows(t)
			if s := hurt.shard.Totals(); s.DamagedRows != 1 || s.RepairedRows != 1 || len(hurt.damage.records) > 0 {
				t.Errorf("%d rows found damaged, %d repaired, still damaged: %v", s.DamagedRows, s.RepairedRows, hurt.damage.records)
			}
			reports := hurt.shard.Reports()
			if len(reports) != 2 || !strings.HasPrefix(reports[0], "damaged: ") || !strings.HasPrefix(reports[1], "repaired from ") {
				t.Errorf("reports %q", reports)
			}
		})
	}
}

// What happens to a row while it is damaged is logged and acknowledged, and is in
// the row when it is whole again.
func TestEventsOfADamagedRowAreAppliedWhenItIsWholeAgain(t *testing.T) {
	for _, d := range damages {
		for _, tc := range []struct {
			name string
			do   replica.Mutation
			want string
		}{
			{"added again", replica.Mutation{Verb: replica.Update, Changes: []replica.Change{{Member: "milk", Note: []byte("semi")}}}, "eggs milk tea"},
			{"removed", replica.Mutation{Verb: replica.Update, Changes: []replica.Change{{Member: "milk", Remove: true}}}, "eggs tea"},
			{"cleared with its key", replica.Mutation{Verb: replica.Delete}, ""},
			{"a neighbour added", replica.Mutation{Verb: replica.Update, Changes: []replica.Change{{Member: "milkshake"}}}, "eggs milk milkshake tea"},
			{"a neighbour removed", replica.Mutation{Verb: replica.Update, Changes: []replica.Change{{Member: "eggs", Remove: true}}}, "milk tea"},
		} {
			t.Run(d.name+", "+tc.name, func(t *testing.T) {
				w := filled(t, "eggs", "milk", "tea")
				hurt := w.node(1)
				hurt.damage.row(0, carts.Member("milk"), d.key(carts.Member("milk")))
				hurt.shard.Damaged(w.clock(), hurt.damage.records[0])
				unfetched := func(s replica.Send) bool { _, is := s.Message.(replica.Fetch); return is }
				tc.do.Key = carts
				w.mutation(w.node(0), 50, tc.do)
				w.run(unfetched)
				w.success(w.node(0))
				if n := hurt.shard.Totals().Applied; n != 4 {
					t.Errorf("%d groups applied, want 4: the event is durable although the row is not whole", n)
				}
				w.rounds(8000) // the fetch that was lost is given up, and sent to the next
				w.sameRows(t)
				if got := w.members(hurt); got != tc.want {
					t.Errorf("shows %q, want %q", got, tc.want)
				}
				if n := hurt.shard.Totals().RepairedRows; n != 1 {
					t.Errorf("%d rows repaired", n)
				}
			})
		}
	}
}

func TestAMutationThatMustReadADamagedRowFailsAloneAndIsDoneElsewhere(t *testing.T) {
	w := filled(t, "eggs", "milk", "tea")
	hurt := w.node(0)
	hurt.damage.row(0, carts.Member("milk"), "")
	update := func(id uint64, member string) {
		w.mutation(hurt, id, replica.Mutation{Key: carts, Verb: replica.Update, Changes: []replica.Change{{Member: member, Note: []byte("new")}}})
	}
	update(50, "milk")
	update(51, "zest")
	w.commit(hurt)
	if s := hurt.shard.Totals(); s.Minted != 4 {
		t.Errorf("%d groups minted, want 4: the other mutation of the transaction goes on", s.Minted)
	}
	w.run(nil)
	for _, r := range hurt.reply {
		if r.Result.Failure != nil {
			t.Errorf("mutation %d: %v", r.ID, r.Result.Failure)
		}
		if want := map[uint64]*member{50: w.node(1), 51: hurt}[r.ID]; r.Result.Coordinator != want.id {
			t.Errorf("mutation %d was done by %v, want %v", r.ID, r.Result.Coordinator, want.id)
		}
	}
	if len(hurt.reply) != 2 {
		t.Errorf("%d answers", len(hurt.reply))
	}
	w.rounds(2000)
	w.sameRows(t)
}

func TestARowIsFetchedFromWhoeverHasItWhole(t *testing.T) {
	milk := carts.Member("milk")
	for _, tc := range []struct {
		name    string
		damaged []int
		whole   bool
	}{
		{"the first other owner is damaged there too", []int{0, 1}, true},
		{"all are", []int{0, 1, 2}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := filled(t, "eggs", "milk", "tea")
			for _, i := range tc.damaged {
				w.node(i).damage.row(0, milk, "")
			}
			for i := range 3 {
				w.ask(w.node(i), replica.Request{ID: 60, R: 1, Deadline: w.clock().Mono + 100*milli, Query: &replica.Query{Key: carts, Fields: []string{"milk"}}})
				w.run(nil)
			}
			w.rounds(30_000)
			for _, i := range tc.damaged {
				s := w.node(i).shard.Totals()
				switch {
				case tc.whole && (s.RepairedRows != 1 || s.Unrepairable > 1):
					t.Errorf("%d repaired, %d times in vain", s.RepairedRows, s.Unrepairable)
				case !tc.whole && (s.RepairedRows != 0 || s.Unrepairable != 1):
					t.Errorf("%d repaired, and counted %d times that nobody has it", s.RepairedRows, s.Unrepairable)
				}
			}
			if tc.whole {
				w.sameRows(t)
				return
			}
			res := w.read(w.node(0), replica.Request{ID: 61, R: 1, Query: &replica.Query{Key: carts, Fields: []string{"milk"}}}, nil)
			if res.Failure == nil {
				t.Errorf("a read that nobody can answer shows %v", res.Merged.Rows)
			}
			w.node(2).damage = damage{} // as from a backup
			w.rounds(90_000)
			w.sameRows(t)
		})
	}
}

func TestARowWhoseLastEventsNobodyElseHasIsNotReplaced(t *testing.T) {
	w := filled(t, "eggs", "milk", "tea")
	hurt := w.node(0)
	w.stop(hurt)
	w.ask(hurt, replica.Request{ID: 50, W: 1, Deadline: w.clock().Mono + 5000*milli, Mutation: &replica.Mutation{
		Key: carts, Verb: replica.Update, Changes: []replica.Change{{Member: "milk", Note: []byte("mine alone")}}}})
	w.commit(hurt)
	w.success(hurt)
	want := w.row(hurt, carts.Member("milk"))
	only := want.Dots()[0]
	g, _, err := hurt.store.View().Group(0, only)
	if err != nil {
		t.Fatal(err)
	}
	hurt.damage.other("log", 0, logKey(&g)) // nor can this node tell them
	hurt.damage.row(0, carts.Member("milk"), "")
	w.link(hurt.id, true)
	w.members(hurt)
	w.rounds(20_000)
	if s := hurt.shard.Totals(); s.RepairedRows != 0 || s.Unrepairable != 1 {
		t.Errorf("%d rows repaired, %d reported: an acknowledged event would be gone", s.RepairedRows, s.Unrepairable)
	}
	hurt.damage.records = slices.DeleteFunc(hurt.damage.records, func(r *damagedRecord) bool { return r.part == "log" })
	w.rounds(40_000)
	w.sameRows(t)
	if got := w.row(w.node(1), carts.Member("milk")); !got.Equal(want) {
		t.Errorf("the row is %v, want %v", got, want)
	}
}

func TestALogRecordThatIsDamagedIsAGapUntilEveryOwnerHoldsIt(t *testing.T) {
	w := filled(t, "eggs", "milk")
	hurt, late := w.node(0), w.node(2)
	w.stop(late)
	w.add(hurt, 50, 50, "tea", 5000)
	w.run(nil)
	w.success(hurt)
	g, _, err := hurt.store.View().Group(0, w.row(hurt, carts.Member("tea")).Dots()[0])
	if err != nil {
		t.Fatal(err)
	}
	hurt.damage.other("log", 0, logKey(&g))
	w.deliver(late, hurt, replica.CatchUp{Partition: 0, Clock: dvv.Clock{}, Final: true})
	events := sent[replica.Events](hurt, late.id)
	if len(events) != 1 || !events[0].Gap || len(events[0].Groups) != 2 {
		t.Fatalf("sends %+v, want the two groups that can be read and word of a gap", events)
	}
	op := crdt.Operation{Client: [16]byte{9}, Seq: 50, Issued: w.clock().Wall}
	w.ask(hurt, replica.Request{ID: 51, Deadline: w.clock().Mono + 5000*milli, Mutation: &replica.Mutation{
		Key: carts, Verb: replica.Update, Changes: []replica.Change{{Member: "tea"}}, Op: op}})
	w.add(hurt, 52, 52, "zest", 5000)
	w.commit(hurt)
	if s := hurt.shard.Totals(); s.DamagedLog != 1 || s.DroppedLog != 0 || s.Minted != 4 {
		t.Errorf("%d found, %d dropped, %d minted: the retry waits for another, and the rest goes on", s.DamagedLog, s.DroppedLog, s.Minted)
	}
	w.run(nil)
	for _, r := range hurt.reply { // the next coordinator knows the operation
		if r.Result.Failure != nil {
			t.Errorf("mutation %d: %v", r.ID, r.Result.Failure)
		}
	}
	hurt.reply = nil
	w.link(late.id, true)
	w.rounds(20_000)
	w.sameRows(t)
	if s := hurt.shard.Totals(); s.DroppedLog != 1 || len(hurt.damage.records) != 0 {
		t.Errorf("every owner holds it: %d dropped, left: %v", s.DroppedLog, hurt.damage.records)
	}
}

func TestARetryOfAnOperationWhoseRecordIsDamagedIsNotAppliedAgain(t *testing.T) {
	w := newTrio(t, nil)
	hurt := w.node(0)
	op := crdt.Operation{Client: [16]byte{9}, Seq: 1, Issued: w.clock().Wall}
	count := replica.Mutation{Key: crdt.Key{Type: crdt.Counter, Bucket: "b", Name: "c"}, Verb: replica.Add, Delta: 5, Op: op}
	w.mutation(hurt, 1, count)
	w.run(nil)
	w.success(hurt)
	hurt.damage.other("remembered", 0, operationKey(op))
	w.mutation(hurt, 2, count)
	other := count
	other.Op.Seq = 2
	w.mutation(hurt, 3, other)
	w.commit(hurt)
	if s := hurt.shard.Totals(); s.DamagedOperations != 1 || s.Minted != 2 {
		t.Errorf("%d found, %d minted, want the first and the other", s.DamagedOperations, s.Minted)
	}
	w.run(nil)
	for _, r := range hurt.reply {
		if r.Result.Failure != nil {
			t.Errorf("mutation %d: %v", r.ID, r.Result.Failure)
		}
	}
	if got := w.count(hurt, count.Key.Row()); got != 10 {
		t.Errorf("two increments of 5 and a retry come to %d", got)
	}
	w.rounds(12 * 60 * 1000)
	if len(hurt.damage.records) > 0 {
		t.Error("the record stays although its window is closed")
	}
}

func TestADamagedRememberedRecordIsReplacedByTheOperationsNextCopy(t *testing.T) {
	w := filled(t, "eggs")
	hurt := w.node(1)
	op := crdt.Operation{Client: [16]byte{9}, Seq: 7, Issued: w.clock().Wall}
	hurt.damage.other("remembered", 0, operationKey(op))
	w.ask(w.node(0), replica.Request{ID: 51, Deadline: w.clock().Mono + 5000*milli, Mutation: &replica.Mutation{
		Key: carts, Verb: replica.Update, Changes: []replica.Change{{Member: "milk"}}, Op: op}})
	w.run(nil)
	w.success(w.node(0))
	if m, found, err := hurt.damage.of(hurt.store.View()).Remembered(0, op); err != nil || !found || len(m.Dots) != 1 {
		t.Errorf("remembers %v, %t, %v", m, found, err)
	}
	if n := hurt.shard.Totals().DamagedOperations; n != 1 {
		t.Errorf("%d counted", n)
	}
}

func TestAPartitionWhoseClockIsDamagedIsAWipedStore(t *testing.T) {
	for _, part := range []string{"clocks", "marks", "dead"} {
		t.Run(part, func(t *testing.T) {
			w := filled(t, "eggs", "milk")
			// A clear that reaches an event nobody has seen yet is deferred at the key.
			unseen := dvv.ClockOf(dvv.Dot{Actor: 77, Seq: 1})
			w.mutation(w.node(0), 50, replica.Mutation{Key: carts, Verb: replica.Delete, Context: &unseen})
			w.run(nil)
			w.success(w.node(0))
			hurt := w.node(1)
			w.stop(hurt)
			var key []byte
			if part == "dead" {
				key = carts.AppendPrefix(nil)
			}
			hurt.damage.other(part, 0, key)
			w.restart(hurt, 40, nil)
			w.rounds(10_000)
			w.sameRows(t)
			if s := hurt.shard.Totals(); s.WipedPartitions != 1 || s.DamagedOthers != 1 {
				t.Errorf("%d partitions begun anew, %d records found damaged", s.WipedPartitions, s.DamagedOthers)
			}
			w.mutation(hurt, 51, replica.Mutation{Key: crdt.Key{Type: crdt.Counter, Bucket: "b", Name: "c"}, Verb: replica.Add, Delta: 1})
			w.run(nil)
			w.link(w.node(0).id, false)
			w.mutation(hurt, 52, replica.Mutation{Key: crdt.Key{Type: crdt.Counter, Bucket: "b", Name: "c"}, Verb: replica.Add, Delta: 1})
			w.run(nil)
			clock, _, err := hurt.store.View().Clock(0)
			if err != nil || clock.Last(40) != 0 {
				t.Errorf("minted as the actor of what was lost: %v %v", clock, err)
			}
		})
	}
}

func TestADamagedClockOfALoadedPartitionIsPutBack(t *testing.T) {
	for _, part := range []string{"clocks", "marks"} {
		w := filled(t, "eggs", "milk")
		hurt := w.node(1)
		hurt.damage.other(part, 0, nil)
		hurt.shard.Damaged(w.clock(), hurt.damage.records[0])
		w.members(hurt)
		w.rounds(1000)
		if s := hurt.shard.Totals(); s.WipedPartitions != 0 || len(hurt.damage.records) > 0 {
			t.Errorf("%s: %d begun anew although nothing was lost, still damaged: %v", part, s.WipedPartitions, hurt.damage.records)
		}
		w.sameRows(t)
	}
}

func TestADamagedPartitionOfTheOnlyMemberIsRefusedAndTheOthersGoOn(t *testing.T) {
	w := newCrowdOf(t, 1, 1, 4, func(c *replica.Config) { c.R, c.W = 1, 1 })
	alone := w.node(0)
	keys := map[int]crdt.Key{}
	for i := range 40 {
		k := crdt.Key{Type: crdt.Counter, Bucket: "b", Name: fmt.Sprint("c", i)}
		keys[w.ring.Partition(k.Bucket, k.Name)] = k
	}
	put := func(id uint64, p int) replica.Result {
		w.mutation(alone, id, replica.Mutation{Key: keys[p], Verb: replica.Add, Delta: 1})
		w.run(nil)
		return w.result(alone)
	}
	for p := range 4 {
		if r := put(uint64(p), p); r.Failure != nil {
			t.Fatal(r.Failure)
		}
	}
	alone.damage.other("clocks", 2, nil)
	w.open(alone, 40, func(c *replica.Config) { c.R, c.W = 1, 1 })
	w.rounds(5000)
	for p := range 4 {
		r := put(uint64(10+p), p)
		switch {
		case p != 2 && r.Failure != nil:
			t.Errorf("partition %d: %v", p, r.Failure)
		case p == 2 && (r.Failure == nil || !strings.Contains(r.Failure.Text, "partition 2 cannot be used")):
			t.Errorf("partition 2: %v", r.Failure)
		}
	}
	if s := alone.shard.Totals(); s.WipedPartitions != 0 || s.Unrepairable != 1 {
		t.Errorf("%d dropped, %d reported: there is no other copy", s.WipedPartitions, s.Unrepairable)
	}
}

func TestTheIndexOfDeferredDotsIsBuiltAgain(t *testing.T) {
	w := filled(t, "eggs")
	hurt := w.node(1)
	late := dvv.Dot{Actor: 77, Seq: 1}
	milk := carts.Member("milk")
	w.deliver(w.node(2), hurt, replica.Replicate{Batch: []replica.Shipment{{Groups: []crdt.Group{{Actor: 78, First: 1, Events: []crdt.Event{{Row: milk, Kills: []dvv.Dot{late}}}}}}}})
	w.commit(hurt)
	if r := w.row(hurt, milk); len(r.Deferred) != 1 {
		t.Fatalf("the row is %v", r)
	}
	entry := append([]byte{0, 0, 0, 0, 0, 0, 0, 77, 0, 0, 0, 0, 0, 0, 0, 1}, milk.AppendBinary(nil)...)
	hurt.damage.other("deferred", 0, entry)
	w.deliver(w.node(2), hurt, replica.Replicate{Batch: []replica.Shipment{{Groups: []crdt.Group{{Actor: 77, First: 1, Events: []crdt.Event{{Row: carts.Member("tea"), Payload: crdt.Member{Stamp: 1}.Payload()}}}}}}})
	w.commit(hurt)
	w.rounds(1000)
	if len(hurt.damage.records) > 0 {
		t.Error("the entry is still damaged")
	}
	if r := w.row(hurt, milk); len(r.Deferred) != 0 {
		t.Errorf("the row is %v: what arrived is forgotten", r)
	}
}

func TestWithADamagedRowNothingLeavesTheLog(t *testing.T) {
	for _, damaged := range []bool{false, true} {
		w := filled(t, "eggs", "milk")
		hurt := w.node(1)
		if damaged {
			for i := range 3 {
				w.node(i).damage.row(0, carts.Member("milk"), "")
			}
			w.ask(hurt, replica.Request{ID: 60, R: 1, Deadline: w.clock().Mono + 100*milli, Query: &replica.Query{Key: carts, Fields: []string{"milk"}}})
			w.run(nil)
		}
		w.rounds(30_000)
		groups, _, _ := hurt.store.View().Tally(0)
		if want := map[bool]int64{false: 0, true: 2}[damaged]; groups != want {
			t.Errorf("damaged %t: %d groups are logged, want %d", damaged, groups, want)
		}
	}
}

// The law: whatever is damaged, wherever, while others hold it whole, and whatever
// is written meanwhile, all owners hold the same in the end, and what was
// acknowledged is in it.
func TestWhateverIsDamagedAndWrittenAllOwnersHoldTheSameInTheEnd(t *testing.T) {
	var repaired, wiped uint64
	rapid.Check(t, func(rt *rapid.T) {
		w := newCrowdOf(t, 3, 3, 2, nil)
		member := rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f"})
		name := rapid.SampledFrom([]string{"k", "l"})
		node := rapid.IntRange(0, 2)
		hurt := map[string]bool{} // a row is damaged on one node only, and one node stays whole
		var id uint64
		lossy := false
		lose := func(s replica.Send) bool { return lossy && rapid.IntRange(0, 4).Draw(rt, "lost") == 0 }
		steps := rapid.IntRange(5, 40).Draw(rt, "steps")
		for range steps {
			k := crdt.Key{Type: crdt.Set, Bucket: "b", Name: name.Draw(rt, "key")}
			p := w.ring.Partition(k.Bucket, k.Name)
			m := w.node(node.Draw(rt, "node"))
			id++
			switch what := rapid.IntRange(0, 9).Draw(rt, "what"); what {
			case 0, 1, 2, 3:
				w.mutation(m, id, replica.Mutation{Key: k, Verb: replica.Update, Changes: []replica.Change{{Member: member.Draw(rt, "member")}}})
			case 4:
				w.mutation(m, id, replica.Mutation{Key: k, Verb: replica.Update, Changes: []replica.Change{{Member: member.Draw(rt, "member"), Remove: true}}})
			case 5:
				w.mutation(m, id, replica.Mutation{Key: k, Verb: replica.Delete})
			case 6, 7:
				a := k.Member(member.Draw(rt, "member"))
				r, err := m.store.View().Row(p, a)
				at := fmt.Sprint(p, a)
				if err != nil || r.IsEmpty() || hurt[at] || m == w.node(2) {
					continue
				}
				hurt[at] = true
				key := ""
				if rapid.Bool().Draw(rt, "name too") {
					key = string(k.Member(a.Field + "~").AppendBinary(nil))
				}
				m.damage.row(p, a, key)
			case 8:
				lossy = !lossy
			case 9:
				w.now += 500 * milli
			}
			w.run(lose)
		}
		for _, m := range w.nodes {
			m.reply = nil
		}
		// Everybody finds what is damaged, as when a store is opened.
		for _, id := range w.first {
			for _, d := range slices.Clone(w.nodes[id].damage.records) {
				w.nodes[id].shard.Damaged(w.clock(), d)
			}
		}
		w.rounds(70_000)
		for _, id := range w.first {
			m := w.nodes[id]
			s := m.shard.Totals()
			repaired, wiped = repaired+s.RepairedRows, wiped+s.WipedPartitions
			if len(m.damage.records) > 0 {
				rt.Fatalf("%v: still damaged: %v; %+v; %q", id, m.damage.records, s.DamageStats, m.shard.Reports())
			}
		}
		w.sameRows(rt)
		for _, p := range []int{0, 1} {
			for _, id := range w.first {
				checkFold(rt, w.nodes[id].store, p)
			}
		}
	})
	if repaired == 0 {
		t.Error("nothing was ever repaired")
	}
}

// checkFold compares a partition's rows with the fold of its log, where nothing
// was trimmed yet.
func checkFold(t rapid.TB, store *replicatest.MemStore, p int) {
	t.Helper()
	v := store.View()
	clock, stored, err := v.Clock(p)
	if err != nil || !stored {
		return
	}
	fresh := replicatest.NewMemStore()
	tx := fresh.Begin()
	part, err := replica.Load(tx, p)
	if err != nil {
		t.Fatal(err)
	}
	err = v.Log(p, clock, func(g crdt.Group, _ int) bool {
		_, _, err = part.Apply(tx, &g, 0)
		return err == nil
	})
	if err == nil {
		err = part.Save(tx)
	}
	if err != nil {
		t.Fatal(err)
	}
	if !part.Clock().Equal(clock) {
		return
	}
	want := map[string]string{}
	_ = tx.AllRows(p, nil, func(a crdt.Address, r crdt.Row) bool { want[a.String()] = r.String(); return true })
	_ = v.AllRows(p, nil, func(a crdt.Address, r crdt.Row) bool {
		if want[a.String()] != r.String() {
			t.Errorf("%v is %v, the fold of the log is %v", a, r, want[a.String()])
		}
		delete(want, a.String())
		return true
	})
	if len(want) > 0 {
		t.Errorf("rows are missing: %v", want)
	}
}

func TestTheLastRowBeforeAnAddressIsFoundByHalving(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		store := replicatest.NewMemStore()
		tx := store.Begin()
		names := rapid.SliceOfN(rapid.StringN(1, 6, 12), 0, 12).Draw(t, "members")
		var all [][]byte
		for i, n := range names {
			a := carts.Member(n)
			r := crdt.Row{Deferred: []dvv.Dot{{Actor: 1, Seq: uint64(i + 1)}}}
			if err := tx.ReplaceRow(3, a, r); err != nil {
				t.Fatal(err)
			}
			all = append(all, a.AppendBinary(nil))
		}
		if err := tx.ReplaceRow(2, carts.Member("before"), crdt.Row{Deferred: []dvv.Dot{{Actor: 1, Seq: 99}}}); err != nil {
			t.Fatal(err)
		}
		slices.SortFunc(all, bytes.Compare)
		before := carts.Member(rapid.StringN(1, 6, 12).Draw(t, "before")).AppendBinary(nil)
		if rapid.Bool().Draw(t, "cut") {
			before = before[:rapid.IntRange(0, len(before)).Draw(t, "length")]
		}
		if rapid.Bool().Draw(t, "all") {
			before = nil
		}
		var want []byte
		for _, a := range all {
			if before == nil || bytes.Compare(a, before) < 0 {
				want = a
			}
		}
		if got, err := replica.LastRow(tx, 3, before); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("before %x: %x, %v, want %x", before, got, err, want)
		}
	})
}

// A log from which nothing may leave while a row is damaged is gone through again
// when it is whole, though nothing was written meanwhile.
func TestTheLogIsTrimmedOnceADamagedRowIsWholeAgain(t *testing.T) {
	w := filled(t, "eggs", "milk")
	hurt := w.node(1)
	hurt.damage.row(0, carts.Member("milk"), "")
	w.ask(hurt, replica.Request{ID: 60, R: 1, Deadline: w.clock().Mono + 100*milli, Query: &replica.Query{Key: carts, Fields: []string{"milk"}}})
	alone := func(s replica.Send) bool {
		_, fetch := s.Message.(replica.Fetch)
		return fetch
	}
	for until := w.now + 30_000*milli; w.now < until; {
		w.now += 100 * milli
		for _, id := range w.first {
			w.nodes[id].shard.Tick(w.clock())
			w.nodes[id].take()
		}
		w.run(alone)
	}
	if groups, _, _ := hurt.tally(); groups != 2 {
		t.Fatalf("with a damaged row %d groups are logged, want 2", groups)
	}
	w.rounds(60_000)
	if len(w.row(hurt, carts.Member("milk")).Live) != 1 {
		t.Fatal("the row is not whole again")
	}
	if groups, _, _ := hurt.tally(); groups != 0 {
		t.Errorf("all is whole and stable, and %d groups are logged", groups)
	}
}
