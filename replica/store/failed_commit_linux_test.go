//go:build linux && (amd64 || arm64)

package store

import (
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cartwheel-db/cartwheel/dvv"
)

// clockOf is what a view shows of partition 77.
func clockOf(t *testing.T, s *Store) dvv.Clock {
	t.Helper()
	v, err := s.View()
	if err != nil {
		t.Fatal(err)
	}
	c, _, err := v.Clock(77)
	if err := errors.Join(err, v.Close()); err != nil {
		t.Fatal(err)
	}
	return c
}

// commitWatched commits a clock to partition 77 and lets decide see the calls,
// with whether they are about a meta page.
func commitWatched(t *testing.T, s *Store, c dvv.Clock, size int, decide func(c call, meta bool) verdict) (result error) {
	t.Helper()
	meta := false
	watched(t, func(c call) verdict {
		if c.writes() {
			meta = c.offset < 2*cachePage
		}
		return decide(c, meta)
	}, func() {
		tx, err := s.Begin()
		if err == nil {
			err = errors.Join(tx.PutClock(77, c), tx.PutTree(77, make([]byte, size)))
		}
		if err != nil {
			t.Error(err)
			return
		}
		result = tx.Commit()
	})
	return result
}

func TestACommitThatFailsAcknowledgesNothing(t *testing.T) {
	event := dvv.ClockOf(dvv.Dot{Actor: 1, Seq: 1})
	for _, test := range []struct {
		name  string
		fails func(c call, meta bool) bool
		errno syscall.Errno
		full  bool // nothing happened, the store goes on
		shown bool // after opening again
	}{
		{"the sync of the pages", func(c call, meta bool) bool { return c.syncs() && !meta && c.nr == syscall.SYS_FDATASYNC }, syscall.EIO, false, false},
		{"the sync of the meta page", func(c call, meta bool) bool { return c.syncs() && meta }, syscall.EIO, false, true},
		{"the sync of the pages, for want of space", func(c call, meta bool) bool { return c.syncs() && !meta && c.nr == syscall.SYS_FDATASYNC }, syscall.ENOSPC, false, false},
		{"the sync of the meta page, for want of space", func(c call, meta bool) bool { return c.syncs() && meta }, syscall.ENOSPC, false, true},
		{"a write that the disk cannot do", func(c call, meta bool) bool { return c.writes() && !meta }, syscall.EIO, false, false},
		{"a write without space", func(c call, meta bool) bool { return c.writes() && !meta }, syscall.ENOSPC, true, false},
		{"a write beyond a quota", func(c call, meta bool) bool { return c.writes() && !meta }, syscall.EDQUOT, true, false},
		{"the meta page's write, without space", func(c call, meta bool) bool { return c.writes() && meta }, syscall.ENOSPC, true, false},
		{"growing without space", func(c call, _ bool) bool { return c.truncates() }, syscall.ENOSPC, true, false},
		{"the sync of a file that grew", func(c call, meta bool) bool { return c.nr == syscall.SYS_FSYNC }, syscall.EIO, false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := sample(t, 10)
			synced, failures := false, 0
			o := testOptions()
			o.NoSync, o.growth, o.OnSync = false, 4<<10, func(string) { synced = true }
			s, err := Open(path, o)
			if err != nil {
				t.Fatal(err)
			}
			err = commitWatched(t, s, event, 5<<20, func(c call, meta bool) (v verdict) {
				if test.fails(c, meta) {
					v.errno = test.errno
					failures++
				}
				return v
			})
			if failures == 0 || err == nil || synced || errors.Is(err, ErrFull) != test.full || (s.Failed() == nil) != test.full {
				t.Fatalf("%d calls failed, commit: %v, synced %t, store failed: %v", failures, err, synced, s.Failed())
			}
			if test.full {
				if c := clockOf(t, s); !c.IsEmpty() {
					t.Errorf("a commit that was rolled back shows %v", c)
				}
				before := s.Actor()
				if a := s.Renew(); a == before || a != s.Actor() {
					t.Errorf("renewed: %v, was %v", a, before)
				}
				update(t, s, func(tx *Tx) error { return tx.PutClock(77, event) }) // there is space again
				if c := clockOf(t, s); !c.Equal(event) || !synced {
					t.Errorf("the next commit shows %v, synced %t", c, synced)
				}
			} else {
				if _, err := s.Begin(); !errors.Is(err, ErrFailed) {
					t.Errorf("begin: %v", err)
				}
				if _, err := s.View(); !errors.Is(err, ErrFailed) {
					t.Errorf("view: %v", err)
				}
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			again := mustOpen(t, path, o)
			if c := clockOf(t, again); c.Equal(event) != (test.shown || test.full) {
				t.Errorf("opened again it shows %v", c)
			}
			update(t, again, func(tx *Tx) error { return tx.PutClock(77, event) })
		})
	}
}

