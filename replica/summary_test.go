package replica_test

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica"
	"github.com/cartwheel-db/cartwheel/replica/replicatest"
)

func fewRows(n int) func(*replica.Config) {
	return func(c *replica.Config) { c.TreeKey, c.FewRows = hashKey, n }
}

// size asks two owners how many members a set has.
func (w *trio) size(m *member, k crdt.Key, at int64) (n uint64, counted bool) {
	w.t.Helper()
	res := w.read(m, replica.Request{ID: 98, Query: &replica.Query{Key: k, Count: at}}, nil)
	if res.Failure != nil {
		w.t.Fatal(res.Failure)
	}
	return res.Merged.Count, res.Merged.Counted
}

// grow makes a set of n members.
func (w *trio) grow(k crdt.Key, n int, expires func(i int) int64) {
	w.t.Helper()
	for i := range n {
		m := replica.Mutation{Key: k, Verb: replica.Update, Changes: []replica.Change{{Member: fmt.Sprintf("m%03d", i)}}}
		if expires != nil {
			m.Changes[0].Expires = expires(i)
		}
		w.mutation(w.node(0), uint64(1000+i), m)
		w.run(nil)
		w.success(w.node(0))
	}
}

func (w *trio) summary(m *member, k crdt.Key) (replica.Summary, bool) {
	w.t.Helper()
	s, found, err := m.store.View().Summary(w.ring.Partition(k.Bucket, k.Name), k)
	if err != nil {
		w.t.Fatal(err)
	}
	return s, found
}

func TestASetOfFewRowsIsCountedByReadingThemAndALargerOneByItsSummary(t *testing.T) {
	for _, members := range []int{0, 1, 8, 9, 40} {
		t.Run(fmt.Sprint(members), func(t *testing.T) {
			w := newTrio(t, fewRows(8))
			w.grow(carts, members, nil)
			w.rounds(1000)
			for i := range 3 {
				s, found := w.summary(w.node(i), carts)
				if found != (members > 8) || found && (s.Members != uint64(members) || s.Rows != s.Members) {
					t.Errorf("%v keeps %+v %t of %d members", w.node(i).id, s, found, members)
				}
			}
			if n, counted := w.size(w.node(1), carts, 1); !counted || n != uint64(members) {
				t.Errorf("%d members, counted %t; want %d", n, counted, members)
			}
		})
	}
}

// Nobody can tell how many there are in between: their clocks differ, and so do
// their rows.
func TestReplicasWithOtherRowsDoNotTellASize(t *testing.T) {
	for _, few := range []int{8, 100} {
		w := newTrio(t, fewRows(few))
		w.grow(carts, 20, nil)
		w.rounds(1000)
		late := w.node(2)
		w.add(w.node(0), 1, 1, "one more", 5000)
		w.run(func(s replica.Send) bool { return s.To == late.id })
		w.success(w.node(0))
		if n, counted := w.size(late, carts, 1); counted {
			t.Errorf("few=%d: one of two has another member, both say %d", few, n)
		}
		w.rounds(20_000)
		if n, counted := w.size(late, carts, 1); !counted || n != 21 {
			t.Errorf("few=%d: %d members, counted %t", few, n, counted)
		}
	}
}

// Every odd member expires. Nobody has removed it when it is not counted any more.
func TestAMemberThatHasExpiredIsNotCounted(t *testing.T) {
	for _, few := range []int{8, 100} {
		w := newTrio(t, fewRows(few))
		now := w.clock().Wall
		w.grow(carts, 20, func(i int) int64 { return int64(i%2) * (now + 100_000 + int64(i)) })
		w.grow(crdt.Key{Type: crdt.Set, Bucket: "b", Name: "others"}, 20, func(i int) int64 { return now + 100_000 })
		w.rounds(1000)
		for _, tc := range []struct {
			at   int64
			want uint64
		}{{now, 20}, {now + 100_000, 20}, {now + 100_001, 19}, {now + 100_005, 17}, {now + 1_000_000, 10}} {
			if n, counted := w.size(w.node(1), carts, tc.at); !counted || n != tc.want {
				t.Errorf("few=%d, %d ms later: %d members, counted %t, want %d", few, tc.at-now, n, counted, tc.want)
			}
		}
	}
}

