package store

import (
	"bytes"
	"errors"
	"hash/fnv"
	"os"
	"runtime"
	"testing"

	"github.com/cartwheel-db/cartwheel/crdt"
)

// decodeRecord is what the reads of a bucket do with a record whose seal is
// right.
func decodeRecord(b bucket, key, value []byte) (err error) {
	switch b {
	case meta:
		_, err = readIdentity(value)
	case clocks, dead:
		_, err = readClock(b, key, value)
	case rows:
		a, e := crdt.DecodeAddress(key)
		if err = e; err == nil {
			_, err = crdt.DecodeRow(value, a.RowType())
		}
	case expiring:
		_, _, err = readExpiring(key)
	case summaries:
		_, err = readSummary(key, value)
	case log:
		_, err = readGroup(key, value)
	case remembered:
		_, err = readRemembered(key, value)
	case marks:
		_, _, err = readMark(key, value)
	}
	return err
}

func hungry(t testing.TB, limit uint64, do func()) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	do()
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > limit {
		t.Errorf("allocated %d bytes, limit %d", got, limit)
	}
}

func FuzzRecord(f *testing.F) {
	s := mustOpen(f, f.TempDir()+"/seeds", Options{ClusterID: "c", Node: "n", Partitions: 1 << 10, NoSync: true})
	update(f, s, goldenRecords)
	v, err := s.View()
	if err != nil {
		f.Fatal(err)
	}
	for b := range buckets {
		err := v.walk(b, nil, nil, func(key, value []byte) (bool, error) {
			f.Add(uint8(b), bytes.Clone(key), bytes.Clone(value))
			if b == rows {
				f.Add(uint8(b), bytes.Clone(key[2:]), bytes.Clone(value))
			}
			return true, nil
		})
		if err != nil {
			f.Fatal(err)
		}
	}
	if err := v.Close(); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b uint8, key, value []byte) {
		if len(key)+len(value) > 1<<10 {
			return
		}
		hungry(t, 1<<20, func() { _ = decodeRecord(bucket(b)%buckets, key, value) })
		hungry(t, 1<<20, func() { _ = rightKey(bucket(b)%buckets, key, value) })
		var damage *DamageError
		sealed := seal(rows, key, bytes.Clone(value))
		if got, err := unseal(rows, key, sealed); err != nil || !bytes.Equal(got, value) {
			t.Errorf("sealed %x reads %x, %v", value, got, err)
		}
		if isKey(rows, key) {
			wrong := bytes.Clone(key)
			wrong[len(value)%len(key)] ^= 1 << (len(value) % 8)
			if right := rightKey(rows, wrong, sealed); !bytes.Equal(right, key) {
				t.Errorf("%x stored as %x is taken for %x", key, wrong, right)
			}
		}
		if _, err := unseal(log, key, sealed); !errors.As(err, &damage) {
			t.Errorf("a record moved to another bucket reads: %v", err)
		}
		if _, err := unseal(rows, append(bytes.Clone(key), 0), sealed); !errors.As(err, &damage) {
			t.Errorf("a record moved to another key reads: %v", err)
		}
	})
}

// resealMetas makes the meta pages' checksums right, so that the pages behind
// them are reached.
func resealMetas(b []byte) {
	for at := 0; at < 2<<12 && at+pageHeader+metaSize <= len(b); at += 1 << 12 {
		m := b[at+pageHeader:]
		h := fnv.New64a()
		_, _ = h.Write(m[:metaSize-8])
		native.PutUint64(m[metaSize-8:], h.Sum64())
	}
}

// FuzzInspect feeds whole files: the seed is a real one.
func FuzzInspect(f *testing.F) {
	b, err := os.ReadFile(sample(f, 3))
	if err != nil {
		f.Fatal(err)
	}
	if _, err := inspect(bytes.NewReader(b), "seed", int64(len(b)), testOptions().identity(), nil); err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(b[:1<<10])
	f.Fuzz(func(t *testing.T, b []byte) {
		b = bytes.Clone(b)
		resealMetas(b)
		hungry(t, 1<<20+8*uint64(len(b)), func() {
			_, err := inspect(bytes.NewReader(b), "fuzz", int64(len(b)), testOptions().identity(), nil)
			if refusal := (*RefusalError)(nil); err != nil && !errors.As(err, &refusal) {
				t.Errorf("refused without a reason: %v", err)
			}
		})
	})
}
