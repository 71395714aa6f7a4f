package replica_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica"
)

// The fields of a map in a scenario, as they are changed and shown:
//
//	apples+3  apples=3      a counter
//	note:red                a register
//	gift!                   a flag
//	tags[x]                 a member of a set
//	-apples+ -note: -gift! -tags[x] -tags[]     their removals; the last one is of the whole set

// change reads one word of an edit. shown are the counters of its context.
func (s *stage) change(word string, shown []replica.Change, until int64) replica.Change {
	var c replica.Change
	word, c.Remove = strings.CutPrefix(word, "-")
	at := strings.IndexAny(word, "+:![")
	if at < 0 {
		s.fail("no field: %q", word)
	}
	p, rest := crdt.Path{Name: word[:at]}, word[at+1:]
	switch word[at] {
	case '+':
		p.Kind = crdt.CounterField
		if !c.Remove {
			c.Delta = s.number(rest)
		}
	case ':':
		p.Kind = crdt.RegisterField
		c.Note = []byte(rest)
	case '!':
		p.Kind = crdt.FlagField
	case '[':
		p.Kind, p.Member = crdt.SetField, strings.TrimSuffix(rest, "]")
	}
	c.Member = p.Encode()
	if c.Remove {
		for _, z := range shown {
			if z.Member == c.Member {
				c.Shown = z.Shown
			}
		}
		return c
	}
	c.Expires = until
	return c
}

// shownOfMap is the context that a reader of a map gets.
func shownOfMap(k crdt.Key, m *replica.Merged) (dots dvv.Clock, resets []replica.Change, err error) {
	for _, f := range m.Rows {
		kills := f.Row.Dots()
		if (crdt.Address{Key: k, Field: f.Field}).RowType() == crdt.Counter {
			tally, err := f.Row.Tally()
			if err != nil {
				return dots, nil, err
			}
			var z crdt.Reset
			z, kills = tally.Reset()
			resets = append(resets, replica.Change{Member: f.Field, Remove: true, Shown: z.Payload()})
		}
		for _, d := range kills {
			dots.Add(d)
		}
	}
	return dots, resets, nil
}

// field shows a row of a map; nothing of a counter that is reset.
func (s *stage) field(f replica.Found) []string {
	p, err := crdt.DecodePath(f.Field)
	s.must(err)
	switch p.Kind {
	case crdt.CounterField:
		tally, err := f.Row.TallyAt(s.now)
		s.must(err)
		if !tally.Present() {
			return nil
		}
		v, _ := tally.Value()
		return []string{fmt.Sprintf("%s=%d", p.Name, v)}
	case crdt.RegisterField:
		all, err := f.Row.Register()
		s.must(err)
		return []string{p.Name + ":" + string(all[0].Value)}
	case crdt.FlagField:
		return []string{p.Name + "!"}
	}
	return []string{p.Name + "[" + p.Member + "]"}
}

