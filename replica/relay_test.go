package replica_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica"
	"github.com/cartwheel-db/cartwheel/replica/replicatest"
	"github.com/cartwheel-db/cartwheel/ring"
)

// relay is three nodes of a ring, the first two of which own [partition]. Their
// stores are filled before they open, and what then passes between them may be
// watched, lost and repeated.
type relay struct {
	t      *testing.T
	now    int64
	ring   *ring.Ring
	posts  []*post
	set    func(*replica.Config)
	minted map[dvv.Dot]*crdt.Group
	actors dvv.Actor
	issued uint64

	pass  func(from, to *post, m replica.Message) int // how many copies arrive; nil for one
	dooms func(n *post) doom                          // what happens to the next commit; nil for nothing
	heard func(n *post, s replica.Send)               // what is sent; may be nil
	done  func(n *post)                               // after a commit; may be nil
	sent  map[string]int
}

type doom int

const (
	survives doom = iota
	crashesBefore
	crashesAfter
)

// post is a node of a relay.
type post struct {
	id      ring.NodeID
	store   *replicatest.MemStore
	shard   *replica.Shard // nil while it is down
	inbox   []letter
	views   int // cuts that it holds open
	commits int
	written int // bytes of rows put by the last commit
	broken  func(replica.View) replica.View
	watch   func(replica.Tx) replica.Tx
}

type letter struct {
	from    *post
	message replica.Message
}

// newRelay has nodes whose stores are empty and which are not open yet.
func newRelay(t *testing.T, set func(*replica.Config)) *relay {
	t.Helper()
	var facts ring.Facts
	ids := []ring.NodeID{"n1", "n2", "n3"}
	for i, id := range ids {
		if _, err := facts.Add(ring.Fact{Number: uint64(i + 1), Kind: ring.Joined, Node: id, PeerAddr: string(id) + ":1", APIAddr: string(id) + ":2"}); err != nil {
			t.Fatal(err)
		}
	}
	r, err := ring.Fold(ring.Config{Partitions: 8, Replicas: 2}, facts)
	if err != nil {
		t.Fatal(err)
	}
	w := &relay{t: t, ring: r, set: set, minted: map[dvv.Dot]*crdt.Group{}, actors: 1 << 50, sent: map[string]int{}}
	for _, id := range r.Walk(partition) {
		w.posts = append(w.posts, &post{id: id, store: replicatest.NewMemStore()})
	}
	return w
}

func (w *relay) newActor() dvv.Actor { w.actors++; return w.actors }

func (w *relay) clock() replica.Now {
	return replica.Now{Mono: 1 + w.now, Wall: 1_750_000_000_000 + w.now/milli}
}

func (w *relay) open(nodes ...*post) {
	w.t.Helper()
	for _, n := range nodes {
		view := func() replica.View {
			if n.broken != nil {
				return n.broken(n.store.View())
			}
			return n.store.View()
		}
		n.inbox, n.views = nil, 0
		cfg := replica.Config{
			Self: n.id, NoBarrier: true, NewActor: w.newActor, TreeKey: hashKey, Leaves: 16, Without: replica.Trees, TrimEvery: 1 << 50,
			Read: func(fn func(replica.View) error) error { return fn(view()) },
			Hold: func() (replica.View, func() error, error) {
				n.views++
				return view(), func() error { n.views--; return nil }, nil
			},
		}
		if w.set != nil {
			w.set(&cfg)
		}
		var err error
		if n.shard, err = replica.New(cfg, w.newActor(), w.ring, w.clock()); err != nil {
			w.t.Fatal(err)
		}
	}
	for _, n := range w.posts {
		for _, o := range w.posts {
			if n.shard != nil {
				n.shard.SetPeer(w.clock(), o.id, true)
				n.shard.SetLink(w.clock(), o.id, true)
			}
		}
	}
}

// crash loses what is in memory, and what is on its way to the node.
func (w *relay) crash(n *post) { n.shard, n.inbox, n.views = nil, nil, 0 }

func (w *relay) take(n *post) {
	if n.shard == nil {
		return
	}
	for _, o := range n.shard.Outputs() {
		s, ok := o.(replica.Send)
		if !ok {
			continue
		}
		if w.heard != nil {
			w.heard(n, s)
		}
		i := slices.IndexFunc(w.posts, func(p *post) bool { return p.id == s.To })
		if i < 0 {
			continue // a stranger, whom a test speaks for
		}
		copies := 1
		if w.pass != nil {
			copies = w.pass(n, w.posts[i], s.Message)
		}
		w.sent[fmt.Sprintf("%T", s.Message)[len("replica."):]]++
		for range copies {
			w.posts[i].inbox = append(w.posts[i].inbox, letter{n, s.Message})
		}
	}
}

