package server

import (
	"context"
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
	return newTestLoopOn(t, store.Options{ClusterID: "c", Node: "self", Partitions: 1, NoSync: true})
}

func newTestLoopOn(t *testing.T, o store.Options) *loop {
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
		store:   o,
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

func TestRequestsUnderWayAreBoundedAndThoseOfClientsWhoLeftCount(t *testing.T) {
	l := newTestLoop(t)
	defer closesInTime(t, l)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	two := replica.Request{Mutation: &replica.Mutation{Key: crdt.Key{Type: crdt.Counter, Bucket: "b", Name: "k"}, Verb: replica.Add, Delta: 1}, W: 2}
	read := replica.Request{Query: &replica.Query{Key: two.Mutation.Key}, R: 2}
	l.setPeer("peer", true)
	l.setLink("peer", true) // and it never answers
	l.call(func() {})       // that is known
	deadline := time.Now().Add(time.Minute)
	for i := range maxUnderWay {
		if res, _ := l.do(gone, read, 0, deadline); res.Failure == nil || res.Failure.Reason != replica.DeadlinePast {
			t.Fatalf("request %d: %+v", i, res)
		}
	}
	res, _ := l.do(t.Context(), read, 0, deadline)
	if res.Failure == nil || res.Failure.Reason != replica.Overloaded || res.Failure.Unknown {
		t.Errorf("one more than %d: %+v", maxUnderWay, res.Failure)
	}
	l.call(func() {
		if n := len(l.replies) + len(l.requests); n != maxUnderWay || l.underWay.Load() != maxUnderWay {
			t.Errorf("%d wait, %d are counted, want %d", n, l.underWay.Load(), maxUnderWay)
		}
		l.refuseAll("to make room")
	})
	l.setPeer("peer", false)
	if res, _ := l.do(t.Context(), replica.Request{Query: read.Query, R: 1}, 0, deadline); res.Failure != nil {
		t.Errorf("with room again: %v", res.Failure)
	}
}

func TestFramesOfPeersAreTakenBeforeNewRequests(t *testing.T) {
	l := newTestLoop(t)
	defer closesInTime(t, l)
	q := replica.Query{Key: crdt.Key{Type: crdt.Counter, Bucket: "b", Name: "k"}}
	var outputs []any
	l.call(func() {
		for range 10 {
			l.underWay.Add(1)
			l.requests <- input{request: replica.Request{Query: &q, R: 1}, deadline: time.Now().Add(time.Hour), reply: make(chan answer, 1)}
		}
		for range maxFrames {
			l.frames <- input{from: "peer", messages: []replica.Message{replica.Asking{ID: 1, Query: q}}}
		}
		l.shard.Outputs()
		l.drain()
		outputs = l.shard.Outputs()
		l.refuseAll("the test took their replies")
	})
	if len(outputs) != maxFrames+10 {
		t.Fatalf("%d outputs, want %d", len(outputs), maxFrames+10)
	}
	for i, o := range outputs {
		if _, send := o.(replica.Send); send != (i < maxFrames) {
			t.Fatalf("output %d is %T", i, o)
		}
	}
}

func TestAForwardThatWaitedForItsTurnHasThatMuchLessTime(t *testing.T) {
	l := newTestLoop(t)
	defer closesInTime(t, l)
	forward := func(left time.Duration) replica.Message {
		return replica.Forward{ID: 1, Left: int64(left), W: 1, Mutation: replica.Mutation{Key: crdt.Key{Type: crdt.Counter, Bucket: "b", Name: "k"}, Verb: replica.Add, Delta: 1}}
	}
	for _, test := range []struct {
		name    string
		waited  time.Duration
		expired uint64
	}{
		{"in time", time.Second, 0},
		{"its time was over while it waited", 3 * time.Second, 1},
	} {
		var coordinated, expired uint64
		l.call(func() {
			was, wasExpired := l.shard.Totals().Coordinated, l.expired.Load()
			l.take(l.now(), input{from: "peer", at: uptime() - test.waited, messages: []replica.Message{forward(2 * time.Second)}})
			coordinated, expired = l.shard.Totals().Coordinated-was, l.expired.Load()-wasExpired
		})
		if expired != test.expired || coordinated != 1-test.expired {
			t.Errorf("%s: %d coordinated, %d expired", test.name, coordinated, expired)
		}
	}
}

func TestALoopThatIsClosedInGoodOrderSavesItsTrees(t *testing.T) {
	l := newTestLoop(t)
	l.deliver("peer", 0, []replica.Message{added(100, 1)})
	for saved, deadline := false, time.Now().Add(5*time.Second); !saved; {
		l.call(func() { saved = l.shard.Totals().Applied == 1 && l.shard.Stored() != nil })
		if time.Now().After(deadline) {
			t.Fatal("the event is not stored")
		}
	}
	path, options := l.cfg.path, l.cfg.store
	closesInTime(t, l)
	s, err := store.Open(path, options)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	v, err := s.View()
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if b, err := v.Tree(0); err != nil || len(b) == 0 {
		t.Errorf("the tree has %d bytes, %v", len(b), err)
	}
}
