package cmd

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	cartwheel "github.com/cartwheel-db/cartwheel/sdk"
)

type membersAnswer struct {
	Nodes      []nodeAnswer      `json:"nodes"`
	Departures []departureAnswer `json:"departures"`
}

type departureAnswer struct {
	Node       nodeAnswer `json:"node"`
	ReplacedBy string     `json:"replaced_by,omitempty"`
	Left       *int       `json:"partitions_left,omitempty"`
}

func newMembersCommand(s *session) *cobra.Command {
	c := &cobra.Command{
		Use:   "members",
		Short: "List the nodes, and change who is a member",
		Long: `List the nodes: the members, and those that left or were replaced and still run. A node
joins by being started, empty, with serve --join. It leaves, or is replaced by another,
when an operator says so; what it stores is then handed off to the others.`,
		Example: `  cartwheel members
  cartwheel members plan leave 3f8a1c02
  cartwheel members leave 3f8a1c02 --wait`,
		Args: takes("", 0, 0),
	}
	c.RunE = func(c *cobra.Command, _ []string) error {
		db, err := s.open(c.Context())
		if err != nil {
			return err
		}
		defer db.Close()
		nodes, err := db.Cluster().Members(c.Context())
		if err != nil {
			return err
		}
		departures, err := s.departures(c.Context(), db)
		if err != nil {
			return err
		}
		object := membersAnswer{[]nodeAnswer{}, departures}
		for _, n := range nodes {
			object.Nodes = append(object.Nodes, asNode(n))
		}
		return s.answer(c, object, object.text)
	}
	plan := &cobra.Command{Use: "plan", Short: "Show what a change of members would move, and change nothing"}
	asGroup(plan)
	plan.AddCommand(newPlanCommand(s, false), newPlanCommand(s, true))
	c.AddCommand(plan, newChangeCommand(s, false), newChangeCommand(s, true))
	return c
}

// departures lists who departed and still runs. How much such a node has left to
// hand off only the node itself knows, and is asked for it.
func (s *session) departures(ctx context.Context, db *cartwheel.DB) ([]departureAnswer, error) {
	all, err := db.Cluster().Departures(ctx)
	if err != nil {
		return nil, err
	}
	answers := []departureAnswer{}
	for _, d := range all {
		a := departureAnswer{asNode(d.Node), d.ReplacedBy, nil}
		if d.Left == cartwheel.UnknownCount {
			d = s.departureItself(ctx, d)
		}
		if d.Left != cartwheel.UnknownCount {
			a.Left, a.Node.State = &d.Left, d.Node.State
		}
		answers = append(answers, a)
	}
	return answers, nil
}

// departureItself is what a departed node says of itself, or what was known before.
func (s *session) departureItself(ctx context.Context, d cartwheel.Departure) cartwheel.Departure {
	db, err := s.openAt(ctx, []string{d.Node.APIAddress})
	if err != nil {
		return d
	}
	defer db.Close()
	own, err := db.Cluster().Departures(ctx)
	if err != nil {
		return d
	}
	for _, o := range own {
		if o.Node.ID == d.Node.ID {
			return o
		}
	}
	return d
}

func (o membersAnswer) text(w io.Writer) error {
	rows := [][]string{{"NODE", "STATE", "ZONE", "WEIGHT", "API", "PEER"}}
	for _, n := range o.Nodes {
		rows = append(rows, []string{n.ID, n.State, cmp.Or(n.Zone, "-"), strconv.Itoa(n.Weight), cmp.Or(n.APIAddress, "-"), cmp.Or(n.PeerAddress, "-")})
	}
	if err := table(w, rows...); err != nil {
		return err
	}
	for _, d := range o.Departures {
		if _, err := fmt.Fprintln(w, d.line()); err != nil {
			return err
		}
	}
	return nil
}

// line tells how far a node is with leaving.
func (d departureAnswer) line() string {
	how := "left"
	if d.ReplacedBy != "" {
		how = "was replaced by " + d.ReplacedBy
	}
	switch {
	case d.Node.State == "left":
		return fmt.Sprintf("%s %s and has handed everything off: its process may be stopped", d.Node.ID, how)
	case d.Left == nil:
		return fmt.Sprintf("%s %s and hands off what it stores", d.Node.ID, how)
	}
	return fmt.Sprintf("%s %s and hands off what it stores: %s left", d.Node.ID, how, counted(*d.Left, "partition"))
}
