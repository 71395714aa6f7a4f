package server

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/crdt/pack"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica"
)

func counterPath(name string) string { return crdt.Path{Name: name, Kind: crdt.CounterField}.Encode() }

// component is what a reset saw of an actor that added 2 with each dot.
func component(actor dvv.Actor, seq uint64) crdt.Component {
	return crdt.Component{Actor: actor, Seq: seq, Entry: crdt.Entry{P: crdt.TotalOf(int64(2 * seq))}}
}

// contextsOfMaps are contexts by name, in the order of the golden file.
func contextsOfMaps() []struct {
	name string
	m    mapContext
} {
	var dots dvv.Clock
	dots.AddRange(7, 1, 3)
	dots.Add(dvv.Dot{Actor: 9, Seq: 5})
	apples := shownCounter{counterPath("apples"), crdt.Reset{component(7, 3), component(9, 5)}.Payload()}
	pears := shownCounter{counterPath("p\x00ars"), crdt.Reset{component(7, 2)}.Payload()}
	return []struct {
		name string
		m    mapContext
	}{
		{"nothing", mapContext{}},
		{"dots", mapContext{dots: dots}},
		{"a counter", mapContext{dots: dots, counters: []shownCounter{apples}}},
		{"two counters", mapContext{dots: dots, counters: []shownCounter{apples, pears}}},
	}
}

func TestTheContextOfAMapIsWrittenAsItAlwaysWas(t *testing.T) {
	var text strings.Builder
	for _, c := range contextsOfMaps() {
		b := c.m.binary()
		fmt.Fprintf(&text, "%s\n  %s\n", c.name, hex.EncodeToString(b))
		back, err := decodeMapContext(b)
		if err != nil || !bytes.Equal(back.binary(), b) || !back.dots.Equal(c.m.dots) || len(back.counters) != len(c.m.counters) {
			t.Errorf("%s came back as %+v, %v", c.name, back, err)
		}
	}
	file := filepath.Join("testdata", "map_context.golden")
	if flag.Lookup("update").Value.String() == "true" {
		if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	golden, err := os.ReadFile(file)
	if err != nil || text.String() != string(golden) {
		t.Errorf("got\n%s\n%v", text.String(), err)
	}
}

// brokenContexts are near what is written, and refused.
func brokenContexts() map[string][]byte {
	dots := pack.AppendBytes(nil, dvv.Clock{}.AppendBinary(nil))
	counters := func(n int, parts ...[]byte) []byte {
		return append(pack.AppendArray(bytes.Clone(dots), n), bytes.Join(parts, nil)...)
	}
	counter := func(path string, reset []byte) []byte { return pack.AppendBytes(pack.AppendString(nil, path), reset) }
	reset := crdt.Reset{component(7, 3)}.Payload()
	a, b := counter(counterPath("a"), reset), counter(counterPath("b"), reset)
	return map[string][]byte{
		"nothing at all":              nil,
		"dots that are none":          pack.AppendArray(pack.AppendBytes(nil, []byte{0xff}), 0),
		"dots alone":                  dots,
		"bytes left over":             append(counters(1, a), 0),
		"fewer counters than said":    counters(2, a),
		"counters out of order":       counters(2, b, a),
		"a counter twice":             counters(2, a, a),
		"a register":                  counters(1, counter(crdt.Path{Name: "a", Kind: crdt.RegisterField}.Encode(), reset)),
		"no path":                     counters(1, counter("a", reset)),
		"an entry instead of a reset": counters(1, counter(counterPath("a"), crdt.Entry{P: crdt.TotalOf(1)}.Payload())),
		"a reset that is cut":         counters(1, counter(counterPath("a"), reset[:len(reset)-1])),
		"no reset":                    counters(1, counter(counterPath("a"), nil)),
		"four billion counters":       append(bytes.Clone(dots), "\xdd\xff\xff\xff\xff"...),
		"four billion bytes":          []byte("\xc6\xff\xff\xff\xff"),
		"very many small counters":    counters(1<<10, bytes.Repeat([]byte{0xa0, 0xc4, 0}, 1<<10/3)),
	}
}

func TestWhatIsNoContextOfAMapIsRefusedAndAllocatesLittle(t *testing.T) {
	for name, b := range brokenContexts() {
		var err error
		if got := allocatedBy(func() { _, err = decodeMapContext(b) }); err == nil || got > 1<<20 {
			t.Errorf("%s: %v, %d bytes allocated", name, err, got)
		}
	}
}

func allocatedBy(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func FuzzDecodeMapContext(f *testing.F) {
	for _, c := range contextsOfMaps() {
		f.Add(c.m.binary())
	}
	for _, b := range brokenContexts() {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeMapContext(b)
		if err == nil && !bytes.Equal(m.binary(), b) {
			t.Errorf("%x is another spelling of %x", b, m.binary())
		}
		if err == nil {
			if err := m.join(m); err != nil {
				t.Errorf("%x joins not with itself: %v", b, err)
			}
		}
	})
}

func TestContextsOfMapsJoinToWhatEitherShowed(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		draw := func(what string) (m mapContext, seen map[string]uint64) {
			seen = map[string]uint64{}
			for i := range rapid.IntRange(0, 4).Draw(rt, what) {
				m.dots.Add(dvv.Dot{Actor: dvv.Actor(i), Seq: rapid.Uint64Range(1, 5).Draw(rt, "dot")})
			}
			for _, name := range []string{"a", "b", "c"} {
				var z crdt.Reset
				for actor := dvv.Actor(1); actor <= 3; actor++ {
					if seq := rapid.Uint64Range(0, 4).Draw(rt, "seq"); seq > 0 {
						z = append(z, component(actor, seq))
						seen[fmt.Sprint(name, actor)] = seq
					}
				}
				if len(z) > 0 {
					m.counters = append(m.counters, shownCounter{counterPath(name), z.Payload()})
				}
			}
			return m, seen
		}
		a, inA := draw("a")
		b, inB := draw("b")
		clone := func(m mapContext) mapContext {
			c, err := decodeMapContext(m.binary())
			if err != nil {
				rt.Fatal(err)
			}
			return c
		}
		ab, ba := clone(a), clone(b)
		for _, err := range []error{ab.join(b), ba.join(a), ab.join(b)} {
			if err != nil {
				rt.Fatal(err)
			}
		}
		if x, y := ab.binary(), ba.binary(); !bytes.Equal(x, y) {
			rt.Fatalf("%x one way round, %x the other", x, y)
		}
		if !ab.dots.Covers(a.dots) || !ab.dots.Covers(b.dots) {
			rt.Fatalf("%v and %v join to %v", a.dots, b.dots, ab.dots)
		}
		for _, name := range []string{"a", "b", "c"} {
			z := crdt.Reset{}
			if p := ab.reset(counterPath(name)); p != nil {
				z, _ = crdt.DecodeReset(p)
			}
			got := map[dvv.Actor]uint64{}
			for _, c := range z {
				got[c.Actor] = c.Seq
			}
			for actor := dvv.Actor(1); actor <= 3; actor++ {
				where := fmt.Sprint(name, actor)
				if want := max(inA[where], inB[where]); got[actor] != want {
					rt.Fatalf("of %s %d is shown, want %d", where, got[actor], want)
				}
			}
		}
	})
}

