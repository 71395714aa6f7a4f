package crdt_test

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/crdt/crdttest"
	"github.com/cartwheel-db/cartwheel/dvv"
)

func expiring(p, n, expires int64) crdt.Entry {
	e := entry(p, n)
	e.Expires = expires
	return e
}

func TestWhatExpiresNextAndWhatItsRemovalKills(t *testing.T) {
	member := func(expires int64) crdt.Member { return crdt.Member{Expires: expires} }
	assign := func(stamp crdt.Stamp, expires int64) crdt.Assign { return crdt.Assign{Stamp: stamp, Expires: expires} }
	blob := func(value string, expires int64) crdt.BlobValue {
		return crdt.BlobValue{Value: []byte(value), Expires: expires}
	}
	for _, c := range []struct {
		name    string
		kind    crdt.Type
		row     []any
		expires int64
		kills   string // at 100
		puts    string
	}{
		{"a member without an expiry stays", crdt.Set, []any{"a:1", member(0)}, 0, "", ""},
		{"a member goes at its time", crdt.Set, []any{"a:1", member(100)}, 100, "a:1", ""},
		{"and not before", crdt.Set, []any{"a:1", member(101)}, 101, "", ""},
		{"of several adds the latest time counts for all", crdt.Set, []any{"a:1", member(10), "b:1", member(90)}, 90, "a:1 b:1", ""},
		{"a renewal keeps what it stands beside", crdt.Set, []any{"a:1", member(10), "b:1", member(200)}, 200, "", ""},
		{"a renewal for ever too", crdt.Set, []any{"a:1", member(10), "b:1", member(0)}, 0, "", ""},
		{"a register goes when its winner does, and what lost does not come back", crdt.Register, []any{"a:1", assign(9, 100), "b:1", assign(1, 0)}, 100, "a:1 b:1", ""},
		{"what lost does not take the winner with it", crdt.Register, []any{"a:1", assign(9, 0), "b:1", assign(1, 50)}, 0, "", ""},
		{"siblings go one by one", crdt.Blob, []any{"a:1", blob("x", 100), "b:1", blob("y", 0), "c:1", blob("z", 40), "d:1", blob("w", 101)}, 40, "a:1 c:1", ""},
		{"a dot with two payloads dies once", crdt.Blob, []any{"a:1", blob("x", 100), "a:1", blob("y", 90)}, 90, "a:1", ""},
		{"an entry is reset", crdt.Counter, []any{"a:3", expiring(10, 4, 100)}, 100, "a:3", "reset{a:3:+10-4}"},
		{"each actor's by itself", crdt.Counter, []any{"a:3", expiring(10, 4, 100), "b:1", entry(5, 0), "c:2", expiring(1, 0, 101), "d:7", expiring(2, 0, 7)}, 7, "a:3 d:7", "reset{a:3:+10-4 d:7:+2-0}"},
		{"earlier resets are carried on, so that they do not pile up", crdt.Counter,
			[]any{"a:3", expiring(10, 4, 100), "b:1", crdt.Reset{saw("a:2", 9, 0), saw("e:1", 1, 0)}, "c:1", crdt.Reset{saw("a:1", 3, 0)}}, 100, "a:3 b:1 c:1", "reset{a:3:+10-4 e:1:+1-0}"},
		{"and left alone when nothing expired", crdt.Counter, []any{"a:3", expiring(10, 4, 101), "b:1", crdt.Reset{saw("a:2", 9, 0)}, "c:1", crdt.Reset{saw("a:1", 3, 0)}}, 101, "", ""},
		{"a void goes with both of its dots", crdt.Counter, []any{"a:1", expiring(5, 0, 9), "b:1", expiring(5, 0, 9), "b:2", void("b:1", "a:1", 1, 5)}, 9, "a:1 b:1 b:2", "reset{a:1:+5-0 b:1:+5-0}"},
		{"a void stays while one of them may still count", crdt.Counter, []any{"a:1", expiring(5, 0, 9), "b:1", entry(5, 0), "b:2", void("b:1", "a:1", 1, 5)}, 9, "a:1", "reset{a:1:+5-0}"},
		{"a row of nothing", crdt.Set, nil, 0, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := rowOf(t, c.row...)
			kills, put, err := r.Lapse(c.kind, 100)
			puts := ""
			if put != nil {
				puts = put.String()
			}
			if at := r.Expires(c.kind); at != c.expires || r.Timed() != strings.Contains(fmt.Sprint(r), "until") {
				t.Errorf("expires at %d (timed %t), want %d", at, r.Timed(), c.expires)
			}
			if err != nil || !slices.Equal(kills, dots(c.kills)) || puts != c.puts {
				t.Errorf("its removal kills %v, puts %q, %v; want %s, %q", kills, puts, err, c.kills, c.puts)
			}
		})
	}
}

