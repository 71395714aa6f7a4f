package cartwheel

import (
	"math"
	"math/rand/v2"
	"sync"
	"time"
)

// throttle keeps back what an overloaded cluster would most likely refuse:
// adaptive throttling by the client (Beyer et al., "Site Reliability
// Engineering", O'Reilly 2016, chapter 21). A refusal costs a node a good part
// of an answer, so clients that retry what was refused keep a cluster down that
// could do with a moment's rest. Of late attempts it counts those wanted and
// those not refused; wanting far more than is taken, the rest is kept back
// by dice.
type throttle struct {
	mu            sync.Mutex
	wanted, taken float64 // decaying
	at            time.Time
	dice          func() float64 // from 0 to 1; nil for any
}

const (
	// overAsk is how many attempts are let through for each that is taken: enough
	// to notice soon that there is room again.
	overAsk = 2
	// atLeast is the share that is let through whatever becomes of it.
	atLeast = 0.1
	// memory is the time in which counts fall to 1/e.
	memory = time.Second
)

// allow tells whether to make an attempt now.
func (t *throttle) allow(now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.decay(now)
	dice := t.dice
	if dice == nil {
		dice = rand.Float64
	}
	if dice() < min(1-atLeast, (t.wanted-overAsk*t.taken)/(t.wanted+1)) {
		t.wanted++
		return false
	}
	return true
}

// note counts an attempt that a node answered: it took it, or it refused it for
// overload. Of nodes that say nothing nobody knows.
func (t *throttle) note(now time.Time, taken bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.decay(now)
	if t.wanted++; taken {
		t.taken++
	}
}

func (t *throttle) decay(now time.Time) {
	if passed := now.Sub(t.at); passed > 0 {
		left := math.Exp(-passed.Seconds() / memory.Seconds())
		t.wanted, t.taken, t.at = t.wanted*left, t.taken*left, now
	}
}
