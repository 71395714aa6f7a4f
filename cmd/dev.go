package cmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/cartwheel-db/cartwheel/server"
)

// Ports of the first node of a dev cluster; node i has the i-th behind them.
const (
	devAPI    = 7401
	devPeer   = 7431
	devGossip = 7461
	devNodes  = 20 // at most, so that the port ranges stay apart
)

type devConfig struct {
	data     string
	nodes    int
	logLevel string
	host     string
	apiPort  int
}

func newDevCommand() *cobra.Command {
	var cfg devConfig
	c := &cobra.Command{
		Use:   "dev",
		Short: "Run a whole cluster on this machine, to try things out",
		Long: `Run a cluster of three nodes in one process: real listeners on loopback, real
gossip, real stores on disk. Ctrl-C drains and stops; started again, the data is
there, and as many nodes as there were. The other commands talk to it without
flags, unless it listens elsewhere than by default.`,
		Example: `  cartwheel dev
  cartwheel dev --nodes 5 --data five-nodes`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(c.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			return dev(ctx, c.OutOrStdout(), c.ErrOrStderr(), cfg)
		},
	}
	f := c.Flags()
	f.StringVar(&cfg.data, "data", "cartwheel-data", "directory of the cluster's data")
	f.IntVar(&cfg.nodes, "nodes", 0, "number of nodes; 0: as many as the data has, or 3")
	f.StringVar(&cfg.logLevel, "log-level", "warn", "debug, info, warn or error")
	f.StringVar(&cfg.host, "host", "127.0.0.1", "address to listen on")
	f.IntVar(&cfg.apiPort, "port", devAPI, "client API port of the first node; peer and gossip ports lie 30 and 60 above")
	return c
}

func dev(ctx context.Context, out, logs io.Writer, cfg devConfig) error {
	if err := cfg.count(); err != nil {
		return err
	}
	logger, err := newLogger(logs, cfg.logLevel)
	if err != nil {
		return err
	}
	cluster, err := devCluster(filepath.Join(cfg.data, "cluster.yaml"))
	if err != nil {
		return err
	}
	collectLater()
	var nodes []*server.Node
	var addrs []string
	defer func() { stopAll(ctx, nodes) }()
	for i := range cfg.nodes {
		at := func(base int) string { return fmt.Sprintf("%s:%d", cfg.host, base+cfg.apiPort-devAPI+i) }
		c := server.Config{
			Cluster: cluster, Data: cfg.dir(i),
			API: at(devAPI), Peer: at(devPeer), Gossip: at(devGossip), Logger: logger,
			Origins: server.LoopbackOrigins, // to try it out from a page
		}
		if len(nodes) > 0 {
			c.Join = []string{nodes[0].GossipAddr()}
		}
		n, err := server.Start(ctx, c)
		var departed *server.DepartedError
		if errors.As(err, &departed) {
			fmt.Fprintf(out, "n%d  %s  left this cluster and is not started\n", i+1, departed.Node)
			continue
		}
		if err != nil {
			return fmt.Errorf("node n%d: %w", i+1, err)
		}
		nodes, addrs = append(nodes, n), append(addrs, n.APIAddr())
		fmt.Fprintf(out, "n%d  %s  api http://%s  data %s\n", i+1, n.ID(), n.APIAddr(), c.Data)
	}
	if len(nodes) == 0 {
		return fmt.Errorf("dev: all nodes in %s left their cluster: delete it to begin anew", cfg.data)
	}
	if err := meet(ctx, nodes); err != nil {
		return err
	}
	catchUp(ctx, nodes)
	fmt.Fprintf(out, devHints, len(nodes), cluster.Replicas, cluster.Read, cluster.Write, elsewhere(addrs), addrs[0])
	<-ctx.Done()
	fmt.Fprintln(out, "\ndraining")
	return nil
}

// count settles how many nodes to start. A member that the data knows and that
// stays away would be waited for, and would be missing in quorums.
func (cfg *devConfig) count() error {
	had := 0
	for had < devNodes {
		if _, err := os.Stat(cfg.dir(had)); err != nil {
			break
		}
		had++
	}
	switch {
	case cfg.nodes == 0:
		cfg.nodes = cmp.Or(had, 3)
	case cfg.nodes < 1 || cfg.nodes > devNodes:
		return usagef("dev: --nodes %d: from 1 to %d are possible", cfg.nodes, devNodes)
	case cfg.nodes < had:
		return usagef("dev: --nodes %d: the cluster in %s has %d; members leave by cartwheel members leave", cfg.nodes, cfg.data, had)
	}
	if last := cfg.apiPort + devGossip - devAPI + cfg.nodes - 1; cfg.apiPort < 1 || last > math.MaxUint16 {
		return usagef("dev: --port %d: the ports are %d to %d, and must lie within 1 to %d", cfg.apiPort, cfg.apiPort, last, math.MaxUint16)
	}
	return nil
}

// dir is where the i-th node keeps its data, from 0.
func (cfg *devConfig) dir(i int) string {
	return filepath.Join(cfg.data, fmt.Sprintf("n%d", i+1))
}

// elsewhere is what to type before the hints where the other commands would not
// find this cluster by themselves.
func elsewhere(addrs []string) string {
	if slices.Contains(defaultEndpoints, "http://"+addrs[0]) {
		return ""
	}
	return "\n  export " + endpointsVariable + "=" + strings.Join(addrs, ",") + "\n"
}

// catchUp waits until every node has caught up, so that the first read is not
// degraded. Nodes that take longer than a person likes to wait do so while they
// serve.
func catchUp(ctx context.Context, nodes []*server.Node) {
	limit, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for _, n := range nodes {
		for n.Snapshot().State != server.Ready {
			select {
			case <-limit.Done():
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}
}

// meet waits until every node knows and reaches all others: from then on any
// quorum can be had at any of them.
func meet(ctx context.Context, nodes []*server.Node) error {
	members := 0
	for _, n := range nodes {
		if !n.Ring().HasDeparted(n.ID()) {
			members++
		}
	}
	for _, n := range nodes {
		for !n.Meets(members) {
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-time.After(5 * time.Millisecond):
			}
		}
	}
	return nil
}

const devHints = `
%d nodes are up, N=%d R=%d W=%d. In another terminal, with "go run ." for cartwheel:
%s
  cartwheel set add carts/42 milk eggs
  cartwheel set members carts/42
  cartwheel counter add likes/page-1 3
  cartwheel status
  curl -H 'Content-Type: application/json' -d '{"bucket":"carts","key":"42"}' http://%s/cartwheel.v1.SetService/Members

Ctrl-C stops; the data stays.
`

// devCluster reads the cluster file, or writes one for a new cluster.
func devCluster(path string) (server.Cluster, error) {
	c, err := server.ReadCluster(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return c, err
	}
	if c, err = server.NewCluster(); err != nil {
		return server.Cluster{}, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return server.Cluster{}, err
	}
	return c, server.WriteCluster(path, c)
}

// stopAll drains all nodes at once.
func stopAll(ctx context.Context, nodes []*server.Node) {
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	var all sync.WaitGroup
	for _, n := range nodes {
		all.Go(func() { _ = n.Close(limit) })
	}
	all.Wait()
}
