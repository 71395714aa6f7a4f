package replica

import (
	"encoding/binary"
	"slices"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica/merkle"
	"github.com/cartwheel-db/cartwheel/ring"
)

// The source of snapshots. A cut is one durable moment of a partition: a view
// that stays open, and the tree of that moment. What a page holds follows from
// the view and the question alone, so a question may be asked again, or by the
// same receiver after a pause.

const (
	maxCuts     = 4            // of a shard: each keeps the store from using space again
	cutIdle     = int64(30e9)  // nanoseconds without a question until a cut goes
	cutLife     = int64(120e9) // nanoseconds until it goes anyway: the store cannot use pages again meanwhile
	cutPage     = 256 << 10    // bytes of a page, about
	cutWalk     = 4 << 10      // records looked at for one page
	minCutPage  = 1 << 10      // where the rate asks for smaller pages
	cutPagesSec = 8            // pages a second at least, by making them smaller
	cutRound    = int64(1e9)   // nanoseconds between looks at what is idle
)

// cut is a snapshot that somebody pulls.
type cut struct {
	id        uint64
	from      ring.NodeID
	install   uint64 // the receiver's
	partition int
	view      View
	release   func() error
	clock     dvv.Clock
	theirs    dvv.Clock    // what the receiver had
	tree      *merkle.Tree // nil when it was not known
	usedAt    int64
	takenAt   int64
	waiting   *CutAsk // until the rate allows
}

type shardCuts struct {
	cuts    []*cut
	credit  int64 // bytes that may be sent now; below zero after a large page
	filled  int64 // [Now.Mono] until which credit was given
	lasting *commit
}

// SnapshotStats counts snapshots; those that were promoted, aborted or taken in
// pieces are in [Counts].
type SnapshotStats struct {
	CutsTaken       uint64
	CutsRefused     uint64 // too many were open
	CutsDropped     uint64 // idle, unreadable, or in the way of a commit
	PagesSent       uint64
	BytesSent       uint64 // of pages, about
	InstallsStarted uint64
	InstallsNeeded  uint64 // that had more to bring than the log
	InstallsGivenUp uint64
	Resumed         uint64 // pages asked for again that came, promotions that went on after a restart
	RowsStaged      uint64
	StagesLost      uint64 // promotions whose stage was damaged: the partition begins anew
}

func (s *Shard) receiveCutOpen(from ring.NodeID, m CutOpen) {
	if !s.valid(m.Partition) {
		s.Stats.Malformed++
		return
	}
	for _, c := range s.cuts {
		if c.from != from || c.partition != m.Partition {
			continue
		}
		if c.install == m.ID { // the head was lost
			s.sendHead(c)
			return
		}
		s.dropCut(c)
		break
	}
	if s.committing != nil {
		// The tree in memory is that of the state which is being committed.
		s.committing.then = append(s.committing.then, func(err error) {
			if err == nil {
				s.receiveCutOpen(from, m)
			}
		})
		return
	}
	refused := CutHead{ID: m.ID, Partition: m.Partition}
	p, err := s.loaded(m.Partition)
	switch {
	case err != nil || s.cfg.Hold == nil || s.without(Snapshots) && s.without(Trees) || !s.stores(m.Partition) || m.Clock.Covers(p.Clock()):
	case p.promoting():
		refused.Busy = true
	case len(s.cuts) >= maxCuts:
		s.Stats.CutsRefused++
		refused.Busy = true
	default:
		if c := s.takeCut(p, from, m); c != nil {
			s.sendHead(c)
			return
		}
	}
	s.send(from, refused)
}

func (s *Shard) takeCut(p *part, from ring.NodeID, m CutOpen) *cut {
	v, release, err := s.cfg.Hold()
	if err != nil {
		return nil
	}
	c := &cut{id: s.id(), from: from, install: m.ID, partition: m.Partition, view: v, release: release, theirs: m.Clock.Clone(), usedAt: s.now.Mono, takenAt: s.now.Mono}
	if c.clock, _, err = v.Clock(m.Partition); err != nil {
		_ = release()
		return nil
	}
	if t := p.wholeTree(); t != nil && c.clock.Equal(p.Clock()) {
		c.tree = t.Clone()
	}
	if len(s.cuts) == 0 {
		s.after(cutRound, s.cutsRound)
	}
	s.cuts = append(s.cuts, c)
	s.Stats.CutsTaken++
	return c
}

func (s *Shard) sendHead(c *cut) {
	c.usedAt = s.now.Mono
	h := CutHead{ID: c.install, Partition: c.partition, Cut: c.id, Clock: c.clock}
	if c.tree != nil {
		h.Leaves = c.tree.Leaves()
	}
	s.send(c.from, h)
}

