package dvv

import (
	"bytes"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestAPreparedKeySignsAsHMACDoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.SliceOfN(rapid.Byte(), 0, 64).Draw(t, "key")
		k := newKeyed(key)
		for range 2 { // which leaves the prepared key as it was
			parts := rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 400), 0, 3).Draw(t, "parts")
			if got, want := k.mac(parts...), mac(key, slices.Concat(parts...)); !bytes.Equal(got[:], want) {
				t.Fatalf("%x under %x is %x, want %x", parts, key, got, want)
			}
		}
	})
}
