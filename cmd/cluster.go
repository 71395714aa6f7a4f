package cmd

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	cartwheel "github.com/cartwheel-db/cartwheel/sdk"
)

type nodeAnswer struct {
	ID          string `json:"id"`
	State       string `json:"state"`
	Zone        string `json:"zone,omitempty"`
	Weight      int    `json:"weight"`
	APIAddress  string `json:"api_address"`
	PeerAddress string `json:"peer_address"`
}

func asNode(n cartwheel.Node) nodeAnswer {
	return nodeAnswer{n.ID, n.State, n.Zone, n.Weight, n.APIAddress, n.PeerAddress}
}

// table prints rows of cells in columns.
func table(w io.Writer, rows ...[]string) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		if _, err := fmt.Fprintln(t, strings.Join(row, "\t")); err != nil {
			return err
		}
	}
	return t.Flush()
}

type statusAnswer struct {
	ClusterID  string          `json:"cluster_id"`
	N          int             `json:"n"`
	R          int             `json:"r"`
	W          int             `json:"w"`
	Q          int             `json:"q"`
	Node       nodeAnswer      `json:"node"`
	Version    string          `json:"version"`
	UptimeMS   int64           `json:"uptime_ms"`
	ServerTime time.Time       `json:"server_time"`
	Stamp      string          `json:"stamp"`
	RingHash   string          `json:"ring_hash"`
	Partitions partitionCount  `json:"partitions"`
	Staleness  staleness       `json:"staleness"`
	Installs   []installAnswer `json:"installs"`
	Log        logAnswer       `json:"log"`
	Operations uint64          `json:"operations"`
	Damaged    uint64          `json:"damaged_rows"`
	Peers      []peerAnswer    `json:"peers"`
}

type partitionCount struct {
	Stored     int `json:"stored"`
	Owned      int `json:"owned"`
	Joining    int `json:"joining"`
	Recovering int `json:"recovering"`
	Ready      int `json:"ready"`
	Draining   int `json:"draining"`
	HandingOff int `json:"handing_off"`
}

type logAnswer struct {
	Groups       uint64 `json:"groups"`
	Bytes        uint64 `json:"bytes"`
	TrimmedEarly uint64 `json:"trimmed_early"`
}

type installAnswer struct {
	Partition int    `json:"partition"`
	From      string `json:"from"`
	Phase     string `json:"phase"`
	Done      uint64 `json:"done"`
	Total     uint64 `json:"total"`
}

func asInstall(i cartwheel.Install) installAnswer {
	return installAnswer{i.Partition, i.From, i.Phase, i.Done, i.Total}
}

// progress reads "rows 40 of 100 (40%)".
func (i installAnswer) progress() string {
	if i.Total == 0 {
		return fmt.Sprintf("%s %d", i.Phase, i.Done)
	}
	return fmt.Sprintf("%s %d of %d (%d%%)", i.Phase, i.Done, i.Total, 100*i.Done/i.Total)
}

type peerAnswer struct {
	Node      nodeAnswer `json:"node"`
	Alive     bool       `json:"alive"`
	Reachable bool       `json:"reachable"`
	RingHash  string     `json:"ring_hash"`
	AgeMS     *int64     `json:"age_ms,omitempty"`
	Missing   uint64     `json:"missing_events"`
}

func newStatusCommand(s *session) *cobra.Command {
	c := &cobra.Command{
		Use:   "status",
		Short: "Show a node and how it finds the others",
		Long: `Show the node that answers first, and how it finds the others. To ask one node and
no other, name it alone with --endpoint.`,
		Example: `  cartwheel status
  cartwheel status --endpoint 127.0.0.1:7402 -o json`,
		Args: takes("", 0, 0),
	}
	c.RunE = func(c *cobra.Command, _ []string) error {
		db, err := s.open(c.Context())
		if err != nil {
			return err
		}
		defer db.Close()
		status, err := db.Cluster().Status(c.Context())
		if err != nil {
			return err
		}
		object := statusAnswer{
			ClusterID: status.ClusterID, N: status.N, R: status.R, W: status.W, Q: status.Q,
			Node: asNode(status.Node), Version: status.Version, UptimeMS: status.Uptime.Milliseconds(),
			ServerTime: status.ServerTime.UTC(), Stamp: strconv.FormatUint(status.Stamp, 10), RingHash: status.RingHash,
			Partitions: partitionCount{
				Stored: status.Stored, Owned: status.Owned, Joining: status.Partitions.Joining, Recovering: status.Partitions.Recovering,
				Ready: status.Ready, Draining: status.Partitions.Draining, HandingOff: status.HandingOff,
			},
			Staleness: asStaleness(status.Staleness), Installs: []installAnswer{},
			Log:        logAnswer{status.LogGroups, status.LogBytes, status.TrimmedEarly},
			Operations: status.Operations, Damaged: status.DamagedRows,
			Peers: []peerAnswer{},
		}
		for _, i := range status.Installs {
			object.Installs = append(object.Installs, asInstall(i))
		}
		for _, p := range status.Peers {
			object.Peers = append(object.Peers, peerAnswer{asNode(p.Node), p.Alive, p.Reachable, p.RingHash, milliseconds(p.Age), p.Missing})
		}
		return s.answer(c, object, object.text)
	}
	return c
}

