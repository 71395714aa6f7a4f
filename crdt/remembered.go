package crdt

import (
	"fmt"
	"slices"

	"github.com/cartwheel-db/cartwheel/crdt/pack"
	"github.com/cartwheel-db/cartwheel/dvv"
)

// Remembered is what a replica keeps of an operation so that a retry is
// recognised: the first dots of the groups it was applied as (more than one
// when two coordinators took it), and what the client was answered.
type Remembered struct {
	Op     Operation
	Sum    uint64 // fingerprint of what was asked for
	Seen   int64  // when this replica first saw it: milliseconds since the Unix epoch, local clock
	Answer int64
	Events int         // dots per group
	Dots   []dvv.Dot   // sorted
	Voided []dvv.Dot   // sorted; those of Dots that have a void
	Adds   []Increment // what it adds to counters, in the order of the first dots of each group; none for other mutations
}

// Record adds a group to what is remembered of its operation and returns the
// dots that are to be voided now: of an increment, every dot but the smallest
// that has no void yet. A group that asked for something else under the same id
// (another amount, another counter) is no copy and is not remembered.
func (m *Remembered) Record(g *Group, wallMillis int64) (void []dvv.Dot) {
	adds := g.Increments()
	if len(m.Dots) == 0 {
		m.Op, m.Sum, m.Seen, m.Answer, m.Events, m.Adds = g.Op, g.Sum, wallMillis, g.Answer, len(g.Events), adds
	}
	if !slices.Equal(adds, m.Adds) {
		return nil
	}
	m.Dots = insertDot(m.Dots, g.Dot(0))
	return m.unvoided()
}

func (m *Remembered) unvoided() (dots []dvv.Dot) {
	if len(m.Adds) == 0 || len(m.Dots) == 0 {
		return nil
	}
	for _, d := range m.Dots[1:] {
		if _, done := slices.BinarySearchFunc(m.Voided, d, dvv.Dot.Compare); !done {
			dots = append(dots, d)
		}
	}
	return dots
}

// Void returns what takes back the application whose first dot is d, a payload for
// the row of each of its increments, and notes it.
func (m *Remembered) Void(d dvv.Dot) []Event {
	m.Voided = insertDot(m.Voided, d)
	first := m.Dots[0]
	events := make([]Event, len(m.Adds))
	for i, add := range m.Adds {
		n := uint64(i)
		v := Void{Voided: dvv.Dot{Actor: d.Actor, Seq: d.Seq + n}, Winner: dvv.Dot{Actor: first.Actor, Seq: first.Seq + n}, Op: m.Op, Delta: add.Delta}
		events[i] = Event{Row: add.Row, Payload: v.Payload()}
	}
	return events
}

// Join merges what another replica remembers of the same operation and returns
// the dots that are to be voided now, as [Remembered.Record] does.
func (m *Remembered) Join(o Remembered) (void []dvv.Dot) {
	if len(m.Dots) == 0 {
		*m = o
		m.Dots, m.Voided = slices.Clone(o.Dots), slices.Clone(o.Voided)
	}
	if !slices.Equal(m.Adds, o.Adds) {
		return nil
	}
	for _, d := range o.Dots {
		m.Dots = insertDot(m.Dots, d)
	}
	for _, d := range o.Voided {
		m.Voided = insertDot(m.Voided, d)
	}
	return m.unvoided()
}

func insertDot(dots []dvv.Dot, d dvv.Dot) []dvv.Dot {
	at, found := slices.BinarySearchFunc(dots, d, dvv.Dot.Compare)
	if found {
		return dots
	}
	return slices.Insert(dots, at, d)
}

func (m Remembered) String() string {
	return fmt.Sprintf("%v at %v voided %v", m.Op, m.Dots, m.Voided)
}

// Bytes estimates what m takes in a message: an update of a map may add to a thousand
// counters.
func (m *Remembered) Bytes() int {
	n := 80 + 16*(len(m.Dots)+len(m.Voided))
	for _, add := range m.Adds {
		n += 24 + len(add.Row.Bucket) + len(add.Row.Name) + len(add.Row.Field)
	}
	return n
}

// AppendRemembered appends the canonical bytes of m.
func AppendRemembered(b []byte, m *Remembered) []byte {
	b = AppendOperation(pack.AppendArray(b, 8), m.Op)
	b = pack.AppendInt(pack.AppendUint(b, m.Sum), m.Seen)
	b = pack.AppendUint(pack.AppendInt(b, m.Answer), uint64(m.Events))
	b = appendDots(appendDots(b, m.Dots), m.Voided)
	b = pack.AppendArray(b, len(m.Adds))
	for _, add := range m.Adds {
		b = pack.AppendInt(pack.AppendBytes(b, add.Row.AppendBinary(nil)), add.Delta)
	}
	return b
}

// DecodeRemembered reads a record that takes up all of b.
func DecodeRemembered(b []byte) (Remembered, error) {
	r := pack.NewReader(b)
	m := ReadRemembered(r)
	if err := r.Close(); err != nil {
		return Remembered{}, fmt.Errorf("remembered operation of %d bytes: %w", len(b), err)
	}
	return m, nil
}

// ReadRemembered reads what [AppendRemembered] wrote.
func ReadRemembered(r *pack.Reader) Remembered {
	r.ArrayOf(8)
	m := Remembered{
		Op: ReadOperation(r), Sum: r.Uint(), Seen: r.Int(), Answer: r.Int(),
		Events: int(r.UintMax(MaxGroupEvents)), Dots: readDots(r, MaxKills), Voided: readDots(r, MaxKills),
	}
	n := r.Array()
	if n > m.Events || n > r.Left()/8 { // bytes an increment takes at least
		r.Fail("%d increments of %d events in %d bytes", n, m.Events, r.Left())
	}
	for i := 0; i < n && r.Err() == nil; i++ {
		row := r.Bytes(8 << 10)
		add := Increment{Delta: r.Int()}
		if r.Err() != nil {
			break
		}
		var err error
		if add.Row, err = DecodeAddress(row); err != nil || add.Row.RowType() != Counter || add.Delta == 0 {
			r.Fail("remembered increment of %+d at %v: %v", add.Delta, add.Row, err)
		}
		m.Adds = append(m.Adds, add)
	}
	return m
}
