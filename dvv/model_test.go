package dvv_test

import (
	"maps"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/cartwheel-db/cartwheel/dvv"
)

// model is the definition of a clock: a set of dots, one by one.
type model map[dvv.Dot]struct{}

func (m model) sorted() []dvv.Dot { return slices.SortedFunc(maps.Keys(m), dvv.Dot.Compare) }

func (m model) covers(o model) bool {
	for d := range o {
		if _, ok := m[d]; !ok {
			return false
		}
	}
	return true
}

func (m model) minus(o model) model {
	out := maps.Clone(m)
	for d := range o {
		delete(out, d)
	}
	return out
}

// Few actors and few seqs, at both ends of the number line, so that random
// sequences collide, touch and split all the time.
const zone = 12

func drawDot(t *rapid.T) dvv.Dot {
	return dvv.Dot{Actor: dvv.Actor(rapid.IntRange(1, 5).Draw(t, "actor")), Seq: drawSeq(t)}
}

func drawSeq(t *rapid.T) uint64 {
	n := rapid.Uint64Range(0, zone-1).Draw(t, "seq")
	if rapid.Bool().Draw(t, "high") {
		return math.MaxUint64 - n
	}
	return n + 1
}

func drawRange(t *rapid.T) (dvv.Actor, uint64, uint64) {
	d := drawDot(t)
	most := uint64(zone)
	if d.Seq > zone {
		most = math.MaxUint64
	}
	last := d.Seq + min(rapid.Uint64Range(0, zone).Draw(t, "more"), most-d.Seq)
	return d.Actor, d.Seq, last
}

func drawClock(t *rapid.T, label string) dvv.Clock {
	var c dvv.Clock
	for range rapid.IntRange(0, 8).Draw(t, label) {
		c.AddRange(drawRange(t))
	}
	return c
}

func runCount(c dvv.Clock) int {
	n := 0
	for range c.Intervals() {
		n++
	}
	return n
}

// check compares every question a clock can answer with the model's answer.
func check(t *rapid.T, c dvv.Clock, m model) {
	t.Helper()
	want := m.sorted()
	if got := slices.Collect(c.Dots()); !slices.Equal(got, want) {
		t.Fatalf("holds %v, want %v", got, want)
	}
	if c.Count() != uint64(len(m)) || c.IsEmpty() != (len(m) == 0) {
		t.Fatalf("%v: count %d, empty %v, want %d dots", c, c.Count(), c.IsEmpty(), len(m))
	}
	last := map[dvv.Actor]uint64{}
	for _, d := range want {
		last[d.Actor] = d.Seq
	}
	if c.Actors() != len(last) {
		t.Fatalf("%v: %d actors, want %d", c, c.Actors(), len(last))
	}
	for a := range dvv.Actor(7) {
		if c.Last(a) != last[a] {
			t.Fatalf("%v: last of %v is %d, want %d", c, a, c.Last(a), last[a])
		}
	}
	// The strict decoder refuses every form but the canonical one.
	var back dvv.Clock
	if err := back.UnmarshalBinary(c.AppendBinary(nil)); err != nil || !back.Equal(c) {
		t.Fatalf("%v: its bytes decode to %v, %v", c, back, err)
	}
}

