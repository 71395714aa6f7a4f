package replica

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
)

// A map's rows are those of counters, registers and set members, under one key; an
// update of several of them is one group. What makes it more than a list of events
// is that counters are taken back by resets, and that a retry must find the same
// increments at the same dots wherever it is minted:
//
//	remove apples, add 3 to apples, put a note, drop the set "tags"
//	  ─▶ increments, by path      apples +3            dots that voids can name
//	  ─▶ resets, by path          apples: what was seen of it, and not the 3
//	  ─▶ the rest, in order       note, a kill for each row of "tags" that was seen

// checkEdit refuses changes of a map that make no sense.
func (c *Change) checkEdit() error {
	p, err := crdt.DecodePath(c.Member)
	if err != nil {
		return err
	}
	switch {
	case len(c.Note) > crdt.MaxValue || c.Expires < 0:
		return &MutationError{fmt.Sprintf("%v: value of %d bytes (limit %d), expiry %d", p, len(c.Note), crdt.MaxValue, c.Expires)}
	case c.Remove && (c.Delta != 0 || len(c.Note) > 0 || c.Expires != 0):
		return &MutationError{fmt.Sprintf("%v is removed and written by one change", p)}
	case !c.Remove && p.Whole():
		return &MutationError{fmt.Sprintf("%v is written without a member", p)}
	case !c.Remove && (p.Kind == crdt.CounterField) != (c.Delta != 0):
		return &MutationError{fmt.Sprintf("%v is changed by %+d", p, c.Delta)}
	}
	return c.checkShown(p)
}

// checkShown holds what a context shows of a counter against the path it stands at.
func (c *Change) checkShown(p crdt.Path) error {
	if c.Shown == nil {
		return nil
	}
	if !c.Remove || p.Kind != crdt.CounterField || c.Shown.Kind() != crdt.KindReset {
		return &MutationError{fmt.Sprintf("%v has a reset beside it", p)}
	}
	return c.Shown.Check(crdt.Counter)
}

// observesEdit returns what the removals of an update have to read. Under a context
// that is which rows a set field has: the context names dots, and not where they are.
func (m *Mutation) observesEdit() (Query, bool) {
	q := Query{Key: m.Key}
	for i := range m.Changes {
		c := &m.Changes[i]
		if !c.Remove {
			continue
		}
		if p, _ := crdt.DecodePath(c.Member); p.Whole() || m.Context == nil {
			q.Fields = append(q.Fields, c.Member)
		}
	}
	return q, len(q.Fields) > 0
}

// mintDeleteMap mints the delete of a map: a clear, which reaches all rows but those
// of counters, and a reset for each of these.
func (p *Partition) mintDeleteMap(v View, m *Mutation, seen *Merged, g *crdt.Group) error {
	e := edit{p: p, v: v, m: m, seen: seen, g: g}
	counters, err := m.counters()
	if err != nil {
		return err
	}
	var kills dvv.Clock
	if m.Context != nil {
		kills = m.Context.Clone()
	} else {
		cleared := false
		for _, field := range seen.Under("") {
			if path, _ := crdt.DecodePath(field); path.Kind == crdt.CounterField {
				counters = append(counters, tallied{path: field, removed: true})
			} else {
				cleared = cleared || len(seen.Doomed(field)) > 0
			}
		}
		if cleared {
			kills = seen.Clock.Clone()
		}
	}
	if !kills.IsEmpty() {
		g.Events = []crdt.Event{{Row: m.Key.Row(), Clear: &kills}}
	}
	for i := range counters {
		if len(g.Events) == crdt.MaxGroupEvents {
			return fmt.Errorf("%w: %d counters, limit %d", ErrTooManyRows, len(counters), crdt.MaxGroupEvents-1)
		}
		if err := e.reset(&counters[i]); err != nil {
			return err
		}
	}
	return nil
}

// covers returns what the read before a mutation has to cover: its session, and,
// where a context tells which dots of a map's set die, the context, so that the read
// shows where those dots are.
func (m *Mutation) covers() *dvv.Clock {
	if m.Verb != Edit || m.Context == nil || mutated(contextNotCovered) {
		return m.Session
	}
	both := m.Context.Clone()
	if m.Session != nil {
		both.Join(*m.Session)
	}
	return &both
}

// tallied is what an update does to one counter, all its changes taken together.
type tallied struct {
	path    string
	delta   int64
	expires int64
	removed bool         // before the delta is added
	shown   crdt.Payload // of a removal under a context
}

// edit is an update of a map being minted.
type edit struct {
	p     *Partition
	v     View
	m     *Mutation
	seen  *Merged
	g     *crdt.Group
	wall  int64
	kills int // so far: a few bytes of context may name very many
}

