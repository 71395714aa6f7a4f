package ring

import (
	"slices"
	"testing"
)

// The naive twin of the balancer: the placement of a step as a textbook
// minimum-cost flow, solved from nothing by successive shortest paths.
//
//	source -> zone -> node -> (zone, partition) -> partition -> sink
//
// A lower bound is a prize for the first units through an arc.
type flowArc struct{ from, to, room, cost int }

type flow struct {
	arcs     []flowArc // arc k^1 is the way back of arc k
	vertices int
}

func (f *flow) vertex() int { f.vertices++; return f.vertices - 1 }

func (f *flow) add(from, to int, bounds between, cost int) {
	const prize = 1 << 20
	for _, part := range []struct{ room, cost int }{{bounds.lo, cost - prize}, {bounds.hi - bounds.lo, cost}} {
		if part.room > 0 {
			f.arcs = append(f.arcs, flowArc{from, to, part.room, part.cost}, flowArc{to, from, 0, -part.cost})
		}
	}
}

// cost is the least cost of units from source to sink.
func (f *flow) cost(source, sink, units int) (total int, ok bool) {
	const far = 1 << 60
	for range units {
		dist := slices.Repeat([]int{far}, f.vertices)
		by := make([]int, f.vertices)
		dist[source] = 0
		for again := true; again; {
			again = false
			for k, a := range f.arcs {
				if a.room > 0 && dist[a.from] < far && dist[a.from]+a.cost < dist[a.to] {
					dist[a.to], by[a.to], again = dist[a.from]+a.cost, k, true
				}
			}
		}
		if dist[sink] == far {
			return 0, false
		}
		total += dist[sink]
		for at := sink; at != source; at = f.arcs[by[at]].from {
			f.arcs[by[at]].room--
			f.arcs[by[at]^1].room++
		}
	}
	return total, true
}

// fewestMoves asks the flow how many partitions a step has to move at least.
func fewestMoves(b *balancer) (int, bool) {
	const prize = 1 << 20
	f := &flow{}
	source, sink := f.vertex(), f.vertex()
	zones, nodes, prizes := make([]int, b.zones), make(map[int]int), 0
	size := make([]int, b.zones)
	for z := range zones {
		zones[z] = f.vertex()
		f.add(source, zones[z], between{0, b.q * b.n}, 0)
	}
	for _, i := range b.live {
		nodes[i] = f.vertex()
		size[b.zone[i]]++
		f.add(zones[b.zone[i]], nodes[i], b.want[i], 0)
		prizes += b.want[i].lo
	}
	for p := range b.q {
		partition := f.vertex()
		f.add(partition, sink, between{0, b.n}, 0)
		for z := range zones {
			once := f.vertex()
			bounds := between{0, 1}
			if b.zones < b.n {
				bounds = between{1, size[z]}
				prizes++
			}
			f.add(once, partition, bounds, 0)
			for _, i := range b.live {
				if b.zone[i] == z {
					f.add(nodes[i], once, between{0, 1}, b.isNew(p, i))
				}
			}
		}
	}
	total, ok := f.cost(source, sink, b.q*b.n)
	total += prizes * prize
	return total, ok && total < prize // else some lower bound was not met
}

func TestNoStepMovesMoreThanAMinimumCostFlowWould(t *testing.T) {
	steps, chains, searched := 0, 0, 0
	for seed := range uint64(histories) {
		h := randomHistory(seed)
		if h.cfg.Partitions > 16 {
			h.cfg.Partitions = 16
		}
		pl := newPlacement(h.cfg)
		for _, f := range h.facts {
			if !pl.apply(f) || len(pl.live) == 0 || len(pl.live) > 9 {
				newBalancer(pl).restore()
				continue
			}
			b := newBalancer(pl)
			want, possible := fewestMoves(b)
			if !possible {
				t.Fatalf("seed %d: %v: the fair shares admit no placement: %+v", seed, f, b.want)
			}
			b.greedy()
			if !b.plainlyCheapest() {
				searched++
			}
			greedy := b.moves()
			b.improve()
			if got := b.moves(); got != want {
				t.Fatalf("seed %d: %v moves %d, a flow moves %d\n%v", seed, f, got, want, pl.ring(h.cfg, 0))
			}
			if greedy != want {
				chains++
			}
			steps++
		}
	}
	t.Logf("%d steps, %d searched for cycles, %d where the greedy pass moved another number", steps, searched, chains)
	if steps < histories || searched < 50 || chains < 20 {
		t.Fatalf("histories too tame: %d steps, %d searched, %d improved", steps, searched, chains)
	}
}
