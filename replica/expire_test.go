package replica_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/replica"
	"github.com/cartwheel-db/cartwheel/replica/replicatest"
)

var (
	online   = crdt.Key{Type: crdt.Set, Bucket: "b", Name: "online"}
	visits   = crdt.Key{Type: crdt.Counter, Bucket: "b", Name: "visits"}
	login    = crdt.Key{Type: crdt.Register, Bucket: "b", Name: "login"}
	draft    = crdt.Key{Type: crdt.Blob, Bucket: "b", Name: "draft"}
	settings = crdt.Key{Type: crdt.Map, Bucket: "b", Name: "settings"}
)

// until is a time on the trio's clock, in milliseconds from now.
func (w *trio) until(ms int64) int64 { return w.clock().Wall + ms }

// write lets a node take a mutation, and what follows happen.
func (w *trio) write(at *member, m replica.Mutation) replica.Result {
	w.t.Helper()
	w.mutation(at, 1, m)
	w.run(nil)
	return w.success(at)
}

func adding(name string, expires int64) replica.Mutation {
	return replica.Mutation{Key: online, Verb: replica.Update, Changes: []replica.Change{{Member: name, Expires: expires}}}
}

// live is how many dots of a row are live at a node.
func (w *trio) live(m *member, a crdt.Address) int { w.t.Helper(); return len(w.row(m, a).Live) }

