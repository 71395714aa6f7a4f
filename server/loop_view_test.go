package server

import (
	"errors"
	"testing"

	"github.com/cartwheel-db/cartwheel/replica"
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
