package store

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica/merkle"
)

var updateGolden = flag.Bool("update", false, "rewrite the golden files")

// goldenRecords writes one record of every kind there is.
func goldenRecords(tx *Tx) error {
	set := sampleKey.Member("apple")
	counter := crdt.Key{Type: crdt.Counter, Bucket: "likes", Name: "42"}.Row()
	dot, gone := dvv.Dot{Actor: 0x0102030405060708, Seq: 9}, dvv.Dot{Actor: 0xfffefdfcfbfaf9f8, Seq: 300}
	c := dvv.ClockOf(dot, gone)
	op := crdt.Operation{Client: [16]byte{1, 2, 3, 15: 16}, Seq: 5, Issued: 1700000000000}
	g := crdt.Group{Actor: dot.Actor, First: dot.Seq, Op: op, Sum: 6, Stamp: 7, Answer: 3, Events: []crdt.Event{
		{Row: counter, Payload: crdt.Entry{P: crdt.TotalOf(3)}.Payload(), Delta: 3},
		{Row: set, Payload: crdt.Member{Stamp: 7, Note: []byte("ripe"), Expires: 1700000060000}.Payload(), Kills: []dvv.Dot{gone}},
	}}
	m := crdt.Remembered{}
	m.Record(&g, 1700000000001)
	return errors.Join(
		tx.PutClock(0x0102, c),
		tx.PutRow(0x0102, set, crdt.Row{}, crdt.Row{Live: []crdt.Live{{Dot: g.Dot(1), Payload: g.Events[1].Payload}}, Deferred: []dvv.Dot{gone}}),
		tx.PutRow(0x0102, counter, crdt.Row{}, crdt.Row{Live: []crdt.Live{{Dot: dot, Payload: g.Events[0].Payload}}}),
		tx.PutDead(0x0102, sampleKey, dvv.ClockOf(gone)),
		tx.PutSummary(0x0102, sampleKey, merkle.Summary{Members: 1, Rows: 300, Sum: merkle.Sum{1, 15: 16}}),
		tx.PutGroup(0x0102, &g),
		tx.PutRemembered(0x0102, &m),
		tx.PutMark(0x0102, true, true),
		tx.PutTree(0x0102, []byte("tree")),
		tx.Stage(0x0102, []byte("key"), []byte("value")))
}

func TestStoredRecordsKeepTheirBytes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "golden")
	o := testOptions()
	o.Partitions = 1 << 10
	s, err := Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	update(t, s, goldenRecords)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	var got strings.Builder
	err = db.View(func(tx *bolt.Tx) error {
		return tx.ForEach(func(name []byte, b *bolt.Bucket) error {
			return b.ForEach(func(k, v []byte) error {
				fmt.Fprintf(&got, "%s\n\t%x\n\t%x\n", name, k, v)
				return nil
			})
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "records.golden")
	if *updateGolden {
		if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("stored bytes changed, and with them the format:\n%s\nwant\n%s", got.String(), want)
	}
	for b := range buckets {
		if !strings.Contains(got.String(), b.String()+"\n") {
			t.Errorf("no record of %v", b)
		}
	}
}
