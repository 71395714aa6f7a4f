package replica

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica/merkle"
)

// Query names the rows a read wants: the key's only row, or, of a set or map, some
// of its rows, a span of them, or no row but how many members there are.
type Query struct {
	Key    crdt.Key
	Fields []string // members of a set; encoded paths of a map's rows, or of whole set fields
	Span   *Span
	Every  bool  // of a map: all rows, of which there may be [MaxRows]; with fields, all rows of whole set fields
	Count  int64 // of a set: how many members there are that have not expired at this time, in milliseconds since the Unix epoch; 0 for no count
}

// Span is a run of a set's members, or of a map's rows, in byte order.
type Span struct {
	Prefix string
	From   string // inclusive; empty for the start
	Until  string // exclusive; empty for the end
	After  string // exclusive: where the page before ended; empty for none
	Limit  int    // rows each replica may answer with
}

// Bounds of one query.
const (
	MaxFields  = 1000
	MaxPage    = 1000
	MaxRows    = 4096    // of a map that are removed or deleted at once
	pageBytes  = 1 << 20 // a replica's page ends early beyond this many bytes
	maxAnswer  = 6 << 20 // bytes; an answer must fit into one message
	afterField = "\x00"  // appended to a field: the smallest string that follows it

	// MaxAnswerRows bounds the rows of one answer, those included of which nothing but
	// a counter's reset is left.
	MaxAnswerRows = 1 << 16
)

// Check refuses what no client may ask for.
func (q *Query) Check() error {
	if err := q.Key.Check(); err != nil {
		return err
	}
	t := q.Key.Type
	switch {
	case !t.HasFields() && len(q.Fields) > 0:
		return fmt.Errorf("a %v has no members", t)
	case q.Every && t != crdt.Map || q.Count != 0 && t != crdt.Set || q.Count < 0:
		return fmt.Errorf("every row of a %v, or their count at %d", t, q.Count)
	case t.HasFields() && len(q.Fields) == 0 && q.Span == nil && !q.Every && q.Count == 0:
		return fmt.Errorf("a read of a %v names members or a span of them", t)
	case len(q.Fields) > MaxFields:
		return fmt.Errorf("%d members asked for, limit %d", len(q.Fields), MaxFields)
	}
	for _, f := range q.Fields {
		if err := checkField(t, f); err != nil {
			return err
		}
	}
	if s := q.Span; s != nil {
		return s.check(t)
	}
	return nil
}

// checkField refuses what names no row of a key of this type, nor, of a map, a whole
// set field.
func checkField(t crdt.Type, f string) error {
	if t == crdt.Map {
		_, err := crdt.DecodePath(f)
		return err
	}
	return crdt.CheckMember(f)
}

func (s *Span) check(t crdt.Type) error {
	most := crdt.MaxMember
	if t == crdt.Map {
		most = crdt.MaxPath
	}
	for _, b := range [...]string{s.Prefix, s.From, s.Until, s.After} {
		if len(b) > most {
			return fmt.Errorf("span bounded by %d bytes, limit %d", len(b), most)
		}
	}
	if s.Limit < 0 || s.Limit > MaxPage {
		return fmt.Errorf("span of %d rows, limit %d", s.Limit, MaxPage)
	}
	return nil
}

// Found is a row and its field.
type Found struct {
	Field string
	Row   crdt.Row
}

// Answer is one replica's reply to a query: rows, the clock and the key's
// deferred dots, read together.
type Answer struct {
	Clock dvv.Clock
	Dead  dvv.Clock
	Type  crdt.Type // of the key
	Rows  []Found   // sorted by field
	More  bool      // the span goes on behind the last row

	// Of a query that counts, and only if Counted: how many members there are, and the
	// sum over the set's rows under the cluster's key. See [Summary].
	Counted bool
	Count   uint64
	Sum     merkle.Sum
}

