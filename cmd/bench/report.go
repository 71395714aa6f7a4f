package bench

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	cartwheel "github.com/cartwheel-db/cartwheel/sdk"
)

// Report is all that a run has to say. Rates and latencies are of operations
// that succeeded.
type Report struct {
	Command     string       `json:"command"`
	Began       time.Time    `json:"began"`
	Machine     Machine      `json:"machine"`
	Cluster     Cluster      `json:"cluster"`
	Workload    Workload     `json:"workload"`
	ElapsedS    float64      `json:"elapsed_s"`
	Interrupted bool         `json:"interrupted"`
	Operations  []Operations `json:"operations"`
	Total       Operations   `json:"total"`
	Server      Server       `json:"server"`
	Client      Client       `json:"client"`
	Offer       *Offer       `json:"offer,omitempty"`    // of an open loop
	Overload    *Overload    `json:"overload,omitempty"` // operations, total and failures are then of the whole curve
	Failures    []Failures   `json:"failures"`
	Warnings    []string     `json:"warnings"`
}

// Cluster is what was measured.
type Cluster struct {
	Nodes     int      `json:"nodes"`
	N         int      `json:"n"`
	R         int      `json:"r"`
	W         int      `json:"w"`
	Q         int      `json:"q"`
	Version   string   `json:"version"`
	Endpoints []string `json:"endpoints"`
}

// Workload is what was done to it.
type Workload struct {
	Name      string  `json:"name"`
	Mix       string  `json:"mix"`
	Clients   int     `json:"clients"`
	Keys      int     `json:"keys"`
	Theta     float64 `json:"theta"`
	ValueSize int     `json:"value_size,omitempty"`
	Seed      uint64  `json:"seed"`
	W         uint32  `json:"w,omitempty"`
	R         uint32  `json:"r,omitempty"`
	Fast      bool    `json:"fast"`
	API       string  `json:"api"`
	Routed    bool    `json:"routed"`
	Loaded    bool    `json:"loaded"`
	WarmupS   float64 `json:"warmup_s"`
}

func (c Config) workload(w workload) Workload {
	size := 0
	if w.bucket == "bench-blob" {
		size = c.ValueSize
	}
	return Workload{
		Name: w.name, Mix: w.String(), Clients: c.Clients, Keys: c.Keys, Theta: c.Theta, ValueSize: size,
		Seed: c.Seed, W: c.W, R: c.R, Fast: c.Fast, API: c.api(), Routed: !c.Unrouted, Loaded: c.Load, WarmupS: c.Warmup.Seconds(),
	}
}

// Client is what the client spent, and how often it had to try again.
type Client struct {
	CPUPerOp        float64 `json:"cpu_us_per_op"`
	Retries         uint64  `json:"retries"` // attempts beyond the first
	Retried         uint64  `json:"retried_ops"`
	Failovers       uint64  `json:"failovers"`
	UnknownOutcomes uint64  `json:"unknown_outcomes"`
}

func (c *Client) add(before, after cartwheel.Stats) {
	c.Retries = after.Retries - before.Retries
	c.Retried = after.RetriedOperations - before.RetriedOperations
	c.Failovers = after.Failovers - before.Failovers
	c.UnknownOutcomes = after.UnknownOutcomes - before.UnknownOutcomes
}

// writes counts the mutations that succeeded.
func (r *Report) writes() (n uint64) {
	for _, o := range r.Operations {
		if o.Kind != read && o.Kind != ask {
			n += o.Ops
		}
	}
	return n
}

