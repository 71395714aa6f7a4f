package replica_test

import (
	"errors"
	"fmt"
	"runtime"
	"testing"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica"
	"github.com/cartwheel-db/cartwheel/replica/replicatest"
)

// One interval of a dozen bytes names tens of thousands of dots, and a batch
// would repeat them for each member.
func TestABatchUnderAWideContextIsRefusedBeforeItGrowsBeyondAGroup(t *testing.T) {
	s := play(t, byLog, scenario{kind: crdt.Set})
	a := s.actor("A")
	for _, test := range []struct {
		changes int
		unseen  uint64
		refused bool
	}{{1, crdt.MaxKills / 2, false}, {1, crdt.MaxKills/2 + 1, true}, {100, 600, false}, {replica.MaxChanges, 60, false}, {replica.MaxChanges, 30_000, true}} {
		t.Run(fmt.Sprintf("%d changes, %d unseen dots", test.changes, test.unseen), func(t *testing.T) {
			m := &replica.Mutation{Key: cart, Verb: replica.Update, Context: &dvv.Clock{}}
			m.Context.AddRange(99, 1, test.unseen)
			for i := range test.changes {
				m.Changes = append(m.Changes, replica.Change{Member: fmt.Sprint(i), Remove: true})
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			g, err := a.p.Mint(a.store.View(), m, nil, dvv.Dot{Actor: a.id, Seq: 1}, 1, 1, 0)
			runtime.ReadMemStats(&after)
			if errors.Is(err, replica.ErrContextTooWide) != test.refused || !test.refused && err != nil {
				t.Fatalf("error %v, refused %t", err, test.refused)
			}
			if grown := after.TotalAlloc - before.TotalAlloc; grown > 16<<20 {
				t.Errorf("minting took %d bytes", grown)
			}
			if test.refused {
				return
			}
			if _, err := crdt.DecodeGroup(crdt.AppendGroup(nil, &g)); err != nil {
				t.Errorf("minted a group that no peer takes: %v", err)
			}
		})
	}
}

func TestAMemberAskedForTwiceIsAnsweredOnce(t *testing.T) {
	s := play(t, byLog, scenario{kind: crdt.Set, steps: "A add x; A add y; A -> B"})
	for _, names := range [][]string{{"A"}, {"A", "B"}} {
		m := s.read(names, replica.Query{Key: cart, Fields: []string{"y", "x", "y"}})
		if len(m.Rows) != 2 || m.Rows[0].Field != "x" || m.Rows[1].Field != "y" {
			t.Errorf("%v answered %v", names, m.Rows)
		}
	}
}

func TestMutationsThatMakeNoSenseAreRefused(t *testing.T) {
	for _, test := range []struct {
		name string
		m    replica.Mutation
	}{
		{"an increment of a set", replica.Mutation{Key: cart, Verb: replica.Add, Delta: 1}},
		{"the delete of a counter", replica.Mutation{Key: hits, Verb: replica.Delete}},
		{"no verb", replica.Mutation{Key: cart}},
		{"an update without changes", replica.Mutation{Key: cart, Verb: replica.Update}},
		{"too many changes", replica.Mutation{Key: cart, Verb: replica.Update, Changes: make([]replica.Change, replica.MaxChanges+1)}},
		{"a member without a name", replica.Mutation{Key: cart, Verb: replica.Update, Changes: make([]replica.Change, 1)}},
		{"an expiry before all time", replica.Mutation{Key: cart, Verb: replica.Update, Changes: []replica.Change{{Member: "x", Expires: -1}}}},
		{"a value over its limit", replica.Mutation{Key: doc, Verb: replica.Put, Value: make([]byte, crdt.MaxValue+1)}},
		{"a key without a name", replica.Mutation{Key: crdt.Key{Type: crdt.Set, Bucket: "b"}, Verb: replica.Delete}},
		{"a key of no type", replica.Mutation{Key: crdt.Key{Bucket: "b", Name: "n"}, Verb: replica.Delete}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := test.m.Check(); err == nil {
				t.Error("accepted")
			}
		})
	}
}

// A member that the merged read shows as absent may still be live in one of the
// answers: whoever removed it may have told only the other replica so far. The
// remove kills it once more instead of resting on that.
func TestARemoveKillsWhatAnyAnswerStillHadLive(t *testing.T) {
	add := crdt.Live{Dot: dvv.Dot{Actor: 1, Seq: 1}, Payload: crdt.Member{}.Payload()}
	stale := replica.Answer{Clock: dvv.ClockOf(add.Dot), Rows: []replica.Found{{Field: "milk", Row: crdt.Row{Live: []crdt.Live{add}}}}}
	knows := replica.Answer{Clock: dvv.ClockOf(add.Dot, dvv.Dot{Actor: 2, Seq: 1})}
	m := replica.Merge([]replica.Answer{stale, knows})
	if row := m.Row("milk"); len(row.Live) != 0 {
		t.Fatalf("the merged read shows %v", row)
	}
	if got := m.Doomed("milk"); len(got) != 1 || got[0] != add.Dot {
		t.Errorf("the remove kills %v, want %v", got, add.Dot)
	}
	if got := m.Doomed("eggs"); len(got) != 0 {
		t.Errorf("a remove of what nobody has kills %v", got)
	}
}

// The same for a delete of the whole key: what it finds nothing of may be live.
func TestADeleteKillsWhatAnyAnswerStillHadLive(t *testing.T) {
	add, remove := dvv.Dot{Actor: 1, Seq: 1}, dvv.Dot{Actor: 2, Seq: 1}
	stale := replica.Answer{Clock: dvv.ClockOf(add), Rows: []replica.Found{{Field: "milk", Row: crdt.Row{Live: []crdt.Live{{Dot: add, Payload: crdt.Member{}.Payload()}}}}}}
	knows := replica.Answer{Clock: dvv.ClockOf(add, remove)}
	for _, tc := range []struct {
		name    string
		answers []replica.Answer
		kills   bool
	}{
		{"one answer has it", []replica.Answer{stale, knows}, true},
		{"nobody has anything", []replica.Answer{knows, {}}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			store := replicatest.NewMemStore()
			p, err := replica.Load(store.View(), partition)
			if err != nil {
				t.Fatal(err)
			}
			seen := replica.Merge(tc.answers)
			if !seen.IsEmpty() {
				t.Fatalf("the merged read shows %v", seen.Rows)
			}
			g, err := p.Mint(store.View(), &replica.Mutation{Key: cart, Verb: replica.Delete}, &seen, dvv.Dot{Actor: 3, Seq: 1}, 1, 2, 0)
			if err != nil || (len(g.Events) == 1 && g.Events[0].Clear.Contains(add)) != tc.kills {
				t.Errorf("minted %v (%v), want a kill of %v: %t", g.Events, err, add, tc.kills)
			}
		})
	}
}
