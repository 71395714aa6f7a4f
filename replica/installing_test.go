package replica_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica"
	"github.com/cartwheel-db/cartwheel/ring"
)

// apart leaves two owners with a common past and a present of their own each;
// of the first one's log only the last group is left. It returns all groups of
// the first one, in order.
func (w *relay) apart(members int) (source, receiver *post, groups []crdt.Group) {
	w.t.Helper()
	source, receiver = w.posts[0], w.posts[1]
	a, b := w.author(source), w.author(receiver)
	big, small, hits := w.key(crdt.Set, 0), w.key(crdt.Set, 1), w.key(crdt.Counter, 0)
	common := a.write(w.add(big, "old", "older", "mine"), w.add(small, "x", "y"), w.count(hits, 5), w.count(hits, 7))
	b.take(common...)
	groups = common
	for i := range members {
		groups = append(groups, a.write(w.add(big, fmt.Sprintf("member %06d", i)))...)
	}
	groups = append(groups, a.write(w.remove(big, "old"), w.wipe(small), w.add(small, "z"), w.count(hits, 100), w.remove(big, "older"))...)
	b.write(w.remove(big, "mine"), w.add(small, "here"), w.count(hits, 1000), w.add(big, "here"))
	b.trim(0)
	a.trim(1)
	return source, receiver, groups
}

func TestASnapshotAloneRepairsOwnersWhoseLogsAreEmpty(t *testing.T) {
	w := newRelay(t, nil)
	first, other, _ := w.apart(40)
	w.author(first).trim(0)
	w.open(first, other)
	w.until("alike", 30*second, w.alike(first, other))
	w.wait(40 * second)
	w.truth(first, other)
	for _, n := range []*post{first, other} {
		if s := n.shard.Totals(); s.InstallsStarted == 0 || s.InstallsNeeded == 0 || s.Promoted == 0 || s.CutsTaken == 0 || s.RowsStaged == 0 || s.PagesSent == 0 || s.BytesSent == 0 || s.CaughtUp > 0 {
			t.Errorf("%s: %+v", n.id, s)
		}
		ops := 0
		err := n.store.View().AllRemembered(partition, crdt.Operation{}, func(m crdt.Remembered) bool {
			if ops++; m.Seen > w.clock().Wall || m.Seen < w.clock().Wall-w.now/milli {
				t.Errorf("%v was seen at %d", m.Op, m.Seen)
			}
			return true
		})
		if err != nil || ops != int(w.issued) {
			t.Errorf("%s remembers %d of %d operations: %v", n.id, ops, w.issued, err)
		}
	}
}

func TestOnlyRowsOfLeavesThatDifferAreSent(t *testing.T) {
	w := newRelay(t, func(c *replica.Config) { c.Leaves, c.Without = 4096, 0 })
	first, other := w.posts[0], w.posts[1]
	a, b := w.author(first), w.author(other)
	var all []crdt.Group
	for i := range 500 {
		all = append(all, a.write(w.add(w.key(crdt.Set, 0), fmt.Sprintf("member %06d", i)))...)
	}
	b.take(all...)
	a.write(w.add(w.key(crdt.Set, 0), "one more"))
	a.trim(0)
	w.pass = func(_, _ *post, m replica.Message) int {
		if _, early := m.(replica.CutOpen); early && w.now < 8*second {
			return 0 // the trees are not summed up yet
		}
		return 1
	}
	w.open(first, other)
	w.until("alike", 60*second, w.alike(first, other))
	w.wait(10 * second)
	w.truth(first, other)
	if s := other.shard.Totals(); s.InstallsNeeded != 1 || s.RowsStaged == 0 || s.RowsStaged > 3 {
		t.Errorf("%d rows were staged for one that differs: %+v", s.RowsStaged, s)
	}
}

func TestAHolderWhoseLogIsTrimmedHandsOffBySnapshot(t *testing.T) {
	w := newRelay(t, nil)
	first, other, holder := w.posts[0], w.posts[1], w.posts[2]
	a := w.author(holder)
	a.write(w.add(w.key(crdt.Set, 0), "x", "y"), w.remove(w.key(crdt.Set, 0), "y"), w.count(w.key(crdt.Counter, 0), 3))
	a.trim(0)
	w.open(w.posts...)
	w.until("handed off", 30*second, func() bool { return len(holder.shard.Stored()) == 0 })
	w.truth(first, other, holder)
	for _, n := range []*post{first, other} {
		if s := n.shard.Totals(); s.Promoted != 1 || !bytes.Equal(n.store.Dump(partition), first.store.Dump(partition)) {
			t.Errorf("%s: %+v", n.id, s)
		}
	}
}

