package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/replica"
	"github.com/cartwheel-db/cartwheel/ring"
)

// cluster is real nodes on loopback, in this process.
type cluster struct {
	t     *testing.T
	file  Cluster
	dir   string
	nodes []*Node
	gates []*gate
}

func newTestCluster(t *testing.T, nodes int) *cluster {
	t.Helper()
	return newGatedCluster(t, make([]*gate, nodes))
}

// newGatedCluster starts a node for each gate; nil is no gate.
func newGatedCluster(t *testing.T, gates []*gate) *cluster {
	t.Helper()
	nodes := len(gates)
	file, err := NewCluster()
	if err != nil {
		t.Fatal(err)
	}
	file.Partitions = 16
	c := &cluster{t: t, file: file, dir: t.TempDir(), gates: gates}
	if nodes < file.Write {
		c.file.Replicas, c.file.Read, c.file.Write = nodes, nodes, nodes
	}
	for i := range nodes {
		c.nodes = append(c.nodes, nil)
		c.start(i)
	}
	c.eventually("every node knows the whole ring and reaches every other", func() bool {
		for _, n := range c.nodes {
			var told int // the loop hears of a ring a little later
			n.loop.call(func() { told = len(n.loop.ring.Members()) })
			if told != nodes {
				return false
			}
			for _, m := range n.Ring().Members() {
				if !n.Reachable(m.ID) {
					return false
				}
			}
		}
		return true
	})
	return c
}

func (c *cluster) config(i int) Config {
	cfg := Config{
		Cluster: c.file, Data: filepath.Join(c.dir, fmt.Sprint("n", i)),
		API: "127.0.0.1:0", Peer: "127.0.0.1:0", Gossip: "127.0.0.1:0", NoSync: true,
		JoinTimeout: 10 * time.Second, Logger: slog.New(slog.DiscardHandler),
	}
	if i < len(c.gates) && c.gates[i] != nil {
		cfg.onSync, cfg.NoSync = c.gates[i].onSync, false
	}
	for j, n := range c.nodes {
		if j != i && n != nil && len(cfg.Join) == 0 {
			cfg.Join = []string{n.GossipAddr()}
		}
	}
	return cfg
}

func (c *cluster) start(i int) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	n, err := Start(ctx, c.config(i))
	if err != nil {
		c.t.Fatalf("start n%d: %v", i, err)
	}
	c.nodes[i] = n
	c.t.Cleanup(func() { c.stop(i) })
}

func (c *cluster) stop(i int) {
	n := c.nodes[i]
	if n == nil {
		return
	}
	c.nodes[i] = nil
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := n.Close(ctx); err != nil {
		c.t.Errorf("stop n%d: %v", i, err)
	}
}

func (c *cluster) eventually(what string, holds func() bool) {
	c.t.Helper()
	for until := time.Now().Add(20 * time.Second); time.Now().Before(until); time.Sleep(5 * time.Millisecond) {
		if holds() {
			return
		}
	}
	c.t.Fatalf("not within 20 s: %s", what)
}

func (c *cluster) do(i int, r replica.Request) replica.Result {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	res, _ := c.nodes[i].Do(ctx, r, 0)
	return res
}

func (c *cluster) mustDo(i int, r replica.Request) replica.Result {
	c.t.Helper()
	res := c.do(i, r)
	if res.Failure != nil {
		c.t.Fatalf("at n%d: %v", i, res.Failure)
	}
	return res
}

func increment(key string, delta int64) replica.Request {
	return replica.Request{Mutation: &replica.Mutation{Key: crdt.Key{Type: crdt.Counter, Bucket: "test", Name: key}, Verb: replica.Add, Delta: delta}}
}

func (c *cluster) counter(i int, key string) int64 {
	c.t.Helper()
	res := c.mustDo(i, replica.Request{Query: &replica.Query{Key: crdt.Key{Type: crdt.Counter, Bucket: "test", Name: key}}})
	tally, err := res.Merged.Row("").Tally()
	if err != nil {
		c.t.Fatal(err)
	}
	v, _ := tally.Value()
	return v
}

func TestWhatOneNodeAcknowledgedEveryNodeReads(t *testing.T) {
	c := newTestCluster(t, 3)
	for i := range 60 {
		c.mustDo(i%3, increment(fmt.Sprint("k", i%10), int64(i)))
	}
	for i := range c.nodes {
		for k := range 10 {
			want := int64(0)
			for j := k; j < 60; j += 10 {
				want += int64(j)
			}
			if got := c.counter(i, fmt.Sprint("k", k)); got != want {
				t.Errorf("k%d at n%d: %d, want %d", k, i, got, want)
			}
		}
	}
}

