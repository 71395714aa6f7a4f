package replica_test

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"testing"

	"pgregory.net/rapid"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica"
	"github.com/cartwheel-db/cartwheel/replica/replicatest"
)

func dot(a dvv.Actor, seq uint64) dvv.Dot { return dvv.Dot{Actor: a, Seq: seq} }

// Groups arrive in any order, with kills of what came and what did not: on every
// node the tree is the sum of the rows after every commit, and the same on all
// nodes when all have everything.
func TestTreesFollowTheRowsAndDoNotDependOnTheOrderOfArrival(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		g := newGrove(t, 2, 1, func(c *replica.Config) { c.Without = replica.LogCatchUp | replica.ReadRepair })
		key := g.key(0, 0)
		var groups []replica.Message
		for i := range rapid.IntRange(1, 12).Draw(rt, "groups") {
			e := crdt.Event{Row: key.Member(rapid.SampledFrom([]string{"x", "y", "z"}).Draw(rt, "member"))}
			for range rapid.IntRange(0, 2).Draw(rt, "kills") {
				e.Kills = append(e.Kills, dot(dvv.Actor(1+rapid.IntRange(0, 2).Draw(rt, "by")), uint64(1+rapid.IntRange(0, 4).Draw(rt, "seq"))))
			}
			if len(e.Kills) == 2 && e.Kills[0].Compare(e.Kills[1]) >= 0 {
				e.Kills = e.Kills[:1]
			}
			if len(e.Kills) == 0 || rapid.Bool().Draw(rt, "puts") {
				e.Payload = crdt.Member{Stamp: crdt.Stamp(i)}.Payload()
			}
			groups = append(groups, replica.Replicate{Batch: []replica.Shipment{{Groups: []crdt.Group{{
				Actor: dvv.Actor(1 + i%3), First: uint64(1 + i/3), Stamp: 1, Events: []crdt.Event{e}}}}}})
		}
		for n, order := range [][]replica.Message{rapid.Permutation(groups).Draw(rt, "first"), rapid.Permutation(groups).Draw(rt, "second")} {
			for _, m := range order {
				g.hear(m, n)
				g.summed(n, 0)
			}
		}
		a, _ := g.nodes[0].shard.Root(0)
		if b, _ := g.nodes[1].shard.Root(0); a != b || !g.same(0) {
			rt.Fatalf("roots %v and %v, same rows %t", a, b, g.same(0))
		}
	})
}

// walked counts the rows that are read from a store.
type walked struct {
	replica.View
	rows *int
}

func (w walked) AllRows(p int, from []byte, fn func(crdt.Address, crdt.Row) bool) error {
	return w.View.AllRows(p, from, func(a crdt.Address, r crdt.Row) bool {
		*w.rows++
		return fn(a, r)
	})
}

// saved is a node with two partitions that was closed cleanly.
func saved(t *testing.T) (g *grove, n *tree, rows *int) {
	g = newGrove(t, 1, 2, nil)
	n, rows = g.nodes[0], new(int)
	for seq := range uint64(40) {
		g.hear(g.adding(int(seq%2), dot(7, seq+1), fmt.Sprint(seq)), 0)
	}
	tx := n.store.Begin()
	if err := n.shard.SaveTrees(tx); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	n.read = func(v replica.View) replica.View { return walked{v, rows} }
	return g, n, rows
}

func TestASavedTreeIsTakenOverWithoutReadingARow(t *testing.T) {
	g, n, rows := saved(t)
	g.open(n)
	g.pass(2 * second)
	if s := g.stats(0); s.TreesLoaded != 2 || s.TreesRebuilt != 0 || *rows != 0 {
		t.Errorf("%d trees taken over, %d summed up anew, %d rows read", s.TreesLoaded, s.TreesRebuilt, *rows)
	}
	g.summed(0, 0)
	g.summed(0, 1)
}

func TestASavedTreeThatDoesNotBelongToTheRowsIsNotTakenOver(t *testing.T) {
	for _, c := range []struct {
		name  string
		after func(*grove, *tree)
	}{
		{"after a write and a crash", func(g *grove, n *tree) { g.hear(g.adding(0, dot(7, 99), "late"), 0) }},
		{"after rows changed under the same clock, and a crash", func(g *grove, n *tree) {
			theirs := crdt.Row{Live: []crdt.Live{{Dot: dot(7, 1), Payload: crdt.Member{Stamp: 1}.Payload()}}}
			c, _, _ := n.shard.Durable(0)
			g.hear(replica.RowsMend{Print: c.Fingerprint(), Rows: []replica.AddressedRow{{Address: g.key(0, 0).Member("mended"), Row: theirs}}}, 0)
			if g.stats(0).RowsRepaired != 1 {
				g.t.Fatal("no row was changed")
			}
		}},
		{"that was saved under another key", func(g *grove, n *tree) {
			g.set = func(c *replica.Config) { c.TreeKey[0] ^= 1 }
		}},
		{"that was saved with another number of leaves", func(g *grove, n *tree) {
			g.set = func(c *replica.Config) { c.Leaves = 128 }
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			g, n, _ := saved(t)
			c.after(g, n)
			g.open(n)
			g.pass(2 * second)
			loaded := uint64(1)
			if g.set != nil {
				loaded = 0
			}
			if s := g.stats(0); s.TreesLoaded != loaded || s.TreesLoaded+s.TreesRebuilt != 2 {
				t.Errorf("%d trees taken over, %d summed up anew", s.TreesLoaded, s.TreesRebuilt)
			}
			if g.set == nil {
				g.summed(0, 0)
			}
		})
	}
}

