package cmd

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	cartwheel "github.com/cartwheel-db/cartwheel/sdk"
)

type partitionsAnswer struct {
	Partitions []partitionHealth `json:"partitions"`
}

type partitionHealth struct {
	Partition  int             `json:"partition"`
	State      string          `json:"state"`
	Staleness  staleness       `json:"staleness"`
	Log        partitionLog    `json:"log"`
	Operations uint64          `json:"operations"`
	Damaged    uint64          `json:"damaged_rows"`
	Install    *installAnswer  `json:"install,omitempty"`
	Peers      []partitionPeer `json:"peers"`
}

type partitionLog struct {
	Groups uint64 `json:"groups"`
	Bytes  uint64 `json:"bytes"`
}

type partitionPeer struct {
	ID      string `json:"id"`
	AgeMS   *int64 `json:"age_ms,omitempty"`
	Missing uint64 `json:"missing_events"`
}

func newPartitionsCommand(s *session) *cobra.Command {
	var states []string
	c := &cobra.Command{
		Use:   "partitions",
		Short: "Show how each partition of a node is doing",
		Long: `Show how each partition is doing on the node that answers first. To ask one node and no
other, name it alone with --endpoint.

  joining     owned, and never ready: counts for writes, not yet for reads
  recovering  owned, ready before the node was started, and catching up: the same
  ready       owned, and caught up
  draining    held for others, and on its way to them

BEHIND is how far behind a read of it may be, at most; it grows while a node cannot be
reached, and what it is without those is in brackets.`,
		Example: `  cartwheel partitions
  cartwheel partitions --state recovering,joining
  cartwheel partitions -o json`,
		Args: takes("", 0, 0),
	}
	known := []string{"joining", "recovering", "ready", "draining"}
	c.Flags().StringSliceVar(&states, "state", nil, "only partitions in these states")
	c.RunE = func(c *cobra.Command, _ []string) error {
		for _, state := range states {
			if !slices.Contains(known, state) {
				return usagef("partitions: --state %q: want %s", state, strings.Join(known, ", "))
			}
		}
		db, err := s.open(c.Context())
		if err != nil {
			return err
		}
		defer db.Close()
		all, err := db.Cluster().Partitions(c.Context())
		if err != nil {
			return err
		}
		object := partitionsAnswer{[]partitionHealth{}}
		for _, p := range all {
			if len(states) == 0 || slices.Contains(states, p.State) {
				object.Partitions = append(object.Partitions, asPartition(p))
			}
		}
		return s.answer(c, object, object.text)
	}
	return c
}

func asPartition(p cartwheel.Partition) partitionHealth {
	out := partitionHealth{
		Partition: p.Number, State: p.State, Staleness: asStaleness(p.Staleness), Log: partitionLog{p.LogGroups, p.LogBytes},
		Operations: p.Operations, Damaged: p.DamagedRows, Peers: []partitionPeer{},
	}
	if p.Install != nil {
		i := asInstall(*p.Install)
		out.Install = &i
	}
	for _, peer := range p.Peers {
		out.Peers = append(out.Peers, partitionPeer{peer.ID, milliseconds(peer.Age), peer.Missing})
	}
	return out
}

func (o partitionsAnswer) text(w io.Writer) error {
	rows := [][]string{{"PARTITION", "STATE", "BEHIND", "LOG", "OPERATIONS", "DAMAGED", "SNAPSHOT"}}
	for _, p := range o.Partitions {
		behind, snapshot := "-", "-"
		if p.State != "draining" {
			if behind = ago(p.Staleness.BoundMS); len(p.Staleness.Unreachable) > 0 {
				behind += " (" + ago(p.Staleness.ReachableMS) + ")"
			}
		}
		if p.Install != nil {
			snapshot = p.Install.progress()
		}
		rows = append(rows, []string{
			strconv.Itoa(p.Partition), p.State, behind, fmt.Sprintf("%d bytes", p.Log.Bytes),
			strconv.FormatUint(p.Operations, 10), strconv.FormatUint(p.Damaged, 10), snapshot,
		})
	}
	return table(w, rows...)
}

type recoverAnswer struct {
	Ready []int `json:"ready"`
}

func newRecoverCommand(s *session) *cobra.Command {
	var force, all bool
	c := &cobra.Command{
		Use:   "recover [PARTITION...]",
		Short: "Let reads count partitions of a node that cannot catch up",
		Long: `A node that was started, or was given a partition, counts for reads once it has caught up
with the nodes that can be reached, and where its own data is new or lost, with all other
owners. When those it waits for do not come back, an operator may say so: the partitions
named, or all, then count as ready. What only the lost nodes held is then missing from
reads, and nobody is told so. The node is the only one named with --endpoint.`,
		Example: `  cartwheel recover --force 17 --endpoint 127.0.0.1:7402
  cartwheel recover --force --all --endpoint 127.0.0.1:7402`,
		Args: takes("PARTITION...", 0, -1),
	}
	c.Flags().BoolVar(&force, "force", false, "yes, what only the lost nodes held may be missing from reads")
	c.Flags().BoolVar(&all, "all", false, "all partitions that the node owns")
	c.RunE = func(c *cobra.Command, args []string) error {
		switch addresses := s.addresses(); {
		case !force:
			return usagef("recover: a node gets ready by itself; to count it as ready before that, say --force")
		case len(addresses) != 1:
			return usagef("recover: %d endpoints: name the one node that is meant with --endpoint", len(addresses))
		case all == (len(args) > 0):
			return usagef("recover: want partitions, or --all")
		}
		var partitions []int
		for _, arg := range args {
			p, err := strconv.ParseUint(arg, 10, 31)
			if err != nil {
				return usagef("recover: partition %q: want a number", arg)
			}
			partitions = append(partitions, int(p))
		}
		db, err := s.open(c.Context())
		if err != nil {
			return err
		}
		defer db.Close()
		forced, err := forceReady(c, db.Cluster(), partitions)
		if err != nil {
			return err
		}
		return s.answer(c, recoverAnswer{append([]int{}, forced...)}, func(w io.Writer) error {
			if len(forced) == 0 {
				_, err := fmt.Fprintln(w, "nothing to do: ready already")
				return err
			}
			_, err := fmt.Fprintf(w, "%s made ready: %s\n", counted(len(forced), "partition"), spans(slices.Clone(forced)))
			return err
		})
	}
	return c
}

func forceReady(c *cobra.Command, cluster *cartwheel.Cluster, partitions []int) ([]int, error) {
	if len(partitions) == 0 {
		return cluster.ForceAllReady(c.Context())
	}
	return cluster.ForceReady(c.Context(), partitions...)
}
