package replica_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica"
	"github.com/cartwheel-db/cartwheel/replica/replicatest"
)

// Two ways from one replica to another: each event by itself, or what is still
// logged and then a snapshot. The replicas come from the middle of random lives.
func TestASnapshotLeavesTheSameBytesAsTheEventsItStandsFor(t *testing.T) {
	installs := 0
	first, n := seeds(5)
	for seed := first; seed < first+n; seed++ {
		w := newWorld(setting{resets: true, once: true}, seed)
		for range 20 + w.rng.IntN(100) {
			w.step()
		}
		for _, to := range w.nodes {
			for to.install != nil {
				w.advance(to)
			}
		}
		for _, to := range w.nodes {
			for _, from := range w.nodes {
				if to.p.Clock().Covers(from.p.Clock()) {
					continue
				}
				installs++
				lacking := groupsOf(w.minted, from.p.Clock().Minus(to.p.Clock()))
				w.rng.Shuffle(len(lacking), func(i, j int) { lacking[i], lacking[j] = lacking[j], lacking[i] })

				s := &stage{t: t, actors: map[string]*actor{}, step: to.name + " from " + from.name}
				events := s.open("events", to.store.Clone())
				for _, g := range lacking {
					s.commit(events, func(tx replica.Tx) { s.apply(events, tx, g) })
				}

				snapshot := s.open("snapshot", to.store.Clone())
				logged := lacking[:w.rng.IntN(len(lacking)+1)]
				for _, g := range logged {
					s.commit(snapshot, func(tx replica.Tx) { s.apply(snapshot, tx, g) })
				}
				s.install(from.store, snapshot)
				if !bytes.Equal(events.store.Dump(partition), snapshot.store.Dump(partition)) {
					s.fail("seed %d: %d events one by one and the snapshot behind %d of them differ", seed, len(lacking), len(logged))
				}
				before := snapshot.store.Dump(partition)
				if s.install(from.store, snapshot); !bytes.Equal(before, snapshot.store.Dump(partition)) {
					s.fail("seed %d: the same snapshot again changed something", seed)
				}
				back := s.open("back", from.store.Clone())
				if s.install(snapshot.store, back); !bytes.Equal(before, back.store.Dump(partition)) {
					s.fail("seed %d: both ways differ", seed)
				}
			}
		}
	}
	if installs == 0 {
		t.Error("no replica ever lacked anything")
	}
}

// groupsOf lists the minted groups in a set of dots, by dot.
func groupsOf(minted map[dvv.Dot]*crdt.Group, dots dvv.Clock) []*crdt.Group {
	var out []*crdt.Group
	for _, g := range minted {
		if g.In(dots) {
			out = append(out, g)
		}
	}
	slices.SortFunc(out, func(a, b *crdt.Group) int { return a.Dot(0).Compare(b.Dot(0)) })
	return out
}

// sharing is a view that hands out the very clock it holds, as a view may.
type sharing struct {
	replica.View
	clock dvv.Clock
}

func (v sharing) Clock(int) (dvv.Clock, bool, error) { return v.clock, true, nil }

func TestALoadedPartitionDoesNotChangeWhatItsViewHolds(t *testing.T) {
	store := replicatest.NewMemStore()
	v := sharing{store.View(), dvv.ClockOf(dvv.Dot{Actor: 1, Seq: 1})}
	p, err := replica.Load(v, partition)
	if err != nil {
		t.Fatal(err)
	}
	g := crdt.Group{Actor: 1, First: 2, Events: []crdt.Event{{Row: cart.Member("x"), Payload: crdt.Member{}.Payload()}}}
	if _, _, err := p.Apply(store.Begin(), &g, 0); err != nil {
		t.Fatal(err)
	}
	if !v.clock.Equal(dvv.ClockOf(dvv.Dot{Actor: 1, Seq: 1})) {
		t.Errorf("the view's clock became %v by a transaction that was never committed", v.clock)
	}
}

// lending is a transaction that hands out the very record it holds.
type lending struct {
	replica.Tx
	held map[crdt.Operation]*crdt.Remembered
}

func (l lending) Remembered(_ int, op crdt.Operation) (crdt.Remembered, bool, error) {
	m := l.held[op]
	if m == nil {
		return crdt.Remembered{}, false, nil
	}
	return *m, true, nil
}

func (l lending) PutRemembered(_ int, m *crdt.Remembered) error {
	kept := *m
	l.held[m.Op] = &kept
	return nil
}

