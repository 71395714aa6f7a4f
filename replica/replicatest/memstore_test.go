package replicatest

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

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
	if walk := tx.AllRows(7, nil, func(crdt.Address, crdt.Row) bool { err = tx.Drop(7); return true }); walk != nil || err == nil {
		t.Errorf("a change during a walk: walk %v, change %v", walk, err)
	}
	if err := tx.PutClock(1<<16, dvv.Clock{}); err == nil {
		t.Error("partition 65536 was accepted: it would be stored as 0")
	}
}

// A naive model of what was added for snapshots, trees and trimming: maps, and
// sorting when somebody looks.
func TestTheMemoryStoreKeepsMarksTreesStagedRecordsAndTallies(t *testing.T) {
	type model struct {
		marks      map[int][2]bool
		trees      map[int]string
		staged     map[int]map[string]string
		log        map[int]map[uint64]int // size of the group of one event, by seq
		operations map[int]map[uint64]bool
	}
	rapid.Check(t, func(t *rapid.T) {
		store, tx := NewMemStore(), (*MemTx)(nil)
		now := model{map[int][2]bool{}, map[int]string{}, map[int]map[string]string{}, map[int]map[uint64]int{}, map[int]map[uint64]bool{}}
		for p := range 3 {
			now.staged[p], now.log[p], now.operations[p] = map[string]string{}, map[uint64]int{}, map[uint64]bool{}
		}
		tx = store.Begin()
		p := func() int { return rapid.IntRange(0, 2).Draw(t, "partition") }
		seq := func() uint64 { return rapid.Uint64Range(1, 6).Draw(t, "seq") }
		key := func() string { return rapid.StringOfN(rapid.RuneFrom([]rune("ab\x00")), 0, 3, -1).Draw(t, "key") }
		must := func(err error) {
			if err != nil {
				t.Fatal(err)
			}
		}
		group := func(seq uint64, note string) crdt.Group {
			return crdt.Group{Actor: 7, First: seq, Events: []crdt.Event{{Row: memTestRow, Payload: crdt.Member{Note: []byte(note)}.Payload()}}}
		}
		op := func(seq uint64) crdt.Operation { return crdt.Operation{Seq: seq, Issued: int64(10 - seq)} }
		t.Repeat(map[string]func(*rapid.T){
			"mark": func(*rapid.T) {
				p, m := p(), [2]bool{rapid.Bool().Draw(t, "ready"), rapid.Bool().Draw(t, "promoting")}
				must(tx.PutMark(p, m[0], m[1]))
				now.marks[p] = m
			},
			"tree": func(*rapid.T) {
				p, b := p(), key()
				if b == "" {
					must(tx.PutTree(p, nil))
				} else {
					must(tx.PutTree(p, []byte(b)))
				}
				now.trees[p] = b
			},
			"stage": func(*rapid.T) {
				p, k, v := p(), key(), key()
				must(tx.Stage(p, []byte(k), []byte(v)))
				now.staged[p][k] = v
			},
			"drop staged": func(*rapid.T) {
				p, limit := p(), rapid.IntRange(1, 4).Draw(t, "limit")
				keys := slices.Sorted(maps.Keys(now.staged[p]))
				more, err := tx.DropStaged(p, limit)
				if err != nil || more != (len(keys) > limit) {
					t.Fatalf("dropped %d of %q: more %t, %v", limit, keys, more, err)
				}
				for _, k := range keys[:min(limit, len(keys))] {
					delete(now.staged[p], k)
				}
			},
			"log": func(*rapid.T) {
				p, seq, note := p(), seq(), key()
				g := group(seq, note)
				must(tx.PutGroup(p, &g))
				now.log[p][seq] = len(crdt.AppendGroup(nil, &g))
			},
			"trim": func(*rapid.T) {
				p, seq := p(), seq()
				g := group(seq, "")
				must(tx.DeleteGroup(p, &g))
				delete(now.log[p], seq)
			},
			"remember": func(*rapid.T) {
				p, seq := p(), seq()
				must(tx.PutRemembered(p, &crdt.Remembered{Op: op(seq), Dots: []dvv.Dot{{Actor: 7, Seq: seq}}}))
				now.operations[p][seq] = true
			},
			"forget": func(*rapid.T) {
				p, seq := p(), seq()
				must(tx.DeleteRemembered(p, op(seq)))
				delete(now.operations[p], seq)
			},
			"drop": func(*rapid.T) {
				p := p()
				must(tx.Drop(p))
				delete(now.marks, p)
				delete(now.trees, p)
				now.staged[p], now.log[p], now.operations[p] = map[string]string{}, map[uint64]int{}, map[uint64]bool{}
			},
			"commit": func(*rapid.T) {
				must(tx.Commit())
				tx = store.Begin()
			},
			"": func(t *rapid.T) {
				p := p()
				ready, promoting, err := tx.Mark(p)
				if err != nil || [2]bool{ready, promoting} != now.marks[p] {
					t.Fatalf("marks are %t %t %v, want %v", ready, promoting, err, now.marks[p])
				}
				tree, err := tx.Tree(p)
				if err != nil || string(tree) != now.trees[p] || (tree == nil) != (now.trees[p] == "") {
					t.Fatalf("tree is %q %v, want %q", tree, err, now.trees[p])
				}
				from := key()
				var got, want []string
				must(tx.AllStaged(p, []byte(from), func(k, v []byte) bool { got = append(got, string(k)+"="+string(v)); return true }))
				for _, k := range slices.Sorted(maps.Keys(now.staged[p])) {
					if k >= from {
						want = append(want, k+"="+now.staged[p][k])
					}
				}
				if !slices.Equal(got, want) {
					t.Fatalf("staged from %q are %q, want %q", from, got, want)
				}
				v, found, err := tx.Staged(p, []byte(from))
				if w, there := now.staged[p][from]; err != nil || found != there || string(v) != w {
					t.Fatalf("staged %q is %q %t %v, want %q %t", from, v, found, err, w, there)
				}
				var bytes int64
				for _, n := range now.log[p] {
					bytes += int64(n)
				}
				if g, b, o := tx.Tally(p); g != int64(len(now.log[p])) || b != bytes || o != int64(len(now.operations[p])) {
					t.Fatalf("tally is %d groups of %d bytes and %d operations, want %d, %d, %d", g, b, o, len(now.log[p]), bytes, len(now.operations[p]))
				}
				first := seq()
				var ops, rest []uint64
				must(tx.AllRemembered(p, op(first), func(m crdt.Remembered) bool { ops = append(ops, m.Op.Seq); return true }))
				for _, n := range slices.Sorted(maps.Keys(now.operations[p])) { // the highest seq was issued first
					if n <= first {
						rest = slices.Insert(rest, 0, n)
					}
				}
				if !slices.Equal(ops, rest) {
					t.Fatalf("remembered from %d are %v, want %v", first, ops, rest)
				}
			},
		})
	})
}

