package replicatest

import (
	"errors"
	"slices"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica"
	"github.com/cartwheel-db/cartwheel/ring"
)

// node drives one shard: it delivers inputs, commits what the shard fills, lets
// outputs go, and dies.
type node struct {
	w     *World
	at    int
	id    ring.NodeID
	store *MemStore
	ring  *ring.Ring // as this node learnt it

	shard   *replica.Shard
	up      bool
	life    int         // counts openings
	actors  []dvv.Actor // of this life
	first   dvv.Actor
	tx      *MemTx
	logged  int   // groups of the open transaction
	changed []int // partitions that the open transaction changes
	tickAt  int64

	pausedUntil int64
	mono        int64 // ns its monotonic clock is ahead of virtual time
	skew        int64 // ms its wall clock is ahead
	jumped      int64 // when that changed
	slowUntil   int64 // the disk is slow
	doom        doom  // what happens to the next commit
	link        []bool
	frozen      bool // for as long as the world is
	parked      []func()
	waiting     map[uint64]func(replica.Result, crdt.Stamp)
	backup      *MemStore
	durable     map[int]durableClock
	entered     map[int]dvv.Clock // the durable clocks that the books know of

	// What the checker of the barrier knows, by partition.
	ownerSince []int64 // when it opened, or became an owner; 0 for who is none
	ready      []bool
	allReady   bool
}

// doom is what a commit may come to.
type doom uint8

const (
	survives doom = iota
	crashBefore
	crashAfter
	errorLost    // the commit fails, and nothing of it is durable
	errorDurable // the commit fails, and all of it is durable all the same
)

var errDisk = errors.New("the disk says no")

const epochMillis = int64(1_750_000_000_000)

func newNode(w *World, i int) *node {
	n := &node{w: w, at: i, id: nodeID(i), store: NewMemStore(), ring: w.ring, link: make([]bool, len(w.net.cuts)), entered: map[int]dvv.Clock{},
		ownerSince: make([]int64, w.profile.partitions), ready: make([]bool, w.profile.partitions)}
	n.mono = w.between(0, 6*hour)
	n.skew = w.between(-w.profile.skew, w.profile.skew+1)
	return n
}

// clock is what the node's clocks show.
func (n *node) clock() replica.Now {
	return replica.Now{Mono: n.w.now + n.mono, Wall: epochMillis + n.w.now/ms + n.skew}
}

func (n *node) open() {
	w := n.w
	n.life++
	n.actors = nil
	n.tx, n.changed, n.tickAt, n.doom, n.pausedUntil = nil, nil, 0, survives, 0
	n.wake()
	n.waiting = map[uint64]func(replica.Result, crdt.Stamp){}
	clear(n.link)
	draw := func() dvv.Actor {
		a := w.newActor()
		n.actors = append(n.actors, a)
		return a
	}
	actor := draw()
	if w.opt.Bug.ReusedActor && n.first != 0 {
		actor = n.first
		n.actors = append(n.actors, actor)
	}
	n.first = actor
	shard, err := replica.New(n.config(draw), actor, n.ring, n.clock())
	if err != nil {
		w.fail("open %v: %w", n.id, err)
		return
	}
	n.shard, n.up = shard, true
	n.ownNow(true)
	w.trace.note(w, opened, n.at, n.at, n.life)
	n.settle()
}

// config is the shard's, by the weather of the seed.
func (n *node) config(draw func() dvv.Actor) replica.Config {
	w, p := n.w, &n.w.profile
	return replica.Config{
		Self: n.id, NewActor: draw,
		Read: func(fn func(replica.View) error) error { return fn(n.store.View()) },
		Hold: func() (replica.View, func() error, error) {
			return n.store.View(), func() error { return nil }, nil
		},
		ExchangeEvery: p.exchange, MaxQueue: p.maxQueue, BatchGroup: p.batch,
		ExpireEvery: p.expire, SoundEvery: p.sound, Patience: p.patience, TrimEvery: p.trim, VerifyEvery: p.verify,
		OpWindow: p.opWindow, MaxSkew: p.maxSkew, LogCap: p.logCap, OpCap: p.opCap,
		SnapshotRate: p.snapshotRate, LargeRows: p.largeRows, FewRows: fewRows, BatchBytes: p.batchBytes,
		TreeKey: treeKey, Leaves: leaves,
		Without: w.opt.Without, NoBarrier: w.opt.NoBarrier,
	}
}

