package crdt

import (
	"math"
	"math/big"
	"math/bits"

	"github.com/cartwheel-db/cartwheel/crdt/pack"
)

// Total is a 128-bit integer in two's complement. An actor's running totals
// only ever grow, and would leave int64 long before they leave this: one
// increment of 2^63 each nanosecond fills it in 500 years.
type Total struct{ Hi, Lo uint64 }

// TotalOf returns v widened.
func TotalOf(v int64) Total { return Total{Hi: uint64(v >> 63), Lo: uint64(v)} }

// Add returns t + u, modulo 2^128.
func (t Total) Add(u Total) Total {
	lo, carry := bits.Add64(t.Lo, u.Lo, 0)
	hi, _ := bits.Add64(t.Hi, u.Hi, carry)
	return Total{hi, lo}
}

// Sub returns t - u, modulo 2^128.
func (t Total) Sub(u Total) Total {
	lo, borrow := bits.Sub64(t.Lo, u.Lo, 0)
	hi, _ := bits.Sub64(t.Hi, u.Hi, borrow)
	return Total{hi, lo}
}

// Times returns t * n, modulo 2^128.
func (t Total) Times(n uint64) Total {
	hi, lo := bits.Mul64(t.Lo, n)
	return Total{hi + t.Hi*n, lo}
}

// Negative tells whether t is below zero.
func (t Total) Negative() bool { return int64(t.Hi) < 0 }

// Int64 returns t, or the nearest int64 and true when t lies outside.
func (t Total) Int64() (v int64, saturated bool) {
	if t == TotalOf(int64(t.Lo)) {
		return int64(t.Lo), false
	}
	if t.Negative() {
		return math.MinInt64, true
	}
	return math.MaxInt64, true
}

func (t Total) String() string {
	v := new(big.Int).SetUint64(t.Hi)
	v.Lsh(v, 64).Or(v, new(big.Int).SetUint64(t.Lo))
	if t.Negative() {
		v.Sub(v, new(big.Int).Lsh(big.NewInt(1), 128))
	}
	return v.String()
}

func (t Total) append(b []byte) []byte {
	return pack.AppendUint(pack.AppendUint(b, t.Hi), t.Lo)
}

func readTotal(r *pack.Reader) Total { return Total{Hi: r.Uint(), Lo: r.Uint()} }
