package crdt

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"github.com/cartwheel-db/cartwheel/crdt/pack"
	"github.com/cartwheel-db/cartwheel/dvv"
)

// Assign is one write of a register.
type Assign struct {
	Stamp   Stamp
	Value   []byte
	Expires int64 // milliseconds since the Unix epoch; 0 for never
}

// Payload encodes a.
func (a Assign) Payload() Payload {
	b := append(make([]byte, 0, 16+len(a.Value)), byte(KindAssign))
	b = pack.AppendUint(b, uint64(a.Stamp))
	return appendExpiry(pack.AppendBytes(b, a.Value), a.Expires)
}

// DecodeAssign reads the payload of a register. Value aliases p.
func DecodeAssign(p Payload) (Assign, error) {
	r := p.body(KindAssign)
	a := Assign{Stamp: Stamp(r.Uint()), Value: r.Bytes(MaxValue), Expires: readExpiry(&r)}
	return a, r.Close()
}

func (a Assign) String() string { return fmt.Sprintf("%q@%v", a.Value, a.Stamp) + until(a.Expires) }

// Assigned is a live write of a register and its dot.
type Assigned struct {
	Dot dvv.Dot
	Assign
}

// Register reads the row of a register: all live writes, the winner (the
// highest stamp, then actor) first, and behind it the concurrent ones that
// lost. Empty when the register holds nothing.
func (r Row) Register() ([]Assigned, error) {
	out := make([]Assigned, 0, len(r.Live))
	for _, l := range r.Live {
		a, err := DecodeAssign(l.Payload)
		if err != nil {
			return nil, fmt.Errorf("register under %v: %w", l.Dot, err)
		}
		out = append(out, Assigned{l.Dot, a})
	}
	slices.SortFunc(out, func(a, b Assigned) int {
		if c := cmp.Compare(b.Stamp, a.Stamp); c != 0 {
			return c
		}
		if c := b.Dot.Compare(a.Dot); c != 0 {
			return c
		}
		return bytes.Compare(b.Value, a.Value)
	})
	return out, nil
}
