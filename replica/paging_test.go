package replica_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/replica"
)

// scan reads a set page by page from some replicas and calls between after each
// page. It returns how often each member was shown.
func (s *stage) scan(prefix string, ask func() (replicas []string, limit int), check func(span replica.Span, answers []replica.Answer, m replica.Merged), between func()) map[string]int {
	shown := map[string]int{}
	span := replica.Span{Prefix: prefix}
	for pages := 0; ; pages++ {
		if pages > 1000 {
			s.fail("the scan does not end, cursor %q", span.After)
		}
		names, limit := ask()
		span.Limit = limit
		var answers []replica.Answer
		for _, name := range names {
			a, err := replica.Ask(s.actor(name).store.View(), partition, replica.Query{Key: s.key, Span: &span})
			s.must(err)
			if len(a.Rows) > limit {
				s.fail("%s answered with %d rows, limit %d", name, len(a.Rows), limit)
			}
			answers = append(answers, a)
		}
		m := replica.Merge(answers)
		if check != nil {
			check(span, answers, m)
		}
		for _, f := range m.Rows {
			shown[f.Field]++
		}
		if !m.More {
			return shown
		}
		if m.Last <= span.After {
			s.fail("cursor went from %q to %q", span.After, m.Last)
		}
		span.After = m.Last
		between()
	}
}

// S19.
func TestAPagedReadUnderWritesMergesItsRangesAndShowsSteadyMembersOnce(t *testing.T) {
	var cut, empty, deferred int
	first, n := seeds(2)
	for seed := first; seed < first+n; seed++ {
		rng := rand.New(rand.NewPCG(seed, 0x9a6e))
		names := []string{"A", "B", "C"}
		one := func() string { return names[rng.IntN(3)] }
		var members, steady []string
		for i := range 30 {
			members = append(members, fmt.Sprintf("%c/%02d", 'a'+i%3, i))
		}
		s := play(t, []way{byLog, bySnapshot, byEvent}[seed%3], scenario{kind: crdt.Set})
		churn := func(times int) {
			for range times {
				m := members[rng.IntN(len(members))]
				switch o := rng.IntN(10); {
				case slices.Contains(steady, m) || o == 0:
					s.say("%s -> %s", one(), one())
				case o < 5:
					s.say("%s add %s", one(), m)
				case o < 7:
					s.say("%s remove %s reading %s %s", one(), m, one(), one())
				default: // under a context of many members, some of them unseen
					s.say("c := ctx %s; %s remove %s with c", one(), one(), m)
				}
			}
		}
		for _, m := range members {
			if rng.IntN(3) == 0 {
				steady = append(steady, m)
				s.say("%s add %s", one(), m)
			}
		}
		if s.way == byEvent { // old kills come first: rows of deferred dots alone
			churn(20)
		}
		s.say("sync A B C")
		churn(40)
		prefix := []string{"", "", "a", "b/", "c/0", "d"}[rng.IntN(6)]
		check := func(span replica.Span, answers []replica.Answer, m replica.Merged) {
			if m.More {
				cut++
				if len(m.Rows) == 0 {
					empty++
				}
			}
			for _, a := range answers {
				for _, f := range a.Rows {
					if len(f.Row.Live) == 0 {
						deferred++
					}
				}
			}
			s.step = fmt.Sprintf("seed %d, page of %+v", seed, span)
			s.checkPage(members, span, answers, m)
		}
		shown := s.scan(prefix, func() ([]string, int) {
			rng.Shuffle(3, func(i, j int) { names[i], names[j] = names[j], names[i] })
			return slices.Clone(names[:1+rng.IntN(3)]), 1 + rng.IntN(6)
		}, check, func() { churn(4) })
		for m, times := range shown {
			if times > 1 || !strings.HasPrefix(m, prefix) {
				s.fail("seed %d: %q was shown %d times under the prefix %q", seed, m, times, prefix)
			}
		}
		for _, m := range steady {
			if strings.HasPrefix(m, prefix) && shown[m] != 1 {
				s.fail("seed %d: %q was in the set throughout and was shown %d times", seed, m, shown[m])
			}
		}
	}
	taken(t, map[string]uint64{"a page is cut": uint64(cut), "a page of nothing live goes on": uint64(empty), "a row holds deferred dots alone": uint64(deferred)})
}

