package replica

import (
	"fmt"
	"slices"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica/breaker"
	"github.com/cartwheel-db/cartwheel/ring"
)

// Shard is a node's share in the protocol for a fixed group of partitions:
// replica, coordinator, exchange and handoff, as one value that its driver
// feeds. Every input may leave outputs behind, which [Shard.Outputs] takes:
//
//	Request, Receive, Tick, SetRing, SetPeer ─▶ ┌───────┐ ─▶ Send, Reply
//	          Fill(tx) … Committed(err)  ◀────▶ │ Shard │ ─▶ Read(view)
//	                                            └───────┘
//
// What changes rows waits in a queue. When Waiting, and no commit is under way,
// the driver opens a transaction, calls Fill, commits and calls Committed. Sends
// of Fill go out while the commit is under way; whatever depends on durability
// is let go by Committed. A shard is not safe for concurrent use.
type Shard struct {
	cfg  Config
	now  Now
	ring *ring.Ring
	hlc  crdt.Stamp

	ailing bool      // the store takes no writes for now
	actor  dvv.Actor // mints in every partition until its store is dropped
	peers  map[ring.NodeID]*peer
	parts  map[int]*part
	stored []int // partitions with a store, sorted

	queue      []job
	queueBytes int
	committing *commit

	nextID    uint64
	writes    map[place][]*write
	asks      map[uint64]ask
	asked     asked            // while it is answered
	readAsked func(View) error // answerFrom, made once
	spare     *read            // that ended at once, to be used again
	latency   latency          // of answers
	waiting   []asking
	wokenAt   int64 // when those were looked through
	wakeDue   bool  // they will be, in a moment
	forwards  map[uint64]*forward
	pending   []waiter // what has a deadline, in order of arrival
	sweepAt   int64
	timers    timers

	others    []ring.NodeID // the ring's members but this node, sorted
	soundings map[uint64]sounded
	unready   int // owned partitions that were not ready at the last round

	shardTrees
	shardCuts
	shardInstalls
	shardDamage
	shardSummaries
	resent resent

	out   []any
	Stats Stats
}

// Stats counts what a shard did.
type Stats struct {
	Counts
	TreeStats
	SnapshotStats
	DamageStats
	SummaryStats
	Minted       uint64 // groups
	Shipped      uint64 // groups sent to other nodes
	Commits      uint64
	CommitGroups uint64 // groups over all commits
	Retries      uint64 // operations recognised
	Nothing      uint64 // mutations that had nothing to change
	Fallbacks    uint64 // groups sent to a fallback
	Coordinated  uint64 // mutations coordinated here
	Forwards     uint64 // mutations handed to another node
	ReadsMerged  uint64
	Degraded     uint64
	Hedges       uint64
	Nudges       uint64
	Exchanges    uint64 // clocks found different
	CaughtUp     uint64 // groups received by exchange or handoff
	HandedOff    uint64 // partitions dropped after handoff
	Rotations    uint64 // actors given up because a foreign event bore them: an alarm
	SkewAlarms   uint64 // stamps too far ahead to merge: an alarm
	Malformed    uint64 // messages that no honest peer sends
	Refused      uint64 // requests refused because a queue was full
	BecameReady  uint64 // partitions that passed the barrier
	ForcedReady  uint64 // partitions that an operator let count as ready
	StoresLost   uint64 // partitions of which others had seen more here: restored or lost stores
	Trimmed      uint64 // groups that left a log because they were stable
	TrimmedEarly uint64 // groups that left a log because it had grown over its cap: an alarm
	Forgotten    uint64 // operations that left memory because nobody can retry them any more
	MayRepeat    uint64 // operations that left memory because there were too many, or came from a departed node after that: a retry may count twice
	HashFirst    uint64 // reads that sent a hash of large rows along
	SameRows     uint64 // answers without rows, because they hash to what was sent along
	TooStale     uint64 // reads refused because no replica was fresh enough
	SessionUnmet uint64 // reads refused because no state covered their session
	Expired      uint64 // rows of which something was removed here because its time was over
	ExpiryWaits  uint64 // times that a partition was looked at where something is to be removed on which R owners do not agree yet
}

