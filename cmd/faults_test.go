package cmd

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	cartwheelv1 "github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1"
	"github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1/cartwheelv1connect"
)

// startFaults serves what one healthy node never says: quorums that are not
// reached, values that lost, owners that are away, numbers past their range.
func startFaults(t *testing.T) {
	t.Helper()
	mux := http.NewServeMux()
	mux.Handle(cartwheelv1connect.NewClusterServiceHandler(faultyCluster{}))
	mux.Handle(cartwheelv1connect.NewCounterServiceHandler(faultyCounters{}))
	mux.Handle(cartwheelv1connect.NewRegisterServiceHandler(faultyRegisters{}))
	mux.Handle(cartwheelv1connect.NewSetServiceHandler(faultySets{}))
	node := httptest.NewUnstartedServer(mux)
	node.Config.Protocols = new(http.Protocols)
	node.Config.Protocols.SetUnencryptedHTTP2(true)
	node.Start()
	t.Cleanup(node.Close)
	t.Setenv(endpointsVariable, node.URL)
}

func TestSessionsWithAClusterInTrouble(t *testing.T) {
	startFaults(t)
	replay(t, "trouble")
}

type faultyCluster struct {
	cartwheelv1connect.UnimplementedClusterServiceHandler
}

var away = &cartwheelv1.Node{Id: "c", State: cartwheelv1.NodeState_NODE_STATE_UNREACHABLE, Zone: "east", Weight: 2, ApiAddress: "c:7401"}

func (faultyCluster) Status(context.Context, *connect.Request[cartwheelv1.ClusterServiceStatusRequest]) (*connect.Response[cartwheelv1.ClusterServiceStatusResponse], error) {
	return connect.NewResponse(&cartwheelv1.ClusterServiceStatusResponse{
		Node: &cartwheelv1.Node{Id: "a", State: cartwheelv1.NodeState_NODE_STATE_RECOVERING, Weight: 1}, Version: "v1",
		ServerTimeMs: uint64(time.Now().UnixMilli()), UptimeMs: 61_500,
		Config: &cartwheelv1.ClusterConfig{ClusterId: "id", N: 3, R: 2, W: 2, Q: 4}, RingHash: "00112233445566aa",
		Peers:            []*cartwheelv1.PeerStatus{{Node: away, AgeMs: proto.Uint64(7300), MissingEvents: 3}},
		PartitionsStored: 4, PartitionsOwned: 3, PartitionsReady: 1, PartitionsHandingOff: 1,
		Partitions: &cartwheelv1.PartitionCounts{Joining: 1, Recovering: 1, Ready: 1, Draining: 1},
		Staleness:  behind,
		Installs:   []*cartwheelv1.SnapshotInstall{install, {Partition: 3, From: "b", Phase: "log", Done: 7}},
		LogGroups:  1, LogBytes: 200, Operations: 2, DamagedRows: 3, TrimmedEarly: 4,
	}), nil
}

var install = &cartwheelv1.SnapshotInstall{Partition: 2, From: "b", Phase: "rows", Done: 40, Total: 160}

func (faultyCluster) Partitions(context.Context, *connect.Request[cartwheelv1.ClusterServicePartitionsRequest]) (*connect.Response[cartwheelv1.ClusterServicePartitionsResponse], error) {
	return connect.NewResponse(&cartwheelv1.ClusterServicePartitionsResponse{Partitions: []*cartwheelv1.PartitionHealth{
		{Partition: 0, State: cartwheelv1.PartitionState_PARTITION_STATE_READY, Staleness: behind, LogGroups: 1, LogBytes: 200, Operations: 2, Peers: []*cartwheelv1.PartitionPeer{{Id: "c", AgeMs: proto.Uint64(7300)}}},
		{Partition: 1, State: cartwheelv1.PartitionState_PARTITION_STATE_RECOVERING, Staleness: &cartwheelv1.Staleness{Unreachable: []string{"c"}}, DamagedRows: 3, Peers: []*cartwheelv1.PartitionPeer{{Id: "c", MissingEvents: 9}}},
		{Partition: 2, State: cartwheelv1.PartitionState_PARTITION_STATE_JOINING, Staleness: &cartwheelv1.Staleness{BoundMs: proto.Uint64(1), ReachableBoundMs: proto.Uint64(1)}, Install: install},
		{Partition: 3, State: cartwheelv1.PartitionState_PARTITION_STATE_DRAINING},
	}}), nil
}

func (faultyCluster) Verify(_ context.Context, _ *connect.Request[cartwheelv1.ClusterServiceVerifyRequest], out *connect.ServerStream[cartwheelv1.ClusterServiceVerifyResponse]) error {
	if err := out.Send(&cartwheelv1.ClusterServiceVerifyResponse{Node: "a", Total: 9}); err != nil {
		return err
	}
	return out.Send(&cartwheelv1.ClusterServiceVerifyResponse{
		Node: "a", Total: 9, Compared: 9, Equal: 4, Unlike: 1, Unreachable: 4, Differed: 2, RepairedRows: 1, Done: true, Findings: []*cartwheelv1.VerifyFinding{
			{Partition: 0, Peer: "b", Outcome: cartwheelv1.VerifyOutcome_VERIFY_OUTCOME_EQUAL, Differed: true},
			{Partition: 1, Peer: "b", Outcome: cartwheelv1.VerifyOutcome_VERIFY_OUTCOME_UNLIKE, Differed: true},
			{Partition: 1, Peer: "c", Outcome: cartwheelv1.VerifyOutcome_VERIFY_OUTCOME_UNREACHABLE},
			{Partition: 2, Peer: "c", Outcome: cartwheelv1.VerifyOutcome_VERIFY_OUTCOME_UNREACHABLE},
			{Partition: 4, Peer: "c", Outcome: cartwheelv1.VerifyOutcome_VERIFY_OUTCOME_UNREACHABLE},
			{Partition: 5, Peer: "c", Outcome: cartwheelv1.VerifyOutcome_VERIFY_OUTCOME_UNREACHABLE},
		},
	})
}

