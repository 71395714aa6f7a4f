package server

import (
	"errors"
	"os"
	"testing"
	"time"

	"github.com/cartwheel-db/cartwheel/replica"
	"github.com/cartwheel-db/cartwheel/replica/store"
)

func TestAllReadsBetweenTwoCommitsShareAView(t *testing.T) {
	l := newTestLoop(t)
	defer closesInTime(t, l)
	var first, second, within, later, afterwards, afterFailure replica.View
	look := func(at *replica.View) func(replica.View) error {
		return func(v replica.View) error { *at = v; return nil }
	}
	l.call(func() {
		_ = l.read(look(&first))
		_ = l.read(func(v replica.View) error { second = v; return l.read(look(&within)) })
	})
	l.call(func() {
		_ = l.read(look(&later))
	})
	l.deliver("peer", 0, []replica.Message{added(100, 1)})
	for committed := false; !committed; {
		l.call(func() { committed = l.shard.Totals().Commits > 0 })
	}
	l.call(func() {
		_ = l.read(look(&afterwards))
		if err := l.read(func(replica.View) error { return errors.New("a damaged row") }); err == nil {
			t.Error("an error of a read is lost")
		}
		_ = l.read(look(&afterFailure))
	})
	switch {
	case first == nil || first != second:
		t.Error("two reads of a turn have a view each")
	case later != first:
		t.Error("the next turn has a view of its own, although nothing was committed")
	case within == first:
		t.Error("a read within a read uses the view that is being read")
	case afterwards == first:
		t.Error("a view lasts from before a commit to after it")
	case afterFailure == afterwards:
		t.Error("a view that met an error is used again")
	}
}

func TestWhoeverHearsOfACommitReadsWhatItWrote(t *testing.T) {
	l := newTestLoop(t)
	defer closesInTime(t, l)
	l.deliver("peer", 0, []replica.Message{added(100, 1)})
	for told := false; !told; {
		l.call(func() {
			_ = l.read(func(replica.View) error { return nil }) // opens a view
			if told = l.shard.Totals().Commits > 0; !told {
				return
			}
			_ = l.read(func(v replica.View) error {
				if c, _, err := v.Clock(0); err != nil || c.Count() != 1 {
					t.Errorf("the shard was told of a commit that its reads do not show: %v, %v", c, err)
				}
				return nil
			})
		})
	}
}

// A node that only reads has no commit that would find it out.
func TestAStoreThatFailedIsOpenedAgainAlthoughNobodyWritesAndReadersPassOverTheError(t *testing.T) {
	l := newTestLoop(t)
	defer closesInTime(t, l)
	l.deliver("peer", 0, []replica.Message{added(100, 1)})
	for committed := false; !committed; {
		l.call(func() { committed = l.shard.Totals().Commits > 0 })
	}
	l.call(func() {
		_ = l.read(func(replica.View) error { return nil }) // opens a view
		if err := os.Truncate(l.cfg.path, 0); err != nil {
			t.Error(err)
		}
		if err := l.read(func(v replica.View) error {
			if _, _, err := v.Clock(0); err == nil {
				t.Error("what is not there any more is read")
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
	})
	for until := time.Now().Add(5 * time.Second); l.reopens.Load() == 0; l.call(func() {}) {
		if time.Now().After(until) {
			t.Fatal("the store failed, and is not opened again")
		}
	}
	l.call(func() {
		if err := l.read(func(replica.View) error { return nil }); err != nil {
			t.Errorf("the store that was opened instead: %v", err)
		}
	})
}

// A map that has to grow waits for all views, the loop's too.
func TestALoopHoldsNoViewWhileItsCommitMayOutgrowTheMap(t *testing.T) {
	l := newTestLoopOn(t, store.Options{ClusterID: "c", Node: "self", Partitions: 1, NoSync: true, MapSize: 1 << 15})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for seq := range uint64(200) {
			held, err := l.store.View() // so that there is a turn, and a read, while the commit is under way
			if err != nil {
				t.Error(err)
				return
			}
			l.deliver("peer", 0, []replica.Message{added(100, seq+1)})
			for range 3 {
				l.call(func() { _ = l.read(func(replica.View) error { return nil }) })
			}
			if err := held.Close(); err != nil {
				t.Error(err)
			}
			for committed := false; !committed; {
				l.call(func() { committed = l.shard.Totals().Commits > seq })
			}
		}
	}()
	select {
	case <-ended:
		closesInTime(t, l)
	case <-time.After(20 * time.Second):
		t.Error("loop and commit wait for each other")
	}
}
