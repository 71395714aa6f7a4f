package crdt

import (
	"fmt"

	"github.com/cartwheel-db/cartwheel/crdt/pack"
	"github.com/cartwheel-db/cartwheel/dvv"
)

// Bounds of one group, which a decoder refuses to exceed.
const (
	MaxGroupEvents = 1 << 12
	MaxKills       = 1 << 16 // dots one event names
)

func appendDot(b []byte, d dvv.Dot) []byte {
	return pack.AppendUint(pack.AppendUint(b, uint64(d.Actor)), d.Seq)
}

func readDot(r *pack.Reader) dvv.Dot {
	d := dvv.Dot{Actor: dvv.Actor(r.Uint()), Seq: r.Uint()}
	if r.Err() == nil && d.Seq == 0 {
		r.Fail("dot of %v without a sequence", d.Actor)
	}
	return d
}

func appendDots(b []byte, dots []dvv.Dot) []byte {
	b = pack.AppendArray(b, len(dots))
	for _, d := range dots {
		b = appendDot(b, d)
	}
	return b
}

func readDots(r *pack.Reader, limit int) []dvv.Dot {
	n := r.Array()
	if n > limit || n > r.Left()/2 {
		r.Fail("%d dots over the limit of %d or in %d bytes", n, limit, r.Left())
	}
	if r.Err() != nil || n == 0 {
		return nil
	}
	dots := make([]dvv.Dot, 0, n)
	for i := range n {
		d := readDot(r)
		if r.Err() != nil {
			return nil
		}
		if i > 0 && !dots[i-1].Less(d) {
			r.Fail("dots out of order: %v after %v", d, dots[i-1])
			return nil
		}
		dots = append(dots, d)
	}
	return dots
}

// AppendOperation appends an operation id, an empty array for none. It serves
// records that hold one.
func AppendOperation(b []byte, o Operation) []byte {
	if o.IsZero() {
		return pack.AppendArray(b, 0)
	}
	b = pack.AppendBytes(pack.AppendArray(b, 3), o.Client[:])
	return pack.AppendInt(pack.AppendUint(b, o.Seq), o.Issued)
}

// ReadOperation reads what [AppendOperation] wrote.
func ReadOperation(r *pack.Reader) Operation {
	var o Operation
	switch n := r.Array(); {
	case r.Err() != nil || n == 0:
		return o
	case n != 3:
		r.Fail("operation id of %d parts", n)
		return o
	}
	if id := r.Bytes(len(o.Client)); copy(o.Client[:], id) != len(o.Client) {
		r.Fail("client id of %d bytes, want %d", len(id), len(o.Client))
	}
	o.Seq, o.Issued = r.Uint(), r.Int()
	if r.Err() == nil && o.IsZero() {
		r.Fail("an operation id of zeros is written as none")
	}
	return o
}

// AppendClock appends a clock as msgpack bin.
func AppendClock(b []byte, c dvv.Clock) []byte { return pack.AppendBytes(b, c.AppendBinary(nil)) }

// ReadClock reads what [AppendClock] wrote.
func ReadClock(r *pack.Reader) dvv.Clock {
	raw := r.Bytes(r.Left())
	if r.Err() != nil {
		return dvv.Clock{}
	}
	c, rest, err := dvv.DecodeClock(raw)
	if err != nil || len(rest) > 0 {
		r.Fail("clock of %d bytes: %v, %d left over", len(raw), err, len(rest))
		return dvv.Clock{}
	}
	return c
}

// AppendRow appends the canonical bytes of a row: live dots with payloads, then
// deferred dots.
func AppendRow(b []byte, r Row) []byte {
	b = pack.AppendArray(b, len(r.Live))
	for _, l := range r.Live {
		b = pack.AppendBytes(appendDot(b, l.Dot), l.Payload)
	}
	return appendDots(b, r.Deferred)
}

