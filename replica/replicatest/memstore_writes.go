package replicatest

import (
	"bytes"
	"fmt"
	"maps"
	"strings"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
)

// change refuses writes that a store on disk would not survive: after the end,
// and during a walk.
func (t *MemTx) change(what string, p int, do func(s *memState)) error {
	switch {
	case t.store.open != t:
		return fmt.Errorf("%s in partition %d: %w", what, p, errMemTxOver)
	case t.walking > 0:
		return fmt.Errorf("%s in partition %d: the store is being walked", what, p)
	case p < 0 || p > 1<<16-1:
		return fmt.Errorf("%s in partition %d: no such partition", what, p)
	}
	do(&t.state)
	return nil
}

// PutClock stores the partition's clock.
func (t *MemTx) PutClock(p int, c dvv.Clock) error {
	return t.change("put clock", p, func(s *memState) {
		s.clocks = s.clocks.put(string(memPrefix(p)), c.AppendBinary(nil))
	})
}

// PutRow replaces a row. It refuses a before that is not what is stored: the
// store on disk would leave its index wrong in silence.
func (t *MemTx) PutRow(p int, a crdt.Address, before, after crdt.Row) error {
	stored, err := t.Row(p, a)
	if err != nil {
		return err
	}
	if !stored.Equal(before) {
		return fmt.Errorf("put row %v in partition %d: stored is %v, the caller believes %v", a, p, stored, before)
	}
	return t.change("put row", p, func(s *memState) { s.putRow(p, a, stored, after) })
}

// PutDead replaces the dots deferred at a key.
func (t *MemTx) PutDead(p int, k crdt.Key, c dvv.Clock) error {
	return t.change("put deferred clear", p, func(s *memState) {
		if c.IsEmpty() {
			s.dead = s.dead.delete(memKey(p, k))
		} else {
			s.dead = s.dead.put(memKey(p, k), c.AppendBinary(nil))
		}
	})
}

// PutGroup logs a group.
func (t *MemTx) PutGroup(p int, g *crdt.Group) error {
	return t.change("put group", p, func(s *memState) {
		s.count(p, t.putLog(s, p, g, crdt.AppendGroup(nil, g)))
	})
}

// putLog replaces a logged group, nil removes it, and returns what changed.
func (t *MemTx) putLog(s *memState, p int, g *crdt.Group, b []byte) (d memTally) {
	key := memDot(p, dvv.Dot{Actor: g.Actor, Seq: g.Last()})
	if old, found := s.log.get(key); found {
		d.groups--
		d.bytes -= int64(len(old))
	}
	if b == nil {
		s.log = s.log.delete(key)
		return d
	}
	d.groups++
	d.bytes += int64(len(b))
	s.log = s.log.put(key, b)
	return d
}

// count adds to a partition's tally, in a copy.
func (s *memState) count(p int, d memTally) {
	next := make(map[int]memTally, len(s.tally)+1)
	maps.Copy(next, s.tally)
	t := next[p]
	next[p] = memTally{t.groups + d.groups, t.bytes + d.bytes, t.operations + d.operations}
	s.tally = next
}

// DeleteGroup removes a group from the log.
func (t *MemTx) DeleteGroup(p int, g *crdt.Group) error {
	return t.change("delete group", p, func(s *memState) {
		s.count(p, t.putLog(s, p, g, nil))
	})
}

// PutRemembered stores what is known of an operation.
func (t *MemTx) PutRemembered(p int, m *crdt.Remembered) error {
	return t.change("put operation", p, func(s *memState) {
		if _, known := s.remembered.get(memOperation(p, m.Op)); !known {
			s.count(p, memTally{operations: 1})
		}
		s.remembered = s.remembered.put(memOperation(p, m.Op), crdt.AppendRemembered(nil, m))
	})
}

// DeleteRemembered forgets an operation.
func (t *MemTx) DeleteRemembered(p int, op crdt.Operation) error {
	return t.change("delete operation", p, func(s *memState) {
		if _, known := s.remembered.get(memOperation(p, op)); known {
			s.count(p, memTally{operations: -1})
		}
		s.remembered = s.remembered.delete(memOperation(p, op))
	})
}

// PutMark replaces the partition's marks.
func (t *MemTx) PutMark(p int, ready, promoting bool) error {
	return t.change("put mark", p, func(s *memState) {
		var b byte
		if ready {
			b |= 1
		}
		if promoting {
			b |= 2
		}
		if s.marks = s.marks.delete(string(memPrefix(p))); b != 0 {
			s.marks = s.marks.put(string(memPrefix(p)), []byte{b})
		}
	})
}

// PutTree keeps the bytes of a tree.
func (t *MemTx) PutTree(p int, b []byte) error {
	return t.change("put tree", p, func(s *memState) {
		if s.trees = s.trees.delete(string(memPrefix(p))); b != nil {
			s.trees = s.trees.put(string(memPrefix(p)), bytes.Clone(b))
		}
	})
}

// Stage keeps a record aside.
func (t *MemTx) Stage(p int, key, value []byte) error {
	return t.change("stage", p, func(s *memState) {
		s.staged = s.staged.put(string(memPrefix(p))+string(key), bytes.Clone(value))
	})
}

// DropStaged removes staged records.
func (t *MemTx) DropStaged(p int, limit int) (more bool, err error) {
	var keys []string
	err = t.AllStaged(p, nil, func(key, _ []byte) bool {
		keys = append(keys, string(memPrefix(p))+string(key))
		return len(keys) <= limit
	})
	if more = len(keys) > limit; more {
		keys = keys[:limit]
	}
	if err != nil {
		return more, err
	}
	return more, t.change("drop staged", p, func(s *memState) {
		for _, k := range keys {
			s.staged = s.staged.delete(k)
		}
	})
}

// ReplaceRow replaces a row whatever is stored of it.
func (t *MemTx) ReplaceRow(p int, a crdt.Address, after crdt.Row) error {
	stored, err := t.Row(p, a)
	if err != nil {
		return err
	}
	return t.change("replace row", p, func(s *memState) { s.putRow(p, a, stored, after) })
}

func (s *memState) putRow(p int, a crdt.Address, before, after crdt.Row) {
	if after.IsEmpty() {
		s.rows = s.rows.delete(memAddress(p, a))
	} else {
		s.rows = s.rows.put(memAddress(p, a), crdt.AppendRow(nil, after))
	}
	if at := before.Expires(a.RowType()); at != 0 {
		s.expiring = s.expiring.delete(memExpiring(p, at, a))
	}
	if at := after.Expires(a.RowType()); at != 0 {
		s.expiring = s.expiring.put(memExpiring(p, at, a), nil)
	}
}

// Purge has nothing to remove: memory is never damaged.
func (t *MemTx) Purge(string, int, []byte) error { return nil }

// Drop removes everything of a partition.
func (t *MemTx) Drop(p int) error {
	return t.change("drop", p, func(s *memState) {
		from, until := string(memPrefix(p)), string(memPrefix(p+1))
		if p == 1<<16-1 {
			until = strings.Repeat("\xff", 1<<14) // above every key
		}
		for _, m := range []**treap{&s.clocks, &s.rows, &s.dead, &s.expiring, &s.summaries, &s.log, &s.remembered, &s.marks, &s.trees, &s.staged} {
			*m = (*m).cut(from, until)
		}
		t := s.tally[p]
		s.count(p, memTally{-t.groups, -t.bytes, -t.operations})
	})
}
