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
	"github.com/cartwheel-db/cartwheel/server/peer"
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
		what := ""
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

// Everything a snapshot commits, from the first page to the last piece, is a
// place to crash at: before the commit, or right behind it.
func TestACrashAtAnyCommitOfASnapshotLosesNothing(t *testing.T) {
	run := func(at int, doomed doom) (commits int, s replica.Stats) {
		w := newRelay(t, func(c *replica.Config) { c.SnapshotRate, c.BatchBytes = 16<<10, 2<<10 })
		first, other, _ := w.apart(30)
		w.dooms = func(n *post) doom {
			if n == other && n.commits == at {
				return doomed
			}
			return survives
		}
		w.open(first, other)
		w.until("alike", 60*second, func() bool {
			if other.shard == nil {
				w.open(other)
			}
			return w.alike(first, other)()
		})
		s = other.shard.Totals()
		w.wait(40 * second)
		w.truth(first, other)
		return other.commits, s
	}
	commits, calm := run(0, survives)
	if calm.Pieces < 3 || calm.Promoted != 1 {
		t.Fatalf("%d commits, %+v: it is to be promoted in pieces", commits, calm)
	}
	resumed := uint64(0)
	for at := 1; at <= min(commits, 60); at++ {
		for _, doomed := range []doom{crashesBefore, crashesAfter} {
			_, s := run(at, doomed)
			resumed += s.Resumed
		}
		if t.Failed() {
			t.Fatalf("crash at commit %d of %d", at, commits)
		}
	}
	if resumed < 3 {
		t.Errorf("%d promotions went on after a crash", resumed)
	}
}

// Between the pieces of a promotion the partition speaks to nobody, and takes
// nothing.
func TestAPartitionThatIsPromotedInPiecesIsNoSourceAndTakesNothing(t *testing.T) {
	w := newRelay(t, func(c *replica.Config) { c.BatchBytes = 2 << 10 })
	first, other, groups := w.apart(60)
	asked, spoken := 0, []string{}
	stranger := ring.NodeID("stranger")
	w.heard = func(n *post, s replica.Send) {
		if h, head := s.Message.(replica.CutHead); n == other && s.To == stranger && (!head || h.Cut != 0) {
			spoken = append(spoken, fmt.Sprintf("%T", s.Message))
		}
	}
	var late []crdt.Group
	w.done = func(n *post) {
		if _, promoting, _ := n.store.View().Mark(partition); n != other || !promoting {
			return
		}
		asked++
		before := n.store.View()
		for _, m := range []replica.Message{
			replica.CatchUp{Partition: partition}, replica.Offer{Partition: partition, Ring: w.ring.Hash()}, replica.CutOpen{ID: 7, Partition: partition},
			replica.Replicate{Batch: []replica.Shipment{{Partition: partition, Groups: append(late, groups[10])}}},
			replica.Events{Partition: partition, Groups: late},
		} {
			n.shard.Receive(w.clock(), stranger, m)
			w.take(n)
		}
		if now := n.store.View(); !bytes.Equal(mustDump(t, before), mustDump(t, now)) {
			t.Errorf("something changed without a commit")
		}
	}
	c := w.author(w.posts[2])
	c.take(groups...)
	late = c.write(w.remove(w.key(crdt.Set, 0), "member 000003"), w.add(w.key(crdt.Set, 0), "late"))
	w.open(first, other)
	w.until("promoted", 30*second, func() bool { return other.shard.Totals().Promoted == 1 })
	if asked < 3 || len(spoken) > 0 {
		t.Errorf("asked %d times between the pieces, and it answered %v", asked, spoken)
	}
	if err := other.store.View().Log(partition, other.clockOf(), func(g crdt.Group, _ int) bool {
		if g.Actor == late[0].Actor {
			t.Errorf("%v was taken between the pieces", g)
		}
		return true
	}); err != nil {
		t.Fatal(err)
	}
	w.done = nil
	w.wait(20 * second)
	for _, g := range late {
		delete(w.minted, g.Dot(0))
	}
	w.truth(first, other)
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

func TestASnapshotNeverHoldsMoreThanAPageInMemoryNorJoinsMoreThanAPieceAtOnce(t *testing.T) {
	w := newRelay(t, nil)
	first, other := w.posts[0], w.posts[1]
	a := w.author(first)
	const rowBytes = 2000
	for range 15 {
		var ms []*replica.Mutation
		for range 100 {
			m := w.add(w.key(crdt.Set, 0), fmt.Sprintf("member %06d", w.issued))
			m.Changes[0].Note = make([]byte, rowBytes)
			ms = append(ms, m)
		}
		a.write(ms...)
	}
	a.trim(0)
	page, waiting, piece := 0, 0, 0
	w.heard = func(n *post, s replica.Send) {
		if m, ok := s.Message.(replica.CutPage); ok {
			page = max(page, len(peer.Append(nil, m)))
		}
		inFlight := 0
		for _, l := range other.inbox {
			if _, ok := l.message.(replica.CutPage); ok {
				inFlight++
			}
		}
		waiting = max(waiting, inFlight)
	}
	w.done = func(n *post) {
		if n == other {
			piece = max(piece, n.written)
		}
	}
	w.open(first, other)
	w.until("alike", 60*second, w.alike(first, other))
	w.wait(10 * second)
	w.truth(first, other)
	if page > 256<<10+2*rowBytes || page < 200<<10 {
		t.Errorf("a page of %d bytes", page)
	}
	if limit := (replica.Config{}).Defaults().BatchBytes/4 + 2*rowBytes; piece > limit || piece < limit/2 {
		t.Errorf("%d bytes of rows joined in one commit, want about %d", piece, limit)
	}
	if s := other.shard.Totals(); waiting > 1 || s.Pieces < 4 || s.RowsStaged != 1500 {
		t.Errorf("%d pages at once, %+v", waiting, s)
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

// stageless is a transaction that cannot read a staged row.
type stageless struct {
	replica.Tx
	bad func() bool
}

func (t stageless) AllStaged(p int, from []byte, fn func(key, value []byte) bool) error {
	var met error
	err := t.Tx.AllStaged(p, from, func(key, value []byte) bool {
		if key[0] == 'r' && t.bad() {
			met = &damagedRecord{part: "staged", partition: p, key: string(key)}
			return true
		}
		return fn(key, value)
	})
	if err == nil {
		err = met
	}
	return err
}

func TestAPromotionWhoseStageCannotBeReadBeginsThePartitionAnew(t *testing.T) {
	w := newRelay(t, func(c *replica.Config) { c.BatchBytes = 2 << 10 })
	first, other, _ := w.apart(60)
	other.watch = func(tx replica.Tx) replica.Tx {
		return stageless{tx, func() bool {
			_, promoting, _ := tx.Mark(partition)
			return promoting && other.shard.Totals().StagesLost == 0
		}}
	}
	w.open(first, other)
	w.until("alike", 60*second, func() bool { return other.shard.Totals().StagesLost == 1 && w.alike(first, other)() })
	w.wait(40 * second)
	w.truth(first, other)
	if s := other.shard.Totals(); s.Promoted != 1 || s.Rotations > 0 {
		t.Errorf("%+v", s)
	}
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
