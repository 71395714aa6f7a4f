package replicatest

import (
	"slices"
	"strings"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica"
	"github.com/cartwheel-db/cartwheel/ring"
)

// quorate returns the dots that any r owners together are bound to know from
// now on, because too few owners lack them. Empty while nodes disagree about who
// owns what.
func (w *World) quorate(p, r int) dvv.Clock {
	for _, n := range w.nodes {
		if n.ring.Hash() != w.ring.Hash() {
			return dvv.Clock{}
		}
	}
	owners := w.ring.Owners(p)
	var clocks []dvv.Clock
	for _, id := range owners {
		clocks = append(clocks, w.nodes[w.index(id)].durableOf(p))
	}
	if r > len(clocks) {
		return dvv.Clock{}
	}
	// Every choice of r owners knows what all the joins have in common.
	var sure dvv.Clock
	first := true
	for set := range 1 << len(clocks) {
		if copies(uint(set)) != r {
			continue
		}
		var join dvv.Clock
		for i, c := range clocks {
			if set>>i&1 == 1 {
				join.Join(c)
			}
		}
		if first {
			sure, first = join, false
		} else {
			sure = sure.Intersect(join)
		}
	}
	return sure
}

// asking is what a read is held to, from the moment it reached its endpoint.
type asking struct {
	replica.Request
	at        *node
	query     replica.Query
	partition int
	r         int
	quorate   dvv.Clock
	wild      int
	promised  dvv.Clock
	rings     int
	members   []ring.NodeID
}

func (w *World) begin(n *node, r replica.Request) asking {
	a := asking{Request: r, at: n, query: *r.Query, r: r.R, wild: w.wild, rings: w.rings, members: w.members()}
	a.partition = w.ring.Partition(a.query.Key.Bucket, a.query.Key.Name)
	if a.r == 0 {
		a.r = 2
	}
	a.quorate, a.promised = w.quorate(a.partition, a.r), w.memory.parts[a.partition].promised.Clone()
	return a
}

// wall is what the clock of the node shows that was asked.
func (a asking) wall() int64 { return a.at.clock().Wall }

// checkRead holds an answer to two things: it knows all that R owners had to
// know when it was asked, so whoever was told that a write is done sees it; and
// its rows are exactly what follows from the events it claims to know.
func (w *World) checkRead(a asking, res replica.Result) {
	if res.Failure != nil {
		return
	}
	m := res.Merged
	if res.Answers < a.r {
		w.fail("%v at R=%d was answered with %d answers", a.query, a.r, res.Answers)
	}
	if !res.Degraded && a.wild == w.wild && !a.quorate.IsEmpty() {
		w.report.Checked.FreshReads++
	}
	if !res.Degraded && a.wild == w.wild && !m.Clock.Covers(a.quorate) {
		w.fail("%v at R=%d shows the state at %v and misses %v, which too many owners had for R of them to miss", a.query, a.r, m.Clock, a.quorate.Minus(m.Clock))
	}
	part := w.memory.parts[a.partition]
	w.checkPromised(a, res)
	var want []replica.Found
	if log := part.byKey[a.query.Key]; log != nil {
		w.checkWhole(a, log, m)
		for _, row := range log.rows {
			if inQuery(a.query, row.field, m) {
				if r := log.fold(row, m.Clock); len(r.Live) > 0 {
					want = append(want, replica.Found{Field: row.field, Row: r})
				}
			}
		}
	}
	for _, f := range m.Rows {
		w.checkHidden(a.query, f, a.wall())
	}
	same := slices.EqualFunc(want, m.Rows, func(a, b replica.Found) bool { return a.Field == b.Field && sameLive(a.Row, b.Row) })
	if !same {
		w.fail("%v shows at %v\n  %v\nwhat follows from these events is\n  %v", a.query, m.Clock, m.Rows, want)
	}
}

func sameLive(a, b crdt.Row) bool {
	return slices.EqualFunc(a.Live, b.Live, func(a, b crdt.Live) bool { return a.Dot == b.Dot && a.Payload.Equal(b.Payload) })
}

// inQuery tells whether the answer to a query speaks about a field.
func inQuery(q replica.Query, field string, m *replica.Merged) bool {
	if q.Span != nil {
		return field > q.Span.After && (!m.More || field <= m.Last) || q.Span.After == "" && field == ""
	}
	if q.Key.Type == crdt.Map {
		return q.Every || slices.ContainsFunc(q.Fields, func(f string) bool {
			p, _ := crdt.DecodePath(f)
			return f == field || p.Whole() && strings.HasPrefix(field, f)
		})
	}
	return slices.Contains(q.Fields, field) || len(q.Fields) == 0 && field == ""
}
