package store

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
)

// answers is what every kind of read says about a sample of n members: the
// answer in words, or its error.
func answers(s *Store, n int) (map[string]string, map[string]error) {
	said, errs := map[string]string{}, map[string]error{}
	v, err := s.View()
	if err != nil {
		errs["view"] = err
		return said, errs
	}
	defer func() { _ = v.Close() }()
	tell := func(question string, err error, answer ...any) {
		if err != nil {
			errs[question] = err
			return
		}
		said[question] = fmt.Sprint(answer...)
	}
	walk := func(question string, do func(note func(...any)) error) {
		var b strings.Builder
		err := do(func(a ...any) { fmt.Fprintln(&b, a...) })
		tell(question, err, b.String())
	}
	ps, err := v.Partitions()
	tell("partitions", err, ps)
	var all dvv.Clock
	all.AddRange(100, 1, 1<<40)
	all.AddRange(101, 1, 1<<40)
	for _, p := range []int{3, 4, 200} {
		c, stored, err := v.Clock(p)
		tell(fmt.Sprint("clock ", p), err, c, stored)
		for i := 0; i <= n+1; i++ {
			r, err := v.Row(p, sampleMember(i))
			tell(fmt.Sprint("row ", p, i), err, r)
			g, found, err := v.Group(p, dvv.Dot{Actor: 100, Seq: uint64(i)})
			tell(fmt.Sprint("group ", p, i), err, g, found)
			m, found, err := v.Remembered(p, crdt.Operation{Seq: uint64(i), Issued: 1})
			tell(fmt.Sprint("operation ", p, i), err, m, found)
		}
		d, err := v.Dead(p, sampleKey)
		tell(fmt.Sprint("dead ", p), err, d)
		walk(fmt.Sprint("rows ", p), func(note func(...any)) error {
			return v.Rows(p, sampleKey, "item 000010", func(f string, r crdt.Row) bool { note(f, r); return true })
		})
		walk(fmt.Sprint("all rows ", p), func(note func(...any)) error {
			return v.AllRows(p, nil, func(a crdt.Address, r crdt.Row) bool { note(a, r); return true })
		})
		walk(fmt.Sprint("all dead ", p), func(note func(...any)) error {
			return v.AllDead(p, func(k crdt.Key, c dvv.Clock) bool { note(k, c); return true })
		})
		walk(fmt.Sprint("deferred ", p), func(note func(...any)) error {
			return v.DeferredIn(p, all, func(d dvv.Dot, a crdt.Address) bool { note(d, a); return true })
		})
		walk(fmt.Sprint("log ", p), func(note func(...any)) error {
			return v.Log(p, all, func(g crdt.Group, size int) bool { note(g, size); return true })
		})
		walk(fmt.Sprint("operations ", p), func(note func(...any)) error {
			return v.AllRemembered(p, crdt.Operation{}, func(m crdt.Remembered) bool { note(m); return true })
		})
	}
	return said, errs
}

// truth is what an undamaged sample answers.
func truth(t *testing.T, path string, n int) map[string]string {
	t.Helper()
	s, err := Open(path, testOptions())
	if err != nil {
		t.Fatal(err)
	}
	said, errs := answers(s, n)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return said
}

