package cmd

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/cartwheel-db/cartwheel/server"
)

// drainTime bounds how long a node takes to stop.
const drainTime = 4 * time.Second

func newServeCommand() *cobra.Command {
	var cfg server.Config
	var clusterFile, logLevel string
	c := &cobra.Command{
		Use:   "serve",
		Short: "Run one node",
		Long: `Run one node of a cluster until it is told to stop (SIGINT, SIGTERM), then drain
and exit.

The first node of a cluster starts without --join. Each further node starts with
an empty data directory and --join: that is the act that makes it a member. A
node that was started once finds the others again by itself.`,
		Example: `  cartwheel serve --cluster cluster.yaml --data n1 --api 127.0.0.1:7401 --peer 127.0.0.1:7411 --gossip 127.0.0.1:7421
  cartwheel serve --cluster cluster.yaml --data n2 --api 127.0.0.1:7402 --peer 127.0.0.1:7412 --gossip 127.0.0.1:7422 --join 127.0.0.1:7421`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			for _, at := range cfg.Join {
				if _, _, err := net.SplitHostPort(at); err != nil {
					return usagef("serve: --join %q: want host:port", at)
				}
			}
			if host, _, err := net.SplitHostPort(cfg.Peer); err == nil && (host == "" || net.ParseIP(host).IsUnspecified()) {
				return usagef("serve: --peer %q: want the address that other nodes reach, not that of every interface", cfg.Peer)
			}
			for _, origin := range cfg.Origins {
				if err := server.CheckOrigin(origin); err != nil {
					return usagef("serve: --cors-origin: %v", err)
				}
			}
			cluster, err := server.ReadCluster(clusterFile)
			if err != nil {
				return err
			}
			cfg.Cluster = cluster
			if cfg.Logger, err = newLogger(c.ErrOrStderr(), logLevel); err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(c.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			return serve(ctx, c.OutOrStdout(), cfg)
		},
	}
	f := c.Flags()
	f.StringVar(&clusterFile, "cluster", "cluster.yaml", "cluster `file`, from cartwheel init")
	f.StringVar(&cfg.Data, "data", "", "directory of this node's data (required)")
	f.StringVar(&cfg.API, "api", "127.0.0.1:7401", "host:port of the client API")
	f.StringVar(&cfg.Peer, "peer", "127.0.0.1:7411", "host:port of the link to other nodes")
	f.StringVar(&cfg.Gossip, "gossip", "127.0.0.1:7421", "host:port of gossip, UDP and TCP")
	f.StringSliceVar(&cfg.Join, "join", nil, "gossip addresses of members; only for a node without data")
	f.StringVar(&cfg.Zone, "zone", "", "failure zone; owners of a partition are spread over zones")
	f.Uint32Var(&cfg.Weight, "weight", 1, "share of partitions, relative to the other nodes")
	f.StringSliceVar(&cfg.Origins, "cors-origin", nil, "origins of pages whose scripts may call this node from browsers, such as https://shop.example")
	f.IntVar(&cfg.Requests, "requests", server.DefaultRequests, "requests of clients worked on at a time; more wait shortly and are refused")
	f.Int64Var(&cfg.LogCap, "log-cap", server.DefaultLogCap, "bytes that one partition logs for an owner that stays away, which then needs a snapshot")
	f.Int64Var(&cfg.SnapshotRate, "snapshot-rate", server.DefaultSnapshotRate, "bytes of snapshots sent a second, at most")
	f.DurationVar(&cfg.VerifyEvery, "verify-every", server.DefaultVerifyEvery, "every partition is compared with every other owner within this time")
	f.StringVar(&logLevel, "log-level", "info", "debug, info, warn or error")
	if err := c.MarkFlagRequired("data"); err != nil {
		panic(err)
	}
	return c
}

// collectLater lets the heap grow to five times what lives before it is
// collected, unless GOGC says otherwise. A node keeps little in memory and makes
// much garbage: this takes an eighth off the CPU of a write.
func collectLater() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
}

func newLogger(w io.Writer, level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(strings.ToUpper(level))); err != nil {
		return nil, usagef("--log-level %q: want debug, info, warn or error", level)
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: l})), nil
}

func serve(ctx context.Context, out io.Writer, cfg server.Config) error {
	collectLater()
	n, err := server.Start(ctx, cfg)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "node %s of cluster %s\n  api    http://%s\n  peer   %s\n  gossip %s\n",
		n.ID(), cfg.Cluster.ID, n.APIAddr(), n.PeerAddr(), n.GossipAddr())
	<-ctx.Done()
	fmt.Fprintln(out, "draining")
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	return n.Close(limit)
}
