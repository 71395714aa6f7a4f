package replica_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/replica"
	"github.com/cartwheel-db/cartwheel/ring"
)

func TestASourceThatRestartsIsAskedForAnotherCut(t *testing.T) {
	for _, at := range []replica.CutPart{replica.CutLog, replica.CutClears, replica.CutRows, replica.CutOperations} {
		t.Run(fmt.Sprint(at), func(t *testing.T) {
			w := newRelay(t, func(c *replica.Config) { c.SnapshotRate = 8 << 10 })
			first, other, _ := w.apart(60)
			crashed, gone := false, 0
			w.pass = func(from, to *post, m replica.Message) int {
				if p, ok := m.(replica.CutPage); ok && from == first {
					crashed = crashed || p.Part == at
					if p.Gone {
						gone++
					}
				}
				if crashed && first.shard != nil && from == first && gone == 0 && w.sent["crash"] == 0 {
					return 0
				}
				return 1
			}
			w.open(first, other)
			w.until("half way", 30*second, func() bool { return crashed })
			w.crash(first)
			w.sent["crash"] = 1
			w.wait(100 * milli)
			w.open(first)
			w.until("alike", 60*second, w.alike(first, other))
			w.wait(60 * second)
			w.truth(first, other)
			if s := other.shard.Totals(); gone == 0 || s.InstallsGivenUp == 0 || s.Promoted == 0 {
				t.Errorf("asked %d times for a cut that is gone: %+v", gone, s)
			}
		})
	}
}

func TestASnapshotTakesItsTimeAtTheRateOfTheSource(t *testing.T) {
	w := newRelay(t, func(c *replica.Config) { c.SnapshotRate = 50_000 })
	first, other := w.posts[0], w.posts[1]
	a := w.author(first)
	for i := range 200 {
		m := w.add(w.key(crdt.Set, 0), fmt.Sprint(i))
		m.Changes[0].Note = make([]byte, 1000)
		a.write(m)
	}
	a.trim(0)
	w.open(first, other)
	phases := map[string]bool{}
	w.done = func(n *post) {
		for _, h := range n.shard.Health(w.clock()) {
			if h.Install != nil && n == other {
				phases[h.Install.Phase] = true
				if h.Install.From != first.id {
					t.Errorf("progress from %v", h.Install.From)
				}
			}
		}
	}
	w.until("begun", 20*second, func() bool { return other.shard.Totals().RowsStaged > 0 })
	from := w.now
	w.until("alike", 60*second, w.alike(first, other))
	if took := w.now - from; took < 3*second || took > 8*second {
		t.Errorf("200 kB at 50 kB a second took %d ms", took/milli)
	}
	w.wait(10 * second)
	w.truth(first, other)
	if !phases["log"] || !phases["comparing"] || !phases["rows"] {
		t.Errorf("progress showed %v", phases)
	}
	for _, h := range other.shard.Health(w.clock()) {
		if h.Install != nil {
			t.Errorf("progress after the end: %+v", h.Install)
		}
	}
}

