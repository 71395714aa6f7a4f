package store

import (
	"bytes"
	"errors"
	"fmt"

	bolt "go.etcd.io/bbolt"

	"github.com/cartwheel-db/cartwheel/dvv"
)

// A View is a snapshot: it shows what was committed when it was opened, however
// many commits follow. What it returns is copied out of the file.
//
// The space of what later commits replace is not used again while a view is
// open, most of what they write included: a view held for a minute costs the file
// what a minute's commits write, see [Store.Held]. A commit that may outgrow the
// file's map, of 64 GiB and more where addresses are not limited, waits until no view
// is open, and then none opens until it is over; see [Tx.Outgrows].
type View struct {
	reader
	lent bool // by a commit that was under way
}

// View opens a snapshot.
func (s *Store) View() (v *View, err error) {
	if err := s.admit("view", false); err != nil {
		return nil, err
	}
	v = &View{reader: reader{s: s}}
	if err := v.begin(false); err != nil {
		s.dismiss(false, err)
		return nil, err
	}
	if err := v.hold(); err != nil {
		s.dismiss(false, nil)
		return nil, err
	}
	return v, nil
}

// Close ends the view. A second call does nothing.
func (v *View) Close() error {
	if v.tx == nil {
		return nil
	}
	v.s.mu.Lock()
	delete(v.s.since, v)
	v.s.mu.Unlock()
	if v.giveBack() {
		v.s.dismiss(false, nil)
		return nil
	}
	err := v.rollback()
	v.s.dismiss(false, nil)
	return err
}

// reader is the half that views and transactions share.
type reader struct {
	s       *Store
	tx      *bolt.Tx // nil when over
	guard   faultGuard
	buckets [buckets]*bolt.Bucket
	cursors [buckets]*bolt.Cursor // for point reads
	key     []byte                // scratch of point reads and writes
}

func (r *reader) begin(writable bool) (err error) {
	defer r.guard.leave(r.guard.enter(), r.s.path, meta, &r.key, &err)
	r.s.wedged.Add(1)
	r.tx, err = r.s.db.Begin(writable)
	r.s.wedged.Add(-1)
	return err
}

func (r *reader) rollback() (err error) {
	defer r.guard.leave(r.guard.enter(), r.s.path, meta, &r.key, &err)
	tx := r.tx
	r.tx = nil
	r.s.wedged.Add(1)
	err = tx.Rollback()
	r.s.wedged.Add(-1)
	return err
}

func (r *reader) check(p int) error {
	if r.tx == nil {
		return fmt.Errorf("store %s: view or transaction: %w", r.s.path, ErrClosed)
	}
	if p < 0 || p >= r.s.options.Partitions {
		return fmt.Errorf("store %s: partition %d of %d", r.s.path, p, r.s.options.Partitions)
	}
	return nil
}

func (r *reader) bucket(b bucket) *bolt.Bucket {
	if r.buckets[b] == nil {
		r.buckets[b] = r.tx.Bucket([]byte(b.String()))
	}
	return r.buckets[b]
}

func (r *reader) cursor(b bucket) *bolt.Cursor {
	if r.cursors[b] == nil {
		r.cursors[b] = r.bucket(b).Cursor()
	}
	return r.cursors[b]
}

// failed counts damage, and lets the store fail when pages are unreadable.
func (r *reader) failed(err *error) {
	if damageIn(*err) == nil {
		return
	}
	r.s.damage.Add(1)
	if r.guard.broken != nil {
		r.s.fail(r.guard.broken)
	}
}

// lookup returns the bytes of a record, still in the map.
func (r *reader) lookup(b bucket, key []byte) (value []byte, found bool, err error) {
	c := r.cursor(b)
	k, v := c.Seek(key)
	if k != nil && bytes.Equal(k, key) {
		value, err = unseal(b, k, v)
		return value, err == nil, err
	}
	return nil, false, gap(b, c, k, v)
}

// gap checks the records on both sides of where a key is missing: one of them
// may be what was looked for, with a damaged key. The cursor stands at k.
func gap(b bucket, c *bolt.Cursor, k, v []byte) error {
	if k != nil {
		if _, err := unseal(b, k, v); err != nil {
			return err
		}
	}
	if k, v = c.Prev(); k != nil {
		if _, err := unseal(b, k, v); err != nil {
			return err
		}
	}
	return nil
}

// walk calls fn, outside the guard, for the records with the prefix that are at
// least from. The bytes are still in the map. Damaged records are skipped, those
// that fn finds to be damaged too, and the first of them is the error: whoever
// gets a *DamageError has been shown all the rest.
func (r *reader) walk(b bucket, prefix, from []byte, fn func(key, value []byte) (bool, error)) error {
	c := r.bucket(b).Cursor()
	k, v := c.Seek(from)
	var met error
	if k == nil || !bytes.Equal(k, from) {
		met = gap(b, c, k, v)
		k, v = c.Seek(from)
	}
	for ; k != nil; k, v = c.Next() {
		value, err := unseal(b, k, v)
		if !bytes.HasPrefix(k, prefix) { // the record behind the end is checked too
			return firstDamage(met, err)
		}
		more := true
		if err == nil {
			more, err = fn(k, value)
		}
		if err != nil && damageIn(err) == nil {
			return err
		}
		if met = firstDamage(met, err); !more && err == nil {
			return met
		}
	}
	return met
}

// firstDamage keeps what a walk met first.
func firstDamage(met, err error) error {
	if met != nil {
		return met
	}
	return err
}

// malformed is a record that was stored with the wrong bytes.
func malformed(b bucket, key []byte, err error) error {
	if err == nil {
		return nil
	}
	return damaged(b, key, "checksum right, contents wrong: %v", err)
}

// Partitions lists the partitions whose clock is stored, in order; beside an
// error that tells of damage, those whose clocks are whole.
func (r *reader) Partitions() (out []int, err error) {
	if err := r.check(0); err != nil {
		return nil, err
	}
	defer r.failed(&err)
	defer r.guard.leave(r.guard.enter(), r.s.path, clocks, &r.key, &err)
	err = r.walk(clocks, nil, nil, func(key, _ []byte) (bool, error) {
		if len(key) != 2 {
			return false, malformed(clocks, key, errKey)
		}
		out = append(out, int(key[0])<<8|int(key[1]))
		return true, nil
	})
	if err != nil && damageIn(err) == nil {
		return nil, err
	}
	return out, err
}

var errKey = errors.New("malformed key")

func (r *reader) clock(b bucket, key []byte) (c dvv.Clock, found bool, err error) {
	raw, found, err := r.lookup(b, key)
	if err != nil || !found {
		return dvv.Clock{}, false, err
	}
	c, err = readClock(b, key, raw)
	return c, err == nil, err
}

func readClock(b bucket, key, raw []byte) (dvv.Clock, error) {
	c, rest, err := dvv.DecodeClock(raw) // shares nothing with raw
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%d bytes behind the clock", len(rest))
	}
	return c, malformed(b, key, err)
}

// Clock returns the partition's clock; stored is false when there is none.
func (r *reader) Clock(p int) (c dvv.Clock, stored bool, err error) {
	if err := r.check(p); err != nil {
		return c, false, err
	}
	defer r.failed(&err)
	defer r.guard.leave(r.guard.enter(), r.s.path, clocks, &r.key, &err)
	r.key = appendPartition(r.key[:0], p)
	return r.clock(clocks, r.key)
}
