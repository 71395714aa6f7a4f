package server

import (
	"context"
	"runtime/debug"
	"time"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica"
	"github.com/cartwheel-db/cartwheel/ring"
	"github.com/cartwheel-db/cartwheel/ring/gossip"
)

// The node as the API handlers see it.

// Do implements [Backend].
func (n *Node) Do(ctx context.Context, r replica.Request, seen crdt.Stamp) (replica.Result, crdt.Stamp) {
	deadline := deadlineOf(ctx, time.Now())
	res, stamp := n.loop.do(ctx, r, seen, deadline)
	if res.Failure != nil && (res.Failure.Reason == replica.DeadlinePast || !time.Now().Before(deadline)) {
		n.admission.miss()
	}
	return res, stamp
}

// deadlineOf tells when to give up. The answer must still reach the client: "1 of
// 2 acks" says more than a connection that ended.
func deadlineOf(ctx context.Context, now time.Time) time.Time {
	deadline, ok := ctx.Deadline()
	if !ok {
		return now.Add(defaultDeadline)
	}
	left := deadline.Sub(now)
	left -= max(0, min(left/10, 50*time.Millisecond))
	return now.Add(min(left, maxDeadline))
}

// Self implements [Backend].
func (n *Node) Self() ring.NodeID { return n.id }

// Ring implements [Backend].
func (n *Node) Ring() *ring.Ring { return n.ring.Load() }

// Sealer implements [Backend].
func (n *Node) Sealer() dvv.Sealer { return n.sealer }

// Defaults implements [Backend].
func (n *Node) Defaults() (r, w int) { return n.cfg.Cluster.Read, n.cfg.Cluster.Write }

// WallMillis implements [Backend].
func (n *Node) WallMillis() int64 { return time.Now().UnixMilli() }

// Reachable implements [Backend]. It is what the data path believes: gossip,
// link and breaker together.
func (n *Node) Reachable(id ring.NodeID) (reaches bool) {
	n.loop.call(func() { reaches = n.loop.shard.Reaches(n.loop.now(), id) })
	return reaches
}

// Snapshot implements [Backend].
func (n *Node) Snapshot() NodeStatus {
	s := NodeStatus{
		State: apiState(gossip.State(n.state.Load())), Version: Version(), ClusterID: n.cfg.Cluster.ID,
		Started: n.started, Stamp: crdt.Stamp(n.loop.stamp.Load()),
	}
	var stored []int
	n.loop.call(func() {
		stored = n.loop.shard.Stored()
		s.Totals = n.loop.shard.Totals()
	})
	r := n.Ring()
	s.Stored, s.Owned = len(stored), len(r.PartitionsOf(n.id))
	for _, p := range stored {
		if !r.Owns(n.id, p) {
			s.HandingOff++
		}
	}
	shown := map[ring.NodeID]gossip.Peer{}
	for _, p := range n.talk.Load().Peers() {
		shown[p.ID] = p
	}
	for _, m := range r.Members() {
		if m.ID != n.id {
			p := shown[m.ID]
			s.Peers = append(s.Peers, PeerStatus{
				ID: m.ID, Alive: p.Up, Link: n.links.Up(m.ID), Addr: m.PeerAddr, State: apiState(p.State), RingHash: p.RingHash,
			})
		}
	}
	return s
}

// apiState names what gossip says in the words of the API.
func apiState(s gossip.State) string {
	switch s {
	case gossip.Joining:
		return Joining
	case gossip.Recovering:
		return Recovering
	case gossip.Ready:
		return Ready
	case gossip.Draining:
		return Draining
	case gossip.Left:
		return Left
	default:
		return Starting
	}
}

// Health implements [Backend].
func (n *Node) Health() (all []replica.Health) {
	n.loop.call(func() { all = n.loop.shard.Health(n.loop.now()) })
	return all
}

// ForceReady implements [Backend].
func (n *Node) ForceReady(partitions []int) (forced []int) {
	n.loop.call(func() {
		for _, p := range partitions {
			if n.loop.shard.ForceReady(n.loop.now(), p) {
				forced = append(forced, p)
			}
		}
	})
	if len(forced) > 0 {
		n.log.Warn("an operator made partitions ready that have not caught up", "partitions", forced)
	}
	return forced
}

// Version returns the version of this build.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "devel"
	}
	return info.Main.Version
}

// Verify implements [Backend].
func (n *Node) Verify() {
	n.loop.call(func() { n.loop.shard.Verify(n.loop.now()) })
}

// Verifying implements [Backend].
func (n *Node) Verifying() (r replica.VerifyReport) {
	n.loop.call(func() { r = n.loop.shard.Verifying(n.loop.now()) })
	return r
}

// How often a node looks at its partitions to tell the others its state: seldom
// when there is nothing to wait for.
const (
	watchUnready = 100 * time.Millisecond
	watchReady   = time.Second
)

// watch keeps the node's state at that of its partitions until it is told to stop.
func (n *Node) watch() {
	defer close(n.watched)
	for {
		now := gossip.State(n.state.Load())
		next := n.stateOfPartitions(now)
		if next != now && n.state.CompareAndSwap(int32(now), int32(next)) {
			n.talk.Load().SetMeta(n.Ring().Hash(), next)
			n.log.Info("state", "was", now, "is", next)
			if next == gossip.Left {
				n.log.Warn("this node left the cluster, and everything it stored is handed off: its process may be stopped, its data deleted")
			}
		}
		pause := watchReady
		if next != gossip.Ready {
			pause = watchUnready
		}
		select {
		case <-n.draining:
			return
		case <-time.After(pause):
		}
	}
}

// stateOfPartitions tells how far the node is: with what it owns, or with leaving.
func (n *Node) stateOfPartitions(now gossip.State) gossip.State {
	var departed, drained bool
	n.loop.call(func() { departed, drained = n.loop.ring.HasDeparted(n.id), n.loop.shard.Drained() })
	switch {
	case drained:
		return gossip.Left
	case departed:
		return gossip.Draining
	case now == gossip.Draining:
		return now // the loop has not heard of its leaving yet
	}
	sum := summarize(n.Health())
	return gossipStates[sum.state(apiState(now))]
}

var gossipStates = map[string]gossip.State{Joining: gossip.Joining, Recovering: gossip.Recovering, Ready: gossip.Ready}
