package replica_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica"
)

// only leaves one mechanism of repair.
func only(m replica.Mechanism) func(*replica.Config) {
	return func(c *replica.Config) {
		c.Without = (replica.Handoff | replica.LogCatchUp | replica.Snapshots | replica.Trees | replica.ReadRepair) &^ m
	}
}

func TestEqualTreesCostOneMessageAndItsReplyForAllPartitions(t *testing.T) {
	g := newGrove(t, 2, 16, only(replica.Trees))
	for p := range 16 {
		g.hear(g.adding(p, dot(7, 1), "milk"), 0, 1)
	}
	g.pass(2 * second)
	clear(g.sent)
	g.nodes[0].shard.Verify(g.clock())
	g.take(g.nodes[0])
	g.settle()
	r := g.nodes[0].shard.Verifying(g.clock())
	if g.sent["TreeRoots"] != 1 || g.sent["TreeVerdicts"] != 1 || r.Pairs != 16 || r.Done != 16 || r.Equal != 16 || len(r.Findings) != 0 {
		t.Errorf("sent %v, report %+v", g.sent, r)
	}
}

func TestEveryPairIsComparedWithinTheTimeAndNotAllAtOnce(t *testing.T) {
	g := newGrove(t, 3, 8, only(replica.Trees))
	for p := range 8 {
		g.hear(g.adding(p, dot(7, 1), "milk"), 0, 1, 2)
	}
	most, compared := uint64(0), uint64(0)
	for range 64 {
		g.pass(second)
		all := g.stats(0).Compared + g.stats(1).Compared + g.stats(2).Compared
		most, compared = max(most, all-compared), all
	}
	// 24 pairs of nodes and partitions, each looked at by either of its ends.
	if compared < 24 || compared > 60 || most > 8 {
		t.Errorf("%d comparisons in the time of one round, up to %d in a second", compared, most)
	}
	if n := g.stats(0).TreesEqual + g.stats(1).TreesEqual + g.stats(2).TreesEqual; n != compared {
		t.Errorf("%d of %d equal", n, compared)
	}
}

func TestTreesAloneBringWhatANodeMissed(t *testing.T) {
	g := newGrove(t, 2, 2, only(replica.Trees))
	for seq := range uint64(9) {
		g.hear(g.adding(0, dot(7, seq+1), fmt.Sprint("a", seq)), 0)
		g.hear(g.adding(1, dot(8, seq+1), fmt.Sprint("b", seq)), 1)
	}
	g.until("equal", 128*second, func() bool { return g.same(0) && g.same(1) })
	for n := range 2 {
		if s := g.stats(n); s.TreeInstalls == 0 || s.TreesApart == 0 || s.Diverged != 0 {
			t.Errorf("n%d: %d snapshots asked for, %d clocks apart, %d alarms", n, s.TreeInstalls, s.TreesApart, s.Diverged)
		}
	}
}

func TestTreesAloneBringEverythingToANodeThatLostItsDisk(t *testing.T) {
	g := newGrove(t, 2, 1, only(replica.Trees))
	for seq := range uint64(9) {
		g.hear(g.adding(0, dot(7, seq+1), fmt.Sprint(seq)), 0, 1)
	}
	g.nodes[1].store.Wipe()
	g.open(g.nodes[1])
	g.until("equal", 128*second, func() bool { return g.same(0) })
}

func TestWhereClocksDifferTheLogIsAskedFirstAndNothingIsRepaired(t *testing.T) {
	g := newGrove(t, 2, 1, only(replica.Trees|replica.LogCatchUp))
	g.lose = func(_, _ int, m replica.Message) bool { // the exchange of clocks is not what is tested
		switch m.(type) {
		case replica.Digest, replica.Sounding:
			return true
		}
		return false
	}
	g.hear(g.adding(0, dot(7, 1), "milk"), 0)
	g.hear(g.adding(0, dot(8, 1), "eggs"), 1)
	g.until("equal", 128*second, func() bool { return g.same(0) })
	for n := range 2 {
		if s := g.stats(n); s.CaughtUp != 1 || s.Diverged != 0 || s.RowsRepaired != 0 || s.TreeInstalls != 0 {
			t.Errorf("n%d: %d events caught up, %d alarms, %d rows repaired, %d snapshots", n, s.CaughtUp, s.Diverged, s.RowsRepaired, s.TreeInstalls)
		}
	}
}

