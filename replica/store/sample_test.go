package store

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica/merkle"
)

func testOptions() Options {
	return Options{ClusterID: "cluster", Node: "node", Partitions: 256, NoSync: true, growth: 64 << 10}
}

func mustOpen(t testing.TB, path string, o Options) *Store {
	t.Helper()
	s, err := Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// update commits what fn writes.
func update(t testing.TB, s *Store, fn func(*Tx) error) {
	t.Helper()
	tx, err := s.Begin()
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(fn(tx), tx.Commit()); err != nil {
		t.Fatal(err)
	}
}

var (
	sampleKey = crdt.Key{Type: crdt.Set, Bucket: "carts", Name: "ada"}
	lendKey   = crdt.Key{Type: crdt.Set, Bucket: "lent", Name: "ada"} // its members expire
)

func sampleMember(i int) crdt.Address { return sampleKey.Member(fmt.Sprintf("item %06d", i)) }

// add writes all an add of a set member does.
func add(tx *Tx, p int, d dvv.Dot, i int) error {
	a := sampleMember(i)
	before, err := tx.Row(p, a)
	if err != nil {
		return err
	}
	g := crdt.Group{Actor: d.Actor, First: d.Seq, Stamp: 7, Op: crdt.Operation{Seq: d.Seq, Issued: 1},
		Events: []crdt.Event{{Row: a, Payload: crdt.Member{Stamp: 7}.Payload()}}}
	m := crdt.Remembered{}
	m.Record(&g, 2)
	return errors.Join(
		tx.PutRow(p, a, before, crdt.Row{Live: []crdt.Live{{Dot: d, Payload: g.Events[0].Payload}}}),
		tx.PutGroup(p, &g),
		tx.PutRemembered(p, &m))
}

// sample fills a new store with two partitions of n members each and returns its
// closed file.
func sample(t testing.TB, n int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sample")
	s, err := Open(path, testOptions())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []int{3, 200} {
		var c dvv.Clock
		for from := 0; from < n; from += 500 {
			update(t, s, func(tx *Tx) error {
				for i := from; i < min(n, from+500); i++ {
					d := dvv.Dot{Actor: 100, Seq: uint64(i + 1)}
					c.Add(d)
					if err := add(tx, p, d, i); err != nil {
						return err
					}
				}
				return tx.PutClock(p, c)
			})
		}
		update(t, s, func(tx *Tx) error {
			gone := dvv.Dot{Actor: 101, Seq: 5}
			return errors.Join(
				tx.PutRow(p, sampleMember(n), crdt.Row{}, crdt.Row{Deferred: []dvv.Dot{gone}}),
				tx.PutDead(p, sampleKey, dvv.ClockOf(gone)),
				tx.PutSummary(p, sampleKey, merkle.Summary{Members: uint64(n), Rows: uint64(n + 1), Sum: merkle.Sum{1, 15: 16}}),
				tx.PutMark(p, true, false),
				tx.PutTree(p, bytes.Repeat([]byte("tree"), 100)))
		})
		update(t, s, func(tx *Tx) (err error) {
			for i := range min(n, 20) {
				r := crdt.Row{Live: []crdt.Live{{Dot: dvv.Dot{Actor: 102, Seq: uint64(i + 1)}, Payload: crdt.Member{Stamp: 7, Expires: int64(1000 - 10*i)}.Payload()}}}
				err = errors.Join(err, tx.PutRow(p, lendKey.Member(fmt.Sprintf("book %02d", i)), crdt.Row{}, r))
			}
			return err
		})
		update(t, s, func(tx *Tx) (err error) {
			for i := range min(n, 20) {
				err = errors.Join(err, tx.Stage(p, fmt.Appendf(nil, "staged %d", i), []byte("value")))
			}
			return err
		})
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func copyFile(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "copy")
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}
