package store

import (
	"bytes"
	"fmt"
	"testing"
)

// A value that were copied over another would be stored under the other's key:
// damage that nobody did.
func TestNoValueOfATransactionIsCopiedOverAnother(t *testing.T) {
	for _, c := range []struct {
		name  string
		sizes []int // over and over
	}{
		{"values that fill a chunk to its last byte", []int{chunkSize / 16}},
		{"values that fill a chunk at the seventeenth", []int{chunkSize/16 - 1, chunkSize/16 - 1, 2}},
		{"values that leave a rest", []int{100, 1, 7777}},
		{"values too large for a chunk, among small ones", []int{chunkSize, 3, chunkSize/4 + 1}},
		{"no bytes at all", []int{0, 0, chunkSize / 4}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var a arena
			for transaction := range 3 {
				kept, total := map[string][]byte{}, 0
				for i := 0; total < 3*chunkSize; i++ {
					size := c.sizes[i%len(c.sizes)]
					want := bytes.Repeat([]byte(fmt.Sprintf("%d.%d ", transaction, i)), size/4+1)[:size]
					kept[string(want)] = a.copy(want)
					total += size
				}
				for want, got := range kept {
					if string(got) != want {
						t.Fatalf("transaction %d: a value of %d bytes became %.20q, want %.20q", transaction, len(want), got, want)
					}
				}
				a.reset()
			}
		})
	}
}