// Behind a held view the file has no list of free pages to go back to.
func TestAFullDiskBehindAHeldViewIsStoodToo(t *testing.T) {
	o := testOptions()
	o.NoSync = false
	path := sample(t, 100)
	s, err := Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	v, err := s.View()
	if err != nil {
		t.Fatal(err)
	}
	var c dvv.Clock
	for i := range uint64(2 * heldLong) {
		c.AddRange(1, 1, i+1)
		update(t, s, func(tx *Tx) error { return tx.PutClock(77, c) })
		if i%16 != 15 {
			continue
		}
		err := commitWatched(t, s, dvv.Clock{}, 1000, func(c call, meta bool) (v verdict) {
			if c.writes() && !meta {
				v.errno = syscall.ENOSPC
			}
			return v
		})
		if !errors.Is(err, ErrFull) || s.Failed() != nil {
			t.Fatalf("behind a view of %d commits: %v", s.Held(), err)
		}
		if got := clockOf(t, s); !got.Equal(c) {
			t.Fatalf("rolled back it shows %v, want %v", got, c)
		}
	}
	if err := errors.Join(v.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	again := mustOpen(t, path, o)
	if got := clockOf(t, again); !again.unlisted || !got.Equal(c) || len(again.Damaged()) > 0 {
		t.Errorf("opened again, unlisted %t, it shows %v", again.unlisted, got)
	}
}

// The meta page is in the map before it is durable.
func TestNoViewShowsACommitBeforeItsLastSync(t *testing.T) {
	event := dvv.ClockOf(dvv.Dot{Actor: 1, Seq: 1})
	for _, test := range []struct {
		name string
		room bool // for a map much larger than the file
		fail bool
	}{
		{"a sync that succeeds", true, false},
		{"a sync that fails", true, true},
		{"where the map is small, views wait", false, false},
		{"where the map is small, until the commit failed", false, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := testOptions()
			o.NoSync = false
			s := mustOpen(t, sample(t, 10), o)
			if !test.room {
				s.mapped = 0
			}
			looked := 0
			opened := make(chan dvv.Clock, 1)
			refused := make(chan error, 1)
			view := func() {
				v, err := s.View()
				if err != nil {
					refused <- err
					return
				}
				c, _, err := v.Clock(77)
				if err := errors.Join(err, v.Close()); err != nil {
					t.Error(err)
				}
				opened <- c
			}
			err := commitWatched(t, s, event, 100, func(c call, meta bool) (v verdict) {
				if !meta || !c.syncs() {
					return v
				}
				looked++
				if !test.room {
					go view()
				} else {
					first, err := s.View()
					if err != nil {
						t.Error(err)
						return v
					}
					go view() // has to wait for the first, or for the commit
					c, _, err := first.Clock(77)
					if err := errors.Join(err, first.Close()); err != nil || !c.IsEmpty() {
						t.Errorf("before the sync a view shows %v, %v", c, err)
					}
					select {
					case c := <-opened:
						if !c.IsEmpty() {
							t.Errorf("before the sync a second view shows %v", c)
						}
					case <-time.After(10 * time.Second):
						t.Error("the second view never opens")
					}
				}
				if test.fail {
					v.errno = syscall.EIO
				}
				return v
			})
			if looked != 1 || (err != nil) != test.fail {
				t.Fatalf("looked %d times, commit: %v", looked, err)
			}
			if !test.room {
				select {
				case c := <-opened:
					if !c.Equal(event) || test.fail {
						t.Errorf("after the commit (%v) the view that waited shows %v", err, c)
					}
				case err := <-refused:
					if !errors.Is(err, ErrFailed) || !test.fail {
						t.Errorf("the view that waited: %v", err)
					}
				case <-time.After(10 * time.Second):
					t.Error("the view that waited never opens")
				}
			}
			if !test.fail {
				if c := clockOf(t, s); !c.Equal(event) {
					t.Errorf("after the commit a view shows %v", c)
				}
			} else if _, err := s.View(); !errors.Is(err, ErrFailed) {
				t.Errorf("a view on a failed store: %v", err)
			}
		})
	}
}