func (faultyCluster) Locate(context.Context, *connect.Request[cartwheelv1.ClusterServiceLocateRequest]) (*connect.Response[cartwheelv1.ClusterServiceLocateResponse], error) {
	return connect.NewResponse(&cartwheelv1.ClusterServiceLocateResponse{Owners: []string{"a", "c"}, Active: []*cartwheelv1.ActiveNode{
		{Node: &cartwheelv1.Node{Id: "a", State: cartwheelv1.NodeState_NODE_STATE_READY}, Standing: cartwheelv1.Standing_STANDING_PRIMARY, Reachable: true},
		{Node: &cartwheelv1.Node{Id: "b", State: cartwheelv1.NodeState_NODE_STATE_READY}, Standing: cartwheelv1.Standing_STANDING_FALLBACK, FallbackFor: "c", Reachable: true},
		{Node: away, Standing: cartwheelv1.Standing_STANDING_PRIMARY},
	}}), nil
}

type faultyCounters struct {
	cartwheelv1connect.UnimplementedCounterServiceHandler
}

func (faultyCounters) Add(_ context.Context, r *connect.Request[cartwheelv1.CounterServiceAddRequest]) (*connect.Response[cartwheelv1.CounterServiceAddResponse], error) {
	if r.Msg.GetKey() == "damaged" {
		return nil, fault(connect.CodeDataLoss, &cartwheelv1.ErrorDetail{Reason: cartwheelv1.ErrorDetail_REASON_DAMAGED})
	}
	return nil, fault(connect.CodeUnavailable, &cartwheelv1.ErrorDetail{
		Reason: cartwheelv1.ErrorDetail_REASON_QUORUM_NOT_REACHED, Needed: 2, Answered: 1, OutcomeUnknown: r.Msg.GetKey() == "maybe",
	})
}

var behind = &cartwheelv1.Staleness{BoundMs: proto.Uint64(7300), ReachableBoundMs: proto.Uint64(40), Unreachable: []string{"c"}}

func (faultyCounters) Get(_ context.Context, r *connect.Request[cartwheelv1.CounterServiceGetRequest]) (*connect.Response[cartwheelv1.CounterServiceGetResponse], error) {
	if r.Msg.GetKey() == "stale" {
		return nil, fault(connect.CodeFailedPrecondition, &cartwheelv1.ErrorDetail{
			Reason: cartwheelv1.ErrorDetail_REASON_TOO_STALE, Limit: r.Msg.GetOptions().GetMaxStalenessMs(), Actual: 7300, Staleness: behind,
		})
	}
	return connect.NewResponse(&cartwheelv1.CounterServiceGetResponse{
		Info: &cartwheelv1.ReplyInfo{Degraded: true, ReplicasAnswered: 2, Coordinator: "a", Staleness: behind}, Value: 1<<63 - 1, Saturated: true,
	}), nil
}

type faultyRegisters struct {
	cartwheelv1connect.UnimplementedRegisterServiceHandler
}

func (faultyRegisters) Get(context.Context, *connect.Request[cartwheelv1.RegisterServiceGetRequest]) (*connect.Response[cartwheelv1.RegisterServiceGetResponse], error) {
	return connect.NewResponse(&cartwheelv1.RegisterServiceGetResponse{
		Info: &cartwheelv1.ReplyInfo{}, Exists: true, Value: []byte("blue\n"), Stamp: 9, Context: "shown",
		Concurrent: []*cartwheelv1.RegisterLoser{
			{Value: []byte{0xff, 0x00}, Stamp: 8}, {Value: []byte("two\nlines"), Stamp: 7}, {Value: make([]byte, 1000), Stamp: 6},
		},
	}), nil
}

type faultySets struct {
	cartwheelv1connect.UnimplementedSetServiceHandler
}

func (faultySets) Members(context.Context, *connect.Request[cartwheelv1.SetServiceMembersRequest]) (*connect.Response[cartwheelv1.SetServiceMembersResponse], error) {
	return connect.NewResponse(&cartwheelv1.SetServiceMembersResponse{Info: &cartwheelv1.ReplyInfo{}, Members: []*cartwheelv1.Member{
		{Member: "\x1b[2J", Note: []byte{0xff}}, {Member: "here", ExpiresAtMs: 1_800_000_000_000}, {Member: "two\nlines"},
	}}), nil
}

func fault(code connect.Code, detail *cartwheelv1.ErrorDetail) error {
	err := connect.NewError(code, errors.New("words of\nthe node"))
	attached, wrong := connect.NewErrorDetail(detail)
	if wrong != nil {
		panic(wrong)
	}
	err.AddDetail(attached)
	return err
}
