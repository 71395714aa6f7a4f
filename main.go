// Command cartwheel runs nodes of a Cartwheel cluster and talks to them.
package main

import (
	"os"

	"github.com/cartwheel-db/cartwheel/cmd"
)

func main() { os.Exit(cmd.Main()) }
