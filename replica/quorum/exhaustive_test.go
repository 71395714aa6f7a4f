package quorum_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cartwheel-db/cartwheel/replica/quorum"
)

// event is one call; history is all of them, the first asked included.
type event struct {
	verb string // ask, ready, behind, fail, expire
	id   byte
}

type history []event

func (h history) String() string {
	var words []string
	for _, e := range h {
		words = append(words, fmt.Sprintf("%s %d", e.verb, e.id))
	}
	return strings.Join(words, ", ")
}

// naive says, from the whole history and nothing else, where each node stands.
// It is the specification: no state, no cleverness.
func (h history) naive(nodes byte) (ready, behind, outstanding int) {
	for id := range nodes {
		isReady, isBehind, lastAsk, lastFail := false, false, -1, -1
		for i, e := range h {
			switch {
			case e.verb == "expire":
				lastFail = i
			case e.id != id:
			case e.verb == "ready":
				isReady = true
			case e.verb == "behind":
				isBehind = true
			case e.verb == "ask":
				lastAsk = i
			case e.verb == "fail":
				lastFail = i
			}
		}
		switch {
		case isReady:
			ready++
		case isBehind:
			behind++
		case lastAsk > lastFail:
			outstanding++
		}
	}
	return ready, behind, outstanding
}

// everyHistory calls check with each sequence of up to depth events on top of h.
func everyHistory(h history, alphabet []event, depth int, check func(history)) {
	check(h)
	if depth == 0 {
		return
	}
	for _, e := range alphabet {
		everyHistory(append(h[:len(h):len(h)], e), alphabet, depth-1, check)
	}
}

func alphabet(nodes byte, verbs ...string) (all []event) {
	for _, verb := range verbs {
		for id := range nodes {
			all = append(all, event{verb, id})
		}
	}
	return append(all, event{verb: "expire"})
}

var models = []struct {
	name  string
	nodes byte
	depth int
}{
	{"every five events on three nodes", 3, 5},
	{"every four events on four nodes", 4, 4},
}

func TestWriteAgreesWithItsWholeHistoryRead(t *testing.T) {
	for _, m := range models {
		t.Run(m.name, func(t *testing.T) {
			seen := map[quorum.State]int{}
			var w quorum.Write[byte]
			for needed := 1; needed <= int(m.nodes); needed++ {
				for _, asked := range []byte{0, 2} {
					ids, start := firstAsked(asked)
					everyHistory(start, alphabet(m.nodes, "ask", "ready", "fail"), m.depth, func(h history) {
						w.Reset(needed, ids)
						for _, e := range h[asked:] {
							switch e.verb {
							case "ask":
								w.Ask(e.id)
							case "ready":
								w.Ack(e.id)
							case "fail":
								w.Fail(e.id)
							case "expire":
								w.Expire()
							}
						}
						acked, _, outstanding := h.naive(m.nodes)
						want := quorum.Pending
						if acked >= needed {
							want = quorum.Reached
						} else if acked+outstanding < needed {
							want = quorum.Unreachable
						}
						if w.State() != want || w.Acked() != acked || w.Outstanding() != outstanding {
							t.Fatalf("%d needed after %v: %v is %v, want %v with %d acked, %d outstanding",
								needed, h, &w, w.State(), want, acked, outstanding)
						}
						seen[want]++
					})
				}
			}
			mustHaveSeen(t, seen, quorum.Pending, quorum.Reached, quorum.Unreachable)
		})
	}
}

func TestReadAgreesWithItsWholeHistoryRead(t *testing.T) {
	for _, m := range models {
		t.Run(m.name, func(t *testing.T) {
			seen := map[quorum.State]int{}
			var r quorum.Read[byte]
			for needed := 1; needed <= int(m.nodes); needed++ {
				ids, start := firstAsked(2)
				everyHistory(start, alphabet(m.nodes, "ask", "ready", "behind", "fail"), m.depth, func(h history) {
					r.Reset(needed, ids)
					for _, e := range h[len(ids):] {
						switch e.verb {
						case "ask":
							r.Ask(e.id)
						case "ready", "behind":
							r.Answer(e.id, e.verb == "ready")
						case "fail":
							r.Fail(e.id)
						case "expire":
							r.Expire()
						}
					}
					ready, behind, outstanding := h.naive(m.nodes)
					want := quorum.Unreachable
					if ready >= needed {
						want = quorum.Reached
					} else if outstanding > 0 {
						want = quorum.Pending
					} else if ready+behind >= needed {
						want = quorum.Degraded
					}
					if r.State() != want || r.Ready() != ready || r.Answers() != ready+behind || r.Outstanding() != outstanding {
						t.Fatalf("%d needed after %v: %v is %v, want %v with %d ready, %d behind, %d outstanding",
							needed, h, &r, r.State(), want, ready, behind, outstanding)
					}
					seen[want]++
				})
			}
			mustHaveSeen(t, seen, quorum.Pending, quorum.Reached, quorum.Degraded, quorum.Unreachable)
		})
	}
}

func firstAsked(n byte) (ids []byte, start history) {
	for id := range n {
		ids = append(ids, id)
		start = append(start, event{"ask", id})
	}
	return ids, start
}

func mustHaveSeen(t *testing.T, seen map[quorum.State]int, states ...quorum.State) {
	t.Helper()
	for _, s := range states {
		if seen[s] < 1000 {
			t.Errorf("only %d histories ended %v: the model does not reach it", seen[s], s)
		}
	}
	t.Logf("%v", seen)
}
