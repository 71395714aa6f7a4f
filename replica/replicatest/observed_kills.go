package replicatest

import (
	"slices"
	"strings"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica"
)

// checkMinted holds a new group to what its client could mean: it kills what the
// client was shown, or what stood there before, and nothing that nobody had
// seen.
func (w *World) checkMinted(k *known, r *opRecord) {
	part := w.memory.parts[k.partition]
	for i := range k.group.Events {
		e := &k.group.Events[i]
		for _, d := range e.Kills {
			killed, found := part.find(d)
			if !found {
				w.fail("%v kills %v, which nobody minted", &k.group, d)
				return
			}
			if r.context.Contains(d) {
				continue // shown to the client; at another member's row it does nothing
			}
			own := d.Actor == k.group.Actor && killed.event.Row == e.Row
			var may bool
			switch r.mutation.Verb {
			case replica.Update:
				removal := e.Payload == nil
				may = killed.event.Row == e.Row && (own || removal && r.mutation.Context == nil)
			case replica.Edit, replica.Delete:
				may = own || killed.event.Row == e.Row && (w.mayEdit(r, e) || carriesOn(k, part.byKey[e.Row.Key].row(e.Row.Field), killed))
			case replica.Assign, replica.Zero:
				may = killed.event.Row == e.Row
			case replica.Add:
				may = own || killed.event.Row == e.Row && carriesOn(k, part.byKey[e.Row.Key].row(e.Row.Field), killed)
			}
			if !may {
				w.fail("%s was minted as %v, which kills %v: its client was not shown that", briefly(r.mutation), &k.group, &killed.of.group)
			}
		}
		w.checkShown(k, r, e)
		if e.Clear != nil && r.mutation.Context != nil && !e.Clear.Equal(r.context) {
			w.fail("%s was minted as %v, which clears other dots than its context", briefly(r.mutation), &k.group)
		}
		if a, err := crdt.DecodeAssign(e.Payload); err == nil && e.Row.RowType() == crdt.Register && a.Stamp <= r.floor {
			w.fail("%s got the stamp %v; its client had seen %v", briefly(r.mutation), a.Stamp, r.floor)
		}
	}
}

// mayEdit tells whether an event of an update of a map, or of its delete, may kill
// what others put into its row: an assignment does, and a removal without a context.
func (w *World) mayEdit(r *opRecord, e *crdt.Event) bool {
	switch e.Payload.Kind() {
	case crdt.KindAssign:
		return true
	case 0, crdt.KindReset:
		return r.mutation.Context == nil
	}
	return false
}

// carriesOn tells whether a group that increments a counter may kill a reset, a void,
// or an entry that was reset before: its actor's entry had expired, and the reset it
// puts carries on the others.
func carriesOn(k *known, r *rowLog, killed eventRef) bool {
	if killed.event.Delta != 0 {
		if carried, _ := r.takenBefore(k, crdt.Component{Actor: killed.dot.Actor, Seq: killed.dot.Seq}); !carried {
			return false
		}
	}
	return slices.ContainsFunc(k.group.Events, func(e crdt.Event) bool {
		return e.Row == killed.event.Row && e.Payload.Kind() == crdt.KindReset
	})
}

// checkShown: a reset under a context takes back what the client was shown; or what
// had expired of the actor that goes on counting.
func (w *World) checkShown(k *known, r *opRecord, e *crdt.Event) {
	z, err := crdt.DecodeReset(e.Payload)
	if row := w.memory.parts[k.partition].byKey[e.Row.Key].row(e.Row.Field); err == nil && adds(r.mutation, e.Row.Field) != 0 && w.wronglyTaken(k, row, e, w.nodes[k.by].clock().Wall) == "" {
		return
	}
	if err != nil || r.mutation.Context == nil || r.mutation.Key.Type != crdt.Map || slices.ContainsFunc(r.mutation.Changes, func(c replica.Change) bool {
		return c.Member == e.Row.Field && c.Shown.Equal(e.Payload)
	}) {
		return
	}
	w.fail("%s was minted as %v, which resets %v: its client was not shown that", briefly(r.mutation), &k.group, z)
}

