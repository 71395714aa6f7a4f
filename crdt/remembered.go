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
	Events int       // dots per group
	Dots   []dvv.Dot // sorted
	Voided []dvv.Dot // sorted; those of Dots that have a void
	Delta  int64     // of an increment; 0 for other mutations
	Row    Address   // the counter's row; of increments only
}

// Record adds a group to what is remembered of its operation and returns the
// dots that are to be voided now: of an increment, every dot but the smallest
// that has no void yet. A group that asked for something else under the same id
// (another amount, another counter) is no copy and is not remembered.
func (m *Remembered) Record(g *Group, wallMillis int64) (void []dvv.Dot) {
	delta, row := g.increment()
	if len(m.Dots) == 0 {
		m.Op, m.Sum, m.Seen, m.Answer, m.Events = g.Op, g.Sum, wallMillis, g.Answer, len(g.Events)
		m.Delta, m.Row = delta, row
	}
	if delta != m.Delta || row != m.Row {
		return nil
	}
	m.Dots = insertDot(m.Dots, g.Dot(0))
	return m.unvoided()
}

// increment returns what the group adds, and to which counter.
func (g *Group) increment() (delta int64, row Address) {
	if delta = g.Delta(); delta != 0 {
		row = g.Events[0].Row
	}
	return delta, row
}

func (m *Remembered) unvoided() (dots []dvv.Dot) {
	if m.Delta == 0 || len(m.Dots) == 0 {
		return nil
	}
	for _, d := range m.Dots[1:] {
		if _, done := slices.BinarySearchFunc(m.Voided, d, dvv.Dot.Compare); !done {
			dots = append(dots, d)
		}
	}
	return dots
}

// Void returns the payload that takes back the application at d, and notes it.
func (m *Remembered) Void(d dvv.Dot) Void {
	m.Voided = insertDot(m.Voided, d)
	return Void{Voided: d, Winner: m.Dots[0], Op: m.Op, Delta: m.Delta}
}

// Join merges what another replica remembers of the same operation and returns
// the dots that are to be voided now, as [Remembered.Record] does.
func (m *Remembered) Join(o Remembered) (void []dvv.Dot) {
	if len(m.Dots) == 0 {
		*m = o
		m.Dots, m.Voided = slices.Clone(o.Dots), slices.Clone(o.Voided)
	}
	if m.Delta != o.Delta || m.Row != o.Row {
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

// AppendRemembered appends the canonical bytes of m.
func AppendRemembered(b []byte, m *Remembered) []byte {
	b = AppendOperation(pack.AppendArray(b, 9), m.Op)
	b = pack.AppendInt(pack.AppendUint(b, m.Sum), m.Seen)
	b = pack.AppendUint(pack.AppendInt(b, m.Answer), uint64(m.Events))
	b = appendDots(appendDots(b, m.Dots), m.Voided)
	b = pack.AppendInt(b, m.Delta)
	if m.Delta == 0 {
		return pack.AppendBytes(b, nil)
	}
	return pack.AppendBytes(b, m.Row.AppendBinary(nil))
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
	r.ArrayOf(9)
	m := Remembered{
		Op: ReadOperation(r), Sum: r.Uint(), Seen: r.Int(), Answer: r.Int(),
		Events: int(r.UintMax(MaxGroupEvents)), Dots: readDots(r, MaxKills), Voided: readDots(r, MaxKills), Delta: r.Int(),
	}
	row := r.Bytes(8 << 10)
	if r.Err() != nil || m.Delta == 0 && len(row) == 0 {
		return m
	}
	a, err := DecodeAddress(row)
	if err != nil || a.Type != Counter || m.Delta == 0 {
		r.Fail("remembered increment of %+d at %v: %v", m.Delta, a, err)
	}
	m.Row = a
	return m
}
