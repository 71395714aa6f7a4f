package store

import (
	"bytes"
	"errors"
	"fmt"
	"runtime/debug"
)

var (
	// ErrFailed tells that a commit failed, so memory and disk may disagree about what is
	// durable, or that a page turned out unreadable. Nothing but closing and opening
	// again helps.
	ErrFailed = errors.New("store failed and must be reopened")
	// ErrFull tells that a commit found no space and was rolled back. The store is as
	// it was before, and works.
	ErrFull = errors.New("no space left, rolled back")
	// ErrBusy tells that another transaction is open, or views are while closing.
	ErrBusy = errors.New("store is in use")
	// ErrClosed tells that the store, view or transaction is closed.
	ErrClosed = errors.New("closed")
)

// A DamageError names a record whose bytes are not what was stored, or, when the
// damage is below the records, the bucket and key that were looked for. What it
// is about was not returned.
type DamageError struct {
	Path    string
	Bucket  string
	Key     []byte // partition first; where a single wrong bit in it explains the checksum, as it was before
	Problem string

	// Page tells of damage below the records that came after opening. More may be
	// lost than was asked for, so the store fails: errors.Is(err, ErrFailed).
	Page bool
}

func (e *DamageError) Unwrap() error {
	if e.Page {
		return ErrFailed
	}
	return nil
}

func (e *DamageError) Error() string {
	return fmt.Sprintf("store %s: damaged record %x in %s: %s", e.Path, e.Key, e.Bucket, e.Problem)
}

// Record returns the bucket, the partition and the rest of the key, as it is
// stored: of rows the address bytes; of deferred entries actor, sequence (8 bytes
// each) and address bytes; of expiring entries time (8 bytes) and address bytes;
// of the log actor and last sequence; of remembered
// operations time of issue (8 bytes), client (16) and sequence (8); of dead and
// summaries the key's prefix; of staged the caller's key; of clocks, marks and trees nothing.
// The partition is -1 where the key tells none. Damage below the records is of
// no part.
func (e *DamageError) Record() (part string, partition int, key []byte) {
	if e.Page {
		return "", -1, nil
	}
	if len(e.Key) < 2 || e.Bucket == meta.String() {
		return e.Bucket, -1, e.Key
	}
	return e.Bucket, int(e.Key[0])<<8 | int(e.Key[1]), e.Key[2:]
}

func damaged(b bucket, key []byte, format string, args ...any) *DamageError {
	return &DamageError{Bucket: b.String(), Key: bytes.Clone(key), Problem: fmt.Sprintf(format, args...)}
}

// A RefusalError says why a file was not opened: it is not this store's file, or
// not whole. The file is unchanged and unlocked.
type RefusalError struct {
	Path string
	What string // what was looked at
	Want string
	Got  string

	// Foreign tells that the file is whole enough to say whose it is: of another
	// cluster, node, number of partitions or format, or another program's. It must
	// stay where it is. Any other refused file is damaged, and may be set aside.
	Foreign bool
}

func (e *RefusalError) Error() string {
	return fmt.Sprintf("store %s refused: %s is %s, want %s", e.Path, e.What, e.Got, e.Want)
}

// A faultGuard turns what damaged pages do to bbolt, a panic or a fault in the
// map, into an error. What a caller's callback panics with is none of its
// business and passes through.
type faultGuard struct {
	calling bool // in a callback
	broken  error
}

type guardState struct{ onFault, calling bool }

// enter is called as an argument of the deferred leave.
func (g *faultGuard) enter() guardState {
	s := guardState{debug.SetPanicOnFault(true), g.calling}
	g.calling = false
	return s
}

func (g *faultGuard) leave(s guardState, path string, b bucket, key *[]byte, err *error) {
	debug.SetPanicOnFault(s.onFault)
	calling := g.calling
	g.calling = s.calling
	if calling {
		return // not recovered: the callback's panic goes on with its own stack
	}
	if p := recover(); p != nil {
		broken := damaged(b, *key, "page is unreadable: %v", p)
		broken.Page = true
		g.broken, *err = broken, broken
	}
	if d := damageIn(*err); d != nil {
		d.Path = path
	}
}

// damageIn finds the damage an error tells of. Most calls end without an error,
// so what errors.As needs is not allocated for those.
func damageIn(err error) *DamageError {
	if err == nil {
		return nil
	}
	var d *DamageError
	errors.As(err, &d)
	return d
}
