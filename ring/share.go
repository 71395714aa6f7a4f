package ring

import (
	"cmp"
	"slices"
)

// What is a fair share? Let the level of the water rise: at level L every node
// takes L times its weight, but no node more than Q (a partition once), and no
// zone less or more than the zones allow, until all Q x n places are taken.
//
//	        ______
//	  Q ...|......|....................  a heavy node stops at Q
//	       |      |____ L x 3
//	       |      |    |____ L x 2
//	       |______|____|____|
//
// All of it is exact integer arithmetic: floating point may round differently
// on another processor, and then two nodes would disagree about the ring.

// ratio is num/den; den 0 is infinity. Products of two stay within 64 bits by
// the bounds of weights, members, replicas and partitions.
type ratio struct{ num, den uint64 }

func compareRatios(a, b ratio) int { return cmp.Compare(a.num*b.den, b.num*a.den) }

// between is an inclusive range of whole partitions.
type between struct{ lo, hi int }

// miss is how far a count is outside of the range.
func (r between) miss(count int) int { return max(r.lo-count, count-r.hi, 0) }

func around(num, den uint64) between {
	return between{lo: int(num / den), hi: int((num + den - 1) / den)}
}

// shareGroup is a zone: the weights of its nodes and what it must and may take.
type shareGroup struct {
	weights []uint64
	limit   between
}

// taken is what the group takes at level l, times l.den, before its limit.
func (g shareGroup) taken(l ratio, most uint64) uint64 {
	var sum uint64
	for _, w := range g.weights {
		sum += min(l.num*w, most*l.den)
	}
	return sum
}

// limited is taken within the limit.
func (g shareGroup) limited(l ratio, most uint64) uint64 {
	return min(max(g.taken(l, most), uint64(g.limit.lo)*l.den), uint64(g.limit.hi)*l.den)
}

// level is where the group alone takes exactly total.
func (g shareGroup) level(total, most uint64) ratio {
	heavy := slices.Clone(g.weights)
	slices.SortFunc(heavy, func(a, b uint64) int { return cmp.Compare(b, a) })
	var rest uint64
	for _, w := range heavy {
		rest += w
	}
	for _, w := range heavy {
		if total*w <= most*rest { // the heaviest left does not reach its cap
			return ratio{total, rest}
		}
		total, rest = total-most, rest-w
	}
	return ratio{most, 1} // everyone at the cap; weights are at least 1
}

// shares says, for every node of every zone, the range of partitions that is
// within one of its fair share. The ranges always admit a placement: write the
// nodes zone by zone along a line of n x Q places and wrap it every Q
// (McNaughton 1959).
func shares(groups []shareGroup, total, most uint64) [][]between {
	level := commonLevel(groups, total, most)
	var all [][]between
	for _, g := range groups {
		own := level
		if limited := g.limited(level, most); limited != g.taken(level, most) {
			own = g.level(limited/level.den, most) // a limit is a whole number
		}
		ranges := make([]between, len(g.weights))
		for i, w := range g.weights {
			ranges[i] = around(min(own.num*w, most*own.den), own.den)
		}
		all = append(all, ranges)
	}
	return all
}

// commonLevel is where all groups within their limits take exactly total. What
// they take is a rising line with a bend wherever a node meets its cap or a zone
// its limit, so it is enough to look at the bends and draw the last line.
func commonLevel(groups []shareGroup, total, most uint64) ratio {
	bends := []ratio{{0, 1}}
	for _, g := range groups {
		for _, w := range g.weights {
			bends = append(bends, ratio{most, w})
		}
		bends = append(bends, g.level(uint64(g.limit.lo), most), g.level(uint64(g.limit.hi), most))
	}
	slices.SortFunc(bends, compareRatios)
	reached := func(l ratio) uint64 {
		var sum uint64
		for _, g := range groups {
			sum += g.limited(l, most)
		}
		return sum
	}
	first, exact := slices.BinarySearchFunc(bends, total, func(l ratio, total uint64) int {
		return cmp.Compare(reached(l), total*l.den)
	})
	if exact {
		return bends[first]
	}
	// Between bends[first-1] and bends[first]: fixed parts and parts that rise.
	low, high := bends[first-1], bends[first]
	var fixed, rising uint64
	for _, g := range groups {
		switch at := g.taken(high, most); {
		case at <= uint64(g.limit.lo)*high.den:
			fixed += uint64(g.limit.lo)
		case g.taken(low, most) >= uint64(g.limit.hi)*low.den:
			fixed += uint64(g.limit.hi)
		default:
			for _, w := range g.weights {
				if low.num*w >= most*low.den {
					fixed += most
				} else {
					rising += w
				}
			}
		}
	}
	return ratio{total - fixed, rising}
}
