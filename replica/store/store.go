package store

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"sync/atomic"

	bolt "go.etcd.io/bbolt"

	"github.com/cartwheel-db/cartwheel/dvv"
)

// Options say whose store it is. Cluster, node and partitions are written into
// a new file and compared with those of an existing one.
type Options struct {
	ClusterID  string // 1 to 256 bytes
	Node       string // 1 to 256 bytes: the node's UUID
	Partitions int    // of the whole cluster: Q, 1 to MaxPartitions

	// NoSync leaves commits to the operating system. They survive the process and
	// not the machine: for tests and benchmarks.
	NoSync bool
	// OnSync is called when a commit's syncs have completed, before Commit returns,
	// on its goroutine.
	OnSync func(path string)
	// MapSize is how many bytes of addresses the file takes at first; 0 for 64 GiB, more
	// for a larger file, or what there is of that. See [Tx.Outgrows].
	MapSize int

	// For tests.
	growth int  // bytes, instead of growth
	noRedo bool // opening leaves what may not be durable as it is
}

func (o Options) identity() identity {
	return identity{Format, o.ClusterID, o.Node, uint64(o.Partitions)}
}

// growth is what a full file grows by, in bytes.
const growth = 4 << 20

// Store is one shard's store, open. Its methods may be called by any goroutine;
// a View or Tx belongs to one goroutine at a time, and may be handed over.
type Store struct {
	path     string
	actor    dvv.Actor
	options  Options
	db       *bolt.DB
	mapped   int // bytes of the map at first
	file     *os.File
	found    []*DamageError
	unlisted bool          // the file had no list of its free pages when it was opened
	tallies  map[int]tally // guarded by mu; replaced by commits

	mu      sync.Mutex
	synced  *sync.Cond // of mu: a commit is over
	standby standby
	since   map[*View]uint64 // commits when each open view was opened
	failed  error            // a commit failed with it
	closed  bool
	views   int
	begun   bool

	values arena // of the open transaction

	wedged atomic.Int32 // above 0: a panic may have left one of bbolt's locks held

	commits, syncs, pages, bytes, damage atomic.Uint64
}

// Open opens the store at path, or creates it when there is no file. It holds
// the file's lock until Close: one that is in use is refused with [ErrBusy]. A
// file that is not this store or not whole is refused with a [*RefusalError].
//
// Open reads the whole file; single damaged records do not keep it from opening,
// see [Store.Damaged].
func Open(path string, o Options) (*Store, error) {
	if o.ClusterID == "" || len(o.ClusterID) > maxIdentity || o.Node == "" || len(o.Node) > maxIdentity || o.Partitions < 1 || o.Partitions > MaxPartitions {
		return nil, fmt.Errorf("open store %s: cluster id of %d bytes, node id of %d bytes (1 to %d), %d partitions (1 to %d)",
			path, len(o.ClusterID), len(o.Node), maxIdentity, o.Partitions, MaxPartitions)
	}
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		if err := create(path, o); err != nil {
			return nil, fmt.Errorf("create store %s: %w", path, err)
		}
	}
	s := &Store{path: path, actor: newActor(), options: o, since: map[*View]uint64{}}
	s.synced = sync.NewCond(&s.mu)
	if err := s.open(); err != nil {
		s.release()
		var refusal *RefusalError
		if errors.As(err, &refusal) {
			return nil, refusal
		}
		return nil, fmt.Errorf("open store %s: %w", path, err)
	}
	return s, nil
}

// newActor is fresh at every opening: a restored backup or a copied directory
// must never mint a dot that the original has minted or will mint. Actors up to
// 26 print as letters and are left to tests.
func newActor() dvv.Actor {
	for {
		var b [8]byte
		_, _ = rand.Read(b[:]) // never fails: the process ends instead
		if a := dvv.Actor(binary.LittleEndian.Uint64(b[:])); a > 26 {
			return a
		}
	}
}

func boltOptions(o Options) *bolt.Options {
	return &bolt.Options{
		NoSync:         o.NoSync,
		FreelistType:   bolt.FreelistMapType,
		NoStatistics:   true,
		NoFreelistSync: false, // but while a view is held: without it opening rebuilds the list, in a goroutine whose panics nobody can catch
	}
}

