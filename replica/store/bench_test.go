package store

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
)

// populate makes a set of n members in partition 3 and returns its clock.
func populate(b *testing.B, s *Store, n int) (c dvv.Clock) {
	for from := 0; from < n; from += 1000 {
		update(b, s, func(tx *Tx) error {
			for i := from; i < min(n, from+1000); i++ {
				d := dvv.Dot{Actor: 100, Seq: uint64(i + 1)}
				c.Add(d)
				if err := add(tx, 3, d, i); err != nil {
					return err
				}
			}
			return tx.PutClock(3, c)
		})
	}
	return c
}

func benchmarkAdds(b *testing.B, members, group int, sync bool) {
	o := testOptions()
	o.NoSync, o.growth = !sync, 0
	s := mustOpen(b, filepath.Join(b.TempDir(), "shard"), o)
	c := populate(b, s, members)
	seq := uint64(members)
	before := s.Stats()
	b.ReportAllocs()
	b.ResetTimer()
	for done := 0; done < b.N; done += group {
		update(b, s, func(tx *Tx) error {
			for range group {
				seq++
				d := dvv.Dot{Actor: 100, Seq: seq}
				c.Add(d)
				// Spread over the set, as clients' members are; an add of a member that is there
				// replaces it, so the set keeps its size.
				if err := add(tx, 3, d, int(seq*7919)%members); err != nil {
					return err
				}
			}
			return tx.PutClock(3, c)
		})
	}
	st := s.Stats()
	b.ReportMetric(float64(st.Pages-before.Pages)/float64(st.Bytes-before.Bytes), "pages/byte")
}

// Each op is one add: row read and written, group logged, operation remembered.
func BenchmarkGroupCommit(b *testing.B) {
	for _, members := range []int{1000, 100000} {
		b.Run(fmt.Sprintf("adds=64/members=%d", members), func(b *testing.B) { benchmarkAdds(b, members, 64, true) })
	}
	b.Run("adds=1/members=1000", func(b *testing.B) { benchmarkAdds(b, 1000, 1, true) })
	b.Run("adds=64/members=1000/nosync", func(b *testing.B) { benchmarkAdds(b, 1000, 64, false) })
}

func BenchmarkRead(b *testing.B) {
	s := mustOpen(b, filepath.Join(b.TempDir(), "shard"), testOptions())
	const members = 100000
	populate(b, s, members)
	v, err := s.View()
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = v.Close() }()
	b.Run("point", func(b *testing.B) {
		b.ReportAllocs()
		for i := range b.N {
			if r, err := v.Row(3, sampleMember(i*7919%members)); err != nil || r.IsEmpty() {
				b.Fatal(r, err)
			}
		}
	})
	b.Run("absent", func(b *testing.B) {
		a := crdt.Key{Type: crdt.Set, Bucket: "carts", Name: "bob"}.Member("x")
		b.ReportAllocs()
		for range b.N {
			if r, err := v.Row(3, a); err != nil || !r.IsEmpty() {
				b.Fatal(r, err)
			}
		}
	})
	b.Run("page=100", func(b *testing.B) {
		b.ReportAllocs()
		for i := range b.N {
			n := 0
			err := v.Rows(3, sampleKey, sampleMember(i*7919%(members-100)).Field, func(string, crdt.Row) bool { n++; return n < 100 })
			if err != nil || n != 100 {
				b.Fatal(n, err)
			}
		}
	})
}

// BenchmarkOpen shows what reading the whole file at opening costs.
func BenchmarkOpen(b *testing.B) {
	path := filepath.Join(b.TempDir(), "shard")
	s, err := Open(path, testOptions())
	if err != nil {
		b.Fatal(err)
	}
	populate(b, s, 100000)
	size := s.Stats().File
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(size)
	b.ResetTimer()
	for range b.N {
		s, err := Open(path, testOptions())
		if err != nil {
			b.Fatal(err)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