// forever is until the world thaws.
const forever = int64(1) << 62

// postponed puts off what happens to a paused node until it wakes.
func (n *node) postponed(fn func()) bool {
	if n.pausedUntil <= n.w.now {
		return false
	}
	n.parked = append(n.parked, fn)
	return true
}

// pause stops a node for a time, or forever.
func (n *node) pause(until int64) {
	n.pausedUntil = until
	if until < forever {
		n.w.at(until, n.wake)
	}
}

// wake lets happen what was put off, unless the node is to be stopped for longer.
func (n *node) wake() {
	if n.pausedUntil > n.w.now {
		return
	}
	for _, fn := range n.parked {
		n.w.at(n.w.now, fn)
	}
	n.parked = nil
}

// settle takes the shard's outputs, begins a commit when there is work, and sets
// the next tick.
func (n *node) settle() {
	for n.up && n.w.err == nil {
		for _, o := range n.shard.Outputs() {
			switch o := o.(type) {
			case replica.Send:
				n.send(o)
			case replica.Reply:
				n.reply(o)
			}
		}
		if n.tx != nil || !n.shard.Waiting() {
			break
		}
		n.begin()
	}
	if n.up {
		n.checkBarrier()
		n.setTick()
	}
}

func (n *node) send(o replica.Send) {
	w := n.w
	n.checkSend(o)
	w.post(envelope{n.at, w.index(o.To), n.shard.Stamp(), o.Message, w.trace.checksum(o.Message)})
}

func (n *node) reply(o replica.Reply) {
	if done := n.waiting[o.ID]; done != nil {
		delete(n.waiting, o.ID)
		done(o.Result, n.shard.Stamp())
	}
}

func (n *node) setTick() {
	at := max(n.shard.NextTick()-n.mono, n.w.now)
	if n.tickAt > n.w.now && n.tickAt <= at {
		return
	}
	n.tickAt = at
	life := n.life
	var tick func()
	tick = func() {
		if !n.up || n.life != life || n.tickAt != at || n.postponed(tick) {
			return
		}
		n.tickAt = 0
		n.shard.Tick(n.clock())
		n.settle()
	}
	n.w.at(at, tick)
}

// begin fills a transaction and lets its commit take time.
func (n *node) begin() {
	w := n.w
	n.tx = n.store.Begin()
	var tx replica.Tx = spy{n.tx, n}
	if w.opt.Bug.Tx != nil {
		tx = w.opt.Bug.Tx(tx)
	}
	if err := n.shard.Fill(n.clock(), tx); err != nil {
		w.fail("%v: %w", n.id, err)
		return
	}
	if len(n.changed) > 0 && n.logged > 1 {
		w.report.Checked.Batches++
	}
	n.logged = 0
	w.trace.note(w, filling, n.at, n.at, n.changed)
	d := w.around(w.profile.commit)
	if n.slowUntil > w.now {
		d += w.between(100*ms, 900*ms)
	}
	if w.opt.Bug.EarlyCommitted {
		n.shard.Committed(n.clock(), nil)
	}
	life := n.life
	w.after(d, func() { n.commit(life) })
}

func (n *node) commit(life int) {
	w := n.w
	if !n.up || n.life != life || n.postponed(func() { n.commit(life) }) {
		return
	}
	doomed := n.doom
	n.doom = survives
	switch doomed {
	case crashBefore:
		n.crash()
		w.after(w.between(50*ms, 8*second), n.restart)
		return
	case errorLost, errorDurable:
		if doomed == errorDurable {
			n.makeDurable()
		} else {
			n.tx.Abandon()
		}
		n.tx, n.changed = nil, nil
		w.trace.note(w, commitFailed, n.at, n.at, doomed == errorDurable)
		n.shard.Committed(n.clock(), errDisk)
		n.settleLast()
		n.crash()
		w.after(w.between(ms, second), n.restart)
		return
	}
	n.makeDurable()
	if doomed == crashAfter {
		n.crash()
		w.after(w.between(50*ms, 8*second), n.restart)
		return
	}
	n.tx, n.changed = nil, nil
	w.trace.note(w, committed, n.at, n.at, n.store.Commits)
	if !w.opt.Bug.EarlyCommitted {
		n.shard.Committed(n.clock(), nil)
	}
	n.settle()
}

