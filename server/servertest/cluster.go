// Package servertest starts whole clusters inside a test: real nodes with real
// listeners on loopback, real gossip and real stores, in a directory that goes
// with them. Only commits are not synced. Examples and tests of clients share it.
package servertest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/cartwheel-db/cartwheel/replica"
	"github.com/cartwheel-db/cartwheel/server"
)

// partitions of such a cluster are few, so that it is ready within the second.
const partitions = 16

// Cluster is nodes of this process.
type Cluster struct {
	nodes []*server.Node
	dir   string
}

// Start starts nodes (N=3, R=2, W=2; as many as there are where they are fewer)
// and returns when each reaches the others, is ready in all of its partitions and
// knows how far behind it may be.
func Start(ctx context.Context, nodes int) (*Cluster, error) {
	c := &Cluster{}
	if err := c.start(ctx, nodes); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func (c *Cluster) start(ctx context.Context, nodes int) error {
	file, err := server.NewCluster()
	if err != nil {
		return err
	}
	file.Partitions = partitions
	file.Replicas, file.Read, file.Write = min(nodes, 3), min(nodes, 2), min(nodes, 2)
	if c.dir, err = os.MkdirTemp("", "cartwheel-test-"); err != nil {
		return err
	}
	const free = "127.0.0.1:0" // whichever port
	for i := range nodes {
		cfg := server.Config{
			Cluster: file, Data: filepath.Join(c.dir, fmt.Sprint("n", i+1)),
			API: free, Peer: free, Gossip: free, NoSync: true,
		}
		if i > 0 {
			cfg.Join = []string{c.nodes[0].GossipAddr()}
		}
		n, err := server.Start(ctx, cfg)
		if err != nil {
			return fmt.Errorf("start n%d: %w", i+1, err)
		}
		c.nodes = append(c.nodes, n)
	}
	for !c.ready() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d nodes are not ready: %w", nodes, ctx.Err())
		case <-time.After(5 * time.Millisecond):
		}
	}
	return nil
}

// ready tells whether every node reaches every other and has caught up.
func (c *Cluster) ready() bool {
	for _, n := range c.nodes {
		if !n.Meets(len(c.nodes)) {
			return false
		}
		for _, h := range n.Health() {
			if h.State != replica.Ready || h.Staleness.Bound == replica.Unknown {
				return false
			}
		}
	}
	return true
}

// Endpoints returns the client API addresses of all nodes, in the order in which
// they joined.
func (c *Cluster) Endpoints() []string {
	var at []string
	for _, n := range c.nodes {
		at = append(at, n.APIAddr())
	}
	return at
}

// Nodes returns the nodes, in the order in which they joined.
func (c *Cluster) Nodes() []*server.Node { return c.nodes }

// Close stops the nodes and deletes what they stored.
func (c *Cluster) Close() {
	limit, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	var all sync.WaitGroup
	for _, n := range c.nodes {
		all.Go(func() { _ = n.Close(limit) }) // the data goes in any case
	}
	all.Wait()
	if c.dir != "" {
		_ = os.RemoveAll(c.dir)
	}
}
