package replicatest

import (
	"github.com/cartwheel-db/cartwheel/replica"
)

// checkSend holds what a shard says about its durable state to its store.
func (n *node) checkSend(o replica.Send) {
	switch m := o.Message.(type) {
	case replica.Acked:
		for _, r := range m.Batch {
			clock := n.durableOf(r.Partition)
			for _, d := range r.Dots {
				k := n.w.memory.parts[r.Partition].groups[d]
				if k == nil || !k.group.In(clock) {
					n.w.fail("%v acknowledges %v of partition %d, which is not durable there: its stored clock is %v", n.id, d, r.Partition, clock)
				}
			}
		}
	case replica.Coverage:
		if clock := n.durableOf(m.Partition); !clock.Equal(m.Clock) {
			n.w.fail("%v reports %v as its durable clock of partition %d, which is %v", n.id, m.Clock, m.Partition, clock)
		}
	}
}

// checkAcknowledged is called when a client is told that its mutation is done:
// W nodes must have had it durable by then.
func (w *World) checkAcknowledged(rec *opRecord, res replica.Result) {
	if !res.Wrote {
		return
	}
	best := 0
	for _, k := range rec.groups {
		best = max(best, copies(k.held))
	}
	if best < rec.w {
		w.fail("client %d was told that %s is done, at W=%d; no more than %d nodes ever had it durable", rec.client, briefly(rec.mutation), rec.w, best)
	}
	for d := range res.Context.Dots() {
		k := w.memory.parts[rec.partition].groups[d]
		if k == nil || k.op != rec {
			w.fail("client %d was told that %s is done as %v, which is %v", rec.client, briefly(rec.mutation), d, k)
			return
		}
	}
}
