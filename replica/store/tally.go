package store

import (
	"bytes"
	"maps"
)

// tally counts what a partition keeps for others, damaged records included. It
// lives in memory: opening counts it, a transaction carries the partitions it
// touched, its commit puts them in place.
type tally struct{ groups, bytes, operations int64 }

func (t *tally) addLog(groups int64, stored int) {
	t.groups += groups
	t.bytes += groups * int64(max(stored-sealSize, 0))
}

// note counts a record at opening.
func (s *Store) note(b bucket, key, value []byte) {
	if len(key) < 2 || b != log && b != remembered {
		return
	}
	p := int(key[0])<<8 | int(key[1])
	t := s.tallies[p]
	if b == log {
		t.addLog(1, len(value))
	} else {
		t.operations++
	}
	s.tallies[p] = t
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
	c, own := t.tallies[p]
	if !own {
		c = t.s.tallyOf(p)
	}
	return c.groups, c.bytes, c.operations
}

// count changes the partition's tally within the transaction.
func (t *Tx) count(p int, change func(*tally)) {
	c, own := t.tallies[p]
	if !own {
		c = t.s.tallyOf(p)
	}
	change(&c)
	if t.tallies == nil {
		t.tallies = map[int]tally{}
	}
	t.tallies[p] = c
}

// replaced counts a stored value as gone, when there is one under t.key.
func (t *Tx) replaced(b bucket) {
	if k, old := t.cursor(b).Seek(t.key); bytes.Equal(k, t.key) {
		t.uncount(b, k, old)
	}
}

// uncount counts a stored record as gone.
func (t *Tx) uncount(b bucket, key, stored []byte) {
	if len(key) < 2 || b != log && b != remembered {
		return
	}
	t.count(int(key[0])<<8|int(key[1]), func(c *tally) {
		if b == log {
			c.addLog(-1, len(stored))
		} else {
			c.operations--
		}
	})
}

// putTallies puts the transaction's tallies in place. It is called once the commit
// is durable.
func (t *Tx) putTallies() {
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	maps.Copy(t.s.tallies, t.tallies)
}
