package replicatest

import (
	"fmt"
	"math"
	"slices"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/replica"
)

// Expiry, held to what it is by hand. A removal that no client asked for kills only
// what was over by the clock of the node that minted it; it does not overlook a
// renewal that two owners held and its client was told of before that time. Readers
// see the row without what is over by theirs. At quiet nothing that is over is left
// anywhere, so no replica brings it back.

// soon is a time to come, by the clock of the client's endpoint, or mostly none.
func (c *client) soon() int64 {
	if !c.w.chance(0.25) {
		return 0
	}
	return c.sometime()
}

func (c *client) sometime() int64 { return epochMillis + c.w.now/ms + c.ahead + c.w.between(50, 6000) }

// timedField is a counter of maps of which, where it may be removed, every increment
// expires. An entry lives as long as any of its increments asked for, and most ask
// for ever.
var timedField = counterField(mapCounters - 1)

// letExpire gives times to some of what a mutation writes, but for the keys that are
// held to the strictest oracles. Where one way of repair must do alone nothing
// expires: nobody waits for a removal to reach anybody.
func (c *client) letExpire(m *replica.Mutation) {
	if c.w.opt.Alone != 0 {
		return
	}
	switch m.Verb {
	case replica.Update, replica.Edit:
		for i := range m.Changes {
			ch := &m.Changes[i]
			if exact := m.Key.Name[0] == 's' && m.Verb == replica.Edit && (ch.Delta != 0 || ch.Member == noteField); !ch.Remove && !exact {
				if ch.Expires = c.soon(); ch.Member == timedField {
					ch.Expires = c.sometime()
				}
			}
		}
	case replica.Add:
		if m.Key.Name[0] == 't' {
			m.Expires = c.sometime()
		}
	case replica.Assign:
		if m.Key.Name[0] == 'd' {
			m.Expires = c.soon()
		}
	case replica.Put:
		m.Expires = c.soon()
	}
}

// over tells whether a time has come; 0 is never.
func over(expires, wall int64) bool { return expires != 0 && expires <= wall }

// expires reads the time that a payload carries.
func expires(p crdt.Payload) int64 {
	switch p.Kind() {
	case crdt.KindMember:
		m, _ := crdt.DecodeMember(p)
		return m.Expires
	case crdt.KindEntry:
		e, _ := crdt.DecodeEntry(p)
		return e.Expires
	case crdt.KindAssign:
		a, _ := crdt.DecodeAssign(p)
		return a.Expires
	case crdt.KindBlob:
		v, _ := crdt.DecodeBlobValue(p)
		return v.Expires
	}
	return 0
}

// checkExpiry looks at a new group that no client asked for: voids, or the removal of
// what expired.
func (w *World) checkExpiry(k *known) {
	wall := w.nodes[k.by].clock().Wall
	for i := range k.group.Events {
		e := &k.group.Events[i]
		if e.Payload.Kind() == crdt.KindVoid {
			continue
		}
		log := w.memory.parts[k.partition].byKey[e.Row.Key].row(e.Row.Field)
		var why string
		switch log.holds {
		case crdt.Counter:
			why = w.wronglyTaken(k, log, e, wall)
		case crdt.Register:
			why = wronglyForgotten(log, e, wall)
		default:
			why = wronglyRemoved(log, e, wall)
		}
		if why == "" {
			why = w.disagreed(k, log, e, wall)
		}
		if w.report.Checked.Expiries++; why != "" || e.Clear != nil {
			w.fail("%v minted %s for no client at %d: %s", nodeID(k.by), brief(&k.group), wall, why)
			return
		}
	}
}

