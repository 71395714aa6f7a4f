package crdt

import (
	"fmt"

	"github.com/cartwheel-db/cartwheel/crdt/pack"
	"github.com/cartwheel-db/cartwheel/dvv"
)

// Member is what one add of a set member carries.
type Member struct {
	Stamp   Stamp
	Expires int64  // milliseconds since the Unix epoch; 0 for never
	Note    []byte // opaque; may be nil
}

// Payload encodes m.
func (m Member) Payload() Payload {
	b := append(make([]byte, 0, 24+len(m.Note)), byte(KindMember))
	b = pack.AppendUint(b, uint64(m.Stamp))
	b = pack.AppendUint(b, uint64(m.Expires))
	return pack.AppendBytes(b, m.Note)
}

// DecodeMember reads the payload of an add. Note aliases p.
func DecodeMember(p Payload) (Member, error) {
	r := p.body(KindMember)
	m := Member{
		Stamp:   Stamp(r.Uint()),
		Expires: int64(r.UintMax(1<<63 - 1)),
		Note:    r.Bytes(MaxValue),
	}
	if len(m.Note) == 0 {
		m.Note = nil
	}
	return m, r.Close()
}

func (m Member) String() string {
	s := fmt.Sprintf("member@%v", m.Stamp)
	if m.Note != nil {
		s += fmt.Sprintf(" note %q", m.Note)
	}
	return s + until(m.Expires)
}

// Member reads the row of a set member: the note of the highest (stamp, actor)
// and the latest expiry. ok is false when nothing is live: the member is not in
// the set.
func (r Row) Member() (m Member, ok bool, err error) {
	var best dvv.Actor
	for _, l := range r.Live {
		d, err := DecodeMember(l.Payload)
		if err != nil {
			return Member{}, false, fmt.Errorf("member under %v: %w", l.Dot, err)
		}
		expires := d.Expires
		if ok {
			expires = Later(m.Expires, d.Expires)
		}
		if !ok || d.Stamp > m.Stamp || d.Stamp == m.Stamp && l.Dot.Actor >= best {
			m, best = d, l.Dot.Actor
		}
		m.Expires, ok = expires, true
	}
	return m, ok, nil
}

// Later returns the later of two expiries, of which 0 is never.
func Later(a, b int64) int64 {
	if a == 0 || b == 0 {
		return 0
	}
	return max(a, b)
}

// Expired tells whether the member's time is over at wallMillis.
func (m Member) Expired(wallMillis int64) bool { return m.Expires != 0 && m.Expires <= wallMillis }