func TestASnapshotIsAskedForWhenThePeersLogHasAGap(t *testing.T) {
	g := newGrove(t, 2, 1, only(replica.Trees|replica.LogCatchUp))
	for seq := range uint64(5) {
		g.hear(g.adding(0, dot(7, seq+1), fmt.Sprint(seq)), 0)
	}
	tx := g.nodes[0].store.Begin()
	group, _, err := tx.Group(0, dot(7, 2))
	if err == nil {
		err = tx.DeleteGroup(0, &group)
	}
	if err != nil || tx.Commit() != nil {
		t.Fatal(err)
	}
	g.until("equal", 128*second, func() bool { return g.same(0) })
	if s := g.stats(1); s.TreeInstalls == 0 || s.CaughtUp != 4 {
		t.Errorf("%d snapshots asked for, %d events caught up of 4 in the log", s.TreeInstalls, s.CaughtUp)
	}
}

// diverged is two owners whose rows differ under equal clocks. It cannot be.
func diverged(t *testing.T) *grove {
	g := newGrove(t, 2, 1, only(replica.Trees))
	for seq := range uint64(40) {
		g.hear(g.adding(0, dot(7, seq+1), fmt.Sprint(seq)), 0, 1)
	}
	g.spill(0, 0, g.key(0, 0).Member("3"), func(crdt.Row) crdt.Row { return crdt.Row{} })
	g.spill(1, 0, g.key(0, 0).Member("8"), func(r crdt.Row) crdt.Row {
		r.Live[0].Payload = crdt.Member{Stamp: 1, Note: []byte("another")}.Payload()
		return r
	})
	g.spill(1, 0, g.key(0, 0).Member("9"), func(r crdt.Row) crdt.Row { r.Deferred = []dvv.Dot{dot(5, 5)}; return r })
	for n := range 2 { // what arrived is not deferred, whatever a row says
		g.spill(n, 0, g.key(0, 0).Member(fmt.Sprint(10+n)), func(r crdt.Row) crdt.Row { r.Deferred = []dvv.Dot{r.Live[0].Dot}; return r })
	}
	g.pass(100 * milli)
	return g
}

func TestDifferentRowsUnderOneClockAreAnAlarmAndBothKeepTheUnion(t *testing.T) {
	g := diverged(t)
	g.nodes[0].shard.Verify(g.clock())
	g.take(g.nodes[0])
	g.until("verified", 10*second, func() bool { r := g.nodes[0].shard.Verifying(g.clock()); return !r.Running() })
	if !g.same(0) {
		t.Fatalf("n0 %s\nn1 %s", g.nodes[0].store.DumpText(0), g.nodes[1].store.DumpText(0))
	}
	r := g.nodes[0].shard.Verifying(g.clock())
	if r.Equal != 1 || r.Differing != 1 || r.Repaired != 4 || len(r.Findings) != 1 || !r.Findings[0].Differed || r.Findings[0].Found != replica.VerifiedEqual {
		t.Errorf("report %+v", r)
	}
	if a, b := g.stats(0), g.stats(1); a.Diverged != 1 || a.RowsRepaired != 4 || b.RowsRepaired != 2 || a.Collisions != 1 {
		t.Errorf("%d alarms, %d and %d rows repaired, %d collisions", a.Diverged, a.RowsRepaired, b.RowsRepaired, a.Collisions)
	}
	v := g.nodes[1].store.View()
	for _, c := range []struct {
		member         string
		live, deferred int
	}{{"3", 1, 0}, {"8", 2, 0}, {"9", 1, 1}, {"10", 1, 0}, {"11", 1, 0}} {
		row, err := v.Row(0, g.key(0, 0).Member(c.member))
		if err != nil || len(row.Live) != c.live || len(row.Deferred) != c.deferred {
			t.Errorf("member %s is %v, %v", c.member, row, err)
		}
	}
	g.summed(0, 0)
	g.summed(1, 0)
}