var update = flag.Bool("update", false, "write the golden files anew")

func TestASavedTreeKeepsItsBytes(t *testing.T) {
	_, n, _ := saved(t)
	var got []byte
	for p := range 2 {
		b, err := n.store.View().Tree(p)
		if err != nil {
			t.Fatal(err)
		}
		got = fmt.Appendf(got, "partition %d: %s\n", p, hex.EncodeToString(b))
	}
	const file = "testdata/saved_trees.golden"
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want, err := os.ReadFile(file); err != nil || !bytes.Equal(got, want) {
		t.Errorf("got\n%swant\n%s%v", got, want, err)
	}
}

func TestATreeIsSavedWhenItsPartitionHasComeToRest(t *testing.T) {
	g := newGrove(t, 1, 1, nil)
	g.hear(g.adding(0, dot(7, 1), "milk"), 0)
	g.pass(60 * second)
	if n := g.stats(0).TreesSaved; n != 1 {
		t.Fatalf("saved %d times in a minute without a write", n)
	}
	g.open(g.nodes[0])
	g.pass(second)
	if s := g.stats(0); s.TreesLoaded != 1 || s.TreesRebuilt != 0 {
		t.Errorf("after a crash %d trees were taken over and %d summed up", s.TreesLoaded, s.TreesRebuilt)
	}
}

func TestATreeGrowsInTheBackgroundWhileRowsChangeOnBothSidesOfItsCursor(t *testing.T) {
	g := newGrove(t, 1, 2, nil)
	n := g.nodes[0]
	rows := 8 * replica.SliceRows
	g.hear(g.many(0, 7, rows), 0)
	g.hear(g.adding(1, dot(8, 1), "nobody touches it"), 0)
	read := 0
	n.read = func(v replica.View) replica.View { return walked{v, &read} }
	g.open(n)
	changes, before := uint64(0), 0
	for g.now = g.now + 1; ; g.pass(milli) {
		if _, known := n.shard.Root(0); known {
			break
		}
		if read == before {
			continue
		}
		if before = read; read > rows {
			t.Fatalf("%d rows read of %d", read, rows)
		}
		m := []string{"000000", "004090", "000001x", "004000x"}[changes%4] // replaced and new, below and above
		changes++
		g.slowly(n, g.adding(0, dot(9, changes), m))
	}
	g.pass(second)
	if s := g.stats(0); changes < 6 || s.TreesRebuilt != 2 || s.Miscounted != 0 {
		t.Errorf("%d changes meanwhile, %d trees summed up", changes, s.TreesRebuilt)
	}
	g.summed(0, 0)
	g.summed(0, 1)
}

func TestOneSliceOfAWalkIsBounded(t *testing.T) {
	g := newGrove(t, 1, 1, nil)
	g.hear(g.many(0, 7, 3*replica.SliceRows), 0)
	read, before := 0, 0
	g.nodes[0].read = func(v replica.View) replica.View { return walked{v, &read} }
	g.open(g.nodes[0])
	g.until("summed up", second, func() bool {
		if n := read - before; n > 3*replica.SliceRows { // in ten milliseconds
			t.Fatalf("%d rows at once", n)
		}
		before = read
		return g.stats(0).TreesRebuilt > 0
	})
	if read != 3*replica.SliceRows {
		t.Errorf("%d rows read", read)
	}
}

// torn is a store one of whose rows cannot be read.
type torn struct {
	replica.View
	row crdt.Address
}

type tornError struct{ row crdt.Address }

func (e tornError) Error() string { return fmt.Sprintf("row %v is damaged", e.row) }

func (e tornError) Record() (string, int, []byte) { return "rows", 0, e.row.AppendBinary(nil) }

func (w torn) AllRows(p int, from []byte, fn func(crdt.Address, crdt.Row) bool) error {
	met := false
	err := w.View.AllRows(p, from, func(a crdt.Address, r crdt.Row) bool {
		if a == w.row {
			met = true
			return true
		}
		return fn(a, r)
	})
	if err == nil && met {
		return tornError{w.row}
	}
	return err
}

func TestADamagedRowDoesNotKeepTheOthersFromBeingSummedUp(t *testing.T) {
	g := newGrove(t, 1, 2, nil)
	for i := range uint64(20) {
		g.hear(g.adding(int(i%2), dot(7, i+1), fmt.Sprint(i)), 0)
	}
	row := g.key(0, 0).Member("4")
	g.nodes[0].read = func(v replica.View) replica.View { return torn{v, row} }
	g.open(g.nodes[0])
	g.pass(2 * second)
	if _, known := g.nodes[0].shard.Root(0); known {
		t.Error("a tree that lacks a row is taken for whole")
	}
	g.summed(0, 1)
	g.nodes[0].read = nil
	g.pass(120 * second)
	g.summed(0, 0)
}

var _ replica.View = walked{(*replicatest.MemView)(nil), nil}
