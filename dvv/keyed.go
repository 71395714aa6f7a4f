package dvv

import (
	"crypto/sha256"
	"hash"
)

// keyed is HMAC-SHA-256 (RFC 2104) under one key, with the blocks of the key hashed
// beforehand. Every reply bears a token, tokens are short, and the key would be
// most of the work.
type keyed struct{ inner, outer hash.Cloner }

// newKeyed takes a key of at most a block, which is 64 bytes.
func newKeyed(key []byte) keyed {
	var inner, outer [sha256.BlockSize]byte
	copy(inner[:], key)
	copy(outer[:], key)
	for i := range inner {
		inner[i] ^= 0x36
		outer[i] ^= 0x5c
	}
	return keyed{begun(inner[:]), begun(outer[:])}
}

func begun(block []byte) hash.Cloner {
	h := sha256.New()
	_, _ = h.Write(block) // a hash never fails to write
	return h.(hash.Cloner)
}

func (k keyed) mac(parts ...[]byte) []byte {
	var room [sha256.Size]byte
	return sum(k.outer, room[:0], sum(k.inner, room[:0], parts...))
}

// sum goes on from a hash without changing it.
func sum(from hash.Cloner, into []byte, parts ...[]byte) []byte {
	h, err := from.Clone()
	if err != nil {
		panic("SHA-256 cannot be cloned: " + err.Error()) // it can
	}
	for _, p := range parts {
		_, _ = h.Write(p)
	}
	return h.Sum(into)
}
