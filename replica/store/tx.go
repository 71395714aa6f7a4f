package store

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
)

// A Tx is the single writer's transaction. It reads what it wrote; others see all
// of it, or nothing, when Commit has returned.
type Tx struct {
	reader
	scratch []byte        // a value being encoded
	bytes   uint64        // of keys and values put
	tallies map[int]tally // of the partitions whose log or operations changed
}

// Begin opens the transaction, and returns [ErrBusy] while another is open, its
// commit included.
func (s *Store) Begin() (*Tx, error) {
	if err := s.admit("begin", true); err != nil {
		return nil, err
	}
	t := &Tx{reader: reader{s: s}}
	if err := t.begin(true); err != nil {
		s.dismiss(true, err)
		return nil, err
	}
	return t, nil
}

// Rollback forgets the transaction. Once it is over it does nothing.
func (t *Tx) Rollback() error {
	if t.tx == nil {
		return nil
	}
	err := t.rollback()
	t.over(errors.Join(t.guard.broken, err))
	return err
}

func (t *Tx) over(failed error) {
	if failed == nil {
		t.s.values.reset()
	} else {
		t.s.values = arena{} // pages half written may still point into it
	}
	t.s.dismiss(true, failed)
}

// Commit makes the transaction durable, then visible, then calls OnSync. It may
// run on another goroutine than what filled the transaction, while views open
// and close.
//
// After an error nothing is known to be durable, and the store refuses all but
// Close. Only with [ErrFull] nothing has happened, and the store goes on.
func (t *Tx) Commit() error {
	if t.tx == nil {
		return fmt.Errorf("commit to store %s: transaction %w", t.s.path, ErrClosed)
	}
	if t.guard.broken != nil {
		broken := t.guard.broken
		_ = t.Rollback()
		return fmt.Errorf("commit to store %s: %w", t.s.path, broken)
	}
	tx, id := t.tx, t.tx.ID()
	if err := t.commit(); err != nil {
		t.tx = tx
		_ = t.rollback() // a panic leaves the transaction, and bbolt's lock, behind
		t.s.settled(0)
		if t.s.full(err) {
			t.over(nil)
			return fmt.Errorf("commit to store %s: %w: %w", t.s.path, ErrFull, err)
		}
		err = fmt.Errorf("commit to store %s: %w", t.s.path, err)
		t.over(err)
		return err
	}
	t.s.settled(id)
	t.putTallies()
	stats := tx.Stats()
	t.s.pages.Add(uint64(stats.GetPageAlloc()))
	t.s.bytes.Add(t.bytes)
	t.s.commits.Add(1)
	if !t.s.options.NoSync {
		t.s.syncs.Add(2)
		if t.s.options.OnSync != nil {
			t.s.options.OnSync(t.s.path)
		}
	}
	t.over(nil)
	return nil
}

func (t *Tx) commit() (err error) {
	defer t.guard.leave(t.guard.enter(), t.s.path, meta, &t.key, &err)
	t.s.db.NoFreelistSync = t.s.Held() > heldLong
	if err := t.s.stand(t); err != nil {
		return err
	}
	err = t.tx.Commit()
	t.tx = nil
	return err
}

// arena keeps the values of a transaction: bbolt copies keys, but holds on to
// values until they are written.
type arena struct {
	chunks [][]byte
	used   int    // chunks that hold values
	free   []byte // the rest of the last of them
}

const (
	chunkSize = 64 << 10
	maxChunks = 16 // kept from one transaction to the next
)

func (a *arena) copy(b []byte) []byte {
	if len(b) > chunkSize/4 {
		return bytes.Clone(b)
	}
	if len(b) > len(a.free) {
		if a.used == len(a.chunks) {
			a.chunks = append(a.chunks, make([]byte, chunkSize))
		}
		a.free = a.chunks[a.used]
		a.used++
	}
	out := a.free[:len(b):len(b)]
	a.free = a.free[len(b):]
	copy(out, b)
	return out
}

