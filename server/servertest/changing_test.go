package servertest_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	cartwheel "github.com/cartwheel-db/cartwheel/sdk"
	"github.com/cartwheel-db/cartwheel/server/servertest"
)

// While members are added and others come and go, a size and a full listing are of
// a set that there may have been: all that was acknowledged before is in it, nothing
// that was not begun, and nobody twice.
func TestASetThatChangesIsSizedAndListedAsItMayHaveBeen(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	c, err := servertest.Start(ctx, 3)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	db, err := cartwheel.Open(ctx, c.Endpoints())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	sized, listed := db.Set("carts", "grows"), db.Set("carts", "moves")
	const stable, adds = 900, 400
	load(ctx, t, listed, stable)

	var begun, done atomic.Int64
	var writers sync.WaitGroup
	defer writers.Wait() // one that reports to a test that is over ends the process
	defer cancel()
	writing, stop := context.WithCancel(ctx)
	defer stop()
	writers.Go(func() {
		for i := range adds {
			begun.Add(1)
			if err := sized.Add(ctx, at(i)); err != nil {
				t.Error(err)
			}
			done.Add(1)
		}
	})
	writers.Go(func() { // around the stable members and between them
		for i := 0; writing.Err() == nil; i++ {
			visitor := fmt.Sprintf("%s-visitor", at(i%stable))
			if err := listed.Add(ctx, visitor); err != nil {
				t.Error(err)
			}
			if err := listed.Remove(ctx, visitor); err != nil {
				t.Error(err)
			}
		}
	})
	sizes, listings := 0, 0
	for done.Load() < adds && !t.Failed() {
		least := done.Load()
		size, err := sized.Size(ctx)
		if most := begun.Load(); err != nil || size < uint64(least) || size > uint64(most) {
			t.Errorf("size %d of a set that had %d members before and %d after: %v", size, least, most, err)
		}
		sizes++
		next := 0
		for m, err := range listed.Members(ctx, cartwheel.PageSize(100)) {
			if err != nil {
				t.Fatal(err)
			}
			if next < stable && m.Name == at(next) {
				next++
			} else if len(m.Name) == len(at(0)) {
				t.Fatalf("%q where %q comes next", m.Name, at(next))
			}
		}
		if next != stable {
			t.Errorf("%d of %d members that stayed are in the listing", next, stable)
		}
		listings++
	}
	stop()
	writers.Wait()
	if size, err := sized.Size(ctx); err != nil || size != adds {
		t.Errorf("at rest %d members of %d, %v", size, adds, err)
	}
	t.Logf("%d sizes and %d listings meanwhile", sizes, listings)
	if sizes < 3 {
		t.Error("nothing was read while the sets changed")
	}
}
