package crdt_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/crdt/crdttest"
	"github.com/cartwheel-db/cartwheel/dvv"
)

// The stories are told in a few words:
//
//	add x@A  rem x@A  clear@A      sets; a removal kills what A shows
//	inc 5@A  reset@A               counters
//	set v@A:7  del@A               registers; at 7 ms by A's clock
//	put v@A  del@A                 blobs
//	shown k=A                      k becomes the context of what A shows
//	rem x@B/k  put v@B/k           the same with the context k
//	A>B                            B takes over what A knows, by join
//
// A, B, C are replicas that coordinate as the actors a, b, c; lower-case names
// are saved copies. A story must come out alike when B receives events instead
// of joining rows, and that is checked at every step.
type stage struct {
	*testing.T
	key      crdt.Key
	players  map[string]*player
	contexts map[string]dvv.Clock
}

type player struct {
	*crdttest.Replica
	actor  dvv.Actor
	seq    uint64
	stamp  crdt.Stamp
	groups []crdt.Group
}

func tell(t *testing.T, kind crdt.Type, story string) *stage {
	t.Helper()
	s := &stage{T: t, key: crdt.Key{Type: kind, Bucket: "b", Name: "k"}, players: map[string]*player{}, contexts: map[string]dvv.Clock{}}
	for _, step := range strings.Split(story, ",") {
		s.step(strings.TrimSpace(step))
	}
	return s
}

func (s *stage) player(name string) *player {
	if s.players[name] == nil {
		s.players[name] = &player{Replica: crdttest.NewReplica(), actor: dvv.Actor(name[0]&31) + dvv.Actor(len(name)-1)*26}
	}
	return s.players[name]
}

func (s *stage) step(step string) {
	s.Helper()
	if from, to, ok := strings.Cut(step, ">"); ok {
		s.merge(s.player(to), s.player(from))
		return
	}
	if rest, ok := strings.CutPrefix(step, "shown "); ok {
		name, at, _ := strings.Cut(rest, "=")
		s.contexts[name] = s.player(at).Shown(s.key)
		return
	}
	what, at, ok := strings.Cut(step, "@")
	if !ok {
		s.Fatalf("no such step: %q", step)
	}
	at, wall, _ := strings.Cut(at, ":")
	at, context, with := strings.Cut(at, "/")
	p := s.player(at)
	millis, _ := strconv.ParseInt(wall, 10, 64)
	p.stamp = p.stamp.Next(millis)
	verb, arg, _ := strings.Cut(what, " ")
	var shown *dvv.Clock
	if with {
		c := s.contexts[context]
		shown = &c
	}
	e := s.event(p, verb, arg, shown)
	p.seq++
	g := crdt.Group{Actor: p.actor, First: p.seq, Stamp: p.stamp, Events: []crdt.Event{e}}
	p.groups = append(p.groups, g)
	p.Apply(&g)
}

func (s *stage) event(p *player, verb, arg string, context *dvv.Clock) crdt.Event {
	s.Helper()
	a := s.key.Row()
	if s.key.Type == crdt.Set {
		a = s.key.Member(arg)
	}
	row := p.Rows[a]
	e := crdt.Event{Row: a, Kills: p.reached(row, context)}
	switch verb {
	case "add":
		for _, d := range row.Dots() {
			if d.Actor == p.actor {
				e.Kills = append(e.Kills, d)
			}
		}
		e.Payload = crdt.Member{Stamp: p.stamp}.Payload()
	case "rem":
		if context == nil {
			e.Kills = row.Dots()
		}
	case "inc":
		delta, err := strconv.ParseInt(arg, 10, 64)
		if err != nil {
			s.Fatal(err)
		}
		entry, kills, _, err := tally(s, row).Increment(p.actor, delta)
		if err != nil {
			s.Fatal(err)
		}
		e.Payload, e.Kills, e.Delta = entry.Payload(), kills, delta
	case "reset":
		z, kills := tally(s, row).Reset()
		e.Payload, e.Kills = z.Payload(), kills
	case "set":
		e.Kills = append(e.Kills, row.Dots()...)
		e.Payload = crdt.Assign{Stamp: p.stamp, Value: []byte(arg)}.Payload()
	case "put":
		e.Payload = crdt.BlobValue{Value: []byte(arg)}.Payload()
	case "clear", "del":
		kills := p.Clock.Clone()
		if context != nil {
			kills = context.Clone()
		}
		return crdt.Event{Row: s.key.Row(), Clear: &kills}
	default:
		s.Fatalf("no such verb: %q", verb)
	}
	slices.SortFunc(e.Kills, dvv.Dot.Compare)
	e.Kills = slices.Compact(e.Kills)
	return e
}

