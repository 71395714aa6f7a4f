package replica_test

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica"
)

// What one step of a shard may cost at most, and one message may hold, when somebody
// asks for as much as is allowed.

// countingView counts how often a row is read.
type countingView struct {
	replica.View
	rows int
}

func (v *countingView) Row(p int, a crdt.Address) (crdt.Row, error) {
	v.rows++
	return v.View.Row(p, a)
}

func TestASetFieldThatIsRemovedOftenIsWalkedOnce(t *testing.T) {
	k := crdt.Key{Type: crdt.Map, Bucket: "b", Name: "k"}
	const members = 2000
	there := crdt.Group{Actor: 1, First: 1}
	for i := range members {
		there.Events = append(there.Events, crdt.Event{Row: k.At(crdt.Path{Name: "tags", Kind: crdt.SetField, Member: fmt.Sprint(i)}), Payload: crdt.Member{Stamp: 1}.Payload()})
	}
	p, here := replicaOf(t, there, crdt.Group{Actor: 2, First: 1, Events: []crdt.Event{{Row: k.At(crdt.Path{Name: "on", Kind: crdt.FlagField}), Payload: crdt.Member{Stamp: 1}.Payload()}}})
	var shown dvv.Clock
	shown.Add(dot(2, 1)) // and no member: there is nothing to remove, and no limit on events is met
	tags, member := field("tags", crdt.SetField, ""), field("tags", crdt.SetField, "7")
	m := replica.Mutation{Key: k, Verb: replica.Edit, Context: &shown}
	for range replica.MaxChanges - 2 {
		m.Changes = append(m.Changes, replica.Change{Member: tags, Remove: true})
	}
	m.Changes = append(m.Changes, replica.Change{Member: member}, replica.Change{Member: tags, Remove: true})
	q, _ := m.Observes()
	a, err := replica.Ask(here.View(), partition, q)
	if err != nil || len(a.Rows) != members {
		t.Fatalf("%d rows, %v", len(a.Rows), err)
	}
	seen, v := replica.Merge([]replica.Answer{a, a}), &countingView{View: here.View()}
	g, err := p.Mint(v, &m, &seen, dot(3, 1), 1, 1, 0)
	if err != nil || len(g.Events) != 2 || len(g.Events[1].Kills) != 1 || g.Events[1].Kills[0] != dot(3, 1) {
		t.Errorf("minted %v, %v; want an add, and its removal by the last change", g.Events, err)
	}
	if v.rows > 2*members+2*len(m.Changes) {
		t.Errorf("%d rows were read for a set of %d", v.rows, members)
	}
}

func TestManyRowsAreMergedWithoutJoiningTheClocksForEach(t *testing.T) {
	k := crdt.Key{Type: crdt.Map, Bucket: "b", Name: "k"}
	const counters, actors = 4000, 500
	g := crdt.Group{Actor: 1, First: 1}
	for i := range counters {
		g.Events = append(g.Events, crdt.Event{Row: k.At(crdt.Path{Name: fmt.Sprintf("%04d", i), Kind: crdt.CounterField}), Payload: crdt.Entry{P: crdt.TotalOf(1)}.Payload(), Delta: 1})
	}
	_, here := replicaOf(t, g)
	a, err := replica.Ask(here.View(), partition, replica.Query{Key: k, Every: true})
	if err != nil {
		t.Fatal(err)
	}
	for i := range actors {
		a.Clock.Add(dot(dvv.Actor(100+i), 1))
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	seen := replica.Merge([]replica.Answer{a, a, a})
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; len(seen.Rows) != counters || n > counters*2000 {
		t.Errorf("%d rows merged with %d bytes of memory", len(seen.Rows), n)
	}
}

func TestAPageOfOperationsIsAsLargeAsWhatItHolds(t *testing.T) {
	w := newRelay(t, nil)
	first, other := w.posts[0], w.posts[1]
	a, k := w.author(first), w.key(crdt.Map, 0)
	const updates = 20
	for range updates {
		m := &replica.Mutation{Key: k, Verb: replica.Edit, Op: w.op()}
		for i := range replica.MaxChanges {
			m.Changes = append(m.Changes, replica.Change{Member: field(fmt.Sprintf("%0100d", i), crdt.CounterField, ""), Delta: 1})
		}
		a.write(m)
	}
	a.trim(0)
	operations := 0
	w.heard = func(_ *post, s replica.Send) {
		p, ok := s.Message.(replica.CutPage)
		size := 0
		for i := range p.Operations {
			size += len(crdt.AppendRemembered(nil, &p.Operations[i]))
			operations++
		}
		if ok && size > 1<<20 {
			t.Errorf("a page of %d operations takes %d bytes", len(p.Operations), size)
		}
	}
	w.open(first, other)
	w.until("alike", 30*second, w.alike(first, other))
	w.wait(10 * second)
	w.truth(first, other)
	if operations < updates {
		t.Errorf("%d operations of %d were sent", operations, updates)
	}
}

func TestWhatExpiresAtOnceInManyPartitionsTakesSeveralCommits(t *testing.T) {
	const partitions, members = 32, 400
	w := newCrowdOf(t, 1, 1, partitions, func(c *replica.Config) { c.R, c.W = 1, 1 })
	m := w.node(0)
	filled := map[int]bool{}
	for i := uint64(0); len(filled) < partitions; i++ {
		k := crdt.Key{Type: crdt.Set, Bucket: "b", Name: fmt.Sprint(i)}
		p := w.ring.Partition(k.Bucket, k.Name)
		if filled[p] {
			continue
		}
		filled[p] = true
		add := replica.Mutation{Key: k, Verb: replica.Update}
		for n := range members {
			add.Changes = append(add.Changes, replica.Change{Member: fmt.Sprint(n), Expires: w.until(60_000)})
		}
		w.ask(m, replica.Request{ID: i, Deadline: w.clock().Mono + 5000*milli, Mutation: &add})
	}
	for m.shard.Waiting() {
		w.commit(m)
	}
	w.pass(m, 61_000)
	most, last := uint64(0), uint64(0)
	for range 100 {
		for m.shard.Waiting() {
			w.commit(m)
			most, last = max(most, m.shard.Stats.Expired-last), m.shard.Stats.Expired
		}
		w.pass(m, 100)
	}
	if last != partitions*members || most > 5000 {
		t.Errorf("%d of %d were removed, up to %d by one commit", last, partitions*members, most)
	}
}
