package pack

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// ErrMalformed is wrapped by every reading error.
var ErrMalformed = errors.New("malformed msgpack")

// A Reader walks one encoded value. The first error sticks: later calls return
// zero values, so a decoder may read a whole record and check [Reader.Close]
// once. Byte slices it returns alias the input.
type Reader struct {
	b    []byte
	size int
	err  error
}

// NewReader reads from b, which must not change while it is read.
func NewReader(b []byte) *Reader { return &Reader{b: b, size: len(b)} }

// Err returns the first error.
func (r *Reader) Err() error { return r.err }

// Left returns how many bytes were not read yet.
func (r *Reader) Left() int { return len(r.b) }

// Close returns the first error, or one if bytes are left over.
func (r *Reader) Close() error {
	if r.err == nil && len(r.b) > 0 {
		r.Fail("%d bytes left over", len(r.b))
	}
	return r.err
}

// Fail records an error of the caller's own rules at the current offset.
func (r *Reader) Fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w at byte %d: %s", ErrMalformed, r.size-len(r.b), fmt.Sprintf(format, args...))
	}
	r.b = nil
}

// Rest takes all bytes that are left, as they are.
func (r *Reader) Rest() []byte { return r.take(len(r.b)) }

func (r *Reader) take(n int) []byte {
	if r.err != nil {
		return nil
	}
	if n < 0 || n > len(r.b) {
		r.Fail("%d bytes declared, %d left", n, len(r.b))
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

func (r *Reader) head() byte {
	v := r.take(1)
	if v == nil {
		return 0xc1 // the one byte msgpack never uses
	}
	return v[0]
}

// number reads a big-endian integer of 1, 2, 4 or 8 bytes.
func (r *Reader) number(width int) uint64 {
	v := r.take(width)
	switch {
	case v == nil:
		return 0
	case width == 1:
		return uint64(v[0])
	case width == 2:
		return uint64(binary.BigEndian.Uint16(v))
	case width == 4:
		return uint64(binary.BigEndian.Uint32(v))
	default:
		return binary.BigEndian.Uint64(v)
	}
}

// Uint reads an unsigned integer in its shortest form.
func (r *Reader) Uint() uint64 {
	var v, least uint64
	switch h := r.head(); {
	case h <= 0x7f:
		return uint64(h)
	case h == 0xcc:
		v, least = r.number(1), 0x80
	case h == 0xcd:
		v, least = r.number(2), 1<<8
	case h == 0xce:
		v, least = r.number(4), 1<<16
	case h == 0xcf:
		v, least = r.number(8), 1<<32
	default:
		r.Fail("%#x where an unsigned integer belongs", h)
		return 0
	}
	if v < least {
		r.Fail("integer %d not in its shortest form", v)
		return 0
	}
	return v
}

// UintMax reads an unsigned integer of at most limit.
func (r *Reader) UintMax(limit uint64) uint64 {
	v := r.Uint()
	if v > limit {
		r.Fail("integer %d over its limit %d", v, limit)
		return 0
	}
	return v
}

// Int reads a signed integer in its shortest form.
func (r *Reader) Int() int64 {
	if r.err != nil || len(r.b) == 0 {
		r.Fail("integer expected, nothing left")
		return 0
	}
	h := r.b[0]
	switch {
	case h <= 0x7f || (h >= 0xcc && h <= 0xcf):
		return int64(r.UintMax(math.MaxInt64))
	case h >= 0xe0:
		r.take(1)
		return int64(int8(h))
	}
	var v, most int64
	switch r.take(1); h {
	case 0xd0:
		v, most = int64(int8(r.number(1))), -33
	case 0xd1:
		v, most = int64(int16(r.number(2))), math.MinInt8-1
	case 0xd2:
		v, most = int64(int32(r.number(4))), math.MinInt16-1
	case 0xd3:
		v, most = int64(r.number(8)), math.MinInt32-1
	default:
		r.Fail("%#x where an integer belongs", h)
		return 0
	}
	if v > most {
		r.Fail("integer %d not in its shortest form", v)
		return 0
	}
	return v
}

// Bool reads true or false.
func (r *Reader) Bool() bool {
	switch h := r.head(); h {
	case 0xc2:
		return false
	case 0xc3:
		return true
	default:
		r.Fail("%#x where a boolean belongs", h)
		return false
	}
}

// Bytes reads msgpack bin of at most limit bytes; the result aliases the input.
func (r *Reader) Bytes(limit int) []byte {
	var n, least uint64
	switch h := r.head(); h {
	case 0xc4:
		n = r.number(1)
	case 0xc5:
		n, least = r.number(2), 1<<8
	case 0xc6:
		n, least = r.number(4), 1<<16
	default:
		r.Fail("%#x where bytes belong", h)
		return nil
	}
	return r.bounded("bytes", n, least, limit)
}

// String reads msgpack str of at most limit bytes.
func (r *Reader) String(limit int) string {
	var n, least uint64
	switch h := r.head(); {
	case h&0xe0 == 0xa0:
		n = uint64(h & 0x1f)
	case h == 0xd9:
		n, least = r.number(1), 32
	case h == 0xda:
		n, least = r.number(2), 1<<8
	case h == 0xdb:
		n, least = r.number(4), 1<<16
	default:
		r.Fail("%#x where a string belongs", h)
		return ""
	}
	return string(r.bounded("string", n, least, limit))
}

func (r *Reader) bounded(what string, n, least uint64, limit int) []byte {
	switch {
	case r.err != nil:
		return nil
	case n < least:
		r.Fail("%s length %d not in its shortest form", what, n)
		return nil
	case n > uint64(limit):
		r.Fail("%s of %d bytes over the limit of %d", what, n, limit)
		return nil
	}
	return r.take(int(n))
}

// Array reads the header of an array and returns its length. Every element
// takes at least a byte, so a length beyond the bytes left is refused: what a
// caller allocates is bounded by what was really sent.
func (r *Reader) Array() int {
	var n, least uint64
	switch h := r.head(); {
	case h&0xf0 == 0x90:
		n = uint64(h & 0x0f)
	case h == 0xdc:
		n, least = r.number(2), 16
	case h == 0xdd:
		n, least = r.number(4), 1<<16
	default:
		r.Fail("%#x where an array belongs", h)
		return 0
	}
	if r.err == nil && (n < least || n > uint64(len(r.b))) {
		r.Fail("array of %d values in %d bytes", n, len(r.b))
	}
	if r.err != nil {
		return 0
	}
	return int(n)
}

// ArrayOf reads the header of an array that must hold exactly n values.
func (r *Reader) ArrayOf(n int) {
	if got := r.Array(); r.err == nil && got != n {
		r.Fail("array of %d values where %d belong", got, n)
	}
}
