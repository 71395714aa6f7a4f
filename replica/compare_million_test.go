//go:build !race

package replica_test

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica"
	"github.com/cartwheel-db/cartwheel/replica/replicatest"
)

// million is the rows of one large set, made when they are read.
type million struct {
	replica.View
	key  crdt.Key
	rows int
	odd  map[string]crdt.Row // those that are not as they are made
}

func (m *million) row(i int) (a crdt.Address, r crdt.Row) {
	a = m.key.Member(fmt.Sprintf("%07d", i))
	if odd, ok := m.odd[a.Field]; ok {
		return a, odd
	}
	return a, crdt.Row{Live: []crdt.Live{{Dot: dot(7, uint64(i+1)), Payload: crdt.Member{Stamp: 1}.Payload()}}}
}

func (m *million) AllRows(_ int, from []byte, fn func(crdt.Address, crdt.Row) bool) error {
	i := 0
	if a, err := crdt.DecodeAddress(from); err == nil { // one byte behind the row that was read last
		i, _ = strconv.Atoi(a.Field[:7])
		i++
	}
	for ; i < m.rows; i++ {
		if a, r := m.row(i); !r.IsEmpty() && !fn(a, r) {
			break
		}
	}
	return nil
}

func (m *million) Row(_ int, a crdt.Address) (crdt.Row, error) {
	i, err := strconv.Atoi(a.Field)
	_, r := m.row(i)
	return r, err
}

type millionTx struct {
	*replicatest.MemTx
	m *million
}

func (t millionTx) Row(p int, a crdt.Address) (crdt.Row, error) { return t.m.Row(p, a) }

func (t millionTx) PutRow(_ int, a crdt.Address, _, after crdt.Row) error {
	t.m.odd[a.Field] = after
	return nil
}

func TestOneDifferingRowOfAMillionCostsLittleOnTheWire(t *testing.T) {
	const rows = 1_000_000
	g := newGrove(t, 2, 1, func(c *replica.Config) { only(replica.Trees)(c); c.Leaves, c.VerifyEvery = 4096, 3600*second })
	for i, n := range g.nodes {
		m := &million{key: g.key(0, 0), rows: rows, odd: map[string]crdt.Row{}}
		if i == 1 {
			m.odd["0271828"] = crdt.Row{}
		}
		n.read = func(v replica.View) replica.View { return &million{v, m.key, m.rows, m.odd} }
		n.write = func(tx *replicatest.MemTx) replica.Tx { return millionTx{tx, m} }
		var c dvv.Clock
		c.AddRange(7, 1, rows)
		tx := n.store.Begin()
		if err := tx.PutClock(0, c); err != nil || tx.Commit() != nil {
			t.Fatal(err)
		}
		g.open(n)
	}
	first, second := g.nodes[0].shard, g.nodes[1].shard
	g.until("summed up", 3000e9, func() bool { return g.stats(0).TreesRebuilt+g.stats(1).TreesRebuilt == 2 })
	clear(g.bytes)
	first.Verify(g.clock())
	g.take(g.nodes[0])
	g.until("verified", 3000e9, func() bool { r := first.Verifying(g.clock()); return !r.Running() })
	a, _ := first.Root(0)
	b, _ := second.Root(0)
	if r := first.Verifying(g.clock()); a != b || r.Equal != 1 || r.Differing != 1 || g.stats(1).RowsRepaired != 1 {
		t.Fatalf("roots %v and %v, report %+v", a, b, r)
	}
	total := 0
	for _, kind := range []string{"TreeRoots", "TreeVerdicts", "TreeBranch", "RowPrints", "RowsApart", "RowsMend"} {
		total += g.bytes[kind]
	}
	t.Logf("%d bytes: %v in %v", total, g.bytes, g.sent)
	if total == 0 || total > 100_000 {
		t.Errorf("%d bytes on the wire", total)
	}
}
