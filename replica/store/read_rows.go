package store

import (
	"bytes"
	"slices"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
)

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
	row, err = crdt.DecodeRow(bytes.Clone(raw), a.RowType())
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
	if !k.Type.HasFields() && from != "" {
		return nil
	}
	defer r.failed(&err)
	defer r.guard.leave(r.guard.enter(), r.s.path, rows, &r.key, &err)
	prefix := appendAddress(nil, p, k.Row())
	start := append(slices.Clip(prefix), from...)
	var values slab
	return r.walk(rows, prefix, start, func(key, value []byte) (bool, error) {
		field := string(key[len(prefix):])
		row, err := crdt.DecodeRow(values.copy(value), crdt.Address{Key: k, Field: field}.RowType())
		if err != nil {
			return false, malformed(rows, key, err)
		}
		return r.call(func() bool { return fn(field, row) }), nil
	})
}

// AllRows calls fn for each row in the order of address bytes, from those bytes
// on.
func (r *reader) AllRows(p int, from []byte, fn func(crdt.Address, crdt.Row) bool) (err error) {
	if err := r.check(p); err != nil {
		return err
	}
	defer r.failed(&err)
	defer r.guard.leave(r.guard.enter(), r.s.path, rows, &r.key, &err)
	var values slab
	var a crdt.Address
	var shared []byte // what the keys of all members of a's set begin with
	prefix := appendPartition(nil, p)
	return r.walk(rows, prefix, append(slices.Clip(prefix), from...), func(key, value []byte) (bool, error) {
		if len(shared) > 0 && bytes.HasPrefix(key, shared) {
			a.Field = string(key[len(shared):])
		} else {
			var err error
			if a, err = crdt.DecodeAddress(key[2:]); err != nil {
				return false, malformed(rows, key, err)
			}
			if shared = shared[:0]; a.Type.HasFields() {
				shared = append(shared, key[:len(key)-len(a.Field)]...)
			}
		}
		row, err := crdt.DecodeRow(values.copy(value), a.RowType())
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
	var met error
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
		if met = firstDamage(met, err); stopped || err != nil && damageIn(err) == nil {
			return firstDamage(err, met)
		}
	}
	return met
}
