package dvv

import "crypto/sha256"

// keyed is HMAC-SHA-256 (RFC 2104) under one key, which lies ready as the two
// blocks that are hashed with it. Every reply bears a token, and tokens are short:
// what is hashed is put together on the stack and hashed at once, for to begin a
// hash and go on with it cost more than the hash.
type keyed struct{ inner, outer [sha256.BlockSize]byte }

// newKeyed takes a key of at most a block, which is 64 bytes.
func newKeyed(key []byte) (k keyed) {
	copy(k.inner[:], key)
	copy(k.outer[:], key)
	for i := range k.inner {
		k.inner[i] ^= 0x36
		k.outer[i] ^= 0x5c
	}
	return k
}

func (k *keyed) mac(parts ...[]byte) [sha256.Size]byte {
	var room [512]byte // longer ones move to the heap
	text := append(room[:0], k.inner[:]...)
	for _, p := range parts {
		text = append(text, p...)
	}
	inner := sha256.Sum256(text)
	return sha256.Sum256(append(append(room[:0], k.outer[:]...), inner[:]...))
}