// judge opens a damaged file: it is refused, or every read tells the truth or
// that it cannot.
func judge(t *testing.T, path string, n int, want map[string]string) (refused bool, failed int) {
	t.Helper()
	s, err := Open(path, testOptions())
	if err != nil {
		if refusal := (*RefusalError)(nil); !errors.As(err, &refusal) {
			t.Errorf("refused without saying why: %v", err)
		}
		if f, err := os.OpenFile(path, os.O_RDWR, 0); err != nil || lock(f) != nil {
			t.Errorf("a refused file stays locked: %v", err)
		} else {
			_ = f.Close()
		}
		return true, 0
	}
	said, errs := answers(s, n)
	for question, answer := range said {
		if answer != want[question] {
			t.Errorf("%s: a wrong answer from a damaged store: %.200s, want %.200s", question, answer, want[question])
		}
	}
	for question, err := range errs {
		if damage := (*DamageError)(nil); !errors.As(err, &damage) || damage.Path != path {
			t.Errorf("%s: %v is no report of damage", question, err)
		}
	}
	if len(errs) > 0 && len(s.Damaged()) == 0 {
		t.Errorf("reads meet damage that opening did not see: %v", errs)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	return false, len(errs)
}

func TestATruncatedFileIsRefusedAndUnlocked(t *testing.T) {
	path := sample(t, 1000)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	in, err := inspect(f, path, info.Size(), nil)
	if err != nil {
		t.Fatal(err)
	}
	used := int64(in.high * in.pageSize)
	for _, size := range []int64{0, 1000, 4096, 8192, 20000, used / 2, used - 1} {
		t.Run(fmt.Sprintf("cut to %d bytes", size), func(t *testing.T) {
			name := copyFile(t, path)
			if err := os.Truncate(name, size); err != nil {
				t.Fatal(err)
			}
			if refused, _ := judge(t, name, 0, nil); !refused {
				t.Error("was opened")
			}
			if info, err := os.Stat(name); err != nil || info.Size() != size {
				t.Errorf("a refused file was changed: %v, %v", info, err)
			}
		})
	}
}

func TestABitFlipIsRefusedOrReportedAndNeverBelieved(t *testing.T) {
	const members, flips = 120, 150
	path := sample(t, members)
	want := truth(t, path, members)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	in, err := inspect(f, path, int64(len(whole)), nil)
	if err != nil {
		t.Fatal(err)
	}
	name := copyFile(t, path)
	dice := rand.New(rand.NewPCG(1, 2))
	refusals, reports := 0, 0
	for range flips {
		bit := dice.Int64N(int64(in.high*in.pageSize) * 8)
		whole[bit/8] ^= 1 << (bit % 8)
		if err := os.WriteFile(name, whole, 0o600); err != nil {
			t.Fatal(err)
		}
		whole[bit/8] ^= 1 << (bit % 8)
		refused, failed := judge(t, name, members, want)
		if t.Failed() {
			t.Fatalf("bit %d of page %d", bit%int64(in.pageSize*8), bit/int64(in.pageSize*8))
		}
		if refused {
			refusals++
		} else if failed > 0 {
			reports++
		}
	}
	t.Logf("%d flips in %d pages: %d refused, %d reported by reads, the others hit unused bytes", flips, in.high, refusals, reports)
	if refusals == 0 || reports == 0 {
		t.Error("the flips did not reach both pages and records")
	}
}

func TestAFileCutUnderAnOpenStoreIsAnErrorAndNotTheEndOfTheProcess(t *testing.T) {
	path := copyFile(t, sample(t, 1000))
	s := mustOpen(t, path, testOptions())
	if err := os.Truncate(path, 8192); err != nil {
		t.Fatal(err)
	}
	said, errs := answers(s, 10)
	if len(errs) == 0 {
		t.Errorf("all was answered from a file that is gone: %v", said)
	}
	for question, err := range errs {
		if damage := (*DamageError)(nil); !errors.As(err, &damage) {
			t.Errorf("%s: %v", question, err)
		}
	}
	tx, err := s.Begin()
	if err == nil {
		err = tx.PutClock(3, dvv.Clock{})
		if err == nil {
			t.Error("a write into pages that are gone succeeded")
		}
		if err := tx.Commit(); err == nil {
			t.Error("a commit of a transaction that met damage succeeded")
		}
	}
	if s.Stats().Damaged == 0 {
		t.Error("damage was not counted")
	}
}

func TestAPanicOfACallbackIsNotDamage(t *testing.T) {
	s := mustOpen(t, sample(t, 10), testOptions())
	v, err := s.View()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if p := recover(); p != "mine" {
			t.Errorf("recovered %v", p)
		}
		if err := v.Close(); err != nil {
			t.Error(err)
		}
	}()
	err = v.AllRows(3, nil, func(a crdt.Address, _ crdt.Row) bool {
		if _, err := v.Row(3, a); err != nil { // a read inside a walk keeps the guard's place
			t.Error(err)
		}
		panic("mine")
	})
	t.Errorf("the panic became %v", err)
}
