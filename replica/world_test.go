package replica_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
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
	from *node
	view replica.View
	rows []crdt.Address
}

type packet struct {
	to *node
	g  *crdt.Group
}

// shown is a context a client holds.
type shown struct {
	key  crdt.Key
	dots dvv.Clock
}

// tally counts what a run did beside [replica.Counts].
type tally struct {
	Events, Snapshots, ShortLogs, Trimmed int
	UnseenContexts, WideContexts          int
	EarlyResets, Retries, Recognised      int
	Clears, HiddenTwice, Crashes, Wipes   int
	Forgotten, Voided, Duplicates         int
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

func (blind) AllRows(int, func(crdt.Address, crdt.Row) bool) error { return nil }

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
	w.checkBounds(n)
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
	walk := v.AllRows(partition, func(a crdt.Address, r crdt.Row) bool {
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
	w.note("%s applies %v: %v", n.name, g, [...]string{"applied", "known", "held"}[o])
	w.void(n, tx, g.Op, voids)
	return o
}

func (w *world) void(n *node, tx replica.Tx, op crdt.Operation, voids []dvv.Dot) {
	for _, d := range voids {
		g, err := n.p.Void(tx, op, d, func() dvv.Dot { n.seq++; return dvv.Dot{Actor: n.actor, Seq: n.seq} }, w.stamp())
		w.check(err, "void %v at %s", d, n.name)
		w.tally.Voided++
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
		if n := w.pick(); !n.down {
			return n
		}
	}
	return nil
}

// read is a merged read of one to three replicas.
func (w *world) read(q replica.Query) replica.Merged {
	var answers []replica.Answer
	for range 1 + w.rng.IntN(3) {
		if n := w.up(); n != nil {
			a, err := replica.Ask(n.store.View(), partition, q)
			w.check(err, "ask %s", n.name)
			answers = append(answers, a)
		}
	}
	return replica.Merge(answers)
}

// mutate mints a mutation at a node, unless the node remembers its operation.
func (w *world) mutate(n *node, m *replica.Mutation) {
	w.check(m.Check(), "check %v", m.Verb)
	if _, known, err := n.store.View().Remembered(partition, m.Op); known || err != nil {
		w.check(err, "recognise %v", m.Op)
		w.tally.Recognised++
		return
	}
	var seen *replica.Merged
	if q, ok := m.Observes(); ok {
		r := w.read(q)
		seen = &r
	}
	if m.Context != nil && !m.Context.Minus(n.p.Clock()).IsEmpty() {
		w.tally.UnseenContexts++
	}
	w.commit(n, func(tx replica.Tx) {
		g, err := n.p.Mint(tx, m, seen, dvv.Dot{Actor: n.actor, Seq: n.seq + 1}, w.stamp(), w.stamp()+1<<20)
		if errors.Is(err, crdt.ErrOverflow) {
			return
		}
		w.check(err, "mint %v at %s", m.Verb, n.name)
		if len(g.Events) == 0 {
			return
		}
		if w.counter != "" {
			w.restartTotals(tx, &g)
		}
		if g.Events[0].Clear != nil {
			w.tally.Clears++
		}
		n.seq += uint64(len(g.Events))
		w.note("%s mints for %v of %v", n.name, m.Verb, m.Op.Seq)
		w.publish(n, &g)
		if o := w.apply(n, tx, &g); o != replica.Applied {
			w.check(errors.New("a group just minted is not new"), "mint %v", &g)
		}
	})
}

// mutation invents what a client asks for.
func (w *world) mutation() *replica.Mutation {
	if len(w.ops) > 0 && !w.once && w.rng.IntN(6) == 0 {
		m := w.ops[w.rng.IntN(len(w.ops))]
		if w.rng.IntN(2) == 0 { // clients retry soon
			m = w.ops[len(w.ops)-1-w.rng.IntN(min(4, len(w.ops)))]
		}
		if w.forget == "" || w.now-m.Op.Issued <= window {
			w.tally.Retries++
			return m
		}
	}
	m := &replica.Mutation{Op: crdt.Operation{Client: [16]byte{1}, Seq: uint64(len(w.ops) + 1), Issued: w.now}}
	w.ops = append(w.ops, m)
	pick := w.rng.IntN(100)
	if w.counters {
		pick = 75 + w.rng.IntN(25)
	}
	if w.storm {
		pick = 8 + w.rng.IntN(35)
	}
	switch {
	case pick < 36:
		m.Key, m.Verb = cart, replica.Update
		if pick < 8 {
			m.Key = wishes
		}
		removes := 2 // of five
		if w.storm {
			removes = 3
		}
		for range 1 + w.rng.IntN(3)/2*2 {
			m.Changes = append(m.Changes, replica.Change{
				Member: members[m.Key][w.rng.IntN(len(members[m.Key]))],
				Remove: w.rng.IntN(5) < removes,
				Note:   fmt.Append(nil, m.Op.Seq),
			})
		}
	case pick < 43:
		m.Key, m.Verb = []crdt.Key{cart, cart, wishes, doc, last}[w.rng.IntN(5)], replica.Delete
		if w.storm {
			m.Key = cart
		}
	case pick < 53:
		m.Key, m.Verb, m.Value = last, replica.Assign, fmt.Append(nil, m.Op.Seq)
	case pick < 75:
		m.Key, m.Verb, m.Value = doc, replica.Put, fmt.Append(nil, m.Op.Seq)
	case pick < 92 || !w.resets:
		m.Key, m.Verb, m.Delta = hits, replica.Add, 1<<(m.Op.Seq%40)+int64(m.Op.Seq)
		if w.rng.IntN(3) == 0 {
			m.Delta = -m.Delta
		}
	default:
		m.Key, m.Verb = hits, replica.Zero
	}
	if m.Key.Type != crdt.Counter && w.rng.IntN(2) == 0 {
		m.Context = w.context(m.Key)
	}
	return m
}

// context is one that some client was shown for the key; nil if there is none.
func (w *world) context(k crdt.Key) *dvv.Clock {
	at := w.rng.IntN(len(w.contexts) + 1)
	for i := range w.contexts {
		if c := w.contexts[(at+i)%len(w.contexts)]; c.key == k {
			dots := c.dots.Clone()
			return &dots
		}
	}
	return nil
}

// show lets a client read a key and keep the context of what it was shown.
func (w *world) show() {
	k := []crdt.Key{cart, cart, wishes, doc, last}[w.rng.IntN(5)]
	q := replica.Query{Key: k}
	if k.Type == crdt.Set {
		q.Span = &replica.Span{Limit: 1 + w.rng.IntN(3)}
		if w.rng.IntN(3) == 0 {
			q.Span, q.Fields = nil, []string{members[k][w.rng.IntN(len(members[k]))]}
		}
	}
	r := w.read(q)
	var dots dvv.Clock
	for _, f := range r.Rows {
		for _, d := range f.Row.Dots() {
			dots.Add(d)
		}
	}
	if len(r.Rows) > 1 {
		w.tally.WideContexts++
	}
	w.note("a client is shown %v of %v", dots, k)
	w.contexts = append(w.contexts, shown{k, dots})
}

func (w *world) deliver() {
	if len(w.net) > 0 {
		w.receive(w.rng.IntN(len(w.net)))
	}
}

// deliverTo hands a node some of what is on its way to it.
func (w *world) deliverTo(n *node) {
	for i := len(w.net) - 1; i >= 0; i-- {
		if w.net[i].to == n && w.rng.IntN(3) == 0 {
			w.receive(i)
		}
	}
}

func (w *world) receive(i int) {
	p := w.net[i]
	if w.rng.IntN(10) < 6 {
		w.net = slices.Delete(w.net, i, i+1)
	} else {
		w.tally.Duplicates++
	}
	if !p.to.down && w.rng.IntN(20) < 17 {
		w.commit(p.to, func(tx replica.Tx) { w.apply(p.to, tx, p.g) })
	}
}

// catchUp is rule 3, and tells whether the peer's log reached back far enough.
func (w *world) catchUp(n, from *node) bool {
	v := from.store.View()
	complete := true
	w.commit(n, func(tx replica.Tx) {
		var err error
		complete, err = replica.Missing(v, partition, n.p.Clock().Clone(), func(g crdt.Group, size int) bool {
			if raw := crdt.AppendGroup(nil, &g); len(raw) != size {
				w.check(fmt.Errorf("%d bytes, told %d", len(raw), size), "size of %v", g.Dot(0))
			}
			w.apply(n, tx, &g)
			return true
		})
		w.check(err, "what %s lacks of %s", n.name, from.name)
	})
	if !complete {
		w.tally.ShortLogs++
	}
	if n.p.Clock().Covers(from.p.Clock()) {
		n.heard[from] = w.now
	}
	return complete
}

// begin is rule 5 up to (b): a durable cut, its log, the comparison of leaves.
func (w *world) begin(n, from *node) {
	w.tally.Snapshots++
	from.durable = from.store.Clone()
	v := from.durable.View()
	stale := n.store.View()
	w.catchUp(n, from)
	cut, err := replica.TakeCut(v, partition)
	w.check(err, "cut of %s", from.name)
	theirs, err := replica.Tree(v, partition, hashKey, leaves)
	w.check(err, "tree of %s", from.name)
	if !w.earlyLeaf {
		stale = n.store.View()
	}
	in, err := n.p.Compare(stale, cut, theirs, hashKey)
	w.check(err, "compare %s with %s", n.name, from.name)
	if w.rowLeaf {
		in.IgnoreKeys()
	}
	if w.noHold {
		n.p.StopHolding()
	}
	n.install = &install{Install: in, from: from, view: v}
	err = v.AllRows(partition, func(a crdt.Address, _ crdt.Row) bool {
		if in.Wants(a) {
			n.install.rows = append(n.install.rows, a)
		}
		return true
	})
	w.check(err, "rows of %s", from.name)
	w.rng.Shuffle(len(n.install.rows), func(i, j int) {
		r := n.install.rows
		r[i], r[j] = r[j], r[i]
	})
	w.note("%s stages %d rows of %s at %v", n.name, len(n.install.rows), from.name, cut.Clock)
}

// advance stages another row, or promotes when none is left.
func (w *world) advance(n *node) {
	in := n.install
	if len(in.rows) > 0 {
		a := in.rows[0]
		in.rows = in.rows[1:]
		r, err := in.view.Row(partition, a)
		w.check(err, "row %v of %s", a, in.from.name)
		in.Stage(a, r)
		return
	}
	n.install = nil
	w.commit(n, func(tx replica.Tx) {
		promote := tx
		if w.sourceOnly {
			promote = blind{tx}
		}
		held, voids, err := in.Promote(promote)
		w.check(err, "promote at %s", n.name)
		w.note("%s promotes, %d held, voids %v", n.name, len(held), voids)
		ops := make([]crdt.Operation, 0, len(voids))
		for op := range voids {
			ops = append(ops, op)
		}
		slices.SortFunc(ops, crdt.Operation.Compare)
		for _, op := range ops {
			w.void(n, tx, op, voids[op])
		}
		for i := range held {
			w.apply(n, tx, &held[i])
		}
	})
	w.checkRows(n)
}

// abort gives a snapshot up half way: what was held arrives now.
func (w *world) abort(n *node) {
	in := n.install
	n.install = nil
	held := in.Abort()
	w.note("%s aborts, %d held", n.name, len(held))
	w.commit(n, func(tx replica.Tx) {
		for i := range held {
			w.apply(n, tx, &held[i])
		}
	})
	w.checkRows(n)
}

// stable is what every owner holds durably.
func (w *world) stable() dvv.Clock {
	var s dvv.Clock
	for i, n := range w.nodes[:3] {
		c, _, err := n.durable.View().Clock(partition)
		w.check(err, "durable clock of %s", n.name)
		if c = c.Intersect(n.p.Clock()); i == 0 {
			s = c
		} else {
			s = s.Intersect(c)
		}
	}
	return s
}

// some is what a store holds of some actors.
func (w *world) some(store *replicatest.MemStore) (dots dvv.Clock) {
	clock, _, err := store.View().Clock(partition)
	w.check(err, "durable clock")
	var of dvv.Actor
	keep := false
	for a, run := range clock.Intervals() {
		if a != of {
			of, keep = a, w.rng.IntN(2) == 0
		}
		if keep {
			dots.AddRange(a, run.First, run.Last)
		}
	}
	return dots
}

// trim shortens a node's log, on disk too.
func (w *world) trim(n *node, stable dvv.Clock) {
	for _, store := range []*replicatest.MemStore{n.store, n.durable} {
		tx := store.Begin()
		gone, err := n.p.Trim(tx, stable)
		w.check(err, "trim %s", n.name)
		w.check(tx.Commit(), "trim %s", n.name)
		w.tally.Trimmed += gone
	}
	w.note("%s trims below %v", n.name, stable)
}

// forgetOps drops operations that the setting allows to forget.
func (w *world) forgetOps(n *node, stable dvv.Clock) {
	tx := n.store.Begin()
	var gone []crdt.Operation
	err := tx.AllRemembered(partition, func(m crdt.Remembered) bool {
		ok := w.now-m.Op.Issued > window
		if w.forget == "heard" {
			for i := range m.Events {
				for _, d := range m.Dots {
					ok = ok && stable.Contains(dvv.Dot{Actor: d.Actor, Seq: d.Seq + uint64(i)})
				}
			}
			for _, o := range w.nodes {
				ok = ok && (o == n || n.heard[o] > m.Op.Issued+window)
			}
		}
		if ok {
			gone = append(gone, m.Op)
		}
		return true
	})
	w.check(err, "operations of %s", n.name)
	for _, op := range gone {
		w.note("%s forgets operation %d", n.name, op.Seq)
		w.check(tx.DeleteRemembered(partition, op), "forget %v", op)
		w.tally.Forgotten++
	}
	w.check(tx.Commit(), "forget at %s", n.name)
}

func (w *world) step() {
	w.now++
	for _, n := range w.nodes {
		if n.install != nil && w.rng.IntN(3) == 0 {
			switch o := w.rng.IntN(20); {
			case o == 0:
				w.abort(n)
			case o < 7 && !n.down:
				w.deliverTo(n)
			default:
				w.advance(n)
			}
		}
	}
	n := w.up()
	if n == nil {
		w.nodes[0].down = false
		return
	}
	if w.forget != "" { // nothing that was committed is lost by a crash
		n.durable = n.store.Clone()
	}
	o := w.rng.IntN(1000)
	if w.forget != "" && o < 200 { // the world in which nodes often hear of one another
		o = 836 + o%64
	}
	if w.storm && o > 300 && o < 600 {
		o = 836 + (o-300)*164/300
	}
	switch {
	case o < 430:
		w.mutate(n, w.mutation())
	case o < 700:
		w.deliver()
	case o < 750:
		w.show()
	case o < 810:
		n.durable = n.store.Clone()
	case o < 830 && w.forget == "":
		w.note("%s crashes", n.name)
		w.tally.Crashes++
		w.open(n, n.durable.Clone())
	case o < 836:
		if w.forget != "" && !w.spare(n) {
			return
		}
		w.note("%s loses its disk", n.name)
		w.tally.Wipes++
		w.open(n, replicatest.NewMemStore())
		n.durable = n.store.Clone()
	case o < 900:
		if from := w.up(); from != nil && from != n {
			w.catchUp(n, from)
		}
	case o < 945:
		if from := w.up(); from != nil && from != n && n.install == nil {
			w.begin(n, from)
		}
	case o < 970 && w.forget != "":
		n.down = true
		back := w.pick()
		back.down = false
	default:
		stable := w.stable()
		for _, n := range w.nodes {
			switch w.rng.IntN(4) {
			case 0, 1:
				w.trim(n, stable)
			case 2: // the log is over its cap: groups leave it in any order
				w.trim(n, w.some(n.durable))
			}
			if w.forget != "" && !n.down {
				w.forgetOps(n, stable)
			}
		}
	}
}

// spare tells whether another node has all that n has.
func (w *world) spare(n *node) bool {
	return slices.ContainsFunc(w.nodes, func(o *node) bool { return o != n && o.p.Clock().Covers(n.p.Clock()) })
}

// reconcile brings all replicas together by logs and snapshots.
func (w *world) reconcile() {
	for _, n := range w.nodes {
		n.down = false
		for n.install != nil {
			if w.rng.IntN(10) == 0 {
				w.abort(n)
			} else {
				w.advance(n)
			}
		}
	}
	for round := 0; ; round++ {
		quiet := true
		for _, n := range w.nodes {
			for _, from := range w.nodes {
				if n.p.Clock().Covers(from.p.Clock()) || w.catchUp(n, from) {
					continue
				}
				quiet = false
				w.begin(n, from)
				for n.install != nil {
					switch o := w.rng.IntN(20); {
					case o == 0 && round < 5:
						w.abort(n)
					case o < 8:
						w.deliver()
					default:
						w.advance(n)
					}
				}
			}
		}
		for _, n := range w.nodes {
			quiet = quiet && n.p.Clock().Equal(w.nodes[0].p.Clock())
		}
		if quiet {
			return
		}
		if round == 50 {
			w.check(errors.New("the replicas' clocks still differ"), "reconcile")
		}
	}
}

// run leads one world from its seed to its end and returns what broke it.
func run(s setting, seed uint64, trace *strings.Builder) (w *world, err error) {
	w = newWorld(s, seed)
	w.trace = trace
	defer func() {
		switch r := recover().(type) {
		case nil:
		case broken:
			err = r.err
		default:
			panic(r)
		}
		for _, n := range w.nodes {
			w.counts.Add(n.p.Counts)
		}
	}()
	steps := 20 + w.rng.IntN(140)
	if w.forget != "" {
		steps *= 2
	}
	for range steps {
		w.step()
	}
	w.reconcile()
	w.judge()
	return w, nil
}

// story is a failing run told again: the trace and every replica's end.
func story(s setting, seed uint64) string {
	var trace strings.Builder
	w, err := run(s, seed, &trace)
	fmt.Fprintf(&trace, "\n%v\n", err)
	for _, n := range w.nodes {
		fmt.Fprintf(&trace, "\n%s (actor %v) %s", n.name, n.actor, n.store.DumpText(partition))
	}
	return trace.String()
}

func sameBytes(a, b *node) bool { return bytes.Equal(a.store.Dump(partition), b.store.Dump(partition)) }
