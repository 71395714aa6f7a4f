package crdt

import (
	"fmt"
	"slices"

	"github.com/cartwheel-db/cartwheel/crdt/pack"
	"github.com/cartwheel-db/cartwheel/dvv"
)

// Expiry is of dots. A payload may carry a time; once that is past, readers take
// the row as if the dot were killed, and then it is: by an event that kills just
// the dots that expired, as a client would that was shown them and nothing else.
//
//	set member      all its dots, when the latest time among them is past
//	register        all its dots, when the time of the winner is past: the others lost to it
//	blob            each sibling by itself
//	counter         each actor's entry by itself: what it had is reset
//
// A renewal has a dot of its own, and so it stays whatever else is going on; a
// replica that lags brings back dots that the others' clocks know to be dead.

// appendExpiry appends a time where there is one: nothing stands for never.
func appendExpiry(b []byte, expires int64) []byte {
	if expires == 0 {
		return b
	}
	return pack.AppendUint(b, uint64(expires))
}

func readExpiry(r *pack.Reader) int64 {
	if r.Err() != nil || r.Left() == 0 {
		return 0
	}
	at := int64(r.UintMax(1<<63 - 1))
	if at == 0 {
		r.Fail("an expiry of never is written as none")
	}
	return at
}

func until(expires int64) string {
	if expires == 0 {
		return ""
	}
	return fmt.Sprintf(" until %d", expires)
}

func lapsed(expires, wallMillis int64) bool { return expires != 0 && expires <= wallMillis }

// Timed tells whether a payload of the row carries a time: without one
// [Row.Expires] is 0 whatever the type. It costs next to nothing, which matters
// where every row passes that is written.
func (r Row) Timed() bool {
	for _, l := range r.Live {
		if l.Payload.expires() != 0 {
			return true
		}
	}
	return false
}

// expires returns the time that a payload carries, 0 for none.
func (p Payload) expires() int64 {
	switch p.Kind() {
	case KindMember:
		m, _ := DecodeMember(p)
		return m.Expires
	case KindEntry:
		e, _ := DecodeEntry(p)
		return e.Expires
	case KindAssign:
		a, _ := DecodeAssign(p)
		return a.Expires
	case KindBlob:
		v, _ := DecodeBlobValue(p)
		return v.Expires
	}
	return 0
}

// Expires returns when something of a row of type t is to be removed next, in
// milliseconds since the Unix epoch; 0 for never, or where a payload cannot be
// read.
func (r Row) Expires(t Type) int64 {
	switch t {
	case Set:
		if m, ok, err := r.Member(); ok && err == nil {
			return m.Expires
		}
	case Register:
		if all, err := r.Register(); err == nil && len(all) > 0 {
			return all[0].Expires
		}
	case Counter:
		if t, err := r.Tally(); err == nil {
			return t.earliest()
		}
	case Blob:
		return r.earliest()
	}
	return 0
}

// earliest returns the first expiry of any sibling.
func (r Row) earliest() (at int64) {
	for _, l := range r.Live {
		if v, err := DecodeBlobValue(l.Payload); err == nil {
			at = sooner(at, v.Expires)
		}
	}
	return at
}

// sooner returns the earlier of two expiries, of which 0 is never.
func sooner(a, b int64) int64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// Lapse returns what removes from a row of type t that which is over at a time:
// the dots that die, sorted, and of a counter the payload that takes them back.
// Without dots there is nothing to remove.
func (r Row) Lapse(t Type, wallMillis int64) (kills []dvv.Dot, put Payload, err error) {
	switch t {
	case Set:
		m, ok, err := r.Member()
		if err != nil || !ok || !lapsed(m.Expires, wallMillis) {
			return nil, nil, err
		}
		return r.Dots(), nil, nil
	case Register:
		all, err := r.Register()
		if err != nil || len(all) == 0 || !lapsed(all[0].Expires, wallMillis) {
			return nil, nil, err
		}
		return r.Dots(), nil, nil
	case Blob:
		for _, l := range r.Live {
			v, err := DecodeBlobValue(l.Payload)
			if err != nil {
				return nil, nil, fmt.Errorf("blob under %v: %w", l.Dot, err)
			}
			if lapsed(v.Expires, wallMillis) {
				kills = appendDotOnce(kills, l.Dot)
			}
		}
		return kills, nil, nil
	case Counter:
		t, err := r.TallyAt(wallMillis)
		if err != nil {
			return nil, nil, err
		}
		z, kills := t.Lapse()
		if len(kills) == 0 {
			return nil, nil, nil
		}
		return kills, z, nil
	}
	return nil, nil, nil
}

// At returns the row as readers see it at a time: without the dots that [Row.Lapse]
// names. A counter is read by [Row.TallyAt] instead.
func (r Row) At(t Type, wallMillis int64) (Row, error) {
	kills, _, err := r.Lapse(t, wallMillis)
	if err != nil || len(kills) == 0 || t == Counter {
		return r, err
	}
	out := Row{Deferred: r.Deferred, Live: make([]Live, 0, len(r.Live))}
	for _, l := range r.Live {
		if _, over := slices.BinarySearchFunc(kills, l.Dot, dvv.Dot.Compare); !over {
			out.Live = append(out.Live, l)
		}
	}
	return out, nil
}
