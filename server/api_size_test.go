package server_test

import (
	"testing"
	"time"

	"github.com/cartwheel-db/cartwheel/replica"
)

// live lets the shard do what it does by itself.
func (n *single) live(ms int64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for range ms {
		n.now.Wall++
		n.now.Mono += int64(time.Millisecond)
		n.shard.Tick(n.now)
		n.drive()
	}
}

// How a size is found: by asking for it, and by reading every page when that does
// not help.
func TestASizeIsAskedForAndReadOnlyWhereNobodyCanTell(t *testing.T) {
	for _, test := range []struct {
		name        string
		members     int
		after       int64 // ms until somebody asks
		apart       int   // answers that differ, as while writes are on their way
		asks, pages int
	}{
		{"of an absent set", 0, 0, 0, 1, 0},
		{"of a small set", 200, 0, 0, 1, 0},
		{"of a large set that nobody has summed up yet", 2500, 0, 0, 5, 3},
		{"of a large set a second later", 2500, 1000, 0, 1, 0},
		{"while replicas differ for a moment", 200, 0, 3, 4, 0},
		{"while replicas differ all the time", 2500, 1000, 1000, 5, 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := newSingle(t, 1)
			s := cart{t, serve(t, n), "sized"}
			s.addAll(numbered("m", test.members))
			n.live(test.after)
			asks, pages := 0, 0
			n.before = func(r replica.Request) {
				n.mu.Lock()
				defer n.mu.Unlock()
				n.instead = nil
				if r.Query.Span != nil {
					pages++
				} else if asks++; asks <= test.apart {
					n.instead = &replica.Result{Answers: 2, Merged: &replica.Merged{}}
				}
			}
			if got := s.size(); got != uint64(test.members) {
				t.Errorf("size %d, want %d", got, test.members)
			}
			if asks != test.asks || pages != test.pages {
				t.Errorf("asked %d times and read %d pages, want %d and %d", asks, pages, test.asks, test.pages)
			}
		})
	}
}
