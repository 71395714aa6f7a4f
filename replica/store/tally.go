package store

import (
	"bytes"
	"maps"
)

// tally counts what a partition keeps for others, damaged records included. It
// lives in memory: opening counts it, a transaction carries the partitions it
// touched, its commit puts them in place.
type tally struct{ groups, bytes, operations int64 }

// tallied is what one stored record of a bucket counts.
func tallied(b bucket, stored int) tally {
	switch b {
	case log:
		return tally{groups: 1, bytes: int64(max(stored-sealSize, 0))}
	case remembered:
		return tally{operations: 1}
	default:
		return tally{}
	}
}

func (t tally) plus(sign int64, o tally) tally {
	return tally{t.groups + sign*o.groups, t.bytes + sign*o.bytes, t.operations + sign*o.operations}
}

// note counts a record at opening.
func (s *Store) note(b bucket, key, value []byte) {
	if t := tallied(b, len(value)); t != (tally{}) && len(key) >= 2 {
		p := int(key[0])<<8 | int(key[1])
		s.tallies[p] = s.tallies[p].plus(1, t)
	}
}

func (s *Store) tallyOf(p int) tally {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tallies[p]
}

// Tally tells how many groups the partition logs, how many bytes they take, and
// how many operations it remembers, as of the newest commit, which may be newer
// than the view. It reads nothing from the file.
func (v *View) Tally(p int) (groups, logBytes, operations int64) {
	t := v.s.tallyOf(p)
	return t.groups, t.bytes, t.operations
}

// Tally is that of the newest commit and of what the transaction changed.
func (t *Tx) Tally(p int) (groups, logBytes, operations int64) {
	c := t.tally(p)
	return c.groups, c.bytes, c.operations
}

func (t *Tx) tally(p int) tally {
	if c, own := t.tallies[p]; own {
		return c
	}
	return t.s.tallyOf(p)
}

// count replaces the partition's tally within the transaction.
func (t *Tx) count(p int, c tally) {
	if t.tallies == nil {
		t.tallies = map[int]tally{}
	}
	t.tallies[p] = c
}

// replaced counts what is stored under t.key as gone, if anything is.
func (t *Tx) replaced(b bucket) {
	if k, old := t.cursor(b).Seek(t.key); bytes.Equal(k, t.key) {
		t.uncount(b, k, old)
	}
}

// uncount counts a stored record as gone.
func (t *Tx) uncount(b bucket, key, stored []byte) {
	if c := tallied(b, len(stored)); c != (tally{}) && len(key) >= 2 {
		p := int(key[0])<<8 | int(key[1])
		t.count(p, t.tally(p).plus(-1, c))
	}
}

// putTallies puts the transaction's tallies in place. It is called once the commit
// is durable.
func (t *Tx) putTallies() {
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	maps.Copy(t.s.tallies, t.tallies)
}
