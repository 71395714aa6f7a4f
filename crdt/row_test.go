package crdt_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
)

// put is a payload to tell rows apart by.
func put(value string) crdt.Payload { return crdt.BlobValue{Value: []byte(value)}.Payload() }

// row reads "a:1=milk b:2=eggs / c:3": live payloads, then deferred dots.
func row(s string) crdt.Row {
	var r crdt.Row
	live := true
	for _, f := range bytes.Fields([]byte(s)) {
		d, value, has := bytes.Cut(f, []byte("="))
		switch {
		case string(f) == "/":
			live = false
		case live && has:
			r.Live = append(r.Live, crdt.Live{Dot: dot(string(d)), Payload: put(string(value))})
		default:
			r.Deferred = append(r.Deferred, dot(string(f)))
		}
	}
	return r
}

func TestApplyingAnEventToARow(t *testing.T) {
	for _, c := range []struct {
		name                    string
		before, dot, kills, put string
		seen, dead              string // seen holds the dot already
		after                   string
		deferred                int
		stillborn               bool
	}{
		{"a first payload", "", "a:1", "", "milk", "a:1", "", "a:1=milk", 0, false},
		{"a second payload stands beside it", "a:1=milk", "b:1", "", "eggs", "a:1 b:1", "", "a:1=milk b:1=eggs", 0, false},
		{"and before it, if its dot is smaller", "b:1=eggs", "a:1", "", "milk", "a:1 b:1", "", "a:1=milk b:1=eggs", 0, false},
		{"an overwrite", "a:1=milk", "a:2", "a:1", "eggs", "a:2", "", "a:2=eggs", 0, false},
		{"a removal", "a:1=milk b:1=eggs", "a:2", "a:1", "", "a:2 b:1", "", "b:1=eggs", 0, false},
		{"a removal of what was removed", "b:1=eggs", "a:2", "a:1", "", "a:2 b:1", "", "b:1=eggs", 0, false},
		{"a removal before its add is deferred", "", "a:2", "a:1", "", "+a:2", "", "/ a:1", 1, false},
		{"deferring twice is deferring once", "/ a:1", "b:1", "a:1 c:1", "", "+a:2 b:1", "", "/ a:1 c:1", 1, false},
		{"an add after its removal is dead on arrival", "/ a:1 c:1", "a:1", "", "milk", "a:2", "", "/ c:1", 0, true},
		{"a killed event still kills", "b:1=eggs / a:1", "a:1", "b:1", "milk", "a:2 b:1", "", "", 0, true},
		{"a removal that was itself named settles that", "/ a:1", "a:1", "", "", "a:2", "", "", 0, false},
		{"a clear of the key that came first", "b:1=eggs", "a:1", "", "milk", "a:2 b:1", "a:1", "b:1=eggs", 0, true},
		{"an add that a clear of the key did not reach", "", "a:2", "", "milk", "a:2", "a:1", "a:2=milk", 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := row(c.before)
			var p crdt.Payload
			if c.put != "" {
				p = put(c.put)
			}
			deferred, stillborn := r.Apply(dot(c.dot), dots(c.kills), p, clock(c.seen), clock(c.dead))
			if !r.Equal(row(c.after)) || deferred != c.deferred || stillborn != c.stillborn {
				t.Errorf("%v, deferred %d, stillborn %t; want %v, %d, %t", r, deferred, stillborn, row(c.after), c.deferred, c.stillborn)
			}
		})
	}
}