// Ask answers a query from one view. Absence is an answer: no rows, under the
// clock that makes the absence mean something.
func Ask(v View, p int, q Query) (a Answer, err error) {
	a.Type = q.Key.Type
	if a.Clock, _, err = v.Clock(p); err != nil {
		return Answer{}, fmt.Errorf("read %v: %w", q.Key, err)
	}
	if a.Dead, err = v.Dead(p, q.Key); err != nil {
		return Answer{}, fmt.Errorf("read %v: %w", q.Key, err)
	}
	if q.Span != nil {
		err = a.span(v, p, q)
		return a, err
	}
	if q.Count != 0 && len(q.Fields) == 0 {
		return a, nil // how many there are is for [Answer.countMembers]
	}
	fields, size := onlyRow, 0
	if len(q.Fields) > 0 {
		fields = slices.Compact(slices.Sorted(slices.Values(q.Fields)))
	}
	if q.Key.Type == crdt.Map {
		return a, a.paths(v, p, q, fields)
	}
	for _, f := range fields {
		row, err := v.Row(p, crdt.Address{Key: q.Key, Field: f})
		if err != nil {
			return Answer{}, fmt.Errorf("read %v: %w", q.Key, err)
		}
		if row.IsEmpty() {
			continue
		}
		if size += rowBytes(row); size > maxAnswer {
			return Answer{}, fmt.Errorf("read %v: the %d members asked for hold more than %d bytes: ask for fewer at once", q.Key, len(fields), maxAnswer)
		}
		a.Rows = append(a.Rows, Found{f, row})
	}
	return a, nil
}

// onlyRow is the field of a value's only row.
var onlyRow = []string{""}

// paths answers for rows of a map: each by its path, all those of a set field, or
// every one. Beyond the bounds it says that there are more.
func (a *Answer) paths(v View, p int, q Query, fields []string) error {
	if q.Every {
		fields = onlyRow
	}
	size, whole := 0, "" // the set field that was read last
	present := 0
	take := func(field string, r crdt.Row) bool {
		size += len(field) + rowBytes(r)
		if !r.IsReset() { // what is left of counters that are gone is small, and nothing to remove
			present++
		}
		if a.More = present > MaxRows || len(a.Rows) == MaxAnswerRows || size > maxAnswer; !a.More {
			a.Rows = append(a.Rows, Found{field, r})
		}
		return !a.More
	}
	for _, f := range fields {
		path, _ := crdt.DecodePath(f) // checked before
		if whole != "" && strings.HasPrefix(f, whole) {
			continue // it came with its set
		}
		if !q.Every && !path.Whole() {
			row, err := v.Row(p, crdt.Address{Key: q.Key, Field: f})
			if err != nil {
				return fmt.Errorf("read %v: %w", q.Key, err)
			}
			if !row.IsEmpty() && !take(f, row) {
				return nil
			}
			continue
		}
		err := v.Rows(p, q.Key, f, func(field string, r crdt.Row) bool {
			return strings.HasPrefix(field, f) && take(field, r)
		})
		if err != nil {
			return fmt.Errorf("read %v: %w", q.Key, err)
		}
		if a.More {
			return nil
		}
		whole = f
	}
	return nil
}

func (a *Answer) span(v View, p int, q Query) error {
	limit := min(max(q.Span.Limit, 1), MaxPage)
	size := 0
	return v.Rows(p, q.Key, q.Span.first(), func(field string, r crdt.Row) bool {
		if !q.Span.holds(field) {
			return false // nor any that follows
		}
		if len(a.Rows) == limit || size > pageBytes {
			a.More = true
			return false
		}
		size += rowBytes(r)
		a.Rows = append(a.Rows, Found{field, r})
		return true
	})
}

// first is the least field that a span may hold.
func (s *Span) first() string {
	first := max(s.Prefix, s.From)
	if s.After != "" {
		first = max(first, s.After+afterField)
	}
	return first
}

// holds tells whether a field that is no less than the first lies in the span.
func (s *Span) holds(field string) bool {
	return strings.HasPrefix(field, s.Prefix) && (s.Until == "" || field < s.Until)
}

// rowBytes estimates what a row takes in a message.
func rowBytes(r crdt.Row) int {
	n := 32 + 20*len(r.Deferred)
	for _, l := range r.Live {
		n += 32 + len(l.Payload)
	}
	return n
}
