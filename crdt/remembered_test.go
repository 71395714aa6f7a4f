package crdt_test

import (
	"cmp"
	"fmt"
	"slices"
	"testing"

	"github.com/cartwheel-db/cartwheel/crdt"
)

// applied is the group of an operation that was applied at the dot.
func applied(at string, op int, delta int64) crdt.Group {
	e := crdt.Event{Row: hits, Payload: entry(1, 0).Payload(), Delta: delta}
	if delta == 0 {
		e = crdt.Event{Row: crdt.Key{Type: crdt.Blob, Bucket: "b", Name: "k"}.Row(), Payload: put("x")}
	}
	return crdt.Group{Actor: dot(at).Actor, First: dot(at).Seq, Op: operation(op), Sum: 77, Answer: 9, Events: []crdt.Event{e}}
}

func TestOperationsAreOrderedByClientSequenceAndTime(t *testing.T) {
	inOrder := []crdt.Operation{
		{}, {Issued: 1}, {Seq: 1}, {Seq: 1, Issued: 5}, {Seq: 2},
		{Client: [16]byte{15: 1}}, {Client: [16]byte{15: 1}, Seq: 9}, {Client: [16]byte{1}}, {Client: [16]byte{0xff}},
	}
	for i, a := range inOrder {
		for j, b := range inOrder {
			if got := a.Compare(b); got != cmp.Compare(i, j) {
				t.Errorf("%v and %v compare as %d", a, b, got)
			}
		}
		if a.IsZero() != (i == 0) {
			t.Errorf("%v is none: %t", a, a.IsZero())
		}
	}
}

