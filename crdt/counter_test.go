package crdt_test

import (
	"errors"
	"math"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
)

// rowOf builds a row from dots and payloads in pairs, such as "a:1", payload.
func rowOf(t interface{ Fatal(...any) }, pairs ...any) crdt.Row {
	var r crdt.Row
	for i := 0; i < len(pairs); i += 2 {
		d := dot(pairs[i].(string))
		p := pairs[i+1].(interface{ Payload() crdt.Payload }).Payload()
		if !r.Collide(d, p) {
			r.Apply(d, nil, p, dvv.ClockOf(d), dvv.Clock{})
		}
	}
	if len(r.Live) != len(pairs)/2 {
		t.Fatal("a row with fewer payloads than were put in:", r)
	}
	return r
}

func entry(p, n int64) crdt.Entry { return crdt.Entry{P: crdt.TotalOf(p), N: crdt.TotalOf(n)} }

func saw(d string, p, n int64) crdt.Component {
	return crdt.Component{Actor: dot(d).Actor, Seq: dot(d).Seq, Entry: entry(p, n)}
}

func void(voided, winner string, op int, delta int64) crdt.Void {
	return crdt.Void{Voided: dot(voided), Winner: dot(winner), Op: operation(op), Delta: delta}
}

func TestWhatATallyReads(t *testing.T) {
	for _, c := range []struct {
		name string
		row  []any
		want int64
	}{
		{"nothing", nil, 0},
		{"totals of two actors", []any{"a:3", entry(10, 4), "b:1", entry(1, 0)}, 7},
		{"of two entries of an actor the newer", []any{"a:3", entry(10, 4), "a:2", entry(9, 0)}, 6},
		{"what a reset saw is gone", []any{"a:3", entry(10, 4), "b:1", crdt.Reset{saw("a:2", 9, 0)}}, -3},
		{"a reset that saw more than is known", []any{"a:3", entry(10, 4), "b:1", crdt.Reset{saw("a:5", 20, 4)}}, 0},
		{"a reset of an actor not heard of", []any{"b:1", crdt.Reset{saw("a:5", 20, 4)}}, 0},
		{"two resets count once, the further one", []any{"a:3", entry(10, 0), "b:1", crdt.Reset{saw("a:1", 4, 0)}, "c:1", crdt.Reset{saw("a:2", 7, 0)}}, 3},
		{"an operation applied twice counts once", []any{"a:1", entry(5, 0), "b:1", entry(5, 0), "b:2", void("b:1", "a:1", 1, 5)}, 5},
		{"two voids of one dot count once", []any{"a:1", entry(5, 0), "b:1", entry(5, 0), "a:2", void("b:1", "a:1", 1, 5), "b:2", void("b:1", "a:1", 1, 5)}, 5},
		{"a void before what it voids", []any{"a:1", entry(5, 0), "c:2", void("b:1", "a:1", 1, 5)}, 5},
		{"a void before what wins", []any{"b:1", entry(5, 0), "c:2", void("b:1", "a:1", 1, 5)}, 5},
		{"an operation applied three times", []any{"a:1", entry(5, 0), "b:1", entry(5, 0), "c:1", entry(5, 0), "b:2", void("b:1", "a:1", 1, 5), "c:2", void("c:1", "b:1", 1, 5)}, 5},
		// A random history found this one: the smaller winner must not hide the
		// larger, which is counted here already.
		{"a void that names a winner not seen here", []any{"b:1", entry(5, 0), "c:1", entry(5, 0), "b:2", void("c:1", "b:1", 1, 5), "c:2", void("c:1", "a:1", 1, 5)}, 5},
		{"a copy under a reset takes the other with it", []any{"a:1", entry(5, 0), "b:1", entry(5, 0), "b:2", void("b:1", "a:1", 1, 5), "c:1", crdt.Reset{saw("a:1", 5, 0)}}, 0},
		{"whichever copy it is", []any{"a:1", entry(5, 0), "b:1", entry(5, 0), "b:2", void("b:1", "a:1", 1, 5), "c:1", crdt.Reset{saw("b:1", 5, 0)}}, 0},
		{"both under resets are gone once", []any{"a:2", entry(7, 0), "b:1", entry(5, 0), "b:2", void("b:1", "a:1", 1, 5), "c:1", crdt.Reset{saw("a:1", 5, 0), saw("b:1", 5, 0)}}, 2},
		{"a negative operation", []any{"a:1", entry(0, 5), "b:1", entry(0, 5), "b:2", void("b:1", "a:1", 1, -5)}, -5},
		{"an id reused for another amount is another operation", []any{"a:1", entry(5, 0), "b:1", entry(5, 0), "c:1", entry(7, 0), "d:1", entry(7, 0),
			"b:2", void("b:1", "a:1", 1, 5), "d:2", void("d:1", "c:1", 1, 7)}, 12},
		{"rule 8: of one dot the larger total", []any{"a:1", entry(5, 0), "a:1", entry(8, 0)}, 8},
		{"rule 8: of one dot the larger component", []any{"a:2", entry(10, 0), "b:1", crdt.Reset{saw("a:1", 3, 0)}, "b:1", crdt.Reset{saw("a:1", 4, 0)}}, 6},
		{"the largest numbers there are", []any{"a:1", entry(math.MaxInt64, 0), "b:1", entry(0, math.MaxInt64)}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			for range 20 { // maps are walked in another order each time
				if got, saturated := tally(t, rowOf(t, c.row...)).Value(); got != c.want || saturated {
					t.Fatalf("reads %d (saturated %t), want %d", got, saturated, c.want)
				}
			}
		})
	}
}

