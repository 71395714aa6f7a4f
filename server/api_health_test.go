package server_test

import (
	"strconv"
	"testing"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/cartwheel-db/cartwheel/replica"
	"github.com/cartwheel-db/cartwheel/ring"
	v1 "github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1"
	"github.com/cartwheel-db/cartwheel/server"
)

// ailing is a node with something of everything.
var ailing = []replica.Health{
	{Partition: 0, State: replica.Ready, Staleness: replica.Staleness{Bound: 10 * ms, Reachable: 10 * ms}, Groups: 3, LogBytes: 300, Operations: 2,
		Peers: []replica.PeerHealth{{ID: "n2", Age: 10 * ms, Missing: 4}, {ID: "n3", Age: 9 * ms}}},
	{Partition: 1, State: replica.Recovering, Staleness: replica.Staleness{Bound: replica.Unknown, Reachable: 7*ms + 1, Missing: []ring.NodeID{"n3"}}, Groups: 1, LogBytes: 50, Operations: 1, Damaged: 2,
		Peers: []replica.PeerHealth{{ID: "n2", Age: 7*ms + 1, Missing: 1}, {ID: "n3", Age: replica.Unknown}}},
	{Partition: 2, State: replica.Joining, Staleness: replica.Staleness{Bound: 12 * ms, Reachable: 12 * ms}, Install: &replica.Progress{From: "n2", Phase: "rows", Done: 40, Total: 100},
		Peers: []replica.PeerHealth{{ID: "n2", Age: 12 * ms}, {ID: "n3", Age: 8 * ms}}},
	{Partition: 3, State: replica.Draining, Staleness: replica.Staleness{Bound: replica.Unknown, Reachable: replica.Unknown}, Groups: 9, LogBytes: 900,
		Peers: []replica.PeerHealth{{ID: "n2", Age: replica.Unknown, Missing: 77}}},
}

func TestStatusSumsUpHowThePartitionsAreDoing(t *testing.T) {
	n := newSingle(t, 1)
	n.health = ailing
	res, err := serve(t, n).cluster.Status(t.Context(), connect.NewRequest(&v1.ClusterServiceStatusRequest{}))
	if err != nil {
		t.Fatal(err)
	}
	m := res.Msg
	got := &v1.ClusterServiceStatusResponse{
		Node: &v1.Node{State: m.GetNode().GetState()}, PartitionsReady: m.GetPartitionsReady(), Partitions: m.GetPartitions(), Staleness: m.GetStaleness(), Installs: m.GetInstalls(),
		LogGroups: m.GetLogGroups(), LogBytes: m.GetLogBytes(), Operations: m.GetOperations(), DamagedRows: m.GetDamagedRows(),
		Peers: []*v1.PeerStatus{{AgeMs: m.GetPeers()[0].AgeMs, MissingEvents: m.GetPeers()[0].GetMissingEvents()}},
	}
	want := &v1.ClusterServiceStatusResponse{
		Node: &v1.Node{State: v1.NodeState_NODE_STATE_JOINING}, PartitionsReady: 1,
		Partitions: &v1.PartitionCounts{Joining: 1, Recovering: 1, Ready: 1, Draining: 1},
		Staleness:  &v1.Staleness{ReachableBoundMs: proto.Uint64(12), Unreachable: []string{"n3"}},
		Installs:   []*v1.SnapshotInstall{{Partition: 2, From: "n2", Phase: "rows", Done: 40, Total: 100}},
		LogGroups:  13, LogBytes: 1250, Operations: 3, DamagedRows: 2,
		Peers: []*v1.PeerStatus{{AgeMs: proto.Uint64(12), MissingEvents: 5}},
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
}

func TestANodeIsAsFarAsThePartitionThatIsLeast(t *testing.T) {
	at := func(states ...replica.State) (all []replica.Health) {
		for i, s := range states {
			all = append(all, replica.Health{Partition: i, State: s})
		}
		return all
	}
	for _, test := range []struct {
		name, own string
		health    []replica.Health
		want      v1.NodeState
	}{
		{"all ready", server.Joining, at(replica.Ready, replica.Ready), v1.NodeState_NODE_STATE_READY},
		{"one recovering", server.Ready, at(replica.Ready, replica.Recovering), v1.NodeState_NODE_STATE_RECOVERING},
		{"one joining", server.Ready, at(replica.Recovering, replica.Joining, replica.Ready), v1.NodeState_NODE_STATE_JOINING},
		{"what it holds for others does not count", server.Ready, at(replica.Ready, replica.Draining), v1.NodeState_NODE_STATE_READY},
		{"nothing owned", server.Recovering, at(), v1.NodeState_NODE_STATE_READY},
		{"on its way in", server.Starting, at(replica.Ready), v1.NodeState_NODE_STATE_STARTING},
		{"on its way out", server.Draining, at(replica.Joining), v1.NodeState_NODE_STATE_DRAINING},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := newSingle(t, 1)
			n.state, n.health = test.own, append([]replica.Health{}, test.health...)
			res, err := serve(t, n).cluster.Status(t.Context(), connect.NewRequest(&v1.ClusterServiceStatusRequest{}))
			if got := res.Msg.GetNode().GetState(); err != nil || got != test.want {
				t.Errorf("got %v, %v, want %v", got, err, test.want)
			}
		})
	}
}