func (w *relay) give(from, to *post, m replica.Message) {
	to.shard.Receive(w.clock(), from.id, m)
	w.take(to)
}

// settle delivers and commits until nothing is left to do now.
func (w *relay) settle() {
	w.t.Helper()
	for busy := true; busy; {
		busy = false
		for _, n := range w.posts {
			w.take(n)
			for n.shard != nil && len(n.inbox) > 0 {
				l := n.inbox[0]
				n.inbox, busy = n.inbox[1:], true
				w.give(l.from, n, l.message)
			}
			if n.shard != nil && n.shard.Waiting() {
				busy = true
				w.commit(n)
			}
			if n.shard == nil {
				n.inbox = nil
			}
		}
	}
}

// weighing counts the bytes of rows that a transaction puts.
type weighing struct {
	replica.Tx
	n *post
}

func (t weighing) PutRow(p int, a crdt.Address, before, after crdt.Row) error {
	t.n.written += len(crdt.AppendRow(a.AppendBinary(nil), after))
	return t.Tx.PutRow(p, a, before, after)
}

func (w *relay) commit(n *post) {
	w.t.Helper()
	tx := n.store.Begin()
	n.written = 0
	var through replica.Tx = weighing{tx, n}
	if n.watch != nil {
		through = n.watch(through)
	}
	if err := n.shard.Fill(w.clock(), through); err != nil {
		w.t.Fatal(err)
	}
	w.take(n)
	n.commits++
	doomed := survives
	if w.dooms != nil {
		doomed = w.dooms(n)
	}
	if doomed == crashesBefore {
		tx.Abandon()
	} else if err := tx.Commit(); err != nil {
		w.t.Fatal(err)
	}
	if doomed != survives {
		w.crash(n)
		return
	}
	n.shard.Committed(w.clock(), nil)
	w.take(n)
	if w.done != nil {
		w.done(n)
	}
}

// wait lets time go by, from one timer to the next.
func (w *relay) wait(d int64) {
	w.t.Helper()
	w.settle()
	for until := w.now + d; w.now < until; {
		next := until
		for _, n := range w.posts {
			if n.shard != nil {
				next = min(next, n.shard.NextTick()-1)
			}
		}
		w.now = min(until, max(w.now+1, next))
		for _, n := range w.posts {
			if n.shard != nil {
				n.shard.Tick(w.clock())
			}
		}
		w.settle()
	}
}

// until lets time go by until something holds, for a while at most.
func (w *relay) until(what string, most int64, holds func() bool) {
	w.t.Helper()
	for end := w.now + most; !holds(); w.wait(10 * milli) {
		if w.now >= end {
			for _, n := range w.posts {
				w.t.Logf("%s: %s", n.id, n.store.DumpText(partition))
			}
			w.t.Fatalf("after %d ms: not %s (sent %v)", most/milli, what, w.sent)
		}
	}
}

// alike tells whether nodes store the same, and nothing is on its way.
func (w *relay) alike(nodes ...*post) func() bool {
	return func() bool {
		for _, n := range nodes {
			if n.shard == nil || n.shard.Waiting() || len(n.inbox) > 0 || !bytes.Equal(n.store.Dump(partition), nodes[0].store.Dump(partition)) {
				return false
			}
		}
		return true
	}
}

// wrong holds nodes against the oracle.
func (w *relay) wrong(nodes ...*post) error {
	for _, n := range nodes {
		v := n.store.View()
		c, _, err := v.Clock(partition)
		if err := errors.Join(err, truth(w.minted, c).compare(v)); err != nil {
			return fmt.Errorf("%s against the oracle: %w\n%s", n.id, err, n.store.DumpText(partition))
		}
	}
	return nil
}

// truth holds nodes against the oracle, and against what an install may leave.
func (w *relay) truth(nodes ...*post) {
	w.t.Helper()
	if err := w.wrong(nodes...); err != nil {
		w.t.Error(err)
	}
	for _, n := range nodes {
		v := n.store.View()
		staged := 0
		err := v.AllStaged(partition, nil, func(_, _ []byte) bool { staged++; return true })
		_, promoting, err2 := v.Mark(partition)
		if err := errors.Join(err, err2); err != nil || staged > 0 || promoting {
			w.t.Errorf("%s: %d records staged, promoting %t, %v", n.id, staged, promoting, err)
		}
		if n.views != 0 {
			w.t.Errorf("%s holds %d views open", n.id, n.views)
		}
	}
}

