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
			if strings.HasPrefix(log.key.Name, "exact") {
				w.checkExact(part, log, value)
			} else {
				w.checkResettable(part, log, value)
			}
		}
	}
}

func (w *World) checkExact(part *partition, log *keyLog, value int64) {
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
				break
			}
		}
	}
	if rest == 0 {
		return
	}
	if why := w.insideLaterTotal(part, log, over, doubtful); why != "" {
		w.report.Inside = append(w.report.Inside, fmt.Sprintf("seed %d %v: %s", w.opt.Seed, log.key, why))
		return
	}
	w.fail("%v is %d: that is %+d beyond the acknowledged increments, which no choice of the %d increments of unknown outcome explains", log.key, value, over, len(doubtful))
}

// insideLaterTotal explains a surplus by a weakness that is known: an increment
// that was lost for good is still inside a later total of its actor that
// survived; its client tried again, and it was counted anew.
func (w *World) insideLaterTotal(part *partition, log *keyLog, over int64, doubtful []*opRecord) string {
	final := w.final(part.id)
	var lost []*known
	for _, k := range part.all {
		if k.op == nil || k.group.Events[0].Row.Key != log.key || k.group.Delta() == 0 || k.group.In(final) || w.top(part, log, k.group.Actor, final) < k.group.First {
			continue
		}
		lost = append(lost, k)
	}
	if len(lost) == 0 {
		return ""
	}
	sums := map[int64]bool{0: true}
	deltas := make([]int64, 0, len(lost)+len(doubtful))
	for _, k := range lost {
		deltas = append(deltas, k.group.Delta())
	}
	for _, r := range doubtful {
		deltas = append(deltas, r.mutation.Delta)
	}
	for _, d := range deltas {
		next := map[int64]bool{}
		for s := range sums {
			next[s], next[s+d] = true, true
		}
		sums = next
	}
	if !sums[over] {
		return ""
	}
	return fmt.Sprintf("%+d too much; lost for good and inside a later total: %v", over, &lost[0].group)
}

// top is the newest increment of an actor that survived.
func (w *World) top(part *partition, log *keyLog, a dvv.Actor, final dvv.Clock) uint64 {
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
	floor := map[dvv.Actor]uint64{}
	for _, e := range log.rows[0].events {
		if z, err := crdt.DecodeReset(e.event.Payload); err == nil && final.Contains(e.dot) {
			for _, c := range z {
				floor[c.Actor] = max(floor[c.Actor], c.Seq)
			}
		}
	}
	var sum int64
	var maybe []int64
	for _, r := range w.history.ops {
		if r.mutation.Key != log.key || r.mutation.Verb != replica.Add {
			continue
		}
		there, covered := false, false
		for _, k := range r.groups {
			d := k.group.Dot(0)
			switch {
			case k.group.In(final):
				there = true
				covered = covered || d.Seq <= floor[d.Actor]
			case d.Seq > floor[d.Actor] && d.Seq < w.top(part, log, d.Actor, final):
				maybe = append(maybe, k.group.Delta())
			}
		}
		if there && !covered {
			sum += r.mutation.Delta
		}
	}
	sums := map[int64]bool{sum: true}
	for _, d := range maybe {
		next := map[int64]bool{}
		for s := range sums {
			next[s], next[s+d] = true, true
		}
		sums = next
	}
	if !sums[value] {
		w.fail("%v is %d; the increments that no reset saw make %d, and %d lost ones may be inside later totals", log.key, value, sum, len(maybe))
	}
}

// checkResets: an acknowledged reset took back all that a read at R was bound
// to show when it began.
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
		for _, l := range log.fold(log.rows[0], final).Live {
			if l.Payload.Kind() == crdt.KindEntry && r.quorate.Contains(l.Dot) {
				w.fail("%s was acknowledged, and %v that it had to see lives on", briefly(r.mutation), l.Dot)
			}
		}
	}
}