func TestMessagesOfASnapshotMayBeLostAndRepeated(t *testing.T) {
	w := newRelay(t, func(c *replica.Config) { c.SnapshotRate = 8 << 10 })
	first, other, _ := w.apart(60)
	lost := map[string]bool{}
	w.pass = func(from, to *post, m replica.Message) int {
		var what string
		switch m := m.(type) {
		case replica.CutOpen, replica.CutHead, replica.CutDone:
			what = fmt.Sprintf("%s %T", from.id, m)
		case replica.CutAsk:
			what = fmt.Sprintf("%s ask %d %x", from.id, m.Part, m.After)
		case replica.CutPage:
			what = fmt.Sprintf("%s page %d %x", from.id, m.Part, m.After)
		default:
			return 1
		}
		if !lost[what] {
			lost[what] = true
			return 0
		}
		return 2
	}
	w.open(first, other)
	w.until("alike", 200*second, w.alike(first, other))
	w.wait(60 * second)
	w.truth(first, other)
	if s := other.shard.Totals(); s.Resumed < 5 || s.Promoted != 1 || s.InstallsStarted != 1 || s.InstallsGivenUp > 0 {
		t.Errorf("%+v", s)
	}
}

// While rows are staged, life goes on: what is of the cut waits, what is not is
// applied at once.
func TestWritesAndRemovesThatArriveWhileRowsAreStagedAreNeitherLostNorUndone(t *testing.T) {
	w := newRelay(t, func(c *replica.Config) { c.SnapshotRate = 8 << 10 })
	first, other, groups := w.apart(60)
	c := w.author(w.posts[2])
	c.take(groups...)
	set, small := w.key(crdt.Set, 0), w.key(crdt.Set, 1)
	late := c.write(w.remove(set, "member 000003"), w.add(set, "late", "mine"), w.wipe(small), w.count(w.key(crdt.Counter, 0), 10_000))
	stranger := ring.NodeID("stranger")
	var acked []replica.Receipt
	w.heard = func(n *post, s replica.Send) {
		if a, ok := s.Message.(replica.Acked); ok && s.To == stranger {
			acked = append(acked, a.Batch...)
		}
	}
	held, ofCut := false, groups[20]
	w.done = func(n *post) {
		if n == other && !held && n.shard.Totals().RowsStaged > 0 {
			held = true
			all := append(slices.Clone(late), ofCut)
			n.shard.Receive(w.clock(), stranger, replica.Replicate{Batch: []replica.Shipment{{Partition: partition, Groups: all}}})
		}
	}
	w.open(first, other)
	w.until("alike", 60*second, w.alike(first, other))
	w.wait(40 * second)
	w.truth(first, other)
	s := other.shard.Totals()
	if !held || s.Held == 0 || s.Released != s.Held || s.Promoted != 1 {
		t.Errorf("%+v", s)
	}
	dots := 0
	for _, r := range acked {
		dots += len(r.Dots)
		if slices.Contains(r.Dots, ofCut.Dot(0)) {
			t.Errorf("what was held was acknowledged before it was durable")
		}
	}
	if dots != len(late) {
		t.Errorf("%d of %d groups that are not of the cut were acknowledged", dots, len(late))
	}
	row, err := other.store.View().Row(partition, set.Member("member 000003"))
	if err != nil || len(row.Live) > 0 {
		t.Errorf("what was removed meanwhile is %v, %v", row, err)
	}
}

func TestInstallsWaitForOneAnother(t *testing.T) {
	w := newRelay(t, nil)
	first, other := w.posts[0], w.posts[1]
	w.open(other)
	open := map[int]uint64{}
	most := 0
	w.heard = func(n *post, s replica.Send) {
		if m, ok := s.Message.(replica.CutOpen); ok {
			open[m.Partition] = m.ID
			most = max(most, len(open))
		}
	}
	owned := w.ring.PartitionsOf(other.id)
	for _, p := range owned {
		for range 3 {
			other.shard.Receive(w.clock(), first.id, replica.Events{Partition: p, Gap: true})
		}
	}
	w.settle()
	for range owned {
		for _, p := range owned {
			if id, asked := open[p]; asked {
				delete(open, p)
				other.shard.Receive(w.clock(), first.id, replica.CutHead{ID: id, Partition: p}) // there is nothing to be had
			}
		}
		w.settle()
	}
	if s := other.shard.Totals(); most != 2 || s.InstallsStarted != uint64(len(owned)) || len(owned) < 4 {
		t.Errorf("%d at once, %d of %d partitions: %+v", most, s.InstallsStarted, len(owned), s)
	}
}

