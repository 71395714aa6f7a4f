package cartwheel_test

import (
	"context"
	"errors"
	"testing"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	cartwheel "github.com/cartwheel-db/cartwheel/sdk"
	cartwheelv1 "github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1"
)

// membershipService knows one plan, for ring "feed", which "risky" makes risky.
type membershipService struct{ *fakeNode }

func (s membershipService) Plan(_ context.Context, r *connect.Request[cartwheelv1.MembershipServicePlanRequest]) (*connect.Response[cartwheelv1.MembershipServicePlanResponse], error) {
	res := &cartwheelv1.MembershipServicePlanResponse{RingHash: "feed", Notes: []string{"a note"}}
	change := r.Msg.GetChange()
	if change.GetNode() == "risky" {
		res.Risks = []string{"a risk"}
	}
	res.Shares = []*cartwheelv1.NodeShare{{Id: change.GetNode(), Before: 3}, {Id: change.GetBy(), Before: 1, After: 4}}
	res.Moves = []*cartwheelv1.PartitionMove{{Partition: 2, From: change.GetNode(), To: change.GetBy()}, {Partition: 5, From: change.GetNode()}}
	return connect.NewResponse(res), nil
}

func (s membershipService) Commit(_ context.Context, r *connect.Request[cartwheelv1.MembershipServiceCommitRequest]) (*connect.Response[cartwheelv1.MembershipServiceCommitResponse], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case r.Msg.GetRingHash() != "feed":
		return nil, failure(connect.CodeFailedPrecondition, &cartwheelv1.ErrorDetail{Reason: cartwheelv1.ErrorDetail_REASON_PLAN_STALE})
	case r.Msg.GetChange().GetNode() == "risky" && !r.Msg.GetForce():
		return nil, failure(connect.CodeFailedPrecondition, &cartwheelv1.ErrorDetail{Reason: cartwheelv1.ErrorDetail_REASON_PLAN_RISKY})
	}
	return connect.NewResponse(&cartwheelv1.MembershipServiceCommitResponse{RingHash: "beef"}), nil
}

func (s membershipService) Departures(context.Context, *connect.Request[cartwheelv1.MembershipServiceDeparturesRequest]) (*connect.Response[cartwheelv1.MembershipServiceDeparturesResponse], error) {
	return connect.NewResponse(&cartwheelv1.MembershipServiceDeparturesResponse{Departures: []*cartwheelv1.Departure{
		{Node: &cartwheelv1.Node{Id: "a", State: cartwheelv1.NodeState_NODE_STATE_DRAINING}, PartitionsLeft: proto.Uint32(7)},
		{Node: &cartwheelv1.Node{Id: "b", State: cartwheelv1.NodeState_NODE_STATE_LEFT}, ReplacedBy: "c", PartitionsLeft: proto.Uint32(0)},
		{Node: &cartwheelv1.Node{Id: "d", State: cartwheelv1.NodeState_NODE_STATE_DRAINING}},
	}}), nil
}

func TestMembershipAsTheClientShowsIt(t *testing.T) {
	_, nodes := newCluster(t, 2)
	cluster := open(t, nodes).Cluster()
	plan, err := cluster.Plan(t.Context(), cartwheel.MembershipChange{Node: "risky", By: "new"})
	want := cartwheel.MembershipPlan{
		Change: cartwheel.MembershipChange{Node: "risky", By: "new"}, RingHash: "feed", Risks: []string{"a risk"}, Notes: []string{"a note"},
		Shares: []cartwheel.Share{{Node: "risky", Before: 3}, {Node: "new", Before: 1, After: 4}},
		Moves:  []cartwheel.Move{{Partition: 2, From: "risky", To: "new"}, {Partition: 5, From: "risky"}},
	}
	if diff := cmp.Diff(want, plan); err != nil || diff != "" {
		t.Errorf("%v, %s", err, diff)
	}
	departures, err := cluster.Departures(t.Context())
	if diff := cmp.Diff([]cartwheel.Departure{
		{Node: cartwheel.Node{ID: "a", State: "draining"}, Left: 7},
		{Node: cartwheel.Node{ID: "b", State: "left"}, ReplacedBy: "c"},
		{Node: cartwheel.Node{ID: "d", State: "draining"}, Left: cartwheel.UnknownCount},
	}, departures); err != nil || diff != "" {
		t.Errorf("%v, %s", err, diff)
	}
}

func TestACommitIsOfOnePlanAndRepeatedUntilItIsAnswered(t *testing.T) {
	const commit = "MembershipService/Commit"
	_, nodes := newCluster(t, 2)
	cluster := open(t, nodes).Cluster()
	risky := cartwheel.MembershipPlan{Change: cartwheel.MembershipChange{Node: "risky"}, RingHash: "feed"}
	stale := risky
	stale.RingHash = "dead"
	for _, test := range []struct {
		name    string
		plan    cartwheel.MembershipPlan
		options []cartwheel.CommitOption
		reason  cartwheel.Reason
	}{
		{"of a plan for another ring", stale, []cartwheel.CommitOption{cartwheel.Force()}, cartwheel.PlanStale},
		{"of a plan with risks", risky, nil, cartwheel.PlanRisky},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := nodes[0].requests(commit) + nodes[1].requests(commit)
			_, err := cluster.Commit(t.Context(), test.plan, test.options...)
			if !errors.Is(err, test.reason) {
				t.Errorf("got %v, want %v", err, test.reason)
			}
			if n := nodes[0].requests(commit) + nodes[1].requests(commit) - before; n != 1 {
				t.Errorf("asked %d times: it would be refused again", n)
			}
		})
	}
	nodes[0].plant(commit, abort) // it is done, and the answer lost
	if hash, err := cluster.Commit(t.Context(), risky, cartwheel.Force()); err != nil || hash != "beef" {
		t.Errorf("got %q, %v", hash, err)
	}
	if nodes[1].requests(commit) != 1 {
		t.Error("the other node was not asked")
	}
}
