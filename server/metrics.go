package server

import (
	"math"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strconv"
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
	totals  reflect.Value // of replica.Stats
	store   store.Stats
	links   peer.PeerStats // summed over peers
	status  NodeStatus
	health  []replica.Health
	sum     summary
	reopens uint64
	asides  uint64
	entered AdmissionCounts
	expired uint64
}

func count(name, help string, value func(*reading) uint64) metric {
	return metric{prometheus.NewDesc("cartwheel_"+name+"_total", help, nil, nil), prometheus.CounterValue,
		func(r *reading) float64 { return float64(value(r)) }}
}

func gauge(name, help string, value func(*reading) float64) metric {
	return metric{prometheus.NewDesc("cartwheel_"+name, help, nil, nil), prometheus.GaugeValue, value}
}

// seconds is a bound, endless where nobody knows: an alert that compares it with
// a limit then does not sleep.
func seconds(nanos int64) float64 {
	if nanos == replica.Unknown {
		return math.Inf(1)
	}
	return float64(nanos) / 1e9
}

var nodeMetrics = slices.Concat([]metric{
	gauge("process_id", "process id, to tell nodes that share a process", func(*reading) float64 { return float64(os.Getpid()) }),
	gauge("partitions_stored", "partitions with a store on this node", func(r *reading) float64 { return float64(r.status.Stored) }),
	gauge("partitions_owned", "partitions this node owns", func(r *reading) float64 { return float64(r.status.Owned) }),
	gauge("partitions_handing_off", "partitions stored here and owned elsewhere", func(r *reading) float64 { return float64(r.status.HandingOff) }),
	gauge("staleness_seconds", "how far behind a read of an owned partition may be at worst, over all members; +Inf while unknown", func(r *reading) float64 { return seconds(r.sum.worst.Bound) }),
	gauge("staleness_reachable_seconds", "the same over the members that can be reached", func(r *reading) float64 { return seconds(r.sum.worst.Reachable) }),
	gauge("members_unreachable", "members that cannot be reached", func(r *reading) float64 { return float64(len(r.sum.worst.Missing)) }),
	gauge("log_bytes", "bytes of events logged for owners that lack them", func(r *reading) float64 { return float64(r.sum.logBytes) }),
	gauge("log_groups", "groups of events logged for owners that lack them", func(r *reading) float64 { return float64(r.sum.groups) }),
	gauge("operations_remembered", "operation ids remembered, so that a retry takes effect once", func(r *reading) float64 { return float64(r.sum.operations) }),
	gauge("damaged_rows", "rows that failed their checksum and wait to be fetched again", func(r *reading) float64 { return float64(r.sum.damaged) }),
	gauge("snapshot_installs", "snapshots on their way in", func(r *reading) float64 { return float64(len(r.sum.installs)) }),
	gauge("store_bytes", "size of the store's file", func(r *reading) float64 { return float64(r.store.File) }),

	count("store_commits", "transactions committed by the store", func(r *reading) uint64 { return r.store.Commits }),
	count("store_syncs", "fsyncs of the store", func(r *reading) uint64 { return r.store.Syncs }),
	count("store_put_bytes", "bytes of keys and values put", func(r *reading) uint64 { return r.store.Bytes }),
	count("store_page_bytes", "bytes of pages written", func(r *reading) uint64 { return r.store.Pages }),
	count("store_damaged_records", "records whose checksum failed: never served, never merged", func(r *reading) uint64 { return r.store.Damaged }),
	count("alarm_store_set_aside", "ALARM: times the store's file was found damaged and set aside; the store is filled again by the other members", func(r *reading) uint64 { return r.asides }),
	count("store_reopens", "times a failed store was opened again", func(r *reading) uint64 { return r.reopens }),
	count("link_frames_sent", "frames sent to peers", func(r *reading) uint64 { return r.links.FramesSent }),
	count("link_messages_sent", "messages sent to peers", func(r *reading) uint64 { return r.links.MessagesSent }),
	count("link_bytes_sent", "bytes sent to peers", func(r *reading) uint64 { return r.links.BytesSent }),
	count("link_messages_received", "messages received from peers", func(r *reading) uint64 { return r.links.MessagesReceived }),
	count("link_dropped", "messages lost with a link", func(r *reading) uint64 { return r.links.Dropped }),
	count("link_reconnects", "times a link was made again", func(r *reading) uint64 { return r.links.Reconnects }),
}, admissionMetrics, shardMetrics())

// What there is one of for each partition or peer.
var (
	partitionsByState  = prometheus.NewDesc("cartwheel_partitions", "partitions by state: joining and recovering ones count for W and not yet for R", []string{"state"}, nil)
	peerAge            = prometheus.NewDesc("cartwheel_peer_age_seconds", "in every owned partition all is held that the peer held this long ago; +Inf while unknown", []string{"peer"}, nil)
	peerMissing        = prometheus.NewDesc("cartwheel_peer_missing_events", "events that the peer has shown in owned partitions and that are not durable here", []string{"peer"}, nil)
	partitionStaleness = prometheus.NewDesc("cartwheel_partition_staleness_seconds", "how far behind a read of an owned partition may be, over all members; +Inf while unknown", []string{"partition"}, nil)
	partitionState     = prometheus.NewDesc("cartwheel_partition_state", "1 joining, 2 recovering, 3 ready, 4 draining", []string{"partition"}, nil)
	partitionLogBytes  = prometheus.NewDesc("cartwheel_partition_log_bytes", "bytes of events logged for owners that lack them", []string{"partition"}, nil)
)

type nodeCollector struct{ node *Node }

func (c *nodeCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range nodeMetrics {
		ch <- m.desc
	}
	for _, d := range []*prometheus.Desc{partitionsByState, peerAge, peerMissing, partitionStaleness, partitionState, partitionLogBytes} {
		ch <- d
	}
}

func (c *nodeCollector) Collect(ch chan<- prometheus.Metric) {
	r := reading{status: c.node.Snapshot(), health: c.node.Health(), reopens: c.node.loop.reopens.Load(), asides: c.node.loop.asides.Load(), entered: c.node.admission.stats(), expired: c.node.loop.expired.Load()}
	r.totals, r.sum = reflect.ValueOf(r.status.Totals), summarize(r.health)
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
	r.labelled(func(d *prometheus.Desc, label string, value float64) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, label)
	})
}

// labelled emits what there is one of for each state, peer or partition. Of
// partitions that are elsewhere it says nothing.
func (r *reading) labelled(emit func(d *prometheus.Desc, label string, value float64)) {
	for s := replica.Joining; s <= replica.Draining; s++ {
		emit(partitionsByState, s.String(), float64(r.sum.states[s]))
	}
	for id, p := range r.sum.peers {
		emit(peerAge, string(id), seconds(p.Age))
		emit(peerMissing, string(id), float64(p.Missing))
	}
	for _, h := range r.health {
		label := strconv.Itoa(h.Partition)
		if owned(h.State) {
			emit(partitionStaleness, label, seconds(h.Staleness.Bound))
		}
		emit(partitionState, label, float64(h.State))
		emit(partitionLogBytes, label, float64(h.LogBytes))
	}
}
