package replicatest

import (
	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/replica"
)

// network carries messages between nodes, badly: it delays, reorders, repeats
// and loses them, and cuts links in one direction or both.
type network struct {
	cuts  [][]int   // [from][to]: how many faults cut this direction
	base  [][]int64 // ns: the least a message takes
	last  [][]int64 // when the last one arrives, for links that keep order
	lossy int       // how many faults make it lose more
}

func (n *network) init(nodes int) {
	for range nodes {
		n.cuts = append(n.cuts, make([]int, nodes))
		n.base = append(n.base, make([]int64, nodes))
		n.last = append(n.last, make([]int64, nodes))
	}
}

func (n *network) heal() {
	n.lossy = 0
	for i := range n.cuts {
		clear(n.cuts[i])
	}
}

// open tells whether both directions between two nodes carry messages.
func (n *network) open(a, b int) bool { return n.cuts[a][b] == 0 && n.cuts[b][a] == 0 }

// envelope is a message on its way, with the sender's stamp.
type envelope struct {
	from, to int
	stamp    crdt.Stamp
	message  replica.Message
	sum      uint64 // of the message's bytes when it was sent
}

func (w *World) post(e envelope) {
	w.trace.message(w, sent, e.from, e.to, e.message, e.sum)
	p, n := &w.profile, &w.net
	if n.cuts[e.from][e.to] > 0 {
		return
	}
	loss, dup, tail, mean := p.loss, p.dup, p.tail, p.delay
	if n.lossy > 0 {
		loss, dup, tail, mean = loss+0.15, dup+0.1, tail+0.02, 4*mean
	}
	if w.quiet || w.frozen {
		loss, tail = 0, 0
	}
	if w.chance(loss) {
		return
	}
	if n.base[e.from][e.to] == 0 {
		n.base[e.from][e.to] = w.between(50*us, 2*mean)
	}
	copies := 1
	if w.chance(dup) {
		copies = 2
		if f, ok := e.message.(replica.Forward); ok {
			w.history.byID[f.Mutation.Op].repeated = true
		}
	}
	for range copies {
		d := n.base[e.from][e.to] + w.around(mean)
		if w.chance(tail) {
			d += w.between(50*ms, 4*second)
		}
		at := w.now + d
		if p.fifo && copies == 1 {
			at = max(at, n.last[e.from][e.to])
			n.last[e.from][e.to] = at
		}
		w.at(at, func() { w.arrive(e) })
	}
}

func (w *World) arrive(e envelope) {
	n := w.nodes[e.to]
	if !n.up || w.net.cuts[e.from][e.to] > 0 {
		return
	}
	if n.postponed(func() { w.arrive(e) }) {
		return
	}
	if sum := w.trace.checksum(e.message); sum != e.sum {
		w.fail("a message of %v to %v was changed after it was sent: %s", nodeID(e.from), n.id, describe(e.message))
		return
	}
	w.trace.message(w, received, e.to, e.from, e.message, e.sum)
	m := e.message
	if lie := w.opt.Bug.Message; lie != nil {
		m = lie(w, m)
	}
	now := n.clock()
	n.shard.Observe(now, e.stamp)
	n.shard.Receive(now, nodeID(e.from), m)
	n.settle()
}

// announce lets the news of a changed topology travel: links notice soon, or
// not at all where packets just vanish; gossip takes seconds.
func (w *World) announce() {
	for a := range w.nodes {
		for b := range w.nodes {
			if a == b {
				continue
			}
			if w.chance(0.8) {
				w.after(w.between(0, 400*ms), func() { w.tellLink(a, b) })
			}
			w.after(w.between(200*ms, 4*second), func() { w.tellPeer(a, b) })
		}
	}
}

func (w *World) announceNow() {
	for a := range w.nodes {
		for b := range w.nodes {
			if a != b {
				w.tellLink(a, b)
				w.tellPeer(a, b)
			}
		}
	}
}

// reachable is the truth about two nodes.
func (w *World) reachable(a, b int) bool { return w.nodes[b].up && w.net.open(a, b) }

func (w *World) tellLink(a, b int) {
	n := w.nodes[a]
	if !n.up || n.postponed(func() { w.tellLink(a, b) }) {
		return
	}
	up := w.reachable(a, b)
	if n.link[b] == up {
		return
	}
	n.link[b] = up
	w.trace.note(w, linkNews, a, b, up)
	n.shard.SetLink(n.clock(), nodeID(b), up)
	n.settle()
}

func (w *World) tellPeer(a, b int) { w.rumour(a, b, w.reachable(a, b)) }

// rumour is gossip, true or not.
func (w *World) rumour(a, b int, alive bool) {
	n := w.nodes[a]
	if !n.up || n.postponed(func() { w.rumour(a, b, alive) }) {
		return
	}
	alive = alive || w.quiet && w.reachable(a, b)
	w.trace.note(w, gossip, a, b, alive)
	n.shard.SetPeer(n.clock(), nodeID(b), alive)
	n.settle()
}
