package replicatest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/crdt/pack"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica"
)

var (
	_ replica.View = (*MemView)(nil)
	_ replica.Tx   = (*MemTx)(nil)
)

// MemStore is a shard's store in memory, for simulations: the same contract as
// the store on disk, and a commit that a crash can prevent.
//
// A view is a snapshot: it shows what was committed when it was opened, however
// many commits follow. A transaction shows its own writes to itself and nothing
// to others until Commit; Abandon is the crash before the sync. Opening a view,
// beginning, abandoning and cloning cost nothing, a write is logarithmic.
//
// It is for one goroutine, and iterates in the order of bytes only, so that a
// simulation repeats.
type MemStore struct {
	committed memState
	open      *MemTx
	Commits   int
}

// memState is one state of the store. The maps are never changed in place:
// copying the struct is the snapshot. Keys begin with the partition in two bytes.
type memState struct {
	clocks, rows, dead, expiring, summaries, log, remembered, marks, trees, staged *treap

	tally map[int]memTally // replaced, never changed in place
}

// memTally counts what a partition keeps for others.
type memTally struct{ groups, bytes, operations int64 }

// NewMemStore returns an empty store.
func NewMemStore() *MemStore { return &MemStore{} }

// View returns a snapshot of what is committed. There is nothing to close.
func (m *MemStore) View() *MemView { return &MemView{state: m.committed} }

// Begin opens the only transaction. It panics when one is open: the shard has a
// single writer.
func (m *MemStore) Begin() *MemTx {
	if m.open != nil {
		panic("replicatest: begin while a transaction is open")
	}
	m.open = &MemTx{MemView: MemView{state: m.committed}, store: m}
	return m.open
}

// Clone returns a store of its own with what is committed here: a backup to be
// restored later, or a copied directory.
func (m *MemStore) Clone() *MemStore { return &MemStore{committed: m.committed} }

// Wipe loses everything, as an emptied disk does. An open transaction is
// abandoned.
func (m *MemStore) Wipe() {
	if m.open != nil {
		m.open.Abandon()
	}
	m.committed = memState{}
}

// MemView is a snapshot of a [MemStore].
type MemView struct {
	state   memState
	walking int
}

// MemTx is the single writer's transaction.
type MemTx struct {
	MemView
	store *MemStore
}

var errMemTxOver = errors.New("transaction is over")

// Commit makes the transaction visible and durable. A transaction that is over,
// because it was abandoned or the store wiped, changes nothing and says so.
func (t *MemTx) Commit() error {
	if t.store.open != t {
		return fmt.Errorf("commit: %w", errMemTxOver)
	}
	t.store.open = nil
	t.store.committed = t.state
	t.store.Commits++
	return nil
}

// Abandon forgets the transaction; once it is over it does nothing.
func (t *MemTx) Abandon() {
	if t.store.open == t {
		t.store.open = nil
	}
}

func memPrefix(p int) []byte { return binary.BigEndian.AppendUint16(nil, uint16(p)) }

func memAddress(p int, a crdt.Address) string { return string(a.AppendBinary(memPrefix(p))) }

func memKey(p int, k crdt.Key) string { return string(k.AppendPrefix(memPrefix(p))) }

func memDot(p int, d dvv.Dot) string {
	b := binary.BigEndian.AppendUint64(memPrefix(p), uint64(d.Actor))
	return string(binary.BigEndian.AppendUint64(b, d.Seq))
}

func memOperation(p int, o crdt.Operation) string {
	b := append(binary.BigEndian.AppendUint64(memPrefix(p), uint64(o.Issued)), o.Client[:]...)
	return string(binary.BigEndian.AppendUint64(b, o.Seq))
}

// walk calls fn for the keys with the prefix that are at least from.
func (v *MemView) walk(t *treap, prefix, from string, fn func(key string, value []byte) (bool, error)) (err error) {
	v.walking++
	defer func() { v.walking-- }()
	t.ascend(from, func(key string, value []byte) (more bool) {
		if strings.HasPrefix(key, prefix) {
			more, err = fn(key, value)
		}
		return more && err == nil
	})
	return err
}

// Partitions lists the partitions that are stored.
func (v *MemView) Partitions() (out []int, err error) {
	v.state.clocks.ascend("", func(key string, _ []byte) bool {
		out = append(out, int(binary.BigEndian.Uint16([]byte(key))))
		return true
	})
	return out, nil
}

// Clock returns the partition's clock.
func (v *MemView) Clock(p int) (dvv.Clock, bool, error) {
	b, stored := v.state.clocks.get(string(memPrefix(p)))
	if !stored {
		return dvv.Clock{}, false, nil
	}
	c, _, err := dvv.DecodeClock(b)
	return c, true, err
}

// Row returns a row.
func (v *MemView) Row(p int, a crdt.Address) (crdt.Row, error) {
	b, found := v.state.rows.get(memAddress(p, a))
	if !found {
		return crdt.Row{}, nil
	}
	return crdt.DecodeRow(b, a.RowType())
}

// Rows walks the rows of a key.
func (v *MemView) Rows(p int, k crdt.Key, from string, fn func(string, crdt.Row) bool) error {
	key := memKey(p, k)
	return v.walk(v.state.rows, key, key, func(key string, value []byte) (bool, error) {
		a, err := crdt.DecodeAddress([]byte(key[2:]))
		if err != nil || a.Field < from {
			return true, err
		}
		r, err := crdt.DecodeRow(value, a.RowType())
		return err == nil && fn(a.Field, r), err
	})
}