func TestANewFileIsDurableBeforeItHasItsNameAndTheNameBeforeItIsUsed(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "shard")
	o := testOptions()
	o.NoSync = false
	var dirty, linked, named bool
	writes := 0
	var s *Store
	watched(t, func(c call) verdict {
		switch {
		case c.writes() || c.truncates():
			dirty = true
			writes++
		case c.syncs() && c.file() == dir:
			named = linked
		case c.syncs():
			dirty = false
		case c.links():
			if linked = true; dirty {
				t.Error("the file gets its name before its contents are durable")
			}
		}
		return verdict{}
	}, func() { s, _ = Open(path, o) })
	if s == nil || writes == 0 || !linked || !named {
		t.Fatalf("store %v after %d writes, linked %t, name durable %t", s, writes, linked, named)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	// A crash between the two left a name that may not be durable.
	linked, named = true, false
	watched(t, func(c call) verdict {
		named = named || c.syncs() && c.file() == dir
		return verdict{}
	}, func() { s, _ = Open(path, o) })
	if s == nil || !named {
		t.Fatalf("opened again: store %v, name durable %t", s, named)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// The kernel itself refuses to let the file grow here.
func TestAStoreThatMayNotGrowIsReadAndWrittenAgainLater(t *testing.T) {
	const inside = "CARTWHEEL_FILE_SIZE_LIMIT"
	if dir := os.Getenv(inside); dir == "" {
		c := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
		c.Env = append(os.Environ(), inside+"="+t.TempDir())
		if out, err := c.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	signal.Ignore(syscall.SIGXFSZ)
	path := filepath.Join(os.Getenv(inside), "shard")
	o := testOptions()
	o.NoSync, o.growth = false, 64<<10
	s := mustOpen(t, path, o)
	limit := func(size uint64) {
		t.Helper()
		var l syscall.Rlimit
		if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &l); err != nil {
			t.Fatal(err)
		}
		l.Cur = size
		if size == 0 {
			l.Cur = l.Max
		}
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &l); err != nil {
			t.Fatal(err)
		}
	}
	limit(1 << 20)
	commit := func(i int) error {
		tx, err := s.Begin()
		if err != nil {
			return err
		}
		var c dvv.Clock
		c.AddRange(1, 1, uint64(i))
		return errors.Join(tx.PutClock(77, c), tx.Stage(77, []byte{byte(i >> 8), byte(i)}, make([]byte, 10<<10)), tx.Commit())
	}
	i, err := 1, error(nil)
	for ; i < 1000 && err == nil; i++ {
		err = commit(i)
	}
	last := uint64(i - 2) // i-1 failed
	if !errors.Is(err, ErrFull) || last < 20 {
		t.Fatalf("after %d commits: %v", last, err)
	}
	for range 3 {
		if c := clockOf(t, s); c.Last(1) != last {
			t.Fatalf("a full store shows %v, want up to %d", c, last)
		}
		if err := commit(i); !errors.Is(err, ErrFull) {
			t.Fatalf("commit without space: %v", err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, path, o)
	if c := clockOf(t, s); c.Last(1) != last {
		t.Fatalf("opened again while full it shows %v", c)
	}
	limit(0)
	if err := commit(i); err != nil {
		t.Fatalf("with space again: %v", err)
	}
	if c := clockOf(t, s); c.Last(1) != uint64(i) {
		t.Fatalf("with space again it shows %v", c)
	}
}
