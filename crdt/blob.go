package crdt

import (
	"fmt"

	"github.com/cartwheel-db/cartwheel/crdt/pack"
	"github.com/cartwheel-db/cartwheel/dvv"
)

// BlobValue is one write of a blob. It carries its operation, so that one put
// that two coordinators applied (a retry) is one sibling to a reader.
type BlobValue struct {
	Op      Operation
	Value   []byte
	Expires int64 // milliseconds since the Unix epoch; 0 for never
}

// Payload encodes v.
func (v BlobValue) Payload() Payload {
	b := append(make([]byte, 0, 48+len(v.Value)), byte(KindBlob))
	b = AppendOperation(b, v.Op)
	return appendExpiry(pack.AppendBytes(b, v.Value), v.Expires)
}

// DecodeBlobValue reads the payload of a blob. Value aliases p.
func DecodeBlobValue(p Payload) (BlobValue, error) {
	r := p.body(KindBlob)
	v := BlobValue{Op: ReadOperation(&r), Value: r.Bytes(MaxValue), Expires: readExpiry(&r)}
	return v, r.Close()
}

func (v BlobValue) String() string { return fmt.Sprintf("%q", v.Value) + until(v.Expires) }

// Sibling is one live value of a blob and its dot.
type Sibling struct {
	Dot dvv.Dot
	BlobValue
}

// Siblings reads the row of a blob: every live value in the order of dots. Of
// several live dots of one operation only the first is shown; the context a
// reader gets covers all of them.
func (r Row) Siblings() ([]Sibling, error) {
	out := make([]Sibling, 0, len(r.Live))
next:
	for _, l := range r.Live {
		v, err := DecodeBlobValue(l.Payload)
		if err != nil {
			return nil, fmt.Errorf("blob under %v: %w", l.Dot, err)
		}
		for _, s := range out {
			if !v.Op.IsZero() && s.Op == v.Op && string(s.Value) == string(v.Value) {
				continue next
			}
		}
		out = append(out, Sibling{l.Dot, v})
	}
	return out, nil
}