// checkPage holds a page to a member by member read of the same replicas.
func (s *stage) checkPage(members []string, span replica.Span, pages []replica.Answer, m replica.Merged) {
	at := 0
	for _, member := range slices.Sorted(slices.Values(members)) {
		if !strings.HasPrefix(member, span.Prefix) || member <= span.After || m.More && member > m.Last {
			continue
		}
		var want crdt.Side
		for i, page := range pages {
			// A page ends before members it does not speak of: look in the store.
			side := crdt.Side{Row: s.rowUnder(page, member), Clock: page.Clock, Dead: page.Dead}
			if i == 0 {
				want = side
			} else {
				want, _ = crdt.JoinSides(want, side)
			}
		}
		if len(want.Row.Live) == 0 {
			continue
		}
		if at == len(m.Rows) || m.Rows[at].Field != member || !m.Rows[at].Row.Equal(want.Row) {
			s.fail("%q is %v, the page has %v", member, want.Row, m.Rows)
		}
		at++
	}
	if at != len(m.Rows) {
		s.fail("the page has more than it should: %v", m.Rows)
	}
}

// rowUnder finds the replica that answered, by its clock, and reads the row.
func (s *stage) rowUnder(a replica.Answer, member string) crdt.Row {
	for _, x := range s.actors {
		if x.p.Clock().Equal(a.Clock) {
			row, err := x.store.View().Row(partition, s.key.Member(member))
			s.must(err)
			return row
		}
	}
	s.fail("nobody has the clock %v", a.Clock)
	return crdt.Row{}
}

func TestAPageEndsBeforeItsBytesGrowTooMany(t *testing.T) {
	s := play(t, byLog, scenario{kind: crdt.Set})
	const members, note = 20, 300 << 10
	for i := range members {
		name := []string{"A", "B"}[i%2]
		s.write(s.actor(name), &replica.Mutation{Key: cart, Verb: replica.Update, Changes: []replica.Change{{Member: fmt.Sprintf("m%02d", i), Note: make([]byte, note)}}}, nil)
	}
	s.say("A -> B")
	pages := 0
	shown := s.scan("", func() ([]string, int) { return []string{"A", "B"}, replica.MaxPage },
		func(_ replica.Span, answers []replica.Answer, _ replica.Merged) {
			pages++
			for _, a := range answers {
				if len(a.Rows)*note > 2<<20 {
					s.fail("a page of %d rows of %d bytes", len(a.Rows), note)
				}
			}
		}, func() {})
	if len(shown) != members || pages < 4 {
		t.Errorf("%d of %d members on %d pages", len(shown), members, pages)
	}
}

func TestSpans(t *testing.T) {
	s := play(t, byLog, scenario{kind: crdt.Set, steps: "A add a; A add ab; A add abc; A add b; A add ba; A add c"})
	for _, test := range []struct {
		name string
		span replica.Span
		want string
		last string
	}{
		{"no bounds show all", replica.Span{Limit: 10}, "a ab abc b ba c", ""},
		{"a page that ends with the last row is complete", replica.Span{Limit: 6}, "a ab abc b ba c", ""},
		{"a shorter one says where it ends", replica.Span{Limit: 2}, "a ab", "ab"},
		{"the cursor is exclusive", replica.Span{After: "ab", Limit: 2}, "abc b", "b"},
		{"a cursor between members is fine", replica.Span{After: "aa", Limit: 10}, "ab abc b ba c", ""},
		{"a prefix keeps to itself", replica.Span{Prefix: "ab", Limit: 10}, "ab abc", ""},
		{"a prefix with its cursor", replica.Span{Prefix: "a", After: "a", Limit: 1}, "ab", "ab"},
		{"a cursor before the prefix starts at the prefix", replica.Span{Prefix: "b", After: "a", Limit: 10}, "b ba", ""},
		{"a cursor behind the prefix ends at once", replica.Span{Prefix: "a", After: "b", Limit: 10}, "", ""},
		{"the last page of a prefix does not go on into its neighbour", replica.Span{Prefix: "a", Limit: 3}, "a ab abc", ""},
		{"no member has the prefix", replica.Span{Prefix: "d", Limit: 10}, "", ""},
		{"a limit of nothing is one", replica.Span{}, "a", "a"},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := s.read([]string{"A"}, replica.Query{Key: cart, Span: &test.span})
			var got []string
			for _, f := range m.Rows {
				got = append(got, f.Field)
			}
			if strings.Join(got, " ") != test.want || m.Last != test.last || m.More != (test.last != "") {
				t.Errorf("got %v, last %q, more %t; want %q, last %q", got, m.Last, m.More, test.want, test.last)
			}
		})
	}
}
