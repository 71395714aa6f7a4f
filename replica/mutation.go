package replica

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
)

// Verb is what a mutation does.
type Verb uint8

// The verbs. Delete is the clear of a set and the delete of a register, blob or map.
const (
	Update Verb = 1 + iota // set: add and remove members, in order, as one group
	Delete                 // set, register, blob, map: everything that was observed under the key
	Add                    // counter: increment
	Zero                   // counter: reset
	Assign                 // register: write
	Put                    // blob: write
	Edit                   // map: changes of fields, as one group
	verbEnd
)

var verbNames = [...]string{Update: "update", Delete: "delete", Add: "add", Zero: "reset", Assign: "set", Put: "put", Edit: "update"}

// verbTypes says which types a verb is for.
var verbTypes = [verbEnd][]crdt.Type{
	Update: {crdt.Set}, Delete: {crdt.Set, crdt.Register, crdt.Blob, crdt.Map},
	Add: {crdt.Counter}, Zero: {crdt.Counter}, Assign: {crdt.Register}, Put: {crdt.Blob}, Edit: {crdt.Map},
}

func (v Verb) String() string {
	if v >= Update && v < verbEnd {
		return verbNames[v]
	}
	return fmt.Sprintf("verb(%d)", uint8(v))
}

// Change is one step of a batch: it adds or removes a member of a set, or writes or
// removes a row of a map. The delete of a map has one for each counter of which its
// context tells.
type Change struct {
	Member  string // of a map: the encoded path of a row, or of a set field, to be removed
	Remove  bool
	Expires int64        // of what is written: milliseconds since the Unix epoch, 0 for never
	Note    []byte       // of a member; of a register in a map, its value
	Delta   int64        // what is added to a counter in a map
	Shown   crdt.Payload // of a counter's removal under a context: the reset of what the context shows; nil for nothing
}

// Mutation is a client's write, before it has dots.
type Mutation struct {
	Key     crdt.Key
	Verb    Verb
	Op      crdt.Operation
	Sum     uint64 // fingerprint of everything the client asked for
	Changes []Change
	Value   []byte
	Delta   int64
	Expires int64      // of an increment, a register's or blob's value: milliseconds since the Unix epoch, 0 for never
	Context *dvv.Clock // the dots the client was shown; nil without a context
	Session *dvv.Clock // what the mutation reads before it is minted must cover this; nil without a session
}

// Bounds of one mutation. Its events must fit into one message between nodes.
const (
	MaxChanges  = 1000
	maxMutation = 4 << 20 // bytes
)

// MutationError refuses a mutation that makes no sense, before anything is
// written.
type MutationError struct{ Why string }

func (e *MutationError) Error() string { return "mutation refused: " + e.Why }

// Check refuses what no client may ask for.
func (m *Mutation) Check() error {
	if err := m.Key.Check(); err != nil {
		return err
	}
	if m.Verb >= verbEnd || !slices.Contains(verbTypes[m.Verb], m.Key.Type) {
		return &MutationError{fmt.Sprintf("%v on a %v", m.Verb, m.Key.Type)}
	}
	if m.Expires < 0 || m.Expires != 0 && m.Verb != Add && m.Verb != Assign && m.Verb != Put {
		return &MutationError{fmt.Sprintf("%v that expires at %d", m.Verb, m.Expires)}
	}
	if len(m.Value) > crdt.MaxValue {
		return &MutationError{fmt.Sprintf("value of %d bytes, limit %d", len(m.Value), crdt.MaxValue)}
	}
	if err := m.checkCount(); err != nil {
		return err
	}
	if n := m.bytes(); n > maxMutation {
		return &MutationError{fmt.Sprintf("%d bytes, limit %d", n, maxMutation)}
	}
	for i := range m.Changes {
		c := &m.Changes[i]
		if m.Key.Type == crdt.Map {
			if err := c.checkEdit(); err != nil {
				return err
			}
			continue
		}
		if err := crdt.CheckMember(c.Member); err != nil {
			return err
		}
		if c.Delta != 0 || c.Shown != nil {
			return &MutationError{fmt.Sprintf("member %q with an increment of %+d", c.Member, c.Delta)}
		}
		if len(c.Note) > crdt.MaxValue || c.Expires < 0 {
			return &MutationError{fmt.Sprintf("note of %d bytes (limit %d), expiry %d", len(c.Note), crdt.MaxValue, c.Expires)}
		}
	}
	return nil
}

