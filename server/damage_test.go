package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/replica"
	"github.com/cartwheel-db/cartwheel/replica/store"
)

func (c *cluster) storePath(i int) string { return filepath.Join(c.config(i).Data, "shard-0.db") }

// stock fills a cluster with a little of everything, and returns what a read of
// each key shows.
func (c *cluster) stock(keys int) map[crdt.Key]string {
	c.t.Helper()
	for i := range keys {
		name := fmt.Sprint("k", i)
		c.mustDo(i%3, increment(name, int64(1000+i)))
		var changes []replica.Change
		for m := range 5 + i%20 {
			changes = append(changes, replica.Change{Member: fmt.Sprintf("%s-m%02d", name, m), Note: bytes.Repeat([]byte{byte(m)}, 50)})
		}
		for _, m := range []replica.Mutation{
			{Key: crdt.Key{Type: crdt.Set, Bucket: "test", Name: name}, Verb: replica.Update, Changes: changes},
			{Key: crdt.Key{Type: crdt.Register, Bucket: "test", Name: name}, Verb: replica.Assign, Value: []byte("value of " + name)},
			{Key: crdt.Key{Type: crdt.Blob, Bucket: "test", Name: name}, Verb: replica.Put, Value: bytes.Repeat([]byte(name), 100)},
		} {
			c.mustDo(i%3, replica.Request{Mutation: &m})
		}
	}
	want := map[crdt.Key]string{}
	for i := range keys {
		for t := crdt.Set; t <= crdt.Blob; t++ {
			k := crdt.Key{Type: t, Bucket: "test", Name: fmt.Sprint("k", i)}
			c.eventually("two owners that have caught up answer", func() bool {
				var fail *replica.Failure
				want[k], fail = c.show(0, k, 2)
				return fail == nil
			})
		}
	}
	return want
}

// show reads a key in words. What only owners that have not caught up answered
// says so, and counts as no answer here.
func (c *cluster) show(i int, k crdt.Key, r int) (string, *replica.Failure) {
	q := &replica.Query{Key: k}
	if k.Type == crdt.Set {
		q.Span = &replica.Span{Limit: 100}
	}
	res := c.do(i, replica.Request{Query: q, R: r})
	if res.Failure != nil {
		return "", res.Failure
	}
	if res.Degraded {
		return "", &replica.Failure{Reason: replica.NoQuorum, Text: "degraded"}
	}
	var b strings.Builder
	for _, f := range res.Merged.Rows {
		fmt.Fprintln(&b, f.Field, f.Row)
	}
	return b.String(), nil
}

// rows dumps all rows of a node's store, and tells whether they can all be read.
func (c *cluster) rows(i int) (dump string, err error) {
	n := c.nodes[i]
	n.loop.call(func() {
		var v *store.View
		if v, err = n.loop.store.View(); err != nil {
			return
		}
		defer func() { err = errors.Join(err, v.Close()) }()
		var b strings.Builder
		var ps []int
		ps, err = v.Partitions()
		for _, p := range ps {
			if err == nil {
				err = v.AllRows(p, nil, func(a crdt.Address, r crdt.Row) bool { fmt.Fprintln(&b, p, a, r); return true })
			}
		}
		dump = b.String()
	})
	return dump, err
}

func (c *cluster) showsNothingWrong(i int, want map[crdt.Key]string) {
	c.t.Helper()
	for _, k := range slices.SortedFunc(maps.Keys(want), func(a, b crdt.Key) int { return a.Row().Compare(b.Row()) }) {
		for _, r := range []int{1, 2} {
			if shown, fail := c.show(i, k, r); fail == nil && shown != want[k] {
				c.t.Errorf("n%d shows at R=%d of %v\n%swant\n%s", i, r, k, shown, want[k])
			}
		}
	}
}

func (c *cluster) becomesWhole(i, like int) {
	c.t.Helper()
	c.eventually(fmt.Sprintf("the rows of n%d are whole, and those of n%d", i, like), func() bool {
		want, err := c.rows(like)
		if err != nil {
			return false
		}
		got, err := c.rows(i)
		return err == nil && got == want
	})
}

