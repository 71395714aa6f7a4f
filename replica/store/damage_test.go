package store

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
)

// answers is what every kind of read says about a sample of n members: the
// answer in words, or its error. Of a walk that met damage it is what was shown.
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
		said[question] = b.String()
		if err != nil {
			errs[question] = err
		}
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
		sum, found, err := v.Summary(p, sampleKey)
		tell(fmt.Sprint("summary ", p), err, sum, found)
		ready, promoting, err := v.Mark(p)
		tell(fmt.Sprint("mark ", p), err, ready, promoting)
		tree, err := v.Tree(p)
		tell(fmt.Sprint("tree ", p), err, tree)
		value, found, err := v.Staged(p, []byte("staged 7"))
		tell(fmt.Sprint("staged ", p), err, value, found)
		walk(fmt.Sprint("all staged ", p), func(note func(...any)) error {
			return v.AllStaged(p, nil, func(key, value []byte) bool { note(key, value); return true })
		})
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
		walk(fmt.Sprint("expiring ", p), func(note func(...any)) error {
			return v.Expiring(p, 900, func(at int64, a crdt.Address) bool { note(at, a); return true })
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

// judge opens a damaged file: it is refused as damaged, or every read tells the
// truth or that it cannot. A refused file can be replaced by a fresh one at once.
func judge(t *testing.T, path string, n int, want map[string]string) (refused bool, failed int) {
	t.Helper()
	s, err := Open(path, testOptions())
	if err != nil {
		if refusal := (*RefusalError)(nil); !errors.As(err, &refusal) || refusal.Foreign {
			t.Errorf("not refused as damaged: %v", err)
		}
		if f, err := os.OpenFile(path, os.O_RDWR, 0); err != nil || lock(f) != nil {
			t.Errorf("a refused file stays locked: %v", err)
		} else {
			_ = f.Close()
		}
		aside := path + ".aside"
		if err := os.Rename(path, aside); err != nil {
			t.Fatal(err)
		}
		fresh, err := Open(path, testOptions())
		if err != nil {
			t.Fatalf("a fresh file in place of a damaged one: %v", err)
		}
		if err := errors.Join(fresh.Close(), os.Rename(aside, path)); err != nil {
			t.Fatal(err)
		}
		return true, 0
	}
	said, errs := answers(s, n)
	for question, answer := range said {
		if answer == want[question] {
			continue
		}
		if missing := leftOut(answer, want[question]); errs[question] == nil || missing == 0 {
			t.Errorf("%s: a wrong answer from a damaged store: %.200s, want %.200s", question, answer, want[question])
		} else if missing > 1 {
			t.Errorf("%s: %d records are missing for the damage of one", question, missing)
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

// leftOut tells how many lines of want got lacks; 0 when it has any other.
func leftOut(got, want string) (missing int) {
	lines := strings.Split(want, "\n")
	for _, line := range strings.Split(got, "\n") {
		at := slices.Index(lines, line)
		if at < 0 {
			return 0
		}
		missing += at
		lines = lines[at+1:]
	}
	return missing + len(lines)
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
	in, err := inspect(f, path, info.Size(), testOptions().identity(), nil)
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
	const members, flips = 120, 400
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
	in, err := inspect(f, path, int64(len(whole)), testOptions().identity(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var used []int
	_, err = inspect(f, path, int64(len(whole)), testOptions().identity(), func(_ bucket, key, value []byte) {
		if len(key) > 0 {
			at := bytes.Index(whole, append(bytes.Clone(key), value...)) // or where it was before, which is as free as any
			for i := range len(key) + len(value) {
				used = append(used, at+i)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	name := copyFile(t, path)
	dice := rand.New(rand.NewPCG(1, 2))
	refusals, reports := 0, 0
	for i := range flips {
		bit := dice.Int64N(int64(in.high*in.pageSize) * 8)
		if i%2 == 1 { // unused bytes are many: half of the flips are in records
			bit = int64(used[dice.IntN(len(used))])*8 + bit%8
		}
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
		if damage := (*DamageError)(nil); !errors.As(err, &damage) || !damage.Page || !errors.Is(err, ErrFailed) {
			t.Errorf("%s: %v", question, err)
		}
	}
	if s.Stats().Damaged == 0 {
		t.Error("damage was not counted")
	}
	if _, err := s.Begin(); !errors.Is(err, ErrFailed) || s.Failed() == nil {
		t.Errorf("a store whose pages are gone takes a transaction: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if refused, _ := judge(t, path, 0, nil); !refused {
		t.Error("was opened again")
	}
}

func TestAWriteIntoPagesThatAreGoneFailsTheStoreAndNotTheProcess(t *testing.T) {
	path := copyFile(t, sample(t, 1000))
	s := mustOpen(t, path, testOptions())
	tx, err := s.Begin()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 8192); err != nil {
		t.Fatal(err)
	}
	if err := tx.PutClock(3, dvv.Clock{}); !errors.Is(err, ErrFailed) {
		t.Errorf("the write: %v", err)
	}
	if err := tx.Commit(); !errors.Is(err, ErrFailed) {
		t.Errorf("the commit: %v", err)
	}
	if _, err := s.View(); !errors.Is(err, ErrFailed) {
		t.Errorf("a view: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if refused, _ := judge(t, path, 0, nil); !refused {
		t.Error("was opened again")
	}
}

// flipInKey flips one bit of a stored key wherever it is in the file.
func flipInKey(t *testing.T, path string, key []byte, at, bit int) {
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	wrong := bytes.Clone(key)
	wrong[at] ^= 1 << bit
	if err := os.WriteFile(path, bytes.ReplaceAll(b, key, wrong), 0o600); err != nil {
		t.Fatal(err)
	}
}

// What has a wrong key hides under it: removing that only would leave the right
// one absent, as if there had never been anything.
func TestARecordWithAWrongBitInItsKeyIsKnownByTheRightOne(t *testing.T) {
	const members = 60
	path := filepath.Join(t.TempDir(), "sparse") // or a flipped key would be out of order
	dot := func(i int) dvv.Dot { return dvv.Dot{Actor: 100, Seq: uint64(i+1) * 1000} }
	var c dvv.Clock
	s, err := Open(path, testOptions())
	if err != nil {
		t.Fatal(err)
	}
	update(t, s, func(tx *Tx) (err error) {
		for i := range members {
			c.Add(dot(i))
			err = errors.Join(err, add(tx, 3, dot(i), 1009*i))
		}
		return errors.Join(err, tx.PutClock(3, c), tx.PutClock(200, c))
	})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	want := truth(t, path, members)
	name := copyFile(t, path)
	dice := rand.New(rand.NewPCG(3, 4))
	tried := map[string]int{}
	for range 120 {
		i := dice.IntN(members)
		a, d := sampleMember(1009*i), dot(i)
		var part bucket
		var key []byte
		var heal func(tx *Tx) error
		switch dice.IntN(5) {
		case 0, 1:
			part, key = rows, appendAddress(nil, 3, a)
			heal = func(tx *Tx) error {
				return tx.ReplaceRow(3, a, crdt.Row{Live: []crdt.Live{{Dot: d, Payload: crdt.Member{Stamp: 7}.Payload()}}})
			}
		case 2, 3:
			part, key = log, appendDot(nil, 3, d)
			heal = func(tx *Tx) error {
				if err := tx.Purge("log", 3, key[2:]); err != nil {
					return err
				}
				return add(tx, 3, d, 1009*i)
			}
		case 4:
			part, key = clocks, appendPartition(nil, 3)
			heal = func(tx *Tx) error { return tx.PutClock(3, c) }
		}
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
		name = copyFile(t, path)
		if part == clocks { // two bytes are everywhere: write the record itself elsewhere
			wrong := bytes.Clone(key)
			wrong[1] ^= 1 << dice.IntN(7) // stays below partition 200
			rename(t, name, clocks, key, wrong)
		} else {
			flipInKey(t, name, key, len(key)-1-dice.IntN(4), dice.IntN(8))
		}
		s, err := Open(name, testOptions())
		if refusal := (*RefusalError)(nil); errors.As(err, &refusal) {
			continue // out of order
		} else if err != nil {
			t.Fatal(err)
		}
		found := s.Damaged()
		if len(found) == 0 {
			t.Fatalf("%v: the flip missed %x", part, key)
		}
		if got, p, rest := found[0].Record(); got != part.String() || p != 3 || !bytes.Equal(rest, key[2:]) {
			t.Fatalf("damaged is %v of %d %x (%v), want %v of 3 %x", got, p, rest, found[0], part, key[2:])
		}
		tried[part.String()]++
		update(t, s, heal)
		said, errs := answers(s, members)
		for question, answer := range want {
			if said[question] != answer || errs[question] != nil {
				t.Fatalf("%v: %s after healing: %.200s, %v, want %.200s", part, question, said[question], errs[question], answer)
			}
		}
		groups, _, operations := tallyOf(t, s, 3)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = mustOpen(t, name, testOptions())
		if d := s.Damaged(); len(d) > 0 {
			t.Fatalf("%v: still damaged: %v", part, d)
		}
		if g, _, o := tallyOf(t, s, 3); g != groups || o != operations {
			t.Fatalf("%v: tally %d %d, after opening %d %d", part, groups, operations, g, o)
		}
	}
	t.Logf("healed: %v", tried)
	for _, part := range []bucket{rows, log, clocks} {
		if tried[part.String()] < 5 {
			t.Errorf("only %d flips in keys of %v", tried[part.String()], part)
		}
	}
}

// rename moves a record to another key, seal and all.
func rename(t *testing.T, path string, b bucket, from, to []byte) {
	t.Helper()
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		b := tx.Bucket([]byte(b.String()))
		return errors.Join(b.Put(to, bytes.Clone(b.Get(from))), b.Delete(from))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

func tallyOf(t *testing.T, s *Store, p int) (groups, logBytes, operations int64) {
	v, err := s.View()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = v.Close() }()
	return v.Tally(p)
}

// The row's own bytes may lie about when it expires, or be gone by the time that it
// is replaced.
func TestADamagedRowThatIsReplacedLeavesNoExpiryBehind(t *testing.T) {
	row := func(at int64) crdt.Row {
		return crdt.Row{Live: []crdt.Live{{Dot: dvv.Dot{Actor: 100, Seq: 1}, Payload: crdt.Member{Stamp: 7, Expires: at}.Payload()}}}
	}
	a, other := sampleMember(1), sampleMember(2)
	for _, test := range []struct {
		name          string
		damage, purge bool
		after         crdt.Row
		want          string
	}{
		{"a whole row by another", false, false, row(2000), "[1000 item 000002] [2000 item 000001]"},
		{"a whole row by one that stays", false, false, row(0), "[1000 item 000002]"},
		{"a damaged row by another", true, false, row(2000), "[1000 item 000002] [2000 item 000001]"},
		{"a damaged row by nothing", true, false, crdt.Row{}, "[1000 item 000002]"},
		{"a purged row by another", true, true, row(2000), "[1000 item 000002] [2000 item 000001]"},
		{"a purged row by the same", true, true, row(1000), "[1000 item 000001] [1000 item 000002]"},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "timed")
			s, err := Open(path, testOptions())
			if err != nil {
				t.Fatal(err)
			}
			update(t, s, func(tx *Tx) error {
				return errors.Join(tx.PutRow(3, a, crdt.Row{}, row(1000)), tx.PutRow(3, other, crdt.Row{}, row(1000)), tx.PutRow(4, a, crdt.Row{}, row(1000)))
			})
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if test.damage { // which says now that it never expires
				key := appendAddress(nil, 3, a)
				db, err := bolt.Open(path, 0o600, nil)
				if err != nil {
					t.Fatal(err)
				}
				err = db.Update(func(tx *bolt.Tx) error {
					return tx.Bucket([]byte(rows.String())).Put(key, append(crdt.AppendRow(nil, row(0)), 1, 2, 3, 4))
				})
				if err := errors.Join(err, db.Close()); err != nil {
					t.Fatal(err)
				}
			}
			s = mustOpen(t, path, testOptions())
			update(t, s, func(tx *Tx) error {
				if test.purge {
					if err := tx.Purge(rows.String(), 3, a.AppendBinary(nil)); err != nil {
						return err
					}
				}
				return tx.ReplaceRow(3, a, test.after)
			})
			v, err := s.View()
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = v.Close() }()
			var got []string
			err = v.Expiring(3, 1<<40, func(at int64, a crdt.Address) bool { got = append(got, fmt.Sprint([]any{at, a.Field})); return true })
			if s := strings.Join(got, " "); err != nil || s != test.want {
				t.Errorf("the index says %s, %v, want %s", s, err, test.want)
			}
		})
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