func (o statusAnswer) text(w io.Writer) error {
	uptime := (time.Duration(o.UptimeMS) * time.Millisecond).Truncate(time.Second)
	if err := table(w,
		[]string{"cluster", fmt.Sprintf("%s  N=%d R=%d W=%d, %d partitions", o.ClusterID, o.N, o.R, o.W, o.Q)},
		[]string{"node", fmt.Sprintf("%s  %s, up %v, version %s", o.Node.ID, o.Node.State, uptime, o.Version)},
		[]string{"ring", o.RingHash},
		[]string{"partitions", fmt.Sprintf("%d owned, %d of them ready%s; %d stored, %d handing off",
			o.Partitions.Owned, o.Partitions.Ready, o.Partitions.unready(), o.Partitions.Stored, o.Partitions.HandingOff)},
		[]string{"behind", o.Staleness.text()},
		[]string{"log", fmt.Sprintf("%s, %d bytes; %s remembered", counted(int(o.Log.Groups), "group"), o.Log.Bytes, counted(int(o.Operations), "operation"))},
	); err != nil {
		return err
	}
	for _, note := range o.notes() {
		if _, err := fmt.Fprintln(w, note); err != nil {
			return err
		}
	}
	rows := [][]string{{"PEER", "STATE", "ALIVE", "REACHABLE", "BEHIND IT", "MISSING", "API", "RING"}}
	for _, p := range o.Peers {
		rows = append(rows, []string{p.Node.ID, p.Node.State, yes(p.Alive), yes(p.Reachable), ago(p.AgeMS), strconv.FormatUint(p.Missing, 10), cmp.Or(p.Node.APIAddress, "-"), cmp.Or(p.RingHash, "-")})
	}
	if len(o.Peers) == 0 {
		return nil
	}
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	return table(w, rows...)
}

// unready reads ", 3 recovering".
func (p partitionCount) unready() string {
	text := ""
	if p.Joining > 0 {
		text += fmt.Sprintf(", %d joining", p.Joining)
	}
	if p.Recovering > 0 {
		text += fmt.Sprintf(", %d recovering", p.Recovering)
	}
	return text
}

func (s staleness) text() string {
	text := "unknown"
	if s.BoundMS != nil {
		text = "at most " + ago(s.BoundMS)
	}
	if len(s.Unreachable) == 0 {
		return text
	}
	return fmt.Sprintf("%s; %s but for the unreachable %s", text, ago(s.ReachableMS), strings.Join(s.Unreachable, " "))
}

// notes are what a node in order has none of.
func (o statusAnswer) notes() (all []string) {
	for _, i := range o.Installs {
		all = append(all, fmt.Sprintf("snapshot of partition %d from %s: %s", i.Partition, i.From, i.progress()))
	}
	if o.Damaged > 0 {
		all = append(all, fmt.Sprintf("damage: %s waiting to be fetched again", counted(int(o.Damaged), "row")))
	}
	if n := o.Log.TrimmedEarly; n > 0 {
		all = append(all, fmt.Sprintf("log cap: %s left a log before every owner had them", counted(int(n), "group")))
	}
	return all
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

type ringAnswer struct {
	RingHash   string            `json:"ring_hash"`
	Nodes      []shareAnswer     `json:"nodes"`
	Partitions []partitionAnswer `json:"partitions"`
}

type shareAnswer struct {
	ID    string `json:"id"`
	Owns  int    `json:"owns"`
	First int    `json:"first"`
}

type partitionAnswer struct {
	Partition int      `json:"partition"`
	Owners    []string `json:"owners"`
}

func newRingCommand(s *session) *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use:   "ring",
		Short: "Show who owns what",
		Long: `Show how many partitions each node owns, and in how many it is the first owner,
who coordinates writes. With --partitions, the owners of each partition.`,
		Example: `  cartwheel ring
  cartwheel ring --partitions
  cartwheel ring -o json`,
		Args: takes("", 0, 0),
	}
	c.Flags().BoolVar(&all, "partitions", false, "list the owners of every partition")
	c.RunE = func(c *cobra.Command, _ []string) error {
		db, err := s.open(c.Context())
		if err != nil {
			return err
		}
		defer db.Close()
		ring, err := db.Cluster().Ring(c.Context())
		if err != nil {
			return err
		}
		object := sharesOf(ring)
		return s.answer(c, object, func(w io.Writer) error { return object.text(w, all) })
	}
	return c
}