// checkCount holds the changes against what the verb takes: a batch has some, and the
// delete of a map under a context one for each counter that it shows.
func (m *Mutation) checkCount() error {
	n, least, most := len(m.Changes), 0, 0
	switch {
	case m.Verb == Update || m.Verb == Edit:
		least, most = 1, MaxChanges
	case m.Verb == Delete && m.Key.Type == crdt.Map && m.Context != nil:
		most = MaxRows - 1
		for i := range m.Changes {
			if m.Changes[i].Shown == nil {
				return &MutationError{"the delete of a map changes a field"}
			}
		}
	}
	if n < least || n > most {
		return &MutationError{fmt.Sprintf("%d changes, from %d to %d are allowed", n, least, most)}
	}
	return nil
}

// Observes returns what the mutation must read at a quorum before it is minted:
// an observed kill without a context kills what a read shows, never what one
// coordinator happens to hold. ok is false when nothing needs reading.
func (m *Mutation) Observes() (q Query, ok bool) {
	switch {
	case m.Verb == Zero:
		return Query{Key: m.Key}, true
	case m.Verb == Edit:
		return m.observesEdit()
	case m.Context != nil:
		return Query{}, false
	case m.Verb == Delete && m.Key.Type == crdt.Map:
		return Query{Key: m.Key, Every: true}, true
	case m.Verb == Delete:
		return Query{Key: m.Key, Span: &Span{Limit: 1}}, true
	case m.Verb == Update:
		q := Query{Key: m.Key}
		for _, c := range m.Changes {
			if c.Remove && !slices.Contains(q.Fields, c.Member) {
				q.Fields = append(q.Fields, c.Member)
			}
		}
		return q, len(q.Fields) > 0
	}
	return Query{}, false
}

// ErrContextTooWide refuses a context that names more unseen dots than the
// events of one group may kill.
var ErrContextTooWide = errors.New("context names too many dots that were not seen here")

// ErrTooManySiblings refuses a blob that would stand beside more values that its
// writer did not see than one answer can show. Without it, writers who never read
// would make a key that nobody can read, resolve or delete any more.
var ErrTooManySiblings = errors.New("too many siblings")

// ErrTooManyRows refuses to remove more rows of a map at once than one group holds.
var ErrTooManyRows = errors.New("too many rows of a map for one operation")

// Bounds of what a write of a blob may stand beside. Siblings from both sides of
// a split may come to more; [maxAnswer] leaves room for them.
const (
	maxSiblings      = 1000
	maxSiblingsBytes = 4 << 20
)

// Mint turns a mutation into events (rule 2 and the table of types). v is the
// writer's view, seen what [Mutation.Observes] showed, at the clock it was read
// under. A mutation that has nothing to change gives a group without events: it
// succeeds and writes nothing.
//
// The group's stamp is the given one, or above the stamps of the live payloads
// it stands beside where those are ahead of it, up to latest: the node's own
// clock may have gone back since. wallMillis is the time by which expiries go.
func (p *Partition) Mint(v View, m *Mutation, seen *Merged, first dvv.Dot, stamp, latest crdt.Stamp, wallMillis int64) (crdt.Group, error) {
	g := crdt.Group{Actor: first.Actor, First: first.Seq, Op: m.Op, Sum: m.Sum, Stamp: stamp}
	var err error
	switch m.Verb {
	case Update:
		err = p.mintChanges(v, m, seen, &g, latest)
	case Edit:
		err = p.mintEdit(v, m, seen, &g, latest, wallMillis)
	case Delete:
		if m.Key.Type == crdt.Map {
			err = p.mintDeleteMap(v, m, seen, &g)
			break
		}
		p.mintDelete(m, seen, &g)
	case Add:
		err = p.mintIncrement(v, m, &g, wallMillis)
	case Zero:
		err = mintReset(m, seen, &g, wallMillis)
	case Assign, Put:
		err = p.mintWrite(v, m, &g, latest, wallMillis)
	}
	if err != nil {
		return crdt.Group{}, err
	}
	return g, nil
}

