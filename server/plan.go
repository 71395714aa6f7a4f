package server

import (
	"fmt"
	"strings"

	"github.com/cartwheel-db/cartwheel/ring"
	"github.com/cartwheel-db/cartwheel/ring/gossip"
)

// Changes of membership: an operator looks at a plan and commits that very plan.
//
//	Change ──▶ PlanChange ──▶ moves, risks, the ring hash they hold for
//	Change, ring hash ──▶ CommitChange ──▶ a fact, stored here and told to all
//
// Nobody votes. Operators who commit at two nodes before these hear of each other
// are both heard, and all nodes fold the same ring of it.

// Change is what an operator asks for: Node goes, and By, if there is one, takes
// its place.
type Change struct{ Node, By ring.NodeID }

func (c Change) String() string {
	if c.By == "" {
		return fmt.Sprintf("leave of %s", c.Node)
	}
	return fmt.Sprintf("replacement of %s by %s", c.Node, c.By)
}

// Plan is what a change comes to under one ring.
type Plan struct {
	Change
	Before, After *ring.Ring
	Risks         []string // why it wants force
	Notes         []string // what else is worth knowing
	fact          ring.Fact
}

// ChangeError refuses a change that makes no sense under any ring like this one.
type ChangeError struct {
	Change Change
	Reason string
}

func (e *ChangeError) Error() string { return fmt.Sprintf("%v: %s", e.Change, e.Reason) }

// StalePlanError refuses a change that was planned under another ring.
type StalePlanError struct {
	Change       Change
	Planned, Now uint64 // ring hashes
}

func (e *StalePlanError) Error() string {
	return fmt.Sprintf("%v: the plan no longer matches: it was made for ring %s, and the ring is %s now; nothing was changed, plan again",
		e.Change, ringHash(e.Planned), ringHash(e.Now))
}

// RiskyPlanError refuses a change whose risks nobody has accepted.
type RiskyPlanError struct {
	Change Change
	Risks  []string
}

func (e *RiskyPlanError) Error() string {
	return fmt.Sprintf("%v: %s; nothing was changed, force does it all the same", e.Change, strings.Join(e.Risks, "; "))
}

// DepartedError refuses to start a node that left and has nothing to do any more.
type DepartedError struct {
	Node ring.NodeID
	Dir  string
}

func (e *DepartedError) Error() string {
	return fmt.Sprintf("node %s left this cluster and has handed everything off, so that %s may be deleted; a node that left never comes back: start it with an empty data directory", e.Node, e.Dir)
}

