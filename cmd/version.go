package cmd

import (
	"fmt"
	"io"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/cartwheel-db/cartwheel/cmd/bench"
	"github.com/cartwheel-db/cartwheel/server"
)

type versionAnswer struct {
	Version  string `json:"version"`
	Commit   string `json:"commit"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func newVersionCommand(s *session) *cobra.Command {
	c := &cobra.Command{
		Use:     "version",
		Short:   "Show the version of this program",
		Long:    "Show the version of this program. That of a node is part of its status.",
		Example: `  cartwheel version`,
		Args:    takes("", 0, 0),
	}
	c.RunE = func(c *cobra.Command, _ []string) error {
		v := versionAnswer{server.Version(), bench.Commit(), runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}
		return s.answer(c, v, func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "cartwheel %s, commit %s, %s, %s\n", v.Version, v.Commit, v.Go, v.Platform)
			return err
		})
	}
	return c
}
