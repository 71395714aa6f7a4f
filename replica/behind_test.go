package replica_test

import (
	"testing"

	"github.com/cartwheel-db/cartwheel/replica"
)

// An owner whose disk is always some milliseconds behind, while writes go on.

type behind struct {
	*trio
	writer, slow *member
	held         []heldBack
	seq          uint64
	pulls        int // times the slow one asked for what it lacks
}

type heldBack struct {
	until int64
	from  *member
	m     replica.Message
}

// live lets twenty writes a second pass. What they bring reaches the slow owner 400 ms late.
func (w *behind) live(ms int64, each func()) {
	hold := func(s replica.Send) bool {
		switch s.Message.(type) {
		case replica.CatchUp:
			w.pulls++
		case replica.Replicate, replica.Events:
			if s.To == w.slow.id {
				w.held = append(w.held, heldBack{w.now + 400*milli, w.writer, s.Message})
				return true
			}
		}
		return false
	}
	for until := w.now + ms*milli; w.now < until; {
		w.now += 50 * milli
		for len(w.held) > 0 && w.held[0].until <= w.now {
			w.deliver(w.held[0].from, w.slow, w.held[0].m)
			w.held = w.held[1:]
		}
		w.seq++
		w.add(w.writer, w.seq, w.seq, "milk", 5000)
		for _, id := range w.first {
			w.nodes[id].shard.Tick(w.clock())
			w.nodes[id].take()
		}
		each()
		w.run(hold)
		w.writer.reply, w.slow.reply = nil, nil
	}
}

// It has, whenever anybody looks, what the others had those milliseconds ago: that
// is its bound, however often readers who want it fresher make it ask.
func TestAnOwnerThatIsAlwaysALittleBehindKnowsHowLittle(t *testing.T) {
	w := &behind{trio: newTrio(t, withBarrier)}
	w.writer, w.slow = w.node(0), w.node(2)
	w.rounds(3000)
	w.live(5000, func() {})
	if st := w.health(w.slow).Staleness; !within(st.Bound, 0, 2000) {
		t.Errorf("400 ms behind, it asks once a second: %v", st)
	}
	w.pulls = 0
	w.live(10_000, func() {
		w.ask(w.slow, replica.Request{ID: w.seq, Deadline: w.clock().Mono + 100*milli, R: 1, MaxStale: 100 * milli, Query: &replica.Query{Key: carts, Span: &replica.Span{Limit: 10}}})
	})
	if st := w.health(w.slow).Staleness; !within(st.Bound, 0, 2000) {
		t.Errorf("400 ms behind, it asks every 50 ms: %v", st)
	}
	if w.pulls > 2*8*10 {
		t.Errorf("in ten seconds it asked two others %d times for what it lacks, and was sent all of it each time", w.pulls)
	}
}

// And it holds before long what all held when it opened.
func TestAnOwnerThatIsAlwaysALittleBehindGetsReady(t *testing.T) {
	w := &behind{trio: newTrio(t, withBarrier)}
	w.writer, w.slow = w.node(0), w.node(2)
	w.rounds(3000)
	w.stop(w.slow)
	w.rounds(100)
	w.restart(w.slow, 77, withBarrier)
	w.live(5000, func() {})
	if got := w.state(w.slow); got != replica.Ready {
		t.Errorf("five seconds after it opened it is %v", got)
	}
}
