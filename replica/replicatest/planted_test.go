package replicatest

import (
	"strings"
	"testing"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica"
)

// Each mistake is planted in what surrounds the real shards, and the checkers
// must find it within some seeds.
func TestTheCheckersFindPlantedMistakes(t *testing.T) {
	for _, planted := range []struct {
		name   string
		bug    Bug
		within int
		sign   string // what the violation must speak of
	}{
		{"a shard hears of a commit before it is durable", Bug{EarlyCommitted: true}, 20, "durable"},
		{"an actor is used again after a restart", Bug{ReusedActor: true}, 50, ""},
		{"dots killed before they arrived are forgotten", Bug{Tx: func(tx replica.Tx) replica.Tx { return withoutDeferred{tx} }}, 20, "follows"},
		{"clears that reach ahead are forgotten", Bug{Tx: func(tx replica.Tx) replica.Tx { return withoutDead{tx} }}, 50, "follows"},
		{"operations are forgotten", Bug{Tx: func(tx replica.Tx) replica.Tx { return withoutMemory{tx} }}, 200, "increments"},
		{"a stage forgets rows", Bug{Tx: func(tx replica.Tx) replica.Tx { return forgetfulStage{tx} }}, 50, ""},
		{"a report of coverage lies", Bug{Message: lyingCoverage}, 300, ""},
		{"answers hide what is dead before it arrives", Bug{Message: hiddenDead}, 300, "shows at"},
		{"a receipt is taken for another", Bug{Message: generousReceipts}, 100, "ever had it durable"},
		{"events lose what they kill", Bug{Message: harmlessEvents}, 20, "minted twice"},
	} {
		t.Run(planted.name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(planted.within) {
				_, err := Run(Options{Seed: seed + 1, Bug: planted.bug})
				if err == nil {
					continue
				}
				said, _, _ := strings.Cut(err.Error(), "\n\nagain: ")
				if !strings.Contains(said, planted.sign) {
					t.Errorf("found, but not as what it is: %s", said)
				}
				t.Logf("found by seed %d: %.300s", seed+1, said)
				return
			}
			t.Errorf("not found by %d seeds", planted.within)
		})
	}
}

// What the barrier is for: without it a read at R=2 misses what W=2 owners held.
func TestWithoutTheBarrierQuorumReadsAreStale(t *testing.T) {
	for seed := uint64(1); seed <= 300; seed++ {
		if _, err := Run(Options{Seed: seed, NoBarrier: true}); err != nil {
			if first, _, _ := strings.Cut(err.Error(), "\n"); !strings.Contains(first, "which two owners held") {
				t.Errorf("found, but not as what it is: %s", first)
			}
			return
		}
	}
	t.Error("not found by 300 seeds")
}

type withoutDeferred struct{ replica.Tx }

func (t withoutDeferred) PutRow(p int, a crdt.Address, before, after crdt.Row) error {
	after.Deferred = nil
	return t.Tx.PutRow(p, a, before, after)
}

type withoutDead struct{ replica.Tx }

func (t withoutDead) PutDead(int, crdt.Key, dvv.Clock) error { return nil }

type withoutMemory struct{ replica.Tx }

func (t withoutMemory) PutRemembered(int, *crdt.Remembered) error { return nil }

// forgetfulStage loses every other record of a snapshot on its way in.
type forgetfulStage struct{ replica.Tx }

func (t forgetfulStage) Stage(p int, key, value []byte) error {
	if key[len(key)-1]%2 == 0 {
		return nil
	}
	return t.Tx.Stage(p, key, value)
}

// A log that loses groups is no more than a log that was cut early: snapshots
// bring what it lost.
func TestALogThatLosesGroupsLosesNothingElse(t *testing.T) {
	for seed := uint64(1); seed <= 30; seed++ {
		if _, err := Run(Options{Seed: seed, Ragged: true}); err != nil {
			t.Fatal(err)
		}
	}
}

// lyingCoverage says that an owner has everything that anybody has.
func lyingCoverage(w *World, m replica.Message) replica.Message {
	c, ok := m.(replica.Coverage)
	if !ok {
		return m
	}
	c.Clock = c.Clock.Clone()
	for _, k := range w.memory.parts[c.Partition].all {
		c.Clock.AddRange(k.group.Actor, k.group.First, k.group.Last())
	}
	return c
}

// hiddenDead leaves out of an answer what was killed before it arrived.
func hiddenDead(_ *World, m replica.Message) replica.Message {
	a, ok := m.(replica.Answered)
	if !ok {
		return m
	}
	a.Answer.Dead = dvv.Clock{}
	rows := make([]replica.Found, len(a.Answer.Rows))
	for i, f := range a.Answer.Rows {
		rows[i] = replica.Found{Field: f.Field, Row: crdt.Row{Live: f.Row.Live}}
	}
	a.Answer.Rows = rows
	return a
}

// generousReceipts acknowledges the next group as well.
func generousReceipts(_ *World, m replica.Message) replica.Message {
	a, ok := m.(replica.Acked)
	if !ok {
		return m
	}
	var out replica.Acked
	for _, r := range a.Batch {
		more := replica.Receipt{Partition: r.Partition}
		for _, d := range r.Dots {
			more.Dots = append(more.Dots, d, dvv.Dot{Actor: d.Actor, Seq: d.Seq + 1})
		}
		out.Batch = append(out.Batch, more)
	}
	return out
}

// harmlessEvents takes the kills out of what catch-up brings.
func harmlessEvents(_ *World, m replica.Message) replica.Message {
	e, ok := m.(replica.Events)
	if !ok {
		return m
	}
	groups := make([]crdt.Group, len(e.Groups))
	for i, g := range e.Groups {
		events := make([]crdt.Event, len(g.Events))
		for j, ev := range g.Events {
			ev.Kills = nil
			events[j] = ev
		}
		g.Events = events
		groups[i] = g
	}
	e.Groups = groups
	return e
}
