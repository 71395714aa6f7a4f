package crdt

import (
	"bytes"
	"fmt"

	"github.com/cartwheel-db/cartwheel/crdt/pack"
)

// Payload is the canonical encoding of what lives under a dot: a kind byte,
// then the kind's own fields. Rows keep payloads encoded: joining compares
// bytes, and only a reader looks inside.
type Payload []byte

// Kind tells what a payload holds.
type Kind uint8

// The kinds; each belongs to one type.
const (
	KindMember Kind = 1 + iota // set
	KindEntry                  // counter: running totals of one actor
	KindReset                  // counter: what a reset saw
	KindVoid                   // counter: takes back a second application of one operation
	KindAssign                 // register
	KindBlob                   // blob
)

var kindNames = [...]string{KindMember: "member", KindEntry: "entry", KindReset: "reset", KindVoid: "void", KindAssign: "assign", KindBlob: "blob"}

func (k Kind) String() string {
	if k >= KindMember && k <= KindBlob {
		return kindNames[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Type returns the type whose rows hold payloads of this kind; 0 for none.
func (k Kind) Type() Type {
	switch k {
	case KindMember:
		return Set
	case KindEntry, KindReset, KindVoid:
		return Counter
	case KindAssign:
		return Register
	case KindBlob:
		return Blob
	}
	return 0
}

// Kind returns the payload's kind, 0 when empty.
func (p Payload) Kind() Kind {
	if len(p) == 0 {
		return 0
	}
	return Kind(p[0])
}

// Equal tells whether two payloads are the same bytes.
func (p Payload) Equal(q Payload) bool { return bytes.Equal(p, q) }

// body returns a reader of what follows the kind byte, and refuses another kind.
// The reader is a value: one on the heap for each payload is what checking them
// would cost most.
func (p Payload) body(k Kind) pack.Reader {
	if p.Kind() != k {
		r := *pack.NewReader(nil)
		r.Fail("payload of %v where %v belongs", p.Kind(), k)
		return r
	}
	return *pack.NewReader(p[1:])
}

// Check decodes the payload strictly and returns an error when it is malformed
// or does not belong into rows of type t.
func (p Payload) Check(t Type) error {
	if !t.Valid() || p.Kind().Type() != t {
		return fmt.Errorf("%w: payload of %v in a %v", pack.ErrMalformed, p.Kind(), t)
	}
	var err error
	switch p.Kind() {
	case KindMember:
		_, err = DecodeMember(p)
	case KindEntry:
		_, err = DecodeEntry(p)
	case KindReset:
		_, err = DecodeReset(p)
	case KindVoid:
		_, err = DecodeVoid(p)
	case KindAssign:
		_, err = DecodeAssign(p)
	case KindBlob:
		_, err = DecodeBlobValue(p)
	}
	return err
}

func (p Payload) String() string {
	var v any
	var err error
	switch p.Kind() {
	case KindMember:
		v, err = DecodeMember(p)
	case KindEntry:
		v, err = DecodeEntry(p)
	case KindReset:
		v, err = DecodeReset(p)
	case KindVoid:
		v, err = DecodeVoid(p)
	case KindAssign:
		v, err = DecodeAssign(p)
	case KindBlob:
		v, err = DecodeBlobValue(p)
	default:
		return fmt.Sprintf("payload(%x)", []byte(p))
	}
	if err != nil {
		return fmt.Sprintf("payload(%v)", err)
	}
	return fmt.Sprint(v)
}
