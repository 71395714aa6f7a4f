package replica

import (
	"cmp"
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

// follow lets each increment of a group name the last unsettled one of its counter,
// and adds the group to their chains.
func (p *part) follow(g *crdt.Group) {
	adds := len(g.Increments())
	for i := range adds {
		e := &g.Events[i]
		if chain := p.unsettled[e.Row]; len(chain) > 0 {
			e.Follows = chain[len(chain)-1].First
		}
	}
	for i := range adds {
		row := g.Events[i].Row
		chain := p.unsettled[row]
		if len(chain) == maxChain {
			// What is dropped here reaches a replica by catch-up instead.
			chain = slices.Delete(chain, 0, maxChain/2)
		}
		p.unsettled[row] = append(chain, *g)
	}
}

// settle ends the chains up to a group that W replicas hold durably.
func (p *part) settle(g *crdt.Group) {
	if g.Actor != p.actor {
		return
	}
	for i := range g.Increments() {
		row := g.Events[i].Row
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
}

// chain returns a group and, before it, the unsettled increments it follows, and
// those that these follow: a group of a map follows one for each of its counters.
// Groups that are had, by their first seq, are left out with what they follow.
func (p *part) chain(g *crdt.Group, had func(first uint64) bool) []crdt.Group {
	groups := []crdt.Group{*g}
	if g.Actor != p.actor {
		return groups
	}
	seen := map[uint64]bool{g.First: true}
	for next := 0; next < len(groups); next++ {
		of := groups[next]
		for i := range of.Events {
			if of.Events[i].Delta == 0 {
				break
			}
			chain := p.unsettled[of.Events[i].Row]
			at, _ := slices.BinarySearchFunc(chain, of.First, func(g crdt.Group, first uint64) int { return cmp.Compare(g.First, first) })
			if at == 0 || seen[chain[at-1].First] {
				continue
			}
			before := chain[at-1]
			if seen[before.First] = true; !had(before.First) {
				groups = append(groups, before)
			}
		}
	}
	slices.SortFunc(groups, func(a, b crdt.Group) int { return cmp.Compare(a.First, b.First) })
	return groups
}
