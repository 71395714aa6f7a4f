package replica

import (
	"slices"

	"github.com/cartwheel-db/cartwheel/replica/merkle"
	"github.com/cartwheel-db/cartwheel/ring"
)

// Anti-entropy by trees: every partition is compared with every co-owner on a
// schedule. Equal roots under equal clocks end it:
//
//	a ── TreeRoots ────▶ b      of many partitions
//	a ◀─ TreeVerdicts ── b      equal
//
// Under different clocks nothing can be compared. Who lacks something asks the
// other's log for it, and the pair is looked at again; what the log does not
// bring, a snapshot does. Different roots under one clock are an alarm, and a
// walk begins (compare_walk.go).

// Likeness is what a comparison of one partition's trees came to.
type Likeness uint8

// What it may be.
const (
	TreesAlike  Likeness = 1 + iota // one clock, one root
	TreesUnlike                     // one clock, two roots
	ClocksApart                     // two clocks
	NotNow                          // the sender has no tree to compare: it grows, or rows are on their way
	likenessEnd
)

// Valid tells whether l is one of the four.
func (l Likeness) Valid() bool { return l > 0 && l < likenessEnd }

const (
	maxLooks = 6       // at a pair whose clocks differ, before it has to wait for its next turn
	maxRoots = 1 << 10 // of one message

	clockBytes = 20 // estimate of a clock on the wire, for each actor
)

// pair is a partition that this node owns, and another owner of it.
type pair struct {
	partition int
	peer      ring.NodeID

	due   int64    // nanoseconds: when to look at it next
	ask   uint64   // the question under way, 0 for none
	print [16]byte // the clock it was asked under
	until int64    // it is not waited for longer
	looks int      // in this turn that led to nothing
	mends int      // in this turn
	last  Likeness // what the last look found

	// What the peer has shown and this node lacked. Only that is waited for: what
	// came later may be on its way.
	shown   clock
	lacking uint64 // dots of it, when it last became less
	since   int64

	finding Verified // of the last verification
	unlike  bool     // in it
}

// lookEvery is how often, in nanoseconds, it is looked for pairs that are due.
func (s *Shard) lookEvery() int64 { return max(20e6, min(1e9, s.cfg.VerifyEvery/64)) }

// turnEvery is how long a pair rests after its turn, which leaves a quarter of
// the time for looking again.
func (s *Shard) turnEvery() int64 { return s.cfg.VerifyEvery / 4 * 3 }

func (s *Shard) compareRound() {
	s.after(s.lookEvery(), s.compareRound)
	s.wakeTrees()
	if s.without(Trees) {
		return
	}
	s.arrangePairs()
	s.expireWalk()
	s.askRoots()
}

// arrangePairs makes the list of pairs that the ring calls for. New ones take
// their turns spread evenly over the time of one round.
func (s *Shard) arrangePairs() {
	if s.trees.pairs != nil && s.trees.under == s.ring.Hash() {
		return
	}
	before := s.trees.pairs
	s.trees.pairs, s.trees.under = []*pair{}, s.ring.Hash()
	for id := range s.ring.Config().Partitions {
		if !s.owns(id) {
			continue
		}
		for _, peer := range s.ring.Owners(id) {
			if peer == s.cfg.Self {
				continue
			}
			p := &pair{partition: id, peer: peer, due: -1}
			for len(before) > 0 && before[0].partition < id {
				before = before[1:]
			}
			for _, old := range before {
				if old.partition != id {
					break
				}
				if old.peer == peer {
					p = old
				}
			}
			s.trees.pairs = append(s.trees.pairs, p)
		}
	}
	for i, p := range s.trees.pairs {
		if p.due < 0 {
			p.due = s.now.Mono + s.turnEvery()/int64(len(s.trees.pairs))*int64(i)
		}
	}
}

func (s *Shard) pair(id int, peer ring.NodeID) *pair {
	s.arrangePairs()
	at, _ := slices.BinarySearchFunc(s.trees.pairs, id, func(p *pair, id int) int { return p.partition - id })
	for ; at < len(s.trees.pairs) && s.trees.pairs[at].partition == id; at++ {
		if s.trees.pairs[at].peer == peer {
			return s.trees.pairs[at]
		}
	}
	return nil
}

