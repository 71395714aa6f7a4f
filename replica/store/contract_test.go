package store_test

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica"
	"github.com/cartwheel-db/cartwheel/replica/replicatest"
	"github.com/cartwheel-db/cartwheel/replica/store"
)

var (
	_ replica.View = (*store.View)(nil)
	_ replica.Tx   = (*store.Tx)(nil)
)

const partitions = 256

func testOptions() store.Options {
	return store.Options{ClusterID: "cluster", Node: "node", Partitions: partitions, NoSync: true}
}

func open(t testing.TB, path string) *store.Store {
	t.Helper()
	s, err := store.Open(path, testOptions())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// The generators draw from few names, among them prefixes of each other and the
// bytes that a careless encoding would take for an end.
var (
	somePartition = rapid.SampledFrom([]int{0, 1, 2, 254, 255})
	someName      = rapid.SampledFrom([]string{"a", "a\x00", "aa", "ab", "b", "\u00ff", "\x00", "\x01", strings.Repeat("k", 300)})
	someActor     = rapid.SampledFrom([]dvv.Actor{1, 2, 1 << 40, 1<<64 - 1})
	someDot       = rapid.Custom(func(t *rapid.T) dvv.Dot {
		return dvv.Dot{Actor: someActor.Draw(t, "actor"), Seq: rapid.Uint64Range(1, 12).Draw(t, "seq")}
	})
	someKey = rapid.Custom(func(t *rapid.T) crdt.Key {
		return crdt.Key{Type: crdt.Type(rapid.IntRange(1, 5).Draw(t, "type")), Bucket: rapid.SampledFrom([]string{"b", "bb", "\x01"}).Draw(t, "bucket"), Name: someName.Draw(t, "key")}
	})
	somePath = rapid.Custom(func(t *rapid.T) crdt.Path {
		p := crdt.Path{Name: someName.Draw(t, "field"), Kind: crdt.FieldKind(rapid.IntRange(1, 4).Draw(t, "kind"))}
		if p.Kind == crdt.SetField {
			p.Member = someName.Draw(t, "member")
		}
		return p
	})
	someExpiry  = rapid.SampledFrom([]int64{0, 0, 1, 2, 255, 1 << 40})
	someAddress = rapid.Custom(func(t *rapid.T) crdt.Address {
		a := someKey.Draw(t, "key").Row()
		switch a.Type {
		case crdt.Set:
			a.Field = someName.Draw(t, "member")
		case crdt.Map:
			a.Field = somePath.Draw(t, "path").Encode()
		}
		return a
	})
	someClock = rapid.Custom(func(t *rapid.T) dvv.Clock {
		var c dvv.Clock
		for range rapid.IntRange(0, 3).Draw(t, "runs") {
			d := someDot.Draw(t, "first")
			c.AddRange(d.Actor, d.Seq, d.Seq+rapid.Uint64Range(0, 4).Draw(t, "more"))
		}
		return c
	})
	someOperation = rapid.Custom(func(t *rapid.T) crdt.Operation {
		o := crdt.Operation{Seq: rapid.Uint64Range(1, 3).Draw(t, "operation"), Issued: rapid.SampledFrom([]int64{0, 1, 1 << 40}).Draw(t, "issued")}
		o.Client[15] = byte(rapid.SampledFrom([]int{0, 1, 255}).Draw(t, "client"))
		return o
	})
)

// payload returns a payload that rows of the type may hold.
func payload(t crdt.Type, n uint64, expires int64) crdt.Payload {
	switch t {
	case crdt.Set:
		return crdt.Member{Stamp: crdt.Stamp(n), Expires: expires, Note: []byte("note")}.Payload()
	case crdt.Counter:
		return crdt.Entry{P: crdt.TotalOf(int64(n)), Expires: expires}.Payload()
	case crdt.Register:
		return crdt.Assign{Stamp: crdt.Stamp(n), Expires: expires, Value: []byte("value")}.Payload()
	default:
		return crdt.BlobValue{Value: fmt.Appendf(nil, "blob %d", n), Expires: expires}.Payload()
	}
}

func drawRow(t *rapid.T, k crdt.Type) (r crdt.Row) {
	dots := slices.SortedFunc(maps.Keys(maps.Collect(someDots(t))), dvv.Dot.Compare)
	for i, d := range dots {
		if rapid.Bool().Draw(t, "live") {
			r.Live = append(r.Live, crdt.Live{Dot: d, Payload: payload(k, uint64(i), someExpiry.Draw(t, "expires"))})
		} else {
			r.Deferred = append(r.Deferred, d)
		}
	}
	return r
}

func someDots(t *rapid.T) func(func(dvv.Dot, bool) bool) {
	dots := rapid.SliceOfN(someDot, 0, 4).Draw(t, "dots")
	return func(yield func(dvv.Dot, bool) bool) {
		for _, d := range dots {
			if !yield(d, true) {
				return
			}
		}
	}
}

// drawGroup draws a group that does not overlap what the model has logged.
func drawGroup(t *rapid.T, v replica.View, p int) (g crdt.Group, ok bool) {
	first := someDot.Draw(t, "first")
	g = crdt.Group{Actor: first.Actor, First: first.Seq, Stamp: 7, Op: someOperation.Draw(t, "op")}
	for i := range rapid.IntRange(1, 4).Draw(t, "events") {
		if _, logged, _ := v.Group(p, dvv.Dot{Actor: first.Actor, Seq: first.Seq + uint64(i)}); logged {
			return g, false
		}
		a := someAddress.Draw(t, "row")
		g.Events = append(g.Events, crdt.Event{Row: a, Payload: payload(a.RowType(), uint64(i), 0)})
	}
	return g, true
}

// expiries is the index of when rows expire, as it is filed and as the rows say.
func expiries(v replica.View, p int) (filed, want string) {
	type expiry struct {
		at  int64
		row string // hexadecimal, in which bytes keep their order
	}
	var listed, rows []expiry
	_ = v.Expiring(p, 1<<62, func(at int64, a crdt.Address) bool {
		listed = append(listed, expiry{at, fmt.Sprintf("%x", a.AppendBinary(nil))})
		return true
	})
	_ = v.AllRows(p, nil, func(a crdt.Address, r crdt.Row) bool {
		if at := r.Expires(a.RowType()); at != 0 {
			rows = append(rows, expiry{at, fmt.Sprintf("%x", a.AppendBinary(nil))})
		}
		return true
	})
	slices.SortFunc(rows, func(a, b expiry) int { return cmp.Or(cmp.Compare(a.at, b.at), strings.Compare(a.row, b.row)) })
	return fmt.Sprintf("%v", listed), fmt.Sprintf("%v", rows)
}

// dump is all that a view answers, in words: every walk whole, every page of
// rows and the log from several places, and point reads of what is not there.
func dump(v replica.View, ask *rapid.T) string {
	var b strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	ps, err := v.Partitions()
	say("partitions %v %v", ps, err)
	for _, p := range []int{0, 1, 2, 254, 255} {
		b.WriteString(replicatest.DumpText(v, p))
	}
	p, k, a, c, d, op := somePartition.Draw(ask, "p"), someKey.Draw(ask, "k"), someAddress.Draw(ask, "a"), someClock.Draw(ask, "c"), someDot.Draw(ask, "d"), someOperation.Draw(ask, "op")
	from := rapid.SampledFrom([]string{"", "\x00", "a", "a\x00", "aa", "b", "\xff"}).Draw(ask, "from")
	limit := rapid.IntRange(1, 5).Draw(ask, "limit")
	n := 0
	more := func() bool { n++; return n%limit != 0 }
	say("rows %v from %q: %v", k, from, v.Rows(p, k, from, func(f string, r crdt.Row) bool { say("%q %v", f, r); return more() }))
	say("all: %v", v.AllRows(p, nil, func(a crdt.Address, r crdt.Row) bool { say("%q %v", a, r); return more() }))
	say("deferred in %v: %v", c, v.DeferredIn(p, c, func(d dvv.Dot, a crdt.Address) bool { say("%v %q", d, a); return more() }))
	say("log of %v: %v", c, v.Log(p, c, func(g crdt.Group, size int) bool { say("%v %d", g, size); return more() }))
	until := someExpiry.Draw(ask, "until")
	say("expiring until %d: %v", until, v.Expiring(p, until, func(at int64, a crdt.Address) bool { say("%d %q", at, a); return more() }))
	sum, found, err := v.Summary(p, k)
	say("summary of %v: %v %t %v", k, sum, found, err)
	say("dead: %v", v.AllDead(p, func(k crdt.Key, c dvv.Clock) bool { say("%v %v", k, c); return more() }))
	say("operations: %v", v.AllRemembered(p, crdt.Operation{}, func(m crdt.Remembered) bool { say("%v", m); return more() }))
	at := a.AppendBinary(nil)
	say("all from %q: %v", a, v.AllRows(p, at[:len(at)-rapid.IntRange(0, 2).Draw(ask, "cut")], func(a crdt.Address, r crdt.Row) bool { say("%q %v", a, r); return more() }))
	say("operations from %v: %v", op, v.AllRemembered(p, op, func(m crdt.Remembered) bool { say("%v", m); return more() }))
	say("staged from %q: %v", from, v.AllStaged(p, []byte(from), func(key, value []byte) bool { say("%q %q", key, value); return more() }))
	value, staged, err := v.Staged(p, []byte(from))
	say("staged %q: %q %t %v", from, value, staged, err)
	for _, p := range []int{0, 1, 2, 254, 255} {
		ready, promoting, err := v.Mark(p)
		say("marks %t %t %v", ready, promoting, err)
		filed, want := expiries(v, p)
		if filed != want {
			ask.Fatalf("the index of expiries of partition %d is\n%s\nthe rows say\n%s", p, filed, want)
		}
		b.WriteString(filed)
		tree, err := v.Tree(p)
		say("tree %q %t %v", tree, tree == nil, err)
		say("staged: %v", v.AllStaged(p, nil, func(key, value []byte) bool { say("%q %q", key, value); return true }))
		groups, logBytes, operations := v.Tally(p)
		say("tally %d %d %d", groups, logBytes, operations)
	}
	row, err := v.Row(p, a)
	say("row %q %v %v", a, row, err)
	dots, err := v.Dead(p, k)
	say("dead %v %v %v", k, dots, err)
	g, logged, err := v.Group(p, d)
	say("group of %v %v %t %v", d, g, logged, err)
	m, known, err := v.Remembered(p, op)
	say("operation %v %v %t %v", op, m, known, err)
	// The whole log by walking all dots: DumpText shows only what the clock has.
	var all dvv.Clock
	for _, a := range []dvv.Actor{1, 2, 1 << 40, 1<<64 - 1} {
		all.AddRange(a, 1, 1<<64-1)
	}
	say("deferred: %v", v.DeferredIn(p, all, func(d dvv.Dot, a crdt.Address) bool { say("%v %q", d, a); return true }))
	say("log: %v", v.Log(p, all, func(g crdt.Group, size int) bool { say("%v %d", g, size); return true }))
	return b.String()
}

// TestTheStoreOnDiskIsTheStoreInMemory holds every answer of every state, in and
// outside transactions, committed, rolled back and reopened, against the naive
// store of the simulations.
func TestTheStoreOnDiskIsTheStoreInMemory(t *testing.T) {
	dir, runs := t.TempDir(), 0
	rapid.Check(t, func(t *rapid.T) {
		runs++
		path := filepath.Join(dir, fmt.Sprint(runs))
		disk, err := store.Open(path, testOptions())
		if err != nil {
			t.Fatal(err)
		}
		memory := replicatest.NewMemStore()
		var tx *store.Tx
		var mtx *replicatest.MemTx
		begin := func() {
			if tx == nil {
				if tx, err = disk.Begin(); err != nil {
					t.Fatal(err)
				}
				mtx = memory.Begin()
			}
		}
		end := func(commit bool) {
			if tx == nil {
				return
			}
			if commit {
				err = tx.Commit()
				_ = mtx.Commit()
			} else {
				err = tx.Rollback()
				mtx.Abandon()
			}
			if tx, mtx = nil, nil; err != nil {
				t.Fatal(err)
			}
		}
		defer func() { end(false); _ = disk.Close() }()
		same := func(what string, a, b error) {
			if a != nil || b != nil {
				t.Fatalf("%s: disk %v, memory %v", what, a, b)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"clock": func(t *rapid.T) {
				begin()
				p, c := somePartition.Draw(t, "p"), someClock.Draw(t, "clock")
				same("put clock", tx.PutClock(p, c), mtx.PutClock(p, c))
			},
			"row": func(t *rapid.T) {
				begin()
				p, a := somePartition.Draw(t, "p"), someAddress.Draw(t, "row")
				var there []crdt.Address
				_ = mtx.AllRows(p, nil, func(a crdt.Address, _ crdt.Row) bool { there = append(there, a); return true })
				if len(there) > 0 && rapid.Bool().Draw(t, "again") {
					a = rapid.SampledFrom(there).Draw(t, "stored row")
				}
				before, _ := mtx.Row(p, a)
				after := drawRow(t, a.RowType())
				same("put row", tx.PutRow(p, a, before, after), mtx.PutRow(p, a, before, after))
			},
			"dead": func(t *rapid.T) {
				begin()
				p, k, c := somePartition.Draw(t, "p"), someKey.Draw(t, "key"), someClock.Draw(t, "dots")
				same("put dead", tx.PutDead(p, k, c), mtx.PutDead(p, k, c))
			},
			"group": func(t *rapid.T) {
				begin()
				p := somePartition.Draw(t, "p")
				if g, ok := drawGroup(t, mtx, p); ok {
					same("put group", tx.PutGroup(p, &g), mtx.PutGroup(p, &g))
				}
			},
			"trim": func(t *rapid.T) {
				begin()
				p := somePartition.Draw(t, "p")
				if g, ok, _ := mtx.Group(p, someDot.Draw(t, "dot")); ok {
					same("delete group", tx.DeleteGroup(p, &g), mtx.DeleteGroup(p, &g))
				}
			},
			"remember": func(t *rapid.T) {
				begin()
				p, m := somePartition.Draw(t, "p"), crdt.Remembered{Op: someOperation.Draw(t, "op"), Events: 1, Dots: []dvv.Dot{someDot.Draw(t, "dot")}}
				same("remember", tx.PutRemembered(p, &m), mtx.PutRemembered(p, &m))
			},
			"forget": func(t *rapid.T) {
				begin()
				p, op := somePartition.Draw(t, "p"), someOperation.Draw(t, "op")
				same("forget", tx.DeleteRemembered(p, op), mtx.DeleteRemembered(p, op))
			},
			"replace": func(t *rapid.T) {
				begin()
				p, a := somePartition.Draw(t, "p"), someAddress.Draw(t, "row")
				after := drawRow(t, a.RowType())
				same("replace row", tx.ReplaceRow(p, a, after), mtx.ReplaceRow(p, a, after))
			},
			"summary": func(t *rapid.T) {
				begin()
				p, k := somePartition.Draw(t, "p"), someKey.Draw(t, "key")
				s := replica.Summary{Members: rapid.SampledFrom([]uint64{0, 1, 1 << 40}).Draw(t, "members")}
				s.Rows = s.Members + rapid.Uint64Range(0, 1).Draw(t, "rows")
				s.Sum[15] = byte(s.Rows)
				same("put summary", tx.PutSummary(p, k, s), mtx.PutSummary(p, k, s))
			},
			"mark": func(t *rapid.T) {
				begin()
				p, ready, promoting := somePartition.Draw(t, "p"), rapid.Bool().Draw(t, "ready"), rapid.Bool().Draw(t, "promoting")
				same("put mark", tx.PutMark(p, ready, promoting), mtx.PutMark(p, ready, promoting))
			},
			"tree": func(t *rapid.T) {
				begin()
				p, b := somePartition.Draw(t, "p"), rapid.SampledFrom([][]byte{nil, {1}, bytes.Repeat([]byte{2}, 9000)}).Draw(t, "tree")
				same("put tree", tx.PutTree(p, b), mtx.PutTree(p, b))
			},
			"stage": func(t *rapid.T) {
				begin()
				p, key, value := somePartition.Draw(t, "p"), []byte(someName.Draw(t, "key")), []byte(someName.Draw(t, "value"))
				same("stage", tx.Stage(p, key, value), mtx.Stage(p, key, value))
			},
			"drop staged": func(t *rapid.T) {
				begin()
				p, limit := somePartition.Draw(t, "p"), rapid.IntRange(1, 3).Draw(t, "limit")
				more, err := tx.DropStaged(p, limit)
				want, werr := mtx.DropStaged(p, limit)
				if same("drop staged", err, werr); more != want {
					t.Fatalf("drop staged: more on disk %t, in memory %t", more, want)
				}
			},
			"drop": func(t *rapid.T) {
				begin()
				p := somePartition.Draw(t, "p")
				same("drop", tx.Drop(p), mtx.Drop(p))
			},
			"commit":   func(*rapid.T) { end(true) },
			"rollback": func(*rapid.T) { end(false) },
			"reopen": func(t *rapid.T) {
				end(false)
				if err := disk.Close(); err != nil {
					t.Fatal(err)
				}
				if disk, err = store.Open(path, testOptions()); err != nil {
					t.Fatal(err)
				}
				if d := disk.Damaged(); len(d) > 0 {
					t.Fatalf("a whole store is damaged: %v", d)
				}
			},
			"": func(t *rapid.T) {
				seed := rapid.IntRange(0, 1<<16).Draw(t, "questions")
				ask := func(v replica.View) string {
					return rapid.Custom(func(t *rapid.T) string { return dump(v, t) }).Example(seed)
				}
				if tx != nil {
					if a, b := ask(tx), ask(mtx); a != b {
						t.Fatalf("in the transaction: disk\n%s\nmemory\n%s", a, b)
					}
				}
				view, err := disk.View()
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = view.Close() }()
				if a, b := ask(view), ask(memory.View()); a != b {
					t.Fatalf("committed: disk\n%s\nmemory\n%s", a, b)
				}
			},
		})
	})
}