func TestJoiningRows(t *testing.T) {
	for _, c := range []struct {
		name             string
		a, aClock, aDead string
		b, bClock, bDead string
		joined, bothDead string
		collisions       int
	}{
		{"nothing and nothing", "", "", "", "", "", "", "", "", 0},
		{"both have it", "a:1=milk", "a:1", "", "a:1=milk", "a:1 b:1", "", "a:1=milk", "", 0},
		{"the other never saw it", "a:1=milk", "a:1", "", "", "b:1", "", "a:1=milk", "", 0},
		{"the other saw it die", "a:1=milk", "a:1", "", "", "a:2", "", "", "", 0},
		{"the other has its removal and not it", "a:1=milk", "a:1", "", "/ a:1", "+a:2", "", "", "", 0},
		{"the other has a clear and not it", "a:1=milk", "a:1", "", "", "+a:2", "a:1", "", "", 0},
		{"siblings that never met", "a:1=milk", "a:1", "", "b:1=eggs", "b:1", "", "a:1=milk b:1=eggs", "", 0},
		{"each removed the other's", "a:1=milk", "a:1 +b:1 +a:5", "", "b:1=eggs", "a:1 b:1 +b:5", "", "", "", 0},
		{"each overwrote the same", "a:2=milk", "a:2", "", "b:1=eggs", "a:1 b:1", "", "a:2=milk b:1=eggs", "", 0},
		{"what neither saw stays deferred", "/ c:1", "a:1", "", "/ d:1", "b:1", "", "/ c:1 d:1", "", 0},
		{"what either saw is settled", "/ b:1", "a:1", "", "", "b:1", "", "", "", 0},
		{"clears that neither saw the end of", "", "a:1", "c:1", "", "b:1", "d:1", "", "+c:1 +d:1", 0},
		{"a clear that the other saw the end of", "", "a:1", "b:1", "", "b:1", "", "", "", 0},
		{"rule 8: one dot, two payloads", "a:1=milk", "a:1", "", "a:1=eggs", "a:1", "", "a:1=eggs a:1=milk", "", 1},
		{"rule 8: three payloads in all", "a:1=eggs a:1=milk", "a:1", "", "a:1=tea", "a:1", "", "a:1=tea a:1=eggs a:1=milk", "", 1},
		{"rule 8: nothing new", "a:1=eggs a:1=milk", "a:1", "", "a:1=milk", "a:1", "", "a:1=eggs a:1=milk", "", 0},
		{"rule 8: both die", "a:1=eggs a:1=milk", "a:1", "", "", "a:2", "", "", "", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := crdt.Side{Row: row(c.a), Clock: clock(c.aClock), Dead: clock(c.aDead)}
			b := crdt.Side{Row: row(c.b), Clock: clock(c.bClock), Dead: clock(c.bDead)}
			both := clock(c.aClock)
			both.Join(clock(c.bClock))
			for _, order := range [][2]crdt.Side{{a, b}, {b, a}} {
				got, collisions := crdt.JoinSides(order[0], order[1])
				want := row(c.joined)
				slices.SortFunc(want.Live, func(x, y crdt.Live) int {
					if n := x.Dot.Compare(y.Dot); n != 0 {
						return n
					}
					return bytes.Compare(x.Payload, y.Payload)
				})
				if !got.Row.Equal(want) || collisions != c.collisions || !got.Clock.Equal(both) || !got.Dead.Equal(clock(c.bothDead)) {
					t.Errorf("%v under %v dead %v, %d collisions; want %v under %v dead %v, %d",
						got.Row, got.Clock, got.Dead, collisions, want, both, clock(c.bothDead), c.collisions)
				}
			}
		})
	}
}

