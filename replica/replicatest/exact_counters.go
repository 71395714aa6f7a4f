package replicatest

import (
	"fmt"
	"strings"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica"
)

// checkCounters holds every counter to what its clients asked for. Exact ones
// get increments of distinct powers of two, so the value says which increments
// are in it: all acknowledged ones, and those of unknown outcome once at most.
func (w *World) checkCounters() {
	for _, part := range w.memory.parts {
		for _, log := range part.keys {
			if log.key.Type != crdt.Counter || len(log.rows) == 0 {
				continue
			}
			row := log.fold(log.rows[0], w.final(part.id))
			tally, err := row.Tally()
			if err != nil {
				w.fail("%v cannot be read: %w", log.key, err)
				return
			}
			value, _ := tally.Value()
			if w.mayRepeat(log.key) {
				w.report.Checked.Excused++
				continue
			}
			if strings.HasPrefix(log.key.Name, "exact") {
				w.checkExact(part, log, value)
			} else {
				w.checkResettable(part, log, value)
			}
		}
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

func (w *World) checkExact(part *partition, log *keyLog, value int64) {
	w.report.Checked.Counters++
	rest := value
	var doubtful []*opRecord
	for _, r := range w.history.ops {
		switch {
		case r.mutation.Key != log.key:
		case r.acked:
			rest -= r.mutation.Delta
		case len(r.groups) > 0:
			doubtful = append(doubtful, r)
		}
	}
	over := rest
	for bit := range uint(maxBits) {
		if rest>>bit&1 == 0 {
			continue
		}
		for _, r := range doubtful {
			if d := r.mutation.Delta; d == 1<<bit || -d == 1<<bit {
				rest -= d
				w.report.Checked.Doubtful++
				break
			}
		}
	}
	if rest != 0 {
		w.fail("%v is %d: that is %+d beyond the acknowledged increments, which no choice of the %d increments of unknown outcome explains%s",
			log.key, value, over, len(doubtful), w.insideLaterTotals(part, log))
	}
}

// insideLaterTotals names increments that are lost for good while a later total
// of their actor, which includes them, survived. By itself that is harmless: the
// outcome was unknown. Tried again elsewhere, such an increment counts twice.
func (w *World) insideLaterTotals(part *partition, log *keyLog) (lost string) {
	final := w.final(part.id)
	for _, k := range part.all {
		if k.op != nil && k.op.mutation.Key == log.key && k.group.Adds() && !k.group.In(final) && k.group.First < w.top(log, k.group.Actor, final) {
			lost += fmt.Sprintf("\n%v is lost, and inside a later total", &k.group)
		}
	}
	return lost
}

// top is the newest increment of an actor that survived.
func (w *World) top(log *keyLog, a dvv.Actor, final dvv.Clock) uint64 {
	var top uint64
	for _, e := range log.rows[0].events {
		if e.dot.Actor == a && e.event.Delta != 0 && final.Contains(e.dot) {
			top = max(top, e.dot.Seq)
		}
	}
	return top
}

// checkResettable is the oracle for counters with resets: a reset takes back,
// of each actor, all up to the newest entry it saw. What no reset saw counts
// once; of an operation with several dots none counts that any reset saw.
func (w *World) checkResettable(part *partition, log *keyLog, value int64) {
	final := w.final(part.id)
	floor := log.rows[0].floor(final)
	var sum int64
	for _, r := range w.history.ops {
		if r.mutation.Key != log.key || r.mutation.Verb != replica.Add {
			continue
		}
		there, covered := false, false
		for _, k := range r.groups {
			if d := k.group.Dot(0); k.group.In(final) {
				there = true
				covered = covered || d.Seq <= floor[d.Actor]
			}
		}
		if there && !covered {
			sum += r.mutation.Delta
		}
	}
	if sum != value {
		w.fail("%v is %d; the increments that no reset saw make %d%s", log.key, value, sum, w.insideLaterTotals(part, log))
	}
}

// checkResets: an acknowledged reset took back all that a read at R was bound
// to show when it began. An entry may outlive it, when the later one that had
// replaced it is lost, and counts nothing then.
func (w *World) checkResets() {
	for _, r := range w.history.ops {
		if r.mutation.Verb != replica.Zero || !r.acked || r.tries > 1 || len(r.groups) > 1 || r.result.Degraded || !r.calm {
			continue
		}
		log := w.memory.parts[r.partition].byKey[r.mutation.Key]
		if log == nil || len(log.rows) == 0 {
			continue
		}
		final := w.final(r.partition)
		floor := log.rows[0].floor(final)
		w.report.Checked.Resets++
		for _, l := range log.fold(log.rows[0], final).Live {
			if l.Payload.Kind() == crdt.KindEntry && r.quorate.Contains(l.Dot) && l.Dot.Seq > floor[l.Dot.Actor] {
				w.fail("%s was acknowledged, and %v that it had to see still counts", briefly(r.mutation), l.Dot)
			}
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