// planChange works out what a change comes to. It knows facts, and nothing of who
// is there.
func planChange(shape ring.Config, facts ring.Facts, c Change) (*Plan, error) {
	refuse := func(format string, args ...any) (*Plan, error) {
		return nil, &ChangeError{c, fmt.Sprintf(format, args...)}
	}
	before, err := ring.Fold(shape, facts)
	if err != nil {
		return nil, err
	}
	fact := ring.Fact{Number: facts.Next(), Kind: ring.Left, Node: c.Node}
	old, member := before.Node(c.Node)
	switch {
	case before.HasDeparted(c.Node):
		return refuse("%s has departed already", c.Node)
	case !member:
		return refuse("%s is no member", c.Node)
	case len(before.Members()) == 1:
		return refuse("%s is the last member: what it stores would have no owner", c.Node)
	}
	if c.By != "" {
		by, member := before.Node(c.By)
		switch {
		case c.By == c.Node:
			return refuse("a node cannot take its own place")
		case before.HasDeparted(c.By):
			return refuse("%s has departed, and never comes back", c.By)
		case !member:
			return refuse("%s is no member: start it with --join first", c.By)
		case by.Zone == "" && old.Zone != "":
			// The fold would let it inherit the zone, and its next start would say otherwise.
			return refuse("%s stands in no zone and %s in %q: start it again with --zone %s first", c.By, c.Node, old.Zone, old.Zone)
		}
		fact.Kind, fact.By = ring.Replaced, c.By
		fact.PeerAddr, fact.APIAddr, fact.Zone, fact.Weight = by.PeerAddr, by.APIAddr, by.Zone, by.Weight
	}
	next := facts.Clone()
	if _, err := next.Add(fact); err != nil {
		return nil, err
	}
	p := &Plan{Change: c, Before: before, fact: fact}
	if p.After, err = ring.Fold(shape, next); err != nil {
		return nil, err
	}
	if n, remain := before.Config().Replicas, len(p.After.Members()); remain < n {
		p.Risks = append(p.Risks, fmt.Sprintf("%s would remain, and each partition wants %d owners", plural(remain, "member"), n))
	}
	return p, nil
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// committed tells whether this very plan was committed before: a fact that says
// so, behind the facts that the plan was made for.
func committed(shape ring.Config, facts ring.Facts, c Change, planned uint64) bool {
	var earlier ring.Facts
	for _, f := range facts.All() {
		if f.Kind != ring.Joined && f.Node == c.Node && f.By == c.By {
			if r, err := ring.Fold(shape, earlier); err == nil && r.Hash() == planned {
				return true
			}
		}
		_, _ = earlier.Add(f) // it comes out of a set, so it is sound
	}
	return false
}

// weigh adds what a node knows of the others. Data moves safely one change at a
// time: quorums under the old ring and the new one meet in the owners that stay,
// if these have caught up.
func (n *Node) weigh(p *Plan, view map[ring.NodeID]gossip.Peer) {
	present := func(id ring.NodeID) bool { return id == n.id || view[id].Up }
	for _, d := range p.Before.Departed() {
		if peer := view[d.ID]; peer.Up && peer.State != gossip.Left {
			p.Risks = append(p.Risks, fmt.Sprintf("%s departed and still hands off what it stores", d.ID))
		}
	}
	if !present(p.Node) {
		p.Notes = append(p.Notes, fmt.Sprintf("%s is not heard from: what only it stores is lost, unless it comes back and hands it off", p.Node))
		return // those who wait for it cannot be waited for
	}
	for _, m := range p.After.Members() {
		state := view[m.ID].State
		if m.ID == n.id {
			state = gossip.State(n.state.Load())
		}
		switch {
		case !present(m.ID):
			p.Notes = append(p.Notes, fmt.Sprintf("%s is not heard from: %s cannot hand off what both own before it is back", m.ID, p.Node))
		case state == gossip.Joining && m.ID != p.By:
			p.Risks = append(p.Risks, fmt.Sprintf("%s is still fetching what it owns", m.ID))
		}
	}
}

func (n *Node) peersByID() map[ring.NodeID]gossip.Peer {
	view := map[ring.NodeID]gossip.Peer{}
	for _, p := range n.talk.Load().Peers() {
		view[p.ID] = p
	}
	return view
}

// PlanChange implements [Backend].
func (n *Node) PlanChange(c Change) (*Plan, error) {
	n.mu.Lock()
	facts := n.facts
	n.mu.Unlock()
	p, err := planChange(n.cfg.Cluster.Ring(), facts, c)
	if err == nil {
		n.weigh(p, n.peersByID())
	}
	return p, err
}

// CommitChange implements [Backend].
func (n *Node) CommitChange(c Change, planned uint64, force bool) (*ring.Ring, error) {
	view := n.peersByID()
	n.mu.Lock()
	defer n.mu.Unlock()
	if now := n.Ring().Hash(); now != planned {
		if committed(n.cfg.Cluster.Ring(), n.facts, c, planned) {
			return n.Ring(), nil
		}
		return nil, &StalePlanError{c, planned, now}
	}
	p, err := planChange(n.cfg.Cluster.Ring(), n.facts, c)
	if err != nil {
		return nil, err
	}
	if n.weigh(p, view); len(p.Risks) > 0 && !force {
		return nil, &RiskyPlanError{c, p.Risks}
	}
	var one ring.Facts
	if _, err := one.Add(p.fact); err != nil {
		return nil, err
	}
	if err := n.mergeLocked(one); err != nil {
		return nil, err
	}
	n.log.Warn("an operator changed the membership", "change", c.String(), "fact", p.fact.String(), "risks", p.Risks)
	n.talk.Load().AddFacts(one)
	return n.Ring(), nil
}

// Departure is a node that departed and whose process still runs.
type Departure struct {
	ring.Member
	By    ring.NodeID // who took its place; empty for nobody
	State string      // [Draining] or [Left]
	Holds int         // partitions it still stores; -1 where this node cannot know
}

// Departures implements [Backend].
func (n *Node) Departures() []Departure {
	n.mu.Lock()
	facts := n.facts
	n.mu.Unlock()
	by := map[ring.NodeID]ring.NodeID{}
	for _, f := range facts.All() {
		if f.Kind == ring.Replaced && by[f.Node] == "" {
			by[f.Node] = f.By
		}
	}
	view := n.peersByID()
	var out []Departure
	for _, m := range n.Ring().Departed() {
		d := Departure{Member: m, By: by[m.ID], State: Draining, Holds: -1}
		p := view[m.ID]
		switch {
		case m.ID == n.id:
			if gossip.State(n.state.Load()) == gossip.Left {
				d.State = Left
			}
			n.loop.call(func() { d.Holds = len(n.loop.shard.Stored()) })
		case !p.Up:
			continue
		default:
			d.PeerAddr, d.APIAddr = p.PeerAddr, p.APIAddr // of now
			if p.State == gossip.Left {
				d.State, d.Holds = Left, 0
			}
		}
		out = append(out, d)
	}
	return out
}
