package merkle

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math/bits"

	"github.com/dchest/siphash"
)

// Sum is an integer modulo 2^128, big-endian: the hash of one row, the sum of
// many, or the hash of a node's children. The zero Sum stands for "no rows".
type Sum [16]byte

func (s Sum) split() (hi, lo uint64) {
	return binary.BigEndian.Uint64(s[:8]), binary.BigEndian.Uint64(s[8:])
}

func joined(hi, lo uint64) (s Sum) {
	binary.BigEndian.PutUint64(s[:8], hi)
	binary.BigEndian.PutUint64(s[8:], lo)
	return s
}

// Add returns s + t modulo 2^128.
func (s Sum) Add(t Sum) Sum {
	sh, sl := s.split()
	th, tl := t.split()
	lo, carry := bits.Add64(sl, tl, 0)
	hi, _ := bits.Add64(sh, th, carry)
	return joined(hi, lo)
}

// Sub returns s - t modulo 2^128, so that s.Add(t).Sub(t) is s.
func (s Sum) Sub(t Sum) Sum {
	sh, sl := s.split()
	th, tl := t.split()
	lo, borrow := bits.Sub64(sl, tl, 0)
	hi, _ := bits.Sub64(sh, th, borrow)
	return joined(hi, lo)
}

// IsZero reports whether s is the sum of no rows.
func (s Sum) IsZero() bool { return s == Sum{} }

// String is 32 hexadecimal digits, most significant first.
func (s Sum) String() string { return hex.EncodeToString(s[:]) }

// Key is the secret under which a cluster hashes its rows. All replicas of a
// partition must share it, or none of their sums agree.
type Key [16]byte

// NewKey derives the key from the cluster's secret. One secret may serve other
// purposes beside this one: the label keeps them apart.
func NewKey(secret []byte) (k Key) {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte("cartwheel merkle key v1"))
	copy(k[:], mac.Sum(nil))
	return k
}

// String hides the key.
func (k Key) String() string { return "merkle.Key(hidden)" }

// GoString hides the key from %#v too.
func (k Key) GoString() string { return k.String() }

// Row is the hash of one row's canonical bytes: address, live dots with payload
// hashes, deferred dots. The caller leaves out rows that hold nothing: their
// contribution is Sum{}, not Row of some empty form.
func (k Key) Row(canonical []byte) Sum {
	k0, k1 := k.halves()
	return joined(siphash.Hash128(k0, k1, canonical))
}

// Leaf is the leaf, 0 <= leaf < leaves, that the row of this address belongs to.
// It panics if leaves is not a size [NewTree] takes.
func (k Key) Leaf(address []byte, leaves int) int { return LeafAt(k.Place(address), leaves) }

// Place is the keyed hash of an address: it says which leaf the row belongs to,
// and stands for the address where rows are told apart in few bytes.
func (k Key) Place(address []byte) uint64 {
	k0, k1 := k.halves()
	// Another key than Row's, so that a place says nothing about a hash.
	return siphash.Hash(k0^placing, k1, address)
}

// LeafAt is the leaf of a place, in a tree of this size. It panics if leaves is
// not a size [NewTree] takes.
func LeafAt(place uint64, leaves int) int {
	mustSize(leaves)
	return int(place & uint64(leaves-1))
}

func (k Key) halves() (k0, k1 uint64) {
	return binary.LittleEndian.Uint64(k[:8]), binary.LittleEndian.Uint64(k[8:])
}

const placing = 0x6c656166706c6163 // "leafplac"
