package replicatest

import (
	"fmt"
	"io"
	"math/bits"
	"math/rand/v2"

	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica"
	"github.com/cartwheel-db/cartwheel/replica/merkle"
	"github.com/cartwheel-db/cartwheel/ring"
)

// Durations of virtual time, in nanoseconds.
const (
	us     = int64(1e3)
	ms     = int64(1e6)
	second = int64(1e9)
	hour   = 3600 * second
)

// Options of one simulation.
type Options struct {
	Seed  uint64
	Ops   int       // client operations at least; 0 for some more than minOps
	Story io.Writer // told every event as it happens; may be nil
	Bug   Bug       // planted mistakes; the zero value plants none
	Fair  bool      // nothing goes wrong, and messages arrive once

	Without   replica.Mechanism // ways of repair that are switched off
	NoBarrier bool              // every owner counts as ready
	Alone     replica.Mechanism // an owner falls behind, and this must suffice
	Ragged    bool              // logs lose every third group: snapshots must bring what it did
	Freeze    bool              // after some faults all but a core are frozen for good
}

// Bug plants mistakes, to show that the checkers find them. Each is a lie of
// what surrounds the state machine: driver, store or network.
type Bug struct {
	EarlyCommitted bool                                              // the shard hears of a commit before it is durable
	ReusedActor    bool                                              // a restarted node mints under its old actor
	Tx             func(replica.Tx) replica.Tx                       // what the shard writes through
	Message        func(w *World, m replica.Message) replica.Message // what arrives in place of m
}

// Report is what a simulation saw.
type Report struct {
	Seed    uint64
	Hash    uint64 // of every event: the same seed gives the same hash, on any machine
	Events  int
	Virtual int64 // nanoseconds simulated
	Faults  [faultKinds]int
	Ops     Tally
	Stats   replica.Stats // summed over all shards that lived
	Checked Checked
	Since   replica.Stats // of them, what they did after the victim of [Options.Alone] went
	Settled int64         // ns of quiet until all agreed
}

// Tally counts client operations by outcome.
type Tally struct {
	Acked, Unknown, Failed int // mutations
	Reads, ReadFailed      int // reads, and those of them that failed
	Retried                int // mutations tried once more
}

// Checked counts what the checkers had to look at: a checker that is never given
// anything holds nothing.
type Checked struct {
	FreshReads     int // reads that had something they could not miss
	Trimmed        int // groups that left logs far from full
	Batches        int // commits of more groups than one
	Barriers       int // owners that became ready
	Promised       int // reads that had to show what an earlier client was told
	Behind         int // bounds of staleness of something that was behind
	SmallBounds    int // bounds below ten seconds
	LargeBounds    int
	UnknownBounds  int
	MaxStale       int // reads that were to be fresh to a given degree, and were
	TooStale       int // and those that could not be
	Sessions       int // reads that had to cover a session, and did
	Falsified      int // rows changed below everything
	Probes         int // reads and writes of a healthy core
	DegradedProbes int
	SessionsUnmet  int
	Expired        int // mutations whose window had closed
	Removals       int // acknowledged removals whose observation is certain
	Blind          int // of them, without a context
	Resets         int
	Counters       int // exact ones with increments
	MapCounters    int // of them, those in maps
	Lines          int // counters in maps that may be removed
	MapResets      int // removals of such that are certain of what they observed
	Expiries       int // rows of which something was removed because its time was over
	Agreed         int // of them, those for which the time was known at which another owner had to agree
	Hidden         int // rows of which a read hid something because its time was over
	Renewals       int // renewals that a removal of what expired overlooked, which ends the simulation
	TookBackItself int // increments of operations that removed a counter as well, and whose retry took back the first copy
	Excused        int // counters that may have counted twice, as was said
	Doubtful       int // increments of unknown outcome that were in a counter
	Overwrites     int // acknowledged writes whose client had seen an earlier one
	Siblings       int // blobs with more values than one
	TwiceMinted    int // operations that were minted more than once
	Summaries      int // sets of which something was kept beside their rows
	Sizes          int // sets whose size was told without reading them, and was right
	Lapsed         int // removals that rested on another one's event, which was lost with its disk

	// Ghosts are operations, other than increments, that were minted twice, by two
	// coordinators, where one copy was since replaced and the other one lives on.
	// Their clients were in doubt, or a forward of theirs came late: the second
	// copy is a write of its own.
	Ghosts int
}