func TestCutsAreFewAndGoWhenNobodyAsksForThem(t *testing.T) {
	w := newRelay(t, nil)
	first := w.posts[0]
	a := w.author(first)
	a.write(w.add(w.key(crdt.Set, 0), "x"))
	heads := map[ring.NodeID]replica.CutHead{}
	w.heard = func(_ *post, s replica.Send) {
		if h, ok := s.Message.(replica.CutHead); ok {
			heads[s.To] = h
		}
	}
	w.open(first)
	ask := func(who ring.NodeID, id uint64) replica.CutHead {
		first.shard.Receive(w.clock(), who, replica.CutOpen{ID: id, Partition: partition})
		w.take(first)
		return heads[who]
	}
	one := ask("s1", 1)
	if one.Cut == 0 || one.ID != 1 || !one.Clock.Equal(a.p.Clock()) {
		t.Fatalf("%+v", one)
	}
	if again := ask("s1", 1); again.Cut != one.Cut || first.views != 1 {
		t.Errorf("asked again: another cut, %d views", first.views)
	}
	if next := ask("s1", 2); next.Cut == one.Cut || next.Cut == 0 || first.views != 1 {
		t.Errorf("asked anew: %+v, %d views", next, first.views)
	}
	for i, who := range []ring.NodeID{"s2", "s3", "s4"} {
		if h := ask(who, 1); h.Cut == 0 || first.views != 2+i {
			t.Errorf("%s: %+v, %d views", who, h, first.views)
		}
	}
	if h := ask("s5", 1); h.Cut != 0 || !h.Busy || first.views != 4 {
		t.Errorf("a fifth cut: %+v, %d views", h, first.views)
	}
	first.shard.Receive(w.clock(), "s2", replica.CutDone{Partition: partition, Cut: heads["s2"].Cut})
	first.shard.Receive(w.clock(), "s3", replica.CutDone{Partition: partition, Cut: heads["s4"].Cut}) // not its own
	if first.views != 3 {
		t.Errorf("%d views after one was let go", first.views)
	}
	w.wait(20 * second)
	first.shard.Receive(w.clock(), "s3", replica.CutAsk{ID: 1, Partition: partition, Cut: heads["s3"].Cut, Part: replica.CutLog})
	if w.wait(15 * second); first.views != 1 {
		t.Errorf("%d views after 35 s, one of which was asked for after 20", first.views)
	}
	if w.wait(20 * second); first.views != 0 {
		t.Errorf("%d views after 55 s", first.views)
	}
	gone := replica.CutPage{}
	w.heard = func(_ *post, s replica.Send) {
		if p, ok := s.Message.(replica.CutPage); ok {
			gone = p
		}
	}
	first.shard.Receive(w.clock(), "s3", replica.CutAsk{ID: 1, Partition: partition, Cut: heads["s3"].Cut, Part: replica.CutLog})
	if w.take(first); !gone.Gone {
		t.Errorf("asked for a cut that went: %+v", gone)
	}
	ask("s1", 8)
	for range 12 { // asked for again and again: it goes all the same, after two minutes
		if w.wait(10 * second); first.views == 0 {
			break
		}
		first.shard.Receive(w.clock(), "s1", replica.CutAsk{ID: 8, Partition: partition, Cut: heads["s1"].Cut, Part: replica.CutLog})
	}
	if w.wait(2 * second); first.views != 0 {
		t.Errorf("%d views after two minutes", first.views)
	}
	ask("s1", 9)
	if first.shard.Release(); first.views != 0 {
		t.Errorf("%d views after all were let go", first.views)
	}
}

// A store may wait, in a commit, until all views are closed.
func TestACommitThatDoesNotEndIsNotKeptWaitingByCuts(t *testing.T) {
	w := newRelay(t, nil)
	first := w.posts[0]
	w.author(first).write(w.add(w.key(crdt.Set, 0), "x"))
	w.open(first)
	first.shard.Receive(w.clock(), "s1", replica.CutOpen{ID: 1, Partition: partition})
	first.shard.Request(w.clock(), replica.Request{ID: 1, Deadline: 1 << 60, W: 1, Mutation: w.add(w.key(crdt.Set, 0), "y")})
	tx := first.store.Begin()
	if err := first.shard.Fill(w.clock(), tx); err != nil || first.views != 1 {
		t.Fatalf("%d views, %v", first.views, err)
	}
	for range 30 {
		w.now += second / 10
		first.shard.Tick(w.clock())
	}
	if first.views != 0 {
		t.Errorf("%d views after a commit took 3 s", first.views)
	}
}

// unread is a view, or a transaction, that cannot read some records.
type unread struct {
	replica.View
	part string
	key  func(key []byte) bool
}

func (v unread) AllRows(p int, from []byte, fn func(crdt.Address, crdt.Row) bool) error {
	var met error
	err := v.View.AllRows(p, from, func(a crdt.Address, r crdt.Row) bool {
		if place := a.AppendBinary(nil); v.part == "rows" && v.key(place) {
			met = &damagedRecord{part: "rows", partition: p, key: string(place)}
			return true
		}
		return fn(a, r)
	})
	if err == nil {
		err = met
	}
	return err
}

func TestARowThatTheSourceCannotReadIsNotTakenForOneThatWasRemoved(t *testing.T) {
	w := newRelay(t, nil)
	first, other, _ := w.apart(20)
	want, bad := w.key(crdt.Set, 0).Member("member 000007").AppendBinary(nil), true
	first.broken = func(v replica.View) replica.View {
		return unread{v, "rows", func(key []byte) bool { return bad && bytes.Equal(key, want) }}
	}
	w.open(first, other)
	w.wait(30 * second)
	if s, o := other.shard.Totals(), first.shard.Totals(); s.Promoted > 0 || s.InstallsGivenUp == 0 || o.CutsDropped == 0 {
		t.Errorf("promoted %d, given up %d, dropped %d", s.Promoted, s.InstallsGivenUp, o.CutsDropped)
	}
	w.truth(other)
	bad = false
	w.until("alike", 60*second, w.alike(first, other))
}