// cutsRound lets go of cuts that nobody asks for any more, and of all of them
// when a commit does not come to its end: a store may be waiting for them.
func (s *Shard) cutsRound() {
	stuck := s.committing != nil && s.lasting == s.committing
	s.lasting = s.committing
	for _, c := range slices.Clone(s.cuts) {
		if stuck || s.now.Mono-c.usedAt >= cutIdle || s.now.Mono-c.takenAt >= cutLife {
			s.Stats.CutsDropped++
			s.dropCut(c)
		}
	}
	if len(s.cuts) > 0 {
		s.after(cutRound, s.cutsRound)
	}
}

func (s *Shard) dropCut(c *cut) {
	s.cuts = slices.DeleteFunc(s.cuts, func(o *cut) bool { return o == c })
	_ = c.release() // a view that does not close is the store's to report
}

// Release lets go of all views that the shard holds open. The driver calls it
// before it closes the store; the shard is not used afterwards.
func (s *Shard) Release() {
	for len(s.cuts) > 0 {
		s.dropCut(s.cuts[0])
	}
}

func (s *Shard) receiveCutDone(from ring.NodeID, m CutDone) {
	for _, c := range s.cuts {
		if c.id == m.Cut && c.from == from {
			s.dropCut(c)
			return
		}
	}
}

func (s *Shard) receiveCutAsk(from ring.NodeID, m CutAsk) {
	for _, c := range s.cuts {
		if c.id == m.Cut && c.from == from && c.partition == m.Partition {
			c.usedAt = s.now.Mono
			waits := c.waiting != nil
			if c.waiting = &m; !waits {
				s.sendPage(c)
			}
			return
		}
	}
	s.send(from, CutPage{ID: m.ID, Partition: m.Partition, Cut: m.Cut, Part: m.Part, After: m.After, Gone: true})
}

// sendPage sends the page that a cut's receiver asked for last, when the rate
// allows.
func (s *Shard) sendPage(c *cut) {
	if c.waiting == nil || !slices.Contains(s.cuts, c) {
		return
	}
	rate := s.cfg.SnapshotRate
	// Time that is not worth a byte yet is kept: several cuts that look in turn, each
	// too soon, would otherwise wait for good.
	if gain := min(s.now.Mono-s.filled, 1e9) * rate / 1e9; gain > 0 {
		s.credit, s.filled = min(s.credit+gain, int64(s.pageBytes())), s.now.Mono
	}
	if s.credit <= 0 {
		s.after((-s.credit+1)*1e9/rate+1, func() { s.sendPage(c) })
		return
	}
	m := c.waiting
	c.waiting, c.usedAt = nil, s.now.Mono
	page := CutPage{ID: m.ID, Partition: m.Partition, Cut: m.Cut, Part: m.Part, After: m.After}
	bytes, ok := c.fill(&page, m, s.pageBytes(), s.cfg.TreeKey)
	if !ok {
		// Damage, or a question that no receiver asks. What cannot be read would look
		// like rows that were removed.
		s.Stats.CutsDropped++
		s.dropCut(c)
		page = CutPage{ID: m.ID, Partition: m.Partition, Cut: m.Cut, Part: m.Part, After: m.After, Gone: true}
	}
	s.credit -= int64(bytes)
	s.Stats.PagesSent++
	s.Stats.BytesSent += uint64(bytes)
	s.send(c.from, page)
}

// pageBytes keeps a slow rate from meaning a page now and then.
func (s *Shard) pageBytes() int {
	return int(min(max(s.cfg.SnapshotRate/cutPagesSec, minCutPage), cutPage))
}

// fill reads a page from a cut, and tells how many bytes it takes. It is not ok
// when something cannot be read or was never asked by an honest receiver.
func (c *cut) fill(page *CutPage, m *CutAsk, limit int, key merkle.Key) (bytes int, ok bool) {
	switch m.Part {
	case CutLog:
		return c.fillLog(page, m.After, limit)
	case CutClears:
		return c.fillClears(page, m.After, limit)
	case CutSums:
		return c.fillSums(page, m.After, limit)
	case CutRows:
		return c.fillRows(page, m, limit, key)
	case CutOperations:
		return c.fillOperations(page, m.After, limit)
	}
	return 0, false
}