// All is the number of operations, whatever became of them.
func (t Tally) All() int { return t.Acked + t.Unknown + t.Failed + t.Reads }

// Of the shards' trees: few leaves, so that some are shared.
const leaves = 16

var treeKey = merkle.NewKey([]byte("a secret of the simulated cluster"))

// minOps is the least number of operations of a seed.
const minOps = 200

// World is a cluster under simulation: one goroutine, one heap of events, one
// source of dice. Nothing in it iterates over a map.
type World struct {
	opt     Options
	dice    *rand.Rand
	profile profile
	now     int64
	events  heap
	fired   int

	nodes   []*node
	net     network
	clients []*client
	memory  registry
	history history
	faults  nemesis
	trace   trace
	facts   ring.Facts
	ring    *ring.Ring // what all nodes will have learnt at last
	wild    int        // counts wipes, restores and changes of the ring
	rings   int        // counts the latter alone
	quiet   bool
	frozen  bool // faults stand still, and all but a core of nodes with them
	running int  // clients with work left
	asked   uint64

	report Report
	err    error
}

// profile is the weather of a seed.
type profile struct {
	nodes      int  // at the start
	newcomer   bool // one more, that joins later
	leaver     bool
	partitions int
	fifo       bool  // links keep order, as TCP does
	delay      int64 // mean, ns
	loss, dup  float64
	tail       float64 // chance that a message takes seconds
	commit     int64   // mean duration of a commit, ns
	exchange   int64
	maxQueue   int
	batch      int
	skew       int64 // ms
	think      int64 // ns between operations of a client
	faultEvery int64 // ns

	// Of the shards, see [replica.Config].
	sound, patience, trim, verify int64
	expire                        int64
	opWindow, maxSkew             int64 // ms
	logCap, opCap, snapshotRate   int64
	largeRows, batchBytes         int
	clients                       int
	keys                          int // of each kind
}

func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

func newProfile(r *rand.Rand) profile {
	p := profile{
		nodes:      pick(r, 3, 5),
		partitions: pick(r, 4, 8),
		fifo:       r.IntN(2) == 0,
		delay:      pick(r, 200*us, ms, 5*ms),
		loss:       pick(r, 0, 0, 0.005, 0.03),
		dup:        pick(r, 0, 0.01, 0.05),
		tail:       pick(r, 0, 0.002, 0.01),
		commit:     pick(r, 300*us, 3*ms, 15*ms, 60*ms),
		exchange:   pick(r, second, 5*second),
		maxQueue:   pick(r, 1<<14, 1<<14, 1<<14, 3),
		batch:      pick(r, 2, 1<<10, 1<<10),
		skew:       pick(r, int64(0), 200, 28_000),
		think:      pick(r, 2*ms, 30*ms, 300*ms, 600*ms),
		faultEvery: pick(r, 600*ms, 1500*ms, 4*second),

		sound:        pick(r, 200*ms, 500*ms, second),
		patience:     pick(r, 300*ms, 2*second),
		trim:         pick(r, 300*ms, 2*second),
		verify:       pick(r, 2*second, 10*second, hour),
		expire:       pick(r, 100*ms, 500*ms, 2*second),
		logCap:       pick(r, int64(1), 4<<10, largeLog, largeLog),
		opCap:        pick(r, int64(1)<<18, 1<<18, 20),
		snapshotRate: pick(r, int64(64)<<10, 32<<20),
		largeRows:    pick(r, 1, 4<<10),
		batchBytes:   pick(r, 1<<10, 2<<20, 2<<20),
		clients:      pick(r, 3, 5, 12),
		keys:         pick(r, 1, 3),
	}
	p.clocks(r)
	switch p.nodes {
	case 3:
		p.newcomer = r.IntN(2) == 0
	case 5:
		p.leaver = r.IntN(2) == 0
		p.newcomer = p.leaver && r.IntN(2) == 0 // takes the place of the one that leaves
	}
	return p
}

