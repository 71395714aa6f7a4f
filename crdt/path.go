package crdt

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// FieldKind is what a field of a map is. It is part of the field's address, as
// the type is of a key's: two clients never make one field hold two kinds.
type FieldKind uint8

// The kinds of fields.
const (
	CounterField FieldKind = 1 + iota
	RegisterField
	SetField
	FlagField // on or absent: a set of one member without a name
)

var fieldKindNames = [...]string{CounterField: "counter", RegisterField: "register", SetField: "set", FlagField: "flag"}

func (k FieldKind) String() string {
	if k.Valid() {
		return fieldKindNames[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Valid tells whether k is one of the kinds.
func (k FieldKind) Valid() bool { return k >= CounterField && k <= FlagField }

// Type returns the type whose payloads the rows of such a field hold; 0 for none.
func (k FieldKind) Type() Type {
	switch k {
	case CounterField:
		return Counter
	case RegisterField:
		return Register
	case SetField, FlagField:
		return Set
	}
	return 0
}

// Path names a row of a map: a field, or one member of a field that is a set. A
// set field without a member names all its rows together.
type Path struct {
	Name   string
	Kind   FieldKind
	Member string
}

// MaxFieldName is the most bytes of the name of a map's field, and maxPath those of
// an encoded path: every byte of the name may be a zero that is escaped.
const (
	MaxFieldName = 1 << 10
	MaxPath      = 2*MaxFieldName + 3 + MaxMember
)

// A path is encoded as the field of its row's address, in an order that is that
// of names, then kinds, then members:
//
//	name, each 0x00 as 0x00 0x02 │ 0x00 0x01 │ kind │ member
//
// So no name is a prefix of another, a map's rows lie in the order in which they
// are listed, and the bytes are UTF-8 as those of a member are.
const (
	pathZero = "\x00\x02"
	pathEnd  = "\x00\x01"
)

// Encode returns the field of the row's address. Of a set field without a member
// it is what the fields of all its rows begin with.
func (p Path) Encode() string {
	name := p.Name
	if strings.IndexByte(name, 0) >= 0 {
		name = strings.ReplaceAll(name, "\x00", pathZero)
	}
	return name + pathEnd + string(rune(p.Kind)) + p.Member
}

// PathPrefix returns what the encoded paths of all fields begin with whose names
// begin with the given bytes.
func PathPrefix(name string) string { return strings.ReplaceAll(name, "\x00", pathZero) }

var errPath = errors.New("malformed path of a map's row")

// DecodePath reads what [Path.Encode] wrote, and checks it as [Path.Check] does.
func DecodePath(s string) (Path, error) {
	at := strings.Index(s, pathEnd)
	if at < 0 || at+len(pathEnd) == len(s) {
		return Path{}, errPath
	}
	p := Path{Name: s[:at], Kind: FieldKind(s[at+len(pathEnd)]), Member: s[at+len(pathEnd)+1:]}
	if strings.IndexByte(p.Name, 0) >= 0 {
		p.Name = strings.ReplaceAll(p.Name, pathZero, "\x00")
	}
	if p.Encode() != s {
		return Path{}, errPath // another spelling of the same
	}
	return p, p.Check()
}

// Check refuses what no client may name.
func (p Path) Check() error {
	if err := checkName("field", p.Name, MaxFieldName); err != nil {
		return err
	}
	if !p.Kind.Valid() {
		return fmt.Errorf("%w: unknown %v", errPath, p.Kind)
	}
	if p.Member == "" {
		return nil
	}
	if p.Kind != SetField {
		return fmt.Errorf("%w: a %v has no members", errPath, p.Kind)
	}
	return CheckMember(p.Member)
}

// Whole tells whether the path names all rows of a set field.
func (p Path) Whole() bool { return p.Kind == SetField && p.Member == "" }

func (p Path) String() string {
	s := fmt.Sprintf("%v %s", p.Kind, legible(p.Name))
	if p.Member != "" {
		s += "[" + legible(p.Member) + "]"
	}
	return s
}

// legible quotes a name that would not show as it is.
func legible(name string) string {
	if strconv.CanBackquote(name) {
		return name
	}
	return strconv.Quote(name)
}