// seen is a row as a reader sees it at a node.
func (w *trio) seen(m *member, a crdt.Address) crdt.Row {
	w.t.Helper()
	r, err := w.row(m, a).At(a.RowType(), w.clockOf(m).Wall)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func (w *trio) countAt(m *member, a crdt.Address) int64 {
	w.t.Helper()
	tally, err := w.row(m, a).TallyAt(w.clockOf(m).Wall)
	if err != nil {
		w.t.Fatal(err)
	}
	v, _ := tally.Value()
	return v
}

// agreeing fails when two nodes hold different bytes.
func (w *trio) agreeing() {
	w.t.Helper()
	for _, id := range w.first[1:] {
		if first := w.node(0).store; !bytes.Equal(first.Dump(0), w.nodes[id].store.Dump(0)) {
			w.t.Fatalf("%v holds\n%s\n%v holds\n%s", w.first[0], first.DumpText(0), id, w.nodes[id].store.DumpText(0))
		}
	}
}

func (w *trio) expired() (by []uint64) {
	for _, id := range w.first {
		by = append(by, w.nodes[id].shard.Stats.Expired)
	}
	return by
}

func field(name string, kind crdt.FieldKind, member string) string {
	return crdt.Path{Name: name, Kind: kind, Member: member}.Encode()
}

func TestWhatExpiredIsRemovedEverywhereByTheFirstLiveOwnerAlone(t *testing.T) {
	for _, down := range []int{-1, 0, 2} {
		t.Run(fmt.Sprintf("node %d is away", down), func(t *testing.T) {
			w := newTrio(t, nil)
			w.rounds(3000)
			if down >= 0 {
				w.stop(w.node(down))
			}
			minter := w.node(0)
			if down == 0 {
				minter = w.node(1)
			}
			soon := w.until(2000)
			for _, m := range []replica.Mutation{
				adding("mary", soon),
				adding("john", 0),
				{Key: visits, Verb: replica.Add, Delta: 5, Expires: soon},
				{Key: login, Verb: replica.Assign, Value: []byte("mary"), Expires: soon},
				{Key: draft, Verb: replica.Put, Value: []byte("x"), Expires: soon},
				{Key: draft, Verb: replica.Put, Value: []byte("y")},
				{Key: settings, Verb: replica.Edit, Changes: []replica.Change{
					{Member: field("hits", crdt.CounterField, ""), Delta: 3, Expires: soon},
					{Member: field("name", crdt.RegisterField, ""), Note: []byte("n"), Expires: soon},
					{Member: field("tags", crdt.SetField, "t"), Expires: soon},
					{Member: field("on", crdt.FlagField, ""), Expires: soon},
					{Member: field("off", crdt.FlagField, "")},
				}},
			} {
				w.write(w.node(1), m)
			}
			w.rounds(1500)
			if by := w.expired(); by[0]+by[1]+by[2] != 0 {
				t.Fatalf("removed before its time: %v", by)
			}
			w.rounds(5000)
			if down >= 0 {
				w.link(w.node(down).id, true)
				w.rounds(12000)
			}
			for i := range 3 {
				m := w.node(i)
				for _, gone := range []crdt.Address{online.Member("mary"), login.Row(), {Key: settings, Field: field("name", crdt.RegisterField, "")},
					{Key: settings, Field: field("tags", crdt.SetField, "t")}, {Key: settings, Field: field("on", crdt.FlagField, "")}} {
					if r := w.row(m, gone); !r.IsEmpty() {
						t.Errorf("%v still has %v %v", m.id, gone, r)
					}
				}
				for _, stays := range []crdt.Address{online.Member("john"), draft.Row(), {Key: settings, Field: field("off", crdt.FlagField, "")}} {
					if n := w.live(m, stays); n != 1 {
						t.Errorf("%v has %d of %v", m.id, n, stays)
					}
				}
				for _, counter := range []crdt.Address{visits.Row(), {Key: settings, Field: field("hits", crdt.CounterField, "")}} {
					if r := w.row(m, counter); w.count(m, counter) != 0 || r.Expires(crdt.Counter) != 0 || len(r.Live) != 1 {
						t.Errorf("%v counts %d in %v", m.id, w.count(m, counter), r)
					}
				}
			}
			w.agreeing()
			for i, n := range w.expired() {
				if want := uint64(0); w.node(i) == minter {
					want = 8
					if n != want {
						t.Errorf("%v removed %d rows, want %d", w.node(i).id, n, want)
					}
				} else if n != want {
					t.Errorf("%v removed %d rows, and is not the first live owner", w.node(i).id, n)
				}
			}
		})
	}
}

func TestNothingIsRemovedWhileROwnersCannotBeReachedAndNobodySeesItAllTheSame(t *testing.T) {
	w := newTrio(t, nil)
	w.rounds(3000)
	w.write(w.node(0), adding("mary", w.until(1500)))
	w.stop(w.node(1))
	w.stop(w.node(2))
	w.rounds(10000)
	for i := range 3 {
		m := w.node(i)
		if w.live(m, online.Member("mary")) != 1 || len(w.seen(m, online.Member("mary")).Live) != 0 || m.shard.Stats.Expired != 0 {
			t.Errorf("%v removed %d, and holds %v", m.id, m.shard.Stats.Expired, w.row(m, online.Member("mary")))
		}
	}
	if w.node(0).shard.Stats.ExpiryWaits == 0 {
		t.Error("nobody says that something waits")
	}
	w.link(w.node(1).id, true)
	w.rounds(5000)
	for _, m := range []*member{w.node(0), w.node(1)} {
		if r := w.row(m, online.Member("mary")); !r.IsEmpty() {
			t.Errorf("two owners agree, and %v still holds %v", m.id, r)
		}
	}
}

// Others agreed while the clock was ahead, to what was over by then. Set back, it comes
// to the same times once more, and they say nothing of what was written since.
func TestAClockThatIsSetBackTakesNoEarlierAgreementForALaterOne(t *testing.T) {
	w := newTrio(t, nil)
	first, mary := w.node(0), online.Member("mary")
	first.skew = 30_000
	w.rounds(3000)
	w.stop(w.node(1))
	w.stop(w.node(2))
	first.skew = 0
	m := adding("mary", w.until(1500))
	w.ask(first, replica.Request{ID: 1, W: 1, Deadline: w.clock().Mono + 5000*milli, Mutation: &m})
	w.run(nil)
	w.success(first)
	w.rounds(10_000)
	if w.live(first, mary) != 1 || first.shard.Stats.ExpiryWaits == 0 {
		t.Errorf("nobody agreed, and %v is left", w.row(first, mary))
	}
	w.link(w.node(1).id, true)
	w.rounds(5000)
	if r := w.row(first, mary); !r.IsEmpty() {
		t.Errorf("another owner agreed, and %v is left", r)
	}
}

// T19, in every order that a renewal and a removal can take.
func TestARenewalDuringTheRemovalWinsWhateverTheOrder(t *testing.T) {
	kinds := []struct {
		name  string
		write func(expires int64) replica.Mutation
		shows func(w *trio, m *member) bool
	}{
		{"a member", func(at int64) replica.Mutation { return adding("mary", at) },
			func(w *trio, m *member) bool { return len(w.seen(m, online.Member("mary")).Live) > 0 }},
		{"a register", func(at int64) replica.Mutation {
			return replica.Mutation{Key: login, Verb: replica.Assign, Value: fmt.Append(nil, at), Expires: at}
		}, func(w *trio, m *member) bool { return len(w.seen(m, login.Row()).Live) == 1 }},
		{"a blob", func(at int64) replica.Mutation {
			return replica.Mutation{Key: draft, Verb: replica.Put, Value: fmt.Append(nil, at), Expires: at}
		}, func(w *trio, m *member) bool { return len(w.seen(m, draft.Row()).Live) == 1 }},
		{"a counter", func(at int64) replica.Mutation {
			return replica.Mutation{Key: visits, Verb: replica.Add, Delta: 1, Expires: at}
		}, func(w *trio, m *member) bool { return w.countAt(m, visits.Row()) == 1 }},
	}
	orders := []struct {
		name string
		play func(w *trio, renewal replica.Mutation)
	}{
		{"the renewal is in the commit before", func(w *trio, renewal replica.Mutation) {
			w.mutation(w.node(0), 2, renewal)
			w.node(0).shard.Tick(w.clock()) // finds it expired
			w.run(nil)
		}},
		{"the renewal was asked for when it had been found", func(w *trio, renewal replica.Mutation) {
			w.node(0).shard.Tick(w.clock())
			w.mutation(w.node(0), 2, renewal)
			w.run(nil)
		}},
		{"another coordinator renews in the meantime", func(w *trio, renewal replica.Mutation) {
			w.link(w.node(0).id, false)
			w.mutation(w.node(1), 2, renewal)
			w.run(nil)
			w.node(0).shard.Tick(w.clock())
			w.commit(w.node(0)) // what it has heard before is enough for it
			w.link(w.node(0).id, true)
			w.run(nil)
		}},
	}
	for _, kind := range kinds {
		for _, order := range orders {
			t.Run(kind.name+": "+order.name, func(t *testing.T) {
				w := newTrio(t, func(c *replica.Config) { c.ExpireEvery = 10_000 * milli })
				w.rounds(3000)
				w.write(w.node(0), kind.write(w.until(2000)))
				w.rounds(6900)
				w.now += 101 * milli // and now it is looked for
				if w.live(w.node(0), online.Member("mary"))+w.live(w.node(0), login.Row())+w.live(w.node(0), draft.Row())+w.live(w.node(0), visits.Row()) != 1 {
					t.Fatal("it was removed already")
				}
				order.play(w, kind.write(w.until(3_600_000)))
				w.rounds(25_000)
				for i := range 3 {
					if m := w.node(i); !kind.shows(w, m) {
						t.Errorf("%v shows\n%s", m.id, m.store.DumpText(0))
					}
				}
				w.agreeing()
			})
		}
	}
}

// What an owner acknowledged that the first one has not heard of yet extends the
// life of totals which that one would take back.
func TestACounterThatWasRenewedElsewhereKeepsWhatItHad(t *testing.T) {
	w := newTrio(t, nil)
	if v := renewedElsewhere(w); v != 8 {
		t.Errorf("reads %d, want 8", v)
	}
}

func renewedElsewhere(w *trio) int64 {
	w.rounds(3000)
	first, second := w.node(0), w.node(1)
	adding := func(delta, expires int64) replica.Mutation {
		return replica.Mutation{Key: visits, Verb: replica.Add, Delta: delta, Expires: expires}
	}
	w.stop(first)
	w.write(second, adding(5, w.until(6000)))
	w.link(first.id, true)
	w.rounds(3000)
	w.stop(first)
	w.write(second, adding(3, w.until(3_600_000)))
	w.rounds(4000)
	w.link(first.id, true)
	w.rounds(12000)
	w.agreeing()
	return w.countAt(first, visits.Row())
}

func TestAReplicaThatLagsBringsNoExpiredMemberBack(t *testing.T) {
	mary, john := online.Member("mary"), online.Member("john")
	for _, tc := range []struct {
		name string
		set  func(*replica.Config)
		away func(w *trio, m *member) func() // returns how it comes back
	}{
		{"by its log, after a cut", nil, func(w *trio, m *member) func() {
			w.stop(m)
			return func() { w.link(m.id, true) }
		}},
		{"by a snapshot, because the logs were cut", func(c *replica.Config) { c.LogCap = 1; c.TrimEvery = 500 * milli }, func(w *trio, m *member) func() {
			w.stop(m)
			return func() { w.link(m.id, true) }
		}},
		{"after a restart, under a new actor", nil, func(w *trio, m *member) func() {
			w.stop(m)
			return func() { w.restart(m, 50, nil) }
		}},
		{"from a backup that was restored", nil, func(w *trio, m *member) func() {
			backup := m.store.Clone()
			return func() {
				w.stop(m)
				m.store = backup
				w.restart(m, 50, nil)
			}
		}},
		{"as the first owner, which would remove it again", nil, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newTrio(t, tc.set)
			lagging := w.node(2)
			if tc.away == nil {
				lagging = w.node(0)
				tc.away = func(w *trio, m *member) func() { w.stop(m); return func() { w.link(m.id, true) } }
			}
			w.rounds(3000)
			w.write(w.node(1), adding("mary", w.until(2000)))
			w.write(w.node(1), adding("john", 0))
			back := tc.away(w, lagging)
			w.write(w.node(1), adding("peter", 0))
			w.rounds(8000)
			if other := w.node(1); !w.row(other, mary).IsEmpty() || lagging != w.node(0) && w.expired()[0] != 1 {
				t.Fatalf("not removed: %v by %v", w.row(other, mary), w.expired())
			}
			back()
			if w.live(lagging, mary) != 1 {
				t.Fatal("the replica does not lag")
			}
			w.rounds(15000)
			for i := range 3 {
				if m := w.node(i); !w.row(m, mary).IsEmpty() || w.live(m, john) != 1 {
					t.Errorf("%v holds mary %v and john %v", m.id, w.row(m, mary), w.row(m, john))
				}
			}
			w.agreeing()
			if by := w.expired(); by[0]+by[1]+by[2] != 1 {
				t.Errorf("removed %v times", by)
			}
		})
	}
}

