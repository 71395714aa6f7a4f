package replica_test

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica"
	"github.com/cartwheel-db/cartwheel/replica/replicatest"
)

// A scenario is a list of sentences, one step each, about replicas that appear
// when they are first named:
//
//	A add x                 A coordinates a write (remove, batch -x +y, clear,
//	                        inc 5, reset, assign v, put v, delete, unset; of a
//	                        map edit, see scenario_map_test.go)
//	  ... with c            under the context c
//	  ... reading A B       an observed kill looks at A and B, not at itself alone
//	  ... as op             under an operation id: said again, it is a retry
//	  ... at 7              at that millisecond of the coordinator's clock
//	  ... until 9           of an add: the member's expiry
//	A -> B                  B takes over what A knows
//	A <> B                  both do; sync A B C brings all of them together
//	c := ctx A B            a client reads at A and B and keeps the context
//	s := A                  a copy of what A knows, to be delivered with s -> A
//	A restart | A wipe | A restore s      always with a new actor
//	show A B : x y          what a client reads at A, and at B
//	lost A v2 v1            the concurrent values of a register that are not read
//	dots A x 2 | expires A x 9 | clean A | same A B
//
// Every scenario is played three times: "A -> B" catches up from A's log, takes
// a snapshot because A's log is gone, or gets A's groups one by one in reverse.
type scenario struct {
	name  string
	kind  crdt.Type
	steps string
}

type way string

const (
	byLog      way = "by log"
	bySnapshot way = "by snapshot"
	byEvent    way = "event by event, the last one first"
)

func playAll(t *testing.T, all []scenario) {
	t.Helper()
	for _, s := range all {
		t.Run(s.name, func(t *testing.T) {
			for _, w := range []way{byLog, bySnapshot, byEvent} {
				t.Run(string(w), func(t *testing.T) { play(t, w, s) })
			}
		})
	}
}

type actor struct {
	id    dvv.Actor
	seq   uint64
	store *replicatest.MemStore
	p     *replica.Partition
}

type stage struct {
	t        *testing.T
	way      way
	key      crdt.Key
	actors   map[string]*actor
	contexts map[string]dvv.Clock
	resets   map[string][]replica.Change // of a context of a map: the removal of each counter that it shows
	ops      map[string]crdt.Operation
	lastID   dvv.Actor
	now      int64
	step     string
}

var keyOf = map[crdt.Type]crdt.Key{crdt.Set: cart, crdt.Counter: hits, crdt.Register: last, crdt.Blob: doc, crdt.Map: basket}

func play(t *testing.T, w way, sc scenario) *stage {
	t.Helper()
	s := &stage{t: t, way: w, key: keyOf[sc.kind], now: 1, actors: map[string]*actor{}, contexts: map[string]dvv.Clock{}, resets: map[string][]replica.Change{}, ops: map[string]crdt.Operation{}}
	for _, step := range strings.FieldsFunc(sc.steps, func(r rune) bool { return r == ';' || r == '\n' }) {
		if s.step = strings.TrimSpace(step); s.step != "" {
			s.do(strings.Fields(s.step))
		}
	}
	return s
}

func (s *stage) must(err error) {
	s.t.Helper()
	if err != nil {
		s.fail("%v", err)
	}
}

func (s *stage) fail(format string, args ...any) {
	s.t.Helper()
	var b strings.Builder
	for name, a := range s.actors {
		fmt.Fprintf(&b, "\n%s (actor %v) %s", name, a.id, a.store.DumpText(partition))
	}
	s.t.Fatalf("%q: %s%s", s.step, fmt.Sprintf(format, args...), b.String())
}

func (s *stage) open(name string, store *replicatest.MemStore) *actor {
	s.lastID++
	p, err := replica.Load(store.View(), partition)
	s.must(err)
	s.actors[name] = &actor{id: s.lastID, store: store, p: p}
	return s.actors[name]
}

func (s *stage) actor(name string) *actor {
	if a := s.actors[name]; a != nil {
		return a
	}
	return s.open(name, replicatest.NewMemStore())
}