func TestARowThatCannotBeReadIsNotRemoved(t *testing.T) {
	for _, kind := range []crdt.Type{crdt.Set, crdt.Register, crdt.Blob, crdt.Counter} {
		r := crdt.Row{Live: []crdt.Live{{Dot: dot("a:1"), Payload: crdt.Payload{0x77}}}}
		if kills, _, err := r.Lapse(kind, math.MaxInt64); err == nil || kills != nil {
			t.Errorf("%v: kills %v, %v", kind, kills, err)
		}
		if r.Expires(kind) != 0 {
			t.Errorf("%v: expires at %d", kind, r.Expires(kind))
		}
	}
	if kills, _, err := rowOf(t, "a:1", crdt.Member{Expires: 1}).Lapse(crdt.Map, 100); kills != nil || err != nil {
		t.Errorf("a map has no row of its own type: %v, %v", kills, err)
	}
}

func TestIncrementingUntilATime(t *testing.T) {
	for _, c := range []struct {
		name    string
		row     []any
		at      int64
		expires int64
		entry   crdt.Entry // by a, adding 2
		kills   string
		resets  string
		value   int64
	}{
		{"the first one sets the time", nil, 0, 100, expiring(2, 0, 100), "", "reset{}", 2},
		{"a later time renews all of the actor's", []any{"a:1", expiring(5, 0, 50)}, 40, 100, expiring(7, 0, 100), "a:1", "reset{}", 7},
		{"an earlier one does not shorten it", []any{"a:1", expiring(5, 0, 50)}, 40, 45, expiring(7, 0, 50), "a:1", "reset{}", 7},
		{"for ever is the latest of all", []any{"a:1", expiring(5, 0, 50)}, 40, 0, expiring(7, 0, 0), "a:1", "reset{}", 7},
		{"and stays so", []any{"a:1", entry(5, 0)}, 40, 100, expiring(7, 0, 0), "a:1", "reset{}", 7},
		{"others expire by themselves", []any{"b:1", expiring(5, 0, 50)}, 60, 100, expiring(2, 0, 100), "", "reset{}", 2},
		{"what expired does not come back with the new totals", []any{"a:1", expiring(5, 0, 50)}, 60, 100, expiring(7, 0, 100), "a:1", "reset{a:1:+5-0}", 2},
		{"nor what a reset saw before, and resets do not pile up", []any{"a:2", expiring(5, 0, 50), "b:9", crdt.Reset{saw("a:1", 3, 0), saw("c:1", 8, 0)}, "c:2", entry(9, 0)}, 60, 0, expiring(7, 0, 0), "a:2 b:9", "reset{a:2:+5-0 c:1:+8-0}", 3},
		{"another's that expired is left to its removal", []any{"a:2", expiring(5, 0, 50), "b:9", expiring(1, 0, 50)}, 60, 0, expiring(7, 0, 0), "a:2", "reset{a:2:+5-0}", 2},
		{"after a reset the time begins anew", []any{"b:1", crdt.Reset{saw("a:1", 5, 0)}}, 60, 100, expiring(7, 0, 100), "", "reset{}", 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := rowOf(t, c.row...)
			tl, err := r.TallyAt(c.at)
			if err != nil {
				t.Fatal(err)
			}
			e, kills, z, v, err := tl.IncrementUntil(1, 2, c.expires)
			if err != nil || e != c.entry || !slices.Equal(kills, dots(c.kills)) || resetOf(z) != c.resets || v != c.value {
				t.Fatalf("puts %v and %v, kills %v, reads %d, %v; want %v and %s, %s, %d", e, resetOf(z), kills, v, err, c.entry, c.resets, c.kills, c.value)
			}
			seen := clock("a:20 b:20 c:20")
			if r.Apply(dot("a:10"), kills, e.Payload(), seen, dvv.Clock{}); len(z) > 0 {
				r.Apply(dot("a:11"), nil, z, seen, dvv.Clock{})
			}
			if after, err := r.TallyAt(c.at); err != nil || after.Exact() != crdt.TotalOf(c.value) {
				t.Errorf("then reads %v, %v", after.Exact(), err)
			}
		})
	}
}