// ReadRow reads a row of type t. Payloads alias the reader's input.
func ReadRow(r *pack.Reader, t Type) Row {
	if !t.Valid() {
		r.Fail("row of unknown %v", t)
	}
	n := r.Array()
	if n > r.Left()/4 {
		r.Fail("%d live payloads in %d bytes", n, r.Left())
	}
	var row Row
	if r.Err() == nil && n > 0 {
		row.Live = make([]Live, 0, n)
	}
	for i := range n {
		l := Live{Dot: readDot(r), Payload: readPayload(r, t)}
		if r.Err() != nil {
			return Row{}
		}
		if i > 0 && compareLive(row.Live[i-1], l) >= 0 {
			r.Fail("live payloads out of order at %v", l.Dot)
			return Row{}
		}
		row.Live = append(row.Live, l)
	}
	row.Deferred = readDots(r, r.Left())
	return row
}

func readPayload(r *pack.Reader, t Type) Payload {
	p := Payload(r.Bytes(r.Left()))
	if r.Err() != nil {
		return nil
	}
	if err := p.Check(t); err != nil {
		r.Fail("%v", err)
		return nil
	}
	return p
}

// Each event begins with a shape byte; rows that follow one of the same key
// leave the key out.
const (
	shapeSameKey = 1 << iota
	shapePayload
	shapeKills
	shapeDelta
	shapeClear
	shapeFollows
	shapeEnd
)

// AppendGroup appends the canonical bytes of a group.
func AppendGroup(b []byte, g *Group) []byte {
	b = pack.AppendArray(b, 7)
	b = pack.AppendUint(pack.AppendUint(b, uint64(g.Actor)), g.First)
	b = AppendOperation(b, g.Op)
	b = pack.AppendUint(pack.AppendUint(b, g.Sum), uint64(g.Stamp))
	b = pack.AppendInt(b, g.Answer)
	b = pack.AppendArray(b, len(g.Events))
	for i := range g.Events {
		var previous *Event
		if i > 0 {
			previous = &g.Events[i-1]
		}
		b = appendEvent(b, &g.Events[i], previous)
	}
	return b
}

func appendEvent(b []byte, e, previous *Event) []byte {
	var shape uint64
	if previous != nil && previous.Row.Key == e.Row.Key {
		shape |= shapeSameKey
	}
	if e.Payload != nil {
		shape |= shapePayload
	}
	if len(e.Kills) > 0 {
		shape |= shapeKills
	}
	if e.Delta != 0 {
		shape |= shapeDelta
	}
	if e.Clear != nil {
		shape |= shapeClear
	}
	if e.Follows != 0 {
		shape |= shapeFollows
	}
	b = pack.AppendUint(b, shape)
	if shape&shapeSameKey == 0 {
		b = pack.AppendUint(b, uint64(e.Row.Type))
		b = pack.AppendString(pack.AppendString(b, e.Row.Bucket), e.Row.Name)
	}
	if e.Clear != nil {
		return AppendClock(b, *e.Clear)
	}
	if e.Row.Type.HasFields() {
		b = pack.AppendString(b, e.Row.Field)
	}
	if e.Payload != nil {
		b = pack.AppendBytes(b, e.Payload)
	}
	if len(e.Kills) > 0 {
		b = appendDots(b, e.Kills)
	}
	if e.Delta != 0 {
		b = pack.AppendInt(b, e.Delta)
	}
	if e.Follows != 0 {
		b = pack.AppendUint(b, e.Follows)
	}
	return b
}

