package replica

import (
	"slices"

	"github.com/cartwheel-db/cartwheel/replica/merkle"
	"github.com/cartwheel-db/cartwheel/ring"
)

// Two trees that differ under equal clocks cannot be, by construction. When they
// are, it is an alarm, and both owners walk down to the leaves that differ, tell
// each other the rows in them, and keep the union:
//
//	a ── TreeBranch ─▶ b      sums of the root's children
//	a ◀─ TreeBranch ── b      sums below those that differ, and so on
//	a ── RowPrints ──▶ b      a's rows in the leaves that differ
//	a ◀─ RowsApart ─── b      b's rows that are others, and which of a's it wants
//	a ── RowsMend ───▶ b
//
// Each step bears the clock of its sender. As soon as one of them moved, the walk
// is over and the pair is compared again later: what differs by timing alone is
// never repaired.

const (
	maxSteps   = 1 << 10      // nodes of one step
	maxLeaves  = 1 << 8       // leaves of one walk; the others are met by the next one
	walkRows   = 1 << 12      // rows of one walk, unless a single leaf has more
	maxMends   = 64           // walks of one pair in one turn
	walkAllows = int64(5e9)   // nanoseconds for one step
	scanAllows = int64(600e9) // for a list of rows
)

// treeWalk is the one walk that this node leads.
type treeWalk struct {
	id    uint64
	pair  *pair
	print [16]byte
	began int64 // the list of rows
	until int64
	rows  []scannedRow
}

// startWalk follows up two roots that differ under one clock.
func (s *Shard) startWalk(p *pair) {
	_, tree := s.comparable(p.partition, p.print)
	if tree == nil {
		s.lookAgain(p)
		return
	}
	if s.trees.walk != nil || slices.ContainsFunc(s.trees.scans, func(l *leafScan) bool { return l.partition == p.partition }) {
		p.due = s.now.Mono + 2*s.lookEvery()
		return
	}
	s.Stats.Diverged++
	s.Stats.Walks++
	p.unlike = true
	w := &treeWalk{id: s.id(), pair: p, print: p.print}
	s.trees.walk = w
	if tree.Levels() == 1 {
		s.listRows(w, []int{0})
		return
	}
	first := tree.Children(0, []int{0})
	s.stepDown(w, merkle.Step{Level: 1, Indices: first, Sums: tree.Sums(1, first)})
}

func (s *Shard) walksDown(p *pair) bool { return s.trees.walk != nil && s.trees.walk.pair == p }

func (s *Shard) stepDown(w *treeWalk, step merkle.Step) {
	w.until = s.now.Mono + walkAllows
	s.send(w.pair.peer, TreeBranch{ID: w.id, Partition: w.pair.partition, Print: w.print, Step: trimStep(step)})
}

// trimStep bounds a step by leaving out the nodes behind the first ones.
func trimStep(step merkle.Step) merkle.Step {
	if len(step.Indices) > maxSteps {
		step.Indices, step.Sums = step.Indices[:maxSteps], step.Sums[:maxSteps]
	}
	return step
}

// walking returns the walk that a reply belongs to. One under another clock, on
// either side, ends it.
func (s *Shard) walking(from ring.NodeID, id uint64, partition int, mark [16]byte) (*treeWalk, *merkle.Tree) {
	w := s.trees.walk
	if w == nil || w.id != id || w.pair.peer != from || w.pair.partition != partition {
		return nil, nil
	}
	_, tree := s.comparable(partition, w.print)
	if tree == nil || mark != w.print {
		s.restartWalk(w)
		return nil, nil
	}
	return w, tree
}

func (s *Shard) restartWalk(w *treeWalk) {
	s.Stats.WalksRestarted++
	s.trees.walk = nil
	s.lookAgain(w.pair)
}

func (s *Shard) expireWalk() {
	if w := s.trees.walk; w != nil && w.until <= s.now.Mono {
		s.restartWalk(w)
	}
}

func (s *Shard) receiveBranch(from ring.NodeID, m TreeBranch) {
	if !m.Reply {
		s.answerBranch(from, m)
		return
	}
	w, tree := s.walking(from, m.ID, m.Partition, m.Print)
	if w == nil {
		return
	}
	next, leaves, err := tree.Descend(m.Step)
	switch {
	case err != nil:
		s.Stats.Malformed++
		s.restartWalk(w)
	case len(leaves) > 0:
		s.listRows(w, leaves)
	case len(next.Indices) > 0:
		s.stepDown(w, next)
	default:
		s.restartWalk(w)
	}
}

// answerBranch goes one level down. At the leaves it replies with those that
// differ.
func (s *Shard) answerBranch(from ring.NodeID, m TreeBranch) {
	reply := TreeBranch{ID: m.ID, Partition: m.Partition, Reply: true}
	if _, tree := s.comparable(m.Partition, m.Print); tree != nil && !s.without(Trees) {
		next, leaves, err := tree.Descend(m.Step)
		if err != nil {
			s.Stats.Malformed++
			return
		}
		if leaves != nil {
			next.Indices, next.Sums = leaves, tree.Sums(next.Level, leaves)
		}
		reply.Print, reply.Step = m.Print, trimStep(next)
	}
	s.send(from, reply)
}

// listRows sends this node's rows in the leaves that differ.
func (s *Shard) listRows(w *treeWalk, leaves []int) {
	l := &leafScan{partition: w.pair.partition, print: w.print, leaves: leaves[:min(len(leaves), maxLeaves)], limit: walkRows}
	l.ended = func(ok bool) {
		if s.trees.walk != w {
			return
		}
		if !ok {
			s.restartWalk(w)
			return
		}
		w.rows = l.rows
		w.until = s.now.Mono + walkAllows + 4*(s.now.Mono-w.began) // the peer's list takes as long
		s.send(w.pair.peer, RowPrints{ID: w.id, Partition: l.partition, Print: l.print, Leaves: l.leaves, Rows: l.prints()})
	}
	w.began, w.until = s.now.Mono, s.now.Mono+scanAllows
	if !s.scan(l) {
		s.restartWalk(w)
	}
}

func (l *leafScan) prints() []RowPrint {
	out := make([]RowPrint, len(l.rows))
	for i := range l.rows {
		out[i] = RowPrint{l.rows[i].place, l.rows[i].sum}
	}
	slices.SortFunc(out, RowPrint.compare)
	return out
}

func (r RowPrint) compare(o RowPrint) int {
	switch {
	case r.Place < o.Place:
		return -1
	case r.Place > o.Place:
		return 1
	}
	return slices.Compare(r.Sum[:], o.Sum[:])
}
