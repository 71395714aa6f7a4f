//go:build linux && (amd64 || arm64)

package store

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
)

const (
	sectorSize = 512     // what a disk writes whole or not at all
	cachePage  = 4 << 10 // what the kernel writes back
)

// A disk tells what may be left of one file after a power cut. The file itself is
// what the kernel shows of it, written or not; the disk knows what is durable.
type disk struct {
	t       *testing.T
	path    string
	dice    *rand.Rand
	durable []byte
	// What was written since the last good sync, as often as it was: of each sector
	// any version may be there, or none.
	dirty map[int64][][]byte
	// The same of what a failed sync left: the kernel takes it for written, so no
	// later sync helps unless it is written again.
	limbo map[int64][][]byte

	last *call // was let through, and is done when the next one comes
	cuts int
}

func newDisk(t *testing.T, path string, dice *rand.Rand) *disk {
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return &disk{t: t, path: path, dice: dice, durable: b, dirty: map[int64][][]byte{}, limbo: map[int64][][]byte{}}
}

// finish takes over what the call before did.
func (d *disk) finish() {
	c := d.last
	if d.last = nil; c == nil {
		return
	}
	switch {
	case c.writes():
		d.wrote(c.offset, c.size)
	case c.syncs():
		d.flush()
	}
}

// wrote reads back what the kernel shows now, page by page.
func (d *disk) wrote(offset, size int64) {
	f, err := os.Open(d.path)
	if err != nil {
		d.t.Error(err)
		return
	}
	defer func() { _ = f.Close() }()
	from, until := offset/cachePage*cachePage, (offset+size+cachePage-1)/cachePage*cachePage
	for at := from; at < until; at += sectorSize {
		b := make([]byte, sectorSize)
		if _, err := f.ReadAt(b, at); err != nil {
			d.t.Errorf("read back %d: %v", at, err)
			return
		}
		d.dirty[at] = append(append(d.dirty[at], d.limbo[at]...), b)
		delete(d.limbo, at)
	}
}

func (d *disk) flush() {
	info, err := os.Stat(d.path)
	if err != nil {
		d.t.Error(err)
		return
	}
	d.durable = resized(d.durable, info.Size())
	for at, versions := range d.dirty {
		copy(d.durable[at:], versions[len(versions)-1])
	}
	clear(d.dirty)
}

// fail is a sync that failed: what it should have written may be there or not.
func (d *disk) fail() {
	for at, versions := range d.dirty {
		d.limbo[at] = append(d.limbo[at], versions...)
	}
	clear(d.dirty)
}

func resized(b []byte, size int64) []byte {
	if int64(len(b)) >= size {
		return b[:size]
	}
	return append(b, make([]byte, size-int64(len(b)))...)
}

// cut returns what a power cut leaves now.
func (d *disk) cut() []byte {
	d.cuts++
	image := append([]byte(nil), d.durable...)
	if info, err := os.Stat(d.path); err == nil && d.dice.IntN(2) == 0 {
		image = resized(image, info.Size())
	}
	written := d.dice.IntN(5) // of four sectors; often none or all
	for _, sectors := range []map[int64][][]byte{d.limbo, d.dirty} {
		for _, at := range sortedOffsets(sectors) {
			versions := sectors[at]
			if d.dice.IntN(4) < written && at < int64(len(image)) {
				copy(image[at:], versions[len(versions)-1-d.dice.IntN(len(versions))*d.dice.IntN(2)])
			}
		}
	}
	return image
}

func sortedOffsets(sectors map[int64][][]byte) []int64 {
	var out []int64
	for at := range sectors {
		out = append(out, at)
	}
	for i := range out { // few; and maps come in any order
		for j := i; j > 0 && out[j] < out[j-1]; j-- {
			out[j], out[j-1] = out[j-1], out[j]
		}
	}
	return out
}

// A plant is a mistake that the cuts must find.
type plant struct {
	options  func(*Options)
	lie      bool // a sync in ten returns and does nothing
	failures bool // a sync in ten fails; no mistake, the store must stand it
	held     bool // a view is held all the time; no mistake either
}

// life is a store that commits on, one event of one set member after the other,
// while the power is cut again and again. Commit i acknowledges event i.
type life struct {
	t    *testing.T
	seed uint64
	plant
	disk  *disk
	path  string
	image string
	dice  *rand.Rand // of the worker

	acked    atomic.Int64 // the last event that was acknowledged
	tried    atomic.Int64 // the last event whose commit was begun
	phases   map[string]int
	problems []string
}

