package replica

import (
	"slices"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/replica/merkle"
)

// summaryWalk sums up the rows of one set, in slices, as they stand between
// commits. Rows that it has passed are stepped when they change.
type summaryWalk struct {
	key  crdt.Key
	from string // the field where it goes on
	over bool   // it has passed all rows, and waits for the commit that stores the sum
	sum  Summary
	size int // bytes of rows
}

// wantedSummary is a set whose rows are to be summed up.
type wantedSummary struct {
	partition int
	key       crdt.Key
}

type shardSummaries struct{ wanted []wantedSummary }

// maxWanted bounds the sets that wait for their walk. Who finds no room is counted
// by reading, and asks again.
const maxWanted = 256

// SummaryStats counts what became of sizes of sets.
type SummaryStats struct {
	Summarized uint64 // sets whose rows were summed up
	SizesTold  uint64 // reads of a size that all answers agreed on
	SizesApart uint64 // reads of a size for which some answers had other rows than others, or did not know
}

// wantSummary queues a set to be summed up.
func (s *Shard) wantSummary(partition int, k crdt.Key) {
	w := wantedSummary{partition, k}
	if len(s.wanted) < maxWanted && !slices.Contains(s.wanted, w) {
		s.wanted = append(s.wanted, w)
		s.wakeTrees()
	}
}

// surveyGrown takes over which sets a transaction found to have grown.
func (s *Shard) surveyGrown(c *commit, p *part) {
	grown := p.grown
	if p.grown = nil; len(grown) == 0 {
		return
	}
	c.then = append(c.then, func(err error) {
		for _, k := range grown {
			if err == nil {
				s.wantSummary(p.ID, k)
			}
		}
	})
}

// summarySlice does one slice of the first walk that waits. What is in memory is
// what is committed.
func (s *Shard) summarySlice() {
	w := s.wanted[0]
	if !s.stores(w.partition) {
		s.endWalk(w)
		return
	}
	p, err := s.loaded(w.partition)
	if err != nil || s.ailing || p.DamagedRows() > 0 { // events leave damaged rows alone: what they come to is not known
		s.endWalk(w)
		return
	}
	if p.walk == nil || p.walk.key != w.key {
		p.walk = &summaryWalk{key: w.key} // or anew, after a transaction was lost
	}
	if p.walk.over {
		return // its commit is on its way
	}
	there, err := s.walkRows(p, p.walk)
	_ = s.damaged(p.ID, err)
	switch {
	case err != nil, p.walk == nil, there, p.walk.over && int(p.walk.sum.Rows) <= s.cfg.FewRows && p.walk.size <= pageBytes:
		s.endWalk(w)
	case p.walk.over:
		s.enqueue(0, func(c *commit) error { return s.storeSummary(c, w) })
	}
}

// walkRows sums up one more slice of a set's rows. there tells that the set has a
// summary.
func (s *Shard) walkRows(p *part, w *summaryWalk) (there bool, err error) {
	h := rowTree{key: s.cfg.TreeKey}
	rows, size, most := 0, 0, min(sliceRows, 2*s.cfg.FewRows)
	err = s.cfg.Read(func(v View) (err error) {
		if _, there, err = v.Summary(p.ID, w.key); err != nil || there {
			return err
		}
		w.over = true
		return v.Rows(p.ID, w.key, w.from, func(field string, r crdt.Row) bool {
			if rows == most || size > sliceBytes {
				w.from, w.over = field, false
				return false
			}
			rows++
			size += rowBytes(r)
			stepSummary(&w.sum, crdt.Row{}, r, merkle.Sum{}, h.row(crdt.Address{Key: w.key, Field: field}, r))
			return true
		})
	})
	w.size += size
	return there, err
}

// endWalk gives a walk up, or ends one whose sum is not kept.
func (s *Shard) endWalk(w wantedSummary) {
	s.wanted = slices.DeleteFunc(s.wanted, func(o wantedSummary) bool { return o == w })
	if p := s.parts[w.partition]; p != nil && p.walk != nil && p.walk.key == w.key {
		p.walk = nil
	}
}

// storeSummary keeps what a walk came to, and what changed since.
func (s *Shard) storeSummary(c *commit, w wantedSummary) error {
	p, err := c.part(w.partition)
	if err != nil {
		return err
	}
	if p.walk == nil || p.walk.key != w.key || !p.walk.over {
		return nil // lost with a transaction: the walk begins anew
	}
	p.keepSummary(w.key, p.walk.sum)
	p.walk = nil
	c.then = append(c.then, func(err error) {
		if err == nil {
			s.Stats.Summarized++
			s.endWalk(w)
		}
	})
	return nil
}

// countFor answers a query that counts.
func (s *Shard) countFor(v View, m Asking, a *Answer) (met error) {
	p := s.parts[m.Partition]
	if p != nil && p.DamagedRows() > 0 {
		return nil // clock and rows do not fit
	}
	large, met := a.countMembers(v, m.Partition, m.Query, s.cfg.TreeKey, s.cfg.FewRows)
	if large {
		s.wantSummary(m.Partition, m.Query.Key)
	}
	return met
}
