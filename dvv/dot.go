package dvv

import (
	"cmp"
	"strconv"
)

// Actor is the random 64-bit id of one opening of one node's store. It is
// never reused and never derived from a clock or a file, which is what makes a
// dot unique without any coordination.
type Actor uint64

// String prints 1..26 as a..z, for tests and drawings that want to be read,
// and every other actor as 16 hex digits.
func (a Actor) String() string {
	return string(a.appendTo(make([]byte, 0, 16)))
}

func (a Actor) appendTo(b []byte) []byte {
	if a >= 1 && a <= 26 {
		return append(b, byte('a'+a-1))
	}
	const hex = "0123456789abcdef"
	for shift := 60; shift >= 0; shift -= 4 {
		b = append(b, hex[a>>shift&15])
	}
	return b
}

// Dot names one event of one partition: the Seq-th that Actor minted there.
// Seq counts from 1; a dot of seq 0 names nothing and is never in a clock.
type Dot struct {
	Actor Actor
	Seq   uint64
}

// IsZero reports whether d is the zero Dot, which stands for "no event".
func (d Dot) IsZero() bool { return d == Dot{} }

// Compare orders dots by actor, then seq: -1, 0 or +1. The order is the one a
// Clock iterates in; it says nothing about which event happened first.
func (d Dot) Compare(o Dot) int {
	if c := cmp.Compare(d.Actor, o.Actor); c != 0 {
		return c
	}
	return cmp.Compare(d.Seq, o.Seq)
}

// Less is Compare(o) < 0.
func (d Dot) Less(o Dot) bool { return d.Compare(o) < 0 }

// String prints "a:3".
func (d Dot) String() string {
	b := append(d.Actor.appendTo(make([]byte, 0, 40)), ':')
	return string(strconv.AppendUint(b, d.Seq, 10))
}

// Interval is a run of seqs of one actor, both ends included: 1 <= First <= Last.
type Interval struct {
	First, Last uint64
}

// String prints "5" or "5-7".
func (v Interval) String() string {
	return string(v.appendTo(make([]byte, 0, 41)))
}

func (v Interval) appendTo(b []byte) []byte {
	b = strconv.AppendUint(b, v.First, 10)
	if v.Last != v.First {
		b = strconv.AppendUint(append(b, '-'), v.Last, 10)
	}
	return b
}
