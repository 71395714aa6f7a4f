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

// own tells of a reset that an operation put beside its increment.
type own struct {
	op     Operation
	before []uint64 // of each component the seq up to which other resets reached; nil for a reset that stands alone
}

// ResetBeside is [Tally.Reset] for an operation that also adds to the counter.
func (t *Tally) ResetBeside(op Operation) (Payload, []dvv.Dot) {
	z, kills := t.Reset()
	p := z.Payload()
	if op.IsZero() || len(z) == 0 {
		return p, kills
	}
	p = AppendOperation(p, op)
	foreign := t.foreign(op)
	for _, c := range z {
		p = pack.AppendUint(p, foreign[c.Actor].Seq)
	}
	return p, kills
}

// Foreign returns how far a reset reaches that is not an operation's own: all of it,
// or, where the operation put it beside its increment, the seqs of what it carries
// on.
func Foreign(p Payload, op Operation) ([]dvv.Dot, error) {
	z, own, err := decodeReset(p)
	dots := make([]dvv.Dot, len(z))
	for i, c := range z {
		dots[i] = dvv.Dot{Actor: c.Actor, Seq: c.Seq}
		if own.before != nil && own.op == op {
			dots[i].Seq = own.before[i]
		}
	}
	return dots, err
}

func readOwn(r *pack.Reader, z Reset) own {
	o := own{op: ReadOperation(r), before: make([]uint64, len(z))}
	if r.Err() == nil && (o.op.IsZero() || len(z) == 0) {
		r.Fail("a reset of %d actors by no operation", len(z))
	}
	for i, c := range z {
		o.before[i] = r.UintMax(c.Seq)
	}
	return o
}

// foreign is how far resets reach that an operation did not put itself.
func (t *Tally) foreign(op Operation) map[dvv.Actor]Component {
	if !slices.Contains(t.own, op) {
		return t.floor
	}
	floor := make(map[dvv.Actor]Component, len(t.floor))
	t.eachReset(func(z Reset, own own) {
		for i, c := range z {
			if own.before != nil && own.op == op {
				c.Seq = own.before[i]
			}
			raise(floor, c)
		}
	})
	for _, c := range t.lapsed {
		raise(floor, c)
	}
	return floor
}

// alone is how far those resets reach that stand alone.
func (t *Tally) alone() map[dvv.Actor]Component {
	floor := make(map[dvv.Actor]Component, len(t.floor))
	t.eachReset(func(z Reset, own own) {
		for _, c := range z {
			if own.before == nil {
				raise(floor, c)
			}
		}
	})
	return floor
}

func (t *Tally) eachReset(fn func(Reset, own)) {
	for _, l := range t.live {
		if l.Payload.Kind() == KindReset {
			if z, own, err := decodeReset(l.Payload); err == nil {
				fn(z, own)
			}
		}
	}
}
