package replica_test

import (
	"testing"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/replica"
	"github.com/cartwheel-db/cartwheel/ring"
)

// hedgedAfter makes reads at the first node whose answers from the second take a
// while, and returns when the third was asked of a read that the second does not
// answer; 0 for never.
func hedgedAfter(t *testing.T, reads int, took int64) int64 {
	t.Helper()
	w := newTrio(t, func(c *replica.Config) { c.HedgeAfter = 50 * milli })
	first, second, third := w.node(0), w.node(1), w.node(2)
	for id := range uint64(reads) {
		w.readHalf(first, second.id, third.id, id+1)
		asked := sent[replica.Asking](first, second.id)
		if len(asked) != 1 {
			t.Fatalf("read %d asked the second %d times", id, len(asked))
		}
		w.pass(first, took/milli)
		w.deliver(first, second, asked[0])
		w.deliver(second, first, sent[replica.Answered](second, first.id)[0])
		for _, late := range sent[replica.Asking](first, third.id) { // hedged: answers too
			w.deliver(first, third, late)
			for _, a := range sent[replica.Answered](third, first.id) {
				w.deliver(third, first, a)
			}
		}
		if n := len(first.reply); n != int(id)+1 {
			t.Fatalf("read %d: %d replies", id, n)
		}
	}
	began := w.now
	w.readHalf(first, second.id, third.id, uint64(reads)+1)
	for range 1000 {
		w.pass(first, 1)
		if len(sent[replica.Asking](first, third.id)) > 0 {
			return w.now - began
		}
	}
	return 0
}

// readHalf begins a read, which asks the second owner beside this one.
func (w *trio) readHalf(m *member, second, third ring.NodeID, id uint64) {
	w.t.Helper()
	w.ask(m, replica.Request{ID: id, Deadline: w.clock().Mono + 5000*milli, R: 2,
		Query: &replica.Query{Key: crdt.Key{Type: crdt.Counter, Bucket: "b", Name: "c"}}})
	if n := len(sent[replica.Asking](m, third)); n > 0 {
		w.t.Fatalf("read %d asked %v at once, beside %v", id, third, second)
	}
}

func TestASlowReplicaIsHedgedAfterTheNinetyNinthPercentileOfAnswers(t *testing.T) {
	for _, test := range []struct {
		name        string
		reads       int
		took        int64
		least, most int64
	}{
		{"at first after the configured time", 0, milli, 50 * milli, 61 * milli},
		{"a few answers say nothing of one in a hundred", 50, milli, 50 * milli, 61 * milli},
		{"answers in 1 ms: after no more than schedulers wander", 200, milli, 2 * milli, 3 * milli},
		{"answers in 5 ms", 200, 5 * milli, 5 * milli, 7 * milli},
		{"answers in 20 ms", 200, 20 * milli, 20 * milli, 34 * milli},
		{"all are slow, as under load: more questions would not help", 200, 120 * milli, 120 * milli, 150 * milli},
		{"and slower: at last all the same", 200, 900 * milli, 200 * milli, 220 * milli},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := hedgedAfter(t, test.reads, test.took); got < test.least || got > test.most {
				t.Errorf("hedged after %d us, want %d to %d", got/1000, test.least/1000, test.most/1000)
			}
		})
	}
}
