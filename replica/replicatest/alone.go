package replicatest

import (
	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/replica"
)

// One way of repair alone: all others are switched off, one owner falls behind in
// the way that this one is for, and everything must become equal all the same.
//
//	all write ─▶ the victim goes ─▶ the others write ─▶ it comes back ─▶ all equal

// Ways names them.
var Ways = map[string]replica.Mechanism{
	"handoff": replica.Handoff, "logs": replica.LogCatchUp, "snapshots": replica.Snapshots, "trees": replica.Trees, "reads": replica.ReadRepair,
}

// flags are those of TestSimulation that give the same simulation.
func (o *Options) flags() string {
	switch {
	case o.Freeze:
		return " -freeze"
	case o.Ragged:
		return " -ragged"
	}
	for name, m := range Ways {
		if o.Alone == m {
			return " -alone " + name
		}
	}
	return ""
}

// weatherAlone is fair, on a cluster of a size that leaves the mechanism, and no
// other, with something to do.
func (p *profile) weatherAlone(m replica.Mechanism) {
	p.fair()
	p.nodes, p.newcomer, p.leaver, p.fifo = 3, false, false, true
	p.logCap, p.batchBytes, p.verify = largeLog, 2<<20, 2*second
	switch m {
	case replica.Handoff: // somebody must stand in
		p.nodes = 5
	case replica.Snapshots: // nobody has a log
		p.logCap, p.trim = 1, 300*ms
	}
	if p.opWindow < longWindow {
		p.opWindow += 10_000 // clients are done before it closes
	}
}

// others are the mechanisms to do without. A snapshot is pulled where a log was
// asked and does not reach back, so the asking stays.
func others(m replica.Mechanism) replica.Mechanism {
	all := replica.Handoff | replica.LogCatchUp | replica.Snapshots | replica.Trees | replica.ReadRepair
	if m == replica.Snapshots {
		m |= replica.LogCatchUp
	}
	return all &^ m
}

func (w *World) runAlone(m replica.Mechanism) {
	w.loop(func() bool { return w.running == 0 })
	w.pass(2 * second)
	victim := w.victim()
	victim.crash()
	before := w.totals()
	defer func() { w.report.Since = minus(w.totals(), before) }()
	w.announceNow()
	if m == replica.Trees {
		w.falsify(victim)
	} else {
		w.writeOn(victim)
	}
	if m == replica.Snapshots {
		w.loop(func() bool { return w.logsEmpty(victim) })
	}
	victim.restart()
	if m == replica.ReadRepair {
		w.keepReading()
	}
	w.calm()
}

// pass lets time pass.
func (w *World) pass(d int64) {
	until := w.now + d
	w.at(until, func() {})
	w.loop(func() bool { return w.now >= until })
}

// victim is an owner of a partition in use, which somebody else holds rows of too.
func (w *World) victim() *node {
	for {
		n := w.nodes[w.dice.IntN(len(w.nodes))]
		for _, part := range w.memory.parts {
			if w.ring.Owns(n.id, part.id) && len(part.keys) > 0 && w.rowsOf(n, part.id) > 0 {
				return n
			}
		}
	}
}

func (w *World) rowsOf(n *node, p int) (rows int) {
	_ = n.store.View().AllRows(p, nil, func(crdt.Address, crdt.Row) bool { rows++; return true })
	return rows
}

// writeOn lets clients write while the victim is away: whatever they like, and at
// last something that shows in every key of its partitions.
func (w *World) writeOn(victim *node) {
	var clients []*client
	for i := range w.profile.clients {
		clients = append(clients, newClient(w, len(w.clients)+i, 100/w.profile.clients))
	}
	w.clients = append(w.clients, clients...)
	w.running = len(clients)
	for _, c := range clients {
		c.next()
	}
	w.loop(func() bool { return w.running == 0 })
	for _, part := range w.memory.parts {
		for _, log := range part.keys {
			if !w.ring.Owns(victim.id, part.id) {
				continue
			}
			c := newClient(w, len(w.clients), 1)
			w.clients = append(w.clients, c)
			for c.node == victim.at {
				c.connect(w.dice.IntN(len(w.nodes)))
			}
			w.running++
			c.left = 0
			c.mutateAt(c.visible(log.key), 2)
		}
	}
	w.loop(func() bool { return w.running == 0 })
	w.pass(2 * second)
}

// visible is a mutation of a key that changes what a read of it shows.
func (c *client) visible(k crdt.Key) *replica.Mutation {
	c.seq++
	m := &replica.Mutation{Key: k, Op: crdt.Operation{Client: c.id, Seq: c.seq, Issued: epochMillis + c.w.now/ms + c.ahead}}
	switch k.Type {
	case crdt.Set:
		m.Verb, m.Changes = replica.Update, []replica.Change{{Member: "last"}}
	case crdt.Counter:
		m.Verb, m.Delta = replica.Add, 1
		if k.Name[0] == 'e' {
			m.Delta = c.bit(k)
		}
	case crdt.Map:
		m.Verb, m.Changes = replica.Edit, []replica.Change{{Member: noteField, Note: []byte("last")}}
	case crdt.Register:
		m.Verb, m.Value = replica.Assign, []byte("last")
	case crdt.Blob:
		m.Verb, m.Value = replica.Put, []byte("last")
	}
	return m
}

// falsify changes rows on a node's disk, below everything that would notice: what
// a mistake in the code would do, or a memory chip.
func (w *World) falsify(n *node) {
	tx := n.store.Begin()
	for _, part := range w.memory.parts {
		if !w.ring.Owns(n.id, part.id) {
			continue
		}
		var rows []crdt.Address
		err := tx.AllRows(part.id, nil, func(a crdt.Address, r crdt.Row) bool {
			if len(r.Live) > 0 && (len(rows) == 0 || w.chance(0.3)) {
				rows = append(rows, a)
			}
			return true
		})
		for _, a := range rows {
			if err == nil {
				err = tx.ReplaceRow(part.id, a, crdt.Row{})
			}
		}
		if err == nil && len(rows) > 0 {
			err = tx.PutTree(part.id, nil)
		}
		if err != nil {
			w.fail("falsify %v: %w", n.id, err)
		}
		w.report.Checked.Falsified += len(rows)
	}
	if err := tx.Commit(); err != nil {
		w.fail("falsify %v: %w", n.id, err)
	}
}

// logsEmpty tells whether nobody but the victim logs anything.
func (w *World) logsEmpty(victim *node) bool {
	for _, n := range w.nodes {
		for _, part := range w.memory.parts {
			if groups, _, _ := n.store.View().Tally(part.id); n != victim && groups > 0 {
				return false
			}
		}
	}
	return true
}

// keepReading reads every key through every node, again and again, until all is
// equal.
func (w *World) keepReading() {
	if w.apart() == "" {
		return
	}
	for _, part := range w.memory.parts {
		for _, log := range part.keys {
			q := replica.Query{Key: log.key, Every: log.key.Type == crdt.Map}
			if log.key.Type == crdt.Set {
				q.Span = &replica.Span{Limit: replica.MaxPage}
			}
			for i := range w.nodes {
				c := newClient(w, len(w.clients), 0)
				c.connect(i)
				c.ask(replica.Request{Query: &q, R: 3}, second, func(*replica.Result) {})
			}
		}
	}
	w.after(second, w.keepReading)
}