// clocks sets how far the nodes' wall clocks are apart, and for how long retries
// are recognised: for the usual ten minutes, for so short a time that operations
// are forgotten within a seed, or for longer than the clocks are hours apart.
func (p *profile) clocks(r *rand.Rand) {
	switch p.maxSkew, p.opWindow = 60_000, 600_000; r.IntN(5) {
	case 0, 1:
		p.skew, p.maxSkew, p.opWindow = pick(r, int64(0), 200), 500, pick(r, int64(2500), 6000)
	case 2:
		p.skew, p.maxSkew, p.opWindow = 3*3600_000, 10*3600_000, 10*3600_000
	}
}

// largeLog is never full.
const largeLog = 8 << 20

// longWindow divides the windows, in ms: operations under a shorter one are
// forgotten before a seed is over.
const longWindow = 60_000

// fair is weather without faults, on disks and links of some speed.
func (p *profile) fair() {
	p.loss, p.dup, p.tail, p.faultEvery, p.maxQueue = 0, 0, 0, 0, 1<<14
	p.commit = min(p.commit, 3*ms)
}

// Run simulates one seed and checks it. The error tells what was violated, how
// to play it again, and the last of what happened.
func Run(o Options) (*Report, error) {
	w := &World{opt: o, dice: rand.New(rand.NewPCG(o.Seed, 0x6361727477686c))}
	if w.opt.Ops == 0 {
		w.opt.Ops = minOps + 20
	}
	w.report.Seed = o.Seed
	w.profile = newProfile(w.dice)
	switch {
	case o.Alone != 0:
		w.profile.weatherAlone(o.Alone)
		w.opt.Fair, w.opt.Without = true, others(o.Alone)
	case o.Fair:
		w.profile.fair()
	case o.Freeze: // the core can do what is asked of it
		w.profile.batch, w.profile.maxQueue = 1<<10, 1<<14
	}
	w.memory.init(w)
	w.history.init()
	w.build()
	switch {
	case o.Alone != 0:
		w.runAlone(o.Alone)
	default:
		if o.Freeze {
			w.runFrozen()
		}
		w.loop(func() bool { return w.running == 0 && w.faults.done() })
		w.calm()
	}
	if w.err == nil {
		w.checkAtQuiet()
	}
	for _, n := range w.nodes {
		n.collect()
	}
	w.report.Hash, w.report.Events, w.report.Virtual = w.trace.hash, w.fired, w.now
	if w.err != nil {
		return &w.report, fmt.Errorf("seed %d, at %.3f s: %w\n\nagain: go test ./replica/replicatest -run TestSimulation -seed %d -seeds 1%s -v\n\n%s",
			o.Seed, float64(w.now)/1e9, w.err, o.Seed, o.flags(), w.trace.tail(w.err.Error(), 70))
	}
	return &w.report, nil
}

func (w *World) build() {
	p := w.profile
	total := p.nodes
	if p.newcomer {
		total++
	}
	for i := range total {
		if i < p.nodes {
			peer, api := addresses(i)
			w.addFact(ring.Fact{Number: uint64(i + 1), Kind: ring.Joined, Node: nodeID(i), PeerAddr: peer, APIAddr: api})
		}
	}
	w.foldRing()
	w.net.init(total)
	for i := range total {
		w.nodes = append(w.nodes, newNode(w, i))
	}
	for _, n := range w.nodes {
		n.open()
	}
	if w.opt.Fair {
		w.announceNow()
	} else {
		w.announce()
	}
	clients := p.clients
	for i := range clients {
		w.clients = append(w.clients, newClient(w, i, w.opt.Ops/clients+1))
	}
	w.running = clients
	var start int64
	if w.opt.Fair {
		start = 3 * second // all owners are ready
	}
	for _, c := range w.clients {
		w.after(start+w.between(0, w.profile.think), c.next)
	}
	w.lookAround()
	w.faults.init(w)
}