func TestEachIncrementOfAnOperationIsVoidedInItsOwnRow(t *testing.T) {
	apples, pears := cart.At(crdt.Path{Name: "apples", Kind: crdt.CounterField}), cart.At(crdt.Path{Name: "pears", Kind: crdt.CounterField})
	note := cart.At(crdt.Path{Name: "note", Kind: crdt.RegisterField})
	copied := func(at string, rest ...crdt.Event) *crdt.Group {
		return &crdt.Group{Actor: dot(at).Actor, First: dot(at).Seq, Op: operation(1), Events: append([]crdt.Event{
			{Row: apples, Payload: entry(1, 0).Payload(), Delta: 1}, {Row: pears, Payload: entry(0, 2).Payload(), Delta: -2},
		}, rest...)}
	}
	var m crdt.Remembered
	m.Record(copied("b:7", crdt.Event{Row: note, Payload: crdt.Assign{}.Payload()}), 100)
	voids := m.Record(copied("c:4"), 100) // its other event had nothing to remove
	if !slices.Equal(voids, dots("c:4")) {
		t.Fatalf("voids %v, want c:4", voids)
	}
	var got []string
	for _, e := range m.Void(voids[0]) {
		v, err := crdt.DecodeVoid(e.Payload)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%v: %v for %v of %+d", e.Row, v.Voided, v.Winner, v.Delta))
	}
	want := []string{"map carts/42 counter apples: c:4 for b:7 of +1", "map carts/42 counter pears: c:5 for b:8 of -2"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

func TestWhatIsVoidedAsGroupsArrive(t *testing.T) {
	elsewhere := applied("b:1", 1, 5)
	elsewhere.Events[0].Row.Name = "misses"
	for _, c := range []struct {
		name   string
		groups []crdt.Group
		voids  []string // after each group
		dots   string   // remembered in the end
	}{
		{"a first application", []crdt.Group{applied("b:1", 1, 5)}, []string{""}, "b:1"},
		{"the same group again", []crdt.Group{applied("b:1", 1, 5), applied("b:1", 1, 5)}, []string{"", ""}, "b:1"},
		{"a second with a larger dot", []crdt.Group{applied("b:1", 1, 5), applied("c:1", 1, 5)}, []string{"", "c:1"}, "b:1 c:1"},
		{"a second with a smaller dot", []crdt.Group{applied("b:1", 1, 5), applied("a:1", 1, 5)}, []string{"", "b:1"}, "a:1 b:1"},
		{"three, largest first", []crdt.Group{applied("c:1", 1, 5), applied("b:1", 1, 5), applied("a:1", 1, 5)}, []string{"", "c:1", "b:1"}, "a:1 b:1 c:1"},
		{"three, middle last", []crdt.Group{applied("c:1", 1, 5), applied("a:1", 1, 5), applied("b:1", 1, 5)}, []string{"", "c:1", "b:1"}, "a:1 b:1 c:1"},
		{"what is no increment needs no void", []crdt.Group{applied("b:1", 1, 0), applied("a:1", 1, 0)}, []string{"", ""}, "a:1 b:1"},
		// A client that uses one id for two things. Neither is a copy of the other.
		{"another amount under the same id", []crdt.Group{applied("b:1", 1, 5), applied("c:1", 1, 7), applied("d:1", 1, 5)}, []string{"", "", "d:1"}, "b:1 d:1"},
		{"another counter under the same id", []crdt.Group{applied("a:1", 1, 5), elsewhere}, []string{"", ""}, "a:1"},
		{"a put under the id of an increment", []crdt.Group{applied("b:1", 1, 5), applied("a:1", 1, 0), applied("c:1", 1, 5)}, []string{"", "", "c:1"}, "b:1 c:1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var m crdt.Remembered
			for i := range c.groups {
				got := m.Record(&c.groups[i], int64(100+i))
				if !slices.Equal(got, dots(c.voids[i])) {
					t.Errorf("after %v: voids %v, want %s", c.groups[i].Dot(0), got, c.voids[i])
				}
				for _, d := range got {
					events := m.Void(d)
					v, err := crdt.DecodeVoid(events[0].Payload)
					if err != nil || len(events) != 1 || events[0].Row != hits || v.Voided != d || v.Winner != m.Dots[0] || v.Op != m.Op || v.Delta != 5 {
						t.Errorf("the void of %v is %v", d, events)
					}
				}
			}
			if !slices.Equal(m.Dots, dots(c.dots)) {
				t.Errorf("remembers %v, want %s", m.Dots, c.dots)
			}
			if m.Seen != 100 || m.Answer != 9 || m.Sum != 77 || m.Op != operation(1) || m.Events != 1 {
				t.Errorf("the first application is not what is remembered: %+v", m)
			}
		})
	}
}

func remember(groups ...crdt.Group) *crdt.Remembered {
	m := &crdt.Remembered{}
	for i := range groups {
		for _, d := range m.Record(&groups[i], 100) {
			m.Void(d)
		}
	}
	return m
}

func TestWhatIsVoidedWhenMemoriesJoin(t *testing.T) {
	for _, c := range []struct {
		name         string
		mine, theirs *crdt.Remembered
		voids        string
		dots, voided string
	}{
		{"nothing remembered here", remember(), remember(applied("b:1", 1, 5), applied("c:1", 1, 5)), "", "b:1 c:1", "c:1"},
		{"the same on both sides", remember(applied("b:1", 1, 5)), remember(applied("b:1", 1, 5)), "", "b:1", ""},
		{"one copy on each side", remember(applied("b:1", 1, 5)), remember(applied("c:1", 1, 5)), "c:1", "b:1 c:1", ""},
		{"one copy on each side, theirs smaller", remember(applied("b:1", 1, 5)), remember(applied("a:1", 1, 5)), "b:1", "a:1 b:1", ""},
		{"they voided already", remember(applied("b:1", 1, 5)), remember(applied("a:1", 1, 5), applied("b:1", 1, 5)), "", "a:1 b:1", "b:1"},
		{"voids of both sides", remember(applied("a:1", 1, 5), applied("c:1", 1, 5)), remember(applied("b:1", 1, 5), applied("d:1", 1, 5)), "b:1", "a:1 b:1 c:1 d:1", "c:1 d:1"},
		{"no increments", remember(applied("b:1", 1, 0)), remember(applied("a:1", 1, 0)), "", "a:1 b:1", ""},
		{"another amount under the same id", remember(applied("b:1", 1, 5)), remember(applied("a:1", 1, 7)), "", "b:1", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			theirs := c.theirs.String()
			got := c.mine.Join(*c.theirs)
			if !slices.Equal(got, dots(c.voids)) || !slices.Equal(c.mine.Dots, dots(c.dots)) || !slices.Equal(c.mine.Voided, dots(c.voided)) {
				t.Errorf("voids %v, remembers %v; want %s, dots %s voided %s", got, c.mine, c.voids, c.dots, c.voided)
			}
			for _, d := range got {
				c.mine.Void(d)
			}
			if again := c.mine.Join(*c.theirs); len(again) > 0 {
				t.Errorf("joining again voids %v", again)
			}
			if c.theirs.String() != theirs {
				t.Errorf("joining changed the other memory to %v", c.theirs)
			}
		})
	}
}