func TestWhenTheLastOfACounterExpires(t *testing.T) {
	for _, c := range []struct {
		name string
		row  []any
		at   int64
		want int64
	}{
		{"nothing", nil, 0, 0},
		{"the latest", []any{"a:1", expiring(5, 0, 50), "b:1", expiring(5, 0, 70)}, 0, 70},
		{"never, when one stays", []any{"a:1", expiring(5, 0, 50), "b:1", entry(5, 0)}, 0, 0},
		{"what is reset does not count", []any{"a:1", expiring(5, 0, 50), "b:1", entry(5, 0), "c:1", crdt.Reset{saw("b:1", 5, 0)}}, 0, 50},
		{"nor what is over", []any{"a:1", expiring(5, 0, 50), "b:1", expiring(5, 0, 70)}, 60, 70},
		{"all over", []any{"a:1", expiring(5, 0, 50)}, 60, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			for range 10 { // maps are walked in another order each time
				tl, err := rowOf(t, c.row...).TallyAt(c.at)
				if err != nil || tl.Expires() != c.want || tl.Present() != (c.want != 0 || strings.HasPrefix(c.name, "never")) {
					t.Fatalf("expires at %d, present %t, %v", tl.Expires(), tl.Present(), err)
				}
			}
		})
	}
}

// removed returns what a replica knows of a row after a removal under dot d.
func removed(s crdt.Side, d dvv.Dot, kills []dvv.Dot, put crdt.Payload) crdt.Side {
	s.Row, s.Clock = s.Row.Clone(), s.Clock.Clone()
	s.Clock.Add(d)
	s.Row.Apply(d, kills, put, s.Clock, s.Dead)
	return s
}

// lapsings draws two replicas that each got a part of a history, a row of them, and
// a time at which something in the first one's is over.
func lapsings(t *rapid.T, trial crdttest.Trial, fn func(a crdt.Address, x, y crdt.Side, wall int64, kills []dvv.Dot, put crdt.Payload)) {
	var of [2][]crdt.Group
	for _, at := range trial.Order {
		for i := range of {
			if trial.Has[at]&(1<<i) != 0 {
				of[i] = append(of[i], trial.Groups[at])
			}
		}
	}
	x, y := crdttest.Fold(of[0]), crdttest.Fold(of[1])
	wall := rapid.Int64Range(1, 40).Draw(t, "wall")
	for a := range x.Rows {
		kills, put, err := x.Rows[a].Lapse(a.RowType(), wall)
		if err != nil {
			t.Fatalf("%v: %v", x.Rows[a], err)
		}
		fn(a, x.Side(a), y.Side(a), wall, kills, put)
	}
}

func TestHidingWhatExpiredIsReadingWhatItsRemovalLeaves(t *testing.T) {
	trials := crdttest.Trials()
	taken := map[crdt.Type]int{}
	rapid.Check(t, func(t *rapid.T) {
		for _, tr := range rapid.SliceOfN(trials, 30, 30).Draw(t, "trials") {
			lapsings(t, tr, func(a crdt.Address, x, _ crdt.Side, wall int64, kills []dvv.Dot, put crdt.Payload) {
				kind, before := a.RowType(), crdt.AppendRow(nil, x.Row)
				if at := x.Row.Expires(kind); (at != 0 && at <= wall) != (len(kills) > 0) || at != 0 && !x.Row.Timed() {
					t.Fatalf("at %d: %v expires at %d, and its removal kills %v", wall, x.Row, at, kills)
				}
				seen, err := x.Row.At(kind, wall)
				if err != nil {
					t.Fatal(err)
				}
				if len(kills) == 0 {
					if !seen.Equal(x.Row) {
						t.Fatalf("at %d: %v reads as %v", wall, x.Row, seen)
					}
					return
				}
				taken[kind]++
				after := removed(x, dot("z:1"), kills, put).Row
				if again, _, err := after.Lapse(kind, wall); len(again) > 0 || err != nil {
					t.Fatalf("at %d: %v after a removal is removed again: %v, %v", wall, after, again, err)
				}
				if kind != crdt.Counter {
					if !after.Equal(seen) {
						t.Fatalf("at %d: %v reads as %v, its removal leaves %v", wall, x.Row, seen, after)
					}
				} else if hidden, left := tallyAt(t, x.Row, wall), tallyAt(t, after, 0); hidden.Exact() != left.Exact() || hidden.Present() != left.Present() || hidden.Expires() != left.Expires() {
					t.Fatalf("at %d: %v reads %v until %d, its removal leaves %v, %v until %d", wall, x.Row, hidden.Exact(), hidden.Expires(), after, left.Exact(), left.Expires())
				}
				if !bytes.Equal(before, crdt.AppendRow(nil, x.Row)) {
					t.Fatalf("a removal changed the row it was made from to %v", x.Row)
				}
			})
		}
	})
	for _, kind := range []crdt.Type{crdt.Set, crdt.Counter, crdt.Register, crdt.Blob} {
		if taken[kind] < 5 {
			t.Errorf("only %d rows of a %v had anything expired", taken[kind], kind)
		}
	}
}