func TestADamagedSummaryIsOneThatIsNotThereAndIsMadeAgain(t *testing.T) {
	w := newTrio(t, fewRows(8))
	w.grow(carts, 20, nil)
	w.rounds(1000)
	hurt := w.node(1)
	hurt.damage.other("summaries", 0, carts.AppendPrefix(nil))
	if n, counted := w.size(hurt, carts, 1); counted {
		t.Errorf("%d members are counted from a damaged record", n)
	}
	w.add(w.node(0), 1, 1, "one more", 5000)
	w.run(nil)
	w.success(w.node(0))
	w.rounds(1000)
	_, _ = w.size(hurt, carts, 1) // who finds none wants one
	w.rounds(1000)
	if n, counted := w.size(hurt, carts, 1); !counted || n != 21 || len(hurt.damage.records) > 0 {
		t.Errorf("%d members, counted %t, damaged %v", n, counted, hurt.damage.records)
	}
	if s := hurt.shard.Totals(); s.DamagedOthers != 1 {
		t.Errorf("%d damaged records were counted", s.DamagedOthers)
	}
}

// A row that cannot be read misses what happens to it, and the clock does not.
func TestASetWithADamagedRowIsNotCountedUntilItIsWhole(t *testing.T) {
	w := newTrio(t, fewRows(8))
	w.grow(carts, 20, nil)
	w.rounds(1000)
	hurt := w.node(1)
	hurt.damage.row(0, carts.Member("m007"), "")
	shown, _, err := w.node(0).store.View().Clock(0)
	if err != nil {
		t.Fatal(err)
	}
	w.mutation(w.node(0), 1, replica.Mutation{Key: carts, Verb: replica.Update, Context: &shown, Changes: []replica.Change{{Member: "m007", Remove: true}}})
	w.run(func(s replica.Send) bool { return s.To == w.node(2).id || isFetch(s) })
	w.success(w.node(0))
	if hurt.shard.Totals().DamagedRows == 0 {
		t.Fatal("the damage was not met")
	}
	w.node(2).reply = nil
	// Of the other two one has the remove, and one has not, as the damaged one.
	w.ask(w.node(2), replica.Request{ID: 5, R: 2, Deadline: w.clock().Mono + 1000*milli, Query: &replica.Query{Key: carts, Count: 1}})
	for range 30 {
		w.run(func(s replica.Send) bool { return isFetch(s) || s.To == w.node(0).id })
		w.pass(w.node(2), 10)
	}
	res := w.success(w.node(2))
	if res.Answers != 2 || res.Merged.Counted {
		t.Errorf("%d members by %d answers, though a removal was acknowledged by one that was asked", res.Merged.Count, res.Answers)
	}
	w.rounds(20_000)
	_, _ = w.size(hurt, carts, 1)
	w.rounds(1000)
	if n, counted := w.size(hurt, carts, 1); !counted || n != 19 {
		t.Errorf("%d members, counted %t, want 19; damaged %v", n, counted, hurt.damage.records)
	}
}

func isFetch(s replica.Send) bool {
	_, fetch := s.Message.(replica.Fetch)
	return fetch
}

// An entry that is lost hides nothing from readers, who look at rows. It is filed
// again, and so the row is removed in the end as others are.
func TestTheIndexOfExpiriesIsBuiltAgain(t *testing.T) {
	w := newTrio(t, fewRows(100))
	at := w.clock().Wall + 1000_000
	w.grow(carts, 3, func(int) int64 { return at })
	hurt := w.node(1)
	hurt.damage.other("expiring", 0, expiringKey(at, carts.Member("m001")))
	listed := func() (n int, err error) {
		err = hurt.damage.of(hurt.store.View()).Expiring(0, at, func(int64, crdt.Address) bool { n++; return true })
		return n, err
	}
	if n, err := listed(); n != 2 || err == nil {
		t.Fatalf("%d entries, %v", n, err)
	}
	hurt.shard.Damaged(w.clock(), hurt.damage.records[0])
	w.rounds(1000)
	if n, err := listed(); n != 3 || err != nil {
		t.Errorf("%d entries, %v", n, err)
	}
}

