package store

import (
	"bytes"
	"fmt"
	"slices"
)

// What is kept beside the data of a partition: its marks, the bytes of its tree,
// and the records of a snapshot on its way in. A partition without a clock may
// have all three.

const (
	markReady     = 1 << 0
	markPromoting = 1 << 1
	markAll       = markReady | markPromoting
)

// Mark returns the partition's marks, false when none were put.
func (r *reader) Mark(p int) (ready, promoting bool, err error) {
	if err := r.check(p); err != nil {
		return false, false, err
	}
	defer r.failed(&err)
	defer r.guard.leave(r.guard.enter(), r.s.path, marks, &r.key, &err)
	r.key = appendPartition(r.key[:0], p)
	raw, found, err := r.lookup(marks, r.key)
	if err != nil || !found {
		return false, false, err
	}
	return readMark(r.key, raw)
}

func readMark(key, value []byte) (ready, promoting bool, err error) {
	if len(value) != 1 || value[0] == 0 || value[0]&^markAll != 0 {
		return false, false, malformed(marks, key, fmt.Errorf("marks %x", value))
	}
	return value[0]&markReady != 0, value[0]&markPromoting != 0, nil
}

// PutMark replaces the partition's marks; two false ones remove them.
func (t *Tx) PutMark(p int, ready, promoting bool) (err error) {
	if err := t.check(p); err != nil {
		return err
	}
	defer t.guard.leave(t.guard.enter(), t.s.path, marks, &t.key, &err)
	t.key = appendPartition(t.key[:0], p)
	var mark byte
	if ready {
		mark |= markReady
	}
	if promoting {
		mark |= markPromoting
	}
	if mark == 0 {
		return t.delete(marks)
	}
	t.scratch = append(t.scratch[:0], mark)
	return t.put(marks)
}

// Tree returns the bytes of the tree that was last put, nil when there is none.
func (r *reader) Tree(p int) (tree []byte, err error) {
	if err := r.check(p); err != nil {
		return nil, err
	}
	defer r.failed(&err)
	defer r.guard.leave(r.guard.enter(), r.s.path, trees, &r.key, &err)
	r.key = appendPartition(r.key[:0], p)
	raw, found, err := r.lookup(trees, r.key)
	if err != nil || !found {
		return nil, err
	}
	return bytes.Clone(raw), nil
}

// PutTree keeps the bytes of a tree; nil removes them.
func (t *Tx) PutTree(p int, b []byte) (err error) {
	if err := t.check(p); err != nil {
		return err
	}
	defer t.guard.leave(t.guard.enter(), t.s.path, trees, &t.key, &err)
	t.key = appendPartition(t.key[:0], p)
	if b == nil {
		return t.delete(trees)
	}
	t.scratch = append(t.scratch[:0], b...)
	return t.put(trees)
}

func appendStaged(b []byte, p int, key []byte) []byte { return append(appendPartition(b, p), key...) }

// Staged returns a record of a snapshot on its way in.
func (r *reader) Staged(p int, key []byte) (value []byte, found bool, err error) {
	if err := r.check(p); err != nil {
		return nil, false, err
	}
	defer r.failed(&err)
	defer r.guard.leave(r.guard.enter(), r.s.path, staged, &r.key, &err)
	r.key = appendStaged(r.key[:0], p, key)
	raw, found, err := r.lookup(staged, r.key)
	if err != nil || !found {
		return nil, false, err
	}
	return bytes.Clone(raw), true, nil
}

// AllStaged calls fn for the staged records whose keys are at least from, in byte
// order, until fn returns false.
func (r *reader) AllStaged(p int, from []byte, fn func(key, value []byte) bool) (err error) {
	if err := r.check(p); err != nil {
		return err
	}
	defer r.failed(&err)
	defer r.guard.leave(r.guard.enter(), r.s.path, staged, &r.key, &err)
	prefix := appendPartition(nil, p)
	var copies slab
	return r.walk(staged, prefix, append(slices.Clip(prefix), from...), func(key, value []byte) (bool, error) {
		k, v := copies.copy(key[len(prefix):]), copies.copy(value)
		return r.call(func() bool { return fn(k, v) }), nil
	})
}

// Stage keeps a record of a snapshot on its way in. Its key has at most 32,766
// bytes.
func (t *Tx) Stage(p int, key, value []byte) (err error) {
	if err := t.check(p); err != nil {
		return err
	}
	defer t.guard.leave(t.guard.enter(), t.s.path, staged, &t.key, &err)
	t.key, t.scratch = appendStaged(t.key[:0], p, key), append(t.scratch[:0], value...)
	return t.put(staged)
}

// DropStaged removes the partition's staged records in the order of their keys,
// damaged ones too, limit of them at most, and tells whether there are more.
func (t *Tx) DropStaged(p, limit int) (more bool, err error) {
	if err := t.check(p); err != nil {
		return false, err
	}
	defer t.guard.leave(t.guard.enter(), t.s.path, staged, &t.key, &err)
	return t.cut(staged, appendPartition(nil, p), limit)
}
