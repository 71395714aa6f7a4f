package server

import (
	"context"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"github.com/cartwheel-db/cartwheel/replica"
	"github.com/cartwheel-db/cartwheel/ring"
	cartwheelv1 "github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1"
)

// How the partitions of this node are doing, and what an operator can do about
// it.

// MaxPartitions is the most partitions of one page.
const MaxPartitions = 1_000

var partitionStates = map[replica.State]cartwheelv1.PartitionState{
	replica.Joining:    cartwheelv1.PartitionState_PARTITION_STATE_JOINING,
	replica.Recovering: cartwheelv1.PartitionState_PARTITION_STATE_RECOVERING,
	replica.Ready:      cartwheelv1.PartitionState_PARTITION_STATE_READY,
	replica.Draining:   cartwheelv1.PartitionState_PARTITION_STATE_DRAINING,
	replica.Left:       cartwheelv1.PartitionState_PARTITION_STATE_LEFT,
}

func (s clusterService) Partitions(_ context.Context, req *connect.Request[cartwheelv1.ClusterServicePartitionsRequest]) (*connect.Response[cartwheelv1.ClusterServicePartitionsResponse], error) {
	limit := int(min(req.Msg.GetLimit(), MaxPartitions))
	if limit == 0 {
		limit = MaxPartitions
	}
	res := &cartwheelv1.ClusterServicePartitionsResponse{}
	for _, h := range s.backend.Health() {
		if uint64(h.Partition) < uint64(req.Msg.GetFrom()) {
			continue
		}
		if len(res.Partitions) == limit {
			res.Next = uint32(h.Partition)
			break
		}
		res.Partitions = append(res.Partitions, partitionHealth(h))
	}
	return connect.NewResponse(res), nil
}

func partitionHealth(h replica.Health) *cartwheelv1.PartitionHealth {
	p := &cartwheelv1.PartitionHealth{
		Partition: uint32(h.Partition), State: partitionStates[h.State], Staleness: staleness(h.Staleness),
		LogGroups: uint64(h.Groups), LogBytes: uint64(h.LogBytes), Operations: uint64(h.Operations), DamagedRows: uint64(h.Damaged),
	}
	if h.Install != nil {
		p.Install = install(h)
	}
	for _, peer := range h.Peers {
		p.Peers = append(p.Peers, &cartwheelv1.PartitionPeer{Id: string(peer.ID), AgeMs: bound(peer.Age), MissingEvents: peer.Missing})
	}
	return p
}

func install(h replica.Health) *cartwheelv1.SnapshotInstall {
	return &cartwheelv1.SnapshotInstall{
		Partition: uint32(h.Partition), From: string(h.Install.From), Phase: h.Install.Phase,
		Done: uint64(h.Install.Done), Total: uint64(h.Install.Total),
	}
}

// verifyPoll is how often a verification is looked at.
const verifyPoll = 100 * time.Millisecond

func (s clusterService) Verify(ctx context.Context, _ *connect.Request[cartwheelv1.ClusterServiceVerifyRequest], out *connect.ServerStream[cartwheelv1.ClusterServiceVerifyResponse]) error {
	s.backend.Verify()
	tick := time.NewTicker(verifyPoll)
	defer tick.Stop()
	for last := (*cartwheelv1.ClusterServiceVerifyResponse)(nil); ; {
		// A node that stops does not wait for those who watch.
		if s.backend.Snapshot().State == Draining {
			c := &call{api: s.api, op: "cluster.verify"}
			return c.error(&problem{reason: cartwheelv1.ErrorDetail_REASON_NOT_READY, text: "the node is shutting down"})
		}
		report := verified(s.backend.Self(), s.backend.Verifying())
		if !proto.Equal(report, last) {
			last = report
			if err := out.Send(report); err != nil {
				return err
			}
		}
		if report.GetDone() {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil // nobody is there to be told
		}
	}
}

func verified(self ring.NodeID, r replica.VerifyReport) *cartwheelv1.ClusterServiceVerifyResponse {
	report := &cartwheelv1.ClusterServiceVerifyResponse{
		Node: string(self), Total: uint32(r.Pairs), Compared: uint32(r.Done),
		Equal: uint32(r.Equal), Behind: uint32(r.Behind), Busy: uint32(r.Busy), Unlike: uint32(r.Unlike), Unreachable: uint32(r.Unreachable),
		Differed: uint32(r.Differing), RepairedRows: r.Repaired, Done: !r.Running(),
	}
	if report.GetDone() {
		for _, f := range r.Findings {
			report.Findings = append(report.Findings, &cartwheelv1.VerifyFinding{
				Partition: uint32(f.Partition), Peer: string(f.Peer), Outcome: outcomes[f.Found], Differed: f.Differed,
			})
		}
	}
	return report
}

var outcomes = map[replica.Verified]cartwheelv1.VerifyOutcome{
	replica.VerifiedEqual:       cartwheelv1.VerifyOutcome_VERIFY_OUTCOME_EQUAL,
	replica.VerifiedBehind:      cartwheelv1.VerifyOutcome_VERIFY_OUTCOME_BEHIND,
	replica.VerifiedBusy:        cartwheelv1.VerifyOutcome_VERIFY_OUTCOME_BUSY,
	replica.VerifiedUnlike:      cartwheelv1.VerifyOutcome_VERIFY_OUTCOME_UNLIKE,
	replica.VerifiedUnreachable: cartwheelv1.VerifyOutcome_VERIFY_OUTCOME_UNREACHABLE,
}

func (s clusterService) ForceReady(_ context.Context, req *connect.Request[cartwheelv1.ClusterServiceForceReadyRequest]) (*connect.Response[cartwheelv1.ClusterServiceForceReadyResponse], error) {
	c := &call{api: s.api, op: "cluster.forceready"}
	r, self := s.backend.Ring(), s.backend.Self()
	var wanted []int
	switch n := len(req.Msg.GetPartitions()); {
	case req.Msg.GetAll() && n > 0:
		return nil, c.error(invalidOption(0, uint64(n), "all, and %d partitions by number: give one of them", n))
	case req.Msg.GetAll():
		wanted = r.PartitionsOf(self)
	case n == 0:
		return nil, c.error(invalidOption(1, 0, "0 partitions given, at least 1 is needed, or all"))
	}
	for _, p := range req.Msg.GetPartitions() {
		if q := r.Config().Partitions; uint64(p) >= uint64(q) {
			return nil, c.error(invalidOption(uint64(q-1), uint64(p), "partition %d, the last is %d", p, q-1))
		}
		if !r.Owns(self, int(p)) {
			return nil, c.error(invalidOption(0, uint64(p), "partition %d is not owned by this node, %s", p, self))
		}
		wanted = append(wanted, int(p))
	}
	res := &cartwheelv1.ClusterServiceForceReadyResponse{}
	for _, p := range s.backend.ForceReady(wanted) {
		res.Partitions = append(res.Partitions, uint32(p))
	}
	return connect.NewResponse(res), nil
}
