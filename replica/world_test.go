package replica_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica"
	"github.com/cartwheel-db/cartwheel/replica/merkle"
	"github.com/cartwheel-db/cartwheel/replica/replicatest"
)

const (
	partition = 7
	leaves    = 8 // few, so that rows share them
	window    = 16
)

var (
	hashKey = merkle.NewKey([]byte("model"))
	cart    = crdt.Key{Type: crdt.Set, Bucket: "carts", Name: "42"}
	wishes  = crdt.Key{Type: crdt.Set, Bucket: "carts", Name: "wishes"}
	doc     = crdt.Key{Type: crdt.Blob, Bucket: "docs", Name: "d"}
	last    = crdt.Key{Type: crdt.Register, Bucket: "last", Name: "l"}
	hits    = crdt.Key{Type: crdt.Counter, Bucket: "hits", Name: "h"}
	basket  = crdt.Key{Type: crdt.Map, Bucket: "carts", Name: "42"}
	members = map[crdt.Key][]string{cart: {"x", "y", "z"}, wishes: {"x", "w"}}
)

// rules are what a world breaks on purpose; the zero value breaks nothing.
type rules struct {
	earlyLeaf  bool   // leaves are compared before the source's log was applied
	sourceOnly bool   // only rows that the source has are joined
	noHold     bool   // events of the cut are applied while it is staged
	noDefer    bool   // dots killed before they arrived are not remembered
	rowLeaf    bool   // deferred clears are not compared
	counter    string // "naive" or "naiveclamp": totals restart after a reset
}

// setting is the kind of life a world leads.
type setting struct {
	rules
	// forget is how long operations are remembered: "" for ever, "time" until the
	// window is over, "heard" until in addition their dots are stable and every
	// node has shown a later clock. With it, nodes go down and come back, and a
	// disk is only lost when another node has all it held.
	forget   string
	counters bool // increments, resets and their retries only
	resets   bool
	once     bool // nothing is retried
	maps     bool // maps only
	storm    bool // one set, logs that are always too short, snapshots all the time
}

// node is one replica: what is committed, and what a crash falls back to.
type node struct {
	name    string
	owner   bool
	down    bool
	actor   dvv.Actor
	seq     uint64
	store   *replicatest.MemStore
	durable *replicatest.MemStore
	p       *replica.Partition
	install *install
	heard   map[*node]int64 // when a clock that this node covers by now was taken
}

// install is a snapshot under way: rows of the source's view that are still to
// be staged.
type install struct {
	*replica.Install
	from   *node // nil after a crash
	view   replica.View
	rows   []crdt.Address
	pieces bool // it is being promoted in pieces: nothing else may happen to the node
}

func (n *node) inPieces() bool { return n.install != nil && n.install.pieces }

type packet struct {
	to *node
	g  *crdt.Group
}

// shown is a context a client holds.
type shown struct {
	key    crdt.Key
	dots   dvv.Clock
	resets []replica.Change // of a map: the removal of each counter that it shows
}

// tally counts what a run did beside [replica.Counts].
type tally struct {
	Events, Snapshots, ShortLogs, Trimmed int
	UnseenContexts, WideContexts          int
	EarlyResets, Retries, Recognised      int
	Clears, HiddenTwice, Crashes, Wipes   int
	Forgotten, Voided, Duplicates         int
	Resumed                               int
	Together, OwnCopies                   int // of maps: voids of several counters, increments that their own retry took back
}

func (t *tally) add(o tally) {
	t.Events += o.Events
	t.Snapshots += o.Snapshots
	t.ShortLogs += o.ShortLogs
	t.Trimmed += o.Trimmed
	t.UnseenContexts += o.UnseenContexts
	t.WideContexts += o.WideContexts
	t.EarlyResets += o.EarlyResets
	t.Retries += o.Retries
	t.Recognised += o.Recognised
	t.Clears += o.Clears
	t.HiddenTwice += o.HiddenTwice
	t.Crashes += o.Crashes
	t.Wipes += o.Wipes
	t.Forgotten += o.Forgotten
	t.Voided += o.Voided
	t.Duplicates += o.Duplicates
	t.Resumed += o.Resumed
	t.Together += o.Together
	t.OwnCopies += o.OwnCopies
}

