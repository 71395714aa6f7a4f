package crdt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/cartwheel-db/cartwheel/dvv"
)

// Type is one of the five data types. It is part of every address, so two
// clients can never make one key hold two types.
type Type uint8

// The five types.
const (
	Set Type = 1 + iota
	Counter
	Register
	Blob
	Map
)

var typeNames = [...]string{Set: "set", Counter: "counter", Register: "register", Blob: "blob", Map: "map"}

func (t Type) String() string {
	if t.Valid() {
		return typeNames[t]
	}
	return fmt.Sprintf("type(%d)", uint8(t))
}

// Valid tells whether t is one of the five types.
func (t Type) Valid() bool { return t >= Set && t <= Map }

// HasFields tells whether a key of the type has many rows, told apart by a field:
// the members of a set, the paths of a map.
func (t Type) HasFields() bool { return t == Set || t == Map }

// Sizes, in bytes, that names and values may have.
const (
	MaxBucket = 64
	MaxKey    = 1 << 10
	MaxMember = 4 << 10
	MaxValue  = 1 << 20
)

// Key names one value: a set, a counter, a register, a blob or a map.
type Key struct {
	Type   Type
	Bucket string
	Name   string
}

// Address names one row. Field is the member of a set, the encoded [Path] of a map,
// and empty for the types that are a single row.
type Address struct {
	Key
	Field string
}

// RowType returns the type whose payloads the row holds: the address's own, and of
// a map's row that of its field. 0 for a map's address that names no row.
func (a Address) RowType() Type {
	if a.Type != Map {
		return a.Type
	}
	p, err := DecodePath(a.Field)
	if err != nil {
		return 0
	}
	return p.Kind.Type()
}

// Cleared returns which dots of a clear of the row's key die in this row: all of
// them, and none in a counter, whose running totals a reset takes back instead. An
// actor's totals must not restart while it lives.
func (a Address) Cleared(c dvv.Clock) dvv.Clock {
	if a.RowType() == Counter {
		return dvv.Clock{}
	}
	return c
}

// Row returns the address of the key's only row.
func (k Key) Row() Address { return Address{Key: k} }

// At returns the address of a row of a map.
func (k Key) At(p Path) Address { return Address{Key: k, Field: p.Encode()} }

// Member returns the address of one member of a set.
func (k Key) Member(m string) Address { return Address{Key: k, Field: m} }

func (k Key) String() string {
	return fmt.Sprintf("%v %s/%s", k.Type, k.Bucket, k.Name)
}

func (a Address) String() string {
	if a.Field == "" {
		return a.Key.String()
	}
	if a.Type == Map {
		if p, err := DecodePath(a.Field); err == nil {
			return a.Key.String() + " " + p.String()
		}
	}
	return a.Key.String() + "[" + a.Field + "]"
}

// NameError reports a bucket, key or member that is not allowed.
type NameError struct {
	What  string // "bucket", "key", "member" or "field"
	Size  int    // bytes
	Limit int    // bytes
	Why   string
}

func (e *NameError) Error() string {
	return fmt.Sprintf("%s of %d bytes (limit %d): %s", e.What, e.Size, e.Limit, e.Why)
}

func checkName(what, s string, limit int) error {
	switch {
	case s == "":
		return &NameError{what, 0, limit, "must not be empty"}
	case len(s) > limit:
		return &NameError{what, len(s), limit, "too long"}
	case !utf8.ValidString(s):
		return &NameError{what, len(s), limit, "not valid UTF-8"}
	}
	return nil
}

// Check returns a [*NameError] when the key's names are empty, too long or not
// UTF-8.
func (k Key) Check() error {
	if !k.Type.Valid() {
		return fmt.Errorf("unknown %v", k.Type)
	}
	if err := checkName("bucket", k.Bucket, MaxBucket); err != nil {
		return err
	}
	return checkName("key", k.Name, MaxKey)
}

// CheckMember returns a [*NameError] when m cannot be a member of a set.
func CheckMember(m string) error { return checkName("member", m, MaxMember) }

// Check returns an error when the address could not have been made by a client.
func (a Address) Check() error {
	if err := a.Key.Check(); err != nil {
		return err
	}
	switch a.Type {
	case Set:
		return CheckMember(a.Field)
	case Map:
		p, err := DecodePath(a.Field)
		if err == nil && p.Whole() {
			err = fmt.Errorf("%w: %v names no row of its own", errPath, p)
		}
		return err
	}
	if a.Field != "" {
		return fmt.Errorf("a %v has no fields, got %q", a.Type, a.Field)
	}
	return nil
}

// Compare orders addresses as their encodings do: a key's rows lie together,
// a set's members in byte order.
func (a Address) Compare(b Address) int {
	if a.Key == b.Key {
		return strings.Compare(a.Field, b.Field)
	}
	return bytes.Compare(a.AppendBinary(nil), b.AppendBinary(nil))
}

// What follows the key in an address: nothing, a member, or a path.
const (
	pathWhole  = 0
	pathMember = 1
	pathPath   = 2
)

var pathMarks = [...]byte{Set: pathMember, Counter: pathWhole, Register: pathWhole, Blob: pathWhole, Map: pathPath}

// AppendPrefix appends the bytes that the addresses of all rows of the key
// begin with, and no other key's do.
func (k Key) AppendPrefix(b []byte) []byte {
	b = append(b, byte(k.Type), byte(len(k.Bucket)))
	b = append(b, k.Bucket...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(k.Name)))
	return append(b, k.Name...)
}

// AppendBinary appends the canonical bytes of the address, whose order is the
// order of rows on disk.
func (a Address) AppendBinary(b []byte) []byte {
	b = a.AppendPrefix(b)
	if !a.Type.HasFields() {
		return append(b, pathWhole)
	}
	return append(append(b, pathMarks[a.Type]), a.Field...)
}

var errAddress = errors.New("malformed row address")

// DecodeKey reads a key and returns the bytes behind it.
func DecodeKey(b []byte) (Key, []byte, error) {
	if len(b) < 2 || len(b) < 2+int(b[1])+2 {
		return Key{}, nil, errAddress
	}
	k := Key{Type: Type(b[0]), Bucket: string(b[2 : 2+int(b[1])])}
	b = b[2+int(b[1]):]
	n := int(binary.BigEndian.Uint16(b))
	if b = b[2:]; len(b) < n {
		return Key{}, nil, errAddress
	}
	k.Name = string(b[:n])
	if err := k.Check(); err != nil {
		return Key{}, nil, fmt.Errorf("%w: %w", errAddress, err)
	}
	return k, b[n:], nil
}

// DecodeAddress reads an address that takes up all of b.
func DecodeAddress(b []byte) (Address, error) {
	k, rest, err := DecodeKey(b)
	if err != nil {
		return Address{}, err
	}
	if len(rest) < 1 || rest[0] != pathMarks[k.Type] {
		return Address{}, errAddress
	}
	a := Address{Key: k, Field: string(rest[1:])}
	if err := a.Check(); err != nil {
		return Address{}, fmt.Errorf("%w: %w", errAddress, err)
	}
	return a, nil
}