func TestConcurrentSumsBeyondInt64AreReadSaturatedAndSaySo(t *testing.T) {
	for _, c := range []struct {
		name string
		row  []any
		want int64
	}{
		{"above", []any{"a:1", entry(math.MaxInt64, 0), "b:1", entry(1, 0)}, math.MaxInt64},
		{"below", []any{"a:1", entry(0, math.MaxInt64), "b:1", entry(0, 2)}, math.MinInt64},
	} {
		t.Run(c.name, func(t *testing.T) {
			tl := tally(t, rowOf(t, c.row...))
			if v, saturated := tl.Value(); v != c.want || !saturated {
				t.Errorf("reads %d, saturated %t", v, saturated)
			}
			back := int64(-2)
			if c.want < 0 {
				back = 2
			}
			if _, _, v, err := tl.Increment(1, back); err != nil || v != c.want+back+-back/2 {
				t.Errorf("on the way back: %d, %v", v, err)
			}
			if _, _, _, err := tl.Increment(1, -back); !errors.Is(err, crdt.ErrOverflow) {
				t.Errorf("further out: %v", err)
			}
		})
	}
}

func TestIncrementing(t *testing.T) {
	row := rowOf(t, "a:3", entry(10, 4), "b:1", entry(1, 0), "c:2", crdt.Reset{saw("a:2", 9, 0), saw("c:1", 50, 8)})
	for _, c := range []struct {
		name  string
		actor dvv.Actor
		delta int64
		entry crdt.Entry
		kills string
		value int64
	}{
		{"continues the actor's own totals", 1, 5, entry(15, 4), "a:3", 3},
		{"takes away from the other total", 1, -5, entry(10, 9), "a:3", -7},
		{"begins at nothing for a new actor", 4, 7, entry(7, 0), "", 5},
		{"continues from what a reset saw", 3, 2, entry(52, 8), "", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			e, kills, v, err := tally(t, row).Increment(c.actor, c.delta)
			if err != nil || e != c.entry || !slices.Equal(kills, dots(c.kills)) || v != c.value {
				t.Errorf("puts %v, kills %v, reads %d, %v; want %v, %v, %d", e, kills, v, err, c.entry, c.kills, c.value)
			}
		})
	}
}

func TestIncrementingOverACollisionNamesItsDotOnce(t *testing.T) {
	row := rowOf(t, "a:1", entry(5, 0), "a:1", entry(8, 0))
	if _, kills, v, err := tally(t, row).Increment(1, 1); err != nil || !slices.Equal(kills, dots("a:1")) || v != 9 {
		t.Errorf("kills %v, reads %d, %v", kills, v, err)
	}
}

