package store

import (
	"bytes"
	"encoding/binary"

	"github.com/cartwheel-db/cartwheel/crdt"
)

// Expiring calls fn for each row of which something expires at or before a
// moment, the earliest first.
func (r *reader) Expiring(p int, until int64, fn func(at int64, a crdt.Address) bool) (err error) {
	if err := r.check(p); err != nil {
		return err
	}
	defer r.failed(&err)
	defer r.guard.leave(r.guard.enter(), r.s.path, expiring, &r.key, &err)
	if k, _ := r.cursor(expiring).First(); k == nil {
		return nil
	}
	prefix := appendPartition(nil, p)
	return r.walk(expiring, prefix, prefix, func(key, _ []byte) (bool, error) {
		at, a, err := readExpiring(key)
		if err != nil || at > until {
			return false, err
		}
		return r.call(func() bool { return fn(at, a) }), nil
	})
}

func readExpiring(key []byte) (at int64, a crdt.Address, err error) {
	if len(key) < timePrefix {
		return 0, a, malformed(expiring, key, errKey)
	}
	a, err = crdt.DecodeAddress(key[timePrefix:])
	return int64(binary.BigEndian.Uint64(key[2:])), a, malformed(expiring, key, err)
}

// expire files a row under its new time, where that is another.
func (t *Tx) expire(p int, a crdt.Address, before, after crdt.Row) error {
	if !before.Timed() && !after.Timed() {
		return nil // as most rows
	}
	was, is := before.Expires(a.RowType()), after.Expires(a.RowType())
	if was == is {
		return nil
	}
	if was != 0 {
		t.key = a.AppendBinary(appendTime(t.key[:0], p, was))
		if err := t.delete(expiring); err != nil {
			return err
		}
	}
	if is == 0 {
		return nil
	}
	t.key, t.scratch = a.AppendBinary(appendTime(t.key[:0], p, is)), t.scratch[:0]
	return t.put(expiring)
}

// unexpire removes what the index says of a row, whatever is stored of that. A
// whole row tells where it is filed. Only of one that is damaged, or was purged for
// that, nobody knows: then the partition's whole index is read.
func (t *Tx) unexpire(p int, a crdt.Address, address []byte) error {
	if k, _ := t.cursor(expiring).First(); k == nil {
		return nil
	}
	t.key = appendAddress(t.key[:0], p, a)
	raw, found, err := t.lookup(rows, t.key)
	if err == nil && found {
		if row, err := crdt.DecodeRow(bytes.Clone(raw), a.RowType()); err == nil {
			return t.expire(p, a, row, crdt.Row{})
		}
	}
	if err == nil && !found && t.s.damage.Load() == 0 {
		return nil
	}
	var entries [][]byte
	prefix := appendPartition(nil, p)
	c := t.bucket(expiring).Cursor()
	for k, _ := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, _ = c.Next() {
		if len(k) >= timePrefix && bytes.Equal(k[timePrefix:], address) {
			entries = append(entries, bytes.Clone(k))
		}
	}
	for _, k := range entries {
		t.key = append(t.key[:0], k...)
		if err := t.delete(expiring); err != nil {
			return err
		}
	}
	return nil
}