func TestAClusterServesWithOneNodeDownAndTheNodeCatchesUp(t *testing.T) {
	c := newTestCluster(t, 3)
	c.mustDo(0, increment("likes", 1))
	c.stop(2)
	for i := range 20 {
		c.mustDo(i%2, increment("likes", 10))
	}
	c.start(2)
	key := crdt.Key{Type: crdt.Counter, Bucket: "test", Name: "likes"}
	c.eventually("the clocks of all three are equal again", func() bool {
		p := c.nodes[0].Ring().Partition(key.Bucket, key.Name)
		var prints []string
		for _, n := range c.nodes {
			n.loop.call(func() {
				clock, _, err := n.loop.shard.Durable(p)
				prints = append(prints, fmt.Sprint(clock, err))
			})
		}
		return prints[0] == prints[1] && prints[1] == prints[2]
	})
	for i := range c.nodes {
		if got := c.counter(i, "likes"); got != 201 {
			t.Errorf("at n%d: %d, want 201", i, got)
		}
	}
}

func TestASideWithTooFewNodesRefusesUnlessOneCopyIsEnough(t *testing.T) {
	c := newTestCluster(t, 3)
	c.mustDo(0, increment("likes", 1))
	c.stop(1)
	c.stop(2)
	c.eventually("the last node sees that it is alone", func() bool {
		n := c.nodes[0]
		for _, m := range n.Ring().Members() {
			if m.ID != n.ID() && n.Reachable(m.ID) {
				return false
			}
		}
		return true
	})
	res := c.do(0, increment("likes", 1))
	if res.Failure == nil || res.Failure.Reason != replica.NoQuorum || res.Failure.Needed != 2 || res.Failure.Unknown {
		t.Fatalf("a write with W=2 on the last node: %+v, want a refusal that names 2 and knows that nothing was written", res.Failure)
	}
	one := increment("likes", 1)
	one.W = 1
	c.mustDo(0, one)
	fast := replica.Request{Query: &replica.Query{Key: one.Mutation.Key}, R: 1}
	if tally, err := c.mustDo(0, fast).Merged.Row("").Tally(); err != nil || fmt.Sprint(tally.Exact()) != "2" {
		t.Errorf("a fast read after it: %v, %v, want 2", tally.Exact(), err)
	}
	c.start(1)
	c.start(2)
	for i := range c.nodes {
		c.eventually("the others learn what the last node took alone", func() bool {
			res := c.do(i, replica.Request{Query: fast.Query})
			if res.Failure != nil {
				return false // the ring is still coming together
			}
			tally, err := res.Merged.Row("").Tally()
			return err == nil && fmt.Sprint(tally.Exact()) == "2"
		})
	}
}

func TestANodeOfAnotherShapeOrClusterIsRefusedWithBothValues(t *testing.T) {
	c := newTestCluster(t, 1)
	other, err := NewCluster()
	if err != nil {
		t.Fatal(err)
	}
	wide := c.file
	wide.Partitions = 64
	for name, tc := range map[string]struct {
		file Cluster
		want []string
	}{
		"another number of partitions": {wide, []string{"16", "64"}},
		"another cluster":              {other, []string{other.ID, c.file.ID}},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := c.config(1)
			cfg.Cluster, cfg.Data = tc.file, t.TempDir()
			_, err := Start(context.Background(), cfg)
			if err == nil {
				t.Fatal("it joined")
			}
			for _, w := range tc.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q does not name %s", err, w)
				}
			}
		})
	}
	t.Run("a data directory of another cluster", func(t *testing.T) {
		c.stop(0)
		cfg := c.config(0)
		cfg.Cluster = other
		_, err := Start(context.Background(), cfg)
		var wrong *IdentityError
		if !errors.As(err, &wrong) || wrong.Found != c.file.ID || wrong.Want != other.ID {
			t.Fatalf("got %v, want a refusal with both ids", err)
		}
	})
}

func TestOnlyAnEmptyNodeMayJoin(t *testing.T) {
	c := newTestCluster(t, 1)
	alone := c.config(7)
	alone.Join = nil
	n, err := Start(context.Background(), alone)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := n.Close(ctx); err != nil {
		t.Fatal(err)
	}
	_, err = Start(context.Background(), c.config(7))
	if err == nil || !strings.Contains(err.Error(), "only an empty node may join") {
		t.Fatalf("a node that was a cluster of its own joined: %v", err)
	}
}

func TestFiveNodesAgreeOnTheRing(t *testing.T) {
	c := newTestCluster(t, 5)
	for i := range 40 {
		c.mustDo(i%5, increment(fmt.Sprint("k", i), 1))
	}
	c.eventually("nobody stores what it does not own", func() bool {
		for _, n := range c.nodes {
			if n.Snapshot().HandingOff > 0 {
				return false
			}
		}
		return true
	})
	hashes := map[uint64][]ring.NodeID{}
	for _, n := range c.nodes {
		hashes[n.Ring().Hash()] = append(hashes[n.Ring().Hash()], n.ID())
	}
	if len(hashes) != 1 {
		t.Errorf("rings differ: %v", hashes)
	}
	for i := range 40 {
		if got := c.counter((i+2)%5, fmt.Sprint("k", i)); got != 1 {
			t.Errorf("k%d: %d, want 1", i, got)
		}
	}
}

func (c *cluster) indexOf(id ring.NodeID) int {
	c.t.Helper()
	for i, n := range c.nodes {
		if n.ID() == id {
			return i
		}
	}
	c.t.Fatalf("no node %s", id)
	return -1
}