func TestASourceThatIsSilentIsGivenUpForOneThatIsNot(t *testing.T) {
	w := newRelay(t, nil)
	first, other, third := w.posts[0], w.posts[1], w.posts[2]
	w.open(other)
	opens := map[ring.NodeID]int{}
	w.heard = func(n *post, s replica.Send) {
		if _, ok := s.Message.(replica.CutOpen); ok {
			opens[s.To]++
		}
	}
	gap := replica.Events{Partition: partition, Gap: true}
	w.give(first, other, gap)
	w.wait(second / 2)
	w.give(third, other, gap)
	if w.wait(second / 2); opens[third.id] > 0 {
		t.Errorf("the first source was given half a second: %v", opens)
	}
	w.wait(10 * second)
	w.give(third, other, gap)
	if w.wait(second); opens[third.id] == 0 {
		t.Errorf("the first source is waited for: %v", opens)
	}
	w.wait(100 * second)
	if s := other.shard.Totals(); s.InstallsGivenUp != 2 {
		t.Errorf("nobody answers, and %d of 2 were given up", s.InstallsGivenUp)
	}
}

func TestAnOwnerThatOwnsThePartitionNoMoreGivesItsInstallUp(t *testing.T) {
	w := newRelay(t, func(c *replica.Config) { c.SnapshotRate = 8 << 10 })
	first, other, _ := w.apart(60)
	w.open(first, other)
	w.until("half way", 30*second, func() bool { return other.shard.Totals().RowsStaged > 10 })
	var facts ring.Facts
	for i, id := range []ring.NodeID{"n1", "n2", "n3"} {
		_, _ = facts.Add(ring.Fact{Number: uint64(i + 1), Kind: ring.Joined, Node: id, PeerAddr: string(id) + ":1", APIAddr: string(id) + ":2"})
	}
	_, _ = facts.Add(ring.Fact{Number: 4, Kind: ring.Left, Node: other.id})
	without, err := ring.Fold(ring.Config{Partitions: 8, Replicas: 2}, facts)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []*post{first, other} {
		n.shard.SetRing(w.clock(), without)
	}
	w.wait(60 * second)
	s := other.shard.Totals()
	if s.InstallsGivenUp != 1 || s.Promoted > 0 || first.views > 0 {
		t.Errorf("%d views at the source, %+v", first.views, s)
	}
	w.truth(first, other)
}

func TestAPageThatNoHonestSourceSendsEndsTheInstall(t *testing.T) {
	w := newRelay(t, nil)
	elsewhere := crdt.Key{Type: crdt.Set, Bucket: "b", Name: "elsewhere"}
	if w.ring.Partition(elsewhere.Bucket, elsewhere.Name) == partition {
		t.Fatal("choose another name")
	}
	for _, c := range []struct {
		name string
		lie  func(p *replica.CutPage)
	}{
		{"a group that is not of the cut", func(p *replica.CutPage) {
			if p.Part == replica.CutLog {
				p.Groups = append(slices.Clone(p.Groups), crdt.Group{Actor: 5, First: 1, Events: []crdt.Event{{Row: w.key(crdt.Set, 0).Member("x"), Payload: crdt.Member{}.Payload()}}})
			}
		}},
		{"a row of another partition", func(p *replica.CutPage) {
			if p.Part == replica.CutRows {
				p.Rows = []replica.AddressedRow{{Address: elsewhere.Member("x")}}
			}
		}},
		{"clears of another partition", func(p *replica.CutPage) {
			if p.Part == replica.CutClears {
				p.Clears = []replica.Clears{{Key: elsewhere}}
			}
		}},
		{"a row that is live outside the cut", func(p *replica.CutPage) {
			if p.Part == replica.CutRows {
				p.Rows = slices.Clone(p.Rows)
				r := &p.Rows[0].Row
				*r = r.Clone()
				r.Live[0].Dot.Seq += 1000
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newRelay(t, nil)
			first, other, _ := w.apart(5)
			w.pass = func(from, to *post, m replica.Message) int {
				p, ok := m.(replica.CutPage)
				if !ok || to != other {
					return 1
				}
				c.lie(&p)
				to.inbox = append(to.inbox, letter{from, p})
				return 0
			}
			w.open(first, other)
			w.until("refused", 30*second, func() bool { return other.shard.Totals().Malformed > 0 })
			w.wait(3 * second)
			if s := other.shard.Totals(); s.InstallsGivenUp == 0 || s.Promoted > 0 || other.clockOf().Contains(dvv.Dot{Actor: 5, Seq: 1}) {
				t.Errorf("%+v", s)
			}
			w.truth(other)
		})
	}
}

func TestWithoutSnapshotsNobodyPullsOne(t *testing.T) {
	w := newRelay(t, func(c *replica.Config) { c.Without = replica.Snapshots | replica.Trees })
	first, other, _ := w.apart(5)
	w.open(first, other)
	w.wait(30 * second)
	if s := other.shard.Totals(); w.sent["CutOpen"] > 0 || s.InstallsStarted > 0 || w.alike(first, other)() {
		t.Errorf("sent %v, %+v", w.sent, s)
	}
}