func TestClocksThatDifferChangeWhenItIsOverAndNotWhat(t *testing.T) {
	mary, john := online.Member("mary"), online.Member("john")
	for _, skew := range [][3]int64{{30_000, 0, 0}, {-30_000, 0, 0}, {0, 30_000, -30_000}, {-30_000, 30_000, 30_000}} {
		t.Run(fmt.Sprint(skew), func(t *testing.T) {
			w := newTrio(t, nil)
			for i := range 3 {
				w.node(i).skew = skew[i]
			}
			w.rounds(3000)
			w.write(w.node(0), adding("mary", w.until(10_000)))
			w.write(w.node(0), adding("john", w.until(10_000)))
			w.rounds(5000)
			w.write(w.node(1), adding("john", w.until(600_000)))
			w.rounds(60_000)
			for i := range 3 {
				if m := w.node(i); !w.row(m, mary).IsEmpty() || len(w.seen(m, john).Live) != 1 {
					t.Errorf("%v holds mary %v and john %v", m.id, w.row(m, mary), w.row(m, john))
				}
			}
			w.agreeing()
			if by := w.expired(); by[1]+by[2] != 0 {
				t.Errorf("removed by %v", by)
			}
		})
	}
}

func TestAFallbackThatOwnsNothingRemovesNothing(t *testing.T) {
	w := newTrioOwned(t, 2, func(c *replica.Config) { c.W = 1 })
	fallback, mary := w.node(2), online.Member("mary")
	w.rounds(3000)
	w.stop(w.node(0))
	w.stop(w.node(1))
	w.write(fallback, adding("mary", w.until(1000)))
	w.rounds(5000)
	if fallback.shard.Stats.Expired != 0 || w.live(fallback, mary) != 1 {
		t.Fatalf("a fallback removed %d and holds %v", fallback.shard.Stats.Expired, w.row(fallback, mary))
	}
	for i := range 3 {
		w.link(w.node(i).id, true)
	}
	w.rounds(10_000)
	for i := range 3 {
		if r := w.row(w.node(i), mary); !r.IsEmpty() {
			t.Errorf("%v holds %v", w.node(i).id, r)
		}
	}
	if by := w.expired(); by[0] != 1 || by[1]+by[2] != 0 {
		t.Errorf("removed by %v", by)
	}
}

