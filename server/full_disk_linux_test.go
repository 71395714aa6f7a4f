package server

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/replica"
)

// onSmallDisk moves a node to a file system of its own, of so many bytes, and
// returns where it is.
func (c *cluster) onSmallDisk(i int, bytes int) string {
	c.t.Helper()
	dir := c.config(i).Data
	c.stop(i)
	files, err := os.ReadDir(dir)
	if err != nil {
		c.t.Fatal(err)
	}
	held := map[string][]byte{}
	for _, f := range files {
		if held[f.Name()], err = os.ReadFile(filepath.Join(dir, f.Name())); err != nil {
			c.t.Fatal(err)
		}
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", bytes)); err != nil {
		c.t.Skipf("no file system can be mounted here: %v", err)
	}
	c.t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			c.t.Errorf("unmount %s: %v", dir, err)
		}
	})
	for name, b := range held {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			c.t.Fatal(err)
		}
	}
	c.start(i)
	return dir
}

// fill takes all space that is left.
func fill(t *testing.T, dir string) (ballast string) {
	t.Helper()
	ballast = filepath.Join(dir, "ballast")
	f, err := os.Create(ballast)
	if err != nil {
		t.Fatal(err)
	}
	block := make([]byte, 4096)
	for err == nil {
		_, err = f.Write(block)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return ballast
}

// A node whose disk is full takes no writes and leaves them to the others, goes
// on answering reads, and takes writes again by itself when there is space.
func TestANodeOnAFullDiskStepsOutOfWritesAndComesBack(t *testing.T) {
	c := newTestCluster(t, 3)
	dir := c.onSmallDisk(2, 24<<20)
	want := c.stock(10)
	three := func(key string) *replica.Failure {
		r := increment(key, 1)
		r.W = 3
		return c.do(2, r).Failure
	}
	c.eventually("all three take writes", func() bool { return three("before") == nil })
	reopens := c.nodes[2].loop.reopens.Load()
	ballast := fill(t, dir)
	written := 0
	big := make([]byte, 64<<10)
	c.eventually("its disk is full", func() bool {
		m := replica.Mutation{Key: crdt.Key{Type: crdt.Blob, Bucket: "test", Name: fmt.Sprint("fill", written)}, Verb: replica.Put, Value: big}
		// What that node coordinates at this very moment may have reached the others.
		if res := c.do(written%3, replica.Request{Mutation: &m}); res.Failure != nil && !res.Failure.Unknown {
			t.Fatalf("a write that two others can take: %v", res.Failure)
		}
		written++
		return c.nodes[2].loop.reopens.Load() > reopens
	})
	c.eventually("it has tried again, and waits for space", func() (waits bool) {
		l := c.nodes[2].loop
		l.call(func() { waits = l.full && l.pause > 2*minPause })
		return waits
	})
	for i := range 12 { // through each node, the full one too
		if res := c.do(i%3, increment(fmt.Sprint("full", i), 1)); res.Failure != nil {
			t.Errorf("with one disk full, through n%d: %v", i%3, res.Failure)
		}
	}
	start := time.Now()
	if fail := three("full"); fail == nil || fail.Reason != replica.NoQuorum {
		t.Errorf("a write that needs all three: %v", fail)
	} else if time.Since(start) > 6*time.Second {
		t.Errorf("is refused after %v", time.Since(start))
	}
	c.showsNothingWrong(2, want)
	c.nodes[2].loop.call(func() {
		v, err := c.nodes[2].loop.store.View()
		if err == nil {
			_, err = v.Partitions()
			err = errors.Join(err, v.Close())
		}
		if err != nil {
			t.Errorf("its store answers no reads: %v", err)
		}
	})
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	c.eventually("all three take writes again", func() bool { return three("after") == nil })
	c.becomesWhole(2, 0)
	for i := range 12 {
		if got := c.counter(2, fmt.Sprint("full", i)); got != 1 {
			t.Errorf("full%d is %d, want 1", i, got)
		}
	}
	if len(asides(t, c.storePath(2))) > 0 {
		t.Error("a full disk is no damage")
	}
}
