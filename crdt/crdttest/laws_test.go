package crdttest_test

import (
	"testing"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/crdt/crdttest"
	"github.com/cartwheel-db/cartwheel/dvv"
)

func TestEveryTypeObeysTheLaws(t *testing.T) {
	for _, test := range []struct {
		name  string
		types []crdt.Type
	}{
		{"sets", []crdt.Type{crdt.Set}},
		{"counters", []crdt.Type{crdt.Counter}},
		{"registers", []crdt.Type{crdt.Register}},
		{"blobs", []crdt.Type{crdt.Blob}},
		{"maps", []crdt.Type{crdt.Map}},
		{"all in one partition", nil},
	} {
		t.Run(test.name, func(t *testing.T) { crdttest.Laws(t, crdt.Join, test.types...) })
	}
}

// A suite is worth what it catches. Each of these joins is wrong in a way that
// some store has shipped or some model has warned of.
func TestTheLawsCatchBrokenJoins(t *testing.T) {
	for _, test := range []struct {
		name string
		join crdttest.JoinFunc
	}{
		// Where removals do not move the clock, this one loses them (the scenarios
		// S1 and S3). Here a clock that covers another stands for a superset of its
		// events, and only the impossible tells: two payloads under one dot.
		{"skips when the other's clock is covered", func(a, b crdt.Side) (crdt.Row, int) {
			switch {
			case a.Clock.Covers(b.Clock):
				return a.Row, 0
			case b.Clock.Covers(a.Clock):
				return b.Row, 0
			}
			return crdt.Join(a, b)
		}},
		{"skips when the other's highest seqs are covered", func(a, b crdt.Side) (crdt.Row, int) {
			switch {
			case reaches(a.Clock, b.Clock):
				return a.Row, 0
			case reaches(b.Clock, a.Clock):
				return b.Row, 0
			}
			return crdt.Join(a, b)
		}},
		{"ignores what is deferred at the row", func(a, b crdt.Side) (crdt.Row, int) {
			row, n := crdt.Join(crdt.Side{Row: crdt.Row{Live: a.Row.Live}, Clock: a.Clock, Dead: a.Dead},
				crdt.Side{Row: crdt.Row{Live: b.Row.Live}, Clock: b.Clock, Dead: b.Dead})
			all, _ := crdt.Join(a, b)
			return crdt.Row{Live: row.Live, Deferred: all.Deferred}, n
		}},
		{"forgets what is deferred at the row", func(a, b crdt.Side) (crdt.Row, int) {
			row, n := crdt.Join(a, b)
			return crdt.Row{Live: row.Live}, n
		}},
		{"ignores what is deferred at the key", func(a, b crdt.Side) (crdt.Row, int) {
			return crdt.Join(crdt.Side{Row: a.Row, Clock: a.Clock}, crdt.Side{Row: b.Row, Clock: b.Clock})
		}},
		{"takes rows only when the source has them", func(a, b crdt.Side) (crdt.Row, int) {
			if b.Row.IsEmpty() {
				return a.Row, 0
			}
			return crdt.Join(a, b)
		}},
		{"keeps whatever either side has", func(a, b crdt.Side) (crdt.Row, int) {
			return crdt.Join(crdt.Side{Row: a.Row}, crdt.Side{Row: b.Row})
		}},
		{"keeps one of two payloads under a dot", func(a, b crdt.Side) (crdt.Row, int) {
			row, n := crdt.Join(a, b)
			var one crdt.Row
			one.Deferred = row.Deferred
			for i, l := range row.Live {
				if i == 0 || row.Live[i-1].Dot != l.Dot {
					one.Live = append(one.Live, l)
				}
			}
			return one, n
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			trials := crdttest.Trials()
			for seed := range 2000 {
				tr := trials.Example(seed)
				if _, err := tr.Verify(test.join); err != nil {
					if _, err := tr.Verify(crdt.Join); err != nil {
						t.Fatalf("the join itself fails trial %d: %v\n%v", seed, err, tr)
					}
					t.Logf("caught by trial %d: %v", seed, err)
					return
				}
			}
			t.Error("2000 trials did not catch it")
		})
	}
}

// reaches compares clocks as if they had no gaps.
func reaches(a, b dvv.Clock) bool {
	for actor, v := range b.Intervals() {
		if a.Last(actor) < v.Last {
			return false
		}
	}
	return true
}
