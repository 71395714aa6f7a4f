package replica

import (
	"bytes"
	"slices"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
)

// The name of a damaged row may be the damaged part of it: a row "milk" whose
// record now says "mIlk" is missing under its own name. Keys ascend in a store, or
// it does not open; so all that is known is that some row lay between the
// record's whole neighbours. Everything between them is made whole together.
//
//	… eggs ✓   ( milk ✗ )   tea ✓ …      piece: after eggs, before tea

// piece is a run of a partition's addresses, without its bounds: nil reaches to
// the end.
type piece struct {
	partition   int
	from, until []byte
}

func (c piece) holds(address []byte) bool {
	return (c.from == nil || bytes.Compare(address, c.from) > 0) && (c.until == nil || bytes.Compare(address, c.until) < 0)
}

func (c piece) equal(o piece) bool {
	same := func(a, b []byte) bool { return (a == nil) == (b == nil) && bytes.Equal(a, b) }
	return c.partition == o.partition && same(c.from, o.from) && same(c.until, o.until)
}

// first is the least address in the piece, or one below it.
func (c piece) first() []byte {
	if c.from == nil {
		return nil
	}
	return append(slices.Clone(c.from), 0)
}

// firstRow returns the address of the first whole row from an address on, nil
// when there is none.
func firstRow(v View, p int, from []byte) (address []byte, err error) {
	err = v.AllRows(p, from, func(a crdt.Address, _ crdt.Row) bool {
		address = a.AppendBinary(nil)
		return false
	})
	if eachDamage(err, func(record) {}) {
		err = nil
	}
	return address, err
}

// lastRow returns the address of the last whole row before an address, nil when
// there is none; without an address, of the last of all. A view walks upward only,
// so the address is found byte by byte, by halving.
func lastRow(v View, p int, before []byte) (address []byte, err error) {
	reaches := func(from []byte) bool {
		if err != nil {
			return false
		}
		var a []byte
		a, err = firstRow(v, p, from)
		return a != nil && (before == nil || bytes.Compare(a, before) < 0)
	}
	if !reaches(nil) {
		return nil, err
	}
	for err == nil {
		low, high := -1, 256 // reaches(address+low), not reaches(address+high)
		for high-low > 1 {
			mid := (low + high) / 2
			if reaches(append(slices.Clip(address), byte(mid))) {
				low = mid
			} else {
				high = mid
			}
		}
		if low < 0 {
			return address, err
		}
		address = append(address, byte(low))
	}
	return nil, err
}

// pieces returns where the row of a damaged record may have been: around it, and,
// where no whole row of its partition bounds that, at the near ends of the
// partitions stored before and behind. whole tells that the record is none.
func (s *Shard) pieces(v View, r record) (out []piece, whole bool, err error) {
	key := []byte(r.key)
	from, err := lastRow(v, r.partition, key)
	if err != nil {
		return nil, false, err
	}
	until, err := firstRow(v, r.partition, key)
	if err != nil || until != nil && bytes.Equal(until, key) {
		return nil, err == nil, err
	}
	at, stored := slices.BinarySearch(s.stored, r.partition)
	if stored {
		out = append(out, piece{r.partition, from, until})
	}
	for i := at - 1; i >= 0 && from == nil; i-- {
		if from, err = lastRow(v, s.stored[i], nil); err != nil {
			return nil, false, err
		}
		out = append(out, piece{s.stored[i], from, nil})
	}
	if stored {
		at++
	}
	for i := at; i < len(s.stored) && until == nil; i++ {
		if until, err = firstRow(v, s.stored[i], nil); err != nil {
			return nil, false, err
		}
		out = append(out, piece{s.stored[i], nil, until})
	}
	return out, false, nil
}

// Why another owner's rows cannot take the place of mine, yet or at all.
type unfit uint8

const (
	fitting unfit = iota
	lagging       // they lack events that are not in my log either
	leading       // they hold events that I lack: I catch up first
)

// replayed bounds the logged groups that one repair applies.
const replayed = 20000

// regrow is rule 9 for one piece: another owner's rows, with what I log and they
// lack applied to them. It changes nothing.
func (p *Partition) regrow(v View, c piece, m *Fetched) ([]AddressedRow, unfit, error) {
	if !p.clock.Covers(m.Clock) {
		return nil, leading, nil
	}
	g := regrowth{piece: c, seen: m.Clock.Clone(), dead: map[crdt.Key]dvv.Clock{}}
	for _, r := range m.Rows {
		g.rows = append(g.rows, AddressedRow{r.Address, r.Row.Clone()})
	}
	for _, d := range m.Dead {
		g.dead[d.Key] = d.Dots.Clone()
	}
	lacking, n := p.clock.Minus(m.Clock), 0
	err := p.sparing(v.Log(p.ID, lacking, func(logged crdt.Group, _ int) bool {
		for i := range logged.Events {
			g.apply(logged.Dot(i), &logged.Events[i])
		}
		n++
		return n < replayed
	}))
	if err != nil {
		return nil, fitting, err
	}
	if !g.seen.Covers(p.clock) {
		return nil, lagging, nil
	}
	for i := range g.rows {
		g.rows[i].Row.Forget(p.clock)
	}
	return slices.DeleteFunc(g.rows, func(r AddressedRow) bool { return r.Row.IsEmpty() }), fitting, nil
}

// regrowth is a partition replica of one piece alone: rule 1 in whatever order the
// log has the events.
type regrowth struct {
	piece
	rows []AddressedRow // in order
	seen dvv.Clock
	dead map[crdt.Key]dvv.Clock
}

func (g *regrowth) apply(dot dvv.Dot, e *crdt.Event) {
	g.seen.Add(dot)
	if e.Clear != nil {
		for i := range g.rows {
			if g.rows[i].Address.Key == e.Row.Key {
				g.rows[i].Row.Clear(g.rows[i].Address.Cleared(*e.Clear))
			}
		}
		unseen := e.Clear.Minus(g.seen)
		unseen.Join(g.dead[e.Row.Key])
		g.dead[e.Row.Key] = unseen
		return
	}
	if !g.holds(e.Row.AppendBinary(nil)) {
		return
	}
	at, found := slices.BinarySearchFunc(g.rows, e.Row, func(r AddressedRow, a crdt.Address) int { return r.Address.Compare(a) })
	if !found {
		g.rows = slices.Insert(g.rows, at, AddressedRow{Address: e.Row})
	}
	g.rows[at].Row.Apply(dot, e.Kills, e.Payload, g.seen, e.Row.Cleared(g.dead[e.Row.Key]))
}
