package replica_test

import (
	"bytes"
	"encoding/hex"
	"os"
	"strings"
	"testing"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica"
	"github.com/cartwheel-db/cartwheel/replica/merkle"
	"github.com/cartwheel-db/cartwheel/replica/replicatest"
)

// standing is a promotion that has come to a step and a place.
func standing(t testing.TB, leaves, step int, at []byte) *replica.Install {
	t.Helper()
	p, err := replica.Load(replicatest.NewMemStore().View(), partition)
	if err != nil {
		t.Fatal(err)
	}
	var cut dvv.Clock
	cut.AddRange(9, 1, 300)
	cut.AddRange(1<<40, 7, 7)
	in := p.Await(cut, hashKey, leaves)
	if leaves > 0 {
		mine := merkle.NewTree(leaves)
		in.CompareSums(mine, 1, []merkle.Sum{{1}, {}, {2}})
	}
	return in.At(step, at)
}

var headers = []struct {
	name      string
	leaves, s int
	at        []byte
}{
	{"all rows, at the first", 0, 0, nil},
	{"rows of two leaves, half way", 16, 0, []byte("place")},
	{"clears", 16, 1, []byte{0}},
	{"operations", 8, 3, bytes.Repeat([]byte{7}, 200)},
}

// A crash may be followed by another version of this program.
func TestWhatIsStagedKeepsItsBytes(t *testing.T) {
	var b strings.Builder
	for _, h := range headers {
		b.WriteString("header, " + h.name + ": " + hex.EncodeToString(standing(t, h.leaves, h.s, h.at).Header()) + "\n")
	}
	store := replicatest.NewMemStore()
	p, err := replica.Load(store.View(), partition)
	if err != nil {
		t.Fatal(err)
	}
	tx := store.Begin()
	in := p.Await(dvv.ClockOf(dvv.Dot{Actor: 9, Seq: 1}), hashKey, 8)
	op := crdt.Operation{Client: [16]byte{1, 15: 2}, Seq: 3, Issued: 1_700_000_000_000}
	for _, err := range []error{
		in.CompareClears(tx, cart, dvv.ClockOf(dvv.Dot{Actor: 9, Seq: 2})), in.CompareClears(tx, wishes, dvv.Clock{}), in.EndClears(tx),
		in.Stage(tx, cart.Member("x"), crdt.Row{Deferred: []dvv.Dot{{Actor: 4, Seq: 4}}}),
		in.StageOperation(tx, &crdt.Remembered{Op: op, Sum: 5, Events: 1, Dots: []dvv.Dot{{Actor: 9, Seq: 1}}}),
		tx.AllStaged(partition, nil, func(key, value []byte) bool {
			b.WriteString("record: " + hex.EncodeToString(key) + " " + hex.EncodeToString(value) + "\n")
			return true
		}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	const path = "testdata/staged.golden"
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want, err := os.ReadFile(path); err != nil || b.String() != string(want) {
		t.Errorf("%v\ngot:\n%swant:\n%s", err, b.String(), want)
	}
}

func TestAHeaderReadsBackAndNoneIsCut(t *testing.T) {
	for _, h := range headers {
		b := standing(t, h.leaves, h.s, h.at).Header()
		in, err := replica.ReadHeader(b)
		if err != nil || !bytes.Equal(in.Header(), b) {
			t.Errorf("%s: %v", h.name, err)
		}
		for n := range b {
			if _, err := replica.ReadHeader(b[:n]); err == nil {
				t.Errorf("%s: %d of %d bytes are taken for all", h.name, n, len(b))
			}
		}
		if _, err := replica.ReadHeader(append(bytes.Clone(b), 0)); err == nil {
			t.Errorf("%s: a byte behind it is not missed", h.name)
		}
	}
}

func FuzzStagedHeader(f *testing.F) {
	for _, h := range headers {
		f.Add(standing(f, h.leaves, h.s, h.at).Header())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		in, err := replica.ReadHeader(b)
		if err != nil {
			return
		}
		again, err := replica.ReadHeader(in.Header())
		if err != nil || !bytes.Equal(again.Header(), in.Header()) {
			t.Errorf("%x reads back as %x, %v", b, in.Header(), err)
		}
	})
}
