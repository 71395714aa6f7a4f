package replica

import (
	"slices"
	"strings"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
)

// Merged is the join of several replicas' answers (rule 6). It changes nobody's
// state.
type Merged struct {
	Clock dvv.Clock
	Dead  dvv.Clock
	Rows  []Found // sorted by field; rows with nothing live are left out
	// Last is where a span was cut: every field up to and including it was merged
	// from all answers. Empty when the span is complete.
	Last string
	More bool
	// Of a query that counts: how many members there are, Counted only when all
	// answers tell and have the same rows.
	Count   uint64
	Counted bool

	answers []Answer
}

// Merge joins answers to one query. In a span, each replica's page may end
// elsewhere: only fields that every replica spoke about are merged.
func Merge(answers []Answer) Merged {
	m := Merged{answers: answers}
	for _, a := range answers {
		if a.More && len(a.Rows) > 0 {
			if last := a.Rows[len(a.Rows)-1].Field; !m.More || last < m.Last {
				m.Last = last
			}
			m.More = true
		}
	}
	if len(answers) == 1 {
		m.only(&answers[0])
	} else {
		m.join()
	}
	m.Count, m.Counted = counted(answers)
	return m
}

// only takes over the only answer there is: nobody else has its clocks.
func (m *Merged) only(a *Answer) {
	m.Clock, m.Dead = a.Clock, a.Dead
	for _, f := range a.Rows {
		if len(f.Row.Live) > 0 {
			m.Rows = append(m.Rows, f)
		}
	}
}

// join joins several answers.
func (m *Merged) join() {
	for i, a := range m.answers {
		if i == 0 {
			m.Clock, m.Dead = a.Clock.Clone(), a.Dead.Clone()
			continue
		}
		m.Clock.Join(a.Clock)
		m.Dead.Join(a.Dead)
	}
	known := joinedBefore(m.answers)
	for _, f := range fieldsOf(m.answers) {
		if m.More && f > m.Last {
			break
		}
		if row := mergeField(m.answers, known, f); len(row.Live) > 0 {
			m.Rows = append(m.Rows, Found{f, row})
		}
	}
}

// joinedBefore returns, for each answer but the first, what those before it know
// together. It is the same for all rows, of which there may be very many.
func joinedBefore(answers []Answer) []crdt.Side {
	known := make([]crdt.Side, len(answers))
	for i := 1; i < len(answers); i++ {
		before := crdt.Side{Clock: answers[i-1].Clock, Dead: answers[i-1].Dead}
		if known[i] = before; i > 1 {
			known[i], _ = crdt.JoinSides(known[i-1], before)
		}
	}
	return known
}

func mergeField(answers []Answer, known []crdt.Side, field string) (row crdt.Row) {
	for i := range answers {
		a := &answers[i]
		if i == 0 {
			row = a.row(field)
			continue
		}
		at := crdt.Address{Key: crdt.Key{Type: a.Type}, Field: field}
		row, _ = crdt.Join(
			crdt.Side{Row: row, Clock: known[i].Clock, Dead: at.Cleared(known[i].Dead)},
			crdt.Side{Row: a.row(field), Clock: a.Clock, Dead: at.Cleared(a.Dead)},
		)
	}
	return row
}

func (a *Answer) row(field string) crdt.Row {
	at, found := slices.BinarySearchFunc(a.Rows, field, func(f Found, s string) int { return strings.Compare(f.Field, s) })
	if !found {
		return crdt.Row{}
	}
	return a.Rows[at].Row
}

func fieldsOf(answers []Answer) []string {
	var fields []string
	for _, a := range answers {
		for _, f := range a.Rows {
			fields = append(fields, f.Field)
		}
	}
	slices.Sort(fields)
	return slices.Compact(fields)
}

// Row returns the merged row of a field, empty when nothing is live.
func (m *Merged) Row(field string) crdt.Row {
	if m == nil {
		return crdt.Row{}
	}
	at, found := slices.BinarySearchFunc(m.Rows, field, func(f Found, s string) int { return strings.Compare(f.Field, s) })
	if !found {
		return crdt.Row{}
	}
	return m.Rows[at].Row
}

// Doomed returns the dots that a remove of a field kills: those the merged read
// shows, and those that one of the answers still had live. The kill of the latter
// may so far be durable on one replica only; the remove must not rest on it.
func (m *Merged) Doomed(field string) []dvv.Dot {
	if m == nil {
		return nil
	}
	var dots []dvv.Dot
	for i := range m.answers {
		dots = append(dots, m.answers[i].row(field).Dots()...)
	}
	return sortedDots(dots)
}

// agreed tells whether all answers have the same live dots in a row.
func (m *Merged) agreed(field string) bool {
	if m == nil {
		return false
	}
	for i := range m.answers[1:] {
		if !slices.Equal(m.answers[0].row(field).Dots(), m.answers[i+1].row(field).Dots()) {
			return false
		}
	}
	return true
}

// atRest tells whether a counter was reset before and nothing is in it that a reset
// could take back. All answers have to say so: the reset that one of them shows may
// so far be durable there only.
func (m *Merged) atRest(field string) bool { return m.Row(field).IsReset() && m.agreed(field) }

// Under returns the fields of all rows that one of the answers had and whose fields
// begin with a prefix, in order.
func (m *Merged) Under(prefix string) []string {
	if m == nil {
		return nil
	}
	var fields []string
	for i := range m.answers {
		rows := m.answers[i].Rows
		at, _ := slices.BinarySearchFunc(rows, prefix, func(f Found, s string) int { return strings.Compare(f.Field, s) })
		for ; at < len(rows) && strings.HasPrefix(rows[at].Field, prefix); at++ {
			fields = append(fields, rows[at].Field)
		}
	}
	slices.Sort(fields)
	return slices.Compact(fields)
}

// AnyLive tells whether one of the answers had something live, or more to come: a
// delete then has something to kill, for the same reason as [Merged.Doomed].
func (m *Merged) AnyLive() bool {
	return m != nil && slices.ContainsFunc(m.answers, func(a Answer) bool {
		return a.More || slices.ContainsFunc(a.Rows, func(f Found) bool { return len(f.Row.Live) > 0 })
	})
}

// IsEmpty tells whether the read showed nothing at all.
func (m *Merged) IsEmpty() bool { return m == nil || len(m.Rows) == 0 && !m.More }

// differs tells whether a replica's answer shows other rows than the merged
// read: a reason to nudge it to catch up. Clocks alone differ all the time while
// writes are under way.
func (m *Merged) differs(a *Answer) bool {
	i := 0
	for _, f := range a.Rows {
		if m.More && f.Field > m.Last {
			break
		}
		if len(f.Row.Live) == 0 {
			continue
		}
		if i >= len(m.Rows) || m.Rows[i].Field != f.Field || !slices.Equal(m.Rows[i].Row.Dots(), f.Row.Dots()) {
			return true
		}
		i++
	}
	return i < len(m.Rows)
}
