package crdt_test

import (
	"bytes"
	"encoding/hex"
	"slices"
	"testing"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/crdt/pack"
	"github.com/cartwheel-db/cartwheel/dvv"
)

// encoded is a payload that was made by somebody else.
type encoded crdt.Payload

func (p encoded) Payload() crdt.Payload { return crdt.Payload(p) }

// beside is the reset that operation op puts beside its increment, of a row.
func beside(t *testing.T, op int, row ...any) encoded {
	p, _ := tally(t, rowOf(t, row...)).ResetBeside(operation(op))
	return encoded(p)
}

// "Take back what is there and add 5" was applied at a, and tried again at b, whose
// read may have shown the first copy.
func TestACounterIsSetToAValueOnceHoweverOftenItIsTried(t *testing.T) {
	again := func(row ...any) encoded { return beside(t, 1, row...) }
	first := []any{"a:1", entry(5, 0)}
	for _, c := range []struct {
		name string
		row  []any
		want int64
	}{
		{"the second copy took back the first", []any{"b:1", entry(5, 0), "b:2", again(first...), "c:1", void("b:1", "a:1", 1, 5)}, 5},
		{"and nobody knows of two", []any{"b:1", entry(5, 0), "b:2", again(first...)}, 5},
		{"and its actor went on", []any{"a:4", entry(7, 0), "b:1", entry(5, 0), "b:2", again(first...), "c:1", void("b:1", "a:1", 1, 5)}, 7},
		{"it did not see the first", []any{"a:1", entry(5, 0), "b:1", entry(5, 0), "b:2", again("c:1", entry(9, 0)), "c:2", void("b:1", "a:1", 1, 5)}, 5},
		{"a third took back both", []any{"c:1", entry(5, 0), "c:2", again("b:1", entry(5, 0), "b:2", again(first...)), "d:1", void("c:1", "a:1", 1, 5), "d:2", void("b:1", "a:1", 1, 5)}, 5},
		{"a third took back the first, too", []any{"b:1", entry(5, 0), "b:2", again(first...), "c:1", entry(5, 0), "c:2", again(first...),
			"d:1", void("c:1", "a:1", 1, 5), "d:2", void("b:1", "a:1", 1, 5)}, 5},
		{"somebody else took back the first", []any{"b:1", entry(5, 0), "b:2", again(first...), "c:1", void("b:1", "a:1", 1, 5), "d:1", crdt.Reset{saw("a:1", 5, 0)}}, 0},
		{"before the retry, which saw it", []any{"b:1", entry(5, 0), "b:2", again("d:1", crdt.Reset{saw("a:1", 5, 0)}), "c:1", void("b:1", "a:1", 1, 5)}, 0},
		{"another operation set it in between, which the retry saw", []any{"b:1", entry(5, 0), "b:2", again("d:1", entry(2, 0), "d:2", beside(t, 2, first...)), "c:1", void("b:1", "a:1", 1, 5)}, 0},
		{"another operation set it since", []any{"d:1", entry(2, 0), "d:2", beside(t, 2, "b:1", entry(5, 0), "b:2", again(first...)), "c:1", void("b:1", "a:1", 1, 5)}, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got, saturated := tally(t, rowOf(t, c.row...)).Value(); got != c.want || saturated {
				t.Errorf("reads %d (saturated %t), want %d", got, saturated, c.want)
			}
		})
	}
}

// Operation 1 set the counter to 5 at a and at b, which took a's copy back. What
// expires of a since is the life that a began after that.
func TestWhatExpiresDoesNotTakeBackWhatACounterWasSetTo(t *testing.T) {
	until := func(p uint64) crdt.Entry { return crdt.Entry{P: crdt.TotalOf(int64(p)), Expires: 10} }
	twice := []any{"b:1", entry(5, 0), "b:2", beside(t, 1, "a:1", entry(5, 0)), "c:1", void("b:1", "a:1", 1, 5)}
	and := func(more ...any) []any { return append(more, twice...) }
	for _, c := range []struct {
		name   string
		row    []any
		before int64
		want   int64
		puts   string
		kills  string
	}{
		{"the first copy's actor went on", and("a:4", until(7)), 7, 5, "reset{a:4:+7-0}", "a:4 b:2"},
		{"somebody else counted, whom nobody reset", and("d:1", until(8)), 13, 5, "reset{a:1:+5-0 d:1:+8-0}", "b:2 d:1"},
		{"an earlier reset is carried on", and("d:1", until(8), "d:2", crdt.Reset{saw("e:1", 1, 0)}), 13, 5, "reset{a:1:+5-0 d:1:+8-0 e:1:+1-0}", "b:2 d:1 d:2"},
		{"others reset the first copy", and("a:4", until(7), "d:1", crdt.Reset{saw("a:1", 5, 0)}), 2, 0, "reset{a:4:+7-0}", "a:4 b:2 d:1"},
		{"others reset a copy that only the void of another tells of", []any{"c:1", entry(5, 0), "c:2", beside(t, 1, "b:1", entry(5, 0)), "d:1", crdt.Reset{saw("a:1", 5, 0)},
			"d:2", void("b:1", "a:1", 1, 5), "d:3", void("c:1", "b:1", 1, 5), "e:1", until(8)}, 8, 0, "reset{a:1:+5-0 b:1:+5-0 e:1:+8-0}", "c:2 d:1 e:1"},
		{"another operation was set twice, too", and("a:4", until(7), "e:1", entry(9, 0), "e:2", beside(t, 2, "d:1", entry(9, 0)), "c:2", void("e:1", "d:1", 2, 9), "d:3", until(12)),
			19, 14, "reset{a:4:+7-0 d:3:+12-0}", "a:4 b:2 d:3 e:2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			row := rowOf(t, c.row...)
			if v, _ := tallyAt(t, row, 9).Value(); v != c.before {
				t.Errorf("before, reads %d, want %d", v, c.before)
			}
			if v, _ := tallyAt(t, row, 10).Value(); v != c.want {
				t.Errorf("reads %d, want %d", v, c.want)
			}
			put, kills := tallyAt(t, row, 10).Lapse()
			if got := resetOf(put); got != c.puts || !slices.Equal(sortedDots(kills), dots(c.kills)) {
				t.Errorf("puts %s and kills %v, want %s and %s", got, kills, c.puts, c.kills)
			}
			seen := clock("a:20 b:20 c:20 d:20 e:20")
			removed := row.Clone()
			removed.Apply(dot("f:1"), sortedDots(kills), put, seen, dvv.Clock{})
			if v, _ := tallyAt(t, removed, 10).Value(); v != c.want {
				t.Errorf("once it is removed, %v reads %d, want %d", removed, v, c.want)
			}
			if z, kills := tallyAt(t, removed, 10).Reset(); len(kills) != len(removed.Live) {
				t.Errorf("%v and %v leave something of %v", z, kills, removed)
			}
			e, kills, put, v, err := tallyAt(t, row, 10).IncrementUntil(1, 100, 50)
			if err != nil || v != c.want+100 {
				t.Errorf("adding 100 answers %d, %v", v, err)
			}
			if row.Apply(dot("a:9"), sortedDots(kills), e.Payload(), seen, dvv.Clock{}); put != nil {
				row.Apply(dot("a:10"), nil, put, seen, dvv.Clock{})
			}
			if v, _ := tallyAt(t, row, 10).Value(); v != c.want+100 {
				t.Errorf("with 100 more, %v reads %d", row, v)
			}
		})
	}
}

