package replica_test

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica"
	"github.com/cartwheel-db/cartwheel/replica/replicatest"
)

// someGroups is a history of adds, kills and clears of two keys, by three actors:
// kills and clears may name dots that come later, of any row.
func someGroups(t *rapid.T) []crdt.Group {
	keys := []crdt.Key{{Type: crdt.Set, Bucket: "b", Name: "k"}, {Type: crdt.Set, Bucket: "b", Name: "l"}}
	dot := func() dvv.Dot {
		return dvv.Dot{Actor: dvv.Actor(1 + rapid.IntRange(0, 2).Draw(t, "actor")), Seq: uint64(1 + rapid.IntRange(0, 7).Draw(t, "seq"))}
	}
	next := map[dvv.Actor]uint64{}
	var all []crdt.Group
	for range rapid.IntRange(1, 20).Draw(t, "groups") {
		k := rapid.SampledFrom(keys).Draw(t, "key")
		a := dvv.Actor(1 + rapid.IntRange(0, 2).Draw(t, "by"))
		next[a]++
		e := crdt.Event{Row: k.Member(rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "member"))}
		switch rapid.IntRange(0, 3).Draw(t, "what") {
		case 0:
			c := dvv.ClockOf(dot(), dot())
			e = crdt.Event{Row: k.Row(), Clear: &c}
		case 1:
			e.Kills = []dvv.Dot{dot()}
		case 2:
			e.Kills = []dvv.Dot{dot()}
			fallthrough
		default:
			e.Payload = crdt.Member{Stamp: crdt.Stamp(next[a])}.Payload()
		}
		own := dvv.Dot{Actor: a, Seq: next[a]}
		if len(e.Kills) > 0 && e.Kills[0] == own || e.Clear != nil && e.Clear.Contains(own) {
			e = crdt.Event{Row: e.Row.Key.Member("a"), Payload: crdt.Member{Stamp: 1}.Payload()}
		}
		all = append(all, crdt.Group{Actor: a, First: next[a], Events: []crdt.Event{e}})
	}
	return all
}

// The law: the rows of a replica that has less, with what is logged here and it
// lacks applied to them, are the rows that were here.
func TestRowsRegrownFromAnotherOwnerAreTheRowsThatWereHere(t *testing.T) {
	replayed, refused := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		all := someGroups(t)
		load := func(name string, groups []crdt.Group) (*replica.Partition, *replicatest.MemTx) {
			tx := replicatest.NewMemStore().Begin()
			p, err := replica.Load(tx, 0)
			for i := range groups {
				if err == nil {
					_, _, err = p.Apply(tx, &groups[i], 0)
				}
				if err == nil && rapid.Bool().Draw(t, "commit") {
					err = p.Save(tx)
				}
			}
			if err == nil {
				err = p.Save(tx)
			}
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			return p, tx
		}
		mine, mtx := load("mine", rapid.Permutation(all).Draw(t, "my order"))
		var theirs []crdt.Group
		trimmed := dvv.Clock{}
		for _, g := range rapid.Permutation(all).Draw(t, "their order") {
			if rapid.IntRange(0, 3).Draw(t, "theirs") > 0 {
				theirs = append(theirs, g)
				if rapid.Bool().Draw(t, "trimmed") {
					trimmed.Add(g.Dot(0))
				}
			}
		}
		p, tx := load("theirs", theirs)
		lost := rapid.IntRange(0, 9).Draw(t, "lost") == 0
		if lost && len(theirs) < len(all) {
			trimmed.Join(mine.Clock())
		}
		if _, _, err := mine.Trim(mtx, trimmed, 1000); err != nil {
			t.Fatal(err)
		}
		var from, until []byte
		if rapid.Bool().Draw(t, "a piece") {
			from = crdt.Key{Type: crdt.Set, Bucket: "b", Name: "k"}.Member("a").AppendBinary(nil)
			until = crdt.Key{Type: crdt.Set, Bucket: "b", Name: "l"}.Member("b").AppendBinary(nil)
		}
		m, err := p.Fetch(tx, from, until)
		if err != nil {
			t.Fatal(err)
		}
		rows, fit, err := mine.Regrow(mtx, from, until, &m)
		if err != nil {
			t.Fatal(err)
		}
		if !fit {
			if !lost {
				t.Fatal("refused, although all that they lack is logged here")
			}
			refused++
			return
		}
		if len(theirs) < len(all) {
			replayed++
		}
		got := map[string]string{}
		for _, r := range rows {
			got[fmt.Sprint(r.Address)] = fmt.Sprint(r.Row)
		}
		err = mtx.AllRows(0, nil, func(a crdt.Address, r crdt.Row) bool {
			b := a.AppendBinary(nil)
			if (from == nil || string(b) > string(from)) && (until == nil || string(b) < string(until)) {
				if got[a.String()] != r.String() {
					t.Errorf("%v is %v, want %v", a, got[a.String()], r)
				}
				delete(got, a.String())
			}
			return true
		})
		if err != nil || len(got) > 0 {
			t.Errorf("too many: %v, %v", got, err)
		}
	})
	if replayed == 0 || refused == 0 {
		t.Errorf("events applied to what was fetched %d times, refused %d times", replayed, refused)
	}
}
