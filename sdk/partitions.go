package cartwheel

import (
	"context"
	"errors"
	"strings"
	"time"

	"connectrpc.com/connect"

	cartwheelv1 "github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1"
)

// Partition is how a partition is doing on the node that answered.
type Partition struct {
	Number int
	// joining: owned, and never ready. recovering: owned, and ready before the store
	// was opened. ready: owned, and caught up since: reads count its answers.
	// draining: stored, and on its way to its owners.
	State       string
	Staleness   Staleness // unknown where the node is not an owner
	LogGroups   uint64
	LogBytes    uint64
	Operations  uint64   // operation ids remembered
	DamagedRows uint64   // that wait to be fetched again
	Install     *Install // the snapshot on its way in, nil if there is none
	Peers       []PartitionPeer
}

// PartitionPeer is how far a partition is known to hold what another node holds.
type PartitionPeer struct {
	ID      string
	Age     time.Duration // all that the other held this long ago, or UnknownStaleness
	Missing uint64        // events that it has shown, and that are missing
}

// Partitions tells how the partitions are doing that the answering node owns or
// stores, in order. Nodes that answer page after page are not always the same
// one: Open one alone to be sure.
func (c *Cluster) Partitions(ctx context.Context) ([]Partition, error) {
	var all []Partition
	for request := (&cartwheelv1.ClusterServicePartitionsRequest{}); ; {
		res, err := ask(ctx, c.db, &call{op: "cluster.partitions"}, func(ctx context.Context, e *endpoint) (*connect.Response[cartwheelv1.ClusterServicePartitionsResponse], error) {
			return e.cluster.Partitions(ctx, connect.NewRequest(request))
		})
		if err != nil {
			return nil, err
		}
		for _, p := range res.GetPartitions() {
			all = append(all, partition(p))
		}
		if res.GetNext() <= request.GetFrom() {
			return all, nil
		}
		request = &cartwheelv1.ClusterServicePartitionsRequest{From: res.GetNext()}
	}
}

func partition(p *cartwheelv1.PartitionHealth) Partition {
	out := Partition{
		Number: int(p.GetPartition()), State: lower(p.GetState().String(), "PARTITION_STATE_"), Staleness: staleness(p.GetStaleness()),
		LogGroups: p.GetLogGroups(), LogBytes: p.GetLogBytes(), Operations: p.GetOperations(), DamagedRows: p.GetDamagedRows(),
	}
	if p.GetInstall() != nil {
		i := install(p.GetInstall())
		out.Install = &i
	}
	for _, peer := range p.GetPeers() {
		out.Peers = append(out.Peers, PartitionPeer{ID: peer.GetId(), Age: milliseconds(peer.AgeMs), Missing: peer.GetMissingEvents()})
	}
	return out
}

func install(i *cartwheelv1.SnapshotInstall) Install {
	return Install{Partition: int(i.GetPartition()), From: i.GetFrom(), Phase: i.GetPhase(), Done: i.GetDone(), Total: i.GetTotal()}
}

// lower is the name of a constant of the contract, as people write it.
func lower(constant, prefix string) string {
	return strings.ToLower(strings.TrimPrefix(constant, prefix))
}

// Verification is how far a node is with comparing the partitions that it owns
// with all their other owners. It counts comparisons: of one partition with one
// other owner.
type Verification struct {
	Node        string // id
	Total       int
	Compared    int
	Equal       int    // perhaps after a repair
	Behind      int    // the node still lacks what the other has
	Busy        int    // writes went on whenever they were looked at
	Unlike      int    // equal clocks, different rows, and no repair that lasted
	Unreachable int    // the other could not be asked
	Differed    int    // different rows under equal clocks, repaired or not: damage, or a mistake in the nodes
	Repaired    uint64 // rows of the node
	Done        bool
	Findings    []Finding // once done: what was not simply equal, the first 1,000
}

// Finding is a comparison that did not simply find both equal.
type Finding struct {
	Partition int
	Peer      string // id of the other owner
	Outcome   string // equal (then it had differed), behind, busy, unlike or unreachable
	Differed  bool
}

