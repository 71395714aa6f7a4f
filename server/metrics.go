package server

import (
	"net/http"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/cartwheel-db/cartwheel/replica"
	"github.com/cartwheel-db/cartwheel/replica/store"
	"github.com/cartwheel-db/cartwheel/server/peer"
)

// metrics serves what the node counts, in the format of Prometheus.
func (n *Node) metrics() http.Handler {
	r := prometheus.NewRegistry()
	r.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		&nodeCollector{node: n},
	)
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{Timeout: 10 * time.Second})
}

type metric struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(*reading) float64
}

// reading is everything one scrape reads, read once.
type reading struct {
	totals  replica.Stats
	store   store.Stats
	links   peer.PeerStats // summed over peers
	status  NodeStatus
	reopens uint64
}

func count(name, help string, value func(*reading) uint64) metric {
	return metric{prometheus.NewDesc("cartwheel_"+name+"_total", help, nil, nil), prometheus.CounterValue,
		func(r *reading) float64 { return float64(value(r)) }}
}

func gauge(name, help string, value func(*reading) float64) metric {
	return metric{prometheus.NewDesc("cartwheel_"+name, help, nil, nil), prometheus.GaugeValue, value}
}

var nodeMetrics = []metric{
	gauge("process_id", "process id, to tell nodes that share a process", func(*reading) float64 { return float64(os.Getpid()) }),
	gauge("partitions_stored", "partitions with a store on this node", func(r *reading) float64 { return float64(r.status.Stored) }),
	gauge("partitions_owned", "partitions this node owns", func(r *reading) float64 { return float64(r.status.Owned) }),
	gauge("partitions_handing_off", "partitions stored here and owned elsewhere", func(r *reading) float64 { return float64(r.status.HandingOff) }),
	gauge("store_bytes", "size of the store's file", func(r *reading) float64 { return float64(r.store.File) }),

	count("store_commits", "transactions committed by the store", func(r *reading) uint64 { return r.store.Commits }),
	count("store_syncs", "fsyncs of the store", func(r *reading) uint64 { return r.store.Syncs }),
	count("store_put_bytes", "bytes of keys and values put", func(r *reading) uint64 { return r.store.Bytes }),
	count("store_page_bytes", "bytes of pages written", func(r *reading) uint64 { return r.store.Pages }),
	count("store_damaged_records", "records whose checksum failed: never served, never merged", func(r *reading) uint64 { return r.store.Damaged }),
	count("store_reopens", "times a failed store was opened again", func(r *reading) uint64 { return r.reopens }),
	count("commits", "group commits", func(r *reading) uint64 { return r.totals.Commits }),
	count("commit_groups", "groups of events over all commits", func(r *reading) uint64 { return r.totals.CommitGroups }),
	count("groups_minted", "groups of events minted here", func(r *reading) uint64 { return r.totals.Minted }),
	count("groups_sent", "groups of events sent to other nodes", func(r *reading) uint64 { return r.totals.Shipped }),
	count("groups_applied", "groups of events applied here", func(r *reading) uint64 { return r.totals.Applied }),
	count("groups_known", "groups that were received again", func(r *reading) uint64 { return r.totals.Known }),
	count("groups_caught_up", "groups received by exchange or handoff", func(r *reading) uint64 { return r.totals.CaughtUp }),
	count("mutations_coordinated", "mutations this node coordinated", func(r *reading) uint64 { return r.totals.Coordinated }),
	count("mutations_forwarded", "mutations handed to another coordinator", func(r *reading) uint64 { return r.totals.Forwards }),
	count("mutations_recognised", "retries answered from memory", func(r *reading) uint64 { return r.totals.Retries }),
	count("increments_voided", "increments that two coordinators applied, taken back once", func(r *reading) uint64 { return r.totals.Voids }),
	count("reads", "merged reads", func(r *reading) uint64 { return r.totals.ReadsMerged }),
	count("reads_degraded", "reads answered by fewer than R owners", func(r *reading) uint64 { return r.totals.Degraded }),
	count("reads_hedged", "replicas asked because others were slow", func(r *reading) uint64 { return r.totals.Hedges }),
	count("nudges", "replicas that a read found behind", func(r *reading) uint64 { return r.totals.Nudges }),
	count("exchanges", "clocks found different", func(r *reading) uint64 { return r.totals.Exchanges }),
	count("fallbacks", "groups sent to a fallback", func(r *reading) uint64 { return r.totals.Fallbacks }),
	count("handed_off", "partitions dropped after handoff", func(r *reading) uint64 { return r.totals.HandedOff }),
	count("register_concurrent", "register writes that stand beside a concurrent one; one of them is not shown", func(r *reading) uint64 { return r.totals.Concurrent }),
	count("refused", "requests and deliveries refused because a queue was full", func(r *reading) uint64 { return r.totals.Refused }),
	count("alarm_collisions", "ALARM: one dot with different bytes", func(r *reading) uint64 { return r.totals.Collisions }),
	count("alarm_rotations", "ALARM: foreign events bore this node's actor", func(r *reading) uint64 { return r.totals.Rotations }),
	count("alarm_skew", "ALARM: stamps further ahead than the maximum skew", func(r *reading) uint64 { return r.totals.SkewAlarms }),
	count("alarm_malformed", "ALARM: messages that no honest peer sends", func(r *reading) uint64 { return r.totals.Malformed }),
	count("link_frames_sent", "frames sent to peers", func(r *reading) uint64 { return r.links.FramesSent }),
	count("link_messages_sent", "messages sent to peers", func(r *reading) uint64 { return r.links.MessagesSent }),
	count("link_bytes_sent", "bytes sent to peers", func(r *reading) uint64 { return r.links.BytesSent }),
	count("link_messages_received", "messages received from peers", func(r *reading) uint64 { return r.links.MessagesReceived }),
	count("link_dropped", "messages lost with a link", func(r *reading) uint64 { return r.links.Dropped }),
	count("link_reconnects", "times a link was made again", func(r *reading) uint64 { return r.links.Reconnects }),
}

type nodeCollector struct{ node *Node }

func (c *nodeCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range nodeMetrics {
		ch <- m.desc
	}
}

func (c *nodeCollector) Collect(ch chan<- prometheus.Metric) {
	r := reading{status: c.node.Snapshot(), reopens: c.node.loop.reopens.Load()}
	r.totals = r.status.Totals
	c.node.loop.call(func() { r.store = c.node.loop.store.Stats() })
	for _, p := range c.node.links.Stats().Peers {
		r.links.FramesSent += p.FramesSent
		r.links.MessagesSent += p.MessagesSent
		r.links.BytesSent += p.BytesSent
		r.links.MessagesReceived += p.MessagesReceived
		r.links.Dropped += p.Dropped
		r.links.Reconnects += p.Reconnects
	}
	for _, m := range nodeMetrics {
		ch <- prometheus.MustNewConstMetric(m.desc, m.kind, m.value(&r))
	}
}
