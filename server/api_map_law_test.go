package server_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	v1 "github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1"
)

// mapModel is what a map is to one who makes one call after another: a counter is
// what was added to it and how much of that is gone, any other row the number of the
// write that it shows.
type mapModel struct {
	counters map[string]modelCounter
	rows     map[string]int // "register r", "flag f", "set s x"
	writes   int
}

type modelCounter struct {
	added, gone int64
	steps, past int // increments so far, and those of them that are gone
}

// shownModel is what a context showed.
type shownModel struct {
	counters map[string]modelCounter
	rows     map[string]int
}

func (m *mapModel) shows(want func(row string) bool) (lines []string, s shownModel) {
	s = shownModel{map[string]modelCounter{}, map[string]int{}}
	for name, c := range m.counters {
		if row := "counter " + name; c.steps > c.past && want(row) {
			lines, s.counters[name] = append(lines, fmt.Sprint(row, " ", c.added-c.gone)), c
		}
	}
	for row, version := range m.rows {
		if want(row) {
			lines, s.rows[row] = append(lines, fmt.Sprint(row, " ", version)), version
		}
	}
	slices.Sort(lines)
	return lines, s
}

func (s shownModel) join(o shownModel) shownModel {
	both := shownModel{map[string]modelCounter{}, map[string]int{}}
	maps.Copy(both.counters, s.counters)
	maps.Copy(both.rows, s.rows)
	for name, c := range o.counters {
		if c.steps > both.counters[name].steps {
			both.counters[name] = c
		}
	}
	for row, version := range o.rows {
		both.rows[row] = max(both.rows[row], version) // the one that may still stand
	}
	return both
}

func (m *mapModel) removeCounter(name string, c modelCounter) {
	now := m.counters[name]
	if c.steps > now.past {
		now.past, now.gone = c.steps, c.added
	}
	m.counters[name] = now
}

func (m *mapModel) removeRow(row string, shown int, all bool) {
	if all || m.rows[row] == shown {
		delete(m.rows, row)
	}
}

// lineOf spells the row of a reply as the model does. Values are numbers of writes.
func linesOf(fields []*v1.MapField) (lines []string) {
	for _, f := range fields {
		switch f.GetKind() {
		case counterKind:
			lines = append(lines, fmt.Sprint("counter ", f.GetField(), " ", f.GetCounter()))
		case registerKind:
			lines = append(lines, fmt.Sprint("register ", f.GetField(), " ", string(f.GetRegister())))
		case flagKind:
			lines = append(lines, "flag "+f.GetField())
		case setKind:
			for _, m := range f.GetMembers() {
				lines = append(lines, fmt.Sprint("set ", f.GetField(), " ", m.GetMember(), " ", string(m.GetNote())))
			}
		}
	}
	slices.Sort(lines)
	return lines
}

func TestWhateverIsShownOfAMapIsJustWhatItsContextRemoves(t *testing.T) {
	n := newSingle(t, 1)
	c := serve(t, n)
	keys, removed, kept := 0, 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		keys++
		s := lines{t, c, fmt.Sprint("law", keys)}
		m := &mapModel{counters: map[string]modelCounter{}, rows: map[string]int{}}
		contexts := []string{""}
		shown := []shownModel{{}} // of each context
		name := rapid.SampledFrom([]string{"a", "b", "a\x00"})
		member := rapid.SampledFrom([]string{"x", "y"})
		// change draws one step of an update, and does it to the model.
		change := func(ctx int) *v1.MapChange {
			f, x := name.Draw(rt, "field"), member.Draw(rt, "member")
			given, all := shown[ctx], contexts[ctx] == ""
			gone := func(row string) { m.removeRow(row, given.rows[row], all) }
			switch rapid.IntRange(0, 8).Draw(rt, "change") {
			case 0, 1:
				delta := rapid.Int64Range(-3, 3).Filter(func(d int64) bool { return d != 0 }).Draw(rt, "delta")
				now := m.counters[f]
				now.added, now.steps = now.added+delta, now.steps+1
				m.counters[f] = now
				return increment(f, delta)
			case 2:
				m.writes++
				m.rows["register "+f] = m.writes
				return assign(f, fmt.Sprint(m.writes))
			case 3:
				m.writes++
				m.rows["set "+f+" "+x] = m.writes
				return &v1.MapChange{Field: f, Change: &v1.MapChange_Add{Add: &v1.Member{Member: x, Note: fmt.Append(nil, m.writes)}}}
			case 4:
				m.writes++
				m.rows["flag "+f] = m.writes
				return turn(f, true)
			case 5:
				if all {
					m.removeCounter(f, m.counters[f])
				} else {
					m.removeCounter(f, given.counters[f])
				}
				return drop(f, counterKind)
			case 6:
				gone("set " + f + " " + x)
				return removeFrom(f, x)
			case 7:
				gone("register " + f)
				return drop(f, registerKind)
			default:
				for _, x := range []string{"x", "y"} {
					gone("set " + f + " " + x)
				}
				return drop(f, setKind)
			}
		}
		check := func() {
			want, _ := m.shows(func(string) bool { return true })
			for i := range want {
				if strings.HasPrefix(want[i], "flag") {
					want[i] = want[i][:strings.LastIndex(want[i], " ")]
				}
			}
			slices.Sort(want)
			if got := linesOf(s.page(&v1.MapServiceGetRequest{}).GetFields()); !slices.Equal(got, want) {
				rt.Fatalf("the map shows %q, want %q", got, want)
			}
		}
		for range rapid.IntRange(1, 25).Draw(rt, "steps") {
			ctx := rapid.IntRange(0, len(contexts)-1).Draw(rt, "context")
			switch rapid.IntRange(0, 4).Draw(rt, "step") {
			case 0, 1:
				before := m.writes
				contexts = append(contexts, s.update(contexts[ctx], change(ctx)))
				written := shownModel{rows: map[string]int{}}
				for row, version := range m.rows {
					if version > before {
						written.rows[row] = version
					}
				}
				shown = append(shown, shown[ctx].join(written))
			case 2: // a page, by a prefix
				prefix := rapid.SampledFrom([]string{"", "a", "b"}).Draw(rt, "prefix")
				res := s.page(&v1.MapServiceGetRequest{Prefix: prefix})
				_, what := m.shows(func(row string) bool { return strings.HasPrefix(strings.SplitN(row, " ", 2)[1], prefix) })
				contexts, shown = append(contexts, res.GetContext()), append(shown, what)
			case 3: // two contexts, joined
				if other := rapid.IntRange(0, len(contexts)-1).Draw(rt, "other"); contexts[ctx] != "" && contexts[other] != "" && strings.Count(contexts[ctx]+contexts[other], ".") < 8 {
					contexts, shown = append(contexts, contexts[ctx]+"."+contexts[other]), append(shown, shown[ctx].join(shown[other]))
				}
			case 4:
				before := len(m.rows)
				if contexts[ctx] == "" {
					m.rows = map[string]int{}
					for name, c := range m.counters {
						m.removeCounter(name, c)
					}
				} else {
					for row, version := range shown[ctx].rows {
						m.removeRow(row, version, false)
					}
					for name, c := range shown[ctx].counters {
						m.removeCounter(name, c)
					}
				}
				s.delete(contexts[ctx])
				removed, kept = removed+before-len(m.rows), kept+len(m.rows)
			}
			check()
		}
	})
	if removed == 0 || kept == 0 {
		t.Errorf("deletes took %d rows and left %d", removed, kept)
	}
}