// wanted has holes within groups and runs that begin in the middle of one.
func TestTheLogShowsEachGroupOnceHoweverItIsAskedFor(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "shard"))
	tx, err := s.Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	for _, g := range []struct {
		p     int
		actor dvv.Actor
		first uint64
		size  int
	}{{7, 1, 1, 3}, {7, 1, 4, 1}, {7, 1, 7, 4}, {7, 1, 20, 1}, {7, 2, 1, 1}, {6, 1, 5, 2}, {8, 1, 5, 2}, {7, 1 << 63, 1, 5}} {
		group := crdt.Group{Actor: g.actor, First: g.first}
		for i := range g.size {
			group.Events = append(group.Events, crdt.Event{Row: crdt.Key{Type: crdt.Set, Bucket: "b", Name: "k"}.Member(fmt.Sprint(i)), Payload: payload(crdt.Set, 1, 0)})
		}
		if err := tx.PutGroup(g.p, &group); err != nil {
			t.Fatal(err)
		}
	}
	run := func(c dvv.Clock, a dvv.Actor, first, last uint64) dvv.Clock {
		c.AddRange(a, first, last)
		return c
	}
	for _, test := range []struct {
		name   string
		wanted dvv.Clock
		want   string
	}{
		{"nothing", dvv.Clock{}, ""},
		{"all dots there can be", run(run(run(dvv.Clock{}, 1, 1, 1<<64-1), 2, 1, 1<<64-1), 1<<63, 1, 1<<64-1), "a:1 a:4 a:7 a:20 b:1 8000000000000000:1"},
		{"a dot in the middle of a group", run(dvv.Clock{}, 1, 2, 2), "a:1"},
		{"two holes in one group", run(run(dvv.Clock{}, 1, 1, 1), 1, 3, 3), "a:1"},
		{"a second run that begins in the last group and goes on", run(run(dvv.Clock{}, 1, 7, 7), 1, 9, 30), "a:7 a:20"},
		{"dots that were trimmed", run(dvv.Clock{}, 1, 5, 6), ""},
		{"from trimmed dots into a group", run(dvv.Clock{}, 1, 5, 7), "a:7"},
		{"beyond the end", run(dvv.Clock{}, 1, 21, 99), ""},
		{"an actor nobody logged", run(dvv.Clock{}, 3, 1, 9), ""},
		{"the last group of all", run(dvv.Clock{}, 1<<63, 5, 5), "8000000000000000:1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var got []string
			err := tx.Log(7, test.wanted, func(g crdt.Group, size int) bool {
				if want := len(crdt.AppendGroup(nil, &g)); size != want {
					t.Errorf("%v: size %d, want %d", g, size, want)
				}
				got = append(got, g.Dot(0).String())
				return true
			})
			if err != nil || strings.Join(got, " ") != test.want {
				t.Errorf("log of %v: %v, %v, want %s", test.wanted, got, err, test.want)
			}
		})
	}
}

