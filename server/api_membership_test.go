package server_test

import (
	"errors"
	"strings"
	"testing"

	"connectrpc.com/connect"

	"github.com/cartwheel-db/cartwheel/ring"
	v1 "github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1"
	"github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1/cartwheelv1connect"
	"github.com/cartwheel-db/cartwheel/server"
)

// The only node of a cluster has nobody to leave, and a disk that is full.
func (n *single) PlanChange(c server.Change) (*server.Plan, error) {
	return nil, &server.ChangeError{Change: c, Reason: "n1 is the last member"}
}

func (n *single) CommitChange(c server.Change, planned uint64, force bool) (*ring.Ring, error) {
	switch {
	case planned != n.ring.Hash():
		return nil, &server.StalePlanError{Change: c, Planned: planned, Now: n.ring.Hash()}
	case !force:
		return nil, &server.RiskyPlanError{Change: c, Risks: []string{"0 members would remain", "and nobody"}}
	}
	return nil, errors.New("no space left on device")
}

func (n *single) Departures() []server.Departure { return nil }

func TestAChangeOfMembershipIsRefusedWithTheReason(t *testing.T) {
	n := newSingle(t, 1)
	c := serve(t, n)
	members := cartwheelv1connect.NewMembershipServiceClient(c.http, c.url)
	none := must(members.Departures(t.Context(), connect.NewRequest(&v1.MembershipServiceDeparturesRequest{})))
	if len(none.Msg.GetDepartures()) != 0 {
		t.Fatal("departures of nobody")
	}
	now := must(c.cluster.Ring(t.Context(), connect.NewRequest(&v1.ClusterServiceRingRequest{}))).Msg.GetRingHash()
	plan := func(node, by string) error {
		_, err := members.Plan(t.Context(), connect.NewRequest(&v1.MembershipServicePlanRequest{Change: &v1.MembershipChange{Node: node, By: by}}))
		return err
	}
	commit := func(node, hash string, force bool) error {
		_, err := members.Commit(t.Context(), connect.NewRequest(&v1.MembershipServiceCommitRequest{Change: &v1.MembershipChange{Node: node}, RingHash: hash, Force: force}))
		return err
	}
	for _, test := range []struct {
		name   string
		err    error
		code   connect.Code
		reason v1.ErrorDetail_Reason
		text   string
	}{
		{"no node at all", plan("", ""), connect.CodeInvalidArgument, v1.ErrorDetail_REASON_INVALID_OPTION, "membership.plan: no node is named"},
		{"an id that is no id", plan(strings.Repeat("n", 65), ""), connect.CodeInvalidArgument, v1.ErrorDetail_REASON_TOO_LARGE, "65 bytes, limit 64"},
		{"a successor that is no id", plan("n1", strings.Repeat("n", 65)), connect.CodeInvalidArgument, v1.ErrorDetail_REASON_TOO_LARGE, "65 bytes"},
		{"what makes no sense", plan("n1", "n2"), connect.CodeInvalidArgument, v1.ErrorDetail_REASON_INVALID_OPTION, "replacement of n1 by n2: n1 is the last member"},
		{"no plan", commit("n1", "", false), connect.CodeInvalidArgument, v1.ErrorDetail_REASON_INVALID_OPTION, "want 16 hex digits"},
		{"half a plan", commit("n1", now[:8], false), connect.CodeInvalidArgument, v1.ErrorDetail_REASON_INVALID_OPTION, "want 16 hex digits"},
		{"no hash", commit("n1", "zzzzzzzzzzzzzzzz", false), connect.CodeInvalidArgument, v1.ErrorDetail_REASON_INVALID_OPTION, "want 16 hex digits"},
		{"a plan for another ring", commit("n1", "0123456789abcdef", true), connect.CodeFailedPrecondition, v1.ErrorDetail_REASON_PLAN_STALE, "made for ring 0123456789abcdef, and the ring is " + now},
		{"risks that nobody accepted", commit("n1", now, false), connect.CodeFailedPrecondition, v1.ErrorDetail_REASON_PLAN_RISKY, "0 members would remain; and nobody; nothing was changed"},
		{"a node that cannot store the fact", commit("n1", now, true), connect.CodeUnavailable, v1.ErrorDetail_REASON_NOT_READY, "no space left"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var failed *connect.Error
			if !errors.As(test.err, &failed) || failed.Code() != test.code || !strings.Contains(failed.Message(), test.text) {
				t.Fatalf("got %v, want %v with %q", test.err, test.code, test.text)
			}
			detail, err := failed.Details()[0].Value()
			if d, ok := detail.(*v1.ErrorDetail); err != nil || !ok || d.GetReason() != test.reason {
				t.Errorf("got %v %v, want %v", detail, err, test.reason)
			}
		})
	}
}