func TestAnOwnerThatIsNotReadyRemovesNothingAndDoesNotCount(t *testing.T) {
	w := newTrio(t, withBarrier)
	w.rounds(5000)
	w.write(w.node(0), adding("mary", w.until(2000)))
	// Both others lose their disks, and one is cut off: the other cannot get ready.
	w.stop(w.node(2))
	w.node(1).store = replicatest.NewMemStore()
	w.restart(w.node(1), 60, withBarrier)
	w.link(w.node(2).id, false)
	w.rounds(10_000)
	if s := w.state(w.node(1)); s == replica.Ready {
		t.Fatal("the second owner got ready")
	}
	if by := w.expired(); by[0]+by[1]+by[2] != 0 {
		t.Errorf("removed by %v, though only one owner knows what was acknowledged", by)
	}
	w.link(w.node(2).id, true)
	w.rounds(10_000)
	for i := range 3 {
		if r := w.row(w.node(i), online.Member("mary")); !r.IsEmpty() {
			t.Errorf("%v holds %v", w.node(i).id, r)
		}
	}
}

func TestManyThatExpireAtOnceGoInBoundedCommits(t *testing.T) {
	w := newTrio(t, nil)
	const members, keys = 300, 2
	w.rounds(3000)
	soon := w.until(3000)
	for k := range keys {
		m := replica.Mutation{Key: crdt.Key{Type: crdt.Set, Bucket: "b", Name: fmt.Sprint("k", k)}, Verb: replica.Update}
		for i := range members {
			m.Changes = append(m.Changes, replica.Change{Member: fmt.Sprint("m", i), Expires: soon})
		}
		w.write(w.node(0), m)
	}
	largest := 0
	for until := w.now + 6000*milli; w.now < until; w.now += 100 * milli {
		for _, id := range w.first {
			w.nodes[id].shard.Tick(w.clock())
			w.nodes[id].take()
		}
		w.run(func(s replica.Send) bool {
			if m, ok := s.Message.(replica.Replicate); ok {
				n := 0
				for _, sh := range m.Batch {
					for _, g := range sh.Groups {
						n += len(g.Events)
						for _, e := range g.Events {
							if e.Row.Key != g.Events[0].Row.Key {
								t.Errorf("a group of %v and %v", e.Row.Key, g.Events[0].Row.Key)
							}
						}
					}
				}
				largest = max(largest, n)
			}
			return false
		})
	}
	if largest != 256 {
		t.Errorf("one commit removed %d", largest)
	}
	if by := w.expired(); by[0] != members*keys {
		t.Errorf("removed %v of %d", by, members*keys)
	}
	for i := range 3 {
		left := 0
		if err := w.node(i).store.View().AllRows(0, nil, func(crdt.Address, crdt.Row) bool { left++; return true }); err != nil || left != 0 {
			t.Errorf("%v has %d rows left, %v", w.node(i).id, left, err)
		}
	}
}

