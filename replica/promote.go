package replica

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica/merkle"
)

// Step (d) of rule 5. What is small enough happens in one transaction. What is
// not happens in pieces behind a durable mark:
//
//	rows ──▶ clears ──▶ clock ──▶ operations ──▶ the mark goes, what was held is released
//
// Each piece and the place where the next begins are one transaction, so that a
// row is joined once: a second join would no longer know what the first settled.
// All rows are joined under the clock and the deferred clears from before, which
// is why both change only when the last row is done, and why nothing else may be
// applied until the mark is gone.
type step uint8

const (
	promoteRows step = iota
	promoteClears
	promoteClock
	promoteOperations
	promoted
	stepEnd
)

// Promote does as much of step (d) as fits into about limit bytes, in a
// transaction of its caller, which saves the partition afterwards. Every row of
// the unequal leaves, those that only one side has included, is joined under the
// cut's whole clock; the clock takes in the cut's; what it now covers leaves the
// deferred lists, in untouched rows too. void is told of operations that turned
// out to be applied twice. When it is done, the held groups are returned, to be
// applied in the same transaction.
func (in *Install) Promote(tx Tx, limit int, wallMillis int64, void func(crdt.Operation, []dvv.Dot) error) (held []crdt.Group, done bool, err error) {
	for in.step != promoted {
		if limit <= 0 {
			return nil, false, in.pause(tx)
		}
		spent := 0
		switch in.step {
		case promoteRows:
			spent, err = in.promoteRows(tx, limit)
		case promoteClears:
			spent, err = in.promoteClears(tx, limit)
		case promoteClock:
			err = in.promoteClock(tx)
		case promoteOperations:
			spent, err = in.promoteOperations(tx, limit, wallMillis, void)
		}
		if err != nil {
			return nil, false, fmt.Errorf("promote partition %d: %w", in.p.ID, err)
		}
		limit -= spent
	}
	if in.marked {
		ready, _, err := tx.Mark(in.p.ID)
		if err == nil {
			err = tx.PutMark(in.p.ID, ready, false)
		}
		if err != nil {
			return nil, false, err
		}
		in.marked = false
	}
	in.p.Counts.Promoted++
	return in.p.release(), true, nil
}

func (in *Install) next() { in.step, in.at = in.step+1, nil }

// pause makes durable how far the promotion is.
func (in *Install) pause(tx Tx) error {
	if !in.marked {
		ready, _, err := tx.Mark(in.p.ID)
		if err == nil {
			err = tx.PutMark(in.p.ID, ready, true)
		}
		if err != nil {
			return err
		}
		in.marked = true
	}
	in.p.Counts.Pieces++
	return tx.Stage(in.p.ID, []byte{stagedHeader}, in.appendHeader(nil))
}

// ResumeInstall returns the promotion in pieces that a crash interrupted.
func (p *Partition) ResumeInstall(v View, key merkle.Key) (*Install, error) {
	in := &Install{p: p, key: key, keys: map[crdt.Key]bool{}, marked: true}
	b, found, err := v.Staged(p.ID, []byte{stagedHeader})
	if err == nil && !found {
		err = errStaged
	}
	if err == nil {
		err = in.readHeader(b)
	}
	if err == nil {
		err = staged(v, p.ID, stagedClears, nil, func(key, value []byte) (bool, error) {
			k, differ, _, err := readClears(key, value)
			if err == nil && differ {
				in.keys[k] = true
			}
			return true, err
		})
	}
	if err != nil {
		return nil, fmt.Errorf("resume the promotion of partition %d: %w", p.ID, err)
	}
	return in, nil
}

// staged walks the staged records of a kind, from a place within it.
func staged(v View, id int, kind byte, from []byte, fn func(key, value []byte) (bool, error)) error {
	var failed error
	err := v.AllStaged(id, stageKey(kind, from), func(key, value []byte) (more bool) {
		if key[0] == kind {
			more, failed = fn(key, value)
		}
		return more && failed == nil
	})
	return lost(errors.Join(failed, err))
}

// errStageLost is wrapped by errors that mean that the stage cannot be read.
var errStageLost = errors.New("what was staged of a snapshot cannot be read")

func lost(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", errStageLost, err)
}

// promoteRows joins the next rows: those staged, and the replica's own in the
// same leaves and keys.
func (in *Install) promoteRows(tx Tx, limit int) (spent int, err error) {
	todo, stop, spent, err := in.touched(tx, limit)
	if err != nil {
		return 0, err
	}
	for _, t := range todo {
		if err := in.promoteRow(tx, t.Address, t.Row); err != nil {
			return 0, fmt.Errorf("row %v: %w", t.Address, err)
		}
	}
	if in.at = stop; stop == nil {
		in.next()
	}
	return max(spent, 1), nil
}

