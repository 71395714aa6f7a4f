package cartwheel

import (
	"context"

	"connectrpc.com/connect"

	cartwheelv1 "github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1"
)

// MembershipChange is what an operator asks for: Node goes, and By, unless it is
// empty, takes its place. Both are ids of members.
type MembershipChange struct{ Node, By string }

// MembershipPlan is what a change comes to: commit it with Cluster.Commit.
type MembershipPlan struct {
	Change   MembershipChange
	RingHash string // of the ring it was made for
	Shares   []Share
	Moves    []Move
	Risks    []string // why Commit wants Force; none when it does not
	Notes    []string // what else is worth knowing
}

// Share is how many partitions a node owns before and after a change.
type Share struct {
	Node          string
	Before, After int
}

// Move is one replica of a partition that changes hands. From is empty where the
// partition gains an owner, To where it loses one.
type Move struct {
	Partition int
	From, To  string
}

// Plan tells what a change of membership would move, and changes nothing.
func (c *Cluster) Plan(ctx context.Context, change MembershipChange) (MembershipPlan, error) {
	request := &cartwheelv1.MembershipServicePlanRequest{Change: asked(change)}
	res, err := ask(ctx, c.db, &call{op: "membership.plan"}, func(ctx context.Context, e *endpoint) (*connect.Response[cartwheelv1.MembershipServicePlanResponse], error) {
		return e.membership.Plan(ctx, connect.NewRequest(request))
	})
	if err != nil {
		return MembershipPlan{}, err
	}
	plan := MembershipPlan{Change: change, RingHash: res.GetRingHash(), Risks: res.GetRisks(), Notes: res.GetNotes()}
	for _, share := range res.GetShares() {
		plan.Shares = append(plan.Shares, Share{share.GetId(), int(share.GetBefore()), int(share.GetAfter())})
	}
	for _, move := range res.GetMoves() {
		plan.Moves = append(plan.Moves, Move{int(move.GetPartition()), move.GetFrom(), move.GetTo()})
	}
	return plan, nil
}

// CommitOption is an option of Commit.
type CommitOption func(*cartwheelv1.MembershipServiceCommitRequest)

// Force accepts the risks of a plan.
func Force() CommitOption {
	return func(r *cartwheelv1.MembershipServiceCommitRequest) { r.Force = true }
}

// Commit carries out a planned change, if the ring is still the one it was
// planned for, and returns the hash of the ring after it: PlanStale and PlanRisky
// are the refusals. Of the plan it needs Change and RingHash. Data moves
// afterwards; see Departures. To commit the same plan again changes nothing more.
func (c *Cluster) Commit(ctx context.Context, plan MembershipPlan, options ...CommitOption) (ringHash string, err error) {
	request := &cartwheelv1.MembershipServiceCommitRequest{Change: asked(plan.Change), RingHash: plan.RingHash}
	for _, option := range options {
		option(request)
	}
	res, err := ask(ctx, c.db, &call{op: "membership.commit"}, func(ctx context.Context, e *endpoint) (*connect.Response[cartwheelv1.MembershipServiceCommitResponse], error) {
		return e.membership.Commit(ctx, connect.NewRequest(request))
	})
	return res.GetRingHash(), err
}

func asked(change MembershipChange) *cartwheelv1.MembershipChange {
	return &cartwheelv1.MembershipChange{Node: change.Node, By: change.By}
}

// Departure is a node that left or was replaced and whose process still runs. Its
// state is draining while it hands off what it stores, and left when nothing is
// left: then the process may be stopped.
type Departure struct {
	Node       Node
	ReplacedBy string // id of who took its place; empty when it just left
	Left       int    // partitions that it still stores; UnknownCount if another node answered
}

// UnknownCount is a count that the answering node cannot know.
const UnknownCount = -1

// Departures lists the nodes that departed and still run, in order of id.
func (c *Cluster) Departures(ctx context.Context) ([]Departure, error) {
	res, err := ask(ctx, c.db, &call{op: "membership.departures"}, func(ctx context.Context, e *endpoint) (*connect.Response[cartwheelv1.MembershipServiceDeparturesResponse], error) {
		return e.membership.Departures(ctx, connect.NewRequest(&cartwheelv1.MembershipServiceDeparturesRequest{}))
	})
	var departures []Departure
	for _, d := range res.GetDepartures() {
		out := Departure{Node: node(d.GetNode()), ReplacedBy: d.GetReplacedBy(), Left: UnknownCount}
		if d.PartitionsLeft != nil {
			out.Left = int(d.GetPartitionsLeft())
		}
		departures = append(departures, out)
	}
	return departures, err
}