// counters sums up the changes of each counter, by path. Increments of one counter
// come to one, and what was added before a removal goes with it.
func (m *Mutation) counters() ([]tallied, error) {
	at := map[string]int{}
	var all []tallied
	for i := range m.Changes {
		c := &m.Changes[i]
		if p, _ := crdt.DecodePath(c.Member); p.Kind != crdt.CounterField {
			continue
		}
		n, met := at[c.Member]
		if !met {
			n, at[c.Member] = len(all), len(all)
			all = append(all, tallied{path: c.Member, expires: c.Expires})
		}
		t := &all[n]
		if c.Remove {
			*t = tallied{path: t.path, removed: true, shown: c.Shown}
			continue
		}
		if t.delta == 0 {
			t.expires = c.Expires
		}
		t.expires = crdt.Later(t.expires, c.Expires)
		sum := t.delta + c.Delta
		if (c.Delta > 0) != (sum > t.delta) {
			return nil, fmt.Errorf("%w: the changes of one counter add up beyond it", crdt.ErrOverflow)
		}
		t.delta = sum
	}
	slices.SortFunc(all, func(a, b tallied) int { return strings.Compare(a.path, b.path) })
	return all, nil
}

// mintEdit mints the update of a map.
func (p *Partition) mintEdit(v View, m *Mutation, seen *Merged, g *crdt.Group, latest crdt.Stamp, wallMillis int64) error {
	e := edit{p: p, v: v, m: m, seen: seen, g: g, wall: wallMillis}
	counters, err := m.counters()
	if err != nil {
		return err
	}
	resets, err := e.increments(counters)
	if err != nil {
		return err
	}
	g.Events = append(g.Events, resets...)
	for i := range counters {
		if err := e.reset(&counters[i]); err != nil {
			return err
		}
	}
	if err := e.others(latest); err != nil {
		return err
	}
	if n := g.Bytes(); n > maxMutation {
		return fmt.Errorf("%w: %d events of %d bytes, limit %d bytes", ErrTooManyRows, len(g.Events), n, maxMutation)
	}
	return nil
}

// increments mints what is added to counters. It returns the resets of the actor's
// own entries that had expired.
func (e *edit) increments(counters []tallied) (resets []crdt.Event, err error) {
	for i := range counters {
		c := &counters[i]
		if c.delta == 0 {
			continue
		}
		a := crdt.Address{Key: e.m.Key, Field: c.path}
		row, err := e.v.Row(e.p.ID, a)
		if err != nil {
			return nil, fmt.Errorf("mint %v: %w", a, err)
		}
		tally, err := row.TallyAt(e.wall)
		if err != nil {
			return nil, err
		}
		if c.removed { // what its reset takes back neither overflows nor keeps the new total alive
			z, _, err := e.taken(c)
			if err != nil {
				return nil, err
			}
			tally.Forget(z)
		}
		entry, kills, lapsed, _, err := tally.IncrementUntil(e.g.Actor, c.delta, c.expires)
		if err != nil {
			return nil, fmt.Errorf("%v: %w", a, err)
		}
		e.g.Events = append(e.g.Events, crdt.Event{Row: a, Kills: sortedDots(kills), Payload: entry.Payload(), Delta: c.delta})
		if len(lapsed) > 0 {
			resets = append(resets, crdt.Event{Row: a, Payload: lapsed})
		}
	}
	return resets, nil
}

// taken returns the reset that a removal puts, of what the read or the context shows
// of a counter, and the dots of the read that it kills. Without either there is
// nothing to take back.
func (e *edit) taken(c *tallied) (z crdt.Reset, kills []dvv.Dot, err error) {
	if e.m.Context != nil {
		if c.shown != nil {
			z, err = crdt.DecodeReset(c.shown)
		}
		return z, nil, err
	}
	tally, err := e.observed(c)
	if err != nil || tally == nil {
		return nil, nil, err
	}
	z, kills = tally.Reset()
	return z, kills, nil
}

// observed returns what the read shows of a counter, nil when nothing is in it that a
// reset could take back.
func (e *edit) observed(c *tallied) (*crdt.Tally, error) {
	if e.seen.atRest(c.path) {
		return nil, nil
	}
	return e.seen.Row(c.path).Tally()
}

