package ring

import (
	"cmp"
	"slices"
)

// balancer restores the promises of a ring after one step, moving as little as
// it can. It goes about it greedily, which is nearly always as good as can be,
// and then lets cycle.go prove that or improve on it.
type balancer struct {
	*placement
	n      int     // owners per partition now
	spread int     // distinct zones per partition now
	zone   []int   // node -> zone number
	zones  int     // how many zones
	old    [][]int // owners before the step, as far as they are still members

	count []int     // node -> partitions owned
	want  []between // node -> fair count
}

func newBalancer(pl *placement) *balancer {
	b := &balancer{
		placement: pl,
		n:         min(pl.replicas, len(pl.live)),
		zone:      make([]int, len(pl.nodes)),
		old:       make([][]int, pl.q),
		count:     make([]int, len(pl.nodes)),
		want:      make([]between, len(pl.nodes)),
	}
	numbers := make(map[string]int)
	var inZone [][]int
	for _, i := range pl.live {
		domain := domainOf(pl.nodes[i].Member)
		z, ok := numbers[domain]
		if !ok {
			z = len(numbers)
			numbers[domain] = z
			inZone = append(inZone, nil)
		}
		b.zone[i] = z
		inZone[z] = append(inZone[z], i)
	}
	b.zones = len(inZone)
	b.spread = min(b.n, b.zones)
	for p, owners := range pl.owners {
		b.old[p] = slices.Clone(owners)
		for _, i := range owners {
			b.count[i]++
		}
	}
	b.setShares(inZone)
	return b
}

// setShares: with at least as many zones as replicas a zone may appear once per
// partition; with fewer, every zone must appear in every partition.
func (b *balancer) setShares(inZone [][]int) {
	if len(b.live) == 0 {
		return
	}
	groups := make([]shareGroup, b.zones)
	for z, members := range inZone {
		groups[z].limit = between{0, b.q}
		if b.zones < b.n {
			groups[z].limit = between{b.q, b.q * len(members)}
		}
		for _, i := range members {
			groups[z].weights = append(groups[z].weights, uint64(b.nodes[i].Weight))
		}
	}
	for z, ranges := range shares(groups, uint64(b.q*b.n), uint64(b.q)) {
		for k, i := range inZone[z] {
			b.want[i] = ranges[k]
		}
	}
}

func (b *balancer) restore() {
	if len(b.live) == 0 {
		return
	}
	b.greedy()
	b.improve()
}

func (b *balancer) greedy() {
	b.fillVacancies()
	b.spreadZones()
	for _, v := range b.live {
		b.feed(v, func(u int) bool { return b.count[u] > b.want[u].hi })
		b.feed(v, func(u int) bool { return b.count[u] > b.want[u].lo })
	}
	for _, u := range b.live {
		b.relieve(u)
	}
}

// move gives partition p from u to v.
func (b *balancer) move(p, u, v int) {
	b.owners[p][slices.Index(b.owners[p], u)] = v
	b.count[u]--
	b.count[v]++
}

// inZone counts the owners of p in a zone.
func (b *balancer) inZone(p, z int) int {
	count := 0
	for _, i := range b.owners[p] {
		if b.zone[i] == z {
			count++
		}
	}
	return count
}

// zoneLoss is how many zones partition p loses when v takes the place of u:
// 1, 0 or -1.
func (b *balancer) zoneLoss(p, u, v int) int {
	if b.zone[u] == b.zone[v] {
		return 0
	}
	loss := 0
	if b.inZone(p, b.zone[u]) == 1 {
		loss++
	}
	if b.inZone(p, b.zone[v]) == 0 {
		loss--
	}
	return loss
}

func (b *balancer) distinctZones(p int) int {
	distinct := 0
	for k, i := range b.owners[p] {
		if !slices.ContainsFunc(b.owners[p][:k], func(j int) bool { return b.zone[i] == b.zone[j] }) {
			distinct++
		}
	}
	return distinct
}

// hunger orders candidates for one more partition: first those below their fair
// count, the furthest first, then those that may have one more, by the rendezvous
// hash of p, which spreads the partitions of one node over all others.
func (b *balancer) hunger(p int) func(x, y int) int {
	return func(x, y int) int {
		return cmp.Or(
			cmp.Compare(max(b.want[x].lo-b.count[x], 0), max(b.want[y].lo-b.count[y], 0)),
			cmp.Compare(b.want[x].hi-b.count[x], b.want[y].hi-b.count[y]),
			cmp.Compare(rank(b.nodes[x].seed, p), rank(b.nodes[y].seed, p)),
			cmp.Compare(y, x),
		)
	}
}

// fillVacancies gives partitions with too few owners to whoever lacks most, in
// zones the partition does not have yet where there are any.
func (b *balancer) fillVacancies() {
	for p := range b.owners {
		for len(b.owners[p]) < b.n {
			var fresh, rest []int
			for _, v := range b.live {
				switch {
				case slices.Contains(b.owners[p], v):
				case b.inZone(p, b.zone[v]) == 0:
					fresh = append(fresh, v)
				default:
					rest = append(rest, v)
				}
			}
			if len(fresh) == 0 || b.distinctZones(p) >= b.spread {
				fresh = append(fresh, rest...)
			}
			v := slices.MaxFunc(fresh, b.hunger(p))
			b.owners[p] = append(b.owners[p], v)
			b.count[v]++
		}
	}
}

// spreadZones puts an owner of a missing zone in the place of one whose zone is
// there twice.
func (b *balancer) spreadZones() {
	for p := range b.owners {
		for b.distinctZones(p) < b.spread {
			var doubled, missing []int
			for _, u := range b.owners[p] {
				if b.inZone(p, b.zone[u]) > 1 {
					doubled = append(doubled, u)
				}
			}
			for _, v := range b.live {
				if b.inZone(p, b.zone[v]) == 0 {
					missing = append(missing, v)
				}
			}
			b.move(p, slices.MinFunc(doubled, b.hunger(p)), slices.MaxFunc(missing, b.hunger(p)))
		}
	}
}

// feed gives v partitions of nodes that can spare them until v has enough.
func (b *balancer) feed(v int, spare func(u int) bool) {
	if b.count[v] >= b.want[v].lo {
		return
	}
	order := make([]int, b.q)
	for p := range order {
		order[p] = p
	}
	slices.SortFunc(order, func(x, y int) int {
		return cmp.Compare(rank(b.nodes[v].seed, y), rank(b.nodes[v].seed, x))
	})
	for _, p := range order {
		if b.count[v] >= b.want[v].lo {
			return
		}
		if slices.Contains(b.owners[p], v) {
			continue
		}
		giver := -1
		for _, u := range b.owners[p] {
			if spare(u) && b.zoneLoss(p, u, v) <= 0 && (giver < 0 || b.hunger(p)(u, giver) < 0) {
				giver = u
			}
		}
		if giver >= 0 {
			b.move(p, giver, v)
		}
	}
}

// relieve takes partitions from u while it has too many.
func (b *balancer) relieve(u int) {
	for p := 0; p < b.q && b.count[u] > b.want[u].hi; p++ {
		if !slices.Contains(b.owners[p], u) {
			continue
		}
		taker := -1
		for _, v := range b.live {
			if b.count[v] < b.want[v].hi && !slices.Contains(b.owners[p], v) && b.zoneLoss(p, u, v) <= 0 &&
				(taker < 0 || b.hunger(p)(v, taker) > 0) {
				taker = v
			}
		}
		if taker >= 0 {
			b.move(p, u, taker)
		}
	}
}