// disagreed: of one other owner at least the node has all that was durable there when
// the last of what it removes was over, by its own clock.
func (w *World) disagreed(k *known, r *rowLog, e *crdt.Event, wall int64) string {
	n, part := w.nodes[k.by], w.memory.parts[k.partition]
	var last int64
	killed, _ := r.killed(e)
	for _, o := range killed {
		if at := expires(o.event.Payload); over(at, wall) {
			last = max(last, at)
		}
	}
	since := (last - epochMillis - n.skew) * ms
	if n.jumped > since || last == 0 { // what its clock showed when it asked the others, nobody noted
		return ""
	}
	mine := n.durableOf(k.partition)
	for _, id := range n.ring.Owners(k.partition) {
		o := w.index(id)
		if o != n.at && !slices.ContainsFunc(part.all, func(g *known) bool {
			return g.since[o] > 0 && g.since[o] <= since && !g.group.In(mine)
		}) {
			w.report.Checked.Agreed++
			return ""
		}
	}
	return fmt.Sprintf("each other owner held something durably at %.4f s, when that was over, which %v does not know", float64(since)/1e9, n.id)
}

// killed returns the events of a row that another one kills.
func (r *rowLog) killed(e *crdt.Event) (out []eventRef, ok bool) {
	for _, d := range e.Kills {
		at := slices.IndexFunc(r.events, func(o eventRef) bool { return o.dot == d })
		if at < 0 {
			return nil, false
		}
		out = append(out, r.events[at])
	}
	return out, true
}

const strange = "it kills what never was in that row"

// wronglyRemoved: every dot of a member or a blob that dies is over.
func wronglyRemoved(r *rowLog, e *crdt.Event, wall int64) string {
	killed, ok := r.killed(e)
	if !ok {
		return strange
	}
	for _, o := range killed {
		if at := expires(o.event.Payload); !over(at, wall) {
			return fmt.Sprintf("%v is to live until %d", o.dot, at)
		}
	}
	return ""
}

// wronglyForgotten: of a register the latest write is over, and the others lost to it.
func wronglyForgotten(r *rowLog, e *crdt.Event, wall int64) string {
	killed, ok := r.killed(e)
	if !ok {
		return strange
	}
	var last eventRef
	var stamp crdt.Stamp
	for _, o := range killed {
		if a, err := crdt.DecodeAssign(o.event.Payload); err == nil && (a.Stamp > stamp || a.Stamp == stamp && last.dot.Less(o.dot)) {
			last, stamp = o, a.Stamp
		}
	}
	if last.event == nil || !over(expires(last.event.Payload), wall) {
		return "the latest of what it kills is not over"
	}
	return ""
}

// wronglyTaken: of a counter a reset takes back entries that are over, and carries on
// what resets before it took.
func (w *World) wronglyTaken(k *known, r *rowLog, e *crdt.Event, wall int64) string {
	killed, ok := r.killed(e)
	if !ok {
		return strange
	}
	for _, o := range killed {
		// Another reset may have taken it, before a later entry of its actor, that is over
		// now; be that reset lost or still on its way.
		at := expires(o.event.Payload)
		if carried, _ := r.takenBefore(k, crdt.Component{Actor: o.dot.Actor, Seq: o.dot.Seq}); o.event.Delta != 0 && !over(at, wall) && !carried {
			return fmt.Sprintf("%v is to count until %d", o.dot, at)
		}
	}
	z, err := crdt.DecodeReset(e.Payload)
	if err != nil {
		return "it puts no reset"
	}
	for _, c := range z {
		carried, entry := r.takenBefore(k, c)
		switch {
		case carried:
		case entry == nil:
			return fmt.Sprintf("%v:%d was never an increment", c.Actor, c.Seq)
		case !over(expires(entry.event.Payload), wall):
			return fmt.Sprintf("%v is to count until %d", entry.dot, expires(entry.event.Payload))
		default:
			if why := w.overlooked(k, r, *entry, wall); why != "" {
				return why
			}
		}
	}
	return ""
}

// takenBefore tells whether another reset took back what a component names, or which
// increment it names.
func (r *rowLog) takenBefore(k *known, c crdt.Component) (carried bool, entry *eventRef) {
	for i, o := range r.events {
		if o.of == k {
			continue
		}
		if z, err := crdt.DecodeReset(o.event.Payload); err == nil && slices.ContainsFunc(z, func(b crdt.Component) bool { return b.Actor == c.Actor && b.Seq >= c.Seq }) {
			carried = true
		}
		if o.event.Delta != 0 && o.dot.Actor == c.Actor && o.dot.Seq == c.Seq {
			entry = &r.events[i]
		}
	}
	return carried, entry
}

