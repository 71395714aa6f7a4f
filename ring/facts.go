package ring

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"
)

// Facts is a grow-only set of facts. The zero value is empty and ready.
//
// It is a value: adding never changes a copy made before, so a Facts may be
// handed to another goroutine without a thought.
type Facts struct {
	sorted []Fact // by compareFacts, no two equal; never written after it is set
}

// Add puts a fact into the set and reports whether it was new. A fact that
// breaks a bound is refused with a [*FactError] and changes nothing.
func (s *Facts) Add(f Fact) (bool, error) {
	if err := f.check(); err != nil {
		return false, err
	}
	return s.Merge(Facts{sorted: []Fact{f}}), nil
}

// Merge takes the union and reports whether the set grew. It commutes,
// associates and is idempotent.
func (s *Facts) Merge(other Facts) bool {
	joined := make([]Fact, 0, len(s.sorted)+len(other.sorted))
	a, b := s.sorted, other.sorted
	for len(a) > 0 && len(b) > 0 {
		switch c := compareFacts(a[0], b[0]); {
		case c < 0:
			joined, a = append(joined, a[0]), a[1:]
		case c > 0:
			joined, b = append(joined, b[0]), b[1:]
		default:
			joined, a, b = append(joined, a[0]), a[1:], b[1:]
		}
	}
	joined = append(append(joined, a...), b...)
	if len(joined) == len(s.sorted) {
		return false
	}
	s.sorted = joined
	return true
}

// All returns a copy of the facts in the order in which they are replayed.
func (s Facts) All() []Fact { return slices.Clone(s.sorted) }

// Next is the Lamport number for a fact that says something new: one more than
// the highest in the set.
func (s Facts) Next() uint64 {
	if len(s.sorted) == 0 {
		return 1
	}
	return s.sorted[len(s.sorted)-1].Number + 1
}

// Len is the number of facts.
func (s Facts) Len() int { return len(s.sorted) }

// Contains reports whether this very fact is in the set.
func (s Facts) Contains(f Fact) bool {
	_, found := slices.BinarySearchFunc(s.sorted, f, compareFacts)
	return found
}

// Equal reports whether both sets hold the same facts.
func (s Facts) Equal(other Facts) bool { return slices.Equal(s.sorted, other.sorted) }

// Clone returns an independent copy.
func (s Facts) Clone() Facts { return Facts{sorted: slices.Clone(s.sorted)} }

// Hash is xxhash64 of the canonical encoding: equal for equal sets.
func (s Facts) Hash() uint64 { return xxhash.Sum64(s.encode(nil)) }

// String has one fact a line, in order.
func (s Facts) String() string {
	var b strings.Builder
	for _, f := range s.sorted {
		fmt.Fprintln(&b, f)
	}
	return b.String()
}

// The stored and gossiped form, version 1. Numbers are minimal uvarints, text is
// a uvarint length and its bytes, facts are in order:
//
//	01 count { number kind node peer api zone weight by }...
const factsVersion = 1

// ErrFacts is what every refusal of an encoded set matches with errors.Is.
var ErrFacts = errors.New("bad encoding of membership facts")

// AppendBinary appends the canonical encoding: equal sets have equal bytes.
// It fails only for more than [MaxFacts] facts.
func (s Facts) AppendBinary(b []byte) ([]byte, error) {
	if len(s.sorted) > MaxFacts {
		return b, fmt.Errorf("ring: encode %d membership facts: at most %d", len(s.sorted), MaxFacts)
	}
	return s.encode(b), nil
}

func (s Facts) encode(b []byte) []byte {
	b = append(b, factsVersion)
	b = binary.AppendUvarint(b, uint64(len(s.sorted)))
	for _, f := range s.sorted {
		b = binary.AppendUvarint(b, f.Number)
		b = append(b, byte(f.Kind))
		for _, text := range [...]string{string(f.Node), f.PeerAddr, f.APIAddr, f.Zone} {
			b = binary.AppendUvarint(b, uint64(len(text)))
			b = append(b, text...)
		}
		b = binary.AppendUvarint(b, uint64(f.Weight))
		b = binary.AppendUvarint(b, uint64(len(f.By)))
		b = append(b, f.By...)
	}
	return b
}

// DecodeFacts reads what AppendBinary wrote and nothing else: another order, a
// repeated fact, a longer number or a byte too many is an error that matches
// [ErrFacts]. It allocates in proportion to the bytes it is given, whatever
// counts and lengths they claim.
func DecodeFacts(b []byte) (Facts, error) {
	in := reader{rest: b, size: len(b)}
	if version := in.byte("version"); in.err == nil && version != factsVersion {
		in.fail("version %d, this node reads %d", version, factsVersion)
	}
	count := in.number("count", MaxFacts)
	var facts []Fact
	for i := uint64(0); i < count && in.err == nil; i++ {
		f := Fact{
			Number:   in.number("number", MaxNumber),
			Kind:     FactKind(in.byte("kind")),
			Node:     NodeID(in.text("node", MaxIDLen)),
			PeerAddr: in.text("peer address", MaxAddrLen),
			APIAddr:  in.text("api address", MaxAddrLen),
			Zone:     in.text("zone", MaxZoneLen),
			Weight:   uint32(in.number("weight", MaxWeight)),
			By:       NodeID(in.text("replacement", MaxIDLen)),
		}
		if in.err != nil {
			break
		}
		if err := f.check(); err != nil {
			in.fail("fact %d of %d: %w", i+1, count, err)
		} else if len(facts) > 0 && compareFacts(facts[len(facts)-1], f) >= 0 {
			in.fail("fact %d of %d is out of order", i+1, count)
		}
		facts = append(facts, f)
	}
	if in.err == nil && len(in.rest) > 0 {
		in.fail("%d bytes too many", len(in.rest))
	}
	if in.err != nil {
		return Facts{}, in.err
	}
	return Facts{sorted: facts}, nil
}

// reader takes an encoded set apart. After its first error it returns zeros.
type reader struct {
	rest []byte
	size int
	err  error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		at := fmt.Sprintf("ring: decode facts at byte %d of %d: ", r.size-len(r.rest), r.size)
		r.err = fmt.Errorf("%w: "+at+format, append([]any{ErrFacts}, args...)...)
		r.rest = nil
	}
}

func (r *reader) byte(what string) byte {
	if len(r.rest) == 0 {
		r.fail("cut short in %s", what)
		return 0
	}
	v := r.rest[0]
	r.rest = r.rest[1:]
	return v
}

func (r *reader) number(what string, limit uint64) uint64 {
	v, n := binary.Uvarint(r.rest)
	switch {
	case n <= 0:
		r.fail("cut short in %s", what)
	case n > 1 && r.rest[n-1] == 0:
		r.fail("%s is not in its shortest form", what)
	case v > limit:
		r.fail("%s %d is above %d", what, v, limit)
	default:
		r.rest = r.rest[n:]
		return v
	}
	return 0
}

func (r *reader) text(what string, limit uint64) string {
	n := r.number(what+" length", limit)
	if n > uint64(len(r.rest)) {
		r.fail("%s of %d bytes, %d left", what, n, len(r.rest))
		return ""
	}
	v := string(r.rest[:n])
	r.rest = r.rest[n:]
	return v
}
