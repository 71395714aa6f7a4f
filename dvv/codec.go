package dvv

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math"
)

// The canonical bytes of a clock, on the wire, on disk, in tokens and under
// every hash. Equal clocks have equal bytes, and no other bytes decode.
//
//	uvarint  number of actors
//	per actor, ascending:
//	  8 bytes  actor, big-endian
//	  uvarint  number of intervals, at least 1
//	  per interval, ascending:
//	    uvarint  gap: First minus the Last before it (0 before the first);
//	             at least 1, and at least 2 after the first
//	    uvarint  length minus 1
//
// One actor without gaps costs 11 to 20 bytes.
const (
	minIntervalBytes = 2
	minActorBytes    = 8 + 1 + minIntervalBytes
)

// AppendBinary appends the canonical bytes of c to b.
func (c Clock) AppendBinary(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(c.entries)))
	for _, e := range c.entries {
		b = binary.BigEndian.AppendUint64(b, uint64(e.actor))
		b = binary.AppendUvarint(b, uint64(len(e.runs)))
		end := uint64(0)
		for _, v := range e.runs {
			b = binary.AppendUvarint(b, v.First-end)
			b = binary.AppendUvarint(b, v.Last-v.First)
			end = v.Last
		}
	}
	return b
}

// MarshalBinary returns the canonical bytes. With UnmarshalBinary it keeps
// reflective codecs honest: without it they would see a struct with no
// exported field and drop the set in silence.
func (c Clock) MarshalBinary() ([]byte, error) { return c.AppendBinary(nil), nil }

// UnmarshalBinary is DecodeClock of bytes that must end with the clock. On an
// error c is left as it was.
func (c *Clock) UnmarshalBinary(b []byte) error {
	got, rest, err := DecodeClock(b)
	if err != nil {
		return err
	}
	if len(rest) > 0 {
		return &DecodeError{Offset: len(b) - len(rest), Problem: "bytes left after the clock", Got: uint64(len(rest))}
	}
	*c = got
	return nil
}

// DecodeError says where and why bytes are not the canonical form of a clock.
type DecodeError struct {
	Offset  int    // of the first byte that cannot be right
	Problem string // a short constant phrase
	Got     uint64 // the offending number; 0 if the bytes ended
	Max     uint64 // the most (or for "too small" the least) that could be, 0 if that says nothing
}

func (e *DecodeError) Error() string {
	s := fmt.Sprintf("dvv: decode clock: byte %d: %s: %d", e.Offset, e.Problem, e.Got)
	if e.Max != 0 {
		s += fmt.Sprintf(", limit %d", e.Max)
	}
	return s
}

// DecodeClock reads one clock from the front of b and returns the bytes after
// it. It accepts exactly what AppendBinary writes, shares nothing with b, and
// allocates at most about 12 times len(b): every claimed count is held against
// the bytes that are left. Errors are *DecodeError; rest is then b.
func DecodeClock(b []byte) (c Clock, rest []byte, err error) {
	r := reader{b: b}
	if n := r.count(minActorBytes, "actors do not fit the bytes left"); n > 0 {
		c.entries, r.room = make([]entry, 0, n), make(shelf, n) // most actors have one run
		for range n {
			e := r.entry(c.entries)
			if r.err != nil {
				break
			}
			c.entries = append(c.entries, e)
		}
	}
	if r.err != nil {
		return Clock{}, b, r.err
	}
	return c, b[r.off:], nil
}

// reader walks the bytes; the first error sticks and stops it.
type reader struct {
	b   []byte
	off int
	err error
	// room for one run per actor; longer lists get their own
	room shelf
}

func (r *reader) fail(at int, problem string, got, limit uint64) {
	if r.err == nil {
		r.err = &DecodeError{Offset: at, Problem: problem, Got: got, Max: limit}
	}
}

func (r *reader) entry(before []entry) entry {
	at := r.off
	a := r.actor()
	if n := len(before); r.err == nil && n > 0 && a <= before[n-1].actor {
		r.fail(at, "actor out of order", uint64(a), 0)
	}
	at = r.off
	n := r.count(minIntervalBytes, "intervals do not fit the bytes left")
	if r.err == nil && n == 0 {
		r.fail(at, "actor without intervals", 0, 0)
	}
	if r.err != nil {
		return entry{}
	}
	e := entry{a, r.room.take(n)}
	for i, end := 0, uint64(0); i < n && r.err == nil; i++ {
		e.runs[i] = r.interval(end)
		end = e.runs[i].Last
	}
	return e
}

// interval reads the run that follows one ending at end (0: none).
func (r *reader) interval(end uint64) Interval {
	at := r.off
	gap := r.uvarint()
	least := uint64(1)
	if end > 0 {
		least = 2 // a gap of 1 would be the same run
	}
	if r.err == nil && gap < least {
		r.fail(at, "gap too small", gap, least)
	}
	if gap > math.MaxUint64-end {
		r.fail(at, "gap passes the largest seq", gap, math.MaxUint64-end)
	}
	first := end + gap
	at = r.off
	more := r.uvarint()
	if more > math.MaxUint64-first {
		r.fail(at, "length passes the largest seq", more, math.MaxUint64-first)
	}
	return Interval{first, first + more}
}

func (r *reader) actor() Actor {
	if r.err != nil {
		return 0
	}
	if len(r.b)-r.off < 8 {
		r.fail(len(r.b), "bytes end within an actor", 0, 0)
		return 0
	}
	r.off += 8
	return Actor(binary.BigEndian.Uint64(r.b[r.off-8:]))
}

// count reads a number of things of at least size bytes each.
func (r *reader) count(size int, problem string) int {
	at := r.off
	n := r.uvarint()
	if fits := uint64(len(r.b)-r.off) / uint64(size); r.err == nil && n > fits {
		r.fail(at, problem, n, fits)
		return 0
	}
	return int(n)
}

func (r *reader) uvarint() uint64 {
	if r.err != nil {
		return 0
	}
	v, n := binary.Uvarint(r.b[r.off:])
	switch {
	case n == 0:
		r.fail(len(r.b), "bytes end within a number", 0, 0)
	case n < 0:
		r.fail(r.off, "number longer than 64 bits", 0, 0)
	case n > 1 && r.b[r.off+n-1] == 0:
		r.fail(r.off, "number padded with zeros", v, 0)
	default:
		r.off += n
		return v
	}
	return 0
}

// Fingerprint is FNV-128a of the canonical bytes: equal clocks have equal
// fingerprints, and it takes about 2^64 clocks for two unequal ones to collide by
// accident. It lets authenticated peers ask "same as last time?" in 16 bytes.
// It is no defence against someone who picks clocks in order to collide.
func (c Clock) Fingerprint() [16]byte {
	var sum [16]byte
	h := fnv.New128a()
	_, _ = h.Write(c.AppendBinary(nil)) // a hash never fails to write
	h.Sum(sum[:0])
	return sum
}
