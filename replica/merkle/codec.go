package merkle

import (
	"encoding/binary"
	"fmt"
)

// The stored form holds what cannot be derived:
//
//	version (1 byte, 1) | leaves (4 bytes, big-endian) | leaves x 16 bytes
const (
	version    = 1
	headerSize = 1 + 4
)

// DecodeError refuses bytes that are not a tree of the wanted size.
type DecodeError struct {
	Leaves int // wanted
	Bytes  int // given
	Why    string
}

func (e *DecodeError) Error() string {
	return fmt.Sprintf("merkle: decode tree of %d leaves from %d bytes: %s", e.Leaves, e.Bytes, e.Why)
}

// AppendBinary appends the leaf sums to b. Equal trees append equal bytes. The
// error is always nil; it is there for encoding.BinaryAppender.
func (t *Tree) AppendBinary(b []byte) ([]byte, error) {
	b = append(b, version)
	b = binary.BigEndian.AppendUint32(b, uint32(t.Leaves()))
	for _, s := range t.levels[t.last()] {
		b = append(b, s[:]...)
	}
	return b, nil
}

// DecodeTree reads what AppendBinary wrote. leaves is the cluster's number: bytes
// that claim another, or whose length does not fit exactly, are refused with a
// [*DecodeError] before anything is allocated.
func DecodeTree(b []byte, leaves int) (*Tree, error) {
	refuse := func(format string, args ...any) (*Tree, error) {
		return nil, &DecodeError{leaves, len(b), fmt.Sprintf(format, args...)}
	}
	if !validSize(leaves) {
		return refuse("want a power of two from 1 to %d", MaxLeaves)
	}
	if len(b) < headerSize {
		return refuse("shorter than its header of %d bytes", headerSize)
	}
	if b[0] != version {
		return refuse("version %d, this program reads %d", b[0], version)
	}
	if n := binary.BigEndian.Uint32(b[1:]); int64(n) != int64(leaves) {
		return refuse("it claims %d leaves", n)
	}
	if want := headerSize + leaves*len(Sum{}); len(b) != want {
		return refuse("want %d bytes", want)
	}
	t := NewTree(leaves)
	for i := range leaves {
		t.Set(i, Sum(b[headerSize+i*len(Sum{}):][:len(Sum{})]))
	}
	return t, nil
}
