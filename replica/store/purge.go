package store

import (
	"bytes"
	"slices"
)

// Purge removes a damaged record, named as [DamageError.Record] names it: its key
// may be the damaged part of it, so that no other method can name it. A record
// that is whole stays.
func (t *Tx) Purge(part string, p int, key []byte) (err error) {
	if err := t.check(p); err != nil {
		return err
	}
	b := bucket(slices.Index(bucketNames[:], part))
	if !slices.Contains(partitioned[:], b) {
		return nil
	}
	defer t.guard.leave(t.guard.enter(), t.s.path, b, &t.key, &err)
	t.key = append(appendPartition(t.key[:0], p), key...)
	raw := bytes.Clone(t.bucket(b).Get(t.key))
	if raw == nil {
		return t.recall(b)
	}
	if _, err := unseal(b, t.key, raw); err == nil {
		return t.recall(b)
	}
	t.uncount(b, t.key, raw)
	return t.delete(b)
}
