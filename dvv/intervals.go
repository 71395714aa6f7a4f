package dvv

import (
	"slices"
	"sort"
)

// runs is the set of seqs of one actor: sorted, disjoint, and never adjacent
// (1-3 and 4-5 are always one 1-5), so that a set has exactly one form and
// equality is equality of slices.
type runs []Interval

// reaching returns the index of the first run that ends at seq or later.
func (r runs) reaching(seq uint64) int {
	// Most questions are about the newest run.
	if n := len(r); n > 0 && seq > r[n-1].Last {
		return n
	}
	return sort.Search(len(r), func(i int) bool { return r[i].Last >= seq })
}

func (r runs) containsRange(first, last uint64) bool {
	i := r.reaching(first)
	return i < len(r) && r[i].First <= first && last <= r[i].Last
}

func (r runs) covers(o runs) bool {
	for _, v := range o {
		r = r[r.reaching(v.First):]
		if len(r) == 0 || v.First < r[0].First || v.Last > r[0].Last {
			return false
		}
	}
	return true
}

// with adds first..last in place, swallowing every run it touches or adjoins.
func (r runs) with(first, last uint64) runs {
	lo := r.reaching(first - 1) // first >= 1; a run that ends at first-1 adjoins
	hi := lo
	merged := Interval{first, last}
	if lo < len(r) {
		hi = lo + sort.Search(len(r)-lo, func(i int) bool {
			// r.First > last+1, written so that last may be the maximum.
			return r[lo+i].First > last && r[lo+i].First-last > 1
		})
		if lo < hi {
			merged.First = min(first, r[lo].First)
			merged.Last = max(last, r[hi-1].Last)
		}
	}
	return slices.Replace(r, lo, hi, merged)
}

// without removes one seq in place; it may split a run in two.
func (r runs) without(seq uint64) (runs, bool) {
	i := r.reaching(seq)
	if i == len(r) || r[i].First > seq {
		return r, false
	}
	switch v := &r[i]; {
	case v.First == v.Last:
		r = slices.Delete(r, i, i+1)
	case v.First == seq:
		v.First++
	case v.Last == seq:
		v.Last--
	default:
		tail := Interval{seq + 1, v.Last}
		v.Last = seq - 1
		r = slices.Insert(r, i+1, tail)
	}
	return r, true
}

// union merges two lists into a fresh one, in linear time however hostile the
// interleaving: clocks arrive in tokens and messages.
func union(a, b runs) runs {
	out := make(runs, 0, max(len(a), len(b)))
	for len(a) > 0 || len(b) > 0 {
		var v Interval
		if len(b) == 0 || len(a) > 0 && a[0].First <= b[0].First {
			v, a = a[0], a[1:]
		} else {
			v, b = b[0], b[1:]
		}
		// v starts at or after the last run's start, so it either joins it or follows it.
		if n := len(out); n > 0 && v.First-1 <= out[n-1].Last {
			out[n-1].Last = max(out[n-1].Last, v.Last)
		} else {
			out = append(out, v)
		}
	}
	return out
}

// subtract returns the seqs of a that are not in b, fresh; nil if there are none.
func subtract(a, b runs) runs {
	var out runs
	for _, v := range a {
		b = b[b.reaching(v.First):]
		rest, left := v, true
		for _, cut := range b {
			if cut.First > rest.Last {
				break
			}
			if cut.First > rest.First {
				out = append(out, Interval{rest.First, cut.First - 1})
			}
			if cut.Last >= rest.Last {
				left = false
				break
			}
			rest.First = cut.Last + 1
		}
		if left {
			out = append(out, rest)
		}
	}
	return out
}

// intersect returns the seqs that are in both, fresh; nil if there are none.
func intersect(a, b runs) runs {
	var out runs
	for len(a) > 0 && len(b) > 0 {
		first, last := max(a[0].First, b[0].First), min(a[0].Last, b[0].Last)
		if first <= last {
			out = append(out, Interval{first, last})
		}
		if a[0].Last < b[0].Last {
			a = a[1:]
		} else {
			b = b[1:]
		}
	}
	return out
}
