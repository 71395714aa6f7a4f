package replica_test

import (
	"fmt"
	"testing"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica"
	"github.com/cartwheel-db/cartwheel/replica/merkle"
	"github.com/cartwheel-db/cartwheel/replica/replicatest"
	"github.com/cartwheel-db/cartwheel/ring"
	"github.com/cartwheel-db/cartwheel/server/peer"
)

// grove is some nodes that own all partitions, on one goroutine and in virtual
// time: messages arrive at once and in order, commits are instant, and whatever
// is sent is counted by kind and in bytes on the wire.
type grove struct {
	t     *testing.T
	now   int64
	ring  *ring.Ring
	nodes []*tree
	set   func(*replica.Config)

	lose  func(from, to int, m replica.Message) bool
	sent  map[string]int // by kind
	bytes map[string]int
}

type tree struct {
	at    int
	id    ring.NodeID
	shard *replica.Shard
	store *replicatest.MemStore
	read  func(replica.View) replica.View
	write func(*replicatest.MemTx) replica.Tx
	seq   uint64
	inbox []envelope
}

type envelope struct {
	from    int
	message replica.Message
}

const second = 1000 * milli

func newGrove(t *testing.T, nodes, partitions int, set func(*replica.Config)) *grove {
	t.Helper()
	g := &grove{t: t, set: set, sent: map[string]int{}, bytes: map[string]int{}}
	var facts ring.Facts
	for i := range nodes {
		id := ring.NodeID(fmt.Sprintf("n%d", i))
		if _, err := facts.Add(ring.Fact{Number: uint64(i + 1), Kind: ring.Joined, Node: id, PeerAddr: string(id) + ":1", APIAddr: string(id) + ":2"}); err != nil {
			t.Fatal(err)
		}
		g.nodes = append(g.nodes, &tree{at: i, id: id, store: replicatest.NewMemStore()})
	}
	var err error
	if g.ring, err = ring.Fold(ring.Config{Partitions: partitions, Replicas: nodes}, facts); err != nil {
		t.Fatal(err)
	}
	for _, n := range g.nodes {
		g.open(n)
	}
	return g
}

// open starts a node on what its store holds: nothing is in memory.
func (g *grove) open(n *tree) {
	g.t.Helper()
	n.inbox, n.seq = nil, n.seq+1
	view := func() replica.View {
		if n.read != nil {
			return n.read(n.store.View())
		}
		return n.store.View()
	}
	actors := dvv.Actor(1000*(n.at+1)) + dvv.Actor(n.seq)*100
	cfg := replica.Config{
		Self: n.id, Leaves: 64, TreeKey: hashKey, VerifyEvery: 64 * second, LogCap: 1 << 40, TrimEvery: 1 << 50,
		NewActor: func() dvv.Actor { actors++; return actors },
		Read:     func(fn func(replica.View) error) error { return fn(view()) },
		Hold:     func() (replica.View, func() error, error) { return view(), func() error { return nil }, nil },
	}
	if g.set != nil {
		g.set(&cfg)
	}
	var err error
	if n.shard, err = replica.New(cfg, actors, g.ring, g.clock()); err != nil {
		g.t.Fatal(err)
	}
	for _, o := range g.nodes {
		n.shard.SetPeer(g.clock(), o.id, true)
		n.shard.SetLink(g.clock(), o.id, true)
	}
	g.settle()
}

func (g *grove) clock() replica.Now {
	return replica.Now{Mono: 1 + g.now, Wall: 1_750_000_000_000 + g.now/milli}
}

// settle delivers and commits until nothing is left to do now.
func (g *grove) settle() {
	for busy := true; busy; {
		busy = false
		for _, n := range g.nodes {
			if n.shard == nil {
				continue
			}
			for len(n.inbox) > 0 {
				e := n.inbox[0]
				n.inbox = n.inbox[1:]
				n.shard.Receive(g.clock(), g.nodes[e.from].id, e.message)
				g.take(n)
				busy = true
			}
			for n.shard.Waiting() {
				g.commit(n)
				busy = true
			}
			g.take(n)
			busy = busy || len(n.inbox) > 0
		}
	}
}

func (g *grove) commit(n *tree) {
	g.t.Helper()
	tx := n.store.Begin()
	var into replica.Tx = tx
	if n.write != nil {
		into = n.write(tx)
	}
	if err := n.shard.Fill(g.clock(), into); err != nil {
		g.t.Fatal(err)
	}
	g.take(n)
	if err := tx.Commit(); err != nil {
		g.t.Fatal(err)
	}
	n.shard.Committed(g.clock(), nil)
	g.take(n)
}

func (g *grove) take(n *tree) {
	for _, o := range n.shard.Outputs() {
		s, ok := o.(replica.Send)
		if !ok {
			continue
		}
		for _, to := range g.nodes {
			if to.id != s.To || to.shard == nil || g.lose != nil && g.lose(n.at, to.at, s.Message) {
				continue
			}
			kind := fmt.Sprintf("%T", s.Message)[len("replica."):]
			g.sent[kind]++
			g.bytes[kind] += len(peer.Append(nil, s.Message))
			to.inbox = append(to.inbox, envelope{n.at, s.Message})
		}
	}
}

