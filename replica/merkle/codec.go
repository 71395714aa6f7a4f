package merkle

import (
	"encoding/binary"
	"fmt"
)

// The stored form holds what cannot be derived, in the shorter of two ways: all
// leaves, or those that are not empty.
//
//	version (1 byte, 1) | leaves (4 bytes, big-endian) | leaves x 16 bytes
//	version (1 byte, 2) | leaves (4 bytes, big-endian) | (index (2 bytes, big-endian) | 16 bytes) of each leaf in use, ascending
const (
	dense      = 1
	sparse     = 2
	headerSize = 1 + 4
	usedSize   = 2 + len(Sum{})
)

// shorter tells whether so many leaves in use are stored one by one.
func shorter(used, leaves int) bool { return used*usedSize < leaves*len(Sum{}) }

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
	leaves, used := t.levels[t.last()], 0
	for _, s := range leaves {
		if !s.IsZero() {
			used++
		}
	}
	version := byte(dense)
	if shorter(used, len(leaves)) {
		version = sparse
	}
	b = binary.BigEndian.AppendUint32(append(b, version), uint32(len(leaves)))
	for i, s := range leaves {
		switch {
		case version == sparse && s.IsZero():
			continue
		case version == sparse:
			b = binary.BigEndian.AppendUint16(b, uint16(i))
		}
		b = append(b, s[:]...)
	}
	return b, nil
}

// DecodeTree reads what AppendBinary wrote. leaves is the cluster's number: bytes
// that claim another, or that AppendBinary would not have written, are refused
// with a [*DecodeError] before a tree is allocated.
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
	version, sums := b[0], b[headerSize:]
	if version != dense && version != sparse {
		return refuse("version %d, this program reads %d and %d", version, dense, sparse)
	}
	if n := binary.BigEndian.Uint32(b[1:]); int64(n) != int64(leaves) {
		return refuse("it claims %d leaves", n)
	}
	if version == sparse {
		return decodeSparse(sums, leaves, refuse)
	}
	if want := headerSize + leaves*len(Sum{}); len(b) != want {
		return refuse("want %d bytes", want)
	}
	used := 0
	for i := range leaves {
		if !Sum(sums[i*len(Sum{}):][:len(Sum{})]).IsZero() {
			used++
		}
	}
	if shorter(used, leaves) {
		return refuse("%d leaves in use are stored one by one", used)
	}
	t := NewTree(leaves)
	for i := range leaves {
		t.Set(i, Sum(sums[i*len(Sum{}):][:len(Sum{})]))
	}
	return t, nil
}

func decodeSparse(b []byte, leaves int, refuse func(string, ...any) (*Tree, error)) (*Tree, error) {
	used := len(b) / usedSize
	if len(b)%usedSize != 0 || !shorter(used, leaves) {
		return refuse("%d bytes of leaves in use, %d each", len(b), usedSize)
	}
	at := func(i int) (leaf int, s Sum) {
		b := b[i*usedSize:]
		return int(binary.BigEndian.Uint16(b)), Sum(b[2:usedSize])
	}
	least := 0
	for i := range used {
		leaf, s := at(i)
		if leaf < least || leaf >= leaves || s.IsZero() {
			return refuse("leaf %d with sum %v, want one in use from %d to %d", leaf, s, least, leaves-1)
		}
		least = leaf + 1
	}
	t := NewTree(leaves)
	for i := range used {
		t.Set(at(i))
	}
	return t, nil
}