// Verify makes the first endpoint that answers compare what it owns with the
// other owners, repairing what differs, and waits for the end of it: as long as
// ctx allows, for the timeout of the client does not apply. progress, if not nil,
// is called as it goes on. Giving up does not stop the node.
func (c *Cluster) Verify(ctx context.Context, progress func(Verification)) (Verification, error) {
	var last Verification
	in := &call{op: "cluster.verify"}
	db := c.db
	db.stats.operations.Add(1)
	for _, e := range db.endpoints.round(nil, db.endpoints.first()) {
		db.stats.attempts.Add(1)
		in.attempts++
		in.endpoint = e
		began, err := watch(ctx, e, func(v Verification) {
			if last = v; progress != nil {
				progress(v)
			}
		})
		if err == nil {
			db.endpoints.answered(e, false)
			return last, nil
		}
		in.last, in.told = err, detailOf(err)
		if ctx.Err() != nil {
			return last, db.giveUp(in, ctx.Err())
		}
		if began {
			break // another node compares other partitions
		}
	}
	return last, db.giveUp(in, nil)
}

// watch follows a verification to its end. began tells whether anything was
// heard of it.
func watch(ctx context.Context, e *endpoint, progress func(Verification)) (began bool, err error) {
	stream, err := e.cluster.Verify(ctx, connect.NewRequest(&cartwheelv1.ClusterServiceVerifyRequest{}))
	if err != nil {
		return false, err
	}
	defer stream.Close()
	for stream.Receive() {
		began = true
		v := verification(stream.Msg())
		progress(v)
		if v.Done {
			return true, nil
		}
	}
	if err := stream.Err(); err != nil {
		return began, err
	}
	return began, connect.NewError(connect.CodeUnavailable, errCutShort)
}

var errCutShort = errors.New("the verification ended without a result")

func verification(v *cartwheelv1.ClusterServiceVerifyResponse) Verification {
	out := Verification{
		Node: v.GetNode(), Total: int(v.GetTotal()), Compared: int(v.GetCompared()),
		Equal: int(v.GetEqual()), Behind: int(v.GetBehind()), Busy: int(v.GetBusy()), Unlike: int(v.GetUnlike()), Unreachable: int(v.GetUnreachable()),
		Differed: int(v.GetDiffered()), Repaired: v.GetRepairedRows(), Done: v.GetDone(),
	}
	for _, f := range v.GetFindings() {
		out.Findings = append(out.Findings, Finding{
			Partition: int(f.GetPartition()), Peer: f.GetPeer(), Outcome: lower(f.GetOutcome().String(), "VERIFY_OUTCOME_"), Differed: f.GetDiffered(),
		})
	}
	return out
}

// ForceReady makes reads count the answers of the node that answers first in
// these partitions, although they have not caught up. It is for when those they
// wait for do not come back: what only they held may then be missing from reads.
// Name the node alone when opening. It returns the partitions that were not ready
// before.
func (c *Cluster) ForceReady(ctx context.Context, partitions ...int) ([]int, error) {
	request := &cartwheelv1.ClusterServiceForceReadyRequest{}
	for _, p := range partitions {
		request.Partitions = append(request.Partitions, uint32(p))
	}
	return c.forceReady(ctx, request)
}

// ForceAllReady is ForceReady for all partitions that the node owns.
func (c *Cluster) ForceAllReady(ctx context.Context) ([]int, error) {
	return c.forceReady(ctx, &cartwheelv1.ClusterServiceForceReadyRequest{All: true})
}

func (c *Cluster) forceReady(ctx context.Context, request *cartwheelv1.ClusterServiceForceReadyRequest) ([]int, error) {
	res, err := ask(ctx, c.db, &call{op: "cluster.forceready"}, func(ctx context.Context, e *endpoint) (*connect.Response[cartwheelv1.ClusterServiceForceReadyResponse], error) {
		return e.cluster.ForceReady(ctx, connect.NewRequest(request))
	})
	var forced []int
	for _, p := range res.GetPartitions() {
		forced = append(forced, int(p))
	}
	return forced, err
}