func asides(t *testing.T, path string) []string {
	t.Helper()
	names, err := filepath.Glob(path + ".damaged-*")
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestANodeWithADamagedFileLivesShowsNothingWrongAndBecomesWhole(t *testing.T) {
	c := newTestCluster(t, 3)
	want := c.stock(40)
	dice := rand.New(rand.NewPCG(5, 6))
	to := func(n int) func([]byte) []byte { return func(b []byte) []byte { return b[:n] } }
	used := func(b []byte) int { return 1 + bytes.LastIndexFunc(b, func(r rune) bool { return r != 0 }) } // the rest is room to grow
	flips := func(n int) func([]byte) []byte {
		return func(b []byte) []byte {
			for range n {
				bit := dice.IntN(used(b) * 8)
				b[bit/8] ^= 1 << (bit % 8)
			}
			return b
		}
	}
	type harm struct {
		name  string
		do    func([]byte) []byte
		aside bool // for certain
	}
	harms := []harm{
		{"cut to nothing", to(0), true}, {"cut to 1,000 bytes", to(1000), true}, {"cut to 4,096 bytes", to(4096), true},
		{"cut to 8,192 bytes", to(8192), true}, {"cut to 20,000 bytes", to(20000), true},
		{"cut in half", func(b []byte) []byte { return b[:used(b)/2] }, true},
		{"filled with noise", func(b []byte) []byte {
			for i := range b {
				b[i] = byte(dice.Uint32())
			}
			return b
		}, true},
	}
	for i := range 6 {
		harms = append(harms, harm{fmt.Sprint("one bit flipped, ", i), flips(1), false})
	}
	harms = append(harms, harm{"sixteen bits flipped", flips(16), false})
	for _, h := range harms {
		t.Run(h.name, func(t *testing.T) {
			c.t = t
			path := c.storePath(2)
			before := len(asides(t, path))
			c.stop(2)
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			b = h.do(b)
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			c.start(2)
			c.showsNothingWrong(2, want)
			c.becomesWhole(2, 0)
			c.showsNothingWrong(2, want)
			set := asides(t, path)
			if h.aside && len(set) != before+1 {
				t.Errorf("set aside: %v", set)
			}
			for _, name := range set {
				if h.aside && name == set[len(set)-1] {
					if kept, err := os.ReadFile(name); err != nil || !bytes.Equal(kept, b) {
						t.Errorf("what was set aside is %d bytes, were %d: %v", len(kept), len(b), err)
					}
				}
			}
		})
	}
}

func TestAFileThatIsCutWhileTheNodeRunsIsSetAsideAndTheNodeGoesOn(t *testing.T) {
	c := newTestCluster(t, 3)
	want := c.stock(20)
	path := c.storePath(2)
	if err := os.Truncate(path, 8192); err != nil {
		t.Fatal(err)
	}
	c.eventually("the file is set aside", func() bool {
		c.showsNothingWrong(2, want)
		return len(asides(t, path)) == 1
	})
	c.becomesWhole(2, 0)
	c.showsNothingWrong(2, want)
	three := increment("after", 1)
	three.W = 3
	c.eventually("it takes writes again", func() bool { return c.do(2, three).Failure == nil })
}

func TestAFileOfSomebodyElseIsRefusedAndLeftAlone(t *testing.T) {
	c := newTestCluster(t, 3)
	c.stock(3)
	c.stop(1)
	c.stop(2)
	path := c.storePath(2)
	foreign := filepath.Join(t.TempDir(), "foreign.db")
	db, err := bolt.Open(foreign, 0o600, nil)
	if err == nil {
		err = db.Update(func(tx *bolt.Tx) error {
			_, err := tx.CreateBucket([]byte("mail"))
			return err
		})
		err = errors.Join(err, db.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ name, file, says string }{
		{"another node's", c.storePath(1), "node id"},
		{"another program's", foreign, "list of buckets"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b, err := os.ReadFile(tc.file)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			n, err := Start(context.Background(), c.config(2))
			if err == nil {
				_ = n.Close(context.Background())
				t.Fatal("it started")
			}
			var refused *store.RefusalError
			if !errors.As(err, &refused) || !refused.Foreign || !strings.Contains(err.Error(), tc.says) || !strings.Contains(err.Error(), path) {
				t.Errorf("refused with %v, want the path and %q", err, tc.says)
			}
			if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, b) || len(asides(t, path)) > 0 {
				t.Errorf("the file was touched: %v, %v", err, asides(t, path))
			}
		})
	}
}

func TestADamagedFileOfTheOnlyMemberIsRefusedWithWhatToDo(t *testing.T) {
	c := newTestCluster(t, 1)
	c.mustDo(0, increment("k", 1))
	c.stop(0)
	path := c.storePath(0)
	if err := os.Truncate(path, 8192); err != nil {
		t.Fatal(err)
	}
	cfg := c.config(0)
	n, err := Start(context.Background(), cfg)
	if err == nil {
		_ = n.Close(context.Background())
		t.Fatal("it started, without its data")
	}
	for _, says := range []string{path, "only member", "put a copy of the file in its place"} {
		if !strings.Contains(err.Error(), says) {
			t.Errorf("%q does not say %q", err, says)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Size() != 8192 || len(asides(t, path)) > 0 {
		t.Errorf("the file was touched: %v", err)
	}
	if err := os.Remove(path); err != nil { // as it says
		t.Fatal(err)
	}
	c.start(0)
}

func TestAFileIsSetAsideUnderANameThatNobodyHas(t *testing.T) {
	path := filepath.Join(t.TempDir(), "shard-0.db")
	now := time.Date(2026, 11, 21, 9, 8, 7, 0, time.FixedZone("", 3600))
	for _, want := range []string{".damaged-20261121T080807Z", ".damaged-20261121T080807Z-2"} {
		if err := os.WriteFile(path, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
		aside, err := setAside(path, now)
		if err != nil || aside != path+want {
			t.Fatalf("set aside as %s, %v, want %s", aside, err, path+want)
		}
		if b, err := os.ReadFile(aside); err != nil || string(b) != want {
			t.Errorf("it holds %q, %v", b, err)
		}
	}
	if _, err := setAside(path, now); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("without a file: %v", err)
	}
}

func TestARecordThatIsDamagedInItsFileIsFetchedFromAPeer(t *testing.T) {
	c := newTestCluster(t, 3)
	want := c.stock(10)
	path := c.storePath(2)
	c.stop(2)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for at := 0; ; found++ { // in its row, in the log, in pages that are free by now
		i := bytes.Index(b[at:], []byte("value of k7"))
		if i < 0 {
			break
		}
		at += i
		b[at] ^= 4
		at++
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	c.start(2)
	c.showsNothingWrong(2, want)
	c.becomesWhole(2, 0)
	c.showsNothingWrong(2, want)
	if s := c.nodes[2].Snapshot().Totals; found == 0 || s.DamagedRows != 1 || s.RepairedRows != 1 || s.WipedPartitions != 0 || len(asides(t, path)) > 0 {
		t.Errorf("%d places: %+v, set aside: %v", found, s.DamageStats, asides(t, path))
	}
}
