package replicatest

import (
	"encoding/binary"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/replica"
)

func memExpiring(p int, at int64, a crdt.Address) string {
	return string(a.AppendBinary(binary.BigEndian.AppendUint64(memPrefix(p), uint64(at))))
}

// Expiring walks the rows that expire until a moment.
func (v *MemView) Expiring(p int, until int64, fn func(at int64, a crdt.Address) bool) error {
	prefix := string(memPrefix(p))
	return v.walk(v.state.expiring, prefix, prefix, func(key string, _ []byte) (bool, error) {
		at := int64(binary.BigEndian.Uint64([]byte(key[2:])))
		if at > until {
			return false, nil
		}
		a, err := crdt.DecodeAddress([]byte(key[10:]))
		return err == nil && fn(at, a), err
	})
}

// Summary returns what is kept of a set's rows together.
func (v *MemView) Summary(p int, k crdt.Key) (s replica.Summary, found bool, err error) {
	b, found := v.state.summaries.get(memKey(p, k))
	if !found {
		return s, false, nil
	}
	return memSummary(b), true, nil
}

func memSummary(b []byte) (s replica.Summary) {
	s.Members, s.Rows = binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])
	copy(s.Sum[:], b[16:])
	return s
}

// AllSummaries walks the sets of which a summary is kept.
func (v *MemView) AllSummaries(p int, fn func(crdt.Key, replica.Summary) bool) error {
	prefix := string(memPrefix(p))
	return v.walk(v.state.summaries, prefix, prefix, func(key string, value []byte) (bool, error) {
		k, _, err := crdt.DecodeKey([]byte(key[2:]))
		return err == nil && fn(k, memSummary(value)), err
	})
}

// PutSummary replaces what is kept of a set.
func (t *MemTx) PutSummary(p int, k crdt.Key, sum replica.Summary) error {
	return t.change("put summary", p, func(s *memState) {
		if s.summaries = s.summaries.delete(memKey(p, k)); sum != (replica.Summary{}) {
			b := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, sum.Members), sum.Rows)
			s.summaries = s.summaries.put(memKey(p, k), append(b, sum.Sum[:]...))
		}
	})
}