// A void that speaks of an increment which has not arrived stays when the counter is
// removed: that increment is still to be taken back.
func TestTheContextOfACounterLeavesOutTheVoidThatIsStillNeeded(t *testing.T) {
	dot := func(actor dvv.Actor, seq uint64) dvv.Dot { return dvv.Dot{Actor: actor, Seq: seq} }
	op := crdt.Operation{Client: [16]byte{1}, Seq: 1, Issued: 1}
	live := []crdt.Live{
		{Dot: dot(7, 3), Payload: crdt.Entry{P: crdt.TotalOf(6)}.Payload()},
		{Dot: dot(8, 1), Payload: crdt.Void{Voided: dot(7, 3), Winner: dot(7, 2), Op: op, Delta: 2}.Payload()},
		{Dot: dot(8, 2), Payload: crdt.Void{Voided: dot(9, 1), Winner: dot(7, 3), Op: op, Delta: 2}.Payload()},
	}
	pg := mapPage{}
	if err := pg.show(replica.Found{Field: counterPath("a"), Row: crdt.Row{Live: live}}); err != nil {
		t.Fatal(err)
	}
	if want := dvv.ClockOf(dot(7, 3), dot(8, 1)); !pg.shown.dots.Equal(want) {
		t.Errorf("it covers %v, want %v", pg.shown.dots, want)
	}
	if want := (crdt.Reset{component(7, 3)}).Payload(); !pg.shown.reset(counterPath("a")).Equal(want) {
		t.Errorf("it takes back %v, want %v", pg.shown.reset(counterPath("a")), want)
	}
}