func TestAWalkOfTheMemoryStoreBeginsWhereItIsTold(t *testing.T) {
	tx := NewMemStore().Begin()
	var all []string
	for _, member := range []string{"A", "a", "a\x00", "b"} {
		a := crdt.Key{Type: crdt.Set, Bucket: "carts", Name: "ada"}.Member(member)
		if err := tx.ReplaceRow(7, a, crdt.Row{Deferred: []dvv.Dot{{Actor: 1, Seq: 1}}}); err != nil {
			t.Fatal(err)
		}
		all = append(all, a.String())
	}
	for i, member := range []string{"A", "a", "a\x00", "b", "c"} {
		var got []string
		from := crdt.Key{Type: crdt.Set, Bucket: "carts", Name: "ada"}.Member(member)
		if err := tx.AllRows(7, from.AppendBinary(nil), func(a crdt.Address, _ crdt.Row) bool { got = append(got, a.String()); return true }); err != nil || !slices.Equal(got, all[i:]) {
			t.Errorf("from %q: %q, %v, want %q", member, got, err, all[i:])
		}
	}
	if err := tx.ReplaceRow(7, memTestRow, crdt.Row{}); err != nil {
		t.Fatal(err)
	}
	if r, err := tx.Row(7, memTestRow); err != nil || !r.IsEmpty() {
		t.Errorf("a row that was replaced by nothing is %v, %v", r, err)
	}
}