// key names the i-th key of a type that lies in the partition.
func (w *relay) key(t crdt.Type, i int) crdt.Key {
	for n := 0; ; n++ {
		k := crdt.Key{Type: t, Bucket: "b", Name: fmt.Sprintf("k%d", n)}
		if w.ring.Partition(k.Bucket, k.Name) == partition {
			if i--; i < 0 {
				return k
			}
		}
	}
}

// author mints under an actor of its own, straight into a store.
type author struct {
	w     *relay
	n     *post
	p     *replica.Partition
	actor dvv.Actor
	seq   uint64
}

func (w *relay) author(n *post) *author {
	w.t.Helper()
	p, err := replica.Load(n.store.View(), partition)
	if err != nil {
		w.t.Fatal(err)
	}
	return &author{w: w, n: n, p: p, actor: w.newActor()}
}

// write mints mutations, one group each, and returns the groups.
func (a *author) write(ms ...*replica.Mutation) (out []crdt.Group) {
	w := a.w
	w.t.Helper()
	tx := a.n.store.Begin()
	for _, m := range ms {
		var seen *replica.Merged
		if q, ok := m.Observes(); ok {
			answer, err := replica.Ask(tx, partition, q)
			if err != nil {
				w.t.Fatal(err)
			}
			merged := replica.Merge([]replica.Answer{answer})
			seen = &merged
		}
		g, err := a.p.Mint(tx, m, seen, dvv.Dot{Actor: a.actor, Seq: a.seq + 1}, crdt.StampAt(w.clock().Wall), crdt.StampAt(w.clock().Wall+1000), w.clock().Wall)
		if err != nil || len(g.Events) == 0 {
			w.t.Fatalf("%v minted %d events: %v", m, len(g.Events), err)
		}
		a.seq += uint64(len(g.Events))
		if _, _, err := a.p.Apply(tx, &g, w.clock().Wall); err != nil {
			w.t.Fatal(err)
		}
		kept := g
		w.minted[g.Dot(0)] = &kept
		out = append(out, g)
	}
	if err := errors.Join(a.p.Save(tx), tx.Commit()); err != nil {
		w.t.Fatal(err)
	}
	return out
}

// take applies groups that another author minted.
func (a *author) take(groups ...crdt.Group) {
	tx := a.n.store.Begin()
	for i := range groups {
		if _, _, err := a.p.Apply(tx, &groups[i], a.w.clock().Wall); err != nil {
			a.w.t.Fatal(err)
		}
	}
	if err := errors.Join(a.p.Save(tx), tx.Commit()); err != nil {
		a.w.t.Fatal(err)
	}
}

// trim empties the log, but for the last groups.
func (a *author) trim(keep int) {
	tx := a.n.store.Begin()
	var all []crdt.Group
	err := tx.Log(partition, a.p.Clock(), func(g crdt.Group, _ int) bool { all = append(all, g); return true })
	for i := range all[:max(0, len(all)-keep)] {
		err = errors.Join(err, tx.DeleteGroup(partition, &all[i]))
	}
	if err := errors.Join(err, tx.Commit()); err != nil {
		a.w.t.Fatal(err)
	}
}

// drop removes single groups from the log.
func (a *author) drop(groups ...crdt.Group) {
	tx := a.n.store.Begin()
	for i := range groups {
		if err := tx.DeleteGroup(partition, &groups[i]); err != nil {
			a.w.t.Fatal(err)
		}
	}
	if err := tx.Commit(); err != nil {
		a.w.t.Fatal(err)
	}
}

func (w *relay) op() crdt.Operation {
	w.issued++
	return crdt.Operation{Client: [16]byte{7}, Seq: w.issued, Issued: w.clock().Wall}
}

func (w *relay) add(k crdt.Key, members ...string) *replica.Mutation {
	m := &replica.Mutation{Key: k, Verb: replica.Update, Op: w.op()}
	for _, name := range members {
		m.Changes = append(m.Changes, replica.Change{Member: name})
	}
	return m
}

func (w *relay) remove(k crdt.Key, members ...string) *replica.Mutation {
	m := w.add(k, members...)
	for i := range m.Changes {
		m.Changes[i].Remove = true
	}
	return m
}

func (w *relay) wipe(k crdt.Key) *replica.Mutation {
	return &replica.Mutation{Key: k, Verb: replica.Delete, Op: w.op()}
}

func (w *relay) count(k crdt.Key, delta int64) *replica.Mutation {
	return &replica.Mutation{Key: k, Verb: replica.Add, Delta: delta, Op: w.op()}
}

func (n *post) clockOf() dvv.Clock {
	c, _, _ := n.store.View().Clock(partition)
	return c
}

func mustDump(t *testing.T, v replica.View) []byte {
	t.Helper()
	b, err := replicatest.Dump(v, partition)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