func nodeID(i int) ring.NodeID { return ring.NodeID(fmt.Sprintf("n%d", i+1)) }

func addresses(i int) (peer, api string) { return fmt.Sprintf("p%d:1", i+1), fmt.Sprintf("a%d:1", i+1) }

func (w *World) index(id ring.NodeID) int { return int(id[1] - '1') }

func (w *World) addFact(f ring.Fact) {
	if _, err := w.facts.Add(f); err != nil {
		panic(err)
	}
}

func (w *World) foldRing() {
	r, err := ring.Fold(ring.Config{Partitions: w.profile.partitions, Replicas: 3}, w.facts)
	if err != nil {
		panic(err)
	}
	w.ring = r
	w.newRing()
}

// fail ends the simulation with the first violation.
func (w *World) fail(format string, args ...any) {
	if w.err == nil {
		w.err = fmt.Errorf(format, args...)
	}
}

const maxEvents = 3_000_000

// loop runs events until done, a violation, or far too many events.
func (w *World) loop(done func() bool) {
	for w.err == nil && !done() {
		if len(w.events.all) == 0 {
			w.fail("nothing is due any more: the cluster is stuck")
			return
		}
		e := w.events.pop()
		w.now = e.at
		w.fired++
		if w.fired > maxEvents {
			w.fail("%d events and no end: a storm of messages or timers", w.fired)
			return
		}
		e.fn()
	}
}

func (w *World) at(t int64, fn func()) { w.events.push(max(t, w.now), fn) }

func (w *World) after(d int64, fn func()) { w.events.push(w.now+max(d, 0), fn) }

// between returns a time from lo up to, not including, hi.
func (w *World) between(lo, hi int64) int64 {
	if hi <= lo {
		return lo
	}
	return lo + w.dice.Int64N(hi-lo)
}

// around returns a time with about the given mean, mostly below it: nearly an
// exponential distribution, in whole numbers, which are the same on any machine.
func (w *World) around(mean int64) int64 {
	halvings := int64(bits.LeadingZeros64(w.dice.Uint64()))
	return mean * (halvings<<10 + w.dice.Int64N(1<<10)) / 1477 // 1024 / ln 2
}

func (w *World) chance(p float64) bool { return p > 0 && w.dice.Float64() < p }

// calm is the quiet phase: the network heals, the dead rise, everybody learns
// the truth, and anti-entropy gets its time.
func (w *World) calm() {
	w.quiet = true
	w.net.heal()
	for _, n := range w.nodes {
		n.calm()
	}
	w.announceNow()
	w.report.Settled = w.settle()
	if w.err == nil {
		w.readEverything()
	}
	// A forward that the network held up for seconds may have been coordinated
	// meanwhile: what it wrote gets its time as well.
	if w.err == nil && w.apart() != "" {
		w.settle()
	}
}

// settle runs until all agree, and returns how long that took.
func (w *World) settle() int64 {
	const deadline = 60 * second
	began, looked := w.now, w.now
	w.loop(func() bool {
		if w.now < looked+second {
			return false
		}
		looked = w.now
		why := w.apart()
		if why != "" && w.now > began+deadline {
			w.fail("no agreement after %d s of quiet: %s", deadline/second, why)
		}
		return why == ""
	})
	return w.now - began
}

// newActor draws an actor that nobody used.
func (w *World) newActor() dvv.Actor { return dvv.Actor(w.dice.Uint64() | 1<<40) }