// reset mints the removal of a counter.
func (e *edit) reset(c *tallied) error {
	if !c.removed {
		return nil
	}
	a := crdt.Address{Key: e.m.Key, Field: c.path}
	z, kills, err := e.taken(c)
	if err == nil && e.m.Context != nil && c.shown != nil {
		kills, err = e.killed(a)
	}
	if err != nil || len(z) == 0 && len(kills) == 0 {
		return err
	}
	ev := crdt.Event{Row: a, Kills: kills, Payload: z.Payload()}
	if c.delta != 0 && e.m.Context == nil && !mutated(retryTakesBackItself) { // a context shows nothing of this very operation
		tally, err := e.observed(c)
		if err != nil {
			return err
		}
		ev.Payload, ev.Kills = tally.ResetBeside(e.m.Op)
	}
	if e.kills += len(ev.Kills); e.kills > crdt.MaxKills {
		return fmt.Errorf("%w: over %d for %d changes in all", ErrContextTooWide, crdt.MaxKills, len(e.m.Changes))
	}
	e.g.Events = append(e.g.Events, ev)
	return nil
}

// killed returns what the context shows of a row, and what of it nobody knows here.
func (e *edit) killed(a crdt.Address) ([]dvv.Dot, error) {
	if e.m.Context == nil {
		return nil, nil
	}
	row, err := e.v.Row(e.p.ID, a)
	if err != nil {
		return nil, fmt.Errorf("mint %v: %w", a, err)
	}
	kills, err := e.p.shown(row, *e.m.Context)
	return sortedDots(kills), err
}

// others mints the changes of registers, flags and members of sets, in order.
func (e *edit) others(latest crdt.Stamp) error {
	minted := map[string]dvv.Dot{} // by this very group: a later change of the same row replaces them
	removed := map[string]bool{}   // set fields: what was seen of them goes once, however often they are named
	for i := range e.m.Changes {
		c := &e.m.Changes[i]
		path, _ := crdt.DecodePath(c.Member)
		if path.Kind == crdt.CounterField {
			continue
		}
		rows := []string{c.Member}
		if path.Whole() {
			rows = e.rowsUnder(c.Member, minted, removed[c.Member])
			removed[c.Member] = true
		}
		for _, field := range rows {
			if err := e.row(field, path.Kind, c, minted, latest); err != nil {
				return err
			}
		}
	}
	return nil
}

// rowsUnder returns the rows of a set field that are to be removed: those that one of
// the answers had, unless they were removed before, and those added by this group.
func (e *edit) rowsUnder(prefix string, minted map[string]dvv.Dot, before bool) []string {
	var rows []string
	if !before {
		rows = e.seen.Under(prefix)
	}
	for field := range minted {
		if strings.HasPrefix(field, prefix) {
			rows = append(rows, field)
		}
	}
	slices.Sort(rows)
	return slices.Compact(rows)
}

func (e *edit) row(field string, kind crdt.FieldKind, c *Change, minted map[string]dvv.Dot, latest crdt.Stamp) error {
	a := crdt.Address{Key: e.m.Key, Field: field}
	row, err := e.v.Row(e.p.ID, a)
	if err != nil {
		return fmt.Errorf("mint %v: %w", a, err)
	}
	kills, err := e.killed(a)
	if err != nil {
		return err
	}
	ev := crdt.Event{Row: a}
	switch {
	case c.Remove:
		for _, d := range e.seen.Doomed(field) {
			if e.m.Context == nil || e.m.Context.Contains(d) {
				kills = append(kills, d)
			}
		}
	case kind == crdt.RegisterField:
		kills = append(kills, row.Dots()...)
		e.g.Stamp = after(e.g.Stamp, row, latest)
		ev.Payload = crdt.Assign{Stamp: e.g.Stamp, Value: c.Note, Expires: c.Expires}.Payload()
	default:
		for _, d := range row.Dots() {
			if d.Actor == e.g.Actor {
				kills = append(kills, d)
			}
		}
		e.g.Stamp = after(e.g.Stamp, row, latest)
		ev.Payload = crdt.Member{Stamp: e.g.Stamp, Expires: c.Expires, Note: c.Note}.Payload()
	}
	if d, ok := minted[field]; ok {
		kills = append(kills, d)
	}
	ev.Kills = sortedDots(kills)
	if e.kills += len(ev.Kills); e.kills > crdt.MaxKills {
		return fmt.Errorf("%w: over %d for %d changes in all", ErrContextTooWide, crdt.MaxKills, len(e.m.Changes))
	}
	if c.Remove && len(ev.Kills) == 0 {
		return nil
	}
	if len(e.g.Events) == MaxRows {
		return fmt.Errorf("%w: %d events, limit %d", ErrTooManyRows, len(e.g.Events)+1, MaxRows)
	}
	e.g.Events = append(e.g.Events, ev)
	delete(minted, field)
	if !c.Remove {
		minted[field] = e.g.Dot(len(e.g.Events) - 1)
	}
	return nil
}
