package server

import (
	"context"
	"errors"
	"strconv"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"github.com/cartwheel-db/cartwheel/ring"
	cartwheelv1 "github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1"
)

// membershipService is what operators change the cluster with.
type membershipService struct{ *api }

func changeOf(c *cartwheelv1.MembershipChange) (Change, *problem) {
	for _, id := range []string{c.GetNode(), c.GetBy()} {
		if len(id) > ring.MaxIDLen {
			return Change{}, tooLarge(ring.MaxIDLen, len(id), "node id of %d bytes, limit %d", len(id), ring.MaxIDLen)
		}
	}
	if c.GetNode() == "" {
		return Change{}, invalidOption(1, 0, "no node is named")
	}
	return Change{ring.NodeID(c.GetNode()), ring.NodeID(c.GetBy())}, nil
}

// refusedChange says why a change was not made. A node that could not store the
// fact reads NOT_READY: another may.
func refusedChange(err error) *problem {
	p := &problem{text: err.Error()}
	var change *ChangeError
	var stale *StalePlanError
	var risky *RiskyPlanError
	switch {
	case errors.As(err, &change):
		p.reason = cartwheelv1.ErrorDetail_REASON_INVALID_OPTION
	case errors.As(err, &stale):
		p.reason = cartwheelv1.ErrorDetail_REASON_PLAN_STALE
	case errors.As(err, &risky):
		p.reason = cartwheelv1.ErrorDetail_REASON_PLAN_RISKY
	default:
		p.reason = cartwheelv1.ErrorDetail_REASON_NOT_READY
	}
	return p
}

func (s membershipService) Plan(_ context.Context, req *connect.Request[cartwheelv1.MembershipServicePlanRequest]) (*connect.Response[cartwheelv1.MembershipServicePlanResponse], error) {
	c := &call{api: s.api, op: "membership.plan"}
	change, p := changeOf(req.Msg.GetChange())
	if p != nil {
		return nil, c.error(p)
	}
	plan, err := s.backend.PlanChange(change)
	if err != nil {
		return nil, c.error(refusedChange(err))
	}
	res := &cartwheelv1.MembershipServicePlanResponse{RingHash: ringHash(plan.Before.Hash()), Risks: plan.Risks, Notes: plan.Notes}
	for _, share := range ring.Shares(plan.Before, plan.After) {
		res.Shares = append(res.Shares, &cartwheelv1.NodeShare{Id: string(share.Node), Before: uint32(share.Before), After: uint32(share.After)})
	}
	for _, m := range ring.Plan(plan.Before, plan.After) {
		res.Moves = append(res.Moves, &cartwheelv1.PartitionMove{Partition: uint32(m.Partition), From: string(m.From), To: string(m.To)})
	}
	return connect.NewResponse(res), nil
}

func (s membershipService) Commit(_ context.Context, req *connect.Request[cartwheelv1.MembershipServiceCommitRequest]) (*connect.Response[cartwheelv1.MembershipServiceCommitResponse], error) {
	c := &call{api: s.api, op: "membership.commit"}
	change, p := changeOf(req.Msg.GetChange())
	if p != nil {
		return nil, c.error(p)
	}
	planned, err := strconv.ParseUint(req.Msg.GetRingHash(), 16, 64)
	if err != nil || len(req.Msg.GetRingHash()) != len(ringHash(0)) {
		return nil, c.error(invalidOption(uint64(len(ringHash(0))), uint64(len(req.Msg.GetRingHash())),
			"the ring hash of the plan is %q, want %d hex digits", shown(req.Msg.GetRingHash(), 64), len(ringHash(0))))
	}
	r, err := s.backend.CommitChange(change, planned, req.Msg.GetForce())
	if err != nil {
		return nil, c.error(refusedChange(err))
	}
	return connect.NewResponse(&cartwheelv1.MembershipServiceCommitResponse{RingHash: ringHash(r.Hash())}), nil
}

func (s membershipService) Departures(context.Context, *connect.Request[cartwheelv1.MembershipServiceDeparturesRequest]) (*connect.Response[cartwheelv1.MembershipServiceDeparturesResponse], error) {
	res := &cartwheelv1.MembershipServiceDeparturesResponse{}
	for _, d := range s.backend.Departures() {
		out := &cartwheelv1.Departure{ReplacedBy: string(d.By), Node: &cartwheelv1.Node{
			Id: string(d.ID), State: nodeStates[d.State], Zone: d.Zone, Weight: d.Weight, ApiAddress: d.APIAddr, PeerAddress: d.PeerAddr,
		}}
		if d.Holds >= 0 {
			out.PartitionsLeft = proto.Uint32(uint32(d.Holds))
		}
		res.Departures = append(res.Departures, out)
	}
	return connect.NewResponse(res), nil
}
