package bench

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	cartwheel "github.com/cartwheel-db/cartwheel/sdk"
)

// Latencies are kept in microseconds, from 1 us to 2 minutes, to 2 digits. Each client
// has a histogram, and with a third digit sixty of them would not fit into a cache: a
// twentieth of what was measured at a client was the measuring.
const (
	longest = int64(2 * time.Minute / time.Microsecond)
	digits  = 2
)

// tally counts what one client did, and then what all of them did.
type tally struct {
	kinds    map[string]*kindTally
	failures map[string]uint64 // by reason
}

type kindTally struct {
	took   *hdrhistogram.Histogram // of those that succeeded
	errors uint64
	items  uint64 // that reads gave
}

func newTally() *tally {
	return &tally{kinds: map[string]*kindTally{}, failures: map[string]uint64{}}
}

func (t *tally) kind(name string) *kindTally {
	k := t.kinds[name]
	if k == nil {
		k = &kindTally{took: hdrhistogram.New(1, longest, digits)}
		t.kinds[name] = k
	}
	return k
}

func (t *tally) note(kind string, took time.Duration, items int, err error) {
	k := t.kind(kind)
	if err != nil {
		k.errors++
		t.failures[reason(err)]++
		return
	}
	k.items += uint64(items)
	// Within the bounds it cannot fail.
	_ = k.took.RecordValue(min(max(took.Microseconds(), 1), longest))
}

func reason(err error) string {
	var failed *cartwheel.Error
	if !errors.As(err, &failed) {
		return err.Error()
	}
	text := string(failed.Reason)
	if failed.OutcomeUnknown {
		text += ", outcome unknown"
	}
	return text
}

func (t *tally) merge(other *tally) {
	for name, k := range other.kinds {
		into := t.kind(name)
		into.took.Merge(k.took)
		into.errors += k.errors
		into.items += k.items
	}
	for why, n := range other.failures {
		t.failures[why] += n
	}
}

// Operations is what was measured of one kind of operation, or of all.
type Operations struct {
	Kind    string  `json:"kind"`
	Ops     uint64  `json:"ops"` // that succeeded
	PerS    float64 `json:"ops_per_s"`
	Errors  uint64  `json:"errors"`
	Latency Latency `json:"latency_ms"`
	// PerRead is how many members or siblings a read gave on average.
	PerRead float64 `json:"items_per_read,omitempty"`
}

// Latency is a distribution in milliseconds.
type Latency struct {
	Mean float64 `json:"mean"`
	P50  float64 `json:"p50"`
	P95  float64 `json:"p95"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p99.9"`
	Max  float64 `json:"max"`
}

// summary lists the kinds in the order of the mix, and all of them together.
func (t *tally) summary(mix []share, elapsed time.Duration) (kinds []Operations, total Operations) {
	all := &kindTally{took: hdrhistogram.New(1, longest, digits)}
	for _, s := range mix {
		k := t.kind(s.kind)
		kinds = append(kinds, k.operations(s.kind, elapsed))
		all.took.Merge(k.took)
		all.errors += k.errors
	}
	return kinds, all.operations("all", elapsed)
}

func (k *kindTally) operations(kind string, elapsed time.Duration) Operations {
	ms := func(us int64) float64 { return float64(us) / 1000 }
	ops := uint64(k.took.TotalCount())
	return Operations{
		Kind: kind, Ops: ops, PerS: ratio(float64(ops), elapsed.Seconds()), Errors: k.errors,
		PerRead: ratio(float64(k.items), float64(ops)),
		Latency: Latency{
			Mean: k.took.Mean() / 1000,
			P50:  ms(k.took.ValueAtQuantile(50)), P95: ms(k.took.ValueAtQuantile(95)),
			P99: ms(k.took.ValueAtQuantile(99)), P999: ms(k.took.ValueAtQuantile(99.9)),
			Max: ms(k.took.Max()),
		},
	}
}

// Failures is how many operations failed for one reason.
type Failures struct {
	Reason string `json:"reason"`
	Ops    uint64 `json:"ops"`
}

func (t *tally) reasons() []Failures {
	list := []Failures{}
	for why, n := range t.failures {
		list = append(list, Failures{why, n})
	}
	slices.SortFunc(list, func(a, b Failures) int {
		return cmp.Or(cmp.Compare(b.Ops, a.Ops), cmp.Compare(a.Reason, b.Reason))
	})
	return list
}

// ratio is a/b, and 0 where there is no b.
func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}