func TestARenewalThatTheRemovalDidNotSeeSurvivesInEveryOrder(t *testing.T) {
	trials := crdttest.Trials()
	survived := map[crdt.Type]int{}
	rapid.Check(t, func(t *rapid.T) {
		for _, tr := range rapid.SliceOfN(trials, 30, 30).Draw(t, "trials") {
			lapsings(t, tr, func(a crdt.Address, x, y crdt.Side, wall int64, kills []dvv.Dot, put crdt.Payload) {
				if len(kills) == 0 {
					return
				}
				z := dot("z:1")
				both, _ := crdt.JoinSides(x, y)
				want := removed(both, z, kills, put).Row
				left, _ := crdt.Join(removed(x, z, kills, put), y)
				right, _ := crdt.Join(y, removed(x, z, kills, put))
				late, _ := crdt.Join(removed(y, z, kills, put), x)
				for _, got := range []crdt.Row{left, right, late} {
					if !got.Equal(want) {
						t.Fatalf("%v and %v after the removal of %v at %d: %v, want %v", x.Row, y.Row, kills, wall, got, want)
					}
				}
				for _, d := range both.Row.Dots() {
					if !x.Clock.Contains(d) {
						if !slices.Contains(want.Dots(), d) {
							t.Fatalf("the removal of %v from %v took %v with it, which it had not seen", kills, x.Row, d)
						}
						survived[a.RowType()]++
					}
				}
			})
		}
	})
	for _, kind := range []crdt.Type{crdt.Set, crdt.Counter, crdt.Register, crdt.Blob} {
		if survived[kind] < 2 {
			t.Errorf("only %d times a %v was renewed beside its removal", survived[kind], kind)
		}
	}
}

func tallyAt(t interface{ Fatal(...any) }, r crdt.Row, wall int64) *crdt.Tally {
	tl, err := r.TallyAt(wall)
	if err != nil {
		t.Fatal(err)
	}
	return tl
}

func TestBytesThatCarryAnExpiryAreReadBackAndNoPartOfThemIsTakenForAnotherTime(t *testing.T) {
	for _, p := range timed() {
		b := p.Payload()
		if again, err := decoders["payload"](b); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%x came back as %x, %v", []byte(b), again, err)
		}
		if _, err := decoders["payload"](append(slices.Clone(b), 0)); err == nil {
			t.Errorf("%x was accepted with a byte behind it", []byte(b))
		}
		const long = 9 // bytes of the time
		for n := range b {
			if _, err := decoders["payload"](b[:n]); (err == nil) != (n == len(b)-long) {
				t.Errorf("%x without its last %d bytes: %v", []byte(b), len(b)-n, err)
			}
		}
		for name, time := range map[string]string{
			"never in so many words":      "\x00",
			"before all time":             "\xcf\xff\xff\xff\xff\xff\xff\xff\xff",
			"twice":                       "\x05\x05",
			"in more bytes than it takes": "\xcc\x05",
		} {
			if _, err := decoders["payload"](append(slices.Clone(b[:len(b)-long]), time...)); err == nil {
				t.Errorf("%v with a time of %q was accepted: %s", b.Kind(), time, name)
			}
		}
	}
}

// resetOf shows a reset that may not have been put.
func resetOf(p crdt.Payload) string {
	z, _ := crdt.DecodeReset(p)
	return z.String()
}
