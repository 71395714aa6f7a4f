package breaker

import (
	"fmt"
	"math"
)

// State is what a breaker lets through.
type State uint8

const (
	// Closed: everything.
	Closed State = iota
	// Open: nothing.
	Open
	// HalfOpen: one probe at a time.
	HalfOpen
)

// String is the usual name.
func (s State) String() string {
	switch s {
	case Closed:
		return "closed"
	case Open:
		return "open"
	case HalfOpen:
		return "half-open"
	}
	return "state?"
}

// Breaker guards one peer link. The zero value is closed, with default settings.
// All instants are nanoseconds of one monotonic clock, told in order.
type Breaker struct {
	cfg      Config
	tripped  bool  // open or half-open
	linkDown bool  // no link at all: waiting is pointless, LinkUp will tell
	failures int   // in a row, while closed
	probes   int   // failed probes since it opened
	until    int64 // open until then, half-open from then on
	probing  bool  // a probe is out
	probeEnd int64 // when the probe counts as lost
}

// New returns a closed breaker.
func New(cfg Config) Breaker { return Breaker{cfg: cfg.withDefaults()} }

// State is what the breaker lets through at now. It changes nothing.
func (b *Breaker) State(now int64) State {
	switch {
	case !b.tripped:
		return Closed
	case b.linkDown || now < b.until:
		return Open
	}
	return HalfOpen
}

// Allow reports whether a request may go to the peer now. When half-open a yes
// is the one probe: the caller must send, and report Success or Failure. Until it
// does, or ProbeTimeout passes, everybody else is told no.
func (b *Breaker) Allow(now int64) bool {
	switch b.State(now) {
	case Closed:
		return true
	case Open:
		return false
	}
	if b.probing && now < b.probeEnd {
		return false
	}
	b.probing, b.probeEnd = true, later(now, b.config().ProbeTimeout)
	return true
}

// Success records an answer of the peer, of whatever kind: a refusal proves it
// alive too. It closes the breaker, also while the backoff runs, unless the link
// is gone: then the answer is older than the loss.
func (b *Breaker) Success(int64) {
	switch {
	case b.linkDown:
	case b.tripped:
		*b = Breaker{cfg: b.cfg}
	default:
		b.failures = 0
	}
}

// Failure records a request that got no answer. Closed, it counts toward
// Threshold. Half-open with a probe out, it ends the probe and doubles the wait
// (a late failure of an older request cannot be told apart, and costs one wait).
// Else it is an echo of requests sent before and says nothing new: it must not
// push the next probe away.
func (b *Breaker) Failure(now int64) {
	switch b.State(now) {
	case Closed:
		b.failures++
		if b.failures >= b.config().Threshold {
			b.open(now, 0)
		}
	case HalfOpen:
		if b.probing {
			b.open(now, b.probes+1)
		}
	}
}

func (b *Breaker) open(now int64, probes int) {
	*b = Breaker{cfg: b.cfg, tripped: true, probes: probes, until: later(now, b.config().Backoff(probes))}
}

// LinkDown records that the connection is gone: open at once, and no probe until
// LinkUp, as there is nothing to send it on. Dialling has its own backoff.
func (b *Breaker) LinkDown(now int64) {
	*b = Breaker{cfg: b.cfg, tripped: true, linkDown: true, probes: b.probes, until: now}
}

// LinkUp records that a connection stands again. The first request may go as a
// probe at once: a handshake is good news, an answer is proof. On a link that
// was not down it changes nothing.
func (b *Breaker) LinkUp(now int64) {
	if b.linkDown {
		b.linkDown, b.until = false, now
	}
}

// config serves the zero value.
func (b *Breaker) config() Config { return b.cfg.withDefaults() }

// later adds without wrapping around.
func later(now, wait int64) int64 {
	if now > math.MaxInt64-wait {
		return math.MaxInt64
	}
	return now + wait
}

// String draws the breaker, instants in ms: "closed", "closed (2 of 5 failures)",
// "open until 350ms (2 failed probes)", "open (link down)", "half-open from 350ms
// (probe out until 1350ms)". Whether a wait is over depends on the instant; see State.
func (b *Breaker) String() string {
	switch {
	case !b.tripped && b.failures == 0:
		return "closed"
	case !b.tripped:
		return fmt.Sprintf("closed (%d of %d failures)", b.failures, b.config().Threshold)
	case b.linkDown:
		return "open (link down)"
	case b.probing:
		return fmt.Sprintf("half-open from %dms (probe out until %dms)", b.until/millisecond, b.probeEnd/millisecond)
	}
	return fmt.Sprintf("open until %dms (%d failed probes)", b.until/millisecond, b.probes)
}
