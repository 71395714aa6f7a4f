package crdt

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cartwheel-db/cartwheel/crdt/pack"
	"github.com/cartwheel-db/cartwheel/dvv"
)

// Entry is what an increment puts: the running totals of its actor. Its actor
// and seq are those of the dot it lives under, and the totals never restart
// while the actor lives, whatever is reset meanwhile.
type Entry struct {
	P, N    Total
	Expires int64 // of all that the totals have since the last reset: milliseconds since the Unix epoch, 0 for never
}

// Component is how far a reset saw one actor: its newest seq and the totals
// there.
type Component struct {
	Actor dvv.Actor
	Seq   uint64
	Entry
}

// Reset is what a reset of a counter puts: a component per actor, by actor.
type Reset []Component

// Void takes back one application of an operation that was applied twice. It
// names dots and not an amount to subtract, so that two replicas that mint the
// same void count once.
type Void struct {
	Voided dvv.Dot
	Winner dvv.Dot // the smallest dot of the operation when the void was minted
	Op     Operation
	Delta  int64
}

// Payload encodes e.
func (e Entry) Payload() Payload {
	return appendExpiry(e.N.append(e.P.append(append(make([]byte, 0, 40), byte(KindEntry)))), e.Expires)
}

// DecodeEntry reads the payload of an increment.
func DecodeEntry(p Payload) (Entry, error) {
	r := p.body(KindEntry)
	e := Entry{P: readTotal(&r), N: readTotal(&r), Expires: readExpiry(&r)}
	return e, r.Close()
}

func (e Entry) String() string { return fmt.Sprintf("+%v-%v", e.P, e.N) + until(e.Expires) }

// Payload encodes z, which must be sorted by actor.
func (z Reset) Payload() Payload {
	b := pack.AppendArray([]byte{byte(KindReset)}, len(z))
	for _, c := range z {
		b = pack.AppendUint(b, uint64(c.Actor))
		b = pack.AppendUint(b, c.Seq)
		b = c.N.append(c.P.append(b))
	}
	return b
}

// DecodeReset reads the payload of a reset.
func DecodeReset(p Payload) (Reset, error) {
	z, _, err := decodeReset(p)
	return z, err
}

func decodeReset(p Payload) (z Reset, owns []own, err error) {
	r := p.body(KindReset)
	n := r.Array()
	if n > r.Left()/6 { // bytes a component takes at least
		r.Fail("reset of %d actors in %d bytes", n, r.Left())
		return nil, nil, r.Close()
	}
	z = make(Reset, 0, n)
	for i := range n {
		c := Component{Actor: dvv.Actor(r.Uint()), Seq: r.Uint(), Entry: Entry{P: readTotal(&r), N: readTotal(&r)}}
		if i > 0 && c.Actor <= z[i-1].Actor {
			r.Fail("components of a reset out of order")
		}
		z = append(z, c)
		if r.Err() != nil {
			break
		}
	}
	for r.Err() == nil && r.Left() > 0 {
		owns = append(owns, readOwn(&r, z, owns))
	}
	return z, owns, r.Close()
}

func (z Reset) String() string {
	var b strings.Builder
	b.WriteString("reset{")
	for i, c := range z {
		if i > 0 {
			b.WriteByte(' ')
		}
		fmt.Fprintf(&b, "%v:%v", dvv.Dot{Actor: c.Actor, Seq: c.Seq}, c.Entry)
	}
	return b.String() + "}"
}

// Payload encodes v.
func (v Void) Payload() Payload {
	b := append(make([]byte, 0, 80), byte(KindVoid))
	b = appendDot(appendDot(b, v.Voided), v.Winner)
	return pack.AppendInt(AppendOperation(b, v.Op), v.Delta)
}

// DecodeVoid reads the payload of a void.
func DecodeVoid(p Payload) (Void, error) {
	r := p.body(KindVoid)
	v := Void{Voided: readDot(&r), Winner: readDot(&r), Op: ReadOperation(&r), Delta: r.Int()}
	return v, r.Close()
}

func (v Void) String() string { return fmt.Sprintf("void %v of %+d", v.Voided, v.Delta) }