func TestAnIdleShardLooksForWhatExpiredWithoutACommit(t *testing.T) {
	w := newTrio(t, nil)
	w.rounds(3000)
	w.write(w.node(0), adding("john", 0))
	w.write(w.node(0), adding("mary", w.until(3_600_000)))
	w.rounds(20_000)
	before := w.node(0).shard.Stats.Commits
	w.rounds(30_000)
	if n := w.node(0).shard.Stats.Commits; n != before {
		t.Errorf("%d commits for nothing", n-before)
	}
}

// What no reader is shown nobody can resolve, so it stands in nobody's way.
func TestSiblingsThatExpiredDoNotCrowdABlob(t *testing.T) {
	w := newTrio(t, func(c *replica.Config) { c.R, c.W = 1, 1 })
	first := w.node(0)
	put := func(expires int64) *replica.Failure {
		first.reply, first.sends = nil, nil
		w.mutation(first, 1, replica.Mutation{Key: draft, Verb: replica.Put, Value: make([]byte, 1<<19), Expires: expires})
		w.commit(first)
		return w.result(first).Failure
	}
	soon := w.until(2000)
	var refused *replica.Failure
	for range 20 {
		if refused = put(soon); refused != nil {
			break
		}
	}
	if refused == nil || refused.Reason != replica.Invalid {
		t.Fatalf("20 siblings of half a megabyte: %v", refused)
	}
	w.now += 2000 * milli
	if refused = put(0); refused != nil {
		t.Errorf("after they expired: %v", refused)
	}
}
