package dvv_test

import (
	"testing"

	"github.com/cartwheel-db/cartwheel/dvv"
)

// typical is a partition's clock after a while: forty openings of stores, two of
// them with gaps.
func typical() dvv.Clock {
	var c dvv.Clock
	for a := uint64(1); a <= 40; a++ {
		c.AddRange(dvv.Actor(a*0x9e3779b97f4a7c15), 1, 1000*a)
	}
	first := dvv.Actor(0x9e3779b97f4a7c15)
	second := 2 * first // wraps, as above
	for i := range uint64(100) {
		c.Add(dvv.Dot{Actor: first, Seq: 2000 + 3*i})
		c.Add(dvv.Dot{Actor: second, Seq: 5000 + 2*i})
	}
	return c
}

// Everything that runs once or more per event allocates nothing.
func TestTheHotPathAllocatesNothing(t *testing.T) {
	c := typical()
	same, grown, joined := c.Clone(), c.Clone(), c.Clone()
	actor := dvv.Actor(0x9e3779b97f4a7c15)
	next, at := c.Last(actor), c.Last(actor)
	delta := dvv.ClockOf(dvv.Dot{Actor: actor, Seq: at})
	buf := make([]byte, 0, 4096)
	for _, hot := range []struct {
		name string
		do   func() bool
	}{
		{"adding the next dot", func() bool { next++; return grown.Add(dvv.Dot{Actor: actor, Seq: next}) }},
		{"adding a known dot", func() bool { return !c.Add(dvv.Dot{Actor: actor, Seq: 7}) }},
		{"asking for a dot", func() bool { return c.Contains(dvv.Dot{Actor: actor, Seq: 2150}) }},
		{"asking for a missing dot", func() bool { return !c.Contains(dvv.Dot{Actor: actor, Seq: 2151}) }},
		{"asking for a range", func() bool { return c.ContainsRange(actor, 3, 900) }},
		{"asking what is covered", func() bool { return c.Covers(same) && !c.Covers(grown) }},
		{"asking for equality", func() bool { return c.Equal(same) }},
		{"asking for the last dot", func() bool { return c.Last(actor) == at }},
		{"joining what is known", func() bool { same.Join(c); return same.Equal(c) }},
		{"joining the next dots", func() bool {
			last := delta.Last(actor) + 1
			delta.Add(dvv.Dot{Actor: actor, Seq: last})
			joined.Join(delta)
			return joined.Last(actor) == last
		}},
		{"subtracting what is known", func() bool { return same.Minus(c).IsEmpty() }},
		{"walking the intervals", func() bool { return runCount(c) == 240 }},
		{"encoding into spare room", func() bool { return len(c.AppendBinary(buf)) <= cap(buf) }},
	} {
		right := true
		if n := testing.AllocsPerRun(100, func() { right = hot.do() && right }); n != 0 {
			t.Errorf("%s: %v allocations, want none", hot.name, n)
		}
		if !right {
			t.Errorf("%s: the answer is wrong", hot.name)
		}
	}
}

func BenchmarkClock(b *testing.B) {
	c := typical()
	same := c.Clone()
	actor := dvv.Actor(0x9e3779b97f4a7c15)
	bytes := c.AppendBinary(nil)
	other := c.Clone()
	for i := range uint64(200) {
		other.Add(dvv.Dot{Actor: actor, Seq: 3000 + 2*i})
	}
	next, buf := c.Last(actor), make([]byte, 0, 4096)
	for _, bm := range []struct {
		name string
		do   func()
	}{
		{"add-next", func() { next++; same.Add(dvv.Dot{Actor: actor, Seq: next}) }},
		{"contains", func() { c.Contains(dvv.Dot{Actor: actor, Seq: 2150}) }},
		{"covers", func() { same.Covers(c) }},
		{"join-known", func() { same.Join(c) }},
		{"clone-and-join", func() { x := c.Clone(); x.Join(other) }},
		{"minus", func() { other.Minus(c) }},
		{"encode", func() { c.AppendBinary(buf) }},
		{"decode", func() {
			if _, _, err := dvv.DecodeClock(bytes); err != nil {
				b.Fatal(err)
			}
		}},
		{"fingerprint", func() { c.Fingerprint() }},
	} {
		b.Run(bm.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				bm.do()
			}
		})
	}
}

func BenchmarkToken(b *testing.B) {
	s := sealer(b, secret)
	context := clk("a:300 b:2 +b:5 c:70000")
	token, err := s.SealContext(cart42, context)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("seal", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := s.SealContext(cart42, context); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("open", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := s.OpenContext(cart42, token); err != nil {
				b.Fatal(err)
			}
		}
	})
}
