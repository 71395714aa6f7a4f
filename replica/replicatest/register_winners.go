package replicatest

import (
	"slices"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica"
)

// checkRegisters: of a register that is never deleted, the write with the
// highest (stamp, actor) that survived is shown, and it is none that a later
// acknowledged write had seen.
func (w *World) checkRegisters() {
	for _, part := range w.memory.parts {
		for _, log := range part.keys {
			for _, row := range log.rows {
				if row.holds == crdt.Register && (log.key.Name[0] == 'k' || log.key.Name[0] == 's') {
					w.checkRegister(part, log, row)
				}
			}
		}
	}
}

func (w *World) checkRegister(part *partition, log *keyLog, row *rowLog) {
	final := w.final(part.id)
	live, err := log.fold(row, final).Register()
	if err != nil {
		w.fail("%v cannot be read: %w", log.at(row), err)
		return
	}
	var best dvv.Dot
	var stamp crdt.Stamp
	for _, e := range row.events {
		if a, err := crdt.DecodeAssign(e.event.Payload); err == nil && final.Contains(e.dot) {
			if a.Stamp > stamp || a.Stamp == stamp && best.Less(e.dot) {
				best, stamp = e.dot, a.Stamp
			}
		}
	}
	if len(live) == 0 {
		if stamp > 0 {
			w.fail("%v holds nothing; %v was written", log.at(row), best)
		}
		return
	}
	if live[0].Dot != best {
		w.fail("%v shows %v; the latest write that survived is %v@%v", log.at(row), live[0], best, stamp)
	}
	w.checkOverwritten(part.groups[live[0].Dot])
}

// writes tells whether a mutation writes a register.
func writes(m *replica.Mutation) bool {
	return m.Verb == replica.Assign || slices.ContainsFunc(m.Changes, func(c replica.Change) bool { return c.Member == noteField && !c.Remove })
}

// checkOverwritten: nobody who had seen the winner wrote after it and was
// acknowledged. A winner that was minted twice is left out: its second copy is a
// write of its own, under way while the other one was seen.
func (w *World) checkOverwritten(winner *known) {
	if len(winner.op.groups) > 1 {
		return
	}
	for _, r := range w.history.ops {
		if r.acked && r.mutation.Key == winner.op.mutation.Key && len(r.knew) > 0 {
			w.report.Checked.Overwrites++
		}
		if r.acked && writes(r.mutation) && r != winner.op && slices.Contains(r.knew, winner.group.Op) {
			w.fail("%v shows %s; client %d had seen that and wrote %s, which was acknowledged", r.mutation.Key, briefly(winner.op.mutation), r.client, briefly(r.mutation))
		}
	}
}

// checkBlobs: the siblings are exactly the writes that no other write or delete
// had in its context.
func (w *World) checkBlobs() {
	for _, part := range w.memory.parts {
		for _, log := range part.keys {
			if log.key.Type != crdt.Blob || len(log.rows) == 0 {
				continue
			}
			final := w.final(part.id)
			var replaced dvv.Clock
			for _, k := range part.all {
				if k.op != nil && k.op.mutation.Key == log.key && k.group.In(final) {
					replaced.Join(k.op.context)
				}
			}
			for _, e := range log.rows[0].events {
				if e.of.op == nil && final.Contains(e.dot) { // it expired
					for _, d := range e.event.Kills {
						replaced.Add(d)
					}
				}
			}
			var want []dvv.Dot
			for _, e := range log.rows[0].events {
				if e.event.Payload != nil && final.Contains(e.dot) && !replaced.Contains(e.dot) {
					want = append(want, e.dot)
				}
			}
			slices.SortFunc(want, dvv.Dot.Compare)
			n := w.nodes[w.index(w.ring.Owners(part.id)[0])]
			row, err := n.store.View().Row(part.id, log.key.Row())
			if len(want) > 1 {
				w.report.Checked.Siblings++
			}
			if err != nil || !slices.Equal(row.Dots(), want) {
				w.fail("%v has the siblings %v; concurrent are %v (%v)", log.key, row.Dots(), want, err)
			}
		}
	}
}
