package store

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	bolt "go.etcd.io/bbolt"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/crdt/pack"
	"github.com/cartwheel-db/cartwheel/dvv"
)

// A View is a snapshot: it shows what was committed when it was opened, however
// many commits follow. What it returns is copied out of the file.
//
// The space of what later commits replace is not used again while a view is
// open, and a file that outgrows its map waits for all open views. So a view is
// short, and nobody waits for a commit while holding one.
type View struct{ reader }

// View opens a snapshot.
func (s *Store) View() (v *View, err error) {
	if err := s.admit("view", false); err != nil {
		return nil, err
	}
	v = &View{reader{s: s}}
	if err := v.begin(false); err != nil {
		s.dismiss(false, err)
		return nil, err
	}
	return v, nil
}

// Close ends the view. A second call does nothing.
func (v *View) Close() error {
	if v.tx == nil {
		return nil
	}
	err := v.rollback()
	v.s.dismiss(false, nil)
	return err
}

// reader is the half that views and transactions share.
type reader struct {
	s       *Store
	tx      *bolt.Tx // nil when over
	guard   faultGuard
	buckets [buckets]*bolt.Bucket
	cursors [buckets]*bolt.Cursor // for point reads
	key     []byte                // scratch of point reads and writes
}

func (r *reader) begin(writable bool) (err error) {
	defer r.guard.leave(r.guard.enter(), r.s.path, meta, &r.key, &err)
	r.s.wedged.Add(1)
	r.tx, err = r.s.db.Begin(writable)
	r.s.wedged.Add(-1)
	return err
}

func (r *reader) rollback() (err error) {
	defer r.guard.leave(r.guard.enter(), r.s.path, meta, &r.key, &err)
	tx := r.tx
	r.tx = nil
	r.s.wedged.Add(1)
	err = tx.Rollback()
	r.s.wedged.Add(-1)
	return err
}

func (r *reader) check(p int) error {
	if r.tx == nil {
		return fmt.Errorf("store %s: view or transaction: %w", r.s.path, ErrClosed)
	}
	if p < 0 || p >= r.s.options.Partitions {
		return fmt.Errorf("store %s: partition %d of %d", r.s.path, p, r.s.options.Partitions)
	}
	return nil
}

func (r *reader) bucket(b bucket) *bolt.Bucket {
	if r.buckets[b] == nil {
		r.buckets[b] = r.tx.Bucket([]byte(b.String()))
	}
	return r.buckets[b]
}

func (r *reader) cursor(b bucket) *bolt.Cursor {
	if r.cursors[b] == nil {
		r.cursors[b] = r.bucket(b).Cursor()
	}
	return r.cursors[b]
}

// failed completes an error and counts damage.
func (r *reader) failed(err *error) {
	if damageIn(*err) != nil {
		r.s.damage.Add(1)
	}
}

// lookup returns the bytes of a record, still in the map.
func (r *reader) lookup(b bucket, key []byte) (value []byte, found bool, err error) {
	c := r.cursor(b)
	k, v := c.Seek(key)
	if k != nil && bytes.Equal(k, key) {
		value, err = unseal(b, k, v)
		return value, err == nil, err
	}
	return nil, false, gap(b, c, k, v)
}

// gap checks the records on both sides of where a key is missing: one of them
// may be what was looked for, with a damaged key. The cursor stands at k.
func gap(b bucket, c *bolt.Cursor, k, v []byte) error {
	if k != nil {
		if _, err := unseal(b, k, v); err != nil {
			return err
		}
	}
	if k, v = c.Prev(); k != nil {
		if _, err := unseal(b, k, v); err != nil {
			return err
		}
	}
	return nil
}

// walk calls fn, outside the guard, for the records with the prefix that are at
// least from. The bytes are still in the map.
func (r *reader) walk(b bucket, prefix, from []byte, fn func(key, value []byte) (bool, error)) error {
	c := r.bucket(b).Cursor()
	k, v := c.Seek(from)
	if k == nil || !bytes.Equal(k, from) {
		if err := gap(b, c, k, v); err != nil {
			return err
		}
		k, v = c.Seek(from)
	}
	for ; k != nil; k, v = c.Next() {
		value, err := unseal(b, k, v)
		if err != nil || !bytes.HasPrefix(k, prefix) { // the record behind the end is checked too
			return err
		}
		if more, err := fn(k, value); err != nil || !more {
			return err
		}
	}
	return nil
}