func (p *Partition) mintChanges(v View, m *Mutation, seen *Merged, g *crdt.Group, latest crdt.Stamp) error {
	total := 0                     // dots that the group kills: a few bytes of context may name very many
	minted := map[string]dvv.Dot{} // adds of this very group: a later change of the same member replaces them
	for _, c := range m.Changes {
		a := m.Key.Member(c.Member)
		row, err := v.Row(p.ID, a)
		if err != nil {
			return fmt.Errorf("mint %v: %w", a, err)
		}
		var kills []dvv.Dot
		if m.Context != nil {
			if kills, err = p.shown(row, *m.Context); err != nil {
				return err
			}
		}
		e := crdt.Event{Row: a}
		if c.Remove {
			if seen != nil {
				kills = append(kills, seen.Doomed(c.Member)...)
			}
		} else {
			for _, d := range row.Dots() {
				if d.Actor == g.Actor {
					kills = append(kills, d)
				}
			}
			g.Stamp = after(g.Stamp, row, latest)
			e.Payload = crdt.Member{Stamp: g.Stamp, Expires: c.Expires, Note: c.Note}.Payload()
		}
		if d, ok := minted[c.Member]; ok {
			kills = append(kills, d)
		}
		e.Kills = sortedDots(kills)
		if total += len(e.Kills); total > crdt.MaxKills {
			return fmt.Errorf("%w: over %d for %d changes in all", ErrContextTooWide, crdt.MaxKills, len(m.Changes))
		}
		if c.Remove && len(e.Kills) == 0 {
			continue
		}
		g.Events = append(g.Events, e)
		delete(minted, c.Member)
		if !c.Remove {
			minted[c.Member] = g.Dot(len(g.Events) - 1)
		}
	}
	return nil
}

// shown returns which dots of a context an event on the row must kill: those
// live here, and those not seen here yet, whose rows nobody knows.
func (p *Partition) shown(row crdt.Row, context dvv.Clock) ([]dvv.Dot, error) {
	var kills []dvv.Dot
	for _, d := range row.Dots() {
		if context.Contains(d) {
			kills = append(kills, d)
		}
	}
	unseen := context.Minus(p.clock)
	if n := unseen.Count(); n > crdt.MaxKills/2 {
		return nil, fmt.Errorf("%w: %d, limit %d", ErrContextTooWide, n, crdt.MaxKills/2)
	}
	for d := range unseen.Dots() {
		kills = append(kills, d)
	}
	return kills, nil
}

func (p *Partition) mintDelete(m *Mutation, seen *Merged, g *crdt.Group) {
	var kills dvv.Clock
	switch {
	case m.Context != nil:
		kills = m.Context.Clone()
	case seen.AnyLive():
		kills = seen.Clock.Clone()
	}
	if !kills.IsEmpty() {
		g.Events = []crdt.Event{{Row: m.Key.Row(), Clear: &kills}}
	}
}

