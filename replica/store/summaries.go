package store

import (
	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/crdt/pack"
	"github.com/cartwheel-db/cartwheel/replica/merkle"
)

// Summary returns what is kept of a set's rows together.
func (r *reader) Summary(p int, k crdt.Key) (s merkle.Summary, found bool, err error) {
	if err := r.check(p); err != nil {
		return s, false, err
	}
	defer r.failed(&err)
	defer r.guard.leave(r.guard.enter(), r.s.path, summaries, &r.key, &err)
	if k, _ := r.cursor(summaries).First(); k == nil {
		return s, false, nil // every row of a set that changes asks
	}
	r.key = appendKey(r.key[:0], p, k)
	raw, found, err := r.lookup(summaries, r.key)
	if err != nil || !found {
		return s, false, err
	}
	s, err = readSummary(r.key, raw)
	return s, err == nil, err
}

// AllSummaries calls fn for each set of which a summary is kept, in order.
func (r *reader) AllSummaries(p int, fn func(crdt.Key, merkle.Summary) bool) (err error) {
	if err := r.check(p); err != nil {
		return err
	}
	defer r.failed(&err)
	defer r.guard.leave(r.guard.enter(), r.s.path, summaries, &r.key, &err)
	prefix := appendPartition(nil, p)
	return r.walk(summaries, prefix, prefix, func(key, value []byte) (bool, error) {
		k, rest, err := crdt.DecodeKey(key[2:])
		if err == nil && len(rest) > 0 {
			err = errKey
		}
		if err != nil {
			return false, malformed(summaries, key, err)
		}
		s, err := readSummary(key, value)
		if err != nil {
			return false, err
		}
		return r.call(func() bool { return fn(k, s) }), nil
	})
}

func appendSummary(b []byte, s merkle.Summary) []byte {
	b = pack.AppendUint(pack.AppendUint(b, s.Members), s.Rows)
	return append(b, s.Sum[:]...)
}

func readSummary(key, raw []byte) (s merkle.Summary, err error) {
	r := pack.NewReader(raw)
	s.Members, s.Rows = r.Uint(), r.Uint()
	if sum := r.Rest(); len(sum) == len(s.Sum) {
		s.Sum = merkle.Sum(sum)
	} else {
		r.Fail("a sum of %d bytes", len(sum))
	}
	if s == (merkle.Summary{}) {
		r.Fail("nothing is kept of no rows")
	}
	if err := r.Close(); err != nil {
		return merkle.Summary{}, malformed(summaries, key, err)
	}
	return s, nil
}

// PutSummary replaces what is kept of a set; the zero Summary removes it.
func (t *Tx) PutSummary(p int, k crdt.Key, s merkle.Summary) (err error) {
	if err := t.check(p); err != nil {
		return err
	}
	defer t.guard.leave(t.guard.enter(), t.s.path, summaries, &t.key, &err)
	t.key = appendKey(t.key[:0], p, k)
	if s == (merkle.Summary{}) {
		return t.delete(summaries)
	}
	t.scratch = appendSummary(t.scratch[:0], s)
	return t.put(summaries)
}
