package replicatest

import (
	"fmt"
	"slices"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica"
)

// Maps have counters c0 to c3, a register, a flag and a set. Those whose names begin
// with sum are never deleted, and lose nothing but flags and members: their counters
// and their register are held to the stricter oracle.

const mapCounters = 4

// field encodes the path of a map's row.
func field(kind crdt.FieldKind, name, member string) string {
	return crdt.Path{Name: name, Kind: kind, Member: member}.Encode()
}

var (
	noteField = field(crdt.RegisterField, "note", "")
	giftField = field(crdt.FlagField, "gift", "")
	tagsField = field(crdt.SetField, "tags", "")
)

func counterField(i int) string { return field(crdt.CounterField, fmt.Sprintf("c%d", i), "") }

func (c *client) tag() string {
	return field(crdt.SetField, "tags", fmt.Sprintf("t%d", c.w.dice.IntN(4)))
}

func (c *client) anyMap() crdt.Key {
	n := c.w.dice.IntN(c.w.profile.keys)
	if c.w.chance(0.4) {
		return key(crdt.Map, fmt.Sprintf("sum%d-%d", n, c.w.history.updates[n]/maxBits))
	}
	return key(crdt.Map, fmt.Sprintf("cart%d", n))
}

// anyEdit invents an update of a map, or its delete. An update of a sum adds one
// power of two, which no other update of it has, to each counter that it names.
func (c *client) anyEdit(m *replica.Mutation) {
	w := c.w
	s, known := c.context(m.Key)
	sum := m.Key.Name[0] == 's'
	if !sum && w.chance(0.08) {
		m.Verb = replica.Delete
		if known && w.chance(0.5) {
			dots := s.dots.Clone()
			m.Context, m.Changes = &dots, slices.Clone(s.resets)
		}
		return
	}
	m.Verb = replica.Edit
	var power int64
	if sum {
		n := int(m.Key.Name[len("sum")] - '0')
		power = 1 << (w.history.updates[n] % maxBits)
		w.history.updates[n]++
	}
	for range 1 + w.dice.IntN(4) {
		c.anyStep(m, power)
	}
	if len(m.Changes) == 0 { // a counter of a sum was named twice
		m.Changes = []replica.Change{{Member: giftField}}
	}
	if !known || !w.chance(0.4) {
		return
	}
	dots := s.dots.Clone()
	m.Context = &dots
	for i := range m.Changes {
		for _, z := range s.resets {
			if ch := &m.Changes[i]; ch.Remove && ch.Member == z.Member {
				ch.Shown = z.Shown
			}
		}
	}
}

// anyStep adds one step to an update; two where a counter is set to a value.
func (c *client) anyStep(m *replica.Mutation, power int64) {
	w := c.w
	ch := replica.Change{}
	switch w.dice.IntN(10) {
	default:
		ch.Member = counterField(w.dice.IntN(mapCounters))
		if power > 0 {
			if ch.Delta = power; w.chance(0.3) {
				ch.Delta = -power
			}
			if slices.ContainsFunc(m.Changes, func(o replica.Change) bool { return o.Member == ch.Member }) {
				return
			}
			break
		}
		what := w.dice.IntN(6)
		if what < 3 {
			m.Changes = append(m.Changes, replica.Change{Member: ch.Member, Remove: true})
		}
		if what == 0 {
			return
		}
		ch.Delta = int64(1+w.dice.IntN(9)) * pick(w.dice, int64(1), 10, -100, 1000, 10000)
	case 5:
		ch.Member, ch.Remove = noteField, power == 0 && w.chance(0.25)
	case 6:
		ch.Member, ch.Remove = giftField, w.chance(0.4)
	case 7, 8:
		ch.Member, ch.Remove = c.tag(), w.chance(0.35)
	case 9:
		ch.Member, ch.Remove = tagsField, true
	}
	if !ch.Remove && ch.Delta == 0 && ch.Member != giftField {
		ch.Note = fmt.Appendf(nil, "v%d.%d", c.at, c.seq)
	}
	m.Changes = append(m.Changes, ch)
}

// anyMapQuery asks for all of a map, for some of it, or for a page.
func (c *client) anyMapQuery(q *replica.Query) {
	switch w := c.w; w.dice.IntN(4) {
	case 0, 1:
		q.Every = true
	case 2:
		q.Fields = []string{counterField(w.dice.IntN(mapCounters)), pick(w.dice, tagsField, noteField, c.tag())}
	case 3:
		q.Span = &replica.Span{Limit: pick(w.dice, 2, 3, 100)}
	}
}

// rowType is the type of what a row of a key holds.
func rowType(k crdt.Key, field string) crdt.Type {
	return crdt.Address{Key: k, Field: field}.RowType()
}

// shownRow adds to a context what a read showed of a row. Of a counter it tells what
// takes it back, and the dots of which that makes an end.
func (s *shown) shownRow(f replica.Found) error {
	kills := f.Row.Dots()
	if s.key.Type == crdt.Map && rowType(s.key, f.Field) == crdt.Counter {
		t, err := f.Row.Tally()
		if err != nil {
			return err
		}
		var z crdt.Reset
		z, kills = t.Reset()
		s.resets = append(s.resets, replica.Change{Member: f.Field, Remove: true, Shown: z.Payload()})
	}
	for _, d := range kills {
		s.dots.Add(d)
	}
	return nil
}

// adds is what a mutation adds to the counter of a row: what it adds before it
// removes the counter goes with it.
func adds(m *replica.Mutation, field string) (sum int64) {
	if m.Verb != replica.Edit {
		return m.Delta
	}
	for _, c := range m.Changes {
		switch {
		case c.Member != field:
		case c.Remove:
			sum = 0
		default:
			sum += c.Delta
		}
	}
	return sum
}

// removes tells whether a mutation takes back what a counter has.
func removes(m *replica.Mutation, field string) bool {
	if m.Verb == replica.Zero || m.Verb == replica.Delete {
		return true
	}
	return slices.ContainsFunc(m.Changes, func(c replica.Change) bool { return c.Remove && c.Member == field })
}

// increment returns the dot of what a group adds to the counter of a row.
func increment(g *crdt.Group, field string) (dvv.Dot, bool) {
	for i, add := range g.Increments() {
		if add.Row.Field == field {
			return g.Dot(i), true
		}
	}
	return dvv.Dot{}, false
}

// checkWhole: a read shows all of a group or nothing of it.
func (w *World) checkWhole(a asking, log *keyLog, m *replica.Merged) {
	for _, row := range log.rows {
		for _, e := range row.events {
			if len(e.of.group.Events) > 1 && m.Clock.Contains(e.dot) && !e.of.group.In(m.Clock) {
				w.fail("%v shows at %v a part of %s", a.query, m.Clock, brief(&e.of.group))
				return
			}
		}
	}
}
