package cmd

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"connectrpc.com/connect"

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
		Peers:            []*cartwheelv1.PeerStatus{{Node: away}},
		PartitionsStored: 4, PartitionsOwned: 3, PartitionsReady: 2, PartitionsHandingOff: 1,
	}), nil
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

func (faultyCounters) Get(context.Context, *connect.Request[cartwheelv1.CounterServiceGetRequest]) (*connect.Response[cartwheelv1.CounterServiceGetResponse], error) {
	return connect.NewResponse(&cartwheelv1.CounterServiceGetResponse{
		Info: &cartwheelv1.ReplyInfo{Degraded: true, ReplicasAnswered: 2, Coordinator: "a"}, Value: 1<<63 - 1, Saturated: true,
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
