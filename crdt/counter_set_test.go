package crdt_test

import (
	"bytes"
	"encoding/hex"
	"testing"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/crdt/pack"
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

// What has expired is taken back by a reset that carries on earlier ones, but for
// those that stand beside an increment: of their own operation's copies it would say
// that somebody else took them back.
func TestARemovalOfWhatExpiredLeavesAResetBesideAnIncrement(t *testing.T) {
	gone := crdt.Entry{P: crdt.TotalOf(8), Expires: 10}
	row := rowOf(t, "b:1", entry(5, 0), "b:2", beside(t, 1, "a:1", entry(5, 0)), "c:1", void("b:1", "a:1", 1, 5), "d:1", gone, "d:2", crdt.Reset{saw("e:1", 1, 0)})
	z, kills := tallyAt(t, row, 10).Lapse()
	if got := z.String(); got != "reset{d:1:+8-0 e:1:+1-0}" {
		t.Errorf("puts %s", got)
	}
	for _, d := range kills {
		if d != dot("d:1") && d != dot("d:2") {
			t.Errorf("kills %v", d)
		}
	}
	if v, _ := tallyAt(t, row, 10).Value(); v != 5 {
		t.Errorf("reads %d, want 5", v)
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
	plain := crdt.Reset{saw("a:2", 6, 0)}.Payload()
	op := crdt.AppendOperation(nil, operation(1))
	for name, bad := range map[string]crdt.Payload{
		"cut":                          p[:len(p)-1],
		"with more behind it":          append(bytes.Clone(p), 0),
		"of no operation":              append(bytes.Clone(plain), 0x90, 0),
		"of nobody":                    append(crdt.Reset{}.Payload(), op...),
		"others' resets beyond itself": pack.AppendUint(append(bytes.Clone(plain), op...), 3),
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
