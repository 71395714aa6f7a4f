package crdttest

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
)

// JoinFunc is [crdt.Join], or what claims to be as good.
type JoinFunc func(a, b crdt.Side) (crdt.Row, int)

// Trial is a history, one order of delivery with repeats, and which of its
// groups three replicas received: any part, whatever it depends on.
type Trial struct {
	Groups []crdt.Group // the history, and twins: a dot of it with other bytes
	Order  []int        // indexes into Groups, each at least once
	Has    []int        // of each of Groups: bit i is set when replica i received it
}

func (tr Trial) String() string {
	s := History{Groups: tr.Groups}.String()
	return s + fmt.Sprintf("order %v\nhas %b\n", tr.Order, tr.Has)
}

// Trials generates trials of histories of the given types, all types if none is
// given.
func Trials(types ...crdt.Type) *rapid.Generator[Trial] {
	histories := Histories(types...)
	return rapid.Custom(func(t *rapid.T) Trial {
		tr := Trial{Groups: histories.Draw(t, "history").Groups}
		if n := len(tr.Groups); n > 0 && rapid.IntRange(0, 5).Draw(t, "twin") == 0 {
			if g, ok := twin(tr.Groups[rapid.IntRange(0, n-1).Draw(t, "of")]); ok {
				tr.Groups = append(tr.Groups, g)
			}
		}
		all := make([]int, len(tr.Groups))
		for i := range all {
			all[i] = i
			tr.Has = append(tr.Has, rapid.IntRange(0, 7).Draw(t, "has"))
		}
		if len(all) > 0 {
			again := rapid.SliceOfN(rapid.SampledFrom(all), 0, 3).Draw(t, "again")
			tr.Order = rapid.Permutation(slices.Concat(all, again)).Draw(t, "order")
		}
		return tr
	})
}

// twin returns the group with other payloads under its dots: what rule 8 is
// about. It cannot happen, short of a copied disk.
func twin(g crdt.Group) (crdt.Group, bool) {
	g.Events = slices.Clone(g.Events)
	changed := false
	for i := range g.Events {
		e := &g.Events[i]
		if e.Payload == nil {
			continue
		}
		changed = true
		switch e.Payload.Kind() {
		case crdt.KindMember:
			e.Payload = crdt.Member{Note: []byte("twin")}.Payload()
		case crdt.KindAssign:
			e.Payload = crdt.Assign{Value: []byte("twin")}.Payload()
		case crdt.KindBlob:
			e.Payload = crdt.BlobValue{Value: []byte("twin")}.Payload()
		case crdt.KindEntry, crdt.KindVoid:
			e.Payload = crdt.Entry{P: crdt.TotalOf(1000)}.Payload()
		case crdt.KindReset:
			e.Payload = crdt.Reset{}.Payload()
		}
	}
	return g, changed
}

// received returns the groups of replica i in the order of delivery.
func (tr Trial) received(i int) []crdt.Group {
	var out []crdt.Group
	for _, at := range tr.Order {
		if tr.Has[at]&(1<<i) != 0 {
			out = append(out, tr.Groups[at])
		}
	}
	return out
}

// Verify holds every law against one trial, with join in the place of
// [crdt.Join], and returns the first that does not hold.
func (tr Trial) Verify(join JoinFunc) (Paths, error) {
	var ordered []crdt.Group
	for _, at := range tr.Order {
		ordered = append(ordered, tr.Groups[at])
	}
	whole := Fold(ordered)
	paths := whole.Paths
	if err := sameAsOracle("fold in the order of delivery", whole, ordered); err != nil {
		return paths, err
	}
	var parts [3]*Replica
	var groups [3][]crdt.Group
	for i := range parts {
		groups[i] = tr.received(i)
		parts[i] = Fold(groups[i])
		paths.Add(parts[i].Paths)
		if err := sameAsOracle(fmt.Sprintf("fold of replica %d", i), parts[i], groups[i]); err != nil {
			return paths, err
		}
	}
	two, three := slices.Concat(groups[0], groups[1]), slices.Concat(groups[0], groups[1], groups[2])
	l := rowLaws{join, Oracle(two), Oracle(three), OracleDead(two)}
	for _, a := range addresses(parts[:]) {
		x, y, z := parts[0].Side(a), parts[1].Side(a), parts[2].Side(a)
		paths.countJoin(x, y)
		if err := l.verify(a, x, y, z); err != nil {
			return paths, err
		}
	}
	return paths, nil
}

func sameAsOracle(what string, r *Replica, groups []crdt.Group) error {
	rows, dead := Oracle(groups), OracleDead(groups)
	for _, a := range slices.SortedFunc(maps.Keys(union(rows, r.Rows)), crdt.Address.Compare) {
		if !same(r.Rows[a], rows[a]) {
			return fmt.Errorf("%s: %v is %v, the oracle says %v", what, a, r.Rows[a], rows[a])
		}
	}
	if clock := Dots(groups); !r.Clock.Equal(clock) {
		return fmt.Errorf("%s: clock %v, the oracle says %v", what, r.Clock, clock)
	}
	if !maps.EqualFunc(r.Dead, dead, dvv.Clock.Equal) {
		return fmt.Errorf("%s: deferred at keys %v, the oracle says %v", what, r.Dead, dead)
	}
	return nil
}