// pass lets time go by, from one timer to the next.
func (g *grove) pass(d int64) {
	for until := g.now + d; g.now < until; {
		next := until
		for _, n := range g.nodes {
			if n.shard != nil {
				next = min(next, n.shard.NextTick()-1)
			}
		}
		g.now = min(until, max(g.now+1, next))
		for _, n := range g.nodes {
			if n.shard != nil {
				n.shard.Tick(g.clock())
				g.take(n)
			}
		}
		g.settle()
	}
}

// until lets time go by until something holds, for a while at most.
func (g *grove) until(what string, most int64, holds func() bool) {
	g.t.Helper()
	for end := g.now + most; !holds(); g.pass(10 * milli) {
		if g.now >= end {
			g.t.Fatalf("after %d ms: not %s", most/milli, what)
		}
	}
}

// key names the i-th of some keys that lie in a partition.
func (g *grove) key(partition, i int) crdt.Key {
	for n := 0; ; n++ {
		k := crdt.Key{Type: crdt.Set, Bucket: "b", Name: fmt.Sprintf("k%d", n)}
		if g.ring.Partition(k.Bucket, k.Name) == partition {
			if i--; i < 0 {
				return k
			}
		}
	}
}

// adding is the event that adds a member, minted elsewhere.
func (g *grove) adding(partition int, d dvv.Dot, member string) replica.Message {
	return replica.Replicate{Batch: []replica.Shipment{{Partition: partition, Groups: []crdt.Group{{
		Actor: d.Actor, First: d.Seq, Stamp: 1, Events: []crdt.Event{{Row: g.key(partition, 0).Member(member), Payload: crdt.Member{Stamp: 1}.Payload()}},
	}}}}}
}

// many is that many members, "000000" and so on, in one group.
func (g *grove) many(partition int, by dvv.Actor, n int) replica.Message {
	all := crdt.Group{Actor: by, First: 1, Stamp: 1}
	k := g.key(partition, 0)
	for i := range n {
		all.Events = append(all.Events, crdt.Event{Row: k.Member(fmt.Sprintf("%06d", i)), Payload: crdt.Member{Stamp: 1}.Payload()})
	}
	return replica.Replicate{Batch: []replica.Shipment{{Partition: partition, Groups: []crdt.Group{all}}}}
}

// hear gives an event to some nodes.
func (g *grove) hear(m replica.Message, nodes ...int) {
	for _, n := range nodes {
		g.nodes[n].inbox = append(g.nodes[n].inbox, envelope{n, m})
	}
	g.settle()
}

// slowly gives an event to a node whose disk takes its time for it.
func (g *grove) slowly(n *tree, m replica.Message) {
	g.t.Helper()
	n.shard.Receive(g.clock(), "n9", m)
	tx := n.store.Begin()
	if err := n.shard.Fill(g.clock(), tx); err != nil {
		g.t.Fatal(err)
	}
	for range 30 {
		g.now += milli
		n.shard.Tick(g.clock())
	}
	if err := tx.Commit(); err != nil {
		g.t.Fatal(err)
	}
	n.shard.Committed(g.clock(), nil)
	g.take(n)
}

// spill writes a row behind the shard's back, which then opens anew.
func (g *grove) spill(n int, partition int, a crdt.Address, change func(crdt.Row) crdt.Row) {
	g.t.Helper()
	tx := g.nodes[n].store.Begin()
	before, err := tx.Row(partition, a)
	if err == nil {
		err = tx.PutRow(partition, a, before, change(before.Clone()))
	}
	if err == nil {
		err = tx.Commit()
	}
	if err != nil {
		g.t.Fatal(err)
	}
	g.open(g.nodes[n])
}

func (g *grove) stats(n int) replica.Stats { return g.nodes[n].shard.Totals() }

// same tells whether all nodes hold the same rows under the same clocks, and know
// trees that say so.
func (g *grove) same(partition int) bool {
	first, err := replicatest.Dump(g.nodes[0].store.View(), partition)
	if err != nil {
		g.t.Fatal(err)
	}
	for _, n := range g.nodes {
		d, err := replicatest.Dump(n.store.View(), partition)
		if err != nil {
			g.t.Fatal(err)
		}
		if string(d) != string(first) {
			return false
		}
	}
	return true
}

// summed fails the test unless a node's tree is the sum of its rows.
func (g *grove) summed(n, partition int) {
	g.t.Helper()
	leaves := 64
	want, err := replica.Tree(g.nodes[n].store.View(), partition, hashKey, leaves)
	if err != nil {
		g.t.Fatal(err)
	}
	got, known := g.nodes[n].shard.Root(partition)
	if !known || got != want.Root() {
		g.t.Errorf("partition %d of n%d: root %v, known %t; its rows sum up to %v", partition, n, got, known, want.Root())
	}
}

// badStep is of a level that no small tree has.
func badStep(level int) merkle.Step {
	return merkle.Step{Level: level, Indices: []int{0}, Sums: []merkle.Sum{{}}}
}
