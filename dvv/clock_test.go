package dvv_test

import (
	"math"
	"testing"

	"github.com/cartwheel-db/cartwheel/dvv"
)

func TestAddKeepsRunsMaximal(t *testing.T) {
	for _, c := range []struct{ name, before, add, after string }{
		{"the first dot of an unknown actor", "", "a:1", "{a:1}"},
		{"the next dot lengthens the run", "a:3", "a:4", "{a:4}"},
		{"a dot too early leaves a gap", "a:3", "a:5", "{a:3 +a:5}"},
		{"the missing dot closes the gap", "a:3 +a:5", "a:4", "{a:5}"},
		{"a dot below the first run", "+a:5", "a:2", "{+a:2 +a:5}"},
		{"a dot just below a run", "+a:5", "a:4", "{+a:4-5}"},
		{"a dot that is there changes nothing", "a:3 +a:5", "a:2", "{a:3 +a:5}"},
		{"an actor between two others", "a:1 c:1", "b:1", "{a:1 b:1 c:1}"},
		{"an actor before all others", "b:1", "a:1", "{a:1 b:1}"},
		{"the largest seq", "+a:18446744073709551614", "a:max", "{+a:18446744073709551614-18446744073709551615}"},
		{"the first dot beside the largest seq", "+a:max", "a:1", "{a:1 +a:18446744073709551615}"},
	} {
		t.Run(c.name, func(t *testing.T) {
			clock, d := clk(c.before), dot(c.add)
			isNew := !clock.Contains(d)
			if got := clock.Add(d); got != isNew {
				t.Errorf("Add(%v) = %v, want %v", d, got, isNew)
			}
			if got := clock.String(); got != c.after {
				t.Errorf("got %s, want %s", got, c.after)
			}
		})
	}
}

func TestAddRangeSwallowsWhatItTouches(t *testing.T) {
	for _, c := range []struct {
		name, before string
		first, last  uint64
		after        string
	}{
		{"into the empty set", "", 2, 4, "{+a:2-4}"},
		{"between two runs, touching neither", "a:1 +a:9", 4, 6, "{a:1 +a:4-6 +a:9}"},
		{"between two runs, touching both", "a:3 +a:7-9", 4, 6, "{a:9}"},
		{"over several runs", "+a:2 +a:4 +a:6 +a:9", 3, 7, "{+a:2-7 +a:9}"},
		{"inside a run", "a:9", 3, 7, "{a:9}"},
		{"everything there can be", "+a:2 +a:4", 1, math.MaxUint64, "{a:18446744073709551615}"},
	} {
		t.Run(c.name, func(t *testing.T) {
			clock := clk(c.before)
			clock.AddRange(1, c.first, c.last)
			if got := clock.String(); got != c.after {
				t.Errorf("got %s, want %s", got, c.after)
			}
		})
	}
}

func TestRemoveMaySplitARun(t *testing.T) {
	for _, c := range []struct{ name, before, remove, after string }{
		{"from the middle", "a:5", "a:3", "{a:2 +a:4-5}"},
		{"the first", "a:5", "a:1", "{+a:2-5}"},
		{"the last", "a:5", "a:5", "{a:4}"},
		{"the only dot takes the actor along", "a:1 b:1", "a:1", "{b:1}"},
		{"a dot in a gap", "a:3 +a:5", "a:4", "{a:3 +a:5}"},
		{"a dot of an unknown actor", "a:3", "b:1", "{a:3}"},
		{"a whole run of one", "a:3 +a:5 +a:7", "a:5", "{a:3 +a:7}"},
		{"the largest seq", "+a:9-max", "a:max", "{+a:9-18446744073709551614}"},
	} {
		t.Run(c.name, func(t *testing.T) {
			clock, d := clk(c.before), dot(c.remove)
			was := clock.Contains(d)
			if got := clock.Remove(d); got != was {
				t.Errorf("Remove(%v) = %v, want %v", d, got, was)
			}
			if got := clock.String(); got != c.after {
				t.Errorf("got %s, want %s", got, c.after)
			}
		})
	}
}