// ReadGroup reads a group strictly: names, payloads and order are checked as if
// a client had sent them, and increments come first, in the order of rows, so that
// what is remembered of an operation tells their dots from the first. Payloads alias the
// reader's input.
func ReadGroup(r *pack.Reader) Group {
	r.ArrayOf(7)
	g := Group{Actor: dvv.Actor(r.Uint()), First: r.Uint(), Op: ReadOperation(r), Sum: r.Uint(), Stamp: Stamp(r.Uint()), Answer: r.Int()}
	n := r.Array()
	switch {
	case r.Err() != nil:
	case n == 0 || n > MaxGroupEvents || n > r.Left()/2:
		r.Fail("group of %d events in %d bytes", n, r.Left())
	case g.First == 0 || g.First+uint64(n) < g.First:
		r.Fail("group of %d events from seq %d", n, g.First)
	}
	if r.Err() != nil {
		return Group{}
	}
	var last *Event
	for range n {
		e := readEvent(r, last)
		if r.Err() != nil {
			return Group{}
		}
		if e.Delta != 0 && last != nil && (last.Delta == 0 || last.Row.Key != e.Row.Key || last.Row.Field >= e.Row.Field) {
			r.Fail("increment of %+d at %v behind %v", e.Delta, e.Row, last)
			return Group{}
		}
		if e.Follows >= g.First {
			r.Fail("increment %d follows %d", g.First, e.Follows)
			return Group{}
		}
		g.Events = append(g.Events, e)
		last = &g.Events[len(g.Events)-1]
	}
	return g
}

func readEvent(r *pack.Reader, last *Event) Event {
	var e Event
	shape := r.UintMax(shapeEnd - 1)
	switch {
	case shape&shapeSameKey == 0:
		e.Row.Key = Key{Type: Type(r.UintMax(uint64(Map))), Bucket: r.String(MaxBucket), Name: r.String(MaxKey)}
		if last != nil && e.Row.Key == last.Row.Key {
			r.Fail("key of %v repeated", e.Row.Key)
		}
	case last == nil:
		r.Fail("first event without a key")
	default:
		e.Row.Key = last.Row.Key
	}
	if r.Err() != nil {
		return e
	}
	if shape&shapeClear != 0 {
		if shape&^(shapeClear|shapeSameKey) != 0 {
			r.Fail("a clear with other parts: shape %#x", shape)
		}
		if err := e.Row.Key.Check(); err != nil {
			r.Fail("%v", err)
		}
		c := ReadClock(r)
		e.Clear = &c
		return e
	}
	switch e.Row.Type {
	case Set:
		e.Row.Field = r.String(MaxMember)
	case Map:
		e.Row.Field = r.String(MaxPath)
	}
	if err := e.Row.Check(); r.Err() == nil && err != nil {
		r.Fail("%v", err)
	}
	if shape&shapePayload != 0 {
		e.Payload = readPayload(r, e.Row.RowType())
	}
	if shape&shapeKills != 0 {
		if e.Kills = readDots(r, MaxKills); len(e.Kills) == 0 {
			r.Fail("an empty list of kills")
		}
	}
	if shape&shapeDelta != 0 {
		if e.Delta = r.Int(); e.Delta == 0 || e.Payload.Kind() != KindEntry {
			r.Fail("delta %d with payload of %v", e.Delta, e.Payload.Kind())
		}
	}
	if shape&shapeFollows != 0 {
		if e.Follows = r.Uint(); e.Follows == 0 || e.Delta == 0 {
			r.Fail("event that adds %d follows %d", e.Delta, e.Follows)
		}
	}
	return e
}

// DecodeGroup reads a group that takes up all of b.
func DecodeGroup(b []byte) (Group, error) {
	r := pack.NewReader(b)
	g := ReadGroup(r)
	if err := r.Close(); err != nil {
		return Group{}, fmt.Errorf("group of %d bytes: %w", len(b), err)
	}
	return g, nil
}

// DecodeRow reads a row of type t that takes up all of b.
func DecodeRow(b []byte, t Type) (Row, error) {
	r := pack.NewReader(b)
	row := ReadRow(r, t)
	if err := r.Close(); err != nil {
		return Row{}, fmt.Errorf("%v row of %d bytes: %w", t, len(b), err)
	}
	return row, nil
}