// world is three owners and two fallbacks of one partition, a network that
// loses, repeats and reorders, and disks that forget what was not synced.
type world struct {
	setting
	seed     uint64
	rng      *rand.Rand
	nodes    []*node
	net      []packet
	minted   map[dvv.Dot]*crdt.Group // by first dot
	dots     dvv.Clock
	contexts []shown
	ops      []*replica.Mutation
	actors   dvv.Clock // actors given out, as dots of seq 1
	now      int64
	counts   replica.Counts
	tally    tally
	trace    *strings.Builder // nil while nobody reads it
}

// broken is how a world stops: an error of the code under test, or a check.
type broken struct{ err error }

func (w *world) check(err error, format string, args ...any) {
	if err != nil {
		panic(broken{fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), err)})
	}
}

func (w *world) note(format string, args ...any) {
	if w.trace != nil {
		fmt.Fprintf(w.trace, "%4d ", w.now)
		fmt.Fprintf(w.trace, format, args...)
		w.trace.WriteByte('\n')
	}
}

func newWorld(s setting, seed uint64) *world {
	w := &world{setting: s, seed: seed, rng: rand.New(rand.NewPCG(seed, 0xca47)), minted: map[dvv.Dot]*crdt.Group{}, now: 1000}
	for i, name := range []string{"A", "B", "C", "F", "G"} {
		n := &node{name: name, owner: i < 3}
		w.nodes = append(w.nodes, n)
		w.open(n, replicatest.NewMemStore())
		n.durable = n.store.Clone()
	}
	return w
}

// open starts a node on a store: a new actor, and nothing in memory.
func (w *world) open(n *node, store *replicatest.MemStore) {
	if n.p != nil {
		w.counts.Add(n.p.Counts)
	}
	n.store, n.install, n.heard = store, nil, map[*node]int64{}
	for n.actor = 0; n.actor == 0; {
		a := dvv.Actor(1 + w.rng.Uint64N(26))
		if w.actors.Actors() > 20 {
			a = dvv.Actor(w.rng.Uint64() | 1<<40)
		}
		if w.actors.Add(dvv.Dot{Actor: a, Seq: 1}) {
			n.actor, n.seq = a, 0
		}
	}
	p, err := replica.Load(store.View(), partition)
	w.check(err, "load %s", n.name)
	n.p = p
	if _, promoting, err := store.View().Mark(partition); promoting {
		w.check(err, "marks of %s", n.name)
		in, err := p.ResumeInstall(store.View(), hashKey)
		w.check(err, "resume at %s", n.name)
		n.install = &install{Install: in, pieces: true}
		w.tally.Resumed++
		w.note("%s goes on promoting", n.name)
		return
	}
	w.dropStage(n)
}

// dropStage removes what an install left behind.
func (w *world) dropStage(n *node) {
	tx := n.store.Begin()
	more, err := tx.DropStaged(partition, 1000)
	w.check(errors.Join(err, tx.Commit()), "drop the stage of %s, more: %t", n.name, more)
}

// forgetful is the mutant "nodefer": what was killed before it arrived is not
// remembered.
type forgetful struct{ replica.Tx }

func (f forgetful) PutRow(p int, a crdt.Address, before, after crdt.Row) error {
	after.Deferred = nil
	return f.Tx.PutRow(p, a, before, after)
}

// blind is the mutant "sourceonly": the receiver overlooks its own rows.
type blind struct{ replica.Tx }

func (blind) AllRows(int, []byte, func(crdt.Address, crdt.Row) bool) error { return nil }

// commit runs steps in one transaction of a node.
func (w *world) commit(n *node, steps func(tx replica.Tx)) {
	mem := n.store.Begin()
	var tx replica.Tx = mem
	if w.noDefer {
		tx = forgetful{mem}
	}
	steps(tx)
	w.check(n.p.Save(tx), "save %s", n.name)
	w.check(mem.Commit(), "commit %s", n.name)
	if !n.inPieces() {
		w.checkBounds(n)
	}
}

