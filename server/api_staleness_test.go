package server_test

import (
	"math"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/cartwheel-db/cartwheel/replica"
	"github.com/cartwheel-db/cartwheel/ring"
	v1 "github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1"
)

const ms = int64(time.Millisecond)

func TestAReadTellsHowFarBehindItMayBe(t *testing.T) {
	n := newSingle(t, 1)
	c := serve(t, n)
	for _, test := range []struct {
		name      string
		staleness replica.Staleness
		want      *v1.Staleness
	}{
		{"nothing behind", replica.Staleness{}, &v1.Staleness{BoundMs: proto.Uint64(0), ReachableBoundMs: proto.Uint64(0)}},
		{"less than a millisecond is a millisecond", replica.Staleness{Bound: 1, Reachable: 1}, &v1.Staleness{BoundMs: proto.Uint64(1), ReachableBoundMs: proto.Uint64(1)}},
		{"whole ones stay", replica.Staleness{Bound: 5 * ms, Reachable: 4 * ms}, &v1.Staleness{BoundMs: proto.Uint64(5), ReachableBoundMs: proto.Uint64(4)}},
		{"parts are rounded up", replica.Staleness{Bound: 5*ms + 1, Reachable: 4*ms - 1}, &v1.Staleness{BoundMs: proto.Uint64(6), ReachableBoundMs: proto.Uint64(4)}},
		{"the longest there is", replica.Staleness{Bound: math.MaxInt64, Reachable: 0}, &v1.Staleness{BoundMs: proto.Uint64(9223372036855), ReachableBoundMs: proto.Uint64(0)}},
		{"somebody is away", replica.Staleness{Bound: 7000 * ms, Reachable: ms, Missing: []ring.NodeID{"n2", "n3"}}, &v1.Staleness{BoundMs: proto.Uint64(7000), ReachableBoundMs: proto.Uint64(1), Unreachable: []string{"n2", "n3"}}},
		{"nobody knows", replica.Staleness{Bound: replica.Unknown, Reachable: 2 * ms, Missing: []ring.NodeID{"n2"}}, &v1.Staleness{ReachableBoundMs: proto.Uint64(2), Unreachable: []string{"n2"}}},
		{"nobody knows anything", replica.Staleness{Bound: replica.Unknown, Reachable: replica.Unknown}, &v1.Staleness{}},
	} {
		n.instead = &replica.Result{Merged: &replica.Merged{}, Staleness: test.staleness}
		for _, r := range calls {
			if r.mutation {
				continue
			}
			info, err := r.call(t.Context(), c, target{bucket: "carts", key: "42"})
			if diff := cmp.Diff(test.want, info.GetStaleness(), protocmp.Transform()); err != nil || diff != "" {
				t.Errorf("%s, %s: %v %s", r.op, test.name, err, diff)
			}
		}
	}
}

func TestACallThatReadsSeveralTimesReportsTheWorst(t *testing.T) {
	n := newSingle(t, 1)
	c := serve(t, n)
	reads := []replica.Staleness{
		{Bound: 3 * ms, Reachable: 3 * ms},
		{Bound: 9 * ms, Reachable: 1 * ms, Missing: []ring.NodeID{"n3"}},
		{Bound: 4 * ms, Reachable: 2 * ms, Missing: []ring.NodeID{"n2", "n3"}},
	}
	i := 0
	n.before = func(replica.Request) {
		n.instead = &replica.Result{Merged: &replica.Merged{More: i < len(reads)-1, Last: "m"}, Staleness: reads[i]}
		i++
	}
	res, err := c.set.Members(t.Context(), connect.NewRequest(&v1.SetServiceMembersRequest{Bucket: "carts", Key: "42"}))
	want := &v1.Staleness{BoundMs: proto.Uint64(9), ReachableBoundMs: proto.Uint64(3), Unreachable: []string{"n2", "n3"}}
	if diff := cmp.Diff(want, res.Msg.GetInfo().GetStaleness(), protocmp.Transform()); err != nil || diff != "" {
		t.Error(err, diff)
	}
	reads, i = []replica.Staleness{{Bound: replica.Unknown}, {Bound: 5 * ms, Reachable: ms}}, 0
	res, err = c.set.Members(t.Context(), connect.NewRequest(&v1.SetServiceMembersRequest{Bucket: "carts", Key: "42"}))
	if got := res.Msg.GetInfo().GetStaleness(); err != nil || got.BoundMs != nil || got.GetReachableBoundMs() != 1 {
		t.Errorf("unknown once is unknown in all: %v, %v", got, err)
	}
}

func TestMaxStalenessReachesTheEngineAndItsRefusalTheClient(t *testing.T) {
	n := newSingle(t, 1)
	c := serve(t, n)
	fill(t, c)
	for _, r := range calls {
		if r.mutation {
			continue
		}
		t.Run(r.op, func(t *testing.T) {
			asked := int64(-1)
			n.before = func(r replica.Request) { asked = r.MaxStale }
			defer func() { n.before, n.instead = nil, nil }()
			if _, err := r.call(t.Context(), c, target{bucket: "carts", key: "42"}); err != nil || asked != 0 {
				t.Errorf("any staleness is asked for as %d: %v", asked, err)
			}
			n.instead = &replica.Result{
				Failure:   &replica.Failure{Reason: replica.TooStale, Text: "read set carts/42: 7300 ms behind"},
				Staleness: replica.Staleness{Bound: 7300*ms - 1, Reachable: ms, Missing: []ring.NodeID{"n2"}},
			}
			_, err := r.call(t.Context(), c, target{bucket: "carts", key: "42", maxStale: 5000})
			refused(t, err, r.op, want{code: connect.CodeFailedPrecondition, reason: v1.ErrorDetail_REASON_TOO_STALE, limit: 5000, actual: 7300, text: "7300 ms"})
			_, d := detail(t, err)
			best := &v1.Staleness{BoundMs: proto.Uint64(7300), ReachableBoundMs: proto.Uint64(1), Unreachable: []string{"n2"}}
			if diff := cmp.Diff(best, d.GetStaleness(), protocmp.Transform()); diff != "" || asked != 5000*ms {
				t.Errorf("%d ns were asked for; the best is %s", asked, diff)
			}
			n.instead.Failure = &replica.Failure{Reason: replica.SessionUnmet, Text: "away"}
			_, err = r.call(t.Context(), c, target{bucket: "carts", key: "42", maxStale: 5000})
			_, d = detail(t, err)
			if diff := cmp.Diff(best, d.GetStaleness(), protocmp.Transform()); diff != "" || d.GetReason() != v1.ErrorDetail_REASON_SESSION_UNMET {
				t.Error(err, diff)
			}
			asked = -1
			_, err = r.call(t.Context(), c, target{bucket: "carts", key: "42", maxStale: 9223372036855})
			refused(t, err, r.op, want{code: connect.CodeInvalidArgument, reason: v1.ErrorDetail_REASON_INVALID_OPTION, limit: 9223372036854, actual: 9223372036855, text: "max_staleness_ms"})
			if asked != -1 {
				t.Error("it reached the engine")
			}
		})
	}
}
