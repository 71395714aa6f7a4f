package crdt_test

import (
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/cartwheel-db/cartwheel/crdt"
)

func TestReadingAMember(t *testing.T) {
	add := func(stamp crdt.Stamp, expires int64, note string) crdt.Member {
		m := crdt.Member{Stamp: stamp, Expires: expires}
		if note != "" {
			m.Note = []byte(note)
		}
		return m
	}
	for _, c := range []struct {
		name    string
		row     []any
		note    string
		expires int64
	}{
		{"one add", []any{"a:1", add(1, 100, "x")}, "x", 100},
		{"the note of the later stamp", []any{"a:1", add(9, 0, "x"), "b:1", add(1, 0, "y")}, "x", 0},
		{"of equal stamps that of the higher actor", []any{"a:1", add(9, 0, "x"), "b:1", add(9, 0, "y")}, "y", 0},
		{"a later add without a note has no note", []any{"a:1", add(1, 0, "x"), "b:1", add(9, 0, "")}, "", 0},
		{"the later expiry, whoever wrote last", []any{"a:1", add(9, 100, "x"), "b:1", add(1, 200, "y")}, "x", 200},
		{"the later expiry of the later write", []any{"a:1", add(1, 100, "x"), "b:1", add(9, 200, "y")}, "y", 200},
		{"never is later than any time", []any{"a:1", add(9, 100, "x"), "b:1", add(1, 0, "y")}, "x", 0},
		{"and stays so", []any{"a:1", add(9, 0, "x"), "b:1", add(1, 100, "y"), "c:1", add(2, 200, "z")}, "x", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, ok, err := rowOf(t, c.row...).Member()
			if err != nil || !ok || string(m.Note) != c.note || m.Expires != c.expires {
				t.Errorf("reads note %q until %d, %t, %v; want %q until %d", m.Note, m.Expires, ok, err, c.note, c.expires)
			}
		})
	}
	if _, ok, err := row("/ a:1").Member(); ok || err != nil {
		t.Errorf("a member with nothing live is in the set: %v", err)
	}
	if _, _, err := rowOf(t, "a:1", entry(1, 0)).Member(); err == nil || !strings.Contains(err.Error(), "member under a:1") {
		t.Errorf("a counter was read as a member: %v", err)
	}
}

func TestAMemberExpiresAtItsTimeAndNotBefore(t *testing.T) {
	for _, c := range []struct {
		expires, now int64
		want         bool
	}{{0, math.MaxInt64, false}, {100, 99, false}, {100, 100, true}, {100, 101, true}} {
		if got := (crdt.Member{Expires: c.expires}).Expired(c.now); got != c.want {
			t.Errorf("until %d, at %d: expired %t", c.expires, c.now, got)
		}
	}
}

func TestReadingARegister(t *testing.T) {
	at := func(stamp crdt.Stamp, v string) crdt.Assign { return crdt.Assign{Stamp: stamp, Value: []byte(v)} }
	for _, c := range []struct {
		name string
		row  []any
		want string // the winner, then those that lost
	}{
		{"nothing", nil, ""},
		{"the latest stamp wins", []any{"a:1", at(2, "x"), "b:1", at(9, "y"), "c:1", at(5, "z")}, "y@b:1 z@c:1 x@a:1"},
		{"of equal stamps the higher actor", []any{"a:1", at(9, "z"), "b:1", at(9, "y"), "c:1", at(9, "x")}, "x@c:1 y@b:1 z@a:1"},
		{"of one actor the later dot", []any{"a:1", at(9, "z"), "a:2", at(9, "y")}, "y@a:2 z@a:1"},
		{"of one dot the larger value", []any{"a:1", at(9, "y"), "a:1", at(9, "z")}, "z@a:1 y@a:1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			writes, err := rowOf(t, c.row...).Register()
			var got []string
			for _, w := range writes {
				got = append(got, string(w.Value)+"@"+w.Dot.String())
			}
			if err != nil || strings.Join(got, " ") != c.want {
				t.Errorf("reads %v, %v; want %s", got, err, c.want)
			}
		})
	}
	if _, err := rowOf(t, "a:1", entry(1, 0)).Register(); err == nil || !strings.Contains(err.Error(), "register under a:1") {
		t.Errorf("a counter was read as a register: %v", err)
	}
}

