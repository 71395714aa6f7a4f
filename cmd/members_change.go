package cmd

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	cartwheel "github.com/cartwheel-db/cartwheel/sdk"
)

type changeAnswer struct {
	Node  string `json:"node"`
	By    string `json:"by,omitempty"`
	Ring  string `json:"ring_hash"`
	State string `json:"state"`
	Left  *int   `json:"partitions_left,omitempty"`
}

// confirm holds the flags that say how a plan becomes a deed.
type confirm struct {
	plan       string
	yes, force bool
}

func newChangeCommand(s *session, replaces bool) *cobra.Command {
	ch := &change{replaces: replaces}
	var by confirm
	var wait bool
	c := &cobra.Command{
		Use:   "leave NODE",
		Short: "Let a node leave the cluster for good",
		Long: `Let a node leave. The plan is shown and asked about; with --plan it is one that was shown
before, and is refused if the ring has changed since; with --yes whatever it is. The node
then hands off what it stores, is draining until that is done, and left when its process
may be stopped. A node that left never comes back: start it anew, empty.`,
		Example: `  cartwheel members leave 3f8a1c02
  cartwheel members leave 3f8a1c02 --plan 8c1d2e3f40516273 --wait
  cartwheel members leave 3f8a1c02 --yes -o json`,
		Args: takes("NODE", 1, 1),
	}
	if replaces {
		c.Use = "replace NODE --by NODE"
		c.Short = "Let one node take the place of another for good"
		c.Long = `Let a member take the place of a node, which may be dead: start the new one first, empty,
with serve --join. The plan is shown and asked about, as for members leave. A node that
was replaced while it runs, or comes back, hands off what it stores, and never joins
again.`
		c.Example = `  cartwheel members replace 3f8a1c02 --by 77d0e9b1
  cartwheel members replace 3f8a1c02 --by 77d0e9b1 --yes --wait`
	}
	ch.flags(c)
	f := c.Flags()
	f.StringVar(&by.plan, "plan", "", "ring hash of the plan that was shown; another ring is refused")
	f.BoolVar(&by.yes, "yes", false, "do it without asking")
	f.BoolVar(&by.force, "force", false, "accept the risks of the plan")
	f.BoolVar(&wait, "wait", false, "wait until the node has handed everything off")
	c.MarkFlagsMutuallyExclusive("plan", "yes")
	c.RunE = func(c *cobra.Command, args []string) error {
		if s.output == "json" && by.plan == "" && !by.yes {
			return usagef("members %s: nobody can be asked with --output json: say --plan or --yes", ch.verb())
		}
		db, err := s.open(c.Context())
		if err != nil {
			return err
		}
		defer db.Close()
		wanted, err := ch.named(c.Context(), db.Cluster(), args[0])
		if err != nil {
			return err
		}
		plan, err := s.settle(c, db.Cluster(), wanted, &by)
		if err != nil {
			return err
		}
		var options []cartwheel.CommitOption
		if by.force {
			options = append(options, cartwheel.Force())
		}
		object := changeAnswer{Node: wanted.Node, By: wanted.By}
		if object.Ring, err = db.Cluster().Commit(c.Context(), plan, options...); err != nil {
			return err
		}
		out := io.Discard
		if s.output == "text" {
			out = c.OutOrStdout()
			fmt.Fprintf(out, "done: the ring is %s now\n", object.Ring)
		}
		if err := s.follow(c.Context(), db, &object, wait, out); err != nil {
			return err
		}
		return s.answer(c, object, func(io.Writer) error { return nil })
	}
	return c
}

// settle returns the plan that is to be carried out: the one that was shown
// before, or one that is shown now and, unless --yes says so, agreed to.
func (s *session) settle(c *cobra.Command, cluster *cartwheel.Cluster, wanted cartwheel.MembershipChange, by *confirm) (cartwheel.MembershipPlan, error) {
	if by.plan != "" {
		return cartwheel.MembershipPlan{Change: wanted, RingHash: by.plan}, nil
	}
	plan, err := cluster.Plan(c.Context(), wanted)
	if err != nil || s.output == "json" {
		return plan, err
	}
	object := asPlan(plan)
	if err := object.text(c.OutOrStdout(), false); err != nil || by.yes || len(plan.Risks) > 0 && !by.force {
		return plan, err // which the cluster refuses where there are risks
	}
	fmt.Fprint(c.OutOrStdout(), "\nDo it? [y/N] ")
	answer, _ := bufio.NewReader(io.LimitReader(c.InOrStdin(), 1024)).ReadString('\n')
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return plan, nil
	}
	return plan, errUnconfirmed
}

var errUnconfirmed = fmt.Errorf("not confirmed: nothing was changed")

const (
	followEvery = 200 * time.Millisecond
	// A node that runs is heard of within this time.
	hearWithin = 3 * time.Second
)

// follow tells how far the departed node is with handing off, until it is done if
// that is waited for.
func (s *session) follow(ctx context.Context, db *cartwheel.DB, o *changeAnswer, wait bool, out io.Writer) error {
	shown, unheard := "", time.Now()
	for {
		departures, err := s.departures(ctx, db)
		if err != nil {
			return err
		}
		o.State, o.Left = "unreachable", nil
		text := o.Node + " is not heard from: it hands off what it stores should it come back"
		for _, d := range departures {
			if d.Node.ID == o.Node {
				o.State, o.Left, text = d.Node.State, d.Left, d.line()
				unheard = time.Now()
			}
		}
		final := o.State == "left" || time.Since(unheard) > hearWithin || !wait && o.State != "unreachable"
		if text != shown && (o.State != "unreachable" || final) {
			fmt.Fprintln(out, text)
			shown = text
		}
		if final {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(followEvery):
		}
	}
}
