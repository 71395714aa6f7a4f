package replicatest

import (
	"slices"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
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
	if res.Answers > best {
		w.fail("client %d was told that %d replicas hold %s; no more than %d nodes ever had it durable", rec.client, res.Answers, briefly(rec.mutation), best)
	}
	w.promise(rec)
	for d := range res.Context.Dots() {
		if !rec.minted(d) && !rec.kills(d) {
			w.fail("client %d was told that %s is done as %v, which is %s", rec.client, briefly(rec.mutation), d, brief(&w.memory.parts[rec.partition].groups[d].group))
			return
		}
	}
}

// minted tells whether a dot was minted for the operation.
func (r *opRecord) minted(d dvv.Dot) bool {
	for _, k := range r.groups {
		if d.Actor == k.group.Actor && d.Seq >= k.group.First && d.Seq <= k.group.Last() {
			return true
		}
	}
	return false
}

// kills tells whether the operation removed what lived under a dot.
func (r *opRecord) kills(d dvv.Dot) bool {
	for _, k := range r.groups {
		for i := range k.group.Events {
			if slices.Contains(k.group.Events[i].Kills, d) {
				return true
			}
		}
	}
	return false
}

// checkTrimmed: a group leaves a log that is far from full only when every owner
// has had it durable.
func (n *node) checkTrimmed(p int, g *crdt.Group) {
	k := n.w.memory.parts[p].groups[g.Dot(0)]
	if n.w.profile.logCap < largeLog || k == nil {
		return
	}
	n.w.report.Checked.Trimmed++
	for _, id := range n.ring.Owners(p) {
		if k.held>>n.w.index(id)&1 == 0 {
			n.w.fail("%v takes %s out of its log of partition %d, and %v, an owner, never had it durable", n.id, brief(&k.group), p, id)
		}
	}
}