// Tally is a counter's row, decoded: what is needed to read it, to increment it
// and to reset it.
type Tally struct {
	newest Reset // newest live entry of each actor
	floor  Reset // highest component over all live resets
	voids  []Void
	own    []Operation // that put resets beside their own increments, sorted
	live   []Live

	lapsed Reset // newest entries whose time is over, by actor; they are in floor
	resets Reset // if any are: what floor was before
}

// Tally decodes the row of a counter, whatever has expired in it.
func (r Row) Tally() (*Tally, error) { return r.TallyAt(0) }

// TallyAt decodes the row of a counter as it reads at a time, in milliseconds since
// the Unix epoch: an entry whose time is over reads as if it were reset.
func (r Row) TallyAt(wallMillis int64) (*Tally, error) {
	t := &Tally{newest: make(Reset, 0, min(len(r.Live), 4)), live: r.Live}
	for _, l := range r.Live {
		if err := t.add(l); err != nil {
			return nil, fmt.Errorf("counter under %v: %w", l.Dot, err)
		}
	}
	t.newest, t.floor = t.newest.settled(), t.floor.settled()
	t.lapse(wallMillis)
	return t, nil
}

func (t *Tally) add(l Live) error {
	switch l.Payload.Kind() {
	case KindEntry:
		e, err := DecodeEntry(l.Payload)
		if err != nil {
			return err
		}
		t.newest = append(t.newest, Component{l.Dot.Actor, l.Dot.Seq, e})
	case KindReset:
		z, owns, err := decodeReset(l.Payload)
		if err != nil {
			return err
		}
		for _, o := range owns {
			if at, met := slices.BinarySearchFunc(t.own, o.op, Operation.Compare); !met {
				t.own = slices.Insert(t.own, at, o.op)
			}
		}
		t.floor = append(t.floor, z...)
	case KindVoid:
		v, err := DecodeVoid(l.Payload)
		if err != nil {
			return err
		}
		t.voids = append(t.voids, v)
	default:
		return fmt.Errorf("%w: %v in a counter", pack.ErrMalformed, l.Payload.Kind())
	}
	return nil
}

// settled sorts components by actor, as those of one row mostly are, and keeps of each
// actor the one of the highest seq. Of one seq with different totals (the same dot with
// different bytes, which cannot happen) the larger is kept, in every merge order.
func (z Reset) settled() Reset {
	sorted := true
	for i := 1; i < len(z) && sorted; i++ {
		sorted = z[i-1].Actor < z[i].Actor
	}
	if sorted {
		return z
	}
	slices.SortStableFunc(z, func(a, b Component) int {
		return cmp.Or(cmp.Compare(a.Actor, b.Actor), cmp.Compare(b.Seq, a.Seq), b.compare(a))
	})
	return slices.CompactFunc(z, func(a, b Component) bool { return a.Actor == b.Actor })
}

// of returns an actor's component, empty when there is none.
func (z Reset) of(a dvv.Actor) Component {
	at, met := slices.BinarySearchFunc(z, a, func(c Component, a dvv.Actor) int { return cmp.Compare(c.Actor, a) })
	if !met {
		return Component{}
	}
	return z[at]
}

func (c Component) compare(d Component) int {
	a := [...]uint64{c.P.Hi, c.P.Lo, c.N.Hi, c.N.Lo}
	b := [...]uint64{d.P.Hi, d.P.Lo, d.N.Hi, d.N.Lo}
	return slices.Compare(a[:], b[:])
}

// covered tells whether a reset saw the increment at d.
func (t *Tally) covered(d dvv.Dot) bool { return d.Seq <= t.floor.of(d.Actor).Seq }

// counted tells whether the raw value includes the increment at d.
func (t *Tally) counted(d dvv.Dot) bool {
	return d.Seq <= t.newest.of(d.Actor).Seq && !t.covered(d)
}

// Exact returns the counter's value: for each actor, what its newest entry has
// beyond what resets saw of it, less what was counted for one operation more
// than once.
func (t *Tally) Exact() Total {
	p, n := t.sums()
	return p.Sub(n)
}

// sums returns what was added and what was taken away.
func (t *Tally) sums() (p, n Total) {
	for _, e := range t.newest {
		if z := t.floor.of(e.Actor); e.Seq > z.Seq {
			p, n = p.Add(e.P.Sub(z.P)), n.Add(e.N.Sub(z.N))
		}
	}
	moreP, moreN := t.repeated()
	return p.Sub(moreP), n.Sub(moreN)
}