// AllRows walks the rows of a partition.
func (v *MemView) AllRows(p int, from []byte, fn func(crdt.Address, crdt.Row) bool) error {
	prefix := string(memPrefix(p))
	return v.walk(v.state.rows, prefix, prefix+string(from), func(key string, value []byte) (bool, error) {
		a, err := crdt.DecodeAddress([]byte(key[2:]))
		if err != nil {
			return false, err
		}
		r, err := crdt.DecodeRow(value, a.RowType())
		return err == nil && fn(a, r), err
	})
}

// Dead returns the dots deferred at a key.
func (v *MemView) Dead(p int, k crdt.Key) (dvv.Clock, error) {
	b, found := v.state.dead.get(memKey(p, k))
	if !found {
		return dvv.Clock{}, nil
	}
	c, _, err := dvv.DecodeClock(b)
	return c, err
}

// AllDead walks the keys with deferred dots.
func (v *MemView) AllDead(p int, fn func(crdt.Key, dvv.Clock) bool) error {
	prefix := string(memPrefix(p))
	return v.walk(v.state.dead, prefix, prefix, func(key string, value []byte) (bool, error) {
		k, _, err := crdt.DecodeKey([]byte(key[2:]))
		if err != nil {
			return false, err
		}
		c, _, err := dvv.DecodeClock(value)
		return err == nil && fn(k, c), err
	})
}

// DeferredIn finds deferred dots by reading all rows: an index would be one more
// thing that could be wrong here. They come ordered by dot, then address.
func (v *MemView) DeferredIn(p int, dots dvv.Clock, fn func(dvv.Dot, crdt.Address) bool) error {
	type deferred struct {
		dot dvv.Dot
		row crdt.Address
	}
	var all []deferred
	err := v.AllRows(p, nil, func(a crdt.Address, r crdt.Row) bool {
		for _, d := range r.Deferred {
			if dots.Contains(d) {
				all = append(all, deferred{d, a})
			}
		}
		return true
	})
	slices.SortStableFunc(all, func(a, b deferred) int { return a.dot.Compare(b.dot) })
	v.walking++
	defer func() { v.walking-- }()
	for _, d := range all {
		if err != nil || !fn(d.dot, d.row) {
			break
		}
	}
	return err
}

// Group returns the logged group that holds d.
func (v *MemView) Group(p int, d dvv.Dot) (g crdt.Group, logged bool, err error) {
	err = v.walk(v.state.log, memDot(p, d)[:10], memDot(p, d), func(_ string, value []byte) (bool, error) {
		found, err := crdt.DecodeGroup(value)
		if logged = err == nil && found.First <= d.Seq; logged {
			g = found
		}
		return false, err
	})
	return g, logged, err
}

// Log walks the logged groups with a dot in wanted. A group is filed under its
// last dot, so the first one at or behind a wanted dot is the first that may
// hold it.
func (v *MemView) Log(p int, wanted dvv.Clock, fn func(crdt.Group, int) bool) error {
	last, stopped := "", false
	for actor, run := range wanted.Intervals() {
		from := memDot(p, dvv.Dot{Actor: actor, Seq: run.First})
		err := v.walk(v.state.log, from[:10], from, func(key string, value []byte) (bool, error) {
			if key == last { // it spans two runs
				return true, nil
			}
			g, err := crdt.DecodeGroup(value)
			if err != nil || g.First > run.Last {
				return false, err
			}
			last, stopped = key, !fn(g, len(value))
			return !stopped, nil
		})
		if err != nil || stopped {
			return err
		}
	}
	return nil
}

// Remembered returns what is known of an operation.
func (v *MemView) Remembered(p int, op crdt.Operation) (crdt.Remembered, bool, error) {
	b, found := v.state.remembered.get(memOperation(p, op))
	if !found {
		return crdt.Remembered{}, false, nil
	}
	m, err := memRemembered(b)
	return m, err == nil, err
}

// AllRemembered walks the remembered operations.
func (v *MemView) AllRemembered(p int, from crdt.Operation, fn func(crdt.Remembered) bool) error {
	return v.walk(v.state.remembered, string(memPrefix(p)), memOperation(p, from), func(_ string, value []byte) (bool, error) {
		m, err := memRemembered(value)
		return err == nil && fn(m), err
	})
}

// Mark returns the partition's marks.
func (v *MemView) Mark(p int) (ready, promoting bool, err error) {
	b, found := v.state.marks.get(string(memPrefix(p)))
	return found && b[0]&1 != 0, found && b[0]&2 != 0, nil
}

// Tree returns the bytes of the tree that was last put.
func (v *MemView) Tree(p int) ([]byte, error) {
	b, _ := v.state.trees.get(string(memPrefix(p)))
	return b, nil
}

// Staged returns a staged record.
func (v *MemView) Staged(p int, key []byte) ([]byte, bool, error) {
	b, found := v.state.staged.get(string(memPrefix(p)) + string(key))
	return b, found, nil
}

// AllStaged walks the staged records.
func (v *MemView) AllStaged(p int, from []byte, fn func(key, value []byte) bool) error {
	prefix := string(memPrefix(p))
	return v.walk(v.state.staged, prefix, prefix+string(from), func(key string, value []byte) (bool, error) {
		return fn([]byte(key[2:]), value), nil
	})
}

// Tally counts the log and the remembered operations.
func (v *MemView) Tally(p int) (groups, logBytes, operations int64) {
	t := v.state.tally[p]
	return t.groups, t.bytes, t.operations
}

func memRemembered(b []byte) (crdt.Remembered, error) {
	r := pack.NewReader(b)
	m := crdt.ReadRemembered(r)
	return m, r.Close()
}