// open lets bbolt open the file, which is locked and inspected first. A panic
// becomes an error.
func (s *Store) open() (err error) {
	onFault := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(onFault)
		if p := recover(); p != nil {
			err = &RefusalError{Path: s.path, What: "page structure", Want: "readable", Got: fmt.Sprint(p)}
		}
	}()
	o := boltOptions(s.options)
	if err := s.openFile(); err != nil {
		return err
	}
	if s.mapped = s.options.MapSize; s.mapped == 0 {
		s.mapped = mapSize(s.file)
	}
	o.InitialMmapSize = s.mapped
	o.Timeout = lockWait
	o.OpenFile = func(string, int, os.FileMode) (*os.File, error) { return s.file, nil }
	o.NoFreelistSync = s.unlisted // or opening would write
	s.db, err = bolt.Open(s.path, 0o600, o)
	if err != nil {
		return err
	}
	if s.db.AllocSize = growth; s.options.growth > 0 {
		s.db.AllocSize = s.options.growth
	}
	tx, err := s.db.Begin(false)
	if err != nil {
		return err
	}
	s.standby.durable = tx.ID()
	return tx.Rollback()
}

func (s *Store) openFile() (err error) {
	if s.file, err = os.OpenFile(s.path, os.O_RDWR, 0); err != nil {
		return err
	}
	if err := lock(s.file); err != nil {
		return err
	}
	info, err := s.file.Stat()
	if err != nil {
		return err
	}
	s.tallies = map[int]tally{}
	in, err := inspect(s.file, s.path, info.Size(), s.options.identity(), s.note)
	if err != nil {
		return err
	}
	s.found, s.unlisted = in.damaged, in.unlisted
	s.damage.Store(uint64(len(in.damaged)))
	if s.options.NoSync || s.options.noRedo {
		return nil
	}
	if err := redo(s.file, in.pageSize); err != nil {
		return fmt.Errorf("write the meta pages again: %w", err)
	}
	return syncDir(filepath.Dir(s.path)) // a crash may have come between the file's name and its sync
}

// release closes the file behind bbolt's back, when bbolt has not or cannot.
func (s *Store) release() {
	if s.file != nil {
		unlock(s.file) // a map that is left behind keeps a lock alive after its descriptor
		_ = s.file.Close()
	}
}

// Actor returns the id of this opening: random, never stored, never zero.
func (s *Store) Actor() dvv.Actor { return s.actor }

// Renew replaces the actor, as opening again would, for who begins anew after a
// commit that was rolled back: see [ErrFull]. No transaction may be open.
func (s *Store) Renew() dvv.Actor {
	s.actor = newActor()
	return s.actor
}

// Damaged returns the records, a thousand at most, that were damaged when the
// store was opened.
func (s *Store) Damaged() []*DamageError { return s.found }

// Stats are counts since the store was opened, and the file's size now.
type Stats struct {
	Commits uint64
	Syncs   uint64 // two per commit: its pages, then its meta page
	Bytes   uint64 // of keys and values put
	Pages   uint64 // bytes of pages written, what Bytes was amplified to
	Damaged uint64 // damaged records at opening, and reads that met damage
	File    int64  // bytes
}

// Stats returns the store's counts.
func (s *Store) Stats() Stats {
	st := Stats{Commits: s.commits.Load(), Syncs: s.syncs.Load(), Bytes: s.bytes.Load(), Pages: s.pages.Load(), Damaged: s.damage.Load()}
	if info, err := os.Stat(s.path); err == nil {
		st.File = info.Size()
	}
	return st
}

// Close releases the file. While a transaction or view is open it changes
// nothing and returns [ErrBusy]; a second call does nothing.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	if s.begun || s.views > 0 {
		return fmt.Errorf("close store %s with %d views and a transaction open (%t): %w", s.path, s.views, s.begun, ErrBusy)
	}
	s.closed = true
	if s.wedged.Load() > 0 { // bbolt would wait for its own lock; the map stays until the process ends
		s.release()
		return nil
	}
	if err := s.db.Close(); err != nil {
		s.release()
		return fmt.Errorf("close store %s: %w", s.path, err)
	}
	return nil
}

// admit counts a new view or transaction.
func (s *Store) admit(what string, writes bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !writes && s.standby.alone {
		s.synced.Wait()
	}
	switch {
	case s.closed:
		return fmt.Errorf("%s on store %s: %w", what, s.path, ErrClosed)
	case s.failed != nil:
		return fmt.Errorf("%s on store %s: %w: %w", what, s.path, ErrFailed, s.failed)
	case writes && s.begun:
		return fmt.Errorf("%s on store %s: a transaction is open: %w", what, s.path, ErrBusy)
	case writes:
		s.begun = true
	default:
		s.views++
	}
	return nil
}

// dismiss counts it off again; failed is the error of a commit.
func (s *Store) dismiss(writes bool, failed error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if writes {
		s.begun = false
	} else if s.views--; s.views == 0 && s.standby.awaits {
		s.standby.alone = true
		s.synced.Broadcast()
	}
	if s.failed == nil {
		s.failed = failed
	}
}

func (s *Store) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed == nil {
		s.failed = err
	}
}

// Failed returns what the store failed with, nil while it works. A failed store
// refuses all but Close.
func (s *Store) Failed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}