func TestMapScenarios(t *testing.T) {
	playAll(t, []scenario{
		{"a line removed while one more is added leaves exactly that one", crdt.Map, `
			A edit apples+2; A <> B; A edit -apples+; B edit apples+1; A <> B; show A B : apples=1; same A B; clean A B`},
		{"the same under a context", crdt.Map, `
			A edit apples+2; A <> B; c := ctx A; A edit apples+1; B edit -apples+ with c; A <> B; show A B : apples=1; same A B; clean A B`},
		{"the same under a context, through one who has seen nothing", crdt.Map, `
			A edit apples+2; c := ctx A; A edit apples+1; F edit -apples+ with c; show F : ; F -> A; A -> F; show A F : apples=1; same A F; clean A F`},
		{"a removal under a context takes no increment of the same actor that came later", crdt.Map, `
			A edit apples+2; c := ctx A; A edit apples+1; A edit -apples+ with c; A edit apples+4; A -> B; show A B : apples=5`},
		{"a removal without a context takes what its read showed, unknown to its coordinator", crdt.Map, `
			A edit apples+2; A -> B; B edit apples+4; C edit -apples+ reading A B; sync A B C; show A B C : ; clean A B C`},
		{"a removal without a context spares what its read did not show", crdt.Map, `
			A edit apples+2; A -> B; A -> C; B edit apples+4; C edit -apples+ reading A C; sync A B C; show A B C : apples=4`},
		{"two removals take back what was there once", crdt.Map, `
			A edit apples+9; sync A B C; A edit -apples+; B edit -apples+; C edit apples+1; sync A B C; show A B C : apples=1; same A B C`},

		{"set to: removed and added in one update", crdt.Map, `
			A edit apples+2; A <> B; A edit -apples+ apples+7; B edit apples+1; A <> B; show A B : apples=8; same A B`},
		{"set to, under a context", crdt.Map, `
			A edit apples+2; c := ctx A; A edit apples+1; A edit -apples+ apples+7 with c; A -> B; show A B : apples=8`},
		{"what an update adds before it removes goes with it", crdt.Map, `
			A edit apples+2; A edit apples+7 -apples+; show A : ; A -> B; show B : `},
		{"two set a counter at once, and both count", crdt.Map, `
			A edit apples+2; sync A B C; A edit -apples+ apples+7; B edit -apples+ apples+5; sync A B C; show A B C : apples=12; same A B C`},

		{"an update tried at two coordinators counts each increment once", crdt.Map, `
			A edit apples+1; B edit apples+2; sync A B C
			A edit apples+10 pears+20 note:x tags[t] as u; B edit apples+10 pears+20 note:x tags[t] as u
			sync A B C; show A B C : apples=13 note:x pears=20 tags[t]; same A B C
			C edit apples+10 pears+20 note:x tags[t] as u; show C : apples=13 note:x pears=20 tags[t]`},
		{"at three, and in a cycle", crdt.Map, `
			A edit apples+10 pears+20 as u; B edit apples+10 pears+20 as u; C edit apples+10 pears+20 as u
			A -> B; C -> A; B -> C; sync A B C; show A B C : apples=10 pears=20; same A B C`},
		{"an update tried twice of which one counter was removed in between", crdt.Map, `
			A edit apples+10 pears+20 as u; A -> C; C edit -apples+; B edit apples+10 pears+20 as u
			sync A B C; show A B C : pears=20; same A B C`},
		{"an update that sets a counter, and whose retry sees the first copy", crdt.Map, `
			A edit apples+9; sync A B C; A edit -apples+ apples+3 as u; A -> C
			B edit -apples+ apples+3 as u reading B C; sync A B C; show A B C : apples=3; same A B C; clean A B C`},
		{"the same, and the first actor went on", crdt.Map, `
			A edit -apples+ apples+3 pears+1 as u; A -> C; A edit apples+4
			B edit -apples+ apples+3 pears+1 as u reading B C; sync A B C; show A B C : apples=7 pears=1; same A B C`},

		{"the delete of a map leaves the increment, the value and the member beside it", crdt.Map, `
			A edit apples+2 pears+3 note:x tags[a]; A <> B; A delete; B edit apples+1 note:y tags[b]
			A <> B; show A B : apples=1 note:y tags[b]; same A B; clean A B`},
		{"the delete of a map under a context", crdt.Map, `
			A edit apples+2 pears+3 note:x tags[a]; c := ctx A; A edit apples+1 tags[b]; A delete with c
			A -> B; show A B : apples=1 tags[b]; clean A B`},
		{"the delete of a map under a context, through one who has seen nothing", crdt.Map, `
			A edit apples+2 note:x tags[a]; c := ctx A; A edit apples+1; F delete with c; show F :
			A -> F; F -> A; show A F : apples=1; same A F; clean A F`},
		{"a map that was deleted is used again, and totals go on", crdt.Map, `
			A edit apples+2 note:x; A -> B; s := A; A delete; A edit apples+1; B edit apples+4; A <> B; s -> A; show A B : apples=5; same A B`},
		{"an update tried at two coordinators, and a delete that saw one copy", crdt.Map, `
			A edit apples+10 pears+20 as u; A -> C; C delete; B edit apples+10 pears+20 as u; sync A B C; show A B C : ; same A B C`},
		{"deleting a map that is not there writes nothing", crdt.Map, `
			A delete; A edit -apples+ -note: -gift! -tags[x] -tags[]; B edit gift!; A <> B; show A B : gift!; clean A B`},

		{"a whole set is removed under a context whose rows its coordinator has not seen", crdt.Map, `
			A edit tags[x] tags[y]; c := ctx A; A edit tags[z]; B edit -tags[] with c reading A
			B -> A; A -> B; show A B : tags[z]; clean A B; same A B`},
		{"a whole set is removed, and a concurrent add survives", crdt.Map, `
			A edit tags[x] tags[y]; A <> B; A edit -tags[]; B edit tags[x]; A <> B; show A B : tags[x]; same A B; clean A B`},
		{"a whole set is removed and filled anew by one update", crdt.Map, `
			A edit tags[x] tags[y]; A edit -tags[] tags[z] tags[x]; A -> B; show A B : tags[x] tags[z]; clean B`},
		{"a set whose name begins another's is removed alone", crdt.Map, `
			A edit tags[x] tagsy[x] tags!; A edit -tags[]; A -> B; show A B : tags! tagsy[x]`},
		{"a member is removed through one who has seen nothing", crdt.Map, `
			A edit tags[x] tags[y]; c := ctx A; F edit -tags[x] with c; F <> A; show A F : tags[y]; clean A F`},
		{"a flag is set and removed at once", crdt.Map, `
			A edit gift!; A <> B; A edit -gift!; B edit gift!; A <> B; show A B : gift!; same A B`},
		{"a register is removed while it is written", crdt.Map, `
			A edit note:x; A <> B; A edit -note:; B edit note:y; A <> B; show A B : note:y; same A B`},
		{"a field of one name and two kinds is two fields", crdt.Map, `
			A edit x+1 x:v x! x[m]; A <> B; show A B : x=1 x:v x[m] x!; A edit -x+; A -> B; show B : x:v x[m] x!`},
	})
}
