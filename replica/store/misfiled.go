package store

import (
	"bytes"
	"encoding/binary"

	"github.com/cartwheel-db/cartwheel/crdt"
)

// A flipped bit in a key does not only lose the record: the key it should have
// looks absent, and the key it has names something that never was. The checksum
// covers the key, and a CRC is linear: what it is off by tells which single bit
// is wrong, if one is. So such a record is known by its right key, is reported
// under that, and goes when that is written.

// searched bounds the records, in bytes, whose keys are searched for a wrong bit.
const searched = 64 << 10

// rightKey returns the key that one flipped bit turned into key, nil when no such
// bit explains the checksum.
func rightKey(b bucket, key, value []byte) []byte {
	n := len(value) - sealSize
	if n < 0 || len(key)+n > searched {
		return nil
	}
	off := binary.BigEndian.Uint32(value[n:]) ^ sum(b, key, value[:n])
	var by [8]uint32 // what each bit of a byte changes, as many bytes before the end as were passed
	for bit := range by {
		by[bit] = castagnoli[1<<bit]
	}
	pass := func() {
		for bit, x := range by {
			by[bit] = castagnoli[byte(x)] ^ x>>8
		}
	}
	for range n {
		pass()
	}
	for i := len(key) - 1; i >= 0; i-- {
		for bit, x := range by {
			if x != off {
				continue
			}
			right := bytes.Clone(key)
			right[i] ^= 1 << bit
			if isKey(b, right) {
				return right
			}
			return nil
		}
		pass()
	}
	return nil
}

// isKey tells whether a key has the form of the bucket's.
func isKey(b bucket, key []byte) bool {
	if b == meta || len(key) < 2 {
		return false
	}
	var err error
	switch b {
	case clocks, marks, trees:
		return len(key) == 2
	case rows:
		_, err = crdt.DecodeAddress(key[2:])
	case dead, summaries:
		var rest []byte
		if _, rest, err = crdt.DecodeKey(key[2:]); len(rest) > 0 {
			return false
		}
	case deferred:
		if len(key) < dotKeySize {
			return false
		}
		_, err = crdt.DecodeAddress(key[dotKeySize:])
	case expiring:
		if len(key) < timePrefix {
			return false
		}
		_, err = crdt.DecodeAddress(key[timePrefix:])
	case log:
		return len(key) == dotKeySize
	case remembered:
		return len(key) == operationKeySize
	}
	return err == nil
}

// strayed returns the right key of a record that is whole but for its key.
func strayed(b bucket, key, value []byte) []byte {
	if n := len(value) - sealSize; n >= 0 && binary.BigEndian.Uint32(value[n:]) == sum(b, key, value[:n]) {
		return nil
	}
	return rightKey(b, key, value)
}

// recall deletes what strayed from t.key.
func (t *Tx) recall(b bucket) error {
	return t.recallAll(b, func(right []byte) bool { return bytes.Equal(right, t.key) })
}

// recallAll deletes the records on both sides of t.key that strayed from a key
// that matches. In a store without damage it does nothing.
func (t *Tx) recallAll(b bucket, matches func(right []byte) bool) error {
	if t.s.damage.Load() == 0 {
		return nil
	}
	c := t.bucket(b).Cursor()
	k, v := c.Seek(t.key)
	if bytes.Equal(k, t.key) {
		k, v = c.Next()
	}
	err := t.deleteStrayed(b, k, v, matches)
	c.Seek(t.key)
	if k, v = c.Prev(); err == nil {
		err = t.deleteStrayed(b, k, v, matches)
	}
	return err
}

func (t *Tx) deleteStrayed(b bucket, key, value []byte, matches func(right []byte) bool) error {
	if key == nil {
		return nil
	}
	if right := strayed(b, key, value); right == nil || !matches(right) {
		return nil
	}
	key = bytes.Clone(key)
	t.uncount(b, key, value)
	return t.bucket(b).Delete(key)
}
