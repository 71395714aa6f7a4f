package dvv_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/cartwheel-db/cartwheel/dvv"
)

// clk reads what Clock.String prints, without the braces: "a:3 +b:5-7". Order
// and overlap are free, so that a test can spell a set in any way.
func clk(s string) dvv.Clock {
	var c dvv.Clock
	for _, word := range strings.Fields(s) {
		name, seqs, _ := strings.Cut(word, ":")
		gap := strings.HasPrefix(name, "+")
		actor := dvv.Actor(strings.TrimPrefix(name, "+")[0]-'a') + 1
		from, to, isRun := strings.Cut(seqs, "-")
		first, last := number(from), number(from)
		switch {
		case isRun:
			last = number(to)
		case !gap:
			first = 1
		}
		c.AddRange(actor, first, last)
	}
	return c
}

func number(s string) uint64 {
	if s == "max" {
		return 1<<64 - 1
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		panic(err)
	}
	return n
}

func dot(s string) dvv.Dot {
	name, seq, _ := strings.Cut(s, ":")
	return dvv.Dot{Actor: dvv.Actor(name[0]-'a') + 1, Seq: number(seq)}
}

// A step of a story: someone writes through a node (an actor) with the context
// they hold, or reads. The columns are what the one key then looks like.
type step struct {
	who     string
	does    string // "reads", or "writes via a"
	live    string // dots nobody killed, after the step
	clock   string // everything the replica has seen, after the step
	context string // what this person now holds
}

func TestAStoryOfTwoWriters(t *testing.T) {
	stories := []struct {
		name  string
		steps []step
	}{
		{"one writer who reads before each write never has siblings", []step{
			//who     does            live    clock   context
			{"Mary", "writes via a", "a:1", "{a:1}", "{}"},
			{"Mary", "reads", "a:1", "{a:1}", "{a:1}"},
			{"Mary", "writes via a", "a:2", "{a:2}", "{a:1}"},
			{"Mary", "reads", "a:2", "{a:2}", "{a:2}"},
			{"Mary", "writes via b", "b:1", "{a:2 b:1}", "{a:2}"},
		}},
		{"two writers through one node, who saw the same, are siblings", []step{
			{"Mary", "writes via a", "a:1", "{a:1}", "{}"},
			{"Mary", "reads", "a:1", "{a:1}", "{a:1}"},
			{"Peter", "reads", "a:1", "{a:1}", "{a:1}"},
			{"Mary", "writes via a", "a:2", "{a:2}", "{a:1}"},
			{"Peter", "writes via a", "a:2 a:3", "{a:3}", "{a:1}"}, // a plain version vector loses a:2 here
			{"Peter", "reads", "a:2 a:3", "{a:3}", "{a:3}"},
			{"Peter", "writes via a", "a:4", "{a:4}", "{a:3}"},
		}},
		{"a blind write kills nothing", []step{
			{"Mary", "writes via a", "a:1", "{a:1}", "{}"},
			{"Peter", "writes via b", "a:1 b:1", "{a:1 b:1}", "{}"},
			{"Mary", "writes via a", "a:1 a:2 b:1", "{a:2 b:1}", "{}"},
		}},
		{"a context of live dots alone has gaps and kills no more than was shown", []step{
			{"Mary", "writes via a", "a:1", "{a:1}", "{}"},
			{"Mary", "reads", "a:1", "{a:1}", "{a:1}"},
			{"Mary", "writes via a", "a:2", "{a:2}", "{a:1}"},
			{"Peter", "reads", "a:2", "{a:2}", "{+a:2}"},
			{"Mary", "reads", "a:2", "{a:2}", "{a:2}"},
			{"Mary", "writes via b", "b:1", "{a:2 b:1}", "{a:2}"},
			{"Peter", "writes via b", "b:1 b:2", "{a:2 b:2}", "{+a:2}"},
		}},
	}
	for _, story := range stories {
		t.Run(story.name, func(t *testing.T) {
			var seen, live dvv.Clock
			holds := map[string]*dvv.Clock{"Mary": {}, "Peter": {}}
			for i, s := range story.steps {
				context := holds[s.who]
				if via, writes := strings.CutPrefix(s.does, "writes via "); writes {
					actor := dot(via + ":1").Actor
					minted := dvv.Dot{Actor: actor, Seq: seen.Last(actor) + 1}
					live = live.Minus(*context)
					live.Add(minted)
					seen.Add(minted)
				} else {
					// A reader accumulates what it is shown: only live dots.
					context.Join(live)
				}
				var dots []string
				for d := range live.Dots() {
					dots = append(dots, d.String())
				}
				if got := strings.Join(dots, " "); got != s.live {
					t.Fatalf("step %d: %s %s: live %s, want %s", i+1, s.who, s.does, got, s.live)
				}
				if got := seen.String(); got != s.clock {
					t.Fatalf("step %d: %s %s: clock %s, want %s", i+1, s.who, s.does, got, s.clock)
				}
				if got := context.String(); got != s.context {
					t.Fatalf("step %d: %s %s: context %s, want %s", i+1, s.who, s.does, got, s.context)
				}
			}
		})
	}
}

// A replica that missed messages knows which, and asks for exactly those.
func TestCatchingUpIsASubtraction(t *testing.T) {
	for _, c := range []struct{ name, mine, yours, send string }{
		//                                          mine             yours            I send you
		{"nothing to say between equals", "a:3 b:2", "a:3 b:2", "{}"},
		{"a newcomer lacks all", "a:3 b:2 +b:5", "", "{a:3 b:2 +b:5}"},
		{"the tail of one actor", "a:7", "a:4", "{+a:5-7}"},
		{"a hole left by a lost message", "a:7", "a:3 +a:5-7", "{+a:4}"},
		{"what you know and I do not is no debt", "a:2", "a:9 c:1", "{}"},
		{"each lacks something of the other", "a:3 b:1", "a:1 b:4", "{+a:2-3}"},
		{"many holes in one run", "a:9", "+a:2 +a:4 +a:8", "{a:1 +a:3 +a:5-7 +a:9}"},
		{"the end of the number line", "+a:5-max", "+a:7-max", "{+a:5-6}"},
		{"only the very last", "+a:5-max", "+a:5-18446744073709551614", "{+a:18446744073709551615}"},
	} {
		t.Run(c.name, func(t *testing.T) {
			mine, yours := clk(c.mine), clk(c.yours)
			send := mine.Minus(yours)
			if send.String() != c.send {
				t.Fatalf("%v minus %v = %v, want %s", mine, yours, send, c.send)
			}
			yours.Join(send)
			if !yours.Covers(mine) {
				t.Fatalf("after catching up %v does not cover %v", yours, mine)
			}
		})
	}
}
