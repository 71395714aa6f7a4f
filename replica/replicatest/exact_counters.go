package replicatest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
)

// checkCounters holds every counter to what its clients asked for. Exact ones
// get increments of distinct powers of two, so the value says which increments
// are in it: all acknowledged ones, and those of unknown outcome once at most.
func (w *World) checkCounters() {
	for _, part := range w.memory.parts {
		for _, log := range part.keys {
			for _, row := range log.rows {
				if row.holds == crdt.Counter && w.err == nil {
					w.checkCounter(part, log, row)
				}
			}
		}
	}
}

func (w *World) checkCounter(part *partition, log *keyLog, row *rowLog) {
	folded := log.fold(row, w.final(part.id))
	tally, err := folded.Tally()
	if err != nil {
		w.fail("%v cannot be read: %w", log.at(row), err)
		return
	}
	value, _ := tally.Value()
	if w.mayRepeat(log.key) {
		w.report.Checked.Excused++
		return
	}
	if strings.HasPrefix(log.key.Name, "exact") || strings.HasPrefix(log.key.Name, "sum") {
		w.checkExact(part, log, row, value)
	} else {
		w.checkResettable(part, log, row, value)
	}
}

// mayRepeat tells whether a counter may have counted an operation twice, and said
// so: two coordinators minted it, and somewhere more operations were remembered
// than there is room for.
func (w *World) mayRepeat(k crdt.Key) bool {
	if w.totals().MayRepeat == 0 {
		return false
	}
	for _, r := range w.history.ops {
		if r.mutation.Key == k && len(r.groups) > 1 {
			return true
		}
	}
	return false
}

func (w *World) checkExact(part *partition, log *keyLog, row *rowLog, value int64) {
	if w.report.Checked.Counters++; log.key.Type == crdt.Map {
		w.report.Checked.MapCounters++
	}
	rest := value
	var doubtful []int64
	for _, r := range w.history.ops {
		if r.mutation.Key != log.key {
			continue
		}
		switch d := adds(r.mutation, row.field); {
		case d == 0:
		case r.acked:
			rest -= d
		case len(r.groups) > 0:
			doubtful = append(doubtful, d)
		}
	}
	over := rest
	for bit := range uint(maxBits) {
		if rest>>bit&1 == 0 {
			continue
		}
		for _, d := range doubtful {
			if d == 1<<bit || -d == 1<<bit {
				rest -= d
				w.report.Checked.Doubtful++
				break
			}
		}
	}
	if rest != 0 {
		w.fail("%v is %d: that is %+d beyond the acknowledged increments, which no choice of the %d increments of unknown outcome explains%s",
			log.at(row), value, over, len(doubtful), w.insideLaterTotals(part, row))
	}
}

// insideLaterTotals names increments that are lost for good while a later total
// of their actor, which includes them, survived. By itself that is harmless: the
// outcome was unknown. Tried again elsewhere, such an increment counts twice.
func (w *World) insideLaterTotals(part *partition, row *rowLog) (lost string) {
	final := w.final(part.id)
	for _, e := range row.events {
		if e.event.Delta != 0 && !final.Contains(e.dot) && e.dot.Seq < w.top(row, e.dot.Actor, final) {
			lost += fmt.Sprintf("\n%v is lost, and inside a later total", &e.of.group)
		}
	}
	return lost
}

// top is the newest increment of an actor that survived.
func (w *World) top(row *rowLog, a dvv.Actor, final dvv.Clock) uint64 {
	var top uint64
	for _, e := range row.events {
		if e.dot.Actor == a && e.event.Delta != 0 && final.Contains(e.dot) {
			top = max(top, e.dot.Seq)
		}
	}
	return top
}

