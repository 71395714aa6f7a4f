package replica

import (
	"slices"

	"github.com/cartwheel-db/cartwheel/crdt"
)

// A counter's entry is a running total: an increment that was minted and never
// became durable anywhere may live on inside a later total of the same actor.
// That is harmless by itself (its outcome was unknown) and wrong together with a
// retry: the second application, at another coordinator, counts as well, and with
// the first event gone nobody can tell. So an increment names the one it follows
// until that one is durable on W replicas, and a replica takes the two in order:
//
//	a:1 +1 (lost)   a:2 total 9, follows 1    b lacks a:1: pulls both from a, or takes neither
//
// Acknowledgements of a:2 then mean that a:1 is durable too, and the chain is
// settled; without failures it is one round trip long.

// maxChain bounds the increments kept of one chain, for being sent again.
const maxChain = 256

// follow lets an increment name the last unsettled one of its counter, and adds
// it to the chain.
func (p *part) follow(g *crdt.Group) {
	if g.Delta() == 0 {
		return
	}
	e := &g.Events[0]
	chain := p.unsettled[e.Row]
	if n := len(chain); n > 0 {
		e.Follows = chain[n-1].First
	}
	if len(chain) == maxChain {
		// What is dropped here reaches a replica by catch-up instead.
		chain = slices.Delete(chain, 0, maxChain/2)
	}
	p.unsettled[e.Row] = append(chain, *g)
}

// settle ends the chain up to a group that W replicas hold durably.
func (p *part) settle(g *crdt.Group) {
	if g.Delta() == 0 || g.Actor != p.actor {
		return
	}
	row := g.Events[0].Row
	chain := p.unsettled[row]
	for len(chain) > 0 && chain[0].First <= g.First {
		chain = chain[1:]
	}
	if len(chain) == 0 {
		delete(p.unsettled, row)
	} else {
		p.unsettled[row] = chain
	}
}

// chain returns a group and, before it, the unsettled increments it follows.
func (p *part) chain(g *crdt.Group) []crdt.Group {
	if g.Delta() == 0 || g.Actor != p.actor {
		return []crdt.Group{*g}
	}
	var groups []crdt.Group
	for _, c := range p.unsettled[g.Events[0].Row] {
		if c.First < g.First {
			groups = append(groups, c)
		}
	}
	return append(groups, *g)
}
