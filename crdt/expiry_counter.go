package crdt

import (
	"fmt"
	"slices"

	"github.com/cartwheel-db/cartwheel/dvv"
)

// Of a counter each actor's entry expires by itself: its totals since the last
// reset have one time, the latest that any of their increments asked for. What is
// over reads as if it were reset, and then it is, by a reset that carries on the
// earlier ones: a counter that is used and expires for years has one reset, and
// not one a day.

// lapse takes the entries whose time is over as reset.
func (t *Tally) lapse(wallMillis int64) {
	for _, e := range t.newest {
		if lapsed(e.Expires, wallMillis) {
			t.lapsed = append(t.lapsed, e)
		}
	}
	if len(t.lapsed) == 0 {
		return
	}
	t.resets = slices.Clone(t.floor)
	t.floor = append(t.floor, t.lapsed...).settled()
}

// earliest returns the first expiry of any actor's newest entry.
func (t *Tally) earliest() (at int64) {
	for _, e := range t.newest {
		at = sooner(at, e.Expires)
	}
	return at
}

// Expires returns when the last of the counter expires, 0 for never.
func (t *Tally) Expires() (at int64) {
	first := true
	for _, e := range t.newest {
		if e.Seq <= t.floor.of(e.Actor).Seq {
			continue
		}
		if at = Later(at, e.Expires); first {
			at, first = e.Expires, false
		}
	}
	return at
}

// IncrementUntil returns the entry an actor puts to add delta until a time (0 for
// ever), the dots that the entry and z replace, and the value afterwards. z, when
// not empty, has to be put by the same group: the actor's entry before this one had
// expired, and what was in it does not come back with the new totals.
//
// What the totals have since the last reset expires together, at the latest time
// that was asked for.
func (t *Tally) IncrementUntil(actor dvv.Actor, delta, expires int64) (e Entry, kills []dvv.Dot, z Payload, value int64, err error) {
	before := t.Exact()
	after := before.Add(TotalOf(delta))
	value, over := after.Int64()
	if over && after.Negative() == (delta < 0) {
		return Entry{}, nil, nil, 0, fmt.Errorf("%w: %v%+d", ErrOverflow, before, delta)
	}
	base := t.newest.of(actor)
	own := base.Seq > 0
	if floor := t.floor.of(actor); floor.Seq >= base.Seq {
		base, own = floor, false
	}
	e = base.Entry
	if own {
		expires = Later(e.Expires, expires)
	}
	if e.Expires = expires; delta >= 0 {
		e.P = e.P.Add(TotalOf(delta))
	} else {
		e.N = e.N.Sub(TotalOf(delta))
	}
	for _, c := range t.lapsed {
		if c.Actor == actor {
			z, kills = t.over(c)
			return e, kills, z, value, nil
		}
	}
	for _, l := range t.live {
		if l.Dot.Actor == actor && l.Payload.Kind() == KindEntry {
			kills = appendDotOnce(kills, l.Dot)
		}
	}
	return e, kills, nil, value, nil
}

// Lapse returns the reset of the entries whose time is over, and the dots that it
// replaces; nothing when there are none.
func (t *Tally) Lapse() (Payload, []dvv.Dot) {
	if len(t.lapsed) == 0 {
		return nil, nil
	}
	return t.over(t.lapsed...)
}

// over returns the reset of some entries whose time is over, which carries on the
// earlier ones, and the dots that it replaces.
func (t *Tally) over(entries ...Component) (Payload, []dvv.Dot) {
	top := slices.Concat(t.resets, Reset(entries)).settled()
	z, kills := t.covering(top, t.own)
	return t.beside(z, t.own...), kills
}
