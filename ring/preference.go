package ring

import (
	"cmp"
	"iter"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"
)

// nodeSeed turns an id into 64 bits once, so that ranking it for many
// partitions does not hash text again.
func nodeSeed(id NodeID) uint64 { return xxhash.Sum64String(string(id)) }

// rank is the rendezvous hash of a node for a partition: the higher, the earlier
// the node comes in that partition's order. It depends on the two alone, so the
// order of two nodes never changes while others come and go.
func rank(seed uint64, p int) uint64 {
	x := seed ^ (uint64(p)+1)*0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9 // the finaliser of splitmix64
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// byRank orders nodes for partition p, highest rank first; ids break the tie.
func byRank(ids []NodeID, p int) {
	slices.SortFunc(ids, func(a, b NodeID) int {
		return cmp.Or(cmp.Compare(rank(nodeSeed(b), p), rank(nodeSeed(a), p)), cmp.Compare(a, b))
	})
}

// InOrder is [Ring.Walk], worked out no further than it is asked for: who looks
// for one live node finds it among the owners.
func (r *Ring) InOrder(p int) iter.Seq[NodeID] {
	return func(yield func(NodeID) bool) {
		owners := r.owners[p]
		for _, id := range owners {
			if !yield(id) {
				return
			}
		}
		if len(owners) == len(r.members) {
			return
		}
		for _, id := range r.Walk(p)[len(owners):] {
			if !yield(id) {
				return
			}
		}
	}
}

// Walk lists every member in the order in which partition p asks for help: its
// owners, then former owners that may still hold data (the latest first), then
// all others in hash order, those in zones the walk has not met yet before the
// rest.
func (r *Ring) Walk(p int) []NodeID {
	walk := make([]NodeID, 0, len(r.members))
	walk = append(walk, r.owners[p]...)
	walk = append(walk, r.former[p]...)
	var others []NodeID
	for _, m := range r.members {
		if !slices.Contains(walk, m.ID) {
			others = append(others, m.ID)
		}
	}
	byRank(others, p)

	met := make(map[string]bool)
	for _, id := range walk {
		met[r.domain(id)] = true
	}
	var again []NodeID
	for _, id := range others {
		if d := r.domain(id); met[d] {
			again = append(again, id)
		} else {
			met[d] = true
			walk = append(walk, id)
		}
	}
	return append(walk, again...)
}

// domain is the failure domain of a member: its zone, or itself if it has none.
func (r *Ring) domain(id NodeID) string { return domainOf(r.members[r.byID[id]]) }

func domainOf(m Member) string {
	if m.Zone == "" {
		return "n\x00" + string(m.ID)
	}
	return "z\x00" + m.Zone
}

// Standing is one entry of an active list: a node and what it stands as.
type Standing struct {
	Node NodeID
	For  NodeID // the absent owner it stands in for; empty for a primary
}

func (s Standing) String() string {
	if s.For == "" {
		return string(s.Node)
	}
	return string(s.Node) + "(for " + string(s.For) + ")"
}

// Preference is an active list, printed as "n1 n2 n4(for n3)".
type Preference []Standing

func (l Preference) String() string {
	parts := make([]string, len(l))
	for i, s := range l {
		parts[i] = s.String()
	}
	return strings.Join(parts, " ")
}

// Active is the annotated preference list of partition p: its live owners in
// order, then for each owner that is down the next live node of the walk that
// is not yet used, as its fallback. At most N entries; fewer when too few nodes
// are up. up is asked at most once about each node.
func (r *Ring) Active(p int, up func(NodeID) bool) Preference {
	owners := r.owners[p]
	active := make(Preference, 0, len(owners))
	var down []NodeID
	for _, id := range owners {
		if up(id) {
			active = append(active, Standing{Node: id})
		} else {
			down = append(down, id)
		}
	}
	if len(down) == 0 {
		return active
	}
	for _, id := range r.Walk(p)[len(owners):] {
		if len(down) == 0 {
			break
		}
		if up(id) {
			active = append(active, Standing{Node: id, For: down[0]})
			down = down[1:]
		}
	}
	return active
}