func (s *stage) do(words []string) {
	s.now++
	switch {
	case words[0] == "show":
		s.show(words[1:])
	case words[0] == "sync":
		for range 2 {
			for _, to := range words[1:] {
				for _, from := range words[1:] {
					s.takeOver(from, to)
				}
			}
		}
	case words[0] == "dots":
		row, err := s.actor(words[1]).store.View().Row(partition, s.key.Member(words[2]))
		if s.must(err); strconv.Itoa(len(row.Live)) != words[3] {
			s.fail("%v", row)
		}
	case words[0] == "lost":
		row, err := s.actor(words[1]).store.View().Row(partition, s.key.Row())
		s.must(err)
		all, err := row.Register()
		s.must(err)
		var got []string
		for _, a := range all[1:] {
			got = append(got, string(a.Value))
		}
		if !slices.Equal(got, words[2:]) {
			s.fail("%v", all)
		}
	case words[0] == "expires":
		row, err := s.actor(words[1]).store.View().Row(partition, s.key.Member(words[2]))
		s.must(err)
		if m, _, err := row.Member(); err != nil || strconv.FormatInt(m.Expires, 10) != words[3] {
			s.fail("%v %v", m, err)
		}
	case words[0] == "clean":
		for _, name := range words[1:] {
			s.clean(name)
		}
	case words[0] == "same":
		for _, name := range words[2:] {
			if !bytes.Equal(s.actor(words[1]).store.Dump(partition), s.actor(name).store.Dump(partition)) {
				s.fail("%s and %s differ", words[1], name)
			}
		}
	case words[1] == "->":
		s.takeOver(words[0], words[2])
	case words[1] == "<>":
		s.takeOver(words[0], words[2])
		s.takeOver(words[2], words[0])
	case words[1] == ":=" && words[2] == "ctx":
		m := s.read(words[3:], s.whole())
		if s.key.Type == crdt.Map {
			var err error
			s.contexts[words[0]], s.resets[words[0]], err = shownOfMap(s.key, &m)
			s.must(err)
			return
		}
		var dots dvv.Clock
		for _, f := range m.Rows {
			for _, d := range f.Row.Dots() {
				dots.Add(d)
			}
		}
		s.contexts[words[0]] = dots
	case words[1] == ":=":
		s.open(words[0], s.actor(words[2]).store.Clone())
	case words[1] == "restart":
		s.open(words[0], s.actor(words[0]).store)
	case words[1] == "wipe":
		s.open(words[0], replicatest.NewMemStore())
	case words[1] == "restore":
		s.open(words[0], s.actor(words[2]).store.Clone())
	default:
		s.mutate(s.actor(words[0]), words[1:])
	}
}

func (s *stage) whole() replica.Query {
	if s.key.Type == crdt.Set {
		return replica.Query{Key: s.key, Span: &replica.Span{Limit: replica.MaxPage}}
	}
	return replica.Query{Key: s.key, Every: s.key.Type == crdt.Map}
}

func (s *stage) read(names []string, q replica.Query) replica.Merged {
	var answers []replica.Answer
	for _, name := range names {
		a, err := replica.Ask(s.actor(name).store.View(), partition, q)
		s.must(err)
		answers = append(answers, a)
	}
	return replica.Merge(answers)
}

// show compares what a client reads at each replica, in the order of bytes.
func (s *stage) show(words []string) {
	colon := slices.Index(words, ":")
	want := strings.Join(words[colon+1:], " ")
	for _, name := range words[:colon] {
		var got []string
		for _, f := range s.read([]string{name}, s.whole()).Rows {
			switch s.key.Type {
			case crdt.Map:
				got = append(got, s.field(f)...)
			case crdt.Set:
				got = append(got, f.Field)
			case crdt.Counter:
				tally, err := f.Row.Tally()
				s.must(err)
				v, _ := tally.Value()
				got = append(got, strconv.FormatInt(v, 10))
			case crdt.Register:
				all, err := f.Row.Register()
				s.must(err)
				got = append(got, string(all[0].Value))
			case crdt.Blob:
				all, err := f.Row.Siblings()
				s.must(err)
				for _, v := range all {
					got = append(got, string(v.Value))
				}
				slices.Sort(got)
			}
		}
		if strings.Join(got, " ") != want {
			s.fail("%s shows %v, want %q", name, got, want)
		}
	}
}

// clean asserts that nothing waits for dots that never came.
func (s *stage) clean(name string) {
	v := s.actor(name).store.View()
	s.must(v.AllRows(partition, nil, func(a crdt.Address, r crdt.Row) bool {
		if len(r.Deferred) > 0 {
			s.fail("%s defers %v at %v", name, r.Deferred, a)
		}
		return true
	}))
	s.must(v.AllDead(partition, func(k crdt.Key, c dvv.Clock) bool {
		s.fail("%s defers %v at %v", name, c, k)
		return false
	}))
}
