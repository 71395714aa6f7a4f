package cmd

import (
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/cartwheel-db/cartwheel/cmd/bench"
)

func newBenchCommand(s *session) *cobra.Command {
	var cfg bench.Config
	var jsonFile string
	var routed bool
	c := &cobra.Command{
		Use:   "bench",
		Short: "Measure the cluster under load",
		Long: `Measure the cluster: a closed loop of clients, each of which makes one call after
the other, on keys of a Zipf distribution. First every key is loaded (leave that
out with --load=false when an earlier run did it), then the cluster warms up.
Ctrl-C ends the measurement early. Values stay, in buckets bench-*.

A closed loop asks a slow cluster less. --rate is an open loop: operations begin
at a steady rate, as those of many users do, and each has --deadline from when it
was due. --overload tells what more load than a cluster can do does to it: the
peak of the closed loop, then 1, 2 and 5 times as much for --duration each, then
half of it, and how long it takes until 99 of 100 operations are good again.

Workloads:
  cart         50 % add, 10 % remove, 40 % read a set of about 20 members
  counter      80 % increment, 20 % read
  counter-get  read counters
  contains     ask whether a member is in a set of about 20
  blob-a       50 % update with the context last seen, 50 % read
  blob-b        5 % update with the context last seen, 95 % read

Operations travel as those of the Go client do: several to a message, and to an
owner of their key; --api and --routed=false show what that saves. Unary calls of
an open loop come from a leaner HTTP client than that of the library.

CPU, syncs and batching are what the nodes say of themselves at /metrics, so name
every node as an endpoint. JSON has the fields of the text, with units in their
names: {command, began, machine, cluster, workload, elapsed_s, interrupted,
operations, total, offer, overload, server, client, failures, warnings}. Of the
operations, per read is how many members or siblings a read gave.`,
		Example: `  cartwheel bench
  cartwheel bench --workload counter --clients 16 --duration 30s
  cartwheel bench --workload blob-a --ops 100000 --json blob-a.json
  cartwheel bench --workload cart --json - | jq .server.cpu_us_per_op
  cartwheel bench --workload counter-get --fast --api unary
  cartwheel bench --rate 2000 --deadline 500ms
  cartwheel bench --overload --duration 5s`,
		Args: takes("", 0, 0),
	}
	f := c.Flags()
	f.StringVar(&cfg.Workload, "workload", "cart", strings.Join(bench.Workloads(), ", "))
	f.IntVar(&cfg.Clients, "clients", 64, "calls under way at a time")
	f.DurationVar(&cfg.Duration, "duration", 10*time.Second, "how long to measure")
	f.Uint64Var(&cfg.Ops, "ops", 0, "how many operations to measure, instead of --duration")
	f.DurationVar(&cfg.Warmup, "warmup", 2*time.Second, "how long to run before measuring")
	f.IntVar(&cfg.Keys, "keys", 10_000, "number of keys")
	f.IntVar(&cfg.ValueSize, "value-size", 1024, "bytes of a blob")
	f.Float64Var(&cfg.Theta, "theta", 0.99, "skew of the keys, from 0 (uniform) to below 1")
	f.BoolVar(&cfg.Load, "load", true, "load every key first")
	f.Uint64Var(&cfg.Seed, "seed", 1, "of the dice")
	f.Uint32Var(&cfg.W, "w", 0, "durable copies a mutation waits for (default: the cluster's W)")
	f.Uint32Var(&cfg.R, "r", 0, "replicas a read joins (default: the cluster's R)")
	f.BoolVar(&cfg.Fast, "fast", false, "reads ask one replica only")
	f.StringVar(&cfg.API, "api", "stream", "how operations travel: one a request (unary), or several to a request (batch) or message (stream)")
	f.BoolVar(&routed, "routed", true, "operations go to an owner of their key; false is to every endpoint in turn")
	f.Float64Var(&cfg.Rate, "rate", 0, "open loop: begin this many operations a second, whatever becomes of them")
	f.BoolVar(&cfg.Overload, "overload", false, "find the peak of the closed loop, offer 1, 2 and 5 times as much, then half of it")
	f.DurationVar(&cfg.Deadline, "deadline", time.Second, "open loop: time of one operation, from when it was due")
	f.IntVar(&cfg.Outstanding, "outstanding", 4096, "open loop: operations under way at most; what is due beyond counts as not begun")
	f.BoolVar(&cfg.Retry, "retry", false, "open loop: retry and hold back as the client library does, not one request an operation")
	f.StringVar(&jsonFile, "json", "", "write the report as JSON to this file as well; - is stdout, instead of text")
	c.MarkFlagsMutuallyExclusive("r", "fast")
	c.MarkFlagsMutuallyExclusive("ops", "duration")
	c.MarkFlagsMutuallyExclusive("ops", "rate")
	c.MarkFlagsMutuallyExclusive("ops", "overload")
	c.MarkFlagsMutuallyExclusive("rate", "overload")
	c.RunE = func(c *cobra.Command, _ []string) error {
		cfg.Endpoints, cfg.Timeout, cfg.Unrouted = s.addresses(), s.timeout, !routed
		cfg.Command = strings.Join(append([]string{"cartwheel"}, s.args...), " ")
		cfg.Progress = func(doing string) { fmt.Fprintln(c.ErrOrStderr(), "cartwheel: bench:", doing) }
		if err := cfg.Check(); err != nil {
			return usagef("bench: %w", err)
		}
		ctx, stop := signal.NotifyContext(c.Context(), syscall.SIGINT, syscall.SIGTERM)
		defer stop()
		report, err := bench.Run(ctx, cfg)
		if err != nil {
			return err
		}
		return s.writeReport(c, report, jsonFile)
	}
	return c
}

func (s *session) writeReport(c *cobra.Command, report bench.Report, jsonFile string) error {
	if jsonFile == "-" || s.output == "json" {
		if err := json.NewEncoder(c.OutOrStdout()).Encode(report); err != nil {
			return err
		}
	}
	if jsonFile != "" && jsonFile != "-" {
		text, err := json.MarshalIndent(report, "", "  ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(jsonFile, append(text, '\n'), 0o644); err != nil {
			return err
		}
	}
	if jsonFile == "-" || s.output == "json" {
		return nil
	}
	return report.Text(c.OutOrStdout())
}