func (n *node) makeDurable() {
	if err := n.tx.Commit(); err != nil {
		n.w.fail("%v: %w", n.id, err)
	}
	for _, p := range n.changed {
		n.learnDurable(p)
	}
	n.checkCommitted()
}

// settleLast lets out what a shard says when its store has failed.
func (n *node) settleLast() {
	for _, o := range n.shard.Outputs() {
		switch o := o.(type) {
		case replica.Send:
			n.send(o)
		case replica.Reply:
			n.reply(o)
		}
	}
}

// crash forgets everything that was not durable. Whoever restarts the node
// schedules it.
func (n *node) crash() {
	if !n.up {
		return
	}
	w := n.w
	w.trace.note(w, crashed, n.at, n.at, n.tx != nil)
	if n.tx != nil {
		n.tx.Abandon()
	}
	n.collect()
	n.up, n.tx, n.changed = false, nil, nil
	n.life++
	n.waiting = nil
	w.announce()
}

// close ends a node as its driver does at the end of a process: trees are saved,
// and views let go.
func (n *node) close() {
	tx := n.store.Begin()
	err := n.shard.SaveTrees(tx)
	if err == nil {
		err = tx.Commit()
	}
	if err != nil {
		n.w.fail("close %v: %w", n.id, err)
	}
	n.shard.Release()
	n.crash()
}

// collect keeps the counts of a shard that ends, and looks for alarms.
func (n *node) collect() {
	if n.shard != nil {
		t := n.shard.Totals()
		n.w.report.add(t)
		if t.Collisions+t.Malformed+t.Rotations+t.SkewAlarms > 0 {
			n.w.fail("%v raised alarms that honest nodes never cause: %d collisions, %d malformed messages, %d rotations, %d skewed stamps", n.id, t.Collisions, t.Malformed, t.Rotations, t.SkewAlarms)
		}
		n.shard = nil
	}
}

// restart opens a node that is down.
func (n *node) restart() {
	if n.up || n.frozen {
		return
	}
	n.open()
	n.w.announce()
}

func (n *node) calm() {
	n.pausedUntil, n.slowUntil, n.doom = 0, 0, survives
	n.wake()
	n.restart()
	n.learnRing()
}

// learnRing is gossip of facts that arrives.
func (n *node) learnRing() {
	if n.ring.Hash() == n.w.ring.Hash() || n.postponed(n.learnRing) {
		return
	}
	n.ring = n.w.ring
	n.w.newRing()
	n.ownNow(false)
	if n.up {
		n.w.trace.note(n.w, ringNews, n.at, n.at, n.ring.Hash())
		n.shard.SetRing(n.clock(), n.ring)
		n.settle()
	}
}

// durableClock is a stored clock, decoded, with the state it was read from.
type durableClock struct {
	from  *treap
	clock dvv.Clock
}

// durableOf returns the clock a crash would leave.
func (n *node) durableOf(p int) dvv.Clock {
	if c, ok := n.durable[p]; ok && c.from == n.store.committed.clocks {
		return c.clock
	}
	c, _, err := n.store.View().Clock(p)
	if err != nil {
		n.w.fail("%v: clock of partition %d: %w", n.id, p, err)
	}
	if n.durable == nil {
		n.durable = map[int]durableClock{}
	}
	n.durable[p] = durableClock{n.store.committed.clocks, c}
	return c
}

// spy shows the checkers every group that a shard writes.
type spy struct {
	*MemTx
	n *node
}

func (s spy) PutGroup(p int, g *crdt.Group) error {
	s.n.w.memory.see(s.n, p, g)
	s.n.logged++
	if err := s.MemTx.PutGroup(p, g); err != nil || !s.n.w.opt.Ragged || g.First%3 != 0 {
		return err
	}
	return s.MemTx.DeleteGroup(p, g)
}

func (s spy) DeleteGroup(p int, g *crdt.Group) error {
	s.n.checkTrimmed(p, g)
	return s.MemTx.DeleteGroup(p, g)
}

func (s spy) PutClock(p int, c dvv.Clock) error {
	s.n.changes(p)
	return s.MemTx.PutClock(p, c)
}

func (s spy) Drop(p int) error {
	s.n.changes(p)
	return s.MemTx.Drop(p)
}

func (n *node) changes(p int) {
	if !slices.Contains(n.changed, p) {
		n.changed = append(n.changed, p)
	}
}