// Text writes the report for people.
func (r *Report) Text(w io.Writer) error {
	b := &strings.Builder{}
	fmt.Fprintf(b, "%s\n\n", r.Command)
	fmt.Fprintf(b, "machine   %s, %s, %s, %s, commit %s\n", counted(r.Machine.Cores, "core"), r.Machine.CPU, r.Machine.Platform, r.Machine.Go, r.Machine.Commit)
	fmt.Fprintf(b, "cluster   %s in %s, N=%d R=%d W=%d, %d partitions, version %s\n",
		counted(r.Cluster.Nodes, "node"), counted(r.Server.Processes, "process"), r.Cluster.N, r.Cluster.R, r.Cluster.W, r.Cluster.Q, r.Cluster.Version)
	fmt.Fprintf(b, "workload  %s\n", r.Workload.Mix)
	fmt.Fprintf(b, "          %s\n", r.Workload.shape())
	fmt.Fprintf(b, "measured  %.1f s from %s, after %v s of warming up%s\n\n", r.ElapsedS, r.Began.Format(time.RFC3339), r.Workload.WarmupS, r.interrupted())
	r.latencies(b)
	if b.WriteByte('\n'); r.Offer != nil {
		r.Offer.text(b)
	}
	if r.Overload != nil {
		r.Overload.text(b)
	}
	fmt.Fprintf(b, "servers   %.0f us CPU per op\n", r.Server.CPUPerOp)
	fmt.Fprintf(b, "client    %.0f us CPU per op, %.0f with the servers\n", r.Client.CPUPerOp, r.Client.CPUPerOp+r.Server.CPUPerOp)
	fmt.Fprintf(b, "forwards  %.0f per 1,000 ops: handed to another node\n", r.Server.ForwardsPer1000)
	fmt.Fprintf(b, "syncs     %.3f per op, %.3f per write\n", r.Server.SyncsPerOp, r.Server.SyncsPerWrite)
	fmt.Fprintf(b, "batching  %.1f groups per commit, %.1f messages and %.1f groups per frame\n",
		r.Server.GroupsPerCommit, r.Server.MessagesPerFrame, r.Server.GroupsPerFrame)
	fmt.Fprintf(b, "retries   %d, of %d operations; %d failovers; %d unknown outcomes\n",
		r.Client.Retries, r.Client.Retried, r.Client.Failovers, r.Client.UnknownOutcomes)
	for _, f := range r.Failures {
		fmt.Fprintf(b, "failed    %d: %s\n", f.Ops, f.Reason)
	}
	for _, warning := range r.Warnings {
		fmt.Fprintf(b, "warning   %s\n", warning)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *Report) interrupted() string {
	if r.Interrupted {
		return "; interrupted"
	}
	return ""
}

func counted(n int, what string) string {
	switch {
	case n == 1:
		return "1 " + what
	case strings.HasSuffix(what, "s"):
		return fmt.Sprintf("%d %ses", n, what)
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// shape is the rest of what defines the work.
func (w Workload) shape() string {
	parts := []string{counted(w.Clients, "client"), fmt.Sprintf("%s, zipf %v, seed %d", counted(w.Keys, "key"), w.Theta, w.Seed)}
	if w.ValueSize > 0 {
		parts = append(parts, fmt.Sprintf("values of %d bytes", w.ValueSize))
	}
	if w.W > 0 {
		parts = append(parts, fmt.Sprintf("w=%d", w.W))
	}
	if w.R > 0 {
		parts = append(parts, fmt.Sprintf("r=%d", w.R))
	}
	if w.Fast {
		parts = append(parts, "fast reads")
	}
	parts = append(parts, "by "+w.API)
	if !w.Routed {
		parts = append(parts, "not routed")
	}
	return strings.Join(parts, ", ")
}

func (r *Report) latencies(b *strings.Builder) {
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "operation\tops\tops/s\terrors\tmean ms\tp50\tp95\tp99\tp99.9\tmax\tper read\t")
	for _, o := range append(r.Operations[:len(r.Operations):len(r.Operations)], r.Total) {
		perRead := "-"
		if o.Kind == read {
			perRead = fmt.Sprintf("%.1f", o.PerRead)
		}
		l := o.Latency
		fmt.Fprintf(t, "%s\t%d\t%.0f\t%d\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%s\t\n",
			o.Kind, o.Ops, o.PerS, o.Errors, l.Mean, l.P50, l.P95, l.P99, l.P999, l.Max, perRead)
	}
	// A strings.Builder does not fail.
	_ = t.Flush()
}