// malformed is a record that was stored with the wrong bytes.
func malformed(b bucket, key []byte, err error) error {
	if err == nil {
		return nil
	}
	return damaged(b, key, "checksum right, contents wrong: %v", err)
}

func (r *reader) identity() (id identity, err error) {
	defer r.guard.leave(r.guard.enter(), r.s.path, meta, &r.key, &err)
	raw, found, err := r.lookup(meta, []byte(metaKey))
	if err == nil && !found {
		err = errors.New("absent")
	}
	if err != nil {
		return id, err
	}
	return readIdentity(raw)
}

// Partitions lists the partitions whose clock is stored, in order.
func (r *reader) Partitions() (out []int, err error) {
	if err := r.check(0); err != nil {
		return nil, err
	}
	defer r.failed(&err)
	defer r.guard.leave(r.guard.enter(), r.s.path, clocks, &r.key, &err)
	err = r.walk(clocks, nil, nil, func(key, _ []byte) (bool, error) {
		if len(key) != 2 {
			return false, malformed(clocks, key, errKey)
		}
		out = append(out, int(key[0])<<8|int(key[1]))
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

var errKey = errors.New("malformed key")

func (r *reader) clock(b bucket, key []byte) (c dvv.Clock, found bool, err error) {
	raw, found, err := r.lookup(b, key)
	if err != nil || !found {
		return dvv.Clock{}, false, err
	}
	c, err = readClock(b, key, raw)
	return c, err == nil, err
}

func readClock(b bucket, key, raw []byte) (dvv.Clock, error) {
	c, rest, err := dvv.DecodeClock(raw) // shares nothing with raw
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%d bytes behind the clock", len(rest))
	}
	return c, malformed(b, key, err)
}

// Clock returns the partition's clock; stored is false when there is none.
func (r *reader) Clock(p int) (c dvv.Clock, stored bool, err error) {
	if err := r.check(p); err != nil {
		return c, false, err
	}
	defer r.failed(&err)
	defer r.guard.leave(r.guard.enter(), r.s.path, clocks, &r.key, &err)
	r.key = appendPartition(r.key[:0], p)
	return r.clock(clocks, r.key)
}

// Row returns a row, empty when absent.
func (r *reader) Row(p int, a crdt.Address) (row crdt.Row, err error) {
	if err := r.check(p); err != nil {
		return row, err
	}
	defer r.failed(&err)
	defer r.guard.leave(r.guard.enter(), r.s.path, rows, &r.key, &err)
	r.key = appendAddress(r.key[:0], p, a)
	raw, found, err := r.lookup(rows, r.key)
	if err != nil || !found {
		return crdt.Row{}, err
	}
	row, err = crdt.DecodeRow(bytes.Clone(raw), a.Type)
	return row, malformed(rows, r.key, err)
}

// slab copies many small values with few allocations. What is copied keeps the
// whole chunk alive, so chunks are small.
type slab struct{ free []byte }

const slabSize = 2 << 10

func (s *slab) copy(b []byte) []byte {
	if len(b) > slabSize/8 {
		return bytes.Clone(b)
	}
	if len(b) > len(s.free) {
		s.free = make([]byte, slabSize)
	}
	out := s.free[:len(b):len(b)]
	s.free = s.free[len(b):]
	copy(out, b)
	return out
}

// call runs a callback outside the guard.
func (r *reader) call(fn func() bool) bool {
	r.guard.calling = true
	more := fn()
	r.guard.calling = false
	return more
}

// Rows calls fn for each row of the key whose field is at least from.
func (r *reader) Rows(p int, k crdt.Key, from string, fn func(string, crdt.Row) bool) (err error) {
	if err := r.check(p); err != nil {
		return err
	}
	if k.Type != crdt.Set && from != "" {
		return nil
	}
	defer r.failed(&err)
	defer r.guard.leave(r.guard.enter(), r.s.path, rows, &r.key, &err)
	prefix := appendAddress(nil, p, k.Row())
	start := append(slices.Clip(prefix), from...)
	var values slab
	return r.walk(rows, prefix, start, func(key, value []byte) (bool, error) {
		row, err := crdt.DecodeRow(values.copy(value), k.Type)
		if err != nil {
			return false, malformed(rows, key, err)
		}
		field := string(key[len(prefix):])
		return r.call(func() bool { return fn(field, row) }), nil
	})
}

// AllRows calls fn for each row in the order of address bytes.
func (r *reader) AllRows(p int, fn func(crdt.Address, crdt.Row) bool) (err error) {
	if err := r.check(p); err != nil {
		return err
	}
	defer r.failed(&err)
	defer r.guard.leave(r.guard.enter(), r.s.path, rows, &r.key, &err)
	var values slab
	var a crdt.Address
	var shared []byte // what the keys of all members of a's set begin with
	prefix := appendPartition(nil, p)
	return r.walk(rows, prefix, prefix, func(key, value []byte) (bool, error) {
		if len(shared) > 0 && bytes.HasPrefix(key, shared) {
			a.Field = string(key[len(shared):])
		} else {
			var err error
			if a, err = crdt.DecodeAddress(key[2:]); err != nil {
				return false, malformed(rows, key, err)
			}
			if shared = shared[:0]; a.Type == crdt.Set {
				shared = append(shared, key[:len(key)-len(a.Field)]...)
			}
		}
		row, err := crdt.DecodeRow(values.copy(value), a.Type)
		if err != nil {
			return false, malformed(rows, key, err)
		}
		return r.call(func() bool { return fn(a, row) }), nil
	})
}

// Dead returns the dots deferred at a key, empty when none.
func (r *reader) Dead(p int, k crdt.Key) (c dvv.Clock, err error) {
	if err := r.check(p); err != nil {
		return c, err
	}
	defer r.failed(&err)
	defer r.guard.leave(r.guard.enter(), r.s.path, dead, &r.key, &err)
	r.key = appendKey(r.key[:0], p, k)
	c, _, err = r.clock(dead, r.key)
	return c, err
}

// AllDead calls fn for each key with deferred dots, in order.
func (r *reader) AllDead(p int, fn func(crdt.Key, dvv.Clock) bool) (err error) {
	if err := r.check(p); err != nil {
		return err
	}
	defer r.failed(&err)
	defer r.guard.leave(r.guard.enter(), r.s.path, dead, &r.key, &err)
	prefix := appendPartition(nil, p)
	return r.walk(dead, prefix, prefix, func(key, value []byte) (bool, error) {
		k, rest, err := crdt.DecodeKey(key[2:])
		if err == nil && len(rest) > 0 {
			err = errKey
		}
		if err != nil {
			return false, malformed(dead, key, err)
		}
		c, err := readClock(dead, key, value)
		if err != nil {
			return false, err
		}
		return r.call(func() bool { return fn(k, c) }), nil
	})
}

// DeferredIn calls fn for each deferred dot of a row that is in dots, ordered by
// dot, then address.
func (r *reader) DeferredIn(p int, dots dvv.Clock, fn func(dvv.Dot, crdt.Address) bool) (err error) {
	if err := r.check(p); err != nil {
		return err
	}
	defer r.failed(&err)
	defer r.guard.leave(r.guard.enter(), r.s.path, deferred, &r.key, &err)
	if k, _ := r.cursor(deferred).First(); k == nil {
		return nil // as nearly always: every commit asks
	}
	stopped := false
	for actor, run := range dots.Intervals() {
		start := appendDot(nil, p, dvv.Dot{Actor: actor, Seq: run.First})
		err := r.walk(deferred, start[:dotPrefix], start, func(key, _ []byte) (bool, error) {
			if len(key) < dotKeySize {
				return false, malformed(deferred, key, errKey)
			}
			d := readDot(key)
			if d.Seq > run.Last {
				return false, nil
			}
			a, err := crdt.DecodeAddress(key[dotKeySize:])
			if err != nil {
				return false, malformed(deferred, key, err)
			}
			stopped = !r.call(func() bool { return fn(d, a) })
			return !stopped, nil
		})
		if err != nil || stopped {
			return err
		}
	}
	return nil
}

func readGroup(key, value []byte) (crdt.Group, error) {
	g, err := crdt.DecodeGroup(bytes.Clone(value))
	if err == nil && (len(key) != dotKeySize || readDot(key) != (dvv.Dot{Actor: g.Actor, Seq: g.Last()})) {
		err = errKey
	}
	return g, malformed(log, key, err)
}

// Group returns the logged group that holds d.
func (r *reader) Group(p int, d dvv.Dot) (g crdt.Group, logged bool, err error) {
	if err := r.check(p); err != nil {
		return g, false, err
	}
	defer r.failed(&err)
	defer r.guard.leave(r.guard.enter(), r.s.path, log, &r.key, &err)
	r.key = appendDot(r.key[:0], p, d)
	c := r.cursor(log)
	k, v := c.Seek(r.key)
	if !bytes.HasPrefix(k, r.key[:dotPrefix]) {
		return g, false, gap(log, c, k, v)
	}
	value, err := unseal(log, k, v)
	if err == nil {
		g, err = readGroup(k, value)
	}
	switch {
	case err != nil:
		return crdt.Group{}, false, err
	case g.First > d.Seq:
		return crdt.Group{}, false, gap(log, c, k, v)
	}
	return g, true, nil
}

// Log calls fn for each logged group that has a dot in wanted, ordered by actor
// and sequence. size is that of the group's encoding.
func (r *reader) Log(p int, wanted dvv.Clock, fn func(g crdt.Group, size int) bool) (err error) {
	if err := r.check(p); err != nil {
		return err
	}
	defer r.failed(&err)
	defer r.guard.leave(r.guard.enter(), r.s.path, log, &r.key, &err)
	var last dvv.Dot
	stopped := false
	for actor, run := range wanted.Intervals() {
		if last.Actor == actor && run.Last <= last.Seq {
			continue // within the group that was shown last
		}
		start := appendDot(nil, p, dvv.Dot{Actor: actor, Seq: run.First})
		err := r.walk(log, start[:dotPrefix], start, func(key, value []byte) (bool, error) {
			if len(key) == dotKeySize && readDot(key) == last {
				return true, nil // spans two runs
			}
			g, err := readGroup(key, value)
			if err != nil || g.First > run.Last {
				return false, err
			}
			last = dvv.Dot{Actor: actor, Seq: g.Last()}
			stopped = !r.call(func() bool { return fn(g, len(value)) })
			return !stopped, nil
		})
		if err != nil || stopped {
			return err
		}
	}
	return nil
}

func readRemembered(key, value []byte) (crdt.Remembered, error) {
	r := pack.NewReader(value) // what it reads shares nothing with value
	m := crdt.ReadRemembered(r)
	return m, malformed(remembered, key, r.Close())
}

// Remembered returns what is known of an operation.
func (r *reader) Remembered(p int, op crdt.Operation) (m crdt.Remembered, found bool, err error) {
	if err := r.check(p); err != nil {
		return m, false, err
	}
	defer r.failed(&err)
	defer r.guard.leave(r.guard.enter(), r.s.path, remembered, &r.key, &err)
	r.key = appendOperation(r.key[:0], p, op)
	raw, found, err := r.lookup(remembered, r.key)
	if err != nil || !found {
		return m, false, err
	}
	if m, err = readRemembered(r.key, raw); err != nil {
		return crdt.Remembered{}, false, err
	}
	return m, true, nil
}

// AllRemembered calls fn for each remembered operation, in order.
func (r *reader) AllRemembered(p int, fn func(crdt.Remembered) bool) (err error) {
	if err := r.check(p); err != nil {
		return err
	}
	defer r.failed(&err)
	defer r.guard.leave(r.guard.enter(), r.s.path, remembered, &r.key, &err)
	prefix := appendPartition(nil, p)
	return r.walk(remembered, prefix, prefix, func(key, value []byte) (bool, error) {
		m, err := readRemembered(key, value)
		if err != nil {
			return false, err
		}
		return r.call(func() bool { return fn(m) }), nil
	})
}