// The law: whatever happens, what is kept of a set is what its rows come to, on
// every replica and after every commit; and a size that is told is that of the
// members that the same answers show.
func TestWhatIsKeptOfASetIsAlwaysWhatItsRowsComeTo(t *testing.T) {
	var kept, told, wiped, installs, repaired, lost int
	rapid.Check(t, func(rt *rapid.T) {
		set := func(c *replica.Config) {
			c.TreeKey, c.FewRows, c.LogCap, c.SnapshotRate = hashKey, rapid.IntRange(1, 3).Draw(rt, "few"), 600, 1<<30
			c.BatchBytes = rapid.SampledFrom([]int{300, 1 << 20}).Draw(rt, "batch") // promotions in pieces
			c.TrimEvery = 200 * milli
		}
		w := newCrowdOf(t, 3, 3, 2, set)
		member := rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f", "g", "h"})
		name := rapid.SampledFrom([]string{"k", "l", "m"})
		node := rapid.IntRange(0, 2)
		hurt := map[string]bool{}
		id, actor := uint64(0), dvv.Actor(1000)
		lossy := false
		lose := func(s replica.Send) bool { return lossy && rapid.IntRange(0, 3).Draw(rt, "lost") == 0 }
		check := func() {
			for _, n := range w.first {
				for p := range 2 {
					k, err := replicatest.CheckSummaries(w.nodes[n].store.View(), p, hashKey)
					if err != nil {
						rt.Fatalf("%v: %v", n, err)
					}
					kept += k
				}
			}
		}
		for range rapid.IntRange(10, 60).Draw(rt, "steps") {
			k := crdt.Key{Type: crdt.Set, Bucket: "b", Name: name.Draw(rt, "key")}
			p := w.ring.Partition(k.Bucket, k.Name)
			m := w.node(node.Draw(rt, "node"))
			id++
			switch rapid.IntRange(0, 14).Draw(rt, "what") {
			case 0, 1, 2, 3, 4:
				var changes []replica.Change
				for _, name := range rapid.SliceOfNDistinct(member, 1, 4, rapid.ID).Draw(rt, "members") {
					changes = append(changes, replica.Change{Member: name, Expires: rapid.SampledFrom([]int64{0, 0, w.clock().Wall + 300}).Draw(rt, "expires")})
				}
				w.mutation(m, id, replica.Mutation{Key: k, Verb: replica.Update, Changes: changes})
			case 5:
				w.mutation(m, id, replica.Mutation{Key: k, Verb: replica.Update, Changes: []replica.Change{{Member: member.Draw(rt, "member"), Remove: true}}})
			case 6:
				w.mutation(m, id, replica.Mutation{Key: k, Verb: replica.Delete})
			case 7:
				a := k.Member(member.Draw(rt, "member"))
				r, err := m.store.View().Row(p, a)
				if at := fmt.Sprint(p, a); err != nil || r.IsEmpty() || hurt[at] || m == w.node(2) {
					continue
				} else {
					hurt[at] = true
				}
				m.damage.row(p, a, "")
				lost++
			case 8:
				lossy = !lossy
			case 9, 10:
				w.rounds(int64(rapid.SampledFrom([]int{100, 1000, 6000}).Draw(rt, "ms")))
			case 11:
				if m != w.node(2) || len(hurt) > 0 {
					continue
				}
				m.store.Wipe()
				w.open(m, actor, set)
				actor++
				wiped++
			case 12: // what is filled is lost
				if !m.shard.Waiting() {
					w.mutation(m, id, replica.Mutation{Key: k, Verb: replica.Update, Changes: []replica.Change{{Member: member.Draw(rt, "member")}}})
				}
				if m.shard.Waiting() {
					w.fill(m).Abandon()
					w.open(m, actor, set)
					actor++
				}
			case 14: // a walk goes on while something waits for a commit
				w.mutation(m, id, replica.Mutation{Key: k, Verb: replica.Update, Changes: []replica.Change{{Member: member.Draw(rt, "member")}}})
				w.pass(m, 25)
			case 13:
				q := replica.Query{Key: k, Count: w.clock().Wall, Span: &replica.Span{Limit: 100}}
				w.ask(m, replica.Request{ID: 1 << 40, Deadline: w.clock().Mono + 1000*milli, Query: &q})
				w.run(lose)
				for _, r := range m.reply {
					res := r.Result
					if r.ID != 1<<40 || res.Merged == nil || !res.Merged.Counted {
						continue
					}
					n := len(slices.DeleteFunc(slices.Clone(res.Merged.Rows), func(f replica.Found) bool {
						m, _, _ := f.Row.Member()
						return m.Expired(q.Count)
					}))
					if uint64(n) != res.Merged.Count {
						rt.Fatalf("%v: %d members, %d are said", k, n, res.Merged.Count)
					}
					told++
				}
			}
			w.run(lose)
			for _, m := range w.nodes {
				m.reply = nil
			}
			check()
		}
		lossy = false
		for _, n := range w.first {
			for _, d := range slices.Clone(w.nodes[n].damage.records) {
				w.nodes[n].shard.Damaged(w.clock(), d)
			}
		}
		w.rounds(70_000)
		check()
		for _, n := range w.first {
			s := w.nodes[n].shard.Totals()
			installs, repaired = installs+int(s.Promoted), repaired+int(s.RepairedRows)
		}
	})
	t.Logf("%d summaries looked at, %d sizes told, %d stores wiped, %d snapshots, %d rows damaged, %d repaired", kept, told, wiped, installs, lost, repaired)
	if kept == 0 || told == 0 || wiped == 0 || installs == 0 || repaired == 0 {
		t.Error("something was never reached")
	}
}
