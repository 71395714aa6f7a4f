package ring

import (
	"cmp"
	"fmt"
	"slices"
)

// placement is the ring while it is being folded: nodes by number in order of
// appearance, owners of each partition in no particular order.
type placement struct {
	q, replicas int
	nodes       []placedNode
	byID        map[NodeID]int
	live        []int   // numbers of the current members, ascending
	owners      [][]int // per partition
	former      [][]int // per partition: live nodes that lost it, latest last
}

type placedNode struct {
	Member
	seed     uint64
	known    bool // ever joined
	departed bool
}

func newPlacement(cfg Config) *placement {
	return &placement{
		q:        cfg.Partitions,
		replicas: cfg.Replicas,
		byID:     make(map[NodeID]int),
		owners:   make([][]int, cfg.Partitions),
		former:   make([][]int, cfg.Partitions),
	}
}

// number finds the node or makes room for it.
func (pl *placement) number(id NodeID) int {
	i, ok := pl.byID[id]
	if !ok {
		i = len(pl.nodes)
		pl.byID[id] = i
		pl.nodes = append(pl.nodes, placedNode{Member: Member{ID: id}, seed: nodeSeed(id)})
	}
	return i
}

// step replays one fact and restores the ring's promises.
func (pl *placement) step(f Fact) error {
	before := make([][]int, pl.q)
	for p, owners := range pl.owners {
		before[p] = slices.Clone(owners)
	}
	changed := pl.apply(f)
	if len(pl.live) > MaxMembers {
		return fmt.Errorf("ring: fold %v: more than %d members", f, MaxMembers)
	}
	if changed {
		newBalancer(pl).restore()
		pl.remember(before)
	}
	return nil
}

// apply does what the fact says and no more: partitions may be left with too few
// owners. It reports whether the placement may have to change.
func (pl *placement) apply(f Fact) bool {
	switch f.Kind {
	case Joined:
		return pl.join(f, f.Node)
	case Left:
		return pl.depart(pl.number(f.Node))
	case Replaced:
		return pl.replace(f)
	}
	return false
}

// join makes id a member or updates what is known of it. What departed stays
// departed.
func (pl *placement) join(f Fact, id NodeID) bool {
	i := pl.number(id)
	node := &pl.nodes[i]
	if node.departed {
		return false
	}
	placed := node.known && node.Zone == f.Zone && node.Weight == max(f.Weight, 1)
	node.PeerAddr, node.APIAddr, node.Zone, node.Weight = f.PeerAddr, f.APIAddr, f.Zone, max(f.Weight, 1)
	if !node.known {
		node.known, node.Joined = true, f.Number
		at, _ := slices.BinarySearch(pl.live, i)
		pl.live = slices.Insert(pl.live, at, i)
	}
	return !placed
}

// depart marks the node as gone, whether it was ever here or not, and takes its
// partitions from it.
func (pl *placement) depart(i int) bool {
	pl.nodes[i].departed = true
	at, member := slices.BinarySearch(pl.live, i)
	if !member {
		return false
	}
	pl.live = slices.Delete(pl.live, at, at+1)
	for p := range pl.owners {
		pl.owners[p] = without(pl.owners[p], i)
	}
	return true
}

// replace lets By stand exactly where Node stood. Where By is an owner already,
// or Node is none any more, it is a leave and a join.
func (pl *placement) replace(f Fact) bool {
	old := pl.number(f.Node)
	if was := pl.nodes[old]; was.known {
		if f.Zone == "" {
			f.Zone = was.Zone
		}
		if f.Weight == 0 {
			f.Weight = was.Weight
		}
	}
	var held []int
	for p, owners := range pl.owners {
		if slices.Contains(owners, old) {
			held = append(held, p)
		}
	}
	left, joined := pl.depart(old), pl.join(f, f.By)
	by := pl.byID[f.By]
	if !pl.nodes[by].departed {
		for _, p := range held {
			if !slices.Contains(pl.owners[p], by) {
				pl.owners[p] = append(pl.owners[p], by)
			}
		}
	}
	return left || joined
}

// remember keeps, per partition, who owned it before: they may still hold data
// that the new owners lack.
func (pl *placement) remember(before [][]int) {
	for p := range pl.owners {
		for _, i := range before[p] {
			if !slices.Contains(pl.owners[p], i) {
				pl.former[p] = append(without(pl.former[p], i), i)
			}
		}
		pl.former[p] = slices.DeleteFunc(pl.former[p], func(i int) bool {
			return pl.nodes[i].departed || slices.Contains(pl.owners[p], i)
		})
	}
}

// ring draws up the finished ring.
func (pl *placement) ring(cfg Config, hash uint64) *Ring {
	r := &Ring{
		config: cfg,
		hash:   hash,
		byID:   make(map[NodeID]int, len(pl.live)),
		owners: make([][]NodeID, pl.q),
		former: make([][]NodeID, pl.q),
	}
	for _, node := range pl.nodes {
		switch {
		case node.departed:
			r.departed = append(r.departed, node.Member)
		case node.known:
			r.members = append(r.members, node.Member)
		}
	}
	byMemberID := func(a, b Member) int { return cmp.Compare(a.ID, b.ID) }
	slices.SortFunc(r.members, byMemberID)
	slices.SortFunc(r.departed, byMemberID)
	for i, m := range r.members {
		r.byID[m.ID] = i
	}
	for p := range pl.owners {
		r.owners[p] = pl.ids(pl.owners[p])
		byRank(r.owners[p], p)
		r.former[p] = pl.ids(pl.former[p])
		slices.Reverse(r.former[p])
	}
	return r
}

func (pl *placement) ids(numbers []int) []NodeID {
	ids := make([]NodeID, len(numbers))
	for k, i := range numbers {
		ids[k] = pl.nodes[i].ID
	}
	return ids
}

func without(numbers []int, i int) []int {
	return slices.DeleteFunc(numbers, func(j int) bool { return j == i })
}