func TestReadingABlob(t *testing.T) {
	by := func(op int, v string) crdt.BlobValue {
		b := crdt.BlobValue{Value: []byte(v)}
		if op > 0 {
			b.Op = operation(op)
		}
		return b
	}
	for _, c := range []struct {
		name string
		row  []any
		want string
	}{
		{"nothing", nil, ""},
		{"siblings by dot", []any{"b:1", by(1, "y"), "a:1", by(2, "x")}, "x@a:1 y@b:1"},
		{"one put that two coordinators took is one sibling", []any{"a:1", by(1, "x"), "b:1", by(1, "x")}, "x@a:1"},
		{"and three", []any{"a:1", by(1, "x"), "b:1", by(2, "x"), "c:1", by(1, "x"), "d:1", by(2, "x")}, "x@a:1 x@b:1"},
		{"two clients that wrote the same are two", []any{"a:1", by(1, "x"), "b:1", by(2, "x")}, "x@a:1 x@b:1"},
		{"writes without an id are never the same", []any{"a:1", by(0, "x"), "b:1", by(0, "x")}, "x@a:1 x@b:1"},
		{"an id reused for another value is another write", []any{"a:1", by(1, "x"), "b:1", by(1, "y")}, "x@a:1 y@b:1"},
		{"rule 8: both payloads of one dot", []any{"a:1", by(1, "x"), "a:1", by(1, "y")}, "x@a:1 y@a:1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			siblings, err := rowOf(t, c.row...).Siblings()
			var got []string
			for _, s := range siblings {
				got = append(got, string(s.Value)+"@"+s.Dot.String())
			}
			if err != nil || strings.Join(got, " ") != c.want {
				t.Errorf("reads %v, %v; want %s", got, err, c.want)
			}
		})
	}
	if _, err := rowOf(t, "a:1", entry(1, 0)).Siblings(); err == nil || !strings.Contains(err.Error(), "blob under a:1") {
		t.Errorf("a counter was read as a blob: %v", err)
	}
}

func TestTheContextOfABlobCoversTheSiblingsThatAreNotShown(t *testing.T) {
	r := rowOf(t, "a:1", crdt.BlobValue{Op: operation(1)}, "b:1", crdt.BlobValue{Op: operation(1)})
	if got := r.Dots(); len(got) != 2 {
		t.Errorf("the context is %v", got)
	}
}

func TestStampsFollowOneAnotherWhateverTheClockSays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		millis := rapid.Int64Range(0, 1<<47)
		s := crdt.StampAt(millis.Draw(t, "at")) + crdt.Stamp(rapid.Uint64Range(0, 1<<17).Draw(t, "logical"))
		now := millis.Draw(t, "now")
		next := s.Next(now)
		if next <= s {
			t.Fatalf("%v is followed by %v", s, next)
		}
		if next.Millis() < now {
			t.Fatalf("%v at %d is behind the clock", next, now)
		}
		if next > s+1 && next != crdt.StampAt(now) {
			t.Fatalf("%v leapt from %v at %d", next, s, now)
		}
		if ahead := s.Ahead(now); ahead < 0 || ahead > 0 && s.Millis() != now+ahead || ahead == 0 && s.Millis() > now {
			t.Fatalf("%v is %d ms ahead of %d", s, ahead, now)
		}
		if crdt.StampAt(now).Millis() != now {
			t.Fatalf("stamp at %d reads %d", now, crdt.StampAt(now).Millis())
		}
	})
	if got := crdt.StampAt(1700000000123).Next(5).String(); got != "1700000000123.1" {
		t.Errorf("a stamp prints as %s", got)
	}
}