func TestEveryOperationAgreesWithASetOfDots(t *testing.T) {
	reached := map[string]int{}
	walk := func(t *rapid.T) {
		const n = 3 // several clocks, all checked after every step: a shared slice shows
		clocks, models := make([]dvv.Clock, n), make([]model, n)
		for i := range models {
			models[i] = model{}
		}
		pick := func(label string) int { return rapid.IntRange(0, n-1).Draw(t, label) }
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				i, d := pick("clock"), drawDot(t)
				_, had := models[i][d]
				if clocks[i].Add(d) == had {
					t.Fatalf("Add(%v) reported %v", d, !had)
				}
				models[i][d] = struct{}{}
			},
			"add range": func(t *rapid.T) {
				i := pick("clock")
				a, first, last := drawRange(t)
				before := runCount(clocks[i])
				clocks[i].AddRange(a, first, last)
				if runCount(clocks[i]) < before {
					reached["a range swallowed two runs"]++
				}
				for s := first; ; s++ {
					models[i][dvv.Dot{Actor: a, Seq: s}] = struct{}{}
					if s == last {
						break
					}
				}
			},
			"remove": func(t *rapid.T) {
				i, d := pick("clock"), drawDot(t)
				before, actors := runCount(clocks[i]), clocks[i].Actors()
				_, had := models[i][d]
				if clocks[i].Remove(d) != had {
					t.Fatalf("Remove(%v) reported %v", d, !had)
				}
				if runCount(clocks[i]) > before {
					reached["a removal split a run"]++
				}
				if clocks[i].Actors() < actors {
					reached["a removal ended an actor"]++
				}
				delete(models[i], d)
			},
			"join": func(t *rapid.T) {
				i, j := pick("clock"), pick("with")
				actors, known := clocks[i].Actors(), clocks[i].Covers(clocks[j])
				clocks[i].Join(clocks[j])
				switch {
				case i == j:
					reached["a join with itself"]++
				case known:
					reached["a join that said nothing new"]++
				case clocks[i].Actors() > actors && actors > 0:
					reached["a join that brought actors"]++
				default:
					reached["a join of known actors"]++
				}
				maps.Copy(models[i], models[j])
			},
			"clone": func(t *rapid.T) {
				i, j := pick("clock"), pick("to")
				clocks[j], models[j] = clocks[i].Clone(), maps.Clone(models[i])
			},
			"minus": func(t *rapid.T) {
				i, j, k := pick("clock"), pick("without"), pick("to")
				clocks[k], models[k] = clocks[i].Minus(clocks[j]), models[i].minus(models[j])
			},
			"intersect": func(t *rapid.T) {
				i, j, k := pick("clock"), pick("with"), pick("to")
				clocks[k] = clocks[i].Intersect(clocks[j])
				models[k] = models[i].minus(models[i].minus(models[j]))
			},
			"ask": func(t *rapid.T) {
				i, j, d := pick("clock"), pick("other"), drawDot(t)
				c, m := clocks[i], models[i]
				if _, want := m[d]; c.Contains(d) != want {
					t.Fatalf("%v contains %v: %v", c, d, !want)
				}
				if got, want := c.Covers(clocks[j]), m.covers(models[j]); got != want {
					t.Fatalf("%v covers %v: %v", c, clocks[j], got)
				}
				if got, want := c.Equal(clocks[j]), maps.Equal(m, models[j]); got != want {
					t.Fatalf("%v equals %v: %v", c, clocks[j], got)
				}
				a, first, last := drawRange(t)
				whole := model{}
				for s := first; s != last; s++ {
					whole[dvv.Dot{Actor: a, Seq: s}] = struct{}{}
				}
				whole[dvv.Dot{Actor: a, Seq: last}] = struct{}{}
				if got, want := c.ContainsRange(a, first, last), m.covers(whole); got != want {
					t.Fatalf("%v contains %v:%d-%d: %v", c, a, first, last, got)
				}
			},
			"": func(t *rapid.T) {
				for i := range clocks {
					check(t, clocks[i], models[i])
				}
			},
		})
	}
	paths := []string{
		"a range swallowed two runs", "a removal split a run", "a removal ended an actor", "a join with itself",
		"a join that said nothing new", "a join that brought actors", "a join of known actors",
	}
	// A hundred walks reach all of it nearly always; a few hundred more, if not.
	unreached := func(path string) bool { return reached[path] == 0 }
	for range 10 {
		if rapid.Check(t, walk); t.Failed() || !slices.ContainsFunc(paths, unreached) {
			break
		}
	}
	for _, path := range paths {
		if unreached(path) {
			t.Errorf("the random walk never reached: %s", path)
		}
	}
}

func TestUnionLaws(t *testing.T) {
	join := func(x, y dvv.Clock) dvv.Clock {
		x = x.Clone()
		x.Join(y)
		return x
	}
	rapid.Check(t, func(t *rapid.T) {
		x, y, z := drawClock(t, "x"), drawClock(t, "y"), drawClock(t, "z")
		for _, law := range []struct {
			name        string
			left, right dvv.Clock
		}{
			{"join commutes", join(x, y), join(y, x)},
			{"join associates", join(join(x, y), z), join(x, join(y, z))},
			{"join is idempotent", join(x, x), x},
			{"the empty set is neutral", join(x, dvv.Clock{}), join(dvv.Clock{}, x)},
			{"join absorbs intersection", join(x, x.Intersect(y)), x},
			{"intersection distributes", x.Intersect(join(y, z)), join(x.Intersect(y), x.Intersect(z))},
			{"intersection commutes", x.Intersect(y), y.Intersect(x)},
			{"a difference and an intersection make the whole", join(x.Minus(y), x.Intersect(y)), x},
			{"De Morgan", x.Minus(join(y, z)), x.Minus(y).Intersect(x.Minus(z))},
			{"a difference shares nothing", x.Minus(y).Intersect(y), dvv.Clock{}},
		} {
			if !law.left.Equal(law.right) {
				t.Fatalf("%s: x=%v y=%v z=%v: %v is not %v", law.name, x, y, z, law.left, law.right)
			}
		}
		if !join(x, y).Covers(x) || !join(x, y).Covers(y) {
			t.Fatalf("the union of %v and %v does not cover both", x, y)
		}
		if x.Covers(y) != y.Minus(x).IsEmpty() || x.Covers(y) != join(x, y).Equal(x) {
			t.Fatalf("%v covers %v: %v, but minus and join disagree", x, y, x.Covers(y))
		}
	})
}

func TestEqualSetsHaveEqualBytesHoweverTheyWereBuilt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dots := rapid.SliceOfNDistinct(rapid.Custom(drawDot), 0, 40, rapid.ID[dvv.Dot]).Draw(t, "dots")
		want := dvv.ClockOf(dots...)
		shuffled := rapid.Permutation(dots).Draw(t, "shuffled")
		oneByOne := dvv.ClockOf(shuffled...)
		// In two parts, with a detour over a dot that leaves again.
		cut := rapid.IntRange(0, len(dots)).Draw(t, "cut")
		joined := dvv.ClockOf(shuffled[cut:]...)
		detour := drawDot(t)
		if joined.Add(detour) {
			joined.Remove(detour)
		}
		joined.Join(dvv.ClockOf(shuffled[:cut]...))
		for _, got := range []dvv.Clock{oneByOne, joined} {
			if string(got.AppendBinary(nil)) != string(want.AppendBinary(nil)) || got.Fingerprint() != want.Fingerprint() {
				t.Fatalf("%v and %v have different bytes", got, want)
			}
		}
		without := want.Clone()
		if len(dots) > 0 && (!without.Remove(dots[0]) || without.Fingerprint() == want.Fingerprint()) {
			t.Fatalf("%v and %v have one fingerprint", without, want)
		}
	})
}
