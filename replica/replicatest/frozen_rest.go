package replicatest

import (
	"fmt"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/replica"
)

// Liveness: after some faults a core that holds a quorum of the owners of some
// keys is healed, and all other nodes are frozen as they stand: dead, stopped, or
// cut off in one direction or both, while nobody is told. Operations on healthy
// keys then succeed soon.

// soon is how long a client tries, in nanoseconds.
const soon = 5 * second

// runFrozen takes a world in the middle of its faults through that, and leaves it
// healed.
func (w *World) runFrozen() {
	until := w.now + w.between(second, 8*second)
	w.loop(func() bool { return w.now >= until && w.agreed() })
	core := w.core()
	w.freeze(core)
	left := 0
	for p := range w.profile.partitions {
		if w.healthy(p, core) {
			for i, k := range w.keysOf(p) {
				left += w.probe(k, core[i%len(core)], &left)
			}
		}
	}
	if left == 0 && w.err == nil {
		w.fail("no key is healthy with %v", core)
	}
	w.loop(func() bool { return left == 0 })
	w.thaw()
}

// core picks two owners of some partition, and sometimes one node more.
func (w *World) core() []*node {
	var core []*node
	owners := w.ring.Owners(w.dice.IntN(w.profile.partitions))
	for _, i := range w.dice.Perm(len(owners))[:2] {
		core = append(core, w.nodes[w.index(owners[i])])
	}
	if w.chance(0.3) {
		for _, n := range w.nodes {
			if isMember(w.ring, n.id) && !contains(core, n) {
				return append(core, n)
			}
		}
	}
	return core
}

func contains(core []*node, n *node) bool {
	for _, c := range core {
		if c == n {
			return true
		}
	}
	return false
}

// healthy tells whether the core holds a quorum of a partition's owners.
func (w *World) healthy(p int, core []*node) bool {
	n := 0
	for _, c := range core {
		if w.ring.Owns(c.id, p) {
			n++
		}
	}
	return n >= 2
}

// keysOf returns a key of each kind, in a partition.
func (w *World) keysOf(p int) (keys []crdt.Key) {
	for _, t := range [...]crdt.Type{crdt.Set, crdt.Counter, crdt.Register, crdt.Blob, crdt.Map} {
		for i := 0; ; i++ {
			k := key(t, fmt.Sprintf("core%d", i))
			if w.ring.Partition(k.Bucket, k.Name) == p {
				keys = append(keys, k)
				break
			}
		}
	}
	return keys
}

func (w *World) freeze(core []*node) {
	w.frozen = true
	w.net.heal()
	for _, c := range core {
		clear(w.net.last[c.at]) // no message waits behind one that got stuck
	}
	names := ""
	for _, n := range w.nodes {
		if contains(core, n) {
			names += " " + string(n.id)
		} else {
			n.frozen = true
			w.freezeNode(n, core)
		}
	}
	w.trace.note(w, faulted, 0, 0, "all but a core are frozen; the core is"+names)
	for _, n := range core {
		n.pausedUntil, n.slowUntil, n.doom = 0, 0, survives
		n.wake()
		n.restart()
	}
	for _, a := range core {
		for _, b := range core {
			if a != b {
				w.after(w.between(0, 400*ms), func() { w.tellLink(a.at, b.at) })
				w.after(w.between(200*ms, 1500*ms), func() { w.tellPeer(a.at, b.at) })
			}
		}
	}
}

func (w *World) freezeNode(n *node, core []*node) {
	how := pick(w.dice, "dead", "stopped", "cut off", "deaf", "mute")
	switch how {
	case "dead":
		n.crash()
	case "stopped":
		n.pause(forever)
	}
	for _, c := range core {
		if how == "cut off" || how == "deaf" {
			w.net.cuts[c.at][n.at]++
		}
		if how == "cut off" || how == "mute" {
			w.net.cuts[n.at][c.at]++
		}
	}
	w.trace.note(w, faulted, n.at, n.at, fmt.Sprintf("%v is %s", n.id, how))
}

// probe writes a key through a node of the core, and reads it, each within soon.
// It returns how many answers are to come.
func (w *World) probe(k crdt.Key, through *node, left *int) int {
	c := newClient(w, len(w.clients), 0)
	w.clients = append(w.clients, c)
	c.connect(through.at)
	began := w.now
	var m *replica.Mutation
	var rec *opRecord
	ask := func() {
		m = c.visible(k)
		rec = &opRecord{client: c.at, mutation: m, began: w.now, partition: w.ring.Partition(k.Bucket, k.Name), w: 2, wild: w.wild}
		w.history.add(rec)
	}
	ask()
	var read func()
	again := func(what any, res *replica.Result, try func()) {
		if w.now-began >= soon {
			why := "no answer"
			if res != nil {
				why = outcome(*res)
			}
			w.fail("%v at %v, a member of a healthy core, fails for %.1f s: %s", what, through.id, float64(w.now-began)/1e9, why)
			return
		}
		w.after(50*ms, try)
	}
	var write func()
	write = func() {
		rec.tries++
		try := *m
		c.ask(replica.Request{Mutation: &try, W: 2}, second, func(res *replica.Result) {
			if res == nil || res.Failure != nil {
				rec.unknown = rec.unknown || res == nil || res.Failure.Unknown
				again(briefly(m), res, write)
				if res != nil && res.Failure.Reason == replica.OpExpired { // its window is shorter than a snapshot may take
					rec.ended = w.now
					ask()
				}
				return
			}
			rec.acked, rec.ended, rec.result = true, w.now, *res
			w.report.Ops.Acked++
			began = w.now
			read()
		})
	}
	read = func() {
		q := replica.Query{Key: k, Every: k.Type == crdt.Map}
		if k.Type == crdt.Set {
			q.Fields = []string{"last"}
		}
		c.ask(replica.Request{Query: &q, R: 2}, second, func(res *replica.Result) {
			if res == nil || res.Failure != nil {
				again(q, res, read)
				return
			}
			w.report.Checked.Probes++
			if res.Degraded {
				w.report.Checked.DegradedProbes++
			}
			if res.Merged.IsEmpty() {
				w.fail("%v through %v, right after it was written, shows nothing", q, through.id)
			}
			*left--
		})
	}
	write()
	return 1
}

// thaw lets everything go on; no more faults happen.
func (w *World) thaw() {
	w.frozen = false
	w.net.heal()
	for _, n := range w.nodes {
		n.frozen = false
		n.pausedUntil = min(n.pausedUntil, w.now)
		n.wake()
		n.restart()
	}
	w.announceNow()
	w.faults.count = max(w.faults.count, minFaults)
}