func TestADotOfSeqZeroIsInNoClock(t *testing.T) {
	c := clk("a:3")
	zero := dvv.Dot{Actor: 1}
	if c.Contains(zero) || c.Remove(zero) || c.ContainsRange(1, 0, 2) {
		t.Errorf("%v claims to hold %v", c, zero)
	}
	if c.ContainsRange(1, 3, 2) {
		t.Errorf("%v claims to hold the range 3-2", c)
	}
	if c.String() != "{a:3}" {
		t.Errorf("changed to %v", c)
	}
}

func TestImpossibleRangesPanicAndChangeNothing(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(*dvv.Clock)
	}{
		{"Add of seq 0", func(c *dvv.Clock) { c.Add(dvv.Dot{Actor: 1}) }},
		{"Add of seq 0 of an unknown actor", func(c *dvv.Clock) { c.Add(dvv.Dot{Actor: 9}) }},
		{"Add of seq 0 after the largest seq", func(c *dvv.Clock) { c.Add(dvv.Dot{Actor: 2}) }},
		{"AddRange from 0", func(c *dvv.Clock) { c.AddRange(1, 0, 2) }},
		{"AddRange backwards", func(c *dvv.Clock) { c.AddRange(1, 3, 2) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			clock := clk("a:3 +b:max")
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
				if want := clk("a:3 +b:max"); !clock.Equal(want) {
					t.Errorf("changed to %v", clock)
				}
			}()
			c.do(&clock)
		})
	}
}

func TestCountSaturates(t *testing.T) {
	for _, c := range []struct {
		name, clock string
		want        uint64
	}{
		{"nothing", "", 0},
		{"runs and gaps", "a:3 b:2 +b:5-7", 8},
		{"one full actor still fits", "a:max", math.MaxUint64},
		{"two do not", "a:max b:max", math.MaxUint64},
		{"nor does one dot more", "a:max b:1", math.MaxUint64},
	} {
		if got := clk(c.clock).Count(); got != c.want {
			t.Errorf("%s: count %d, want %d", c.name, got, c.want)
		}
	}
}

func TestWalkingAClockMayStopAnywhere(t *testing.T) {
	c := clk("a:max b:2")
	n := 0
	for d := range c.Dots() {
		if n++; d.Seq == 3 {
			break
		}
	}
	if n != 3 {
		t.Errorf("walked %d dots, want 3", n)
	}
	for range c.Intervals() {
		break
	}
	end := clk("+a:18446744073709551614-max b:1")
	var got []string
	for d := range end.Dots() {
		got = append(got, d.String())
	}
	if len(got) != 3 || got[2] != "b:1" {
		t.Errorf("the walk at the end of the number line gave %v", got)
	}
}

func TestNamesOfActorsDotsAndIntervals(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{dvv.Actor(1).String(), "a"},
		{dvv.Actor(26).String(), "z"},
		{dvv.Actor(0).String(), "0000000000000000"},
		{dvv.Actor(27).String(), "000000000000001b"},
		{dvv.Actor(0xfedcba9876543210).String(), "fedcba9876543210"},
		{dvv.Dot{Actor: 1, Seq: 3}.String(), "a:3"},
		{dvv.Interval{First: 5, Last: 5}.String(), "5"},
		{dvv.Interval{First: 5, Last: 7}.String(), "5-7"},
		{dvv.Clock{}.String(), "{}"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}

func TestDotsAreOrderedByActorThenSeq(t *testing.T) {
	sorted := []dvv.Dot{{}, dot("a:1"), dot("a:2"), dot("b:1"), dot("b:max")}
	for i, x := range sorted {
		for j, y := range sorted {
			want := 0
			if i < j {
				want = -1
			} else if i > j {
				want = 1
			}
			if got := x.Compare(y); got != want {
				t.Errorf("%v.Compare(%v) = %d, want %d", x, y, got, want)
			}
			if x.Less(y) != (i < j) {
				t.Errorf("%v.Less(%v) = %v", x, y, x.Less(y))
			}
		}
	}
	if !sorted[0].IsZero() || sorted[1].IsZero() {
		t.Error("IsZero is wrong")
	}
}