func sharesOf(ring cartwheel.Ring) ringAnswer {
	object := ringAnswer{RingHash: ring.Hash, Nodes: []shareAnswer{}, Partitions: []partitionAnswer{}}
	shares := map[string]*shareAnswer{}
	for p, owners := range ring.Owners {
		object.Partitions = append(object.Partitions, partitionAnswer{p, owners})
		for i, id := range owners {
			share := shares[id]
			if share == nil {
				share = &shareAnswer{ID: id}
				shares[id] = share
			}
			if share.Owns++; i == 0 {
				share.First++
			}
		}
	}
	for _, share := range shares {
		object.Nodes = append(object.Nodes, *share)
	}
	slices.SortFunc(object.Nodes, func(a, b shareAnswer) int { return strings.Compare(a.ID, b.ID) })
	return object
}

func (o ringAnswer) text(w io.Writer, all bool) error {
	if _, err := fmt.Fprintf(w, "ring %s, %s\n\n", o.RingHash, counted(len(o.Partitions), "partition")); err != nil {
		return err
	}
	rows := [][]string{{"NODE", "OWNS", "FIRST"}}
	for _, n := range o.Nodes {
		rows = append(rows, []string{n.ID, strconv.Itoa(n.Owns), strconv.Itoa(n.First)})
	}
	if all {
		rows = [][]string{{"PARTITION", "OWNERS"}}
		for _, p := range o.Partitions {
			rows = append(rows, []string{strconv.Itoa(p.Partition), strings.Join(p.Owners, " ")})
		}
	}
	return table(w, rows...)
}

type whereAnswer struct {
	Type string `json:"type"`
	of
	Partition int            `json:"partition"`
	Owners    []string       `json:"owners"`
	Active    []activeAnswer `json:"active"`
}

type activeAnswer struct {
	Node        nodeAnswer `json:"node"`
	FallbackFor string     `json:"fallback_for,omitempty"`
	Reachable   bool       `json:"reachable"`
}

func newWhereCommand(s *session) *cobra.Command {
	types := []string{string(cartwheel.TypeSet), string(cartwheel.TypeCounter), string(cartwheel.TypeRegister), string(cartwheel.TypeBlob), string(cartwheel.TypeMap)}
	c := &cobra.Command{
		Use:   "where TYPE KEY",
		Short: "Tell where a value lives",
		Long: `Tell which partition a value belongs to, who owns it, and whom the answering node
would turn to now, stand-ins included. TYPE is set, counter, register, blob or map.`,
		Example:   `  cartwheel where set carts/42`,
		Args:      takes("TYPE KEY", 2, 2),
		ValidArgs: types,
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		if !slices.Contains(types, args[0]) {
			return usagef("where: type %q: want %s", args[0], strings.Join(types, ", "))
		}
		t, err := s.target(c.Context(), args[1])
		if err != nil {
			return err
		}
		defer t.db.Close()
		location, err := t.db.Cluster().Locate(c.Context(), cartwheel.DataType(args[0]), t.bucket, t.key)
		if err != nil {
			return err
		}
		object := whereAnswer{Type: args[0], of: t.of(), Partition: location.Partition, Owners: location.Owners, Active: []activeAnswer{}}
		for _, a := range location.Active {
			object.Active = append(object.Active, activeAnswer{asNode(a.Node), a.FallbackFor, a.Reachable})
		}
		return s.answer(c, object, object.text)
	}
	return c
}

func (o whereAnswer) text(w io.Writer) error {
	if _, err := fmt.Fprintf(w, "%s %s is in partition %d, owned by %s\n\n",
		o.Type, line(o.Bucket+"/"+o.Key), o.Partition, counted(len(o.Owners), "node")); err != nil {
		return err
	}
	rows := [][]string{{"ASKED", "NODE", "STANDING", "STATE", "REACHABLE", "API"}}
	for i, a := range o.Active {
		standing := "owner"
		if a.FallbackFor != "" {
			standing = "for " + a.FallbackFor
		}
		rows = append(rows, []string{strconv.Itoa(i + 1), a.Node.ID, standing, a.Node.State, yes(a.Reachable), cmp.Or(a.Node.APIAddress, "-")})
	}
	return table(w, rows...)
}