// Rule 8 in every merge order: what three replicas hold under one dot.
func TestOneDotWithDifferentBytesReadsTheSameInEveryMergeOrder(t *testing.T) {
	member := func(stamp crdt.Stamp, note string) crdt.Payload {
		return crdt.Member{Stamp: stamp, Note: []byte(note)}.Payload()
	}
	for _, c := range []struct {
		name     string
		payloads [3]crdt.Payload
		read     func(crdt.Row) string
		want     string
	}{
		{"a blob shows all", [3]crdt.Payload{put("x"), put("y"), put("z")}, func(r crdt.Row) string {
			var out []byte
			siblings, err := r.Siblings()
			for _, s := range siblings {
				out = append(out, s.Value...)
			}
			if err != nil {
				return err.Error()
			}
			return string(out)
		}, "xyz"},
		{"a counter reads the largest", [3]crdt.Payload{entry(5, 0).Payload(), entry(8, 1).Payload(), entry(7, 0).Payload()}, func(r crdt.Row) string {
			tl, err := r.Tally()
			if err != nil {
				return err.Error()
			}
			return tl.Exact().String()
		}, "7"},
		{"a register reads the latest, or the largest", [3]crdt.Payload{crdt.Assign{Stamp: 1, Value: []byte("x")}.Payload(),
			crdt.Assign{Stamp: 2, Value: []byte("y")}.Payload(), crdt.Assign{Stamp: 2, Value: []byte("z")}.Payload()}, func(r crdt.Row) string {
			w, err := r.Register()
			if err != nil || len(w) != 3 {
				return "not three writes"
			}
			return string(w[0].Value)
		}, "z"},
		{"a member reads the latest note, or the largest", [3]crdt.Payload{member(1, "x"), member(2, "y"), member(2, "z")}, func(r crdt.Row) string {
			m, _, err := r.Member()
			if err != nil {
				return err.Error()
			}
			return string(m.Note)
		}, "z"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var first []byte
			for _, order := range [][3]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}} {
				seen := clock("a:1")
				joined, arrived := crdt.Side{}, crdt.Row{}
				for i, at := range order {
					p := c.payloads[at]
					joined, _ = crdt.JoinSides(joined, crdt.Side{Row: crdt.Row{Live: []crdt.Live{{Dot: dot("a:1"), Payload: p}}}, Clock: seen})
					if i == 0 {
						arrived.Apply(dot("a:1"), nil, p, seen, dvv.Clock{})
					} else if !arrived.Collide(dot("a:1"), p) || arrived.Collide(dot("a:1"), p) {
						t.Errorf("a payload collides once: %v", arrived)
					}
				}
				b := crdt.AppendRow(nil, joined.Row)
				if first == nil {
					first = b
				}
				if !bytes.Equal(b, first) || !arrived.Equal(joined.Row) {
					t.Errorf("order %v joins to %v and arrives to %v", order, joined.Row, arrived)
				}
				if got := c.read(joined.Row); got != c.want {
					t.Errorf("order %v reads %q, want %q", order, got, c.want)
				}
			}
		})
	}
}

func TestAPayloadUnderADotThatDiedIsNotKept(t *testing.T) {
	r := row("b:1=eggs")
	if r.Collide(dot("a:1"), put("milk")) || !r.Equal(row("b:1=eggs")) {
		t.Errorf("a dead dot came back: %v", r)
	}
}

func TestClearingAndForgetting(t *testing.T) {
	r := row("a:1=milk b:2=eggs / c:1 c:2")
	if !r.Clear(clock("a:1 b:1")) || r.Clear(clock("a:1 b:1")) || !r.Equal(row("b:2=eggs / c:1 c:2")) {
		t.Errorf("after the clear: %v", r)
	}
	if !r.Forget(clock("c:1")) || r.Forget(clock("c:1")) || !r.Equal(row("b:2=eggs / c:2")) {
		t.Errorf("after forgetting: %v", r)
	}
}

func TestACloneSharesNoListWithItsRow(t *testing.T) {
	r := row("a:1=milk b:1=eggs / c:1")
	c := r.Clone()
	c.Apply(dot("d:1"), dots("a:1 c:5"), nil, clock("a:1 b:1 d:1"), dvv.Clock{})
	if want := row("a:1=milk b:1=eggs / c:1"); !r.Equal(want) {
		t.Errorf("changing the copy made the row %v", r)
	}
	if got := r.String(); got != `live{a:1 "milk" b:1 "eggs"} deferred[c:1]` {
		t.Errorf("a row prints as %s", got)
	}
}