func (p *player) reached(row crdt.Row, context *dvv.Clock) []dvv.Dot {
	if context == nil {
		return nil
	}
	kills := slices.Collect(context.Minus(p.Clock).Dots())
	for _, d := range row.Dots() {
		if context.Contains(d) {
			kills = append(kills, d)
		}
	}
	return kills
}

// merge joins into p what q knows, and holds the outcome against the events.
func (s *stage) merge(p, q *player) {
	s.Helper()
	rows := map[crdt.Address]crdt.Row{}
	for _, of := range []*player{p, q} {
		for a := range of.Rows {
			side, _ := crdt.JoinSides(p.Side(a), q.Side(a))
			if !side.Row.IsEmpty() {
				rows[a] = side.Row
			}
		}
	}
	side, _ := crdt.JoinSides(p.Side(s.key.Row()), q.Side(s.key.Row()))
	p.Rows, p.Clock = rows, side.Clock
	delete(p.Dead, s.key)
	if !side.Dead.IsEmpty() {
		p.Dead[s.key] = side.Dead
	}
	p.stamp = max(p.stamp, q.stamp)
	p.groups = append(slices.Clone(p.groups), q.groups...)
	delivered := crdttest.Fold(p.groups)
	if got, want := fmt.Sprint(p.Rows, p.Clock, p.Dead), fmt.Sprint(delivered.Rows, delivered.Clock, delivered.Dead); got != want {
		s.Fatalf("joined:    %s\ndelivered: %s", got, want)
	}
}

// value is what a client reads at the player, with the dots it lives under
// where the type has siblings.
func (s *stage) value(name string) string {
	s.Helper()
	p := s.player(name)
	row := p.Rows[s.key.Row()]
	var out []string
	switch s.key.Type {
	case crdt.Set:
		for a, r := range p.Rows {
			if _, ok, err := r.Member(); err != nil {
				s.Fatal(err)
			} else if ok {
				out = append(out, fmt.Sprint(a.Field, r.Dots()))
			}
		}
		slices.Sort(out)
	case crdt.Counter:
		v, _ := tally(s, row).Value()
		out = []string{strconv.FormatInt(v, 10)}
	case crdt.Register:
		writes, err := row.Register()
		if err != nil {
			s.Fatal(err)
		}
		for _, w := range writes {
			out = append(out, string(w.Value))
		}
	case crdt.Blob:
		siblings, err := row.Siblings()
		if err != nil {
			s.Fatal(err)
		}
		for _, v := range siblings {
			out = append(out, string(v.Value))
		}
	}
	return strings.Join(out, " ")
}

