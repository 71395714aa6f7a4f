package store

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"

	"github.com/cartwheel-db/cartwheel/dvv"
)

func TestEveryOpeningIsAnotherActorEvenOfACopiedFile(t *testing.T) {
	path := sample(t, 1)
	seen := map[dvv.Actor]bool{}
	for _, name := range []string{path, copyFile(t, path), copyFile(t, path), path} {
		s, err := Open(name, testOptions())
		if err != nil {
			t.Fatal(err)
		}
		if a := s.Actor(); a <= 26 || seen[a] {
			t.Errorf("actor %v again, or one of the letters", a)
		}
		seen[s.Actor()] = true
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAStoreInUseIsRefused(t *testing.T) {
	path := sample(t, 1)
	s := mustOpen(t, path, testOptions())
	if _, err := Open(path, testOptions()); !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("second opening: %v", err)
	}
	update(t, s, func(tx *Tx) error { return tx.PutClock(1, dvv.Clock{}) }) // the first is none the worse
}

func TestAFileThatIsNotThisStoreIsRefusedWithBothValues(t *testing.T) {
	path := sample(t, 1)
	with := func(change func(*Options)) Options {
		o := testOptions()
		change(&o)
		return o
	}
	write := func(b string) string {
		name := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(name, []byte(b), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	identified := func(id identity) string {
		name := copyFile(t, path)
		db, err := bolt.Open(name, 0o600, nil)
		if err != nil {
			t.Fatal(err)
		}
		err = db.Update(func(tx *bolt.Tx) error {
			return tx.Bucket([]byte("meta")).Put([]byte(metaKey), seal(meta, []byte(metaKey), id.append(nil)))
		})
		if err := errors.Join(err, db.Close()); err != nil {
			t.Fatal(err)
		}
		return name
	}
	before := filepath.Join(t.TempDir(), "before")
	db, err := bolt.Open(before, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		for _, name := range bucketNames {
			if name == expiring.String() || name == summaries.String() {
				continue
			}
			if _, err := tx.CreateBucket([]byte(name)); err != nil {
				return err
			}
		}
		id := identity{2, "cluster", "node", 256}.append(nil)
		return tx.Bucket([]byte("meta")).Put([]byte(metaKey), seal(meta, []byte(metaKey), id))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	cut := func(name string) string {
		info, err := os.Stat(name)
		if err == nil {
			err = os.Truncate(name, info.Size()/2)
		}
		if err != nil {
			t.Fatal(err)
		}
		return name
	}
	foreign := filepath.Join(t.TempDir(), "foreign")
	db, err = bolt.Open(foreign, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bolt.Tx) error { _, err := tx.CreateBucket([]byte("theirs")); return err })
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, path      string
		options         Options
		what, want, got string
		foreign         bool
	}{
		{"another cluster", path, with(func(o *Options) { o.ClusterID = "other" }), "cluster id", "other", "cluster", true},
		{"another node", path, with(func(o *Options) { o.Node = "other" }), "node id", "other", "node", true},
		{"another number of partitions", path, with(func(o *Options) { o.Partitions = 64 }), "number of partitions", "64", "256", true},
		{"a later format", identified(identity{format: 4}), testOptions(), "format", "3", "4", true},
		{"the format before", before, testOptions(), "format", "3", "2", true},
		{"another node's file, cut", cut(identified(identity{Format, "cluster", "other", 256})), testOptions(), "node id", "node", "other", true},
		{"an empty file", write(""), testOptions(), "file size", "2048", "0", false},
		{"some other file", write(strings.Repeat("cart", 5000)), testOptions(), "magic", "ed0cdaed", "74726163", false},
		{"a bbolt file of someone else", foreign, testOptions(), "buckets", "clocks", "theirs", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := Open(test.path, test.options)
			var refusal *RefusalError
			if !errors.As(err, &refusal) {
				t.Fatalf("not refused: %v", err)
			}
			if refusal.Foreign != test.foreign {
				t.Errorf("%v: foreign %t", err, refusal.Foreign)
			}
			if !strings.Contains(refusal.What, test.what) || !strings.Contains(refusal.Want, test.want) || !strings.Contains(refusal.Got, test.got) {
				t.Errorf("%v\nwant %s: want %s, got %s", err, test.what, test.want, test.got)
			}
		})
	}
}

func TestOptionsWithoutAnIdentityAreRefusedAndCreateNothing(t *testing.T) {
	dir := t.TempDir()
	for _, o := range []Options{{}, {ClusterID: "c", Node: "n"}, {ClusterID: "c", Partitions: 1}, {Node: "n", Partitions: 1}, {ClusterID: "c", Node: "n", Partitions: MaxPartitions + 1}} {
		if _, err := Open(filepath.Join(dir, "x"), o); err == nil {
			t.Errorf("%+v was accepted", o)
		}
	}
	if files, _ := os.ReadDir(dir); len(files) > 0 {
		t.Errorf("left %v", files)
	}
}

func TestANewStoreIsPrivateAndLeavesNothingBesideIt(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "shard")
	if err := os.WriteFile(path+".new-1", nil, 0o600); err != nil { // what a crash while creating left
		t.Fatal(err)
	}
	mustOpen(t, path, testOptions())
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 1 {
		t.Fatalf("%v, %v", files, err)
	}
	if info, err := files[0].Info(); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestACommitTellsOfItsSyncsBeforeItReturns(t *testing.T) {
	var synced []string
	o := testOptions()
	o.NoSync, o.OnSync = false, func(path string) { synced = append(synced, path) }
	path := filepath.Join(t.TempDir(), "shard")
	s := mustOpen(t, path, o)
	for i := range 3 {
		if len(synced) != i {
			t.Fatalf("%d commits returned, %d synced", i, len(synced))
		}
		update(t, s, func(tx *Tx) error { return tx.PutClock(i, dvv.Clock{}) })
	}
	if st := s.Stats(); len(synced) != 3 || synced[0] != path || st.Commits != 3 || st.Syncs != 6 || st.Bytes == 0 || st.Pages < st.Bytes || st.File == 0 {
		t.Errorf("synced %v, stats %+v", synced, st)
	}
}

func TestAStoreIsNotClosedUnderItsReadersAndItsWriter(t *testing.T) {
	s := mustOpen(t, sample(t, 1), testOptions())
	v, err := s.View()
	if err != nil {
		t.Fatal(err)
	}
	tx, err := s.Begin()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Begin(); !errors.Is(err, ErrBusy) {
		t.Errorf("two writers: %v", err)
	}
	if err := s.Close(); !errors.Is(err, ErrBusy) {
		t.Errorf("close with both open: %v", err)
	}
	for range 2 { // the second time does nothing
		if err := errors.Join(v.Close(), tx.Rollback()); err != nil {
			t.Error(err)
		}
	}
	if _, err := v.Partitions(); !errors.Is(err, ErrClosed) {
		t.Errorf("read after close: %v", err)
	}
	if err := tx.PutClock(0, dvv.Clock{}); !errors.Is(err, ErrClosed) {
		t.Errorf("write after rollback: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Begin(); !errors.Is(err, ErrClosed) {
		t.Errorf("begin after close: %v", err)
	}
}

func TestCommitsAndViewsOfManyGoroutinesDoNotDisturbEachOther(t *testing.T) {
	s := mustOpen(t, filepath.Join(t.TempDir(), "shard"), testOptions())
	const commits = 60
	done := make(chan error, 1)
	var c dvv.Clock
	for i := range commits {
		tx, err := s.Begin()
		if err != nil {
			t.Fatal(err)
		}
		for j := range 20 {
			d := dvv.Dot{Actor: 100, Seq: uint64(i*20 + j + 1)}
			c.Add(d)
			if err := add(tx, 9, d, i*20+j); err != nil {
				t.Fatal(err)
			}
		}
		if err := tx.PutClock(9, c); err != nil {
			t.Fatal(err)
		}
		go func() { done <- tx.Commit() }()
		for committing := true; committing; {
			select {
			case err := <-done:
				if err != nil {
					t.Fatal(err)
				}
				committing = false
			default:
			}
			v, err := s.View()
			if err != nil {
				t.Fatal(err)
			}
			seen, _, err := v.Clock(9)
			if err != nil {
				t.Fatal(err)
			}
			last := int(seen.Last(100)) // clock and rows are of one commit
			row, err := v.Row(9, sampleMember(last-1))
			next, err2 := v.Row(9, sampleMember(last))
			if err := errors.Join(err, err2, v.Close()); err != nil || last > 0 && row.IsEmpty() || !next.IsEmpty() || last < i*20 || last > (i+1)*20 {
				t.Fatalf("during commit %d: clock to %d, row %v, next %v, %v", i, last, row, next, err)
			}
		}
	}
}

func TestAStoreWhoseLocksAPanicLeftHeldStillLetsGoOfItsFile(t *testing.T) {
	path := sample(t, 1)
	s, err := Open(path, testOptions())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.db.Begin(true); err != nil { // never ends
		t.Fatal(err)
	}
	s.wedged.Add(1)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, path, testOptions())
}