func TestWhenAClockMovesDuringAWalkNothingIsRepairedAndTheWalkStartsOver(t *testing.T) {
	for _, c := range []struct {
		name string
		at   string // the kind of message behind which a write lands
		to   int    // where it lands
	}{
		{"at the asked, between roots and branches", "TreeVerdicts", 1},
		{"at the asker, between roots and branches", "TreeVerdicts", 0},
		{"at the asked, on the way down", "TreeBranch", 1},
		{"at the asker, on the way down", "TreeBranch", 0},
		{"at the asked, before its rows are listed", "RowPrints", 1},
		{"at the asker, while the peer lists its rows", "RowPrints", 0},
		{"at the asker, before the repair", "RowsApart", 0},
		{"at the asked, before the repair", "RowsMend", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := diverged(t)
			var moved, repaired bool
			g.lose = func(from, to int, m replica.Message) bool {
				switch m.(type) {
				case replica.RowsMend:
					repaired = repaired || moved
				case replica.TreeRoots:
					return from == 1 || moved // one walk, by n0
				}
				if !moved && strings.HasSuffix(fmt.Sprintf("%T", m), c.at) {
					moved = true
					n := g.nodes[c.to] // the write overtakes the message
					n.inbox = append([]envelope{{c.to, g.adding(0, dot(9, 1), "late")}}, n.inbox...)
					if c.to == from {
						n.shard.Receive(g.clock(), n.id, n.inbox[0].message)
						n.inbox = n.inbox[1:]
					}
				}
				return false
			}
			g.nodes[0].shard.Verify(g.clock())
			g.take(g.nodes[0])
			g.settle()
			g.pass(3 * second)
			rows := g.stats(1).RowsRepaired
			if c.at != "RowsMend" { // before that message the asker has repaired its own
				rows += g.stats(0).RowsRepaired
			}
			if !moved || rows != 0 || repaired && c.at != "RowsMend" {
				t.Errorf("written meanwhile %t, %d rows repaired", moved, rows)
			}
			g.lose = nil
			g.hear(g.adding(0, dot(9, 1), "late"), 0, 1)
			g.until("equal", 128*second, func() bool { return g.same(0) })
			g.summed(0, 0)
			g.summed(1, 0)
		})
	}
}

func TestATreeThatIsNotTheSumOfItsRowsIsSummedUpAnewAndRepairsNothing(t *testing.T) {
	for _, wrong := range []int{0, 1} {
		g := newGrove(t, 2, 1, only(replica.Trees))
		for seq := range uint64(40) {
			g.hear(g.adding(0, dot(7, seq+1), fmt.Sprint(seq)), 0, 1)
		}
		g.pass(second)
		g.nodes[wrong].shard.Miscount(0)
		g.nodes[0].shard.Verify(g.clock())
		g.take(g.nodes[0])
		g.until("verified", 20*second, func() bool { r := g.nodes[0].shard.Verifying(g.clock()); return r.Equal == 1 })
		if a, w := g.stats(0), g.stats(wrong); a.Diverged == 0 || w.Miscounted != 1 || a.RowsRepaired+g.stats(1).RowsRepaired != 0 {
			t.Errorf("n%d miscounts: %d alarms, %d miscounted, %d rows repaired", wrong, a.Diverged, w.Miscounted, a.RowsRepaired)
		}
		g.summed(wrong, 0)
	}
}

func TestAVerificationTellsWhoCouldNotBeReachedAndWhoWasBehind(t *testing.T) {
	g := newGrove(t, 3, 2, only(replica.Trees))
	g.hear(g.adding(0, dot(7, 1), "milk"), 0, 1, 2)
	g.nodes[0].shard.SetLink(g.clock(), "n2", false)
	g.pass(second)
	g.nodes[0].shard.Verify(g.clock())
	g.take(g.nodes[0])
	g.settle()
	r := g.nodes[0].shard.Verifying(g.clock())
	if r.Pairs != 4 || r.Equal != 2 || r.Unreachable != 2 || r.Running() || len(r.Findings) != 2 || r.Findings[0].Peer != "n2" {
		t.Errorf("report %+v", r)
	}
	g.lose = func(_, _ int, m replica.Message) bool { // n1 never shows how to get what it has
		_, cut := m.(replica.CutOpen)
		return cut
	}
	g.hear(g.adding(0, dot(8, 1), "eggs"), 1)
	g.nodes[0].shard.Verify(g.clock())
	g.take(g.nodes[0])
	g.until("verified", 100*second, func() bool { r := g.nodes[0].shard.Verifying(g.clock()); return !r.Running() })
	if r := g.nodes[0].shard.Verifying(g.clock()); r.Behind != 1 || r.Equal != 1 {
		t.Errorf("report %+v", r)
	}
}