// askRoots asks for the roots of all pairs that are due.
func (s *Shard) askRoots() {
	batch := map[ring.NodeID][]TreeRoot{}
	reach := map[ring.NodeID]bool{}
	id, size := s.id(), 0
	for _, p := range s.trees.pairs {
		if p.ask != 0 && p.until <= s.now.Mono {
			p.ask = 0
			s.lookAgain(p)
		}
		if p.ask != 0 || p.due > s.now.Mono || s.walksDown(p) || len(batch[p.peer]) >= maxRoots {
			continue
		}
		if !s.up(p.peer) {
			p.conclude(VerifiedUnreachable)
			continue
		}
		e, ok := s.root(p.partition)
		if !ok {
			continue // its tree grows
		}
		if _, known := reach[p.peer]; !known {
			reach[p.peer] = s.usable(p.peer)
		}
		if reach[p.peer] {
			if c, _ := s.clockOf(p.partition); p.last == ClocksApart {
				if size += clockBytes * c.Actors(); size < s.cfg.BatchBytes {
					e.Clock = c.Clone()
				}
			}
			p.ask, p.print, p.until = id, e.Print, s.now.Mono+4*s.lookEvery()+askPatience
			batch[p.peer] = append(batch[p.peer], e)
		}
	}
	for _, peer := range sortedKeys(batch) {
		s.send(peer, TreeRoots{id, batch[peer]})
	}
}

// askPatience is how long, in nanoseconds, a reply is waited for.
const askPatience = int64(1e9)

// clockOf returns the clock of a partition, the empty one where nothing is stored.
func (s *Shard) clockOf(id int) (clock, error) {
	if s.parts[id] == nil && !s.stores(id) {
		return clock{}, nil
	}
	p, err := s.loaded(id)
	if err != nil {
		return clock{}, err
	}
	return p.Clock(), nil
}

// root tells the root of a partition and the clock it belongs to. It is not ok
// while the two do not fit, or nobody knows the root.
func (s *Shard) root(id int) (r TreeRoot, ok bool) {
	c, err := s.clockOf(id)
	if err != nil {
		return r, false
	}
	r = TreeRoot{Partition: id, Print: c.Fingerprint()}
	p := s.parts[id]
	if p == nil || c.IsEmpty() && !s.stores(id) {
		return r, true
	}
	t := p.wholeTree()
	if t == nil || p.promoting() {
		return r, false
	}
	r.Root = t.Root()
	return r, true
}

// comparable returns a partition with its tree, nil unless the tree belongs to
// the clock of this fingerprint.
func (s *Shard) comparable(id int, mark [16]byte) (*part, *merkle.Tree) {
	if !s.valid(id) || !s.owns(id) {
		return nil, nil
	}
	p, err := s.loaded(id)
	if err != nil || p.promoting() || p.Clock().Fingerprint() != mark {
		return nil, nil
	}
	return p, p.wholeTree()
}

func (s *Shard) receiveTrees(from ring.NodeID, m Message) bool {
	switch m := m.(type) {
	case TreeRoots:
		s.receiveRoots(from, m)
	case TreeVerdicts:
		s.receiveVerdicts(from, m)
	case TreeBranch:
		s.receiveBranch(from, m)
	case RowPrints:
		s.receiveRowPrints(from, m)
	case RowsApart:
		s.receiveRowsApart(from, m)
	case RowsMend:
		s.mend(m.Partition, m.Print, m.Rows, nil)
	default:
		return false
	}
	return true
}

func (s *Shard) receiveRoots(from ring.NodeID, m TreeRoots) {
	if s.without(Trees) {
		return
	}
	reply, size := TreeVerdicts{ID: m.ID}, 0
	for i, e := range m.Batch {
		if !s.valid(e.Partition) || i > 0 && e.Partition <= m.Batch[i-1].Partition {
			s.Stats.Malformed++ // each entry may be answered by a whole clock: one a partition
			return
		}
		v := s.judge(from, e)
		if size += clockBytes * v.Clock.Actors(); size > s.cfg.BatchBytes {
			v.Found, v.Clock = NotNow, clock{}
		}
		reply.Batch = append(reply.Batch, v)
	}
	if len(reply.Batch) > 0 {
		s.send(from, reply)
	}
}