func union(a, b map[crdt.Address]crdt.Row) map[crdt.Address]crdt.Row {
	out := maps.Clone(a)
	maps.Copy(out, b)
	return out
}

// addresses returns the rows that any of the replicas has.
func addresses(replicas []*Replica) []crdt.Address {
	all := map[crdt.Address]crdt.Row{}
	for _, r := range replicas {
		maps.Copy(all, r.Rows)
	}
	return slices.SortedFunc(maps.Keys(all), crdt.Address.Compare)
}

// same compares canonical bytes: what hashes and disks see.
func same(a, b crdt.Row) bool {
	return bytes.Equal(crdt.AppendRow(nil, a), crdt.AppendRow(nil, b))
}

// rowLaws are the laws of a join of rows, and what two and three replicas
// should hold together.
type rowLaws struct {
	join       JoinFunc
	two, three map[crdt.Address]crdt.Row
	dead       map[crdt.Key]dvv.Clock
}

// sides is [crdt.JoinSides] over the join on trial.
func (l rowLaws) sides(a, b crdt.Side) crdt.Side {
	row, _ := l.join(a, b)
	clock, dead := a.Clock.Clone(), a.Dead.Clone()
	clock.Join(b.Clock)
	dead.Join(b.Dead)
	return crdt.Side{Row: row, Clock: clock, Dead: dead.Minus(clock)}
}

func (l rowLaws) verify(a crdt.Address, x, y, z crdt.Side) error {
	before := [...][]byte{crdt.AppendRow(nil, x.Row), crdt.AppendRow(nil, y.Row)}
	xy, collisions := l.join(x, y)
	yx, mirrored := l.join(y, x)
	xx, _ := l.join(x, x)
	again, _ := l.join(l.sides(x, y), y)
	left, right := l.sides(l.sides(x, y), z), l.sides(x, l.sides(y, z))
	for _, law := range []struct {
		name      string
		got, want crdt.Row
	}{
		{"join commutes", yx, xy},
		{"join is idempotent", xx, x.Row},
		{"joining what is in already changes nothing", again, xy},
		{"join associates", left.Row, right.Row},
		{"the join of two folds is the fold of both", xy, l.two[a]},
		{"the join of three folds is the fold of all", left.Row, l.three[a]},
	} {
		if !same(law.got, law.want) {
			return fmt.Errorf("%s: at %v got %v, want %v\nx %v\ny %v\nz %v", law.name, a, law.got, law.want, show(x), show(y), show(z))
		}
	}
	if collisions != mirrored {
		return fmt.Errorf("join at %v finds %d collisions one way and %d the other", a, collisions, mirrored)
	}
	if dead := l.sides(x, y).Dead; !dead.Equal(a.Cleared(l.dead[a.Key])) {
		return fmt.Errorf("join at %v defers %v at the key, the oracle says %v", a, dead, l.dead[a.Key])
	}
	if !bytes.Equal(before[0], crdt.AppendRow(nil, x.Row)) || !bytes.Equal(before[1], crdt.AppendRow(nil, y.Row)) {
		return fmt.Errorf("join at %v changed what it was given", a)
	}
	return nil
}

func show(s crdt.Side) string { return fmt.Sprintf("%v under %v dead %v", s.Row, s.Clock, s.Dead) }

// countJoin counts why dots that only one side has live stay or go.
func (p *Paths) countJoin(x, y crdt.Side) {
	for _, s := range [...][2]crdt.Side{{x, y}, {y, x}} {
		mine, theirs := s[0], s[1]
		for _, d := range mine.Row.Dots() {
			switch {
			case slices.Contains(theirs.Row.Dots(), d):
			case theirs.Clock.Contains(d):
				p.DroppedSeen++
			case slices.Contains(theirs.Row.Deferred, d):
				p.DroppedRow++
			case theirs.Dead.Contains(d):
				p.DroppedKey++
			default:
				p.KeptUnseen++
			}
		}
	}
	if _, collisions := crdt.Join(x, y); collisions > 0 {
		p.Collided += collisions
	}
}

// Laws holds the laws of join against a thousand random trials of the given
// types, and fails too when a rare path was never taken.
func Laws(t *testing.T, join JoinFunc, types ...crdt.Type) {
	t.Helper()
	types = orAll(types)
	trials := rapid.SliceOfN(Trials(types...), 10, 10)
	var taken Paths
	run := func(t *rapid.T) {
		for _, tr := range trials.Draw(t, "trials") {
			paths, err := tr.Verify(join)
			if taken.Add(paths); err != nil {
				t.Fatalf("%v\n%v", err, tr)
			}
		}
	}
	// A thousand trials take every path nearly always; a few thousand more, if not.
	for range 10 {
		if rapid.Check(t, run); t.Failed() || len(taken.Untaken(types...)) == 0 {
			break
		}
	}
	if missed := taken.Untaken(types...); len(missed) > 0 && !t.Failed() {
		t.Errorf("the run proves nothing about paths it never took: %v", missed)
	}
	t.Logf("%+v", taken)
}
