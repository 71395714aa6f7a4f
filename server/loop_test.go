package server

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica"
	"github.com/cartwheel-db/cartwheel/replica/store"
	"github.com/cartwheel-db/cartwheel/ring"
)

// newTestLoop starts a loop whose ring is itself and "peer", which nobody plays.
func newTestLoop(t *testing.T) *loop {
	t.Helper()
	var facts ring.Facts
	for i, id := range []ring.NodeID{"self", "peer"} {
		if _, err := facts.Add(ring.Fact{Number: uint64(i + 1), Kind: ring.Joined, Node: id, PeerAddr: string(id) + ":1", APIAddr: string(id) + ":2"}); err != nil {
			t.Fatal(err)
		}
	}
	r, err := ring.Fold(ring.Config{Partitions: 1, Replicas: 2}, facts)
	if err != nil {
		t.Fatal(err)
	}
	l, err := startLoop(loopConfig{
		path:    filepath.Join(t.TempDir(), "shard-0.db"),
		store:   store.Options{ClusterID: "c", Node: "self", Partitions: 1, NoSync: true},
		replica: replica.Config{Self: "self", R: 1, W: 1},
		ring:    r, send: func(ring.NodeID, replica.Message) {}, logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// added is a group as a peer sends it.
func added(actor dvv.Actor, seq uint64) replica.Replicate {
	key := crdt.Key{Type: crdt.Set, Bucket: "b", Name: "k"}
	g := crdt.Group{Actor: actor, First: seq, Stamp: 1, Events: []crdt.Event{{
		Row: key.Member(fmt.Sprint("m", seq)), Payload: crdt.Member{Stamp: 1}.Payload(),
	}}}
	return replica.Replicate{Batch: []replica.Shipment{{Groups: []crdt.Group{g}}}}
}

func closesInTime(t *testing.T, l *loop) {
	t.Helper()
	closed := make(chan struct{})
	go func() { defer close(closed); l.close() }()
	select {
	case <-closed:
	case <-time.After(5 * time.Second):
		t.Error("the loop does not end within 5 s")
	}
}

func TestALoopEndsWhilePeersGoOnSending(t *testing.T) {
	l := newTestLoop(t)
	var peers sync.WaitGroup
	for actor := range dvv.Actor(4) {
		peers.Go(func() {
			for seq := uint64(1); ; seq++ {
				select {
				case <-l.done:
					return
				default:
					l.deliver("peer", 0, []replica.Message{added(100+actor, seq)})
				}
			}
		})
	}
	for commits := uint64(0); commits < 5; {
		l.call(func() { commits = l.shard.Totals().Commits })
	}
	closesInTime(t, l)
	peers.Wait()
}

func TestALoopWhoseStoreDoesNotOpenAgainStillEnds(t *testing.T) {
	l := newTestLoop(t)
	failed := make(chan struct{})
	l.tell(func() {
		l.shard.Receive(l.now(), "peer", added(100, 1)) // waits for a transaction
		l.cfg.path = filepath.Join(t.TempDir(), "gone", "shard-0.db")
		close(failed)
		l.reopen(errors.New("the disk is gone"))
	})
	<-failed
	closesInTime(t, l)
}