func tally(t interface{ Fatal(...any) }, r crdt.Row) *crdt.Tally {
	c, err := r.Tally()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

type story struct{ name, story, at, want string }

func (c story) run(t *testing.T, kind crdt.Type) {
	t.Helper()
	t.Run(c.name, func(t *testing.T) {
		s := tell(t, kind, c.story)
		for _, at := range strings.Fields(c.at) {
			if got := s.value(at); got != c.want {
				t.Errorf("%s reads %q, want %q", at, got, c.want)
			}
			for a, row := range s.player(at).Rows {
				if len(row.Deferred) > 0 {
					t.Errorf("%s still defers %v at %v", at, row.Deferred, a)
				}
			}
		}
	})
}

func TestSetStories(t *testing.T) {
	for _, c := range []story{
		{"S1 a removal on one side survives a copy of both sides",
			"add bar@A, add baz@B, A>C, B>C, rem bar@A, C>A, A>C", "A C", "baz[b:1]"},
		{"S3 both sides of a merge have it, and each copy was removed by the other",
			"add z@A, A>C, rem z@A, add z@B, B>A, rem z@B, B>A, B>C, A>C", "A C", ""},
		{"S5 an add wins over a concurrent removal",
			"add x@A, A>B, shown k=A, rem x@A/k, add x@B, A>B, B>A", "A B", "x[b:1]"},
		{"S7 a member removed and added again has a new dot",
			"add x@A, A>B, shown k=A, rem x@B/k, add x@B, rem x@A/k, A>B, B>A", "A B", "x[b:2]"},
		{"S9 an old copy brings nothing back",
			"add x@A, A>s, rem x@A, add x@A, s>A", "A", "x[a:3]"},
		{"S13 three concurrent adds are one member",
			"add x@A, add x@A, add x@B, add x@C, A>B, B>C, C>B, C>A", "A B C", "x[a:2 b:1 c:1]"},
		{"X1 a removal of what the coordinator never saw waits for it",
			"add a@A, add b@A, A>B, add c@A, add d@A, add e@A, shown k=A, rem d@B/k, A>B, B>A", "A B", "a[a:1] b[a:2] c[a:3] e[a:5]"},
		{"X3 an empty fallback removes no more than the context",
			"add x@P, shown k=P, rem x@F/k, add x@P, F>P, P>F", "P F", "x[p:2]"},
		{"X5 a context that covers one of two dots leaves the other",
			"add x@A, shown k=A, add x@B, A>P, B>P, rem x@P/k", "P", "x[b:1]"},
		{"X9 a removal and a clear that both wait are both honoured",
			"add a@P, shown k=P, rem a@N/k, clear@N/k, P>N", "N", ""},
		{"T1 a concurrent add survives a clear",
			"add a@A, add b@A, A>B, shown k=A, clear@A/k, add e@B, A>B, B>A", "A B", "e[b:1]"},
		{"T3 a clear by an old context leaves what came later",
			"add a@A, shown k=A, add z@B, B>A, clear@A/k", "A", "z[b:1]"},
		{"a clear reaches what has not arrived",
			"add x@A, add y@A, A>s, clear@A, A>B, s>B, add x@B", "B", "x[b:1]"},
		{"removing twice is removing once",
			"add x@A, A>B, rem x@A, rem x@B, A>B, B>A", "A B", ""},
	} {
		c.run(t, crdt.Set)
	}
}

func TestAMemberRemovedOnEverySideStaysAwayInEveryMergeOrder(t *testing.T) {
	const story = "add z@A, A>C, rem z@A, add z@B, A>s, B>A, rem z@B"
	for _, order := range [][]string{
		{"A", "B", "C"}, {"A", "C", "B"}, {"B", "A", "C"}, {"B", "C", "A"}, {"C", "A", "B"}, {"C", "B", "A"},
		{"s", "B", "C"}, {"s", "C", "B"}, {"B", "s", "C"}, {"B", "C", "s"}, {"C", "s", "B"}, {"C", "B", "s"},
	} {
		s := tell(t, crdt.Set, story)
		for _, from := range order {
			s.step(from + ">M")
			s.step("M>M")
		}
		if got := s.value("M"); got != "" {
			t.Errorf("merged in the order %v: %q", order, got)
		}
	}
}

func TestCounterStories(t *testing.T) {
	for _, c := range []story{
		{"C1 both signs, everywhere",
			"inc 1@A, inc 10@B, inc -1@C, inc -2@D, A>B, C>B, D>B, B>A, B>C, B>D", "A B C D", "8"},
		{"C1 one side of a split",
			"inc 1@A, inc 10@B, inc -1@C, inc -2@D, A>B, C>B, D>B, B>A, B>C, B>D, inc 5@A, A>B", "A B", "13"},
		{"C1 the other side",
			"inc 1@A, inc 10@B, inc -1@C, inc -2@D, A>B, C>B, D>B, B>A, B>C, B>D, inc -2@C, C>D", "C D", "6"},
		{"C1 healed",
			"inc 1@A, inc 10@B, inc -1@C, inc -2@D, A>B, C>B, D>B, B>A, B>C, B>D, inc 5@A, inc -2@C, A>C, C>A", "A C", "11"},
		{"C3 an old copy, any number of times", "inc 5@A, A>s, inc 5@A, s>A, s>A, s>A", "A", "10"},
		{"C9 an increment elsewhere survives a reset", "inc 10@A, A>B, reset@A, inc 3@B, A>B, B>A", "A B", "3"},
		{"an increment of the very actor that was reset survives", "inc 10@A, A>B, reset@B, inc 4@A, A>B, B>A", "A B", "4"},
		{"C11 an old copy does not undo a reset", "inc 10@A, inc -4@B, B>A, A>s, reset@A, inc 1@A, s>A", "A", "1"},
		{"C13 two concurrent resets and an increment",
			"inc 10@A, A>B, A>C, reset@A, reset@B, inc 7@C, A>B, B>C, C>A, C>B", "A B C", "7"},
		{"two resets of ten are nothing", "inc 10@A, A>B, reset@A, reset@B, A>B, B>A", "A B", "0"},
		{"a reset that comes before what it saw", "inc 10@A, A>B, A>s, reset@B, B>C, s>C, inc 2@C", "C", "2"},
		{"a reset of a reset", "inc 10@A, reset@A, inc 2@A, A>B, reset@A, inc 5@B, A>B, B>A", "A B", "5"},
		{"totals go on after a reset", "inc 10@A, reset@A, inc 1@A, inc 1@A, reset@A, inc -3@A", "A", "-3"},
	} {
		c.run(t, crdt.Counter)
	}
}

func TestRegisterStories(t *testing.T) {
	for _, c := range []story{
		{"L1 the later write wins, and the loser is still told", "set v1@A:5, set v2@B:7, A>B, B>A", "A B", "v2 v1"},
		{"L1 whichever side it is on", "set v2@A:7, set v1@B:5, A>B, B>A", "A B", "v2 v1"},
		{"L3 a clock that went back still writes what is read", "set v1@A:10000, set v2@A:3", "A", "v2"},
		{"L3 through another coordinator too", "set v1@A:10000, A>B, set v2@B:3, B>A", "A B", "v2"},
		{"L5 a node a day ahead does not win for ever", "set v1@A:86400000, A>B, set v2@B:5, B>C, set v3@C:6, A>C, C>A", "A C", "v3"},
		{"of one stamp the higher actor wins", "set v1@A:5, set v2@B:5, A>B, B>A", "A B", "v2 v1"},
		{"a delete leaves nothing", "set v1@A:5, A>B, del@A, A>B", "A B", ""},
		{"a write beside a delete stays", "set v1@A:5, A>B, shown k=A, del@A/k, set v2@B:6, A>B, B>A", "A B", "v2"},
		{"a delete and a write without a context", "set v1@A:5, del@A, set v2@A:0, A>s, s>A", "A", "v2"},
	} {
		c.run(t, crdt.Register)
	}
}

func TestBlobStories(t *testing.T) {
	for _, c := range []story{
		{"D1 two blind writes are siblings", "put v1@A, put v2@A", "A", "v1 v2"},
		{"D5 an old copy brings nothing back", "put v1@A, A>s, shown k=A, put v2@A/k, s>A", "A", "v2"},
		{"D7 two writes of one context", "put v1@A, A>B, shown k=A, put v2@B/k, put v3@C/k, B>C, C>A, A>B", "A B C", "v2 v3"},
		{"D9 a context covers what it shows and no more", "put x@A, shown k=A, put y@B, B>A, put n@A/k", "A", "n y"},
		{"D11 reusing a context is concurrency", "put v1@A, shown k=A, put v2@A/k, put v3@A/k", "A", "v2 v3"},
		{"reconciling", "put v1@A, put v2@B, A>B, shown k=B, put v3@B/k, B>A", "A B", "v3"},
		{"a delete beside a write", "put v1@A, A>B, shown k=A, del@A/k, put v2@B/k, A>B, B>A", "A B", "v2"},
	} {
		c.run(t, crdt.Blob)
	}
}

func TestTwoClientsThatInterleaveNeverSeeMoreThanTwoSiblings(t *testing.T) {
	s := tell(t, crdt.Blob, "put v0@A, shown x=A, shown y=A")
	for i := range 99 {
		client := [...]string{"x", "y"}[i%2]
		s.step(fmt.Sprintf("put v%d@A/%s", i+1, client))
		// A client's own reply shows its write, not its rival's.
		own := s.contexts[client].Clone()
		own.Add(dvv.Dot{Actor: s.player("A").actor, Seq: s.player("A").seq})
		s.contexts[client] = own
		if n := len(strings.Fields(s.value("A"))); n > 2 {
			t.Fatalf("%d siblings after %d writes", n, i+2)
		}
	}
}

func TestManyActorsLeaveOneValueAndNoSiblings(t *testing.T) {
	s := tell(t, crdt.Blob, "put v@A, shown k=A")
	before := "A"
	for i := range 70 {
		name := strings.Repeat("B", i+2)
		s.step(before + ">" + name)
		s.step("put v@" + name + "/k")
		s.step("shown k=" + name)
		before = name
	}
	s.step("A>" + before)
	if got := s.value(before); got != "v" {
		t.Errorf("after 71 actors: %q", got)
	}
}
