package cmd

import (
	"context"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// session is one run of the command line: its global flags, and how far it got.
type session struct {
	endpoints []string
	output    string
	timeout   time.Duration
	verbose   bool
	began     bool     // a command took over; what fails before that is usage
	command   string   // that command: "set.add"
	unopened  bool     // no node was found to ask
	args      []string // as they were given
}

// Root returns the whole command line.
func Root() *cobra.Command {
	root, _ := newRoot()
	return root
}

// Main runs the command line of this process and returns its exit code.
func Main() int {
	return execute(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
}

func execute(ctx context.Context, args []string, in io.Reader, out, errs io.Writer) int {
	root, s := newRoot() //nolint:contextcheck // commands get ctx from cobra when they run
	s.args = args
	root.SetArgs(setNegativesApart(root, args))
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errs)
	c, err := root.ExecuteContextC(ctx)
	if err != nil && !s.began {
		err = &usageError{command: c.CommandPath(), err: plain(err)}
		if jsonWanted.MatchString(strings.Join(args, " ")) {
			s.output = "json" // the parser may not have come as far
		}
	}
	return s.report(errs, err)
}

const rootHelp = `Cartwheel keeps replicated values that merge: sets, counters, registers, maps, and
blobs that never merge by themselves. Start a cluster on this machine with
"cartwheel dev"; the other commands talk to it without flags.

A KEY is bucket/key, split at the first slash: carts/42. A set, a counter, a
register, a blob and a map of one KEY are five values.

Exit codes:
  0  done
  1  failed in a way that none of the others names; verify found differences
  2  usage: the command line cannot be carried out; nothing was sent
  3  absent: contains says false, or there is no value to get
  4  unavailable: no node or too few replicas answered, or none that is fresh
     enough; worth trying again
  5  outcome unknown: the mutation may have taken effect; try again with
     --operation ID of the message, and it takes effect once
  6  refused: the cluster said no (name, size, context, cursor, overflow, plan)
     and would say so again`

const (
	groupValues  = "values"
	groupCluster = "cluster"
	groupNodes   = "nodes"
)

// defaultEndpoints are those of `cartwheel dev`.
var defaultEndpoints = []string{"http://127.0.0.1:7401", "http://127.0.0.1:7402", "http://127.0.0.1:7403"}

const endpointsVariable = "CARTWHEEL_ENDPOINTS"

func newRoot() (*cobra.Command, *session) {
	s := &session{}
	root := &cobra.Command{
		Use:   "cartwheel",
		Short: "A leaderless store of replicated data types",
		Long:  rootHelp,
		Example: `  cartwheel dev
  cartwheel set add carts/42 milk eggs
  cartwheel set members carts/42 --output json
  cartwheel --endpoint 10.0.0.1:7401,10.0.0.2:7401 status`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	asGroup(root)
	root.AddGroup(
		&cobra.Group{ID: groupValues, Title: "Values:"},
		&cobra.Group{ID: groupCluster, Title: "The cluster:"},
		&cobra.Group{ID: groupNodes, Title: "Nodes:"},
	)
	add := func(group string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add(groupValues, newSetCommand(s), newCounterCommand(s), newRegisterCommand(s), newBlobCommand(s), newMapCommand(s))
	add(groupCluster, newStatusCommand(s), newMembersCommand(s), newRingCommand(s), newWhereCommand(s),
		newPartitionsCommand(s), newVerifyCommand(s), newRecoverCommand(s), newBenchCommand(s))
	add(groupNodes, newInitCommand(), newServeCommand(), newDevCommand())
	root.AddCommand(newVersionCommand(s), newJSONTopic())

	f := root.PersistentFlags()
	f.StringSliceVar(&s.endpoints, "endpoint", nil, "host:port or URL of a node; repeat, or separate by commas (default $"+endpointsVariable+", or the nodes of cartwheel dev)")
	f.StringVarP(&s.output, "output", "o", "text", "text or json; see cartwheel help json")
	f.BoolVarP(&s.verbose, "verbose", "v", false, "say on stderr how far behind a read may be")
	f.DurationVar(&s.timeout, "timeout", 10*time.Second, "how long one call may take, retries included")
	s.watch(root)
	return root, s
}

// watch makes every command check the global flags and note that it began.
func (s *session) watch(c *cobra.Command) {
	for _, sub := range c.Commands() {
		s.watch(sub)
	}
	run := c.RunE
	if run == nil {
		return
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		if s.output != "text" && s.output != "json" {
			return fmt.Errorf("--output %q: want text or json", s.output)
		}
		if s.timeout <= 0 {
			return fmt.Errorf("--timeout %v: want more than 0", s.timeout)
		}
		s.began, s.command = true, strings.ReplaceAll(commandName(c.CommandPath()), " ", ".")
		return run(c, args)
	}
}

// asGroup makes a command that only holds others: alone it shows its help, and
// a word that is none of them is a mistake.
func asGroup(c *cobra.Command) {
	c.SuggestionsMinimumDistance = 2
	c.Args = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		if near := c.SuggestionsFor(args[0]); len(near) > 0 {
			return fmt.Errorf("unknown command %q, did you mean %s?", args[0], strings.Join(near, " or "))
		}
		return fmt.Errorf("unknown command %q", args[0])
	}
	c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
}

// takes checks the number of arguments; form is how the help shows them. A
// negative most is any number.
func takes(form string, least, most int) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) >= least && (most < 0 || len(args) <= most) {
			return nil
		}
		if form == "" {
			return fmt.Errorf("takes no arguments, got %d", len(args))
		}
		return fmt.Errorf("wants %s, got %s", form, counted(len(args), "argument"))
	}
}

var jsonWanted = regexp.MustCompile(`(^| )(-o|--output)[ =]?json( |$)`)

var negative = regexp.MustCompile(`^-[0-9]+$`)

// setNegativesApart moves negative numbers behind a "--", so that the -3 of
// "counter add likes/page-1 -3" is not read as flags; one that is the value of a flag
// stays.
func setNegativesApart(root *cobra.Command, args []string) []string {
	valued := map[string]bool{}
	noteValued(root, valued)
	var others, negatives []string
	for i, arg := range args {
		switch {
		case arg == "--":
			rest := append(negatives, args[i+1:]...)
			return append(append(others, "--"), rest...)
		case negative.MatchString(arg) && (i == 0 || !valued[args[i-1]]):
			negatives = append(negatives, arg)
		default:
			others = append(others, arg)
		}
	}
	if len(negatives) == 0 {
		return args
	}
	return slices.Concat(others, []string{"--"}, negatives)
}

// noteValued notes the flags that take the argument behind them.
func noteValued(c *cobra.Command, valued map[string]bool) {
	note := func(f *pflag.Flag) {
		if f.NoOptDefVal == "" {
			valued["--"+f.Name], valued["-"+f.Shorthand] = true, true
		}
	}
	c.Flags().VisitAll(note)
	c.PersistentFlags().VisitAll(note)
	for _, sub := range c.Commands() {
		noteValued(sub, valued)
	}
}