func TestWhatAViewReturnedStaysWhenTheFileIsGone(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "shard"))
	a := crdt.Key{Type: crdt.Blob, Bucket: "b", Name: "k"}.Row()
	// Too big for bbolt to keep the bucket inside another page, which it may copy.
	want := crdt.Row{Live: []crdt.Live{{Dot: dvv.Dot{Actor: 1, Seq: 1}, Payload: crdt.BlobValue{Value: bytes.Repeat([]byte("v"), 2000)}.Payload()}}}
	var views []*store.View
	var rows []crdt.Row
	for i := range 50 { // pages are used again and again
		tx, err := s.Begin()
		if err != nil {
			t.Fatal(err)
		}
		before, err := tx.Row(0, a)
		if err != nil {
			t.Fatal(err)
		}
		after := want
		if i%2 == 1 {
			after = crdt.Row{Live: []crdt.Live{{Dot: dvv.Dot{Actor: 1, Seq: 2}, Payload: crdt.BlobValue{Value: make([]byte, 3000)}.Payload()}}}
		}
		if err := tx.PutRow(0, a, before, after); err != nil {
			t.Fatal(err)
		}
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
		v, err := s.View()
		if err != nil {
			t.Fatal(err)
		}
		r, err := v.Row(0, a)
		if err != nil || !r.Equal(after) {
			t.Fatalf("row %v, %v", r, err)
		}
		if views, rows = append(views, v), append(rows, r); i%3 == 0 {
			for _, v := range views {
				if err := v.Close(); err != nil {
					t.Fatal(err)
				}
			}
			views = nil
		}
		if !rows[0].Equal(want) {
			t.Fatalf("after %d commits the first row reads %v", i, rows[0])
		}
	}
	for _, v := range views {
		if err := v.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if !rows[0].Equal(want) { // or a fault: there is no map any more
		t.Fatalf("after the end the first row reads %v", rows[0])
	}
}
