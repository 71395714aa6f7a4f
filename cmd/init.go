package cmd

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/cartwheel-db/cartwheel/server"
)

func newInitCommand() *cobra.Command {
	var path string
	var partitions, replicas, read, write int
	c := &cobra.Command{
		Use:   "init",
		Short: "Write the file that makes a cluster",
		Long: `Write the cluster file: its id, the number of partitions (Q), the replicas of each
(N), the default quorums of reads (R) and writes (W), and the secret that peers,
gossip and context tokens are authenticated with. Give every node this file, and
nobody else. An existing file is never overwritten.`,
		Example: `  cartwheel init --file cluster.yaml
  cartwheel init --file cluster.yaml --partitions 64`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cluster, err := server.NewCluster()
			if err != nil {
				return err
			}
			cluster.Partitions, cluster.Replicas, cluster.Read, cluster.Write = partitions, replicas, read, write
			if err := cluster.Check(); err != nil {
				return usagef("init: %v", err)
			}
			if err := server.WriteCluster(path, cluster); err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "cluster %s: %d partitions, %d replicas, reads of %d, writes of %d, in %s\n",
				cluster.ID, partitions, replicas, read, write, path)
			return err
		},
	}
	f := c.Flags()
	f.StringVar(&path, "file", "cluster.yaml", "file to write")
	f.IntVar(&partitions, "partitions", 256, "Q: a power of two, fixed for life")
	f.IntVar(&replicas, "replicas", 3, "N: owners of each partition, fixed for life")
	f.IntVar(&read, "read", 2, "R: owners that must answer a read")
	f.IntVar(&write, "write", 2, "W: durable copies before a write is acknowledged")
	return c
}
