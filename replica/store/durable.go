package store

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	bolt "go.etcd.io/bbolt"
)

// A commit is visible in the map as soon as its meta page is written, which is
// before that page is durable. Whoever saw it then could tell others of it, or
// build on it, and a power cut would take it back. So nothing is shown of a commit
// before its last sync, neither to views while it is under way, nor to whoever
// opens the file after one that did not end.

// redo writes the two meta pages again as they are, and syncs. After it what the
// file shows is durable, whatever happened to the process or the syncs before: the
// pages that a meta page leads to were synced before it was written, or it would
// not have been written. A sync that failed says nothing about the meta page, and
// the kernel does not write it again by itself.
func redo(f *os.File, pageSize uint64) error {
	for i := range uint64(2) {
		b := make([]byte, pageHeader+metaSize) // in one sector, so it is not torn
		if _, err := f.ReadAt(b, int64(i*pageSize)); err != nil {
			return err
		}
		if _, err := f.WriteAt(b, int64(i*pageSize)); err != nil {
			return err
		}
	}
	return f.Sync()
}

// A commit holds a reading transaction on the state before it, for views that
// are opened between the write of its meta page and the sync.
type standby struct {
	durable int      // the newest transaction whose commit is known to be durable
	under   bool     // a commit is under way
	before  *bolt.Tx // nil when lent, or when there was no room for it
	awaits  bool     // a commit that may outgrow the map waits for the last view to end,
	alone   bool     // and then none begins until it is over
}

// spareMap is how many bytes of the map must be unused for a commit to go beside
// reading transactions: a map that has to grow waits for all of them, and whoever
// begins another one meanwhile waits for the map.
const spareMap = 1 << 28

// Outgrows tells that the commit of the transaction may need a larger map. Then it
// waits until no view is open: who waits for it must hold none.
func (t *Tx) Outgrows() bool { return t.tx.Size()+spareMap >= int64(t.s.mapped) }

// stand is called before a commit.
func (s *Store) stand(t *Tx) error {
	if t.Outgrows() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.standby.alone = s.views == 0
		for s.standby.awaits = true; !s.standby.alone; {
			s.synced.Wait()
		}
		s.standby.awaits, s.standby.under = false, true
		return nil
	}
	s.wedged.Add(1)
	before, err := s.db.Begin(false)
	s.wedged.Add(-1)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.standby.under, s.standby.before = true, before
	return nil
}

// settled is called after a commit; durable is its transaction when it succeeded,
// otherwise 0.
func (s *Store) settled(durable int) {
	s.mu.Lock()
	before := s.standby.before
	s.standby = standby{durable: max(durable, s.standby.durable)}
	s.synced.Broadcast()
	s.mu.Unlock()
	if before != nil {
		_ = before.Rollback()
	}
}

// hold makes a new view show what is durable: it takes the state before the
// commit under way, or, when another view has that, waits for the commit.
func (v *View) hold() error {
	s := v.s
	s.mu.Lock()
	s.since[v] = s.commits.Load()
	for v.tx.ID() > s.standby.durable {
		if !s.standby.under {
			delete(s.since, v)
			s.mu.Unlock()
			_ = v.rollback()
			return fmt.Errorf("view on store %s: %w", s.path, ErrFailed)
		}
		if before := s.standby.before; before != nil {
			s.standby.before, v.lent = nil, true
			s.mu.Unlock()
			err := v.rollback()
			v.tx = before
			return err
		}
		s.synced.Wait()
	}
	s.mu.Unlock()
	return nil
}

// giveBack ends a view that a commit under way has lent its transaction to.
func (v *View) giveBack() bool {
	v.s.mu.Lock()
	defer v.s.mu.Unlock()
	st := &v.s.standby
	if !v.lent || !st.under || st.before != nil || v.tx.ID() != st.durable {
		return false
	}
	st.before, v.tx = v.tx, nil
	v.s.synced.Broadcast() // somebody may wait for it
	return true
}

// full tells whether a commit failed for lack of space while pages were written
// that nothing leads to yet. Then it is rolled back and nothing else happened.
func (s *Store) full(err error) bool {
	var path *os.PathError
	space := errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG)
	grown := strings.HasPrefix(err.Error(), "file resize error") // bbolt does not wrap it
	if !grown && !(space && errors.As(err, &path)) || s.wedged.Load() > 0 {
		return false
	}
	tx, err := s.db.Begin(false)
	if err != nil {
		return false
	}
	defer func() { _ = tx.Rollback() }()
	return tx.ID() == s.standby.durable // or the meta page was written
}