// repeated is what operations with several dots add beyond their one delta: of
// the dots of one operation that are counted, all but one; and all of them if
// any dot of it was reset, since the operation happened before that reset. A reset
// that the operation itself put happened with it: see [Tally.ResetBeside].
//
// The dots of an operation are those that any of its voids names. Two replicas
// may name different winners for one loser, and both matter: the smaller winner
// may not have arrived here, while the other is counted already.
func (t *Tally) repeated() (p, n Total) {
	if len(t.voids) == 0 {
		return p, n
	}
	for copies, dots := range t.copies() {
		var counted, resets uint64
		foreign := t.foreign(copies.op)
		for _, d := range dots {
			switch {
			case t.counted(d):
				counted++
			case d.Seq <= foreign.of(d.Actor).Seq:
				resets++
			}
		}
		if resets == 0 && counted > 0 {
			counted--
		}
		if more := TotalOf(copies.delta).Times(counted); copies.delta >= 0 {
			p = p.Add(more)
		} else {
			n = n.Sub(more)
		}
	}
	return p, n
}

// copied names an operation that was applied more than once. The delta is part
// of it: a client that uses an id for two increments makes two of them, and what
// is read does not depend on the order they are looked at.
type copied struct {
	op    Operation
	delta int64
}

func (t *Tally) copies() map[copied][]dvv.Dot {
	out := map[copied][]dvv.Dot{}
	for _, v := range t.voids {
		of := copied{v.Op, v.Delta}
		out[of] = insertDot(insertDot(out[of], v.Voided), v.Winner)
	}
	return out
}

// Value returns the counter's value; saturated tells that a sum of concurrent
// increments left int64, and the value is the nearest int64.
func (t *Tally) Value() (v int64, saturated bool) { return t.Exact().Int64() }

// ErrOverflow refuses an increment that would take a counter out of int64.
var ErrOverflow = errors.New("counter would leave the range of int64")

// IsReset tells whether the row is that of a counter which was reset, and holds
// nothing since: all that is left of it is how far the reset reached.
func (r Row) IsReset() bool { return len(r.Live) == 1 && r.Live[0].Payload.Kind() == KindReset }

// Forget takes the tally as it will be under a reset that is about to be put.
func (t *Tally) Forget(z Reset) {
	t.floor = append(t.floor, z...).settled()
}

// Present tells whether the counter holds anything that no reset saw, be it 0: what
// was added and taken away again, but not an operation that counts no more because
// another copy of it was reset.
func (t *Tally) Present() bool {
	p, n := t.sums()
	return p != Total{} || n != Total{}
}

// Increment returns the entry an actor puts to add delta for ever, the dots the entry
// replaces, and the value afterwards.
func (t *Tally) Increment(actor dvv.Actor, delta int64) (e Entry, kills []dvv.Dot, value int64, err error) {
	e, kills, _, value, err = t.IncrementUntil(actor, delta, 0)
	return e, kills, value, err
}

// Reset returns what a reset of this tally puts and the dots it kills. A void
// stays alive until both dots it speaks of are under the reset: a copy of the
// operation that was not seen yet is still to be taken back when it arrives.
func (t *Tally) Reset() (Reset, []dvv.Dot) {
	return t.covering(slices.Concat(t.newest, t.floor).settled(), nil)
}

// covering returns the reset of what top has, which is all that earlier ones have and
// perhaps more, and the dots of all that it makes idle. Voids of some operations stay:
// to these the reset says of some copies only that others took them back, and the
// voids tell which belong together.
func (t *Tally) covering(top Reset, but []Operation) (Reset, []dvv.Dot) {
	z := slices.Clone(top)
	for i := range z {
		z[i].Expires = 0
	}
	under := func(d dvv.Dot) bool { return d.Seq <= top.of(d.Actor).Seq }
	var kills []dvv.Dot
	for _, l := range t.live {
		idle := true
		switch l.Payload.Kind() {
		case KindEntry:
			idle = under(l.Dot)
		case KindVoid:
			v, err := DecodeVoid(l.Payload)
			idle = err == nil && under(v.Voided) && under(v.Winner) && !slices.Contains(but, v.Op)
		}
		if idle {
			kills = appendDotOnce(kills, l.Dot)
		}
	}
	return z, kills
}
