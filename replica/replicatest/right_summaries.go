package replicatest

import (
	"fmt"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/replica"
	"github.com/cartwheel-db/cartwheel/replica/merkle"
)

// CheckSummaries compares what is kept of each set of a partition with its rows, and
// tells how many sets something is kept of.
func CheckSummaries(v replica.View, p int, key merkle.Key) (kept int, err error) {
	was := map[crdt.Key]replica.Summary{}
	if err := v.AllSummaries(p, func(k crdt.Key, s replica.Summary) bool { was[k] = s; return true }); err != nil {
		return 0, err
	}
	is := map[crdt.Key]replica.Summary{}
	err = v.AllRows(p, nil, func(a crdt.Address, r crdt.Row) bool {
		s := is[a.Key]
		if s.Rows++; len(r.Live) > 0 {
			s.Members++
		}
		s.Sum = s.Sum.Add(key.Row(crdt.AppendRow(a.AppendBinary(nil), r)))
		is[a.Key] = s
		return true
	})
	for k, s := range was {
		if err == nil && (s != is[k] || k.Type != crdt.Set) {
			err = fmt.Errorf("of %v in partition %d %+v is kept, its rows come to %+v", k, p, s, is[k])
		}
	}
	return len(was), err
}

// checkSummaries looks at all that is stored anywhere.
func (w *World) checkSummaries() {
	for _, n := range w.nodes {
		for p := range w.profile.partitions {
			kept, err := CheckSummaries(n.store.View(), p, treeKey)
			if err != nil {
				w.fail("at %v %w", n.id, err)
			}
			w.report.Checked.Summaries += kept
		}
	}
}

// fewRows is small, for the sets of a simulation are.
const fewRows = 2

// checkSize compares a set's size with the members that came along.
func (w *World) checkSize(q *replica.Query, m *replica.Merged) {
	if !m.Counted || m.More {
		return
	}
	var members uint64
	for _, f := range m.Rows {
		if member, live, _ := f.Row.Member(); live && !member.Expired(q.Count) {
			members++
		}
	}
	if members != m.Count {
		w.fail("%v has %d members, and is said to have %d", q.Key, members, m.Count)
	}
	w.report.Checked.Sizes++
}
