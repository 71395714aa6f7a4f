package crdt

import (
	"slices"

	"github.com/cartwheel-db/cartwheel/crdt/pack"
	"github.com/cartwheel-db/cartwheel/dvv"
)

// A counter of a map is set to a value by one operation that takes back what is
// there and adds: a reset beside an increment. When it is tried again at another
// coordinator, the read before the reset may show the first copy of the increment:
//
//	A  a:1 +3, a:2 reset of what was there
//	B  b:1 +3, b:2 reset of what was there, and of a:1        the retry
//
// An operation that was applied twice does not count at all if a reset saw one of
// its copies: it happened before that reset. That must not go for its own. So such a
// reset names its operation, and how far the resets of others had come that it
// carries on.
//
// What expires beside it is taken back by a reset that carries this one on, and so
// names the operation too, for only the life that ended is over: that nobody else took
// back the copies before it must stay known while another copy counts.

// own tells of a reset that an operation put beside its increment, or of one that
// carries such a reset on.
type own struct {
	op     Operation
	before []uint64 // of each component the seq up to which resets of others reached
}

// ResetBeside is [Tally.Reset] for an operation that also adds to the counter.
func (t *Tally) ResetBeside(op Operation) (Payload, []dvv.Dot) {
	z, kills := t.Reset()
	if op.IsZero() {
		return z.Payload(), kills
	}
	return t.beside(z, op), kills
}

// beside encodes a reset of which some operations have to know what others took back.
func (t *Tally) beside(z Reset, ops ...Operation) Payload {
	p := z.Payload()
	if len(z) == 0 {
		return p
	}
	for _, op := range ops {
		p = AppendOperation(p, op)
		foreign := t.foreign(op)
		for _, c := range z {
			p = pack.AppendUint(p, foreign.of(c.Actor).Seq)
		}
	}
	return p
}

// Foreign returns how far a reset reaches that is not an operation's own: all of it,
// or, where the reset names the operation, the seqs of what it carries on.
func Foreign(p Payload, op Operation) ([]dvv.Dot, error) {
	z, owns, err := decodeReset(p)
	dots := make([]dvv.Dot, len(z))
	for i, c := range z {
		dots[i] = dvv.Dot{Actor: c.Actor, Seq: foreignSeq(c, i, owns, op)}
	}
	return dots, err
}

func foreignSeq(c Component, at int, owns []own, op Operation) uint64 {
	for _, o := range owns {
		if o.op == op {
			return o.before[at]
		}
	}
	return c.Seq
}

// readOwn reads one more operation that a reset names, in order.
func readOwn(r *pack.Reader, z Reset, sofar []own) own {
	o := own{op: ReadOperation(r), before: make([]uint64, len(z))}
	if r.Err() == nil && (o.op.IsZero() || len(z) == 0) {
		r.Fail("a reset of %d actors by no operation", len(z))
	}
	if n := len(sofar); n > 0 && sofar[n-1].op.Compare(o.op) >= 0 {
		r.Fail("operations of a reset out of order")
	}
	for i, c := range z {
		o.before[i] = r.UintMax(c.Seq)
	}
	return o
}

// foreign is how far resets reach that an operation did not put itself. What expires
// is no reset of others to an operation that set the counter to a value.
func (t *Tally) foreign(op Operation) Reset {
	if !slices.Contains(t.own, op) {
		return t.floor
	}
	var floor Reset
	for _, l := range t.live {
		if l.Payload.Kind() != KindReset {
			continue
		}
		z, owns, err := decodeReset(l.Payload)
		if err != nil {
			continue
		}
		for i, c := range z {
			c.Seq = foreignSeq(c, i, owns, op)
			floor = append(floor, c)
		}
	}
	return floor.settled()
}
