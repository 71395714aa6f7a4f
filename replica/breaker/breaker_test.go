package breaker_test

import (
	"fmt"
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/cartwheel-db/cartwheel/replica/breaker"
)

const ms = 1_000_000

var cfg = breaker.Config{Threshold: 3, MinBackoff: 100 * ms, MaxBackoff: 400 * ms, ProbeTimeout: 50 * ms}

// step is one line of a story: at an instant something happens, and then the
// breaker looks like this.
type step struct {
	at   int64 // ms
	do   string
	want string
}

func TestStories(t *testing.T) {
	stories := []struct {
		name  string
		steps []step
	}{
		{"a healthy peer is asked every time", []step{
			{0, "allow", "yes: closed"},
			{1, "success", "closed"},
			{1, "allow", "yes: closed"},
		}},
		{"failures with a success in between never open it", []step{
			{0, "failure", "closed (1 of 3 failures)"},
			{1, "failure", "closed (2 of 3 failures)"},
			{2, "success", "closed"},
			{3, "failure", "closed (1 of 3 failures)"},
			{4, "failure", "closed (2 of 3 failures)"},
			{4, "allow", "yes: closed (2 of 3 failures)"},
		}},
		{"a peer that hangs is passed over, probed, and taken back", []step{
			{0, "failure", "closed (1 of 3 failures)"},
			{0, "failure", "closed (2 of 3 failures)"},
			{10, "failure", "open until 110ms (0 failed probes)"},
			{109, "allow", "no: open until 110ms (0 failed probes)"},
			{109, "state", "open"},
			{110, "state", "half-open"},
			{110, "allow", "yes: half-open from 110ms (probe out until 160ms)"},
			{111, "allow", "no: half-open from 110ms (probe out until 160ms)"},
			{120, "success", "closed"},
			{120, "allow", "yes: closed"},
		}},
		{"each failed probe doubles the wait up to the bound, and one success forgets it all", []step{
			{0, "trip", "open until 100ms (0 failed probes)"},
			{100, "allow", "yes: half-open from 100ms (probe out until 150ms)"},
			{110, "failure", "open until 310ms (1 failed probes)"},
			{310, "allow", "yes: half-open from 310ms (probe out until 360ms)"},
			{320, "failure", "open until 720ms (2 failed probes)"},
			{720, "allow", "yes: half-open from 720ms (probe out until 770ms)"},
			{730, "failure", "open until 1130ms (3 failed probes)"},
			{1130, "allow", "yes: half-open from 1130ms (probe out until 1180ms)"},
			{1140, "success", "closed"},
			{1150, "trip", "open until 1250ms (0 failed probes)"},
		}},
		{"the timeouts of requests sent before it opened do not push the probe away", []step{
			{0, "trip", "open until 100ms (0 failed probes)"},
			{90, "failure", "open until 100ms (0 failed probes)"},
			{105, "failure", "open until 100ms (0 failed probes)"},
			{105, "allow", "yes: half-open from 100ms (probe out until 155ms)"},
		}},
		{"an answer that arrives while it is open proves the peer alive", []step{
			{0, "trip", "open until 100ms (0 failed probes)"},
			{20, "success", "closed"},
		}},
		{"a probe nobody reports on is taken for lost, and another goes out", []step{
			{0, "trip", "open until 100ms (0 failed probes)"},
			{100, "allow", "yes: half-open from 100ms (probe out until 150ms)"},
			{149, "allow", "no: half-open from 100ms (probe out until 150ms)"},
			{150, "allow", "yes: half-open from 100ms (probe out until 200ms)"},
			{151, "allow", "no: half-open from 100ms (probe out until 200ms)"},
		}},
		{"a lost link opens it at once, and no waiting brings the link back", []step{
			{0, "link down", "open (link down)"},
			{1, "allow", "no: open (link down)"},
			{99_999, "allow", "no: open (link down)"},
			{99_999, "state", "open"},
		}},
		{"a new link is probed at once and trusted after one answer", []step{
			{0, "link down", "open (link down)"},
			{500, "link up", "open until 500ms (0 failed probes)"},
			{500, "allow", "yes: half-open from 500ms (probe out until 550ms)"},
			{500, "allow", "no: half-open from 500ms (probe out until 550ms)"},
			{501, "success", "closed"},
		}},
		{"the failures that a lost link causes add nothing to it", []step{
			{0, "link down", "open (link down)"},
			{0, "failure", "open (link down)"},
			{0, "failure", "open (link down)"},
			{0, "failure", "open (link down)"},
			{10, "link up", "open until 10ms (0 failed probes)"},
			{10, "failure", "open until 10ms (0 failed probes)"},
			{10, "allow", "yes: half-open from 10ms (probe out until 60ms)"},
		}},
		{"an answer read before the link broke does not close it", []step{
			{0, "link down", "open (link down)"},
			{0, "success", "open (link down)"},
			{0, "allow", "no: open (link down)"},
		}},
		{"a peer that takes links but never answers keeps its long waits", []step{
			{0, "trip", "open until 100ms (0 failed probes)"},
			{100, "allow", "yes: half-open from 100ms (probe out until 150ms)"},
			{110, "failure", "open until 310ms (1 failed probes)"},
			{120, "link down", "open (link down)"},
			{130, "link up", "open until 130ms (1 failed probes)"},
			{130, "allow", "yes: half-open from 130ms (probe out until 180ms)"},
			{140, "failure", "open until 540ms (2 failed probes)"},
		}},
		{"news of a link that was never down changes nothing", []step{
			{0, "trip", "open until 100ms (0 failed probes)"},
			{10, "link up", "open until 100ms (0 failed probes)"},
			{20, "allow", "no: open until 100ms (0 failed probes)"},
		}},
	}
	for _, story := range stories {
		t.Run(story.name, func(t *testing.T) {
			b := breaker.New(cfg)
			for i, s := range story.steps {
				if got := act(&b, s.at*ms, s.do); got != s.want {
					t.Fatalf("step %d, %s at %d ms: %q, want %q", i+1, s.do, s.at, got, s.want)
				}
			}
		})
	}
}

