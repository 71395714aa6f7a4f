package server

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cartwheel-db/cartwheel/replica"
)

// gate holds commits back between their sync and whatever follows it. A node has
// commits of its own beside those of clients: marks, trees, logs that are
// trimmed. They are held like the others.
type gate struct {
	mu     sync.Mutex
	opened chan struct{} // closed when it stands open; nil if it was never shut
	held   atomic.Int64  // commits that wait now
	syncs  atomic.Uint64
}

func (g *gate) onSync(string) {
	g.mu.Lock()
	opened := g.opened
	g.mu.Unlock()
	if opened != nil {
		g.held.Add(1)
		<-opened
		g.held.Add(-1)
	}
	g.syncs.Add(1)
}

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.opened = make(chan struct{})
}

// open lets go what waits, and then all that comes.
func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.opened != nil {
		close(g.opened)
		g.opened = nil
	}
}

// pass lets go what waits, and holds what comes.
func (g *gate) pass() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.opened)
	g.opened = make(chan struct{})
}

// lets go what still waits, so that the nodes can stop.
func openAll(t *testing.T, gates []*gate) {
	t.Cleanup(func() {
		for _, g := range gates {
			g.open()
		}
	})
}

// No acknowledgement precedes its sync: while the second of two needed syncs
// has not returned, the client has no answer; when it has, the answer comes.
func TestAWriteIsAnsweredOnlyAfterTwoNodesSyncedIt(t *testing.T) {
	gates := []*gate{{}, {}, {}}
	c := newGatedCluster(t, gates)
	openAll(t, gates)
	for round := range 10 {
		request := increment(fmt.Sprint("k", round), 1)
		partition := c.nodes[0].Ring().Partition("test", fmt.Sprint("k", round))
		first := c.indexOf(c.nodes[0].Ring().Walk(partition)[0])
		for i, g := range gates {
			if i != first { // only the coordinator's sync gets through
				g.shut()
			}
		}
		answered := make(chan replica.Result, 1)
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			res, _ := c.nodes[0].Do(ctx, request, 0)
			answered <- res
		}()
		before := gates[first].syncs.Load()
		c.eventually("one of the syncs that are needed has returned, and the others wait", func() bool {
			waiting := 0
			for _, g := range gates {
				waiting += int(g.held.Load())
			}
			return waiting == 2 && gates[first].syncs.Load() > before
		})
		select {
		case res := <-answered:
			t.Fatalf("round %d: answered %+v with one sync done of the two needed", round, res.Failure)
		default:
		}
		gates[(first+1)%3].open()
		select {
		case res := <-answered:
			if res.Failure != nil {
				t.Fatalf("round %d: %v", round, res.Failure)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("round %d: no answer after the second sync", round)
		}
		gates[(first+2)%3].open()
	}
}

// durableEvents counts the events that a node shows as committed.
func (c *cluster) durableEvents(i int) (n uint64) {
	l := c.nodes[i].loop
	l.call(func() {
		for p := range l.ring.Config().Partitions {
			if clock, _, err := l.shard.Durable(p); err == nil {
				n += clock.Count()
			}
		}
	})
	return n
}

// While no sync returns, any number of writes get no answer; one sync answers
// all that went into it.
func TestNoAnswerOvertakesTheSyncOfItsOwnGroupCommit(t *testing.T) {
	g := &gate{}
	c := newGatedCluster(t, []*gate{g})
	openAll(t, []*gate{g})
	g.shut()
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
		c.eventually("a sync waits", func() bool { return g.held.Load() == 1 || done+len(answered) == writers })
		if synced := c.durableEvents(0); uint64(done+len(answered)) > synced {
			t.Fatalf("%d answers, and the syncs that have returned hold %d events", done+len(answered), synced)
		}
		passed := g.syncs.Load()
		g.pass()
		c.eventually("the sync returns", func() bool { return g.syncs.Load() > passed || done+len(answered) == writers })
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
	}
	if n := g.syncs.Load() - before; n >= writers {
		t.Errorf("%d syncs for %d concurrent writes: nothing was grouped", n, writers)
	}
}