// reset makes the space free again, once the transaction is over.
func (a *arena) reset() {
	clear(a.chunks[min(len(a.chunks), maxChunks):])
	a.chunks = a.chunks[:min(len(a.chunks), maxChunks)]
	a.used, a.free = 0, nil
}

// put stores t.scratch under t.key.
func (t *Tx) put(b bucket) error {
	t.scratch = seal(b, t.key, t.scratch)
	t.bytes += uint64(len(t.key) + len(t.scratch))
	if err := t.recall(b); err != nil {
		return err
	}
	return t.bucket(b).Put(t.key, t.s.values.copy(t.scratch))
}

func (t *Tx) delete(b bucket) error {
	if err := t.recall(b); err != nil {
		return err
	}
	return t.bucket(b).Delete(t.key)
}

// PutClock stores the clock, and with it the partition.
func (t *Tx) PutClock(p int, c dvv.Clock) (err error) {
	if err := t.check(p); err != nil {
		return err
	}
	defer t.guard.leave(t.guard.enter(), t.s.path, clocks, &t.key, &err)
	t.key, t.scratch = appendPartition(t.key[:0], p), c.AppendBinary(t.scratch[:0])
	return t.put(clocks)
}

// PutRow replaces row before by after, an empty one by nothing, and keeps the
// indexes of deferred dots and of expiries in step.
func (t *Tx) PutRow(p int, a crdt.Address, before, after crdt.Row) (err error) {
	if err := t.check(p); err != nil {
		return err
	}
	defer t.guard.leave(t.guard.enter(), t.s.path, rows, &t.key, &err)
	t.key = appendAddress(t.key[:0], p, a)
	if after.IsEmpty() {
		err = t.delete(rows)
	} else {
		t.scratch = crdt.AppendRow(t.scratch[:0], after)
		err = t.put(rows)
	}
	if err != nil {
		return err
	}
	if err := t.index(p, a, before.Deferred, after.Deferred); err != nil {
		return err
	}
	return t.expire(p, a, before, after)
}

// index merges two sorted lists and changes what only one of them has.
func (t *Tx) index(p int, a crdt.Address, before, after []dvv.Dot) (err error) {
	for err == nil && len(before)+len(after) > 0 {
		switch {
		case len(after) == 0 || len(before) > 0 && before[0].Less(after[0]):
			t.key = a.AppendBinary(appendDot(t.key[:0], p, before[0]))
			err = t.delete(deferred)
			before = before[1:]
		case len(before) == 0 || after[0].Less(before[0]):
			t.key, t.scratch = a.AppendBinary(appendDot(t.key[:0], p, after[0])), t.scratch[:0]
			err = t.put(deferred)
			after = after[1:]
		default:
			before, after = before[1:], after[1:]
		}
	}
	return err
}

// PutDead replaces the dots deferred at a key; empty removes them.
func (t *Tx) PutDead(p int, k crdt.Key, c dvv.Clock) (err error) {
	if err := t.check(p); err != nil {
		return err
	}
	defer t.guard.leave(t.guard.enter(), t.s.path, dead, &t.key, &err)
	t.key = appendKey(t.key[:0], p, k)
	if c.IsEmpty() {
		return t.delete(dead)
	}
	t.scratch = c.AppendBinary(t.scratch[:0])
	return t.put(dead)
}

// PutGroup appends a group to the log.
func (t *Tx) PutGroup(p int, g *crdt.Group) (err error) {
	if err := t.check(p); err != nil {
		return err
	}
	defer t.guard.leave(t.guard.enter(), t.s.path, log, &t.key, &err)
	t.key = appendDot(t.key[:0], p, dvv.Dot{Actor: g.Actor, Seq: g.Last()})
	t.replaced(log)
	t.scratch = crdt.AppendGroup(t.scratch[:0], g)
	t.count(p, t.tally(p).plus(1, tallied(log, len(t.scratch)+sealSize)))
	return t.put(log)
}

