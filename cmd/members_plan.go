package cmd

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	cartwheel "github.com/cartwheel-db/cartwheel/sdk"
)

type planAnswer struct {
	Node   string       `json:"node"`
	By     string       `json:"by,omitempty"`
	Ring   string       `json:"ring_hash"`
	Shares []planShare  `json:"shares"`
	Moves  []moveAnswer `json:"moves"`
	Risks  []string     `json:"risks"`
	Notes  []string     `json:"notes"`
}

type planShare struct {
	ID     string `json:"id"`
	Before int    `json:"before"`
	After  int    `json:"after"`
}

type moveAnswer struct {
	Partition int    `json:"partition"`
	From      string `json:"from,omitempty"`
	To        string `json:"to,omitempty"`
}

func asPlan(p cartwheel.MembershipPlan) planAnswer {
	o := planAnswer{p.Change.Node, p.Change.By, p.RingHash, []planShare{}, []moveAnswer{}, append([]string{}, p.Risks...), append([]string{}, p.Notes...)}
	for _, share := range p.Shares {
		o.Shares = append(o.Shares, planShare{share.Node, share.Before, share.After})
	}
	for _, m := range p.Moves {
		o.Moves = append(o.Moves, moveAnswer(m))
	}
	return o
}

// change is what the commands on membership are asked for: a leave, or a
// replacement.
type change struct {
	replaces bool
	by       string
}

func (ch *change) flags(c *cobra.Command) {
	if ch.replaces {
		c.Flags().StringVar(&ch.by, "by", "", "the member that takes its place (required)")
		if err := c.MarkFlagRequired("by"); err != nil {
			panic(err)
		}
	}
}

func (ch *change) verb() string {
	if ch.replaces {
		return "replace"
	}
	return "leave"
}

// named finds the nodes that are meant.
func (ch *change) named(ctx context.Context, cluster *cartwheel.Cluster, node string) (cartwheel.MembershipChange, error) {
	members, err := cluster.Members(ctx)
	if err != nil {
		return cartwheel.MembershipChange{}, err
	}
	var out cartwheel.MembershipChange
	if out.Node, err = wholeID(members, node); err == nil && ch.replaces {
		out.By, err = wholeID(members, ch.by)
	}
	return out, err
}

// shortestID is how much of an id names a node.
const shortestID = 4

// wholeID completes the beginning of an id. What names no member is left to the
// cluster, which may know it as one that departed.
func wholeID(members []cartwheel.Node, text string) (string, error) {
	var found []string
	for _, m := range members {
		if m.ID == text {
			return text, nil
		}
		if len(text) >= shortestID && strings.HasPrefix(m.ID, text) {
			found = append(found, m.ID)
		}
	}
	switch len(found) {
	case 0:
		return text, nil
	case 1:
		return found[0], nil
	}
	return "", usagef("node %q: %d nodes begin like that: %s", text, len(found), strings.Join(found, ", "))
}

func newPlanCommand(s *session, replaces bool) *cobra.Command {
	ch := &change{replaces: replaces}
	var moves bool
	c := &cobra.Command{
		Use:   "leave NODE",
		Short: "Show what moves when a node leaves",
		Long: `Show what moves when a node leaves: how many partitions each node owns before and after,
and what speaks against it. NODE is an id, or its beginning. Nothing is changed.`,
		Example: `  cartwheel members plan leave 3f8a1c02
  cartwheel members plan leave 3f8a1c02 --moves`,
		Args: takes("NODE", 1, 1),
	}
	if replaces {
		c.Use = "replace NODE --by NODE"
		c.Short = "Show what moves when a node takes the place of another"
		c.Long = `Show what moves when one node takes the place of another, which may be dead: start the
new one first, empty, with serve --join. NODE is an id, or its beginning. Nothing is
changed.`
		c.Example = `  cartwheel members plan replace 3f8a1c02 --by 77d0e9b1`
	}
	ch.flags(c)
	c.Flags().BoolVar(&moves, "moves", false, "list every partition that moves")
	c.RunE = func(c *cobra.Command, args []string) error {
		db, err := s.open(c.Context())
		if err != nil {
			return err
		}
		defer db.Close()
		wanted, err := ch.named(c.Context(), db.Cluster(), args[0])
		if err != nil {
			return err
		}
		plan, err := db.Cluster().Plan(c.Context(), wanted)
		if err != nil {
			return err
		}
		object := asPlan(plan)
		return s.answer(c, object, func(w io.Writer) error {
			if err := object.text(w, moves); err != nil {
				return err
			}
			_, err := fmt.Fprintf(w, "\nTo do it:\n  %s\n", object.command())
			return err
		})
	}
	return c
}

// command is what carries out the plan.
func (o planAnswer) command() string {
	b := "cartwheel members leave " + o.Node
	if o.By != "" {
		b = fmt.Sprintf("cartwheel members replace %s --by %s", o.Node, o.By)
	}
	b += " --plan " + o.Ring
	if len(o.Risks) > 0 {
		b += " --force"
	}
	return b
}

func (o planAnswer) text(w io.Writer, moves bool) error {
	what := o.Node + " leaves"
	if o.By != "" {
		what = fmt.Sprintf("%s takes the place of %s", o.By, o.Node)
	}
	if _, err := fmt.Fprintf(w, "%s, as planned for ring %s\n\n", what, o.Ring); err != nil {
		return err
	}
	rows := [][]string{{"NODE", "OWNS NOW", "AFTERWARDS"}}
	for _, share := range o.Shares {
		rows = append(rows, []string{share.ID, strconv.Itoa(share.Before), strconv.Itoa(share.After)})
	}
	if err := table(w, rows...); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(w, "\n%s of partitions change hands\n", counted(len(o.Moves), "replica")); err != nil {
		return err
	}
	if moves {
		rows := [][]string{{"PARTITION", "FROM", "TO"}}
		for _, m := range o.Moves {
			rows = append(rows, []string{strconv.Itoa(m.Partition), cmp.Or(m.From, "-"), cmp.Or(m.To, "-")})
		}
		if err := table(w, rows...); err != nil {
			return err
		}
	}
	for _, note := range o.Notes {
		if _, err := fmt.Fprintf(w, "note: %s\n", line(note)); err != nil {
			return err
		}
	}
	for _, risk := range o.Risks {
		if _, err := fmt.Fprintf(w, "risk: %s (wants --force)\n", line(risk)); err != nil {
			return err
		}
	}
	return nil
}