func TestWhatAViewShowedOfAnOperationDoesNotChangeWhenItIsAppliedAgain(t *testing.T) {
	store := replicatest.NewMemStore()
	p, err := replica.Load(store.View(), partition)
	if err != nil {
		t.Fatal(err)
	}
	tx := lending{store.Begin(), map[crdt.Operation]*crdt.Remembered{}}
	op := crdt.Operation{Seq: 1}
	var dots []dvv.Dot
	for actor := dvv.Actor(20); actor > 10; actor-- {
		before, _, _ := tx.Remembered(partition, op)
		shown := slices.Clone(before.Dots)
		g := crdt.Group{Actor: actor, First: 1, Op: op, Events: []crdt.Event{{
			Row: hits.Row(), Delta: 5, Payload: crdt.Entry{P: crdt.TotalOf(5)}.Payload(),
		}}}
		if _, _, err := p.Apply(tx, &g, 0); err != nil {
			t.Fatal(err)
		}
		dots = append([]dvv.Dot{g.Dot(0)}, dots...)
		if !slices.Equal(before.Dots, shown) {
			t.Fatalf("a record that was read as %v became %v", shown, before.Dots)
		}
		if after, _, _ := tx.Remembered(partition, op); !slices.Equal(after.Dots, dots) {
			t.Fatalf("remembered %v, want %v", after.Dots, dots)
		}
	}
}

// lagging is a replica that has compared itself with a cut of A, whose log is
// gone, and the group that it lacks.
func lagging(t *testing.T) (s *stage, b *actor, in *replica.Install, lacking crdt.Group) {
	t.Helper()
	s = play(t, byLog, scenario{kind: crdt.Set, steps: "A add x"})
	a, b := s.actors["A"], s.actor("B")
	lacking, _, err := a.store.View().Group(partition, dvv.Dot{Actor: a.id, Seq: 1})
	s.must(err)
	in = b.p.Await(a.p.Clock(), hashKey, leaves)
	row, err := a.store.View().Row(partition, cart.Member("x"))
	s.must(err)
	s.commit(b, func(tx replica.Tx) {
		s.must(compare(in, tx, b.store.View(), a.store.View()))
		s.must(in.Stage(tx, cart.Member("x"), row))
	})
	for range 2 {
		s.commit(b, func(tx replica.Tx) {
			if o, _, err := b.p.Apply(tx, &lacking, 0); err != nil || o != replica.Held {
				t.Fatalf("an event of the staged cut was not held: %v %v", o, err)
			}
		})
	}
	s.say("show B : ")
	return s, b, in, lacking
}

func TestAHeldEventIsKnownOnceTheSnapshotIsPromoted(t *testing.T) {
	s, b, in, lacking := lagging(t)
	s.commit(b, func(tx replica.Tx) {
		held, done, err := in.Promote(tx, 1<<20, 0, nil)
		if err != nil || !done || len(held) != 1 || held[0].Dot(0) != lacking.Dot(0) {
			t.Fatalf("held %v, done %t, error %v", held, done, err)
		}
		if o, _, err := b.p.Apply(tx, &held[0], 0); err != nil || o != replica.Known {
			t.Errorf("outcome %v, error %v", o, err)
		}
	})
	s.say("show B : x; same A B")
}

func TestAHeldEventIsAppliedWhenTheSnapshotIsGivenUp(t *testing.T) {
	s, b, in, _ := lagging(t)
	held := in.Abort()
	if len(held) != 1 {
		t.Fatalf("held %v", held)
	}
	s.commit(b, func(tx replica.Tx) {
		if o, _, err := b.p.Apply(tx, &held[0], 0); err != nil || o != replica.Applied {
			t.Errorf("outcome %v, error %v", o, err)
		}
	})
	s.say("show B : x; same A B")
}

func TestWhatIsHeldIsBounded(t *testing.T) {
	s := play(t, byLog, scenario{kind: crdt.Set})
	b := s.actor("B")
	var cut dvv.Clock
	cut.AddRange(9, 1, 5000)
	in := b.p.Await(cut, hashKey, leaves)
	s.commit(b, func(tx replica.Tx) {
		for seq := range uint64(5000) {
			g := crdt.Group{Actor: 9, First: seq + 1, Events: []crdt.Event{{Row: cart.Member("x"), Payload: crdt.Member{Note: make([]byte, 300)}.Payload()}}}
			if o, _, err := b.p.Apply(tx, &g, 0); err != nil || o != replica.Held {
				t.Fatalf("outcome %v, error %v: what is not held must not be acknowledged", o, err)
			}
		}
	})
	held, bytes := in.Abort(), 0
	for i := range held {
		bytes += held[i].Bytes()
	}
	if n := uint64(len(held)); n == 0 || n > 1024 || bytes > 1<<20 || b.p.Counts.Held != n || b.p.Counts.Unheld != 5000-n {
		t.Errorf("%d groups of %d bytes held, counted %+v", n, bytes, b.p.Counts)
	}
}

