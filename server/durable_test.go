package server

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cartwheel-db/cartwheel/replica"
)

// gate holds commits back between their sync and whatever follows it.
type gate struct {
	shut    atomic.Bool
	waiting chan struct{} // one for each commit that waits
	open    chan struct{} // one lets one through
	syncs   atomic.Uint64
}

func newGate() *gate {
	return &gate{waiting: make(chan struct{}, 1024), open: make(chan struct{}, 1024)}
}

func (g *gate) onSync(string) {
	if g.shut.Load() {
		g.waiting <- struct{}{}
		<-g.open
	}
	g.syncs.Add(1)
}

// No acknowledgement precedes its sync: while the second of two needed syncs
// has not returned, the client has no answer; when it has, the answer comes.
func TestAWriteIsAnsweredOnlyAfterTwoNodesSyncedIt(t *testing.T) {
	gates := []*gate{newGate(), newGate(), newGate()}
	c := newGatedCluster(t, gates)
	for round := range 10 {
		request := increment(fmt.Sprint("k", round), 1)
		partition := c.nodes[0].Ring().Partition("test", fmt.Sprint("k", round))
		first := c.indexOf(c.nodes[0].Ring().Walk(partition)[0])
		for i, g := range gates {
			g.shut.Store(i != first) // only the coordinator's sync gets through
		}
		answered := make(chan replica.Result, 1)
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			res, _ := c.nodes[0].Do(ctx, request, 0)
			answered <- res
		}()
		var held *gate
		for i, g := range gates {
			if i != first {
				<-g.waiting // both others have it on disk, up to the end of the sync
				held = g
			}
		}
		select {
		case res := <-answered:
			t.Fatalf("round %d: answered %+v with one sync done of the two needed", round, res.Failure)
		default:
		}
		held.open <- struct{}{}
		select {
		case res := <-answered:
			if res.Failure != nil {
				t.Fatalf("round %d: %v", round, res.Failure)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("round %d: no answer after the second sync", round)
		}
		for _, g := range gates {
			g.shut.Store(false)
			if g != held && g != gates[first] {
				g.open <- struct{}{}
			}
		}
		c.drainGates(gates)
	}
}

// While no sync returns, any number of writes get no answer; one sync answers
// all that went into it.
func TestNoAnswerOvertakesTheSyncOfItsOwnGroupCommit(t *testing.T) {
	g := newGate()
	c := newGatedCluster(t, []*gate{g})
	g.shut.Store(true)
	const writers = 32
	answered := make(chan replica.Result, writers)
	for i := range writers {
		go func() {
			request := increment(fmt.Sprint("k", i), 1)
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			res, _ := c.nodes[0].Do(ctx, request, 0)
			answered <- res
		}()
	}
	before := g.syncs.Load()
	for done := 0; done < writers; {
		<-g.waiting
		if n := len(answered); n != 0 {
			t.Fatalf("%d answers before the sync returned", n)
		}
		g.open <- struct{}{}
		c.eventually("the sync answers what it covered", func() bool { return len(answered) > 0 })
		for moved := true; moved; {
			select {
			case res := <-answered:
				if res.Failure != nil {
					t.Fatal(res.Failure)
				}
				done++
			default:
				moved = false
			}
		}
		// What was answered while the next commit is not yet at its gate belongs to
		// the one that was let through.
		for len(g.waiting) == 0 && done < writers {
			select {
			case res := <-answered:
				if res.Failure != nil {
					t.Fatal(res.Failure)
				}
				done++
			case <-time.After(time.Millisecond):
			}
		}
	}
	g.shut.Store(false)
	if n := g.syncs.Load() - before; n >= writers {
		t.Errorf("%d syncs for %d concurrent writes: nothing was grouped", n, writers)
	}
}
