package bench

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// Kinds of operation, as reports name them.
const (
	addMember    = "add"
	removeMember = "remove"
	increment    = "increment"
	ask          = "contains"
	update       = "update"
	read         = "read"
)

// workload is a mix of operations on one type of value.
type workload struct {
	name   string
	about  string
	bucket string
	mix    []share
}

type share struct {
	kind    string
	percent int
}

// A cart draws its members from a shelf, adds five times as often as it
// removes, and so settles with 5/6 of the shelf in it.
const (
	shelf    = 24
	cartSize = shelf * 5 / 6
)

var workloads = []workload{
	{"cart", fmt.Sprintf("sets of about %d members", cartSize), "bench-cart", []share{{addMember, 50}, {removeMember, 10}, {read, 40}}},
	{"counter", "counters", "bench-counter", []share{{increment, 80}, {read, 20}}},
	{"counter-get", "counters, only read", "bench-counter", []share{{read, 100}}},
	{"contains", fmt.Sprintf("sets of about %d members, asked for one", cartSize), "bench-cart", []share{{ask, 100}}},
	{"blob-a", "blobs, written as often as read", "bench-blob", []share{{update, 50}, {read, 50}}},
	{"blob-b", "blobs, mostly read", "bench-blob", []share{{update, 5}, {read, 95}}},
}

// Workloads names the workloads.
func Workloads() []string {
	var names []string
	for _, w := range workloads {
		names = append(names, w.name)
	}
	return names
}

func findWorkload(name string) (workload, error) {
	i := slices.IndexFunc(workloads, func(w workload) bool { return w.name == name })
	if i < 0 {
		return workload{}, fmt.Errorf("workload %q: want %s", name, strings.Join(Workloads(), ", "))
	}
	return workloads[i], nil
}

// String is the mix in words: "cart: 50 % add, 10 % remove, 40 % read; ...".
func (w workload) String() string {
	var parts []string
	for _, s := range w.mix {
		parts = append(parts, fmt.Sprintf("%d %% %s", s.percent, s.kind))
	}
	return fmt.Sprintf("%s: %s; %s", w.name, strings.Join(parts, ", "), w.about)
}

// step is one operation to carry out.
type step struct {
	kind   string
	key    int
	member int // of a cart
}

// generator draws the steps of one client. The same seed and client give the
// same steps.
type generator struct {
	dice *rand.Rand
	keys *zipf
	mix  []share
}

func newGenerator(w workload, keys *zipf, seed uint64, client int) *generator {
	return &generator{dice: rand.New(rand.NewPCG(seed, uint64(client))), keys: keys, mix: w.mix}
}

func (g *generator) next() step {
	s := step{key: g.keys.rank(g.dice.Float64()), member: g.dice.IntN(shelf)}
	drawn := g.dice.IntN(100)
	for _, share := range g.mix {
		s.kind = share.kind
		if drawn -= share.percent; drawn < 0 {
			break
		}
	}
	return s
}
