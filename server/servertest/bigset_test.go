package servertest_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	cartwheel "github.com/cartwheel-db/cartwheel/sdk"
	"github.com/cartwheel-db/cartwheel/server/servertest"
)

var bigset = flag.Int("bigset", 100_000, "members of the large set of BenchmarkBigSet")

const member = "member-%07d"

func at(i int) string { return fmt.Sprintf(member, i) }

// load makes a set of n members.
func load(ctx context.Context, tb testing.TB, set *cartwheel.Set, n int) {
	tb.Helper()
	for from := 0; from < n; from += 1000 {
		members := make([]string, min(1000, n-from))
		for i := range members {
			members[i] = at(from + i)
		}
		if err := set.Add(ctx, members...); err != nil {
			tb.Fatal(err)
		}
	}
}

// cpu is what the process has used, in nanoseconds: client and nodes.
func cpu() int64 {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return u.Utime.Nano() + u.Stime.Nano()
}

// What a set of 1,000 and a large one cost, through client, three nodes and their
// stores, in one cluster: N=3, R=2, W=2, without fsync.
func BenchmarkBigSet(b *testing.B) {
	ctx := b.Context()
	c, err := servertest.Start(ctx, 3)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	db, err := cartwheel.Open(ctx, c.Endpoints())
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	sizes := []int{1000, *bigset}
	sets := map[int]*cartwheel.Set{}
	for _, n := range sizes {
		sets[n] = db.Set("bench", fmt.Sprint("of-", n))
		began := time.Now()
		load(ctx, b, sets[n], n)
		b.Logf("%d members took %v", n, time.Since(began))
		told := 0
		for began = time.Now(); told < 5; { // all have summed it up, when nobody needs long any more
			asked := time.Now()
			if size, err := sets[n].Size(ctx); err != nil || size != uint64(n) {
				b.Fatal(size, err)
			}
			if told++; time.Since(asked) > 30*time.Millisecond {
				told = 0
			}
		}
		b.Logf("%d members: the size was told without reading after %v", n, time.Since(began))
	}
	page := func(set *cartwheel.Set, want int, options ...cartwheel.ListOption) error {
		for page, err := range set.Pages(ctx, append(options, cartwheel.PageSize(100))...) {
			if err == nil && len(page.Members) != want {
				err = fmt.Errorf("%d members, want %d", len(page.Members), want)
			}
			return err
		}
		return nil
	}
	dice := rand.New(rand.NewPCG(1, 2))
	for _, op := range []struct {
		name string
		do   func(set *cartwheel.Set, n int) error
	}{
		{"add", func(set *cartwheel.Set, n int) error { return set.Add(ctx, at(dice.IntN(n))) }},
		{"contains", func(set *cartwheel.Set, n int) error {
			found, err := set.Contains(ctx, at(dice.IntN(n)))
			if err == nil && !found {
				err = fmt.Errorf("not found")
			}
			return err
		}},
		{"contains-1000", func(set *cartwheel.Set, n int) error {
			members := make([]string, 1000)
			from := dice.IntN(n)
			for i := range members {
				members[i] = at((from + i*7919) % n) // all over it, each once
			}
			found, _, err := set.ContainsEach(ctx, members...)
			if err == nil && slices.Contains(found, false) {
				err = fmt.Errorf("not found")
			}
			return err
		}},
		{"page", func(set *cartwheel.Set, n int) error { return page(set, 100) }},
		{"page-from", func(set *cartwheel.Set, n int) error {
			return page(set, 100, cartwheel.Between(at(dice.IntN(n-100)), ""))
		}},
		{"page-range", func(set *cartwheel.Set, n int) error {
			from := dice.IntN(n - 100)
			return page(set, 100, cartwheel.Between(at(from), at(from+100)))
		}},
		{"page-prefix", func(set *cartwheel.Set, n int) error {
			return page(set, 100, cartwheel.Prefix(at(100 * dice.IntN(n/100))[:len(at(0))-2]))
		}},
		{"size", func(set *cartwheel.Set, n int) error {
			size, err := set.Size(ctx)
			if err == nil && size != uint64(n) {
				err = fmt.Errorf("size %d, want %d", size, n)
			}
			return err
		}},
	} {
		for _, n := range sizes {
			b.Run(fmt.Sprintf("%s/members=%d", op.name, n), func(b *testing.B) {
				before := cpu()
				for b.Loop() {
					if err := op.do(sets[n], n); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(cpu()-before)/1e3/float64(b.N), "cpu-us/op")
			})
		}
	}
	for _, n := range sizes {
		began, before, peak, seen := time.Now(), cpu(), uint64(0), 0
		for m, err := range sets[n].Members(ctx) {
			if err != nil || m.Name != at(seen) {
				b.Fatalf("%q after %d members, %v", m.Name, seen, err)
			}
			if seen++; seen%(n/10) == 0 {
				runtime.GC()
				var mem runtime.MemStats
				runtime.ReadMemStats(&mem)
				peak = max(peak, mem.HeapAlloc)
			}
		}
		if seen != n {
			b.Fatalf("%d members of %d", seen, n)
		}
		b.Logf("all %d members: %v, %.2f us of CPU a member, at most %.1f MB of heap in client and nodes together",
			n, time.Since(began), float64(cpu()-before)/1e3/float64(n), float64(peak)/1e6)
	}
}