// checkRemovals: what an acknowledged remove, delete or reset observed never
// comes back. It observed its context; or, without one, all that a read at R was
// bound to show when it began.
func (w *World) checkRemovals() {
	for _, r := range w.history.ops {
		removes := r.mutation.Verb == replica.Delete || r.mutation.Context != nil && r.mutation.Verb != replica.Add && r.mutation.Verb != replica.Zero
		for _, c := range r.mutation.Changes {
			removes = removes || c.Remove
		}
		if !r.acked || !removes {
			continue
		}
		part := w.memory.parts[r.partition]
		log := part.byKey[r.mutation.Key]
		if log == nil {
			continue
		}
		observed := r.context
		if r.mutation.Context == nil {
			// A second try may be answered with what the first one did.
			if r.result.Degraded || !r.calm || r.tries > 1 || len(r.groups) > 1 {
				continue
			}
			observed = r.quorate
			w.report.Checked.Blind++
		}
		w.report.Checked.Removals++
		final := w.final(r.partition)
		check := func(field string) {
			row := log.row(field)
			if row == nil || row.holds == crdt.Counter { // see checkResets
				return
			}
			for _, l := range log.fold(row, final).Live {
				if observed.Contains(l.Dot) {
					if row.lapsed(l.Dot, final, r.ended, r.mutation.Context != nil) {
						w.report.Checked.Lapsed++
						continue
					}
					w.fail("%s was acknowledged, and what it observed is back: %v of %q, minted at %.4f s; the operation began at %.4f s",
						briefly(r.mutation), l.Dot, field, float64(part.groups[l.Dot].minted)/1e9, float64(r.began)/1e9)
				}
			}
		}
		switch r.mutation.Verb {
		case replica.Update:
			for _, c := range r.mutation.Changes {
				if c.Remove || r.mutation.Context != nil {
					check(c.Member)
				}
			}
		case replica.Edit:
			for _, c := range r.mutation.Changes {
				for _, row := range log.rows {
					if (c.Remove || r.mutation.Context != nil) && (row.field == c.Member || c.Member == tagsField && strings.HasPrefix(row.field, tagsField)) {
						check(row.field)
					}
				}
			}
		case replica.Delete:
			for _, row := range log.rows {
				check(row.field)
			}
		case replica.Put, replica.Assign:
			if r.mutation.Context != nil {
				check("")
			}
		}
	}
}

// lapsed tells whether a dot was dead by then through an event that is lost since.
// A removal that read its absence, and so had nothing to kill, rests on the event
// of somebody else, which may have had one copy only, on a disk that is gone. The
// oracle lets that pass, and counts it. Under a context it does so for what had
// expired, and will be removed once more.
func (r *rowLog) lapsed(d dvv.Dot, final dvv.Clock, by int64, expired bool) bool {
	for _, e := range r.events {
		if !final.Contains(e.dot) && (!expired || e.of.op == nil) && e.of.minted <= by && slices.Contains(e.event.Kills, d) {
			return true
		}
	}
	return false
}

// checkNothingLost: every acknowledged write is in the final clock, and what an
// acknowledged add put is live, or was killed by somebody who may.
func (w *World) checkNothingLost() {
	for _, r := range w.history.ops {
		if !r.acked || !r.result.Wrote {
			continue
		}
		final := w.final(r.partition)
		for d := range r.result.Context.Dots() {
			if r.minted(d) && !final.Contains(d) {
				w.fail("%s was acknowledged as %v; at quiet %v of it is gone", briefly(r.mutation), r.result.Context, d)
				return
			}
		}
		survived := false
		for _, k := range r.groups {
			survived = survived || k.group.In(final)
		}
		if !survived {
			w.fail("%s was acknowledged; at quiet none of its groups is left", briefly(r.mutation))
			return
		}
		if r.mutation.Verb == replica.Update || r.mutation.Verb == replica.Edit {
			w.checkAdds(r, final)
		}
	}
}

// checkAdds looks for each member that an acknowledged update added.
func (w *World) checkAdds(r *opRecord, final dvv.Clock) {
	part := w.memory.parts[r.partition]
	log := part.byKey[r.mutation.Key]
	for d := range r.result.Context.Dots() {
		e, _ := part.find(d)
		if !r.minted(d) || e.event.Payload == nil {
			continue
		}
		row := log.row(e.event.Row.Field)
		live := false
		for _, l := range log.fold(row, final).Live {
			live = live || l.Dot == d
		}
		if live || !row.spared && log.cleared(d, final) {
			continue
		}
		justly := false
		for _, o := range row.events {
			for _, k := range o.event.Kills {
				justly = justly || k == d && final.Contains(o.dot) // each kill was judged when it was minted
			}
		}
		if !justly {
			w.fail("%s was acknowledged as %v, and it is gone though nobody killed it", briefly(r.mutation), d)
		}
	}
}

// checkHonesty: a client that was told each time that nothing was done finds
// nothing done.
func (w *World) checkHonesty() {
	for _, r := range w.history.ops {
		if r.ended > 0 && !r.acked && !r.unknown && !r.repeated && len(r.groups) > 0 {
			w.fail("%s failed and its client was told that nothing was written; it was minted as %v", briefly(r.mutation), &r.groups[0].group)
		}
	}
}

// countGhosts looks for operations that were minted by two coordinators, and
// whose copies met different fates.
func (w *World) countGhosts() {
	for _, r := range w.history.ops {
		if len(r.groups) < 2 {
			continue
		}
		w.report.Checked.TwiceMinted++
		if r.mutation.Key.Type == crdt.Counter {
			continue
		}
		final, log := w.final(r.partition), w.memory.parts[r.partition].byKey[r.mutation.Key]
		live, replaced := false, false
		for _, k := range r.groups {
			for i := range k.group.Events {
				e := &k.group.Events[i]
				if !k.group.In(final) || e.Payload == nil {
					continue
				}
				lives := false
				for _, l := range log.fold(log.row(e.Row.Field), final).Live {
					lives = lives || l.Dot == k.group.Dot(i)
				}
				live, replaced = live || lives, replaced || !lives
			}
		}
		if live && replaced {
			w.report.Checked.Ghosts++
		}
	}
}