const (
	lifeMembers = 40
	kept        = 50 // groups in the log
)

func lifeOptions() Options {
	o := testOptions()
	o.NoSync, o.growth = false, 32<<10
	return o
}

func runLife(t *testing.T, seed uint64, cuts int, p plant) *life {
	t.Helper()
	dir := t.TempDir()
	l := &life{t: t, seed: seed, plant: p, path: filepath.Join(dir, "shard"), image: filepath.Join(dir, "image"),
		dice: rand.New(rand.NewPCG(seed, 1)), phases: map[string]int{}}
	s, err := Open(l.path, lifeOptions())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	l.disk = newDisk(t, l.path, rand.New(rand.NewPCG(seed, 2)))
	var enough atomic.Bool
	watched(t, func(c call) verdict {
		v := l.observe(c)
		if l.disk.cuts >= cuts || len(l.problems) > 0 || t.Failed() {
			enough.Store(true)
		}
		return v
	}, func() { l.work(&enough) })
	return l
}

// observe is asked before each call.
func (l *life) observe(c call) verdict {
	if c.file() != l.path {
		return verdict{} // the directory
	}
	before := l.disk.last
	l.disk.finish()
	if l.disk.dice.IntN(3) == 0 {
		l.phases[phase(before, c)]++
		l.check()
	}
	if c.syncs() && l.disk.dice.IntN(10) == 0 {
		switch {
		case l.lie:
			return verdict{skip: true}
		case l.failures:
			l.disk.fail()
			return verdict{errno: syscall.EIO}
		}
	}
	l.disk.last = &c
	return verdict{}
}

// phase names the moment between two calls.
func phase(before *call, c call) string {
	isMeta := func(c *call) bool { return c.offset < 2*cachePage }
	switch {
	case before == nil || before.syncs() && !c.syncs() && !(c.writes() && isMeta(&c)):
		return "before a commit"
	case c.truncates() || before.truncates():
		return "while growing"
	case before.writes() && !isMeta(before):
		return "among the pages"
	case before.syncs() && c.writes() && isMeta(&c):
		return "before the meta page"
	case before.writes() && isMeta(before):
		return "behind the meta page, before its sync"
	}
	return "elsewhere"
}

// work commits until there were enough cuts. It opens the store again at times,
// and when a commit failed.
func (l *life) work(enough *atomic.Bool) {
	o := lifeOptions()
	if l.options != nil {
		l.options(&o)
	}
	for !enough.Load() {
		s, err := Open(l.path, o)
		if err != nil {
			if errors.Is(err, syscall.EIO) {
				continue
			}
			l.t.Errorf("seed %d: open: %v", l.seed, err)
			return
		}
		// What it shows now, a node tells others that it holds.
		seen, err := lastEvent(s)
		if err != nil {
			l.t.Errorf("seed %d: %v", l.seed, err)
			return
		}
		l.acked.Store(seen)
		commits := 1 + l.dice.IntN(60)
		var held *View
		if l.held {
			commits += 2 * heldLong
			if held, err = s.View(); err != nil {
				l.t.Errorf("seed %d: %v", l.seed, err)
				return
			}
		}
		for ; commits > 0 && !enough.Load() && s.Failed() == nil; commits-- {
			l.commit(s)
		}
		if held != nil {
			if err := held.Close(); err != nil {
				l.t.Errorf("seed %d: close view: %v", l.seed, err)
			}
		}
		if err := s.Close(); err != nil {
			l.t.Errorf("seed %d: close: %v", l.seed, err)
			return
		}
	}
}

func (l *life) commit(s *Store) {
	i := l.acked.Load() + 1
	l.tried.Store(i)
	tx, err := s.Begin()
	if err != nil {
		l.t.Errorf("seed %d: %v", l.seed, err)
		return
	}
	var c dvv.Clock
	c.AddRange(100, 1, uint64(i))
	err = errors.Join(add(tx, 9, dvv.Dot{Actor: 100, Seq: uint64(i)}, int(i)%lifeMembers), tx.PutClock(9, c),
		tx.PutTree(9, make([]byte, l.dice.IntN(20<<10))))
	if i > kept { // the file takes up what was freed
		g, _, e := tx.Group(9, dvv.Dot{Actor: 100, Seq: uint64(i - kept)})
		err = errors.Join(err, e, tx.DeleteGroup(9, &g))
	}
	if err != nil {
		_ = tx.Rollback()
		l.t.Errorf("seed %d: event %d: %v", l.seed, i, err)
		return
	}
	if tx.Commit() == nil {
		l.acked.Store(i)
	}
}