func TestTrimKeepsAGroupUntilAllOfItIsStable(t *testing.T) {
	s := play(t, byLog, scenario{kind: crdt.Set, steps: "A batch +x +y; A add z"})
	a := s.actors["A"]
	for _, step := range []struct{ stable, gone uint64 }{{1, 0}, {2, 1}, {3, 1}, {3, 0}} {
		var stable dvv.Clock
		stable.AddRange(a.id, 1, step.stable)
		s.commit(a, func(tx replica.Tx) {
			if gone, _, err := a.p.Trim(tx, stable, 1<<30); err != nil || gone != int(step.gone) {
				t.Errorf("stable to %d: %d groups trimmed, want %d (%v)", step.stable, gone, step.gone, err)
			}
		})
	}
	if complete, err := replica.Missing(a.store.View(), partition, dvv.Clock{}, nil); complete || err != nil {
		t.Errorf("an empty log reaches back to everything: %t %v", complete, err)
	}
}

func TestMissingStopsWhenItIsTold(t *testing.T) {
	s := play(t, byLog, scenario{kind: crdt.Set, steps: "A add x; A add y; A add z"})
	var got []dvv.Dot
	complete, err := replica.Missing(s.actors["A"].store.View(), partition, dvv.Clock{}, func(g crdt.Group, _ int) bool {
		got = append(got, g.Dot(0))
		return len(got) < 2
	})
	if err != nil || !complete || len(got) != 2 || !got[0].Less(got[1]) {
		t.Errorf("got %v, complete %t, error %v", got, complete, err)
	}
}

func TestAGroupKnownInPartIsRefused(t *testing.T) {
	s := play(t, byLog, scenario{kind: crdt.Set, steps: "A add x"})
	a := s.actors["A"]
	g := crdt.Group{Actor: a.id, First: 1, Events: []crdt.Event{{Row: cart.Member("x")}, {Row: cart.Member("y")}}}
	tx := a.store.Begin()
	defer tx.Abandon()
	if _, _, err := a.p.Apply(tx, &g, 0); err == nil {
		t.Error("half of a group was applied")
	}
}

// The totals of a process carry an increment whose event was lost with it. An
// increment that does not say what it follows then counts beside its retry; one
// that does is not taken without it, and the retry is the only application.
func TestAnIncrementThatFollowsAnUnsettledOneIsNotTakenWithoutIt(t *testing.T) {
	lose := func(follows uint64) *stage {
		s := play(t, byEvent, scenario{kind: crdt.Counter, steps: "A inc 5 as op; A inc 2"})
		a, b := s.actors["A"], s.actor("B")
		second, logged, err := a.store.View().Group(partition, dvv.Dot{Actor: a.id, Seq: 2})
		if err != nil || !logged {
			t.Fatal(err)
		}
		second.Events[0].Follows = follows
		s.commit(b, func(tx replica.Tx) {
			if o, _, err := b.p.Apply(tx, &second, 0); err != nil || (o == replica.Early) != (follows != 0) {
				t.Fatalf("following %d: outcome %v, %v", follows, o, err)
			}
		})
		return s
	}
	lose(0).say("show B : 7; A wipe; B inc 5 as op; A <> B; show A B : 12")
	lose(1).say("A wipe; B inc 5 as op; A <> B; show A B : 5")
	lose(1).say("A <> B; show A B : 7; B inc 5 as op; A <> B; show A B : 7")
}

// The log that a snapshot goes along with begins in the middle: an increment of
// it follows one that only the rows bring. It is not taken before them: were the
// snapshot given up then, it would stay without what it follows.
func TestAnIncrementThatFollowsOneThatOnlyTheSnapshotBringsComesWithIt(t *testing.T) {
	s := play(t, bySnapshot, scenario{kind: crdt.Counter, steps: "A inc 5; A inc 2"})
	a, b := s.actors["A"], s.actor("B")
	second, logged, err := a.store.View().Group(partition, dvv.Dot{Actor: a.id, Seq: 2})
	if err != nil || !logged {
		t.Fatal(err)
	}
	second.Events[0].Follows = 1
	s.commit(b, func(tx replica.Tx) {
		if o, _, err := b.p.Apply(tx, &second, 0); err != nil || o != replica.Early {
			t.Fatalf("outcome %v, error %v", o, err)
		}
	})
	s.install(a.store, b)
	s.say("show A B : 7; same A B")
}