// checkBounds holds a replica to what is true after every commit: live dots lie
// within the clock, deferred ones outside.
func (w *world) checkBounds(n *node) {
	v := n.store.View()
	clock, _, err := v.Clock(partition)
	w.check(err, "clock of %s", n.name)
	if !clock.Equal(n.p.Clock()) {
		err = fmt.Errorf("stored clock %v, in memory %v", clock, n.p.Clock())
	}
	w.check(err, "clock of %s", n.name)
	walk := v.AllRows(partition, nil, func(a crdt.Address, r crdt.Row) bool {
		for _, l := range r.Live {
			if !clock.Contains(l.Dot) {
				err = fmt.Errorf("%v of %v is live outside the clock %v", l.Dot, a, clock)
			}
		}
		for _, d := range r.Deferred {
			if clock.Contains(d) {
				err = fmt.Errorf("%v of %v is deferred inside the clock %v", d, a, clock)
			}
		}
		return err == nil
	})
	w.check(errors.Join(walk, err), "rows of %s", n.name)
	walk = v.AllDead(partition, func(k crdt.Key, dots dvv.Clock) bool {
		if both := dots.Intersect(clock); !both.IsEmpty() {
			err = fmt.Errorf("%v of %v are deferred inside the clock %v", both, k, clock)
		}
		return err == nil
	})
	w.check(errors.Join(walk, err), "deferred clears of %s", n.name)
}

// apply gives a node a group, with the voids it calls for in the same transaction.
func (w *world) apply(n *node, tx replica.Tx, g *crdt.Group) replica.Outcome {
	if z := resetOf(g); z != nil && !g.In(n.p.Clock()) {
		for _, c := range z {
			if !n.p.Clock().Contains(dvv.Dot{Actor: c.Actor, Seq: c.Seq}) {
				w.tally.EarlyResets++
				break
			}
		}
	}
	o, voids, err := n.p.Apply(tx, g, w.now)
	w.check(err, "apply %v at %s", g, n.name)
	w.note("%s applies %v: %v", n.name, g, [...]string{"applied", "known", "early", "held"}[o])
	w.void(n, tx, g.Op, voids)
	return o
}

func (w *world) void(n *node, tx replica.Tx, op crdt.Operation, voids []dvv.Dot) {
	for _, d := range voids {
		g, err := n.p.Void(tx, op, d, func(k int) dvv.Dot { n.seq += uint64(k); return dvv.Dot{Actor: n.actor, Seq: n.seq - uint64(k) + 1} }, w.stamp())
		w.check(err, "void %v at %s", d, n.name)
		w.tally.Voided++
		if len(g.Events) > 1 {
			w.tally.Together++
		}
		w.publish(n, &g)
		if o := w.apply(n, tx, &g); o != replica.Applied {
			w.check(errors.New("a void just minted is not new"), "void %v", d)
		}
	}
}

func (w *world) stamp() crdt.Stamp { return crdt.StampAt(w.now) }

// publish notes a minted group, through the codec, and puts it on the network.
func (w *world) publish(n *node, g *crdt.Group) {
	decoded, err := crdt.DecodeGroup(crdt.AppendGroup(nil, g))
	w.check(err, "minted %v", g)
	for i := range g.Events {
		if !w.dots.Add(g.Dot(i)) {
			w.check(fmt.Errorf("dot %v was minted twice", g.Dot(i)), "mint at %s", n.name)
		}
	}
	w.tally.Events += len(g.Events)
	w.minted[g.Dot(0)] = &decoded
	for _, to := range w.nodes {
		if to != n && w.rng.IntN(2) == 0 {
			w.net = append(w.net, packet{to, &decoded})
		}
	}
}

func (w *world) pick() *node { return w.nodes[w.rng.IntN(len(w.nodes))] }

func (w *world) up() *node {
	for range 20 {
		if n := w.pick(); !n.down && !n.inPieces() {
			return n
		}
	}
	return nil
}