func lastEvent(s *Store) (int64, error) {
	v, err := s.View()
	if err != nil {
		return 0, err
	}
	c, _, err := v.Clock(9)
	return int64(c.Last(100)), errors.Join(err, v.Close())
}

// check opens what a power cut leaves, and looks for what was acknowledged. A seed
// repeats the dice, not the bytes: bbolt writes its pages in another order each
// time. So go test -artifacts keeps the file that was wrong.
func (l *life) check() {
	acked, tried := l.acked.Load(), l.tried.Load()
	image := l.disk.cut()
	if err := os.WriteFile(l.image, image, 0o600); err != nil {
		l.t.Error(err)
		return
	}
	if err := l.look(acked, max(acked, tried)); err != nil {
		_ = os.WriteFile(filepath.Join(l.t.ArtifactDir(), "image"), image, 0o600)
		l.problems = append(l.problems, fmt.Sprintf("seed %d, cut %d, event %d acknowledged: %v", l.seed, l.disk.cuts, acked, err))
	}
}

func (l *life) look(acked, tried int64) error {
	s, err := Open(l.image, testOptions())
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	last, err := lastEvent(s)
	switch {
	case err != nil:
		return err
	case last < acked || last > tried:
		return fmt.Errorf("the store is at event %d", last)
	case len(s.Damaged()) > 0:
		return fmt.Errorf("damaged: %v", s.Damaged())
	}
	v, err := s.View()
	if err != nil {
		return err
	}
	defer func() { _ = v.Close() }()
	for m := range int64(lifeMembers) {
		want := crdt.Row{}
		if i := last - (last-m+lifeMembers)%lifeMembers; last >= 0 && i > 0 { // the last event of the member
			want.Live = []crdt.Live{{Dot: dvv.Dot{Actor: 100, Seq: uint64(i)}, Payload: crdt.Member{Stamp: 7}.Payload()}}
		}
		got, err := v.Row(9, sampleMember(int(m)))
		if err != nil {
			return fmt.Errorf("at event %d member %d: %w", last, m, err)
		}
		if !got.Equal(want) {
			return fmt.Errorf("at event %d member %d is %v, want %v", last, m, got, want)
		}
	}
	groups, _, operations := v.Tally(9)
	if groups != min(last, kept) || operations != last {
		return fmt.Errorf("at event %d there are %d groups and %d operations", last, groups, operations)
	}
	return nil
}

func TestAPowerCutLosesNothingThatWasAcknowledged(t *testing.T) {
	for _, test := range []struct {
		name string
		cuts int
		plant
	}{
		{"while commits go on", 2000, plant{}},
		{"while syncs fail and the store is opened again", 1000, plant{failures: true}},
		{"behind a view that is held", 800, plant{held: true}},
	} {
		t.Run(test.name, func(t *testing.T) {
			cuts, phases := 0, map[string]int{}
			for seed := uint64(1); cuts < test.cuts && !t.Failed(); seed++ {
				l := runLife(t, seed, test.cuts/4, test.plant)
				for _, p := range l.problems {
					t.Error(p)
				}
				cuts += l.disk.cuts
				for k, n := range l.phases {
					phases[k] += n
				}
				t.Logf("seed %d: %d cuts, %d events acknowledged", seed, l.disk.cuts, l.acked.Load())
			}
			t.Logf("%d cuts: %v", cuts, phases)
			for _, k := range []string{"before a commit", "while growing", "among the pages", "before the meta page", "behind the meta page, before its sync"} {
				if phases[k] == 0 {
					t.Errorf("no cut %s", k)
				}
			}
		})
	}
}

// The cuts prove something only if they find a store that syncs too little.
func TestPowerCutsFindASyncThatIsMissing(t *testing.T) {
	for _, test := range []struct {
		name string
		plant
	}{
		{"no sync at all", plant{options: func(o *Options) { o.NoSync = true }}},
		{"a sync that does nothing, now and then", plant{lie: true}},
		{"a store opened after a failed sync as it is", plant{failures: true, options: func(o *Options) { o.noRedo = true }}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for seed := uint64(1); seed <= 20; seed++ {
				if l := runLife(t, seed, 300, test.plant); len(l.problems) > 0 {
					t.Logf("found: %.200s", l.problems[0])
					return
				}
			}
			t.Error("not found")
		})
	}
}