func (p *Partition) mintIncrement(v View, m *Mutation, g *crdt.Group, wallMillis int64) error {
	row, err := v.Row(p.ID, m.Key.Row())
	if err != nil {
		return err
	}
	tally, err := row.TallyAt(wallMillis)
	if err != nil {
		return err
	}
	entry, kills, lapsed, value, err := tally.IncrementUntil(g.Actor, m.Delta, m.Expires)
	if err != nil {
		return err
	}
	if g.Answer = value; m.Delta == 0 {
		return nil
	}
	g.Events = []crdt.Event{{Row: m.Key.Row(), Kills: sortedDots(kills), Payload: entry.Payload(), Delta: m.Delta}}
	if len(lapsed) > 0 {
		g.Events = append(g.Events, crdt.Event{Row: m.Key.Row(), Payload: lapsed})
	}
	return nil
}

func mintReset(m *Mutation, seen *Merged, g *crdt.Group, wallMillis int64) error {
	row := seen.Row("")
	tally, err := row.TallyAt(wallMillis)
	if err != nil {
		return err
	}
	g.Answer, _ = tally.Value()
	z, kills := tally.Reset()
	if len(kills) > 0 && !seen.atRest("") {
		g.Events = []crdt.Event{{Row: m.Key.Row(), Kills: kills, Payload: z.Payload()}}
	}
	return nil
}

func (p *Partition) mintWrite(v View, m *Mutation, g *crdt.Group, latest crdt.Stamp, wallMillis int64) error {
	a := m.Key.Row()
	row, err := v.Row(p.ID, a)
	if err != nil {
		return err
	}
	var kills []dvv.Dot
	if m.Context != nil {
		// Also what is dead here: who killed it may have told nobody else, and be lost.
		if n := m.Context.Count(); n > crdt.MaxKills/2 {
			return fmt.Errorf("%w: %d, limit %d", ErrContextTooWide, n, crdt.MaxKills/2)
		}
		for d := range m.Context.Dots() {
			kills = append(kills, d)
		}
	}
	payload := crdt.BlobValue{Op: m.Op, Value: m.Value, Expires: m.Expires}.Payload()
	if m.Verb == Put {
		shown, err := row.At(crdt.Blob, wallMillis) // nobody can resolve what no reader sees
		if err == nil {
			err = m.crowded(shown)
		}
		if err != nil {
			return err
		}
	}
	if m.Verb == Assign {
		kills = append(kills, row.Dots()...)
		g.Stamp = after(g.Stamp, row, latest)
		payload = crdt.Assign{Stamp: g.Stamp, Value: m.Value, Expires: m.Expires}.Payload()
	}
	g.Events = []crdt.Event{{Row: a, Kills: sortedDots(kills), Payload: payload}}
	return nil
}

// crowded refuses to add one more to the siblings of a blob that its context does
// not replace.
func (m *Mutation) crowded(row crdt.Row) error {
	var rest crdt.Row
	for _, l := range row.Live {
		if m.Context == nil || !m.Context.Contains(l.Dot) {
			rest.Live = append(rest.Live, l)
		}
	}
	if n, size := len(rest.Live), rowBytes(rest); n >= maxSiblings || n > 0 && size+len(m.Value) > maxSiblingsBytes {
		return fmt.Errorf("%w: %d of %d bytes are there that the context does not name, limits %d and %d: read them and put with their context",
			ErrTooManySiblings, n, size, maxSiblings, maxSiblingsBytes)
	}
	return nil
}

func sortedDots(dots []dvv.Dot) []dvv.Dot {
	slices.SortFunc(dots, dvv.Dot.Compare)
	return slices.Compact(dots)
}

// after returns s, or the next stamp behind those of the row's payloads.
func after(s crdt.Stamp, row crdt.Row, latest crdt.Stamp) crdt.Stamp {
	for _, l := range row.Live {
		var seen crdt.Stamp
		switch l.Payload.Kind() {
		case crdt.KindMember:
			m, _ := crdt.DecodeMember(l.Payload)
			seen = m.Stamp
		case crdt.KindAssign:
			a, _ := crdt.DecodeAssign(l.Payload)
			seen = a.Stamp
		}
		if seen >= s && seen < latest {
			s = seen + 1
		}
	}
	return s
}