func (s *Shard) judge(from ring.NodeID, e TreeRoot) TreeVerdict {
	v := TreeVerdict{Partition: e.Partition, Found: NotNow}
	p := s.pair(e.Partition, from)
	c, err := s.clockOf(e.Partition)
	if p == nil || err != nil || s.parts[e.Partition] != nil && s.parts[e.Partition].promoting() {
		return v
	}
	if c.Fingerprint() != e.Print {
		v.Found, v.Clock = ClocksApart, c.Clone()
		if !e.Clock.IsEmpty() {
			s.catchUpWith(p, e.Clock)
		}
		return v
	}
	mine, ok := s.root(e.Partition)
	switch {
	case !ok:
	case mine.Root != e.Root:
		v.Found = TreesUnlike
	default:
		v.Found = TreesAlike
		if p.ask == 0 && p.looks == 0 && p.finding != VerifiedPending {
			p.due = s.now.Mono + s.turnEvery() // the peer has looked for both
		}
	}
	return v
}

func (s *Shard) receiveVerdicts(from ring.NodeID, m TreeVerdicts) {
	for _, v := range m.Batch {
		p := s.pair(v.Partition, from)
		if p == nil || m.ID == 0 || p.ask != m.ID {
			continue // an answer that came twice, or too late
		}
		p.ask = 0
		p.last = v.Found
		s.Stats.Compared++
		switch v.Found {
		case TreesAlike:
			s.Stats.TreesEqual++
			s.rest(p, VerifiedEqual)
		case TreesUnlike:
			s.startWalk(p)
		case ClocksApart:
			s.Stats.TreesApart++
			s.catchUpWith(p, v.Clock)
			s.lookAgain(p)
		default:
			s.lookAgain(p)
		}
	}
}

// rest ends a pair's turn.
func (s *Shard) rest(p *pair, o Verified) {
	p.looks, p.mends, p.last, p.due = 0, 0, 0, s.now.Mono+s.turnEvery()
	p.conclude(o)
}

// lookAgain puts a pair off, longer each time, and ends its turn after some
// looks: under a steady stream of writes two clocks are hardly ever equal.
func (s *Shard) lookAgain(p *pair) {
	if p.looks++; p.looks <= maxLooks {
		p.due = s.now.Mono + s.lookEvery()<<min(p.looks, 4)
		return
	}
	o := VerifiedBusy
	if p.last == TreesUnlike {
		o = VerifiedUnlike
	} else if c, err := s.clockOf(p.partition); err == nil && !c.Covers(p.shown) {
		o = VerifiedBehind
	}
	s.rest(p, o)
}

// catchUpWith asks for what a peer has shown and this node lacks: the peer's log
// first, and, when nothing of it came any more for a while, a snapshot.
func (s *Shard) catchUpWith(p *pair, theirs clock) {
	c, err := s.clockOf(p.partition)
	if err != nil {
		return
	}
	lacking := p.shown.Minus(c).Count()
	switch {
	case c.Covers(theirs):
		p.shown = clock{}
		return
	case lacking == 0:
		p.shown, p.since = theirs, s.now.Mono
		p.lacking = theirs.Minus(c).Count()
	case lacking < p.lacking:
		p.lacking, p.since = lacking, s.now.Mono
	case s.now.Mono-p.since >= 4*s.lookEvery():
		p.shown = clock{}
		s.Stats.TreeInstalls++
		s.startInstall(p.partition, p.peer)
		return
	}
	if !s.without(LogCatchUp) {
		s.catchUpFrom(p.partition, p.peer, false)
	}
}

// Root tells the root of a partition's tree: equal on all owners whose clocks are
// equal. It is not known while the tree is summed up anew.
func (s *Shard) Root(partition int) (root merkle.Sum, known bool) {
	r, known := s.root(partition)
	return r.Root, known
}
