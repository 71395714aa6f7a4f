package servertest_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"sync"
	"testing"
	"time"

	cartwheel "github.com/cartwheel-db/cartwheel/sdk"
	"github.com/cartwheel-db/cartwheel/server/servertest"
)

func TestAStartedClusterServesFreshReadsAtOnceAndLeavesNothingBehind(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	c, err := servertest.Start(ctx, 3)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var info cartwheel.Info
	for _, endpoint := range c.Endpoints() {
		db, err := cartwheel.Open(ctx, []string{endpoint}, cartwheel.WithoutRouting())
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		set := db.Set("carts", "42").With(cartwheel.Report(&info), cartwheel.MaxStaleness(30*time.Second))
		if err := set.Add(ctx, "milk"); err != nil {
			t.Errorf("%s: %v", endpoint, err)
		}
		if in, err := set.Contains(ctx, "milk"); err != nil || !in || info.Degraded {
			t.Errorf("%s: contains %v, degraded %v, %v", endpoint, in, info.Degraded, err)
		}
	}
	c.Close()
	if left, err := os.ReadDir(os.Getenv("TMPDIR")); err != nil && !errors.Is(err, fs.ErrNotExist) || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// Close may be called by a test, by what it deferred, and by who gave up waiting for it.
func TestAClusterThatIsClosedByManyAtOnceIsClosedOnce(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	c, err := servertest.Start(ctx, 3)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(c.Close)
	}
	all.Wait()
	for i, n := range c.Nodes() {
		if err := n.Close(ctx); err != nil {
			t.Errorf("n%d closed once more: %v", i+1, err)
		}
	}
	if left, err := os.ReadDir(os.Getenv("TMPDIR")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestAClusterThatHasNoTimeToStartIsAnError(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if c, err := servertest.Start(ctx, 3); err == nil {
		c.Close()
		t.Error("it started")
	}
}
