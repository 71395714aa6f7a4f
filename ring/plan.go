package ring

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Move is one replica of one partition changing hands. From is empty where a
// partition gains an owner, To where it loses one.
type Move struct {
	Partition int
	From, To  NodeID
}

func (m Move) String() string {
	name := func(id NodeID) string {
		if id == "" {
			return "-"
		}
		return string(id)
	}
	return fmt.Sprintf("%d: %s -> %s", m.Partition, name(m.From), name(m.To))
}

// Plan lists what moves when a cluster goes from one ring to another, by
// partition. Nil stands for a ring without members. Both rings must have the
// same number of partitions; it is fixed for the life of a cluster.
//
// A plan an operator has seen is named by the two hashes: commit it only while
// the ring at hand still has the hash of before.
func Plan(before, after *Ring) []Move {
	var moves []Move
	for p := range max(before.partitions(), after.partitions()) {
		was, is := before.ownersOrNone(p), after.ownersOrNone(p)
		lost, gained := minus(was, is), minus(is, was)
		for k := range max(len(lost), len(gained)) {
			move := Move{Partition: p}
			if k < len(lost) {
				move.From = lost[k]
			}
			if k < len(gained) {
				move.To = gained[k]
			}
			moves = append(moves, move)
		}
	}
	return moves
}

// Share is how many partitions a node owns before and after a change.
type Share struct {
	Node          NodeID
	Before, After int
}

// Shares lists the members of either ring, by id. Nil stands for a ring without
// members.
func Shares(before, after *Ring) []Share {
	var shares []Share
	for at, r := range [...]*Ring{before, after} {
		if r == nil {
			continue
		}
		for _, m := range r.members {
			i, found := slices.BinarySearchFunc(shares, m.ID, func(s Share, id NodeID) int { return cmp.Compare(s.Node, id) })
			if !found {
				shares = slices.Insert(shares, i, Share{Node: m.ID})
			}
			if owned := len(r.PartitionsOf(m.ID)); at == 0 {
				shares[i].Before = owned
			} else {
				shares[i].After = owned
			}
		}
	}
	return shares
}

func (r *Ring) partitions() int {
	if r == nil {
		return 0
	}
	return len(r.owners)
}

func (r *Ring) ownersOrNone(p int) []NodeID {
	if p >= r.partitions() {
		return nil
	}
	return r.owners[p]
}

func minus(a, b []NodeID) []NodeID {
	var rest []NodeID
	for _, id := range a {
		if !slices.Contains(b, id) {
			rest = append(rest, id)
		}
	}
	return rest
}

// String draws the ring, one line a member and one column a partition: 1 where
// the member comes first in the preference order, 2, 3 and so on where it comes
// later, a dot where it owns nothing, "o" where it owned the partition before. At
// the end of the line stands how many partitions it owns, and its zone.
//
//	ring of 16 partitions, 2 replicas, 4 members
//	n1 o1o21oo22o1oo22o 8 zone=a
//	n2 2o1oo11oo2o11oo2 8 zone=a
//	n3 1o2122o11oo2oooo 8 zone=b
//	n4 .2....2..12.2111 8
func (r *Ring) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "ring of %d partitions, %d replicas, %d members\n",
		r.config.Partitions, r.config.Replicas, len(r.members))
	width := 0
	for _, m := range r.members {
		width = max(width, len(m.ID))
	}
	for _, m := range r.members {
		fmt.Fprintf(&b, "%-*s ", width, m.ID)
		owned := 0
		for p, owners := range r.owners {
			switch k := slices.Index(owners, m.ID); {
			case k >= 0:
				owned++
				b.WriteByte("123456789+"[min(k, 9)])
			case slices.Contains(r.former[p], m.ID):
				b.WriteByte('o')
			default:
				b.WriteByte('.')
			}
		}
		fmt.Fprintf(&b, " %d", owned)
		if m.Zone != "" {
			fmt.Fprintf(&b, " zone=%s", m.Zone)
		}
		if m.Weight > 1 {
			fmt.Fprintf(&b, " weight=%d", m.Weight)
		}
		b.WriteByte('\n')
	}
	for _, m := range r.departed {
		fmt.Fprintf(&b, "departed %s\n", m.ID)
	}
	return b.String()
}