func act(b *breaker.Breaker, now int64, do string) string {
	switch do {
	case "allow":
		if b.Allow(now) {
			return "yes: " + b.String()
		}
		return "no: " + b.String()
	case "state":
		return b.State(now).String()
	case "success":
		b.Success(now)
	case "failure":
		b.Failure(now)
	case "trip":
		for range cfg.Threshold {
			b.Failure(now)
		}
	case "link down":
		b.LinkDown(now)
	case "link up":
		b.LinkUp(now)
	default:
		return "no such step"
	}
	return b.String()
}

func TestTheZeroValueWorksWithDefaults(t *testing.T) {
	var b breaker.Breaker
	for range 4 {
		b.Failure(0)
	}
	if !b.Allow(0) {
		t.Fatal("open after 4 failures, the default is 5")
	}
	b.Failure(0)
	if b.Allow(100*ms-1) || !b.Allow(100*ms) {
		t.Fatal("the default wait is 100 ms")
	}
	if got, want := b.String(), "half-open from 100ms (probe out until 1100ms)"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestBackoff(t *testing.T) {
	tests := []struct {
		name   string
		cfg    breaker.Config
		probes int
		want   int64
	}{
		{"starts at the least", cfg, 0, 100 * ms},
		{"doubles", cfg, 1, 200 * ms},
		{"stops at the most", cfg, 2, 400 * ms},
		{"stays there for ever", cfg, math.MaxInt, 400 * ms},
		{"a bound that is no power of two is met exactly", breaker.Config{MinBackoff: 100, MaxBackoff: 350}, 2, 350},
		{"a most below the least is the least", breaker.Config{MinBackoff: 900, MaxBackoff: 10}, 7, 900},
		{"the longest waits do not overflow", breaker.Config{MinBackoff: 3, MaxBackoff: math.MaxInt64}, 200, math.MaxInt64},
		{"a negative count is none", cfg, -5, 100 * ms},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.cfg.Backoff(tt.probes); got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
}

func TestASeedShortensWaitsByUpToAQuarterAndAlwaysTheSame(t *testing.T) {
	distinct := map[int64]bool{}
	for seed := uint64(1); seed <= 100; seed++ {
		c := cfg
		c.Seed = seed
		wait := c.Backoff(1)
		if wait < 150*ms || wait > 200*ms || wait != c.Backoff(1) {
			t.Fatalf("seed %d waits %d", seed, wait)
		}
		distinct[wait] = true
	}
	if len(distinct) < 90 {
		t.Errorf("100 seeds, only %d waits", len(distinct))
	}
}

func TestInstantsNearTheEndOfTimeDoNotWrapAround(t *testing.T) {
	b := breaker.New(cfg)
	act(&b, math.MaxInt64-1, "trip")
	if b.Allow(math.MaxInt64 - 1) {
		t.Error("the wait wrapped around")
	}
}

// Whatever happens: at most one probe is out at a time, a wait is never longer
// than MaxBackoff, a peer whose link stands is always asked again, and looking
// changes nothing.
func TestWhateverHappensAPeerIsNeitherFloodedNorForgotten(t *testing.T) {
	reached := map[breaker.State]int{}
	rapid.Check(t, func(t *rapid.T) {
		b := breaker.New(cfg)
		var now, lastProbe int64
		probing, linkUp := false, true
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now += int64(rapid.IntRange(0, 120).Draw(t, "wait")) * ms
			do := rapid.SampledFrom([]string{"allow", "allow", "failure", "failure", "failure", "success", "link down", "link up"}).Draw(t, "do")
			before := b.State(now)
			reached[before]++
			switch do {
			case "allow":
				yes := b.Allow(now)
				switch {
				case yes && before == breaker.Open, !yes && before == breaker.Closed:
					t.Fatalf("%v allows: %v", before, yes)
				case yes && before == breaker.HalfOpen:
					if probing && now < lastProbe+cfg.ProbeTimeout {
						t.Fatalf("a second probe at %d, the first went at %d", now, lastProbe)
					}
					probing, lastProbe = true, now
				}
			default:
				act(&b, now, do)
				probing = probing && b.State(now) == breaker.HalfOpen && do != "link down"
				linkUp = do == "link up" || linkUp && do != "link down"
			}
			if got := b.State(now); got != b.State(now) || !linkUp && got != breaker.Open {
				t.Fatalf("%v, link up %v", got, linkUp)
			}
			later := b
			if linkUp != later.Allow(now+cfg.MaxBackoff+cfg.ProbeTimeout) {
				t.Fatalf("link up is %v, but after every wait %v", linkUp, &later)
			}
		}
	})
	for _, s := range []breaker.State{breaker.Closed, breaker.Open, breaker.HalfOpen} {
		if reached[s] == 0 {
			t.Errorf("never %v", s)
		}
	}
}

func ExampleBreaker() {
	b := breaker.New(breaker.Config{Threshold: 2, MinBackoff: 100 * ms})
	b.Failure(0)
	b.Failure(0)
	fmt.Println(b.Allow(50*ms), b.Allow(100*ms), b.Allow(100*ms))
	b.Success(101 * ms)
	fmt.Println(b.Allow(101*ms), &b)
	// Output:
	// false true false
	// true closed
}

func BenchmarkAllowAndSuccess(b *testing.B) {
	br := breaker.New(cfg)
	b.ReportAllocs()
	for b.Loop() {
		if br.Allow(1) {
			br.Success(1)
		}
	}
}