// touched lists the next rows to join, in order of addresses, each with what the
// cut has of it, and where the list stops; nil at the end.
func (in *Install) touched(tx Tx, limit int) (rows []AddressedRow, stop []byte, spent int, err error) {
	var places [][]byte
	err = staged(tx, in.p.ID, stagedRow, in.at, func(key, value []byte) (bool, error) {
		if spent >= limit {
			stop = bytes.Clone(key[1:])
			return false, nil
		}
		a, err := crdt.DecodeAddress(key[1:])
		if err != nil {
			return false, err
		}
		r, err := crdt.DecodeRow(value, a.RowType())
		rows, places = append(rows, AddressedRow{a, r}), append(places, bytes.Clone(key[1:]))
		spent += len(key) + len(value)
		return true, err
	})
	if err != nil {
		return nil, nil, 0, err
	}
	theirs, theirPlaces := rows, places
	rows = nil
	own, i := limit, 0
	err = tx.AllRows(in.p.ID, in.at, func(a crdt.Address, r crdt.Row) bool {
		place := a.AppendBinary(nil)
		if stop != nil && bytes.Compare(place, stop) >= 0 {
			return false
		}
		if own <= 0 {
			stop = place
			return false
		}
		own -= len(place) + 16
		for i < len(theirs) && bytes.Compare(theirPlaces[i], place) < 0 {
			rows, i = append(rows, theirs[i]), i+1
		}
		if i < len(theirs) && bytes.Equal(theirPlaces[i], place) {
			rows, i = append(rows, theirs[i]), i+1
		} else if in.Wants(a) && !mutated(sourceRowsOnly) {
			rows = append(rows, AddressedRow{Address: a})
		}
		return true
	})
	for i < len(theirs) && (stop == nil || bytes.Compare(theirPlaces[i], stop) < 0) {
		rows, i = append(rows, theirs[i]), i+1
	}
	// What is damaged here is not joined: another replica's row replaces it, later.
	return rows, stop, spent + limit - own, in.p.sparing(err)
}

func (in *Install) promoteRow(tx Tx, a crdt.Address, theirs crdt.Row) error {
	p := in.p
	before, err := tx.Row(p.ID, a)
	if in.p.spares(err) {
		return nil
	}
	if err != nil {
		return err
	}
	dead, err := in.deadInCut(tx, a.Key)
	if err != nil {
		return err
	}
	joined, collisions := crdt.Join(
		crdt.Side{Row: before, Clock: p.clock, Dead: a.Cleared(p.dead[a.Key])},
		crdt.Side{Row: theirs, Clock: in.cut, Dead: a.Cleared(dead)},
	)
	p.Counts.Collisions += uint64(collisions)
	return p.putRow(tx, a, before, joined)
}

func (in *Install) deadInCut(v View, k crdt.Key) (dvv.Clock, error) {
	key := stageKey(stagedClears, k.AppendPrefix(nil))
	b, found, err := v.Staged(in.p.ID, key)
	if err != nil || !found {
		return dvv.Clock{}, lost(err)
	}
	_, _, dots, err := readClears(key, b)
	return dots, lost(err)
}

// promoteClears takes over what clears had deferred in the cut.
func (in *Install) promoteClears(tx Tx, limit int) (spent int, err error) {
	var all []Clears
	var stop []byte
	err = staged(tx, in.p.ID, stagedClears, in.at, func(key, value []byte) (bool, error) {
		if spent >= limit {
			stop = bytes.Clone(key[1:])
			return false, nil
		}
		spent += len(key) + len(value)
		k, _, dots, err := readClears(key, value)
		all = append(all, Clears{k, dots})
		return true, err
	})
	for _, c := range all {
		if err == nil {
			before := in.p.dead[c.Key]
			c.Dots.Join(before)
			err = in.p.putDead(tx, c.Key, before, c.Dots)
		}
	}
	if in.at = stop; stop == nil {
		in.next()
	}
	return max(spent, 1), err
}

// promoteClock takes in the cut's clock.
func (in *Install) promoteClock(tx Tx) error {
	p := in.p
	p.fresh.Join(in.cut.Minus(p.clock))
	p.clock.Join(in.cut)
	in.next()
	for k, dots := range p.dead {
		if err := p.putDead(tx, k, dots, dots.Minus(p.clock)); err != nil {
			return err
		}
	}
	return nil
}

// promoteOperations takes over what the source remembered. The clock covers the
// cut by now, so that a repetition can be voided at once.
func (in *Install) promoteOperations(tx Tx, limit int, wallMillis int64, void func(crdt.Operation, []dvv.Dot) error) (spent int, err error) {
	var all []crdt.Remembered
	var stop []byte
	err = staged(tx, in.p.ID, stagedOperation, in.at, func(key, value []byte) (bool, error) {
		if spent >= limit {
			stop = bytes.Clone(key[1:])
			return false, nil
		}
		spent += len(key) + len(value)
		m, err := crdt.DecodeRemembered(value)
		all = append(all, m)
		return true, err
	})
	for i := range all {
		if err == nil {
			err = in.p.adopt(tx, &all[i], wallMillis, void)
		}
	}
	if in.at = stop; stop == nil {
		in.next()
	}
	return max(spent, 1), err
}

// adopt joins what the source remembered of an operation. Seen is a time of this
// node's clock, never of the source's.
func (p *Partition) adopt(tx Tx, theirs *crdt.Remembered, wallMillis int64, void func(crdt.Operation, []dvv.Dot) error) error {
	m, _, err := p.recall(tx, theirs.Op)
	if err != nil {
		return err
	}
	theirs.Seen = wallMillis
	voids := m.Join(*theirs)
	if err := tx.PutRemembered(p.ID, &m); err != nil || len(voids) == 0 {
		return err
	}
	return void(theirs.Op, voids)
}