// DeleteGroup removes a group from the log.
func (t *Tx) DeleteGroup(p int, g *crdt.Group) (err error) {
	if err := t.check(p); err != nil {
		return err
	}
	defer t.guard.leave(t.guard.enter(), t.s.path, log, &t.key, &err)
	t.key = appendDot(t.key[:0], p, dvv.Dot{Actor: g.Actor, Seq: g.Last()})
	t.replaced(log)
	return t.delete(log)
}

// PutRemembered stores what is known of an operation.
func (t *Tx) PutRemembered(p int, m *crdt.Remembered) (err error) {
	if err := t.check(p); err != nil {
		return err
	}
	defer t.guard.leave(t.guard.enter(), t.s.path, remembered, &t.key, &err)
	t.key, t.scratch = appendOperation(t.key[:0], p, m.Op), crdt.AppendRemembered(t.scratch[:0], m)
	t.replaced(remembered)
	t.count(p, t.tally(p).plus(1, tallied(remembered, 0)))
	return t.put(remembered)
}

// DeleteRemembered forgets an operation.
func (t *Tx) DeleteRemembered(p int, op crdt.Operation) (err error) {
	if err := t.check(p); err != nil {
		return err
	}
	defer t.guard.leave(t.guard.enter(), t.s.path, remembered, &t.key, &err)
	t.key = appendOperation(t.key[:0], p, op)
	t.replaced(remembered)
	return t.delete(remembered)
}

// ReplaceRow replaces a row whatever is stored of it, damaged or not. The row's
// entries in the index of deferred dots are found by reading all of the
// partition's index, which is nearly always small: the row's own bytes may lie.
// For its entry in that of expiries see [Tx.unexpire].
func (t *Tx) ReplaceRow(p int, a crdt.Address, after crdt.Row) (err error) {
	if err := t.check(p); err != nil {
		return err
	}
	defer t.guard.leave(t.guard.enter(), t.s.path, rows, &t.key, &err)
	address := a.AppendBinary(nil)
	prefix := appendPartition(nil, p)
	var entries [][]byte
	c := t.bucket(deferred).Cursor()
	for k, _ := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, _ = c.Next() {
		if len(k) >= dotKeySize && bytes.Equal(k[dotKeySize:], address) {
			entries = append(entries, bytes.Clone(k))
		}
	}
	for _, k := range entries {
		t.key = append(t.key[:0], k...)
		if err := t.delete(deferred); err != nil {
			return err
		}
	}
	if err := t.unexpire(p, a, address); err != nil {
		return err
	}
	return t.PutRow(p, a, crdt.Row{}, after)
}

// Drop removes everything of a partition, damaged records too.
func (t *Tx) Drop(p int) (err error) {
	if err := t.check(p); err != nil {
		return err
	}
	defer t.guard.leave(t.guard.enter(), t.s.path, rows, &t.key, &err)
	prefix := appendPartition(nil, p)
	for _, b := range partitioned {
		if _, err := t.cut(b, prefix, -1); err != nil {
			return err
		}
		t.key = append(t.key[:0], prefix...)
		if err := t.recallAll(b, func(right []byte) bool { return bytes.HasPrefix(right, prefix) }); err != nil {
			return err
		}
	}
	t.count(p, tally{})
	return nil
}

// cut deletes limit records with the prefix, all when it is negative, and tells
// whether there are more.
func (t *Tx) cut(b bucket, prefix []byte, limit int) (more bool, err error) {
	c := t.bucket(b).Cursor()
	// A deletion may move what follows under the cursor, so it seeks anew: from the
	// key just deleted, since what lies before it are emptied pages by now.
	for k, _ := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, _ = c.Seek(t.key) {
		if limit == 0 {
			return true, nil
		}
		limit--
		t.key = append(t.key[:0], k...)
		if err := c.Delete(); err != nil {
			return false, err
		}
	}
	return false, nil
}