func TestAnIncrementPastInt64IsRefusedWithItsNumbers(t *testing.T) {
	for _, c := range []struct {
		name      string
		row       []any
		delta     int64
		complaint string
		value     int64
	}{
		{"up to the edge", []any{"a:1", entry(math.MaxInt64-1, 0)}, 1, "", math.MaxInt64},
		{"over the edge", []any{"a:1", entry(math.MaxInt64-1, 0)}, 2, "9223372036854775806+2", 0},
		{"down to the edge", []any{"a:1", entry(0, math.MaxInt64)}, -1, "", math.MinInt64},
		{"below the edge", []any{"a:1", entry(0, math.MaxInt64)}, -2, "-9223372036854775807-2", 0},
		{"all at once", nil, math.MinInt64, "", math.MinInt64},
		{"all at once, and one", []any{"a:1", entry(0, 1)}, math.MinInt64, "-1-9223372036854775808", 0},
		{"from one end to the other", []any{"b:1", entry(math.MaxInt64, 0)}, math.MinInt64, "", -1},
	} {
		t.Run(c.name, func(t *testing.T) {
			e, kills, v, err := tally(t, rowOf(t, c.row...)).Increment(1, c.delta)
			if c.complaint == "" {
				next := rowOf(t, "a:9", e)
				if len(c.row) > 0 && c.row[0] == "b:1" {
					next = rowOf(t, append([]any{"a:9", e}, c.row...)...)
				}
				if read, _ := tally(t, next).Value(); err != nil || v != c.value || read != v {
					t.Errorf("answers %d, then reads %d, %v; want %d", v, read, err, c.value)
				}
				return
			}
			if !errors.Is(err, crdt.ErrOverflow) || !strings.Contains(err.Error(), c.complaint) || kills != nil {
				t.Errorf("got %v, kills %v; want the numbers %s", err, kills, c.complaint)
			}
		})
	}
}

func TestResetting(t *testing.T) {
	for _, c := range []struct {
		name  string
		row   []any
		saw   string
		kills string
	}{
		{"nothing", nil, "reset{}", ""},
		{"carries the newest of every actor", []any{"a:3", entry(10, 4), "a:2", entry(9, 0), "b:1", entry(1, 0)}, "reset{a:3:+10-4 b:1:+1-0}", "a:2 a:3 b:1"},
		{"carries on what earlier resets saw", []any{"a:3", entry(10, 4), "b:1", crdt.Reset{saw("a:5", 20, 4), saw("c:2", 2, 0)}}, "reset{a:5:+20-4 c:2:+2-0}", "a:3 b:1"},
		{"kills a void when it covers both of its dots", []any{"a:1", entry(5, 0), "b:1", entry(5, 0), "b:2", void("b:1", "a:1", 1, 5)}, "reset{a:1:+5-0 b:1:+5-0}", "a:1 b:1 b:2"},
		{"spares a void of what it does not cover", []any{"a:1", entry(5, 0), "c:2", void("b:1", "a:1", 1, 5)}, "reset{a:1:+5-0}", "a:1"},
		{"spares a void whose winner it does not cover", []any{"b:1", entry(5, 0), "c:2", void("b:1", "a:1", 1, 5)}, "reset{b:1:+5-0}", "b:1"},
		{"kills a void by what an earlier reset saw", []any{"c:1", crdt.Reset{saw("a:1", 5, 0), saw("b:1", 5, 0)}, "c:2", void("b:1", "a:1", 1, 5)}, "reset{a:1:+5-0 b:1:+5-0}", "c:1 c:2"},
		{"names a dot with two payloads once", []any{"a:1", entry(5, 0), "a:1", entry(8, 0)}, "reset{a:1:+8-0}", "a:1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			z, kills := tally(t, rowOf(t, c.row...)).Reset()
			if z.String() != c.saw || !slices.Equal(kills, dots(c.kills)) {
				t.Errorf("puts %v, kills %v; want %s, %s", z, kills, c.saw, c.kills)
			}
		})
	}
}

func TestATallyRefusesWhatIsNoCounter(t *testing.T) {
	row := crdt.Row{Live: []crdt.Live{{Dot: dot("a:1"), Payload: crdt.Assign{}.Payload()}}}
	if _, err := row.Tally(); err == nil || !strings.Contains(err.Error(), "counter under a:1") {
		t.Errorf("a register was read as a counter: %v", err)
	}
}

var twoTo128 = new(big.Int).Lsh(big.NewInt(1), 128)

// wide returns t as a big integer.
func wide(t crdt.Total) *big.Int {
	v := new(big.Int).SetUint64(t.Hi)
	v.Lsh(v, 64).Add(v, new(big.Int).SetUint64(t.Lo))
	if t.Hi>>63 == 1 {
		v.Sub(v, twoTo128)
	}
	return v
}

// wrap brings v into the range of 128 bits in two's complement.
func wrap(v *big.Int) *big.Int {
	v = new(big.Int).Mod(v, twoTo128)
	if v.Bit(127) == 1 {
		v.Sub(v, twoTo128)
	}
	return v
}

