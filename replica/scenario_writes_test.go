package replica_test

import (
	"slices"
	"strconv"
	"strings"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica"
	"github.com/cartwheel-db/cartwheel/replica/replicatest"
)

// mutation reads the words of a write.
func (s *stage) mutation(words []string) (m *replica.Mutation, reading []string) {
	m = &replica.Mutation{Key: s.key}
	var rest []string
	var shown []replica.Change
	var until int64
	for i := 1; i < len(words); i++ {
		switch words[i] {
		case "with":
			i++
			dots, ok := s.contexts[words[i]]
			if !ok {
				s.fail("no context %q", words[i])
			}
			m.Context, shown = &dots, s.resets[words[i]]
		case "as":
			i++
			if _, ok := s.ops[words[i]]; !ok {
				s.ops[words[i]] = crdt.Operation{Client: [16]byte{1}, Seq: uint64(len(s.ops) + 1), Issued: 1}
			}
			m.Op = s.ops[words[i]]
		case "at":
			i++
			s.now = s.number(words[i])
		case "until":
			i++
			until = s.number(words[i])
		case "reading":
			reading, i = words[i+1:], len(words)
		default:
			rest = append(rest, words[i])
		}
	}
	switch words[0] {
	case "add", "remove", "batch":
		m.Verb = replica.Update
		for _, w := range rest {
			c := replica.Change{Member: strings.TrimLeft(w, "+-"), Remove: words[0] == "remove" || w[0] == '-'}
			if !c.Remove {
				c.Expires = until
			}
			m.Changes = append(m.Changes, c)
		}
	case "edit":
		m.Verb = replica.Edit
		for _, w := range rest {
			m.Changes = append(m.Changes, s.change(w, shown, until))
		}
	case "clear", "delete", "unset":
		m.Verb, m.Changes = replica.Delete, shown
	case "inc":
		m.Verb, m.Delta = replica.Add, s.number(rest[0])
	case "reset":
		m.Verb = replica.Zero
	case "assign":
		m.Verb, m.Value = replica.Assign, []byte(rest[0])
	case "put":
		m.Verb, m.Value = replica.Put, []byte(rest[0])
	default:
		s.fail("unknown verb")
	}
	s.must(m.Check())
	return m, reading
}

func (s *stage) number(word string) int64 {
	n, err := strconv.ParseInt(word, 10, 64)
	s.must(err)
	return n
}

func (s *stage) mutate(a *actor, words []string) {
	m, reading := s.mutation(words)
	s.write(a, m, reading)
}

func (s *stage) write(a *actor, m *replica.Mutation, reading []string) {
	if _, known, err := a.store.View().Remembered(partition, m.Op); known && !m.Op.IsZero() || err != nil {
		s.must(err)
		return
	}
	var seen *replica.Merged
	if q, ok := m.Observes(); ok {
		if reading == nil {
			for name, x := range s.actors {
				if x == a {
					reading = []string{name}
				}
			}
		}
		r := s.read(reading, q)
		seen = &r
	}
	s.commit(a, func(tx replica.Tx) {
		stamp := crdt.StampAt(s.now)
		g, err := a.p.Mint(tx, m, seen, dvv.Dot{Actor: a.id, Seq: a.seq + 1}, stamp, stamp+crdt.StampAt(60_000), s.now)
		s.must(err)
		if len(g.Events) > 0 {
			a.seq += uint64(len(g.Events))
			s.apply(a, tx, &g)
		}
	})
}

func (s *stage) commit(a *actor, steps func(tx replica.Tx)) {
	tx := a.store.Begin()
	steps(tx)
	s.must(a.p.Save(tx))
	s.must(tx.Commit())
}

func (s *stage) apply(a *actor, tx replica.Tx, g *crdt.Group) {
	_, voids, err := a.p.Apply(tx, g, s.now)
	s.must(err)
	s.void(a, tx, g.Op, voids)
}

func (s *stage) void(a *actor, tx replica.Tx, op crdt.Operation, voids []dvv.Dot) {
	for _, d := range voids {
		g, err := a.p.Void(tx, op, d, func(n int) dvv.Dot { a.seq += uint64(n); return dvv.Dot{Actor: a.id, Seq: a.seq - uint64(n) + 1} }, crdt.StampAt(s.now))
		s.must(err)
		s.apply(a, tx, &g)
	}
}

func (s *stage) takeOver(from, to string) {
	source, sink := s.actor(from), s.actor(to)
	if source == sink {
		return
	}
	switch s.way {
	case byLog:
		s.commit(sink, func(tx replica.Tx) {
			complete, err := replica.Missing(source.store.View(), partition, sink.p.Clock().Clone(), func(g crdt.Group, _ int) bool {
				s.apply(sink, tx, &g)
				return true
			})
			if s.must(err); !complete {
				s.fail("the log of %s is too short", from)
			}
		})
	case bySnapshot:
		s.install(source.store, sink)
	case byEvent:
		var groups []crdt.Group
		_, err := replica.Missing(source.store.View(), partition, sink.p.Clock(), func(g crdt.Group, _ int) bool {
			groups = append(groups, g)
			return true
		})
		s.must(err)
		slices.Reverse(groups)
		for i := range groups {
			s.commit(sink, func(tx replica.Tx) { s.apply(sink, tx, &groups[i]) })
		}
	}
	if !sink.p.Clock().Covers(source.p.Clock()) {
		s.fail("%s has %v, %s still lacks some of it: %v", from, source.p.Clock(), to, sink.p.Clock())
	}
}

// install is a whole snapshot from a source without a log.
func (s *stage) install(source *replicatest.MemStore, sink *actor) {
	v := source.View()
	clock, _, err := v.Clock(partition)
	s.must(err)
	in := sink.p.Await(clock, hashKey, leaves)
	s.commit(sink, func(tx replica.Tx) {
		s.must(compare(in, tx, sink.store.View(), v))
		s.must(v.AllRows(partition, nil, func(a crdt.Address, r crdt.Row) bool {
			if in.Wants(a) {
				s.must(in.Stage(tx, a, r))
			}
			return true
		}))
	})
	s.commit(sink, func(tx replica.Tx) {
		held, done, err := in.Promote(tx, 1<<20, s.now, func(op crdt.Operation, dots []dvv.Dot) error {
			s.void(sink, tx, op, dots)
			return nil
		})
		if s.must(err); len(held) > 0 || !done {
			s.fail("%d groups held while nothing arrived, done %t", len(held), done)
		}
		_, err = tx.DropStaged(partition, 1000)
		s.must(err)
	})
}