func TestAPageOfAMapEndsBeforeItsContextOutgrowsAToken(t *testing.T) {
	sealer, err := dvv.NewSealer([]byte("sixteen bytes and more"))
	if err != nil {
		t.Fatal(err)
	}
	entry := func(n uint64) crdt.Payload {
		return crdt.Entry{P: crdt.Total{Hi: n >> 1, Lo: n}, N: crdt.Total{Hi: n >> 1, Lo: n}}.Payload()
	}
	for _, test := range []struct {
		name    string
		path    func(i int) crdt.Path
		live    func(i int) []crdt.Live
		atLeast int
	}{
		{"registers side by side fill it", func(i int) crdt.Path { return crdt.Path{Name: fmt.Sprintf("%06d", i), Kind: crdt.RegisterField} }, func(i int) []crdt.Live {
			return []crdt.Live{{Dot: dvv.Dot{Actor: 1, Seq: uint64(i + 1)}, Payload: crdt.Assign{Stamp: 1}.Payload()}}
		}, replica.MaxRows},
		{"members each of an actor end it", func(i int) crdt.Path {
			return crdt.Path{Name: "s", Kind: crdt.SetField, Member: fmt.Sprintf("%06d", i)}
		}, func(i int) []crdt.Live {
			return []crdt.Live{{Dot: dvv.Dot{Actor: dvv.Actor(i + 1), Seq: 1 << 63}, Payload: crdt.Member{Stamp: 1}.Payload()}}
		}, 1000},
		{"counters of one actor side by side end it late", func(i int) crdt.Path { return crdt.Path{Name: fmt.Sprintf("%06d", i), Kind: crdt.CounterField} }, func(i int) []crdt.Live {
			return []crdt.Live{{Dot: dvv.Dot{Actor: 1, Seq: uint64(i + 1)}, Payload: entry(3)}}
		}, 900},
		{"counters of three actors, with the largest numbers", func(i int) crdt.Path { return crdt.Path{Name: fmt.Sprintf("%06d", i), Kind: crdt.CounterField} }, func(i int) []crdt.Live {
			var live []crdt.Live
			for a := range 3 {
				live = append(live, crdt.Live{Dot: dvv.Dot{Actor: dvv.Actor(1<<63 + uint64(a)), Seq: 1<<63 + uint64(i)}, Payload: entry(1 << 62)})
			}
			return live
		}, 100},
		{"names and members as long as they may be", func(i int) crdt.Path {
			return crdt.Path{Name: fmt.Sprintf("%06d", i) + strings.Repeat("\x00", 1018), Kind: crdt.CounterField}
		}, func(i int) []crdt.Live {
			return []crdt.Live{{Dot: dvv.Dot{Actor: dvv.Actor(i + 1), Seq: 1}, Payload: entry(1)}}
		}, 20},
	} {
		t.Run(test.name, func(t *testing.T) {
			pg := mapPage{wanted: replica.MaxRows}
			for i := 0; pg.rows < pg.wanted; i++ {
				f := replica.Found{Field: test.path(i).Encode(), Row: crdt.Row{Live: test.live(i)}}
				if pg.full(f) {
					break
				}
				if err := pg.show(f); err != nil {
					t.Fatal(err)
				}
			}
			token := pg.shown.binary()
			if _, err := sealer.Seal(dvv.Scope{}, token); err != nil {
				t.Errorf("a page of %d rows: %v", pg.rows, err)
			}
			if pg.rows < test.atLeast {
				t.Errorf("%d rows and %d bytes, want at least %d rows", pg.rows, len(token), test.atLeast)
			}
		})
	}
}

// What one token does not hold goes into several, and they come to the same.
func TestALargeContextOfAMapIsOneOfSeveralTokens(t *testing.T) {
	var m mapContext
	for i := range 4096 {
		actor := dvv.Actor(1<<60 + uint64(i)*7919)
		m.dots.Add(dvv.Dot{Actor: actor, Seq: 1 << 40})
		m.counters = append(m.counters, shownCounter{
			path:  crdt.Path{Name: fmt.Sprintf("product-%06d", i), Kind: crdt.CounterField}.Encode(),
			reset: crdt.Reset{{Actor: actor, Seq: 1 << 40, Entry: crdt.Entry{P: crdt.TotalOf(1 << 40)}}}.Payload(),
		})
	}
	parts := m.parts()
	var all mapContext
	for _, p := range parts {
		if n := len(p.binary()); n > dvv.MaxTokenPayload {
			t.Errorf("a part of %d bytes, limit %d", n, dvv.MaxTokenPayload)
		}
		if err := all.join(p); err != nil {
			t.Fatal(err)
		}
	}
	if len(parts) < 2 || len(parts) > maxContexts || !bytes.Equal(all.binary(), m.binary()) {
		t.Errorf("%d parts, which together are the whole: %t", len(parts), bytes.Equal(all.binary(), m.binary()))
	}
	if parts := (mapContext{}).parts(); len(parts) != 1 {
		t.Errorf("nothing has %d parts, want one", len(parts))
	}
}
