package replica

import (
	"slices"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/replica/merkle"
)

// How many members a set has, without reading them.
//
// A set of few rows is counted by reading those (Config.FewRows). A larger one has
// a [Summary] in the store: a number, and a sum over all its rows that tells
// whether another replica has the same. A summary is only ever made by a walk over
// the set's rows (summary_walk.go), begun when the set has grown or somebody wants
// its size, and from then on it is stepped with every row that changes, in the
// same transaction. So it is right, or it is not there:
//
//	rows change    putRow steps it: writes, promotions, repairs of rows that differ
//	rows replaced  a row that was damaged counted for nobody knows what: the
//	               partition's summaries are removed
//	rows differ    under one clock, or the tree is not the sum of its rows: below
//	               everything a row was changed, so summaries are removed too
//	it is damaged  it is removed
//
// and where there is none, a set of many rows is not counted, until a walk is over.
type partSets struct {
	changed map[crdt.Key]*Summary // by the open transaction
	walk    *summaryWalk          // nil when none is under way
	grown   []crdt.Key            // sets that the open transaction added to, and that may be large by now
	few     int                   // rows of a set that need no summary
}

// stepSummary takes a summary from a row before a change to the row after.
func stepSummary(s *Summary, before, after crdt.Row, was, is merkle.Sum) {
	count := func(n *uint64, before, after bool) {
		if before {
			*n--
		}
		if after {
			*n++
		}
	}
	count(&s.Members, len(before.Live) > 0, len(after.Live) > 0)
	count(&s.Rows, !before.IsEmpty(), !after.IsEmpty())
	s.Sum = s.Sum.Sub(was).Add(is)
}

// summarize keeps what is known of a set in step with one of its rows. hashes
// returns those of the row before and after.
func (p *Partition) summarize(tx Tx, a crdt.Address, before, after crdt.Row, hashes func() (was, is merkle.Sum)) error {
	if w := p.walk; w != nil && w.key == a.Key {
		if w.over || a.Field < w.from { // the others the walk will meet as they are then
			was, is := hashes()
			stepSummary(&w.sum, before, after, was, is)
		}
		return nil
	}
	s := p.changed[a.Key]
	if s == nil {
		stored, found, err := tx.Summary(p.ID, a.Key)
		if p.spares(err) {
			found = false
		} else if err != nil {
			return err
		}
		if !found {
			p.note(a.Key, before, after)
			return nil
		}
		s = p.keepSummary(a.Key, stored)
	}
	was, is := hashes()
	stepSummary(s, before, after, was, is)
	return nil
}

// keepSummary makes a summary part of the open transaction.
func (p *Partition) keepSummary(k crdt.Key, s Summary) *Summary {
	if p.changed == nil {
		p.changed = map[crdt.Key]*Summary{}
	}
	p.changed[k] = &s
	return &s
}

// saveSummaries writes the summaries that the transaction changed, each once.
func (p *Partition) saveSummaries(tx Tx) error {
	for k, s := range p.changed {
		if s.Rows == 0 {
			*s = Summary{}
		}
		if err := tx.PutSummary(p.ID, k, *s); err != nil {
			return err
		}
	}
	clear(p.changed)
	return nil
}

// maxGrown bounds the sets that one transaction finds to have grown; there will be
// others.
const maxGrown = 16

// note calls for a look at the set of one in so many rows that are new. A set that
// grows is found soon after it is large, whatever else its partition holds; and
// since one that is found to be large has a summary from then on, a look costs
// about a row for each that is added.
func (p *Partition) note(k crdt.Key, before, after crdt.Row) {
	if p.few == 0 || !before.IsEmpty() || len(after.Live) == 0 || len(p.grown) >= maxGrown {
		return
	}
	if after.Live[0].Dot.Seq%uint64(p.few) == 0 && !slices.Contains(p.grown, k) {
		p.grown = append(p.grown, k)
	}
}

// forgetSummary removes what is kept of a set. It is summed up again.
func (p *Partition) forgetSummary(tx Tx, k crdt.Key) error {
	if p.walk != nil && p.walk.key == k {
		p.walk = nil
	}
	delete(p.changed, k)
	_, found, err := tx.Summary(p.ID, k)
	if p.spares(err) || err == nil && !found {
		return nil
	}
	if err == nil {
		err = tx.PutSummary(p.ID, k, Summary{})
	}
	if !slices.Contains(p.grown, k) {
		p.grown = append(p.grown, k)
	}
	return err
}

// forgetSummaries removes all summaries of the partition.
func (p *Partition) forgetSummaries(tx Tx) error {
	p.walk = nil
	clear(p.changed)
	var all []crdt.Key
	err := p.sparing(tx.AllSummaries(p.ID, func(k crdt.Key, _ Summary) bool {
		all = append(all, k)
		return true
	}))
	for _, k := range all {
		if err == nil {
			err = tx.PutSummary(p.ID, k, Summary{})
		}
	}
	if err == nil {
		p.grown = append(p.grown, all...)
	}
	return err
}

// maxExpired bounds the rows that have expired and were not removed yet among which
// those of one set are looked for.
const maxExpired = 4096

// countMembers adds to an answer how many members of a set have not expired by a
// time, and the sum over its rows. What cannot be told without reading many rows
// is left out: the answer then is not Counted. large tells that the set has many
// rows and no summary.
func (a *Answer) countMembers(v View, p int, q Query, key merkle.Key, few int) (large bool, err error) {
	s, found, err := v.Summary(p, q.Key)
	if err != nil {
		return false, err
	}
	if !found {
		return a.countRows(v, p, q, key, few)
	}
	left, expired := maxExpired, uint64(0)
	err = v.Expiring(p, q.Count, func(_ int64, r crdt.Address) bool {
		if r.Key == q.Key {
			expired++
		}
		left--
		return left > 0
	})
	if err != nil || left == 0 || expired > s.Members {
		return false, err
	}
	a.Counted, a.Count, a.Sum = true, s.Members-expired, s.Sum
	return false, nil
}

// countRows counts by reading, a few rows at most.
func (a *Answer) countRows(v View, p int, q Query, key merkle.Key, few int) (large bool, err error) {
	h := rowTree{key: key}
	var members uint64
	var sum merkle.Sum
	rows, size := 0, 0
	var malformed error
	err = v.Rows(p, q.Key, "", func(field string, r crdt.Row) bool {
		if rows++; rows > few || size > pageBytes {
			large = true
			return false
		}
		size += rowBytes(r)
		sum = sum.Add(h.row(crdt.Address{Key: q.Key, Field: field}, r))
		m, live, err := r.Member()
		if live && !m.Expired(q.Count) {
			members++
		}
		malformed = err
		return err == nil
	})
	if err != nil || large || malformed != nil {
		return large, err
	}
	a.Counted, a.Count, a.Sum = true, members, sum
	return false, nil
}

// counted is how many members answers show together, if they can tell. They can when
// their sums are equal, and with them all rows, whatever their clocks: the join of
// equal rows is those rows. For a live dot stays when both sides have it live; no
// other can become live; and a dot that is deferred at the key on one side is not in
// that side's clock, while all that is live there is (rule 5): so it is live on
// neither. What a clock covers beyond the other's was killed, or is live on both.
//
// The counts are compared too: they rest on the index of expiries besides, and that
// may be damaged on one side.
func counted(answers []Answer) (n uint64, ok bool) {
	for i := range answers {
		a := &answers[i]
		if !a.Counted || a.Sum != answers[0].Sum || a.Count != answers[0].Count {
			return 0, false
		}
	}
	if len(answers) == 0 {
		return 0, false
	}
	return answers[0].Count, true
}
