package cmd

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	cartwheel "github.com/cartwheel-db/cartwheel/sdk"
)

type verifyAnswer struct {
	Nodes []nodeVerified `json:"nodes"`
}

type nodeVerified struct {
	Node        string          `json:"node"`
	Compared    int             `json:"compared"`
	Equal       int             `json:"equal"`
	Behind      int             `json:"behind"`
	Busy        int             `json:"busy"`
	Unlike      int             `json:"unlike"`
	Unreachable int             `json:"unreachable"`
	Differed    int             `json:"differed"`
	Repaired    uint64          `json:"repaired_rows"`
	Findings    []findingAnswer `json:"findings"`
}

type findingAnswer struct {
	Partition int    `json:"partition"`
	Peer      string `json:"peer"`
	Outcome   string `json:"outcome"`
	Differed  bool   `json:"differed"`
}

// unequalError is what a verification found.
type unequalError struct {
	code int
	text string
}

func (e *unequalError) Error() string { return e.text }

func newVerifyCommand(s *session) *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use:   "verify",
		Short: "Compare a node with the other owners of its partitions",
		Long: `Compare every partition that the node that answers first owns with every other owner of
it, by hash trees down to the rows, and repair what differs. With --all, do so at every
node in turn. Events that are still on their way are no difference. An outcome is

  equal        both hold the same, perhaps after a repair
  behind       the node still lacks events that the other has shown
  busy         writes went on whenever the two were compared
  unlike       the same events and different rows, and no repair that lasted
  unreachable  the other owner could not be asked

The exit code is 0 if all were equal and none had differed; 1 if some differed, repaired
or not, which only damage or a mistake in Cartwheel explains; 4 if some could not be
compared to the end, which another time may do. --timeout does not apply.`,
		Example: `  cartwheel verify
  cartwheel verify --all -o json`,
		Args: takes("", 0, 0),
	}
	c.Flags().BoolVar(&all, "all", false, "at every node in turn, at the address it has for clients")
	c.RunE = func(c *cobra.Command, _ []string) error {
		db, err := s.open(c.Context())
		if err != nil {
			return err
		}
		defer db.Close()
		object := verifyAnswer{Nodes: []nodeVerified{}}
		each := func(db *cartwheel.DB) error {
			v, err := s.verify(c, db.Cluster())
			if err == nil {
				object.Nodes = append(object.Nodes, asVerified(v))
			}
			return err
		}
		if all {
			err = s.atEveryNode(c.Context(), db, each)
		} else {
			err = each(db)
		}
		if err != nil {
			return err
		}
		if err := s.answer(c, object, object.text); err != nil {
			return err
		}
		return object.verdict()
	}
	return c
}

func (s *session) atEveryNode(ctx context.Context, db *cartwheel.DB, do func(*cartwheel.DB) error) error {
	nodes, err := db.Cluster().Members(ctx)
	if err != nil {
		return err
	}
	for _, n := range nodes {
		one, err := s.openAt(ctx, []string{n.APIAddress})
		if err != nil {
			return fmt.Errorf("node %s: %w", n.ID, err)
		}
		err = do(one)
		_ = one.Close()
		if err != nil {
			return fmt.Errorf("node %s: %w", n.ID, err)
		}
	}
	return nil
}

// verify follows a verification, with a bar on a terminal.
func (s *session) verify(c *cobra.Command, cluster *cartwheel.Cluster) (cartwheel.Verification, error) {
	screen := c.ErrOrStderr()
	if s.output != "text" || !isTerminal(screen) {
		screen = io.Discard
	}
	var bar *progressbar.ProgressBar
	v, err := cluster.Verify(c.Context(), func(v cartwheel.Verification) {
		if bar == nil && v.Total > 0 {
			bar = newBar(screen, v.Total, "comparing")
		}
		if bar != nil {
			_ = bar.Set(v.Compared)
		}
	})
	if bar != nil {
		_ = bar.Finish()
	}
	return v, err
}

func newBar(screen io.Writer, steps int, title string) *progressbar.ProgressBar {
	return progressbar.NewOptions(steps,
		progressbar.OptionSetWriter(screen),
		progressbar.OptionSetDescription(title),
		progressbar.OptionSetWidth(40),
		progressbar.OptionShowCount(),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionSetPredictTime(true),
		progressbar.OptionClearOnFinish(),
	)
}

func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	about, err := file.Stat()
	return err == nil && about.Mode()&os.ModeCharDevice != 0
}

func asVerified(v cartwheel.Verification) nodeVerified {
	out := nodeVerified{
		Node: v.Node, Compared: v.Compared, Equal: v.Equal, Behind: v.Behind, Busy: v.Busy, Unlike: v.Unlike, Unreachable: v.Unreachable,
		Differed: v.Differed, Repaired: v.Repaired, Findings: []findingAnswer{},
	}
	for _, f := range v.Findings {
		out.Findings = append(out.Findings, findingAnswer{f.Partition, f.Peer, f.Outcome, f.Differed})
	}
	return out
}

func (o verifyAnswer) text(w io.Writer) error {
	for _, n := range o.Nodes {
		if _, err := fmt.Fprintf(w, "node %s: %s with other owners, %d equal, %d behind, %d busy, %d unlike, %d unreachable; %d differed, %s repaired\n",
			n.Node, counted(n.Compared, "comparison"), n.Equal, n.Behind, n.Busy, n.Unlike, n.Unreachable, n.Differed, counted(int(n.Repaired), "row")); err != nil {
			return err
		}
		if len(n.Findings) == 0 {
			continue
		}
		if err := table(w, findingRows(n.Findings)...); err != nil {
			return err
		}
	}
	return nil
}

// findingRows has one row for all partitions of which the same is found: an owner
// that is away would fill the screen otherwise.
func findingRows(findings []findingAnswer) [][]string {
	rows, partitions := [][]string{{"PARTITIONS", "OWNER", "OUTCOME", "DIFFERED"}}, map[findingAnswer][]int{}
	for _, f := range findings {
		same := findingAnswer{Peer: f.Peer, Outcome: f.Outcome, Differed: f.Differed}
		if partitions[same] == nil {
			rows = append(rows, []string{"", f.Peer, f.Outcome, yes(f.Differed)})
		}
		partitions[same] = append(partitions[same], f.Partition)
	}
	for _, row := range rows[1:] {
		row[0] = spans(partitions[findingAnswer{Peer: row[1], Outcome: row[2], Differed: row[3] == yes(true)}])
	}
	return rows
}

// spans writes numbers as 0-3,7.
func spans(numbers []int) string {
	slices.Sort(numbers)
	var out []string
	for i := 0; i < len(numbers); {
		first := i
		for i++; i < len(numbers) && numbers[i] == numbers[i-1]+1; i++ {
		}
		if i-first == 1 {
			out = append(out, fmt.Sprint(numbers[first]))
		} else {
			out = append(out, fmt.Sprintf("%d-%d", numbers[first], numbers[i-1]))
		}
	}
	return strings.Join(out, ",")
}

// verdict is nil if everything was compared, and equal all along.
func (o verifyAnswer) verdict() error {
	differed, open := 0, 0
	for _, n := range o.Nodes {
		differed += max(n.Differed, n.Unlike)
		open += n.Behind + n.Busy + n.Unreachable
	}
	switch {
	case differed > 0:
		return &unequalError{exitFailed, fmt.Sprintf("verify: %s found different rows", counted(differed, "comparison"))}
	case open > 0:
		return &unequalError{exitUnavailable, fmt.Sprintf("verify: %s could not be made to the end", counted(open, "comparison"))}
	}
	return nil
}
