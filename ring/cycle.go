package ring

import "slices"

// Is there a cheaper placement? Placements are flows, so by Klein's theorem one
// is cheapest exactly when no cycle of exchanges makes it cheaper:
//
//	n1 --gives p7 to--> n4 --gives p2 to--> n2 --may have one less, and n1 one more--> (n1)
//
// Nodes are vertices. An arc u -> v hands v a partition that u owns; an arc from
// or to the root lets a node end with one more or one less. The cost of an arc
// says, by decades, what the design puts first: zones lost, then
// distance from fair counts, then partitions moved (minus one where a partition
// returns to who owned it before the step).
const (
	costMove    = 1
	costBalance = 1 << 20
	costZone    = 1 << 40
)

type arc struct {
	from, to  int
	cost      int
	partition int // -1 for an arc that only counts
}

// improve exchanges until the placement is cheapest.
func (b *balancer) improve() {
	banned := make(map[arc]bool)
	for !b.plainlyCheapest() {
		cycle := b.negativeCycle(b.arcs(banned))
		if cycle == nil {
			return
		}
		if bad := b.exchange(cycle); bad != nil {
			// Two arcs of the cycle met in one partition and were worth less together
			// than apart. Leave one of them out and look again.
			banned[*bad] = true
			continue
		}
		clear(banned)
	}
}

// plainlyCheapest sees without any search that nothing can be gained: all is fair
// and no more moved than the counts before and after demand.
func (b *balancer) plainlyCheapest() bool {
	start := make([]int, len(b.nodes))
	for p := range b.owners {
		if b.distinctZones(p) < b.spread {
			return false
		}
		for _, i := range b.old[p] {
			start[i]++
		}
	}
	lacking, kept := 0, 0
	for _, i := range b.live {
		if b.want[i].miss(b.count[i]) > 0 {
			return false
		}
		lacking += max(b.want[i].lo-start[i], 0)
		kept += min(start[i], b.want[i].hi)
	}
	return b.moves() <= max(lacking, b.q*b.n-kept)
}

// moves counts the partitions owned now by who did not own them before.
func (b *balancer) moves() int {
	moved := 0
	for p, owners := range b.owners {
		for _, i := range owners {
			moved += b.isNew(p, i)
		}
	}
	return moved
}

func (b *balancer) isNew(p, i int) int {
	if slices.Contains(b.old[p], i) {
		return 0
	}
	return 1
}

// arcs are the cheapest hand-over for each pair of nodes, and the arcs that
// change counts.
func (b *balancer) arcs(banned map[arc]bool) []arc {
	best := make(map[[2]int]arc)
	for p, owners := range b.owners {
		for _, v := range b.live {
			if slices.Contains(owners, v) {
				continue
			}
			for _, u := range owners {
				a := arc{from: u, to: v, partition: p,
					cost: costZone*b.zoneLoss(p, u, v) + costMove*(b.isNew(p, v)-b.isNew(p, u))}
				if seen, ok := best[[2]int{u, v}]; (!ok || a.cost < seen.cost) && !banned[a] {
					best[[2]int{u, v}] = a
				}
			}
		}
	}
	var all []arc
	for _, u := range b.live { // in a fixed order: a map has none
		for _, v := range b.live {
			if a, ok := best[[2]int{u, v}]; ok {
				all = append(all, a)
			}
		}
	}
	root := len(b.nodes)
	for _, i := range b.live {
		want, have := b.want[i], b.count[i]
		all = append(all,
			arc{from: i, to: root, partition: -1, cost: costBalance * (want.miss(have+1) - want.miss(have))},
			arc{from: root, to: i, partition: -1, cost: costBalance * (want.miss(have-1) - want.miss(have))})
	}
	return all
}

// negativeCycle is Bellman and Ford's search, started everywhere at once.
func (b *balancer) negativeCycle(arcs []arc) []arc {
	vertices := len(b.nodes) + 1
	dist := make([]int, vertices)
	by := make([]int, vertices) // the arc that last shortened the way to a vertex
	last := -1
	for range vertices {
		last = -1
		for k, a := range arcs {
			if dist[a.from]+a.cost < dist[a.to] {
				dist[a.to] = dist[a.from] + a.cost
				by[a.to] = k
				last = a.to
			}
		}
		if last < 0 {
			return nil
		}
	}
	for range vertices { // walk back until surely on the cycle
		last = arcs[by[last]].from
	}
	var cycle []arc
	for at := last; ; {
		a := arcs[by[at]]
		cycle = append(cycle, a)
		if at = a.from; at == last {
			return cycle
		}
	}
}

// exchange carries a cycle out. Arcs were priced one by one; if together they do
// not gain, everything is put back and one of them is returned.
func (b *balancer) exchange(cycle []arc) (bad *arc) {
	var touched []int
	before := make(map[int][]int)
	cost := 0
	for k := range cycle {
		a := &cycle[k]
		p := a.partition
		if p < 0 {
			cost += a.cost
			continue
		}
		if _, seen := before[p]; !seen {
			touched = append(touched, p)
			before[p] = slices.Clone(b.owners[p])
		} else {
			bad = a
		}
		if !slices.Contains(b.owners[p], a.from) || slices.Contains(b.owners[p], a.to) {
			bad, cost = a, 0
			break
		}
		cost += costZone*b.zoneLoss(p, a.from, a.to) + costMove*(b.isNew(p, a.to)-b.isNew(p, a.from))
		b.move(p, a.from, a.to)
	}
	if cost < 0 {
		return nil
	}
	for _, p := range touched {
		for _, i := range b.owners[p] {
			b.count[i]--
		}
		b.owners[p] = before[p]
		for _, i := range b.owners[p] {
			b.count[i]++
		}
	}
	return bad
}