// part is what a shard keeps of one partition beside its replica.
type part struct {
	*Partition
	actor dvv.Actor
	seq   uint64 // the last that actor minted here

	// Increments minted here that are not durable on W replicas yet, by counter, in
	// order: the totals of the next one include them.
	unsettled map[crdt.Address][]crdt.Group

	covered map[ring.NodeID]dvv.Clock // handoff: durable clocks of owners, under this ring
	nudged  map[ring.NodeID]int64

	expiring bool // what expired waits to be removed

	partDepth
	partInstall
}

type peer struct {
	id      ring.NodeID
	alive   bool // what gossip says
	breaker breaker.Breaker

	heard   bool
	heardAt int64 // when it said anything last
}

// place is a group's first dot in its partition.
type place struct {
	partition int
	dot       dvv.Dot
}

// New returns a shard. actor belongs to this opening of the store alone: it was
// drawn when the store was opened, and dies with the process.
func New(cfg Config, actor dvv.Actor, r *ring.Ring, now Now) (*Shard, error) {
	if mutated(reuseActor) {
		actor = 0
		for _, b := range []byte(cfg.Self) {
			actor = actor<<8 | dvv.Actor(b)
		}
	}
	s := &Shard{
		cfg: cfg.Defaults(), now: now, ring: r, actor: actor, hlc: crdt.StampAt(now.Wall),
		peers: map[ring.NodeID]*peer{}, parts: map[int]*part{},
		writes: map[place][]*write{}, asks: map[uint64]ask{}, forwards: map[uint64]*forward{}, soundings: map[uint64]sounded{},
		// Request ids begin where no other opening's do: a reply to what an earlier
		// one asked must not be taken for an answer to this one.
		nextID: uint64(actor) >> 1,
	}
	s.readAsked = s.answerFrom
	err := s.cfg.Read(func(v View) (err error) {
		if s.stored, err = v.Partitions(); s.damaged(-1, err) {
			err = nil
		}
		for id := 0; id < r.Config().Partitions && err == nil; id++ {
			var ready bool
			if ready, _, err = v.Mark(id); ready && err == nil && !s.owns(id) {
				_, err = s.part(v, id) // which takes the mark away
			}
			if s.damaged(id, err) {
				err = nil
			}
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open shard: %w", err)
	}
	if mutated(forgetFallback) {
		s.stored = slices.DeleteFunc(s.stored, func(id int) bool { return !s.owns(id) })
	}
	s.after(s.cfg.ExchangeEvery/4, s.exchangeRound)
	s.after(s.cfg.HandoffEvery, s.handoffRound)
	s.turnRing(r)
	s.after(0, s.soundRound)
	s.after(s.cfg.TrimEvery, s.trimRound)
	s.after(s.cfg.ExpireEvery, s.expireRound)
	s.startTrees()
	s.startInstalls()
	s.startDamage()
	return s, nil
}

// part returns the replica of a partition, loading its clock when it is touched
// for the first time. v is the store as the caller sees it.
func (s *Shard) part(v View, id int) (*part, error) {
	if p := s.parts[id]; p != nil {
		return p, nil
	}
	replica, err := Load(v, id)
	if err != nil {
		return nil, headless(id, err)
	}
	s.loadTree(v, replica)
	p := s.newPart(replica, s.actor)
	p.since = s.now.Mono
	if p.marked, _, err = v.Mark(id); err != nil {
		return nil, headless(id, err)
	}
	s.parts[id] = p
	s.adoptDamage(p.Partition)
	if p.marked && !s.owns(id) {
		s.putMark(id) // it lost the partition while it was down
	}
	return p, nil
}

func (s *Shard) newPart(p *Partition, actor dvv.Actor) *part {
	p.sums.key, p.few = s.cfg.TreeKey, s.cfg.FewRows
	return &part{Partition: p, actor: actor, unsettled: map[crdt.Address][]crdt.Group{}, covered: map[ring.NodeID]dvv.Clock{}, nudged: map[ring.NodeID]int64{},
		partDepth: partDepth{durable: p.Clock().Clone()}}
}

// stores tells whether this node has a store of the partition.
func (s *Shard) stores(id int) bool {
	_, found := slices.BinarySearch(s.stored, id)
	return found
}

func (s *Shard) owns(id int) bool { return s.ring.Owns(s.cfg.Self, id) }

// Outputs takes what the shard wants done: [Send] and [Reply] values, in order.
func (s *Shard) Outputs() []any {
	out := s.out
	s.out = nil
	return out
}

func (s *Shard) send(to ring.NodeID, m Message) {
	s.out = append(s.out, Send{to, m})
	switch m := m.(type) {
	case Replicate:
		for _, sh := range m.Batch {
			s.Stats.Shipped += uint64(len(sh.Groups))
		}
	case Events:
		s.Stats.Shipped += uint64(len(m.Groups))
	}
}

func (s *Shard) reply(id uint64, r Result) { s.out = append(s.out, Reply{id, r}) }

func (s *Shard) id() uint64 {
	s.nextID++
	return s.nextID
}

// Stamp returns the highest stamp given or seen; it goes out with every reply
// and message.
func (s *Shard) Stamp() crdt.Stamp { return s.hlc }

// Observe merges a stamp that came with a request or a message. One that lies
// further ahead of the node's clock than the maximum skew is counted and not
// merged.
func (s *Shard) Observe(now Now, seen crdt.Stamp) {
	s.now = now
	switch {
	case seen <= s.hlc:
	case seen.Ahead(now.Wall) > s.cfg.MaxSkew:
		s.Stats.SkewAlarms++
	default:
		s.hlc = seen
	}
}

func (s *Shard) nextStamp() crdt.Stamp {
	s.hlc = s.hlc.Next(s.now.Wall)
	return s.hlc
}

// SetWritable tells whether the store takes writes. While it does not, reads go
// on; mutations are left to other coordinators, and what peers send is not
// acknowledged and comes again.
func (s *Shard) SetWritable(now Now, writable bool) {
	s.now, s.ailing = now, !writable
}

// Durable returns the stored clock of a partition.
func (s *Shard) Durable(partition int) (c dvv.Clock, stored bool, err error) {
	err = s.cfg.Read(func(v View) (err error) {
		c, stored, err = v.Clock(partition)
		return err
	})
	return c, stored, err
}

// Stored lists the partitions this node stores, in order.
func (s *Shard) Stored() []int { return slices.Clone(s.stored) }

// SetRing replaces the ring. Coverage that was reported under the old one no
// longer counts.
func (s *Shard) SetRing(now Now, r *ring.Ring) {
	s.now = now
	if s.ring.Hash() == r.Hash() {
		return
	}
	old := s.ring
	s.ring = r
	for _, p := range s.parts {
		clear(p.covered)
	}
	s.turnRing(old)
	s.soundAll()
}

// Receive takes a message of a peer.
func (s *Shard) Receive(now Now, from ring.NodeID, m Message) {
	s.now = now
	p := s.peer(from)
	p.heard, p.heardAt = true, now.Mono
	p.breaker.Success(now.Mono)
	switch m := m.(type) {
	case Replicate:
		s.receiveReplicate(from, m)
	case Acked:
		s.receiveAcked(from, m)
	case Forward:
		s.receiveForward(from, m)
	case Forwarded:
		s.receiveForwarded(from, m)
	case Asking:
		s.receiveAsking(from, m)
	case Answered:
		s.receiveAnswered(from, m)
	case Digest:
		s.receiveDigest(from, m)
	case CatchUp:
		s.receiveCatchUp(from, m)
	case Events:
		s.receiveEvents(from, m)
	case Offer:
		s.receiveOffer(from, m)
	case Coverage:
		s.receiveCoverage(from, m)
	case Nudge:
		s.receiveNudge(from, m)
	case Sounding:
		s.receiveSounding(from, m)
	case Sounded:
		s.receiveSounded(from, m)
	default:
		_ = s.receiveTrees(from, m) || s.receiveSnapshot(from, m) || s.receiveDamage(from, m)
	}
}

// Request takes a client's request.
func (s *Shard) Request(now Now, r Request) {
	s.now = now
	if r.Deadline <= now.Mono {
		s.reply(r.ID, Result{Failure: &Failure{Reason: DeadlinePast, Text: fmt.Sprintf("%v: the deadline was past on arrival; nothing was done", r.what())}})
		return
	}
	if r.Mutation != nil {
		s.mutate(r)
		return
	}
	s.query(r)
}

func (r *Request) what() string {
	if r.Mutation != nil {
		return r.Mutation.String()
	}
	return r.Query.String()
}

// Totals returns the counts of the shard and of all its partitions.
func (s *Shard) Totals() Stats {
	t := s.Stats
	for _, p := range s.parts {
		t.Add(p.Counts)
	}
	return t
}