func TestTotalsCountAsIntegersDo(t *testing.T) {
	words := rapid.OneOf(rapid.Uint64(), rapid.SampledFrom([]uint64{0, 1, 1<<63 - 1, 1 << 63, math.MaxUint64}))
	rapid.Check(t, func(t *rapid.T) {
		a := crdt.Total{Hi: words.Draw(t, "a.Hi"), Lo: words.Draw(t, "a.Lo")}
		b := crdt.Total{Hi: words.Draw(t, "b.Hi"), Lo: words.Draw(t, "b.Lo")}
		n, v := words.Draw(t, "n"), int64(words.Draw(t, "v"))
		for _, c := range []struct {
			name string
			got  crdt.Total
			want *big.Int
		}{
			{"add", a.Add(b), new(big.Int).Add(wide(a), wide(b))},
			{"sub", a.Sub(b), new(big.Int).Sub(wide(a), wide(b))},
			{"times", a.Times(n), new(big.Int).Mul(wide(a), new(big.Int).SetUint64(n))},
			{"of", crdt.TotalOf(v), big.NewInt(v)},
		} {
			if wide(c.got).Cmp(wrap(c.want)) != 0 {
				t.Fatalf("%s of %v and %v or %d: %v, want %v", c.name, a, b, n, c.got, wrap(c.want))
			}
		}
		if a.String() != wide(a).String() || a.Negative() != (wide(a).Sign() < 0) {
			t.Fatalf("%v is written %v, negative %t", wide(a), a, a.Negative())
		}
		got, saturated := a.Int64()
		switch w := wide(a); {
		case w.IsInt64():
			if saturated || got != w.Int64() {
				t.Fatalf("%v as int64: %d, saturated %t", w, got, saturated)
			}
		case !saturated || w.Sign() < 0 && got != math.MinInt64 || w.Sign() > 0 && got != math.MaxInt64:
			t.Fatalf("%v as int64: %d, saturated %t", w, got, saturated)
		}
	})
}

func TestATotalNarrowsWithinInt64AndSaturatesBeyond(t *testing.T) {
	one := crdt.TotalOf(1)
	for _, c := range []struct {
		total     crdt.Total
		want      int64
		saturated bool
	}{
		{crdt.TotalOf(math.MaxInt64), math.MaxInt64, false},
		{crdt.TotalOf(math.MaxInt64).Add(one), math.MaxInt64, true},
		{crdt.TotalOf(math.MinInt64), math.MinInt64, false},
		{crdt.TotalOf(math.MinInt64).Sub(one), math.MinInt64, true},
		{crdt.TotalOf(-1), -1, false},
	} {
		if got, saturated := c.total.Int64(); got != c.want || saturated != c.saturated {
			t.Errorf("%v: %d, saturated %t", c.total, got, saturated)
		}
	}
}

// The loop of a shard decodes rows that peers sent: one must not hold up all others.
func TestARowOfManyResetsInWhateverOrderIsDecodedAtOnce(t *testing.T) {
	const n, limit = 40_000, 3 * time.Second // 0.7 MB; inserting each took 7 s
	var apart, low, high crdt.Row
	var even, odd crdt.Reset
	for i := range dvv.Actor(n) {
		z := crdt.Reset{{Actor: 2*n - i, Seq: 1}}
		apart.Live = append(apart.Live, crdt.Live{Dot: dvv.Dot{Actor: i + 1, Seq: 1}, Payload: z.Payload()})
		even, odd = append(even, crdt.Component{Actor: 2*i + 2, Seq: 1}), append(odd, crdt.Component{Actor: 2*i + 1, Seq: 1})
	}
	low.Live = []crdt.Live{{Dot: dvv.Dot{Actor: 1, Seq: 1}, Payload: even.Payload()}, {Dot: dvv.Dot{Actor: 2, Seq: 1}, Payload: odd.Payload()}}
	high.Live = []crdt.Live{low.Live[1], low.Live[0]}
	for _, test := range []struct {
		name   string
		row    crdt.Row
		actors int
	}{{"a reset per actor, backwards", apart, n}, {"two resets, interleaved", low, 2 * n}, {"the same the other way round", high, 2 * n}} {
		began := time.Now()
		tally, err := test.row.Tally()
		if err != nil {
			t.Fatal(err)
		}
		z, _ := tally.Reset()
		tally.Forget(z)
		if again, _ := tally.Reset(); len(z) != test.actors || !slices.Equal(z, again) {
			t.Errorf("%s: %d actors are reset, want %d", test.name, len(z), test.actors)
		}
		if took := time.Since(began); took > limit {
			t.Errorf("%s: took %v, limit %v", test.name, took, limit)
		}
	}
}
