package replica_test

import (
	"fmt"
	"testing"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica"
	"github.com/cartwheel-db/cartwheel/replica/replicatest"
)

// A removed counter leaves a reset behind, for ever. Removing it once more must not
// write one more, and a map must not become too large by what is no longer in it.

func replicaOf(t *testing.T, groups ...crdt.Group) (*replica.Partition, *replicatest.MemStore) {
	t.Helper()
	store := replicatest.NewMemStore()
	p, err := replica.Load(store.View(), partition)
	if err != nil {
		t.Fatal(err)
	}
	tx := store.Begin()
	for i := range groups {
		if _, _, err := p.Apply(tx, &groups[i], 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Save(tx); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	return p, store
}

func TestACounterThatIsGoneIsRemovedAgainOnlyWhereAReplicaHasNotHeard(t *testing.T) {
	basket := crdt.Key{Type: crdt.Map, Bucket: "b", Name: "k"}
	apples := crdt.Path{Name: "apples", Kind: crdt.CounterField}
	added := crdt.Group{Actor: 1, First: 1, Events: []crdt.Event{{Row: basket.At(apples), Payload: crdt.Entry{P: crdt.TotalOf(2)}.Payload(), Delta: 2}}}
	reset := crdt.Group{Actor: 2, First: 1, Events: []crdt.Event{{Row: basket.At(apples), Kills: []dvv.Dot{{Actor: 1, Seq: 1}},
		Payload: crdt.Reset{{Actor: 1, Seq: 1, Entry: crdt.Entry{P: crdt.TotalOf(2)}}}.Payload()}}}
	update := replica.Mutation{Key: basket, Verb: replica.Edit, Changes: []replica.Change{{Member: apples.Encode(), Remove: true}}}
	for _, c := range []struct {
		name   string
		others []crdt.Group // what the second replica that is read has
		events int
	}{
		{"both have heard of its removal", []crdt.Group{added, reset}, 0},
		{"one has not: the removal may be lost with the other", []crdt.Group{added}, 1},
		{"one has nothing of it", nil, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, here := replicaOf(t, added, reset)
			_, there := replicaOf(t, c.others...)
			for _, m := range []replica.Mutation{update, {Key: basket, Verb: replica.Delete}} {
				q, _ := m.Observes()
				var answers []replica.Answer
				for _, s := range []*replicatest.MemStore{here, there} {
					a, err := replica.Ask(s.View(), partition, q)
					if err != nil {
						t.Fatal(err)
					}
					answers = append(answers, a)
				}
				seen := replica.Merge(answers)
				g, err := p.Mint(here.View(), &m, &seen, dvv.Dot{Actor: 3, Seq: 1}, 1, 1, 0)
				if err != nil || len(g.Events) != c.events {
					t.Errorf("%v minted %v, %v; want %d events", &m, g.Events, err, c.events)
				}
			}
		})
	}
}

func TestAMapIsDeletedWhateverOnceWasInIt(t *testing.T) {
	basket := crdt.Key{Type: crdt.Map, Bucket: "b", Name: "k"}
	var groups []crdt.Group
	for i := range replica.MaxRows + 10 {
		row := basket.At(crdt.Path{Name: fmt.Sprintf("line%05d", i), Kind: crdt.CounterField})
		groups = append(groups, crdt.Group{Actor: 1, First: uint64(i + 1), Events: []crdt.Event{{Row: row, Payload: crdt.Reset{}.Payload()}}})
	}
	groups = append(groups, crdt.Group{Actor: 2, First: 1, Events: []crdt.Event{{
		Row: basket.At(crdt.Path{Name: "z", Kind: crdt.CounterField}), Payload: crdt.Entry{P: crdt.TotalOf(2)}.Payload(), Delta: 2}}})
	p, store := replicaOf(t, groups...)
	m := replica.Mutation{Key: basket, Verb: replica.Delete}
	q, _ := m.Observes()
	a, err := replica.Ask(store.View(), partition, q)
	if err != nil {
		t.Fatal(err)
	}
	seen := replica.Merge([]replica.Answer{a})
	g, err := p.Mint(store.View(), &m, &seen, dvv.Dot{Actor: 3, Seq: 1}, 1, 1, 0)
	if err != nil || seen.More || len(g.Events) != 1 {
		t.Errorf("minted %d events, %v, more %t; want the reset of the one counter that is there", len(g.Events), err, seen.More)
	}
}
