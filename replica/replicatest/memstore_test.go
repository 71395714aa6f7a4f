package replicatest

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
)

var memTestRow = crdt.Key{Type: crdt.Set, Bucket: "carts", Name: "ada"}.Member("apple")

func putDeferred(t *testing.T, tx *MemTx, p int, seq uint64) {
	t.Helper()
	before, err := tx.Row(p, memTestRow)
	if err != nil {
		t.Fatal(err)
	}
	if err := tx.PutRow(p, memTestRow, before, crdt.Row{Deferred: []dvv.Dot{{Actor: 1, Seq: seq}}}); err != nil {
		t.Fatal(err)
	}
	if err := tx.PutClock(p, dvv.ClockOf(dvv.Dot{Actor: 2, Seq: seq})); err != nil {
		t.Fatal(err)
	}
}

func TestATransactionOfTheMemoryStoreShowsOnlyWhenCommitted(t *testing.T) {
	m := NewMemStore()
	nothing := m.Dump(7)
	tx := m.Begin()
	putDeferred(t, tx, 7, 1)
	if r, _ := tx.Row(7, memTestRow); len(r.Deferred) != 1 {
		t.Errorf("the transaction does not read its own write: %v", r)
	}
	if !bytes.Equal(m.Dump(7), nothing) {
		t.Errorf("a write showed before its commit:\n%s", m.DumpText(7))
	}
	tx.Abandon()
	if err := tx.PutClock(7, dvv.Clock{}); !errors.Is(err, errMemTxOver) {
		t.Errorf("write after the crash: %v", err)
	}
	if err := tx.Commit(); !errors.Is(err, errMemTxOver) {
		t.Errorf("commit after the crash: %v", err)
	}
	if !bytes.Equal(m.Dump(7), nothing) {
		t.Errorf("a lost transaction left something:\n%s", m.DumpText(7))
	}

	tx = m.Begin()
	putDeferred(t, tx, 7, 1)
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	backup, view, one := m.Clone(), m.View(), m.Dump(7)
	if bytes.Equal(one, nothing) || !strings.Contains(m.DumpText(7), "deferred[a:1]") {
		t.Errorf("a commit left nothing:\n%s", m.DumpText(7))
	}
	tx = m.Begin()
	putDeferred(t, tx, 7, 2)
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if got, err := Dump(view, 7); err != nil || !bytes.Equal(got, one) {
		t.Errorf("an open view moved: %v\n%s", err, DumpText(view, 7))
	}
	tx = m.Begin()
	m.Wipe()
	if err := tx.Commit(); err == nil || !bytes.Equal(m.Dump(7), nothing) || !bytes.Equal(backup.Dump(7), one) {
		t.Errorf("after a wipe: commit %v, store\n%sbackup\n%s", err, m.DumpText(7), backup.DumpText(7))
	}
}

func TestTheMemoryStoreRefusesWhatTheStoreOnDiskWouldSufferFrom(t *testing.T) {
	tx := NewMemStore().Begin()
	putDeferred(t, tx, 7, 1)
	if err := tx.PutRow(7, memTestRow, crdt.Row{}, crdt.Row{}); err == nil {
		t.Error("a row was replaced by a caller who believes it absent")
	}
	var err error
	if walk := tx.AllRows(7, func(crdt.Address, crdt.Row) bool { err = tx.Drop(7); return true }); walk != nil || err == nil {
		t.Errorf("a change during a walk: walk %v, change %v", walk, err)
	}
	if err := tx.PutClock(1<<16, dvv.Clock{}); err == nil {
		t.Error("partition 65536 was accepted: it would be stored as 0")
	}
}
