package merkle_test

import (
	"bytes"
	"fmt"
	"math/big"
	"testing"

	"pgregory.net/rapid"

	"github.com/cartwheel-db/cartwheel/replica/merkle"
)

// Edges and random sums alike: carries must cross the middle and fall off the top.
var sums = rapid.Custom(func(t *rapid.T) (s merkle.Sum) {
	word := rapid.SampledFrom([]byte{0x00, 0x01, 0x7f, 0x80, 0xff})
	if rapid.Bool().Draw(t, "edge") {
		hi, lo := word.Draw(t, "hi"), word.Draw(t, "lo")
		copy(s[:8], bytes.Repeat([]byte{hi}, 8))
		copy(s[8:], bytes.Repeat([]byte{lo}, 8))
		return s
	}
	copy(s[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "bytes"))
	return s
})

func TestSumsAddAndSubtractModulo2To128(t *testing.T) {
	modulus := new(big.Int).Lsh(big.NewInt(1), 128)
	number := func(s merkle.Sum) *big.Int { return new(big.Int).SetBytes(s[:]) }
	rapid.Check(t, func(t *rapid.T) {
		a, b := sums.Draw(t, "a"), sums.Draw(t, "b")
		plus := new(big.Int).Add(number(a), number(b))
		if got, want := number(a.Add(b)), plus.Mod(plus, modulus); got.Cmp(want) != 0 {
			t.Fatalf("%v + %v = %x, want %x", a, b, got, want)
		}
		minus := new(big.Int).Sub(number(a), number(b))
		if got, want := number(a.Sub(b)), minus.Mod(minus, modulus); got.Cmp(want) != 0 {
			t.Fatalf("%v - %v = %x, want %x", a, b, got, want)
		}
	})
}

func TestTheSumOfNothingIsZeroAndOnlyThat(t *testing.T) {
	if !(merkle.Sum{}).IsZero() || (merkle.Sum{15: 1}).IsZero() || (merkle.Sum{0: 1}).IsZero() {
		t.Error("IsZero is wrong")
	}
}

func TestAnotherSecretGivesOtherHashesAndOtherPlaces(t *testing.T) {
	other := merkle.NewKey([]byte("another secret"))
	moved := 0
	for i := range 100 {
		row := fmt.Append(nil, "row ", i)
		if key.Row(row) == other.Row(row) {
			t.Fatalf("%s hashes the same under two keys", row)
		}
		if key.Leaf(row, 1024) != other.Leaf(row, 1024) {
			moved++
		}
	}
	if moved < 90 {
		t.Errorf("only %d of 100 rows lie in another leaf", moved)
	}
}

func TestRowsSpreadEvenlyOverLeaves(t *testing.T) {
	const leaves, each = 64, 256
	var count [leaves]int
	for i := range leaves * each {
		count[key.Leaf(fmt.Append(nil, "set/carts/42/", i), leaves)]++
	}
	for leaf, n := range count {
		// Six standard deviations of a binomial with mean 256.
		if n < each-96 || n > each+96 {
			t.Errorf("leaf %d has %d rows, want about %d", leaf, n, each)
		}
	}
}

func TestAKeyDoesNotPrintItself(t *testing.T) {
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if got := fmt.Sprintf(verb, key); got != "merkle.Key(hidden)" {
			t.Errorf("%s prints %s", verb, got)
		}
	}
}
