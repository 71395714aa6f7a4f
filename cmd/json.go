package cmd

import (
	_ "embed"

	"github.com/spf13/cobra"
)

//go:embed json.txt
var jsonHelp string

// newJSONTopic is a page of help: a command that does nothing.
func newJSONTopic() *cobra.Command {
	return &cobra.Command{Use: "json", Short: "What --output json prints", Long: jsonHelp}
}