func TestAResetBesideAnIncrementIsReadAsItWasWritten(t *testing.T) {
	p := crdt.Payload(beside(t, 1, "a:1", entry(5, 0), "d:1", crdt.Reset{saw("a:2", 6, 0), saw("c:9", 1, 1)}))
	const golden = "039201020006000003090001000193c4100700000000000000000000000000000002010209"
	if got := hex.EncodeToString(p); got != golden {
		t.Errorf("written as %s, want %s", got, golden)
	}
	if z, err := crdt.DecodeReset(p); err != nil || z.String() != "reset{a:2:+6-0 c:9:+1-1}" || p.Check(crdt.Counter) != nil {
		t.Errorf("reads %v, %v", z, err)
	}
	two, _ := tallyAt(t, rowOf(t, "a:4", crdt.Entry{P: crdt.TotalOf(7), Expires: 10}, "b:2", beside(t, 1, "a:1", entry(5, 0)), "e:2", beside(t, 2, "d:1", entry(9, 0))), 10).Lapse()
	const goldenOfTwo = "039201040007000004010009000093c410070000000000000000000000000000000201000193c4100700000000000000000000000000000003010100"
	if got := hex.EncodeToString(two); got != goldenOfTwo || two.Check(crdt.Counter) != nil {
		t.Errorf("of two operations: written as %s, want %s", got, goldenOfTwo)
	}
	for op, want := range map[int][]dvv.Dot{1: {dot("a:0"), dot("d:1")}, 2: {dot("a:1"), dot("d:0")}, 3: {dot("a:4"), dot("d:1")}} {
		if got, err := crdt.Foreign(two, operation(op)); err != nil || !slices.Equal(got, want) {
			t.Errorf("of two operations: to %d it is %v, %v, want %v", op, got, err, want)
		}
	}
	plain := crdt.Reset{saw("a:2", 6, 0)}.Payload()
	op := crdt.AppendOperation(nil, operation(1))
	for name, bad := range map[string]crdt.Payload{
		"cut":                          p[:len(p)-1],
		"with more behind it":          append(bytes.Clone(p), 0),
		"of no operation":              append(bytes.Clone(plain), 0x90, 0),
		"of nobody":                    append(crdt.Reset{}.Payload(), op...),
		"others' resets beyond itself": pack.AppendUint(append(bytes.Clone(plain), op...), 3),
		"of one operation twice":       append(append(bytes.Clone(p), op...), 2, 9),
	} {
		if err := bad.Check(crdt.Counter); err == nil {
			t.Errorf("a reset %s is taken", name)
		}
	}
}

func TestACounterIsPresentWhileItHoldsWhatNobodyTookBack(t *testing.T) {
	for _, c := range []struct {
		name string
		row  []any
		want bool
	}{
		{"nothing", nil, false},
		{"5 and -5", []any{"a:2", entry(5, 5)}, true},
		{"of two actors", []any{"a:1", entry(5, 0), "b:1", entry(0, 5)}, true},
		{"all of it reset", []any{"a:2", entry(5, 5), "b:1", crdt.Reset{saw("a:2", 5, 5)}}, false},
		{"an operation of which another copy was reset", []any{"a:1", entry(5, 0), "b:1", entry(5, 0), "b:2", void("b:1", "a:1", 1, 5), "c:1", crdt.Reset{saw("a:1", 5, 0)}}, false},
		{"and one that takes away", []any{"b:1", entry(0, 5), "b:2", void("b:1", "a:1", 1, -5), "c:1", crdt.Reset{saw("a:1", 0, 5)}}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := tally(t, rowOf(t, c.row...)).Present(); got != c.want {
				t.Errorf("present %t", got)
			}
		})
	}
}