// overlooked: a renewal of an entry, promised before the entry was over by the clock
// of the node that now takes it back, and not over itself.
func (w *World) overlooked(k *known, r *rowLog, entry eventRef, wall int64) string {
	n := w.nodes[k.by]
	overAt := (expires(entry.event.Payload) - epochMillis - n.skew) * ms
	promised := w.memory.parts[k.partition].promised
	for _, o := range r.events {
		if o.event.Delta == 0 || o.dot.Actor != entry.dot.Actor || o.dot.Seq <= entry.dot.Seq || over(expires(o.event.Payload), wall) {
			continue
		}
		afresh := slices.ContainsFunc(o.of.group.Events, func(e crdt.Event) bool {
			return e.Row == o.event.Row && e.Payload.Kind() == crdt.KindReset
		})
		if promised.Contains(o.dot) && o.of.promised < overAt && n.jumped <= o.of.promised && !afresh {
			w.report.Checked.Renewals++
			return fmt.Sprintf("%v until %d renewed %v, and two owners and its client knew it before the time of that had come", o.dot, expires(o.event.Payload), entry.dot)
		}
	}
	return ""
}

// checkHidden holds what readers see of a row at a time to what that is by hand.
func (w *World) checkHidden(q replica.Query, f replica.Found, wall int64) {
	t := rowType(q.Key, f.Field)
	if t == crdt.Counter || !f.Row.Timed() {
		return
	}
	seen, err := f.Row.At(t, wall)
	var want []crdt.Live
	if all, err := f.Row.Register(); t == crdt.Register && err == nil && !over(all[0].Expires, wall) {
		want = f.Row.Live
	}
	for _, l := range f.Row.Live {
		if t == crdt.Blob && !over(expires(l.Payload), wall) {
			want = append(want, l)
		}
		if t == crdt.Set && !over(expires(l.Payload), wall) {
			want = f.Row.Live
		}
	}
	if len(want) < len(f.Row.Live) {
		w.report.Checked.Hidden++
	}
	if err != nil || !sameLive(seen, crdt.Row{Live: want}) {
		w.fail("%v shows %v of %q at %d (%v), and should show %v", q, seen, f.Field, wall, err, want)
	}
}

// checkExpiring compares the index of what expires with the rows.
func (n *node) checkExpiring(p int) {
	v := n.store.View()
	indexed := map[crdt.Address]int64{}
	err := v.Expiring(p, math.MaxInt64, func(at int64, a crdt.Address) bool { indexed[a] = at; return true })
	rows := 0
	if err == nil {
		err = v.AllRows(p, nil, func(a crdt.Address, r crdt.Row) bool {
			at := r.Expires(a.RowType())
			if at != 0 {
				rows++
			}
			if indexed[a] != at {
				n.w.fail("%v: %v of partition %d expires at %d, the index says %d", n.id, a, p, at, indexed[a])
			}
			return true
		})
	}
	if err != nil || rows != len(indexed) {
		n.w.fail("%v: %d rows of partition %d expire, the index has %d (%v)", n.id, rows, p, len(indexed), err)
	}
}

// leftover tells of a row that an owner still holds although something of it was over
// two seconds ago by the clock of the one that removes it.
func (n *node) leftover(p int) string {
	first := n.w.nodes[n.w.index(n.w.ring.Owners(p)[0])]
	left := ""
	err := n.store.View().Expiring(p, first.clock().Wall-2000, func(at int64, a crdt.Address) bool {
		left = fmt.Sprintf("%v still has %v of partition %d, which expired at %d", n.id, a, p, at)
		return false
	})
	if err != nil {
		n.w.fail("%v: index of partition %d: %w", n.id, p, err)
	}
	return left
}