func TestAVerdictThatCameTwiceCountsOnce(t *testing.T) {
	g := newGrove(t, 2, 1, only(replica.Trees))
	g.hear(g.adding(0, dot(7, 1), "milk"), 0, 1)
	g.lose = func(from, to int, m replica.Message) bool {
		if _, verdicts := m.(replica.TreeVerdicts); verdicts {
			g.nodes[to].inbox = append(g.nodes[to].inbox, envelope{from, m})
		}
		return false
	}
	g.nodes[0].shard.Verify(g.clock())
	g.take(g.nodes[0])
	g.settle()
	if n := g.stats(0).Compared; n != 1 {
		t.Errorf("one comparison is counted %d times", n)
	}
}

func TestRowsListedUnderAnotherClockAreNotTaken(t *testing.T) {
	g := diverged(t)
	g.lose = func(from, to int, m replica.Message) bool {
		apart, ok := m.(replica.RowsApart)
		if ok && apart.Print != (dvv.Clock{}).Fingerprint() {
			apart.Print = (dvv.Clock{}).Fingerprint()
			g.nodes[to].inbox = append(g.nodes[to].inbox, envelope{from, apart})
			return true
		}
		return false
	}
	g.nodes[0].shard.Verify(g.clock())
	g.take(g.nodes[0])
	g.pass(10 * second)
	if s := g.stats(0); s.WalksRestarted == 0 || s.RowsRepaired+g.stats(1).RowsRepaired != 0 {
		t.Errorf("%d walks started over, %d rows repaired", s.WalksRestarted, s.RowsRepaired)
	}
}

func TestALostMessageOfAWalkEndsIt(t *testing.T) {
	for _, kind := range []string{"TreeVerdicts", "TreeBranch", "RowPrints", "RowsApart", "RowsMend"} {
		g := diverged(t)
		lost := false
		g.lose = func(from, _ int, m replica.Message) bool {
			if !lost && strings.HasSuffix(fmt.Sprintf("%T", m), kind) {
				lost = true
				return true
			}
			_, roots := m.(replica.TreeRoots)
			return roots && from == 1 // all walks are led by n0
		}
		g.nodes[0].shard.Verify(g.clock())
		g.take(g.nodes[0])
		g.until("equal", 60*second, func() bool { return g.same(0) })
		if !lost {
			t.Errorf("no %s was sent", kind)
		}
	}
}

func TestStepsOfAWalkThatNoHonestPeerSendsAreRefused(t *testing.T) {
	g := diverged(t)
	c, _, _ := g.nodes[0].shard.Durable(0)
	mark := c.Fingerprint()
	for i, m := range []replica.Message{
		replica.TreeRoots{ID: 1, Batch: []replica.TreeRoot{{Partition: 1}}},
		replica.TreeRoots{ID: 1, Batch: []replica.TreeRoot{{Partition: 0}, {Partition: 0}}},
		replica.TreeBranch{ID: 1, Print: mark, Step: badStep(9)},
		replica.RowPrints{ID: 1, Print: mark, Leaves: []int{3, 3}},
		replica.RowPrints{ID: 1, Print: mark, Leaves: []int{64}},
		replica.RowPrints{ID: 1, Print: mark, Leaves: []int{0}, Rows: []replica.RowPrint{{Place: 2}, {Place: 1}}},
		replica.RowsMend{Print: mark, Rows: []replica.AddressedRow{{Address: g.key(0, 0).Member("x"), Row: crdt.Row{
			Live: []crdt.Live{{Dot: dot(99, 1), Payload: crdt.Member{}.Payload()}}}}}},
	} {
		before := g.stats(0).Malformed
		g.hear(m, 0)
		if s := g.stats(0); s.Malformed != before+1 || s.RowsRepaired != 0 {
			t.Errorf("message %d, a %T: counted %d", i, m, s.Malformed-before)
		}
	}
}