// fillLog sends the groups of the cut's log that the receiver lacked. Damaged
// ones are left out like those that were trimmed: the rows bring what they did.
func (c *cut) fillLog(page *CutPage, after []byte, limit int) (bytes int, ok bool) {
	wanted := c.clock.Minus(c.theirs)
	if len(after) > 0 {
		if len(after) != 16 {
			return 0, false
		}
		wanted = behind(wanted, dvv.Dot{Actor: dvv.Actor(binary.BigEndian.Uint64(after)), Seq: binary.BigEndian.Uint64(after[8:])})
	}
	err := c.view.Log(c.partition, wanted, func(g crdt.Group, size int) bool {
		if bytes > 0 && bytes+size > limit {
			last := page.Groups[len(page.Groups)-1]
			page.Next = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, uint64(last.Actor)), last.Last())
			return false
		}
		bytes += size
		page.Groups = append(page.Groups, g)
		return true
	})
	return bytes, err == nil || eachDamage(err, func(record) {})
}

// behind returns the dots of c that come after d.
func behind(c dvv.Clock, d dvv.Dot) (out dvv.Clock) {
	for actor, run := range c.Intervals() {
		switch {
		case actor > d.Actor || actor == d.Actor && run.First > d.Seq:
			out.AddRange(actor, run.First, run.Last)
		case actor == d.Actor && run.Last > d.Seq:
			out.AddRange(actor, d.Seq+1, run.Last)
		}
	}
	return out
}

func (c *cut) fillClears(page *CutPage, after []byte, limit int) (bytes int, ok bool) {
	err := c.view.AllDead(c.partition, func(k crdt.Key, dots dvv.Clock) bool {
		place := k.AppendPrefix(nil)
		if string(place) <= string(after) {
			return true
		}
		if bytes >= limit {
			last := page.Clears[len(page.Clears)-1].Key
			page.Next = last.AppendPrefix(nil)
			return false
		}
		bytes += len(place) + 20*dots.Actors()
		page.Clears = append(page.Clears, Clears{k, dots})
		return true
	})
	return bytes, err == nil
}

func (c *cut) fillSums(page *CutPage, after []byte, limit int) (bytes int, ok bool) {
	first := 0
	if len(after) > 0 {
		if len(after) != 4 {
			return 0, false
		}
		first = int(binary.BigEndian.Uint32(after))
	}
	if c.tree == nil || first >= c.tree.Leaves() {
		return 0, false
	}
	end := min(c.tree.Leaves(), first+max(limit/len(merkle.Sum{}), 1))
	for leaf := first; leaf < end; leaf++ {
		page.Sums = append(page.Sums, c.tree.Leaf(leaf))
	}
	if end < c.tree.Leaves() {
		page.Next = binary.BigEndian.AppendUint32(nil, uint32(end))
	}
	return len(page.Sums) * len(merkle.Sum{}), true
}

func (c *cut) fillRows(page *CutPage, m *CutAsk, limit int, key merkle.Key) (bytes int, ok bool) {
	leaves := 8 * len(m.Wanted.Leaves)
	if c.tree != nil && leaves >= c.tree.Leaves() {
		leaves = c.tree.Leaves()
	}
	if len(m.Wanted.Leaves) > 0 && (c.tree == nil || leaves != c.tree.Leaves()) {
		return 0, false
	}
	keys := make(map[crdt.Key]bool, len(m.Wanted.Keys))
	for _, k := range m.Wanted.Keys {
		keys[k] = true
	}
	looked := 0
	err := c.view.AllRows(c.partition, m.After, func(a crdt.Address, r crdt.Row) bool {
		place := a.AppendBinary(nil)
		if bytes >= limit || looked >= cutWalk {
			page.Next = place
			return false
		}
		looked++
		if m.Wanted.All || keys[a.Key] || leaves > 0 && bit(m.Wanted.Leaves, key.Leaf(place, leaves)) {
			bytes += len(place) + rowBytes(r)
			page.Rows = append(page.Rows, AddressedRow{a, r})
		}
		return true
	})
	return bytes, err == nil
}

// fillOperations sends what the cut remembers of operations with a dot that the
// receiver lacked: of the others it knows by itself.
func (c *cut) fillOperations(page *CutPage, after []byte, limit int) (bytes int, ok bool) {
	from, ok := readOperationKey(after)
	if !ok {
		return 0, false
	}
	looked := 0
	err := c.view.AllRemembered(c.partition, from, func(m crdt.Remembered) bool {
		if bytes >= limit || looked >= cutWalk {
			page.Next = operationKey(m.Op)
			return false
		}
		looked++
		if slices.ContainsFunc(m.Dots, func(d dvv.Dot) bool { return !c.theirs.Contains(d) }) {
			bytes += m.Bytes()
			page.Operations = append(page.Operations, m)
		}
		return true
	})
	return bytes, err == nil || eachDamage(err, func(record) {})
}