func TestPartitionsAreToldByThePage(t *testing.T) {
	n := newSingle(t, 1)
	n.health = ailing
	c := serve(t, n)
	var all []*v1.PartitionHealth
	for from, pages := uint32(0), 0; pages == 0 || from > 0; pages++ {
		res, err := c.cluster.Partitions(t.Context(), connect.NewRequest(&v1.ClusterServicePartitionsRequest{From: from, Limit: 3}))
		if err != nil || pages > 1 || len(res.Msg.GetPartitions()) > 3 {
			t.Fatalf("page %d: %v, %v", pages, res, err)
		}
		all, from = append(all, res.Msg.GetPartitions()...), res.Msg.GetNext()
	}
	want := []*v1.PartitionHealth{
		{Partition: 0, State: v1.PartitionState_PARTITION_STATE_READY, Staleness: &v1.Staleness{BoundMs: proto.Uint64(10), ReachableBoundMs: proto.Uint64(10)}, LogGroups: 3, LogBytes: 300, Operations: 2,
			Peers: []*v1.PartitionPeer{{Id: "n2", AgeMs: proto.Uint64(10), MissingEvents: 4}, {Id: "n3", AgeMs: proto.Uint64(9)}}},
		{Partition: 1, State: v1.PartitionState_PARTITION_STATE_RECOVERING, Staleness: &v1.Staleness{ReachableBoundMs: proto.Uint64(8), Unreachable: []string{"n3"}}, LogGroups: 1, LogBytes: 50, Operations: 1, DamagedRows: 2,
			Peers: []*v1.PartitionPeer{{Id: "n2", AgeMs: proto.Uint64(8), MissingEvents: 1}, {Id: "n3"}}},
		{Partition: 2, State: v1.PartitionState_PARTITION_STATE_JOINING, Staleness: &v1.Staleness{BoundMs: proto.Uint64(12), ReachableBoundMs: proto.Uint64(12)},
			Install: &v1.SnapshotInstall{Partition: 2, From: "n2", Phase: "rows", Done: 40, Total: 100},
			Peers:   []*v1.PartitionPeer{{Id: "n2", AgeMs: proto.Uint64(12)}, {Id: "n3", AgeMs: proto.Uint64(8)}}},
		{Partition: 3, State: v1.PartitionState_PARTITION_STATE_DRAINING, Staleness: &v1.Staleness{}, LogGroups: 9, LogBytes: 900,
			Peers: []*v1.PartitionPeer{{Id: "n2", MissingEvents: 77}}},
	}
	if diff := cmp.Diff(want, all, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	res, err := c.cluster.Partitions(t.Context(), connect.NewRequest(&v1.ClusterServicePartitionsRequest{From: 1 << 31, Limit: 1 << 31}))
	if err != nil || len(res.Msg.GetPartitions()) != 0 || res.Msg.GetNext() != 0 {
		t.Errorf("behind the last: %v, %v", res, err)
	}
}

func TestAVerificationIsReportedUntilItIsDone(t *testing.T) {
	n := newSingle(t, 1)
	found := []replica.Finding{
		{Partition: 3, Peer: "n2", Found: replica.VerifiedEqual, Differed: true},
		{Partition: 4, Peer: "n3", Found: replica.VerifiedUnreachable},
	}
	n.reports = []replica.VerifyReport{
		{Started: 1, Pairs: 4},
		{Started: 1, Pairs: 4, Done: 1, Equal: 1, Findings: found},
		{Started: 1, Pairs: 4, Done: 1, Equal: 1}, // nothing new: not told
		{Started: 1, Pairs: 4, Done: 4, Equal: 2, Behind: 1, Unreachable: 1, Differing: 1, Repaired: 5, Findings: found},
	}
	stream, err := serve(t, n).cluster.Verify(t.Context(), connect.NewRequest(&v1.ClusterServiceVerifyRequest{}))
	if err != nil {
		t.Fatal(err)
	}
	var got []*v1.ClusterServiceVerifyResponse
	for stream.Receive() {
		got = append(got, stream.Msg())
	}
	want := []*v1.ClusterServiceVerifyResponse{
		{Node: "n1", Total: 4},
		{Node: "n1", Total: 4, Compared: 1, Equal: 1},
		{Node: "n1", Total: 4, Compared: 4, Equal: 2, Behind: 1, Unreachable: 1, Differed: 1, RepairedRows: 5, Done: true, Findings: []*v1.VerifyFinding{
			{Partition: 3, Peer: "n2", Outcome: v1.VerifyOutcome_VERIFY_OUTCOME_EQUAL, Differed: true},
			{Partition: 4, Peer: "n3", Outcome: v1.VerifyOutcome_VERIFY_OUTCOME_UNREACHABLE},
		}},
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" || stream.Err() != nil {
		t.Error(stream.Err(), diff)
	}
}

func TestAVerificationDoesNotHoldUpANodeThatStops(t *testing.T) {
	n := newSingle(t, 1)
	for range 1000 {
		n.reports = append(n.reports, replica.VerifyReport{Started: 1, Pairs: 4})
	}
	stream, err := serve(t, n).cluster.Verify(t.Context(), connect.NewRequest(&v1.ClusterServiceVerifyRequest{}))
	if err != nil {
		t.Fatal(err)
	}
	if !stream.Receive() {
		t.Fatal(stream.Err())
	}
	n.mu.Lock()
	n.state = server.Draining
	n.mu.Unlock()
	if stream.Receive() {
		t.Errorf("a report after the node began to stop: %v", stream.Msg())
	}
	refused(t, stream.Err(), "cluster.verify", want{code: connect.CodeUnavailable, reason: v1.ErrorDetail_REASON_NOT_READY, text: "shutting down"})
}

func TestForcingPartitionsReadyNamesThemOrAll(t *testing.T) {
	n := newSingle(t, 1)
	c := serve(t, n)
	force := func(r *v1.ClusterServiceForceReadyRequest) error {
		_, err := c.cluster.ForceReady(t.Context(), connect.NewRequest(r))
		return err
	}
	const invalid, option = connect.CodeInvalidArgument, v1.ErrorDetail_REASON_INVALID_OPTION
	for _, test := range []struct {
		name    string
		request *v1.ClusterServiceForceReadyRequest
		want    want
	}{
		{"none", &v1.ClusterServiceForceReadyRequest{}, want{code: invalid, reason: option, limit: 1, text: "0 partitions"}},
		{"one beyond the last", &v1.ClusterServiceForceReadyRequest{Partitions: []uint32{0, 4}}, want{code: invalid, reason: option, limit: 3, actual: 4}},
		{"one far beyond", &v1.ClusterServiceForceReadyRequest{Partitions: []uint32{1<<32 - 1}}, want{code: invalid, reason: option, limit: 3, actual: 1<<32 - 1}},
		{"all, and some", &v1.ClusterServiceForceReadyRequest{Partitions: []uint32{1}, All: true}, want{code: invalid, reason: option, actual: 1, text: "give one"}},
	} {
		t.Run(test.name, func(t *testing.T) { refused(t, force(test.request), "cluster.forceready", test.want) })
	}
	for _, r := range []*v1.ClusterServiceForceReadyRequest{{Partitions: []uint32{2, 0}}, {All: true}} {
		if err := force(r); err != nil {
			t.Errorf("%s: %v", strconv.Quote(r.String()), err)
		}
	}
}

// A member that was stopped is away and may come back; left is the word for who
// departed.
func TestAMemberThatWasStoppedIsUnreachableAndHasNotLeft(t *testing.T) {
	n := newSingle(t, 1)
	var facts ring.Facts
	for i, id := range []ring.NodeID{"n1", "n2"} {
		must(facts.Add(ring.Fact{Number: uint64(i + 1), Kind: ring.Joined, Node: id, PeerAddr: string(id) + ":1", APIAddr: string(id) + ":2"}))
	}
	n.ring = must(ring.Fold(ring.Config{Partitions: 4, Replicas: 1}, facts))
	n.peer = server.Left
	res := must(serve(t, n).cluster.Members(t.Context(), connect.NewRequest(&v1.ClusterServiceMembersRequest{})))
	if got := res.Msg.GetNodes()[1].GetState(); got != v1.NodeState_NODE_STATE_UNREACHABLE {
		t.Errorf("it is %v", got)
	}
}