// checkResettable is the oracle for counters with resets: a reset takes back,
// of each actor, all up to the newest entry it saw. What no reset saw counts
// once; of an operation with several dots none counts that any reset saw, but for
// those that the operation put beside its increments.
func (w *World) checkResettable(part *partition, log *keyLog, row *rowLog, value int64) {
	final := w.final(part.id)
	var sum int64
	for _, r := range w.history.ops {
		if r.mutation.Key != log.key || adds(r.mutation, row.field) == 0 {
			continue
		}
		counts, covered := false, false
		for _, k := range r.groups {
			if d, adds := increment(&k.group, row.field); adds && k.group.In(final) {
				byOthers, byItself := row.reset(d, final, r.mutation.Op)
				if byItself && !byOthers {
					w.report.Checked.TookBackItself++
				}
				counts, covered = counts || !byItself, covered || byOthers
			}
		}
		if counts && !covered {
			sum += adds(r.mutation, row.field)
		}
	}
	if log.key.Type == crdt.Map {
		w.report.Checked.Lines++
	}
	if sum != value {
		w.fail("%v is %d; the increments that no reset saw make %d%s", log.at(row), value, sum, w.insideLaterTotals(part, row))
	}
}

// checkResets: an acknowledged reset took back all that a read at R was bound
// to show when it began. An entry may outlive it, when the later one that had
// replaced it is lost, and counts nothing then.
func (w *World) checkResets() {
	for _, r := range w.history.ops {
		log := w.memory.parts[r.partition].byKey[r.mutation.Key]
		if !r.acked || r.tries > 1 || len(r.groups) > 1 || r.result.Degraded || !r.calm || r.mutation.Context != nil || log == nil {
			continue
		}
		for _, row := range log.rows {
			if row.holds == crdt.Counter && removes(r.mutation, row.field) && w.err == nil {
				w.checkReset(r, log, row)
			}
		}
	}
}

func (w *World) checkReset(r *opRecord, log *keyLog, row *rowLog) {
	final := w.final(r.partition)
	floor := row.floor(final)
	if w.report.Checked.Resets++; log.key.Type == crdt.Map {
		w.report.Checked.MapResets++
	}
	for _, l := range log.fold(row, final).Live {
		if l.Payload.Kind() == crdt.KindEntry && r.quorate.Contains(l.Dot) && l.Dot.Seq > floor[l.Dot.Actor] {
			w.fail("%s was acknowledged, and %v that it had to see still counts", briefly(r.mutation), l.Dot)
		}
	}
}

// floor is how far resets in the clock saw each actor of a counter.
func (r *rowLog) floor(clock dvv.Clock) map[dvv.Actor]uint64 {
	floor := map[dvv.Actor]uint64{}
	for _, e := range r.events {
		if z, err := crdt.DecodeReset(e.event.Payload); err == nil && clock.Contains(e.dot) {
			for _, c := range z {
				floor[c.Actor] = max(floor[c.Actor], c.Seq)
			}
		}
	}
	return floor
}

// reset tells whether a copy of an operation was taken back by others, and by the
// resets of the operation itself. Those carry on what they saw of others' resets, and
// tell of it where the others are lost with a disk.
func (r *rowLog) reset(d dvv.Dot, clock dvv.Clock, op crdt.Operation) (byOthers, byItself bool) {
	reaches := func(dots []dvv.Dot) bool {
		return slices.ContainsFunc(dots, func(z dvv.Dot) bool { return z.Actor == d.Actor && z.Seq >= d.Seq })
	}
	lost, carried := false, false
	for _, e := range r.events {
		if e.event.Payload.Kind() != crdt.KindReset {
			continue
		}
		all, _ := crdt.Foreign(e.event.Payload, crdt.Operation{})
		foreign, _ := crdt.Foreign(e.event.Payload, op)
		switch own := !op.IsZero() && e.of.group.Op == op; {
		case !reaches(all):
		case !own && !reaches(foreign): // what expired, and with it a reset of the operation itself
			byItself = byItself || clock.Contains(e.dot)
		case !own && clock.Contains(e.dot):
			byOthers = true
		case !own:
			lost = true
		case clock.Contains(e.dot):
			byItself = true
			carried = carried || reaches(foreign)
		}
	}
	return byOthers || carried && lost, byItself
}
