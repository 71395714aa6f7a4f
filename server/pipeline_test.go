package server_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/replica"
	cartwheelv1 "github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1"
	"github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1/cartwheelv1connect"
	"github.com/cartwheel-db/cartwheel/server"
)

type (
	pcall  = cartwheelv1.PipelinedCall
	preply = cartwheelv1.PipelinedReply
	pipes  = connect.BidiStreamForClient[cartwheelv1.PipelineServiceStreamRequest, cartwheelv1.PipelineServiceStreamResponse]
)

// holding is a node that keeps requests on keys named "held..." until they are let
// go or given up.
type holding struct {
	*single
	begun, held atomic.Int64
	let         chan struct{}
	once        sync.Once
}

func newHolding(t testing.TB) *holding {
	h := &holding{single: newSingle(t, 1), let: make(chan struct{})}
	t.Cleanup(h.release)
	return h
}

func (h *holding) release() { h.once.Do(func() { close(h.let) }) }

func (h *holding) Do(ctx context.Context, r replica.Request, seen crdt.Stamp) (replica.Result, crdt.Stamp) {
	h.begun.Add(1)
	var key crdt.Key
	if r.Query != nil {
		key = r.Query.Key
	} else {
		key = r.Mutation.Key
	}
	switch {
	case key.Name == "tripping":
		panic("tripped")
	case strings.HasPrefix(key.Name, "held"):
		h.held.Add(1)
		defer h.held.Add(-1)
		select {
		case <-h.let:
		case <-ctx.Done():
			return replica.Result{Failure: &replica.Failure{Reason: replica.DeadlinePast, Text: ctx.Err().Error()}}, 0
		}
	}
	return h.single.Do(ctx, r, seen)
}

func pipelines(t testing.TB, b server.Backend) cartwheelv1connect.PipelineServiceClient {
	t.Helper()
	s := httptest.NewUnstartedServer(server.Handler(b, server.HandlerOptions{}))
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(true)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(s.Close)
	return pipelineClient(t, s.URL)
}

func pipelineClient(t testing.TB, url string) cartwheelv1connect.PipelineServiceClient {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols}
	t.Cleanup(transport.CloseIdleConnections)
	// To squeeze what cannot be squeezed took most of the time of these tests.
	plain := connect.WithAcceptCompression("gzip", nil, nil)
	return cartwheelv1connect.NewPipelineServiceClient(&http.Client{Transport: transport}, url, plain)
}

// openStream returns a stream that has been greeted.
func openStream(t testing.TB, c cartwheelv1connect.PipelineServiceClient) *pipes {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	stream := c.Stream(ctx)
	t.Cleanup(func() {
		cancel()
		_ = stream.CloseResponse()
	})
	if err := stream.Send(nil); err != nil {
		t.Fatal(err)
	}
	if greeting := must(stream.Receive()); len(greeting.GetReplies()) > 0 {
		t.Fatalf("a stream began with %v, want a message without replies", greeting)
	}
	return stream
}

func send(t testing.TB, stream *pipes, calls ...*pcall) {
	t.Helper()
	if err := stream.Send(&cartwheelv1.PipelineServiceStreamRequest{Calls: calls}); err != nil {
		t.Fatal(err)
	}
}

func receive(t testing.TB, stream *pipes, n int) map[uint64]*preply {
	t.Helper()
	got := map[uint64]*preply{}
	for len(got) < n {
		message, err := stream.Receive()
		if err != nil {
			t.Fatalf("after %d of %d replies: %v", len(got), n, err)
		}
		for _, reply := range message.GetReplies() {
			got[reply.GetId()] = reply
		}
	}
	return got
}

func getting(id uint64, key string) *pcall {
	return &pcall{Id: id, Call: &cartwheelv1.PipelinedCall_CounterGet{CounterGet: &cartwheelv1.CounterServiceGetRequest{Bucket: "b", Key: key}}}
}

func adding(id uint64, key string, delta int64) *pcall {
	return &pcall{Id: id, Call: &cartwheelv1.PipelinedCall_CounterAdd{CounterAdd: &cartwheelv1.CounterServiceAddRequest{Bucket: "b", Key: key, Delta: delta}}}
}

// every operation there is, each as its own service would be asked.
func everyCall() []*pcall {
	list := []*pcall{
		{Call: &cartwheelv1.PipelinedCall_SetAdd{SetAdd: &cartwheelv1.SetServiceAddRequest{Bucket: "b", Key: "s", Members: []*cartwheelv1.Member{{Member: "m"}}}}},
		{Call: &cartwheelv1.PipelinedCall_SetRemove{SetRemove: &cartwheelv1.SetServiceRemoveRequest{Bucket: "b", Key: "s", Members: []string{"n"}}}},
		{Call: &cartwheelv1.PipelinedCall_SetUpdate{SetUpdate: &cartwheelv1.SetServiceUpdateRequest{Bucket: "b", Key: "s", Changes: []*cartwheelv1.SetChange{{Change: &cartwheelv1.SetChange_Remove{Remove: "n"}}}}}},
		{Call: &cartwheelv1.PipelinedCall_SetContains{SetContains: &cartwheelv1.SetServiceContainsRequest{Bucket: "b", Key: "s", Members: []string{"m"}}}},
		{Call: &cartwheelv1.PipelinedCall_SetSize{SetSize: &cartwheelv1.SetServiceSizeRequest{Bucket: "b", Key: "s"}}},
		{Call: &cartwheelv1.PipelinedCall_SetMembers{SetMembers: &cartwheelv1.SetServiceMembersRequest{Bucket: "b", Key: "s"}}},
		{Call: &cartwheelv1.PipelinedCall_SetClear{SetClear: &cartwheelv1.SetServiceClearRequest{Bucket: "b", Key: "other"}}},
		{Call: &cartwheelv1.PipelinedCall_CounterAdd{CounterAdd: &cartwheelv1.CounterServiceAddRequest{Bucket: "b", Key: "c", Delta: 7}}},
		{Call: &cartwheelv1.PipelinedCall_CounterGet{CounterGet: &cartwheelv1.CounterServiceGetRequest{Bucket: "b", Key: "c"}}},
		{Call: &cartwheelv1.PipelinedCall_CounterReset{CounterReset: &cartwheelv1.CounterServiceResetRequest{Bucket: "b", Key: "c2"}}},
		{Call: &cartwheelv1.PipelinedCall_RegisterSet{RegisterSet: &cartwheelv1.RegisterServiceSetRequest{Bucket: "b", Key: "r", Value: []byte("v")}}},
		{Call: &cartwheelv1.PipelinedCall_RegisterGet{RegisterGet: &cartwheelv1.RegisterServiceGetRequest{Bucket: "b", Key: "r"}}},
		{Call: &cartwheelv1.PipelinedCall_RegisterDelete{RegisterDelete: &cartwheelv1.RegisterServiceDeleteRequest{Bucket: "b", Key: "r2"}}},
		{Call: &cartwheelv1.PipelinedCall_BlobPut{BlobPut: &cartwheelv1.BlobServicePutRequest{Bucket: "b", Key: "o", Value: []byte("v")}}},
		{Call: &cartwheelv1.PipelinedCall_BlobGet{BlobGet: &cartwheelv1.BlobServiceGetRequest{Bucket: "b", Key: "o"}}},
		{Call: &cartwheelv1.PipelinedCall_BlobDelete{BlobDelete: &cartwheelv1.BlobServiceDeleteRequest{Bucket: "b", Key: "o2"}}},
		{Call: &cartwheelv1.PipelinedCall_MapUpdate{MapUpdate: &cartwheelv1.MapServiceUpdateRequest{Bucket: "b", Key: "m", Changes: []*cartwheelv1.MapChange{
			{Field: "qty", Change: &cartwheelv1.MapChange_Increment{Increment: 2}},
		}}}},
		{Call: &cartwheelv1.PipelinedCall_MapGet{MapGet: &cartwheelv1.MapServiceGetRequest{Bucket: "b", Key: "m"}}},
		{Call: &cartwheelv1.PipelinedCall_MapDelete{MapDelete: &cartwheelv1.MapServiceDeleteRequest{Bucket: "b", Key: "m2"}}},
	}
	for i, call := range list {
		call.Id = uint64(i + 1)
	}
	return list
}

// kindOf names the operation of a call or reply: "set_add".
func kindOf(m proto.Message) string {
	if f := m.ProtoReflect().WhichOneof(m.ProtoReflect().Descriptor().Oneofs().Get(0)); f != nil {
		return string(f.Name())
	}
	return ""
}

func TestEveryOperationTravelsByBatchAndByStream(t *testing.T) {
	calls := everyCall()
	if known := (&pcall{}).ProtoReflect().Descriptor().Oneofs().Get(0).Fields().Len(); len(calls) != known {
		t.Fatalf("%d operations are tried, the contract has %d", len(calls), known)
	}
	t.Run("batch", func(t *testing.T) {
		res := must(pipelines(t, newSingle(t, 1)).Batch(t.Context(), connect.NewRequest(&cartwheelv1.PipelineServiceBatchRequest{Calls: calls})))
		for i, reply := range res.Msg.GetReplies() {
			if reply.GetId() != calls[i].GetId() || kindOf(reply) != kindOf(calls[i]) {
				t.Errorf("call %d, %s, was answered by %v", calls[i].GetId(), kindOf(calls[i]), reply)
			}
		}
	})
	t.Run("stream", func(t *testing.T) {
		stream := openStream(t, pipelines(t, newSingle(t, 1)))
		send(t, stream, calls...)
		for id, reply := range receive(t, stream, len(calls)) {
			if kindOf(reply) != kindOf(calls[id-1]) {
				t.Errorf("call %d, %s, was answered by %v", id, kindOf(calls[id-1]), reply)
			}
		}
	})
}

// Whatever refuses a call by itself refuses it in the same words in a pipeline,
// and none of its neighbours.
func TestACallOfAPipelineFailsAsByItself(t *testing.T) {
	n := newHolding(t)
	s := serve(t, n.single)
	c := pipelines(t, n)
	_, alone := s.counter.Get(t.Context(), connect.NewRequest(&cartwheelv1.CounterServiceGetRequest{Bucket: "b"}))
	var want *connect.Error
	if !errors.As(alone, &want) {
		t.Fatalf("a get without a key: %v", alone)
	}
	for _, test := range []struct {
		name   string
		call   *pcall
		code   connect.Code
		reason cartwheelv1.ErrorDetail_Reason
		text   string
	}{
		{"a key that is empty", getting(1, ""), want.Code(), cartwheelv1.ErrorDetail_REASON_INVALID_NAME, want.Message()},
		{"no operation", &pcall{Id: 1}, connect.CodeInvalidArgument, cartwheelv1.ErrorDetail_REASON_INVALID_OPTION, "call 1 names no operation"},
		{"an option out of bounds", &pcall{Id: 1, Call: &cartwheelv1.PipelinedCall_CounterGet{CounterGet: &cartwheelv1.CounterServiceGetRequest{
			Bucket: "b", Key: "k", Options: &cartwheelv1.ReadOptions{R: 9},
		}}}, connect.CodeInvalidArgument, cartwheelv1.ErrorDetail_REASON_INVALID_OPTION, "r is 9"},
		{"a handler that panics", getting(1, "tripping"), connect.CodeInternal, 0, "counter.get: the node tripped over this call: tripped"},
	} {
		t.Run(test.name, func(t *testing.T) {
			res := must(c.Batch(t.Context(), connect.NewRequest(&cartwheelv1.PipelineServiceBatchRequest{Calls: []*pcall{test.call, getting(2, "k")}})))
			f := res.Msg.GetReplies()[0].GetFailure()
			if connect.Code(f.GetCode()) != test.code || f.GetDetail().GetReason() != test.reason || !strings.Contains(f.GetMessage(), test.text) {
				t.Errorf("got %v", f)
			}
			if kindOf(res.Msg.GetReplies()[1]) != "counter_get" {
				t.Errorf("its neighbour got %v", res.Msg.GetReplies()[1])
			}
		})
	}
}

func TestABatchOutOfBoundsIsRefusedAsAWhole(t *testing.T) {
	n := newHolding(t)
	c := pipelines(t, n)
	many := make([]*pcall, server.MaxCalls+1)
	for i := range many {
		many[i] = adding(uint64(i), "k", 1)
	}
	large := &pcall{Call: &cartwheelv1.PipelinedCall_BlobPut{BlobPut: &cartwheelv1.BlobServicePutRequest{Bucket: "b", Key: "k", Value: make([]byte, server.MaxRequest)}}}
	for _, test := range []struct {
		name   string
		calls  []*pcall
		reason cartwheelv1.ErrorDetail_Reason
	}{
		{"no calls", nil, cartwheelv1.ErrorDetail_REASON_INVALID_OPTION},
		{"one call too many", many, cartwheelv1.ErrorDetail_REASON_TOO_LARGE},
		{"more than 4 MiB", []*pcall{large}, cartwheelv1.ErrorDetail_REASON_TOO_LARGE},
	} {
		_, err := c.Batch(t.Context(), connect.NewRequest(&cartwheelv1.PipelineServiceBatchRequest{Calls: test.calls}))
		if _, detail := detail(t, err); detail.GetReason() != test.reason || detail.GetOperation() != "pipeline.batch" {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	if n.begun.Load() != 0 {
		t.Errorf("%d calls were begun", n.begun.Load())
	}
	full := must(c.Batch(t.Context(), connect.NewRequest(&cartwheelv1.PipelineServiceBatchRequest{Calls: many[1:]})))
	sum := must(c.Batch(t.Context(), connect.NewRequest(&cartwheelv1.PipelineServiceBatchRequest{Calls: []*pcall{getting(1, "k")}})))
	if got := sum.Msg.GetReplies()[0].GetCounterGet().GetValue(); len(full.Msg.GetReplies()) != server.MaxCalls || got != server.MaxCalls {
		t.Errorf("a batch of %d increments was answered %d times and counted %d", server.MaxCalls, len(full.Msg.GetReplies()), got)
	}
}

func TestAStreamWithTooManyCallsInAMessageEnds(t *testing.T) {
	n := newHolding(t)
	stream := openStream(t, pipelines(t, n))
	many := make([]*pcall, server.MaxCalls+1)
	for i := range many {
		many[i] = adding(uint64(i), "k", 1)
	}
	send(t, stream, many...)
	_, err := stream.Receive()
	if _, detail := detail(t, err); detail.GetReason() != cartwheelv1.ErrorDetail_REASON_TOO_LARGE || n.begun.Load() != 0 {
		t.Errorf("%v, and %d calls were begun", err, n.begun.Load())
	}
}

func TestARepliedCallLeavesNobodyWaitingForOneThatIsSlow(t *testing.T) {
	n := newHolding(t)
	stream := openStream(t, pipelines(t, n))
	send(t, stream, getting(1, "held"), getting(2, "k"))
	if got := receive(t, stream, 1); got[2].GetCounterGet() == nil {
		t.Errorf("first came %v, want the one that is not held", got)
	}
	send(t, stream, getting(3, "k"))
	if got := receive(t, stream, 1); got[3].GetCounterGet() == nil {
		t.Errorf("then came %v", got)
	}
	n.release()
	if got := receive(t, stream, 1); got[1].GetCounterGet() == nil {
		t.Errorf("let go, %v", got)
	}
	if err := stream.CloseRequest(); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Receive(); !errors.Is(err, io.EOF) {
		t.Errorf("a stream that its client ends ended with %v", err)
	}
}

func TestAnIDUnderWayIsRefusedAndOneThatWasAnsweredIsFree(t *testing.T) {
	n := newHolding(t)
	stream := openStream(t, pipelines(t, n))
	send(t, stream, getting(1, "held"))
	n.wait(t, "the first is under way", func() bool { return n.held.Load() == 1 })
	send(t, stream, adding(1, "k", 5))
	f := receive(t, stream, 1)[1].GetFailure()
	if f.GetDetail().GetReason() != cartwheelv1.ErrorDetail_REASON_INVALID_OPTION || f.GetDetail().GetOperation() != "counter.add" || n.begun.Load() != 1 {
		t.Errorf("the second call 1 was answered %v", f)
	}
	n.release()
	if got := receive(t, stream, 1)[1]; got.GetCounterGet() == nil {
		t.Errorf("the first call 1 was answered %v", got)
	}
	send(t, stream, adding(1, "k", 5))
	if got := receive(t, stream, 1)[1].GetCounterAdd().GetValue(); got != 5 {
		t.Errorf("the third call 1 added up to %d", got)
	}
}

func TestACallThatIsCancelledEndsAndNoOther(t *testing.T) {
	n := newHolding(t)
	stream := openStream(t, pipelines(t, n))
	send(t, stream, getting(1, "held-1"), getting(2, "held-2"))
	n.wait(t, "both are under way", func() bool { return n.held.Load() == 2 })
	if err := stream.Send(&cartwheelv1.PipelineServiceStreamRequest{Cancel: []uint64{1, 77}}); err != nil {
		t.Fatal(err)
	}
	if got := receive(t, stream, 1)[1].GetFailure(); connect.Code(got.GetCode()) != connect.CodeCanceled || n.held.Load() != 1 {
		t.Errorf("cancelled, it was answered %v; %d are under way", got, n.held.Load())
	}
	n.release()
	if got := receive(t, stream, 1)[2]; got.GetCounterGet() == nil {
		t.Errorf("the other was answered %v", got)
	}
}

func TestTheEndOfAStreamCancelsItsCalls(t *testing.T) {
	n := newHolding(t)
	stream := openStream(t, pipelines(t, n))
	send(t, stream, getting(1, "held-1"), getting(2, "held-2"))
	n.wait(t, "both are under way", func() bool { return n.held.Load() == 2 })
	if err := stream.CloseResponse(); err != nil {
		t.Fatal(err)
	}
	n.wait(t, "nothing is under way", func() bool { return n.held.Load() == 0 })
}

func TestEachCallHasItsOwnDeadline(t *testing.T) {
	n := newHolding(t)
	stream := openStream(t, pipelines(t, n))
	short, long := getting(1, "held-1"), getting(2, "held-2")
	short.TimeoutMs, long.TimeoutMs = 30, 20_000
	began := time.Now()
	send(t, stream, short, long)
	f := receive(t, stream, 1)[1].GetFailure()
	if f.GetDetail().GetReason() != cartwheelv1.ErrorDetail_REASON_DEADLINE_PAST || time.Since(began) < 30*time.Millisecond {
		t.Errorf("after %v: %v", time.Since(began), f)
	}
	n.release()
	if got := receive(t, stream, 1)[2]; got.GetCounterGet() == nil {
		t.Errorf("the one with time left was answered %v", got)
	}
}

// What a node sends to a client that does not read is bounded; whoever shares
// connection and node with it is served; and once it reads, all comes.
func TestAClientThatDoesNotReadItsRepliesBlocksItselfOnly(t *testing.T) {
	n := newHolding(t)
	c := pipelines(t, n)
	const calls, bound = 100, 64 + 16 // 64 MiB of replies of 1 MiB, and what the connection holds
	value := make([]byte, 1<<20)
	_, _ = rand.Read(value) // what can be squeezed would fit
	must(c.Batch(t.Context(), connect.NewRequest(&cartwheelv1.PipelineServiceBatchRequest{Calls: []*pcall{
		{Call: &cartwheelv1.PipelinedCall_BlobPut{BlobPut: &cartwheelv1.BlobServicePutRequest{Bucket: "b", Key: "large", Value: value}}},
	}})))
	slow, quick := openStream(t, c), openStream(t, c)
	before := n.begun.Load()
	for id := range uint64(calls) {
		send(t, slow, &pcall{Id: id, Call: &cartwheelv1.PipelinedCall_BlobGet{BlobGet: &cartwheelv1.BlobServiceGetRequest{Bucket: "b", Key: "large"}}})
	}
	n.wait(t, "as many are begun as may be", func() bool { return n.begun.Load()-before >= 60 })
	began := n.begun.Load()
	for i := range uint64(200) {
		send(t, quick, adding(i, "k", 1))
		if got := receive(t, quick, 1)[i].GetCounterAdd().GetValue(); got != int64(i+1) {
			t.Fatalf("increment %d read %d", i+1, got)
		}
	}
	if n := n.begun.Load() - 200 - before; n > bound {
		t.Errorf("%d calls were begun of a client that does not read, want at most %d; %d before the other's", n, bound, began-before)
	}
	if got := receive(t, slow, calls); len(got[calls-1].GetBlobGet().GetSiblings()) != 1 {
		t.Errorf("read at last: %d replies", len(got))
	}
}

// Calls of a stream that have no reply yet are bounded in bytes as well, and what is
// sent beyond that waits where it is; when there is room again, all are taken.
func TestAStreamIsNotReadWhileItsCallsAreAsLargeAsMayBe(t *testing.T) {
	n := newHolding(t)
	var sender sync.WaitGroup
	t.Cleanup(sender.Wait) // after the stream has ended, whatever comes of the test
	stream := openStream(t, pipelines(t, n))
	const calls, bound = 100, 64 + 8 // MiB, with what the connection and one message hold
	value := make([]byte, 1<<20-100)
	_, _ = rand.Read(value)
	var sent atomic.Int64
	sender.Go(func() {
		for id := range uint64(calls) {
			if err := stream.Send(&cartwheelv1.PipelineServiceStreamRequest{Calls: []*pcall{{Id: id, Call: &cartwheelv1.PipelinedCall_BlobPut{
				BlobPut: &cartwheelv1.BlobServicePutRequest{Bucket: "b", Key: fmt.Sprint("held", id), Value: value},
			}}}}); err != nil {
				t.Error(err)
				return
			}
			sent.Add(1)
		}
	})
	n.wait(t, "as many are begun as may be", func() bool { return n.begun.Load() >= 64 })
	time.Sleep(100 * time.Millisecond)
	if got := sent.Load(); got > bound {
		t.Errorf("%d MiB were taken, want at most %d", got, bound)
	}
	n.release()
	for id, reply := range receive(t, stream, calls) {
		if reply.GetBlobPut() == nil {
			t.Errorf("call %d was answered %v", id, reply)
		}
	}
}

// Replies are as large as the siblings that a value has, and a batch of them is not
// larger than its message may be: what does not fit is refused, with nothing done.
func TestABatchOfLargeRepliesStaysWithinItsBound(t *testing.T) {
	n := newHolding(t)
	c := pipelines(t, n)
	value := make([]byte, 1<<20)
	_, _ = rand.Read(value)
	for range 3 {
		must(c.Batch(t.Context(), connect.NewRequest(&cartwheelv1.PipelineServiceBatchRequest{Calls: []*pcall{
			{Call: &cartwheelv1.PipelinedCall_BlobPut{BlobPut: &cartwheelv1.BlobServicePutRequest{Bucket: "b", Key: "large", Value: value}}},
		}})))
	}
	var calls []*pcall
	for range 60 {
		calls = append(calls, &pcall{Call: &cartwheelv1.PipelinedCall_BlobGet{BlobGet: &cartwheelv1.BlobServiceGetRequest{Bucket: "b", Key: "large"}}})
	}
	calls = append(calls, adding(1, "k", 1))
	res := must(c.Batch(t.Context(), connect.NewRequest(&cartwheelv1.PipelineServiceBatchRequest{Calls: calls})))
	if size := proto.Size(res.Msg); size > 33<<20 {
		t.Errorf("%d bytes of replies", size)
	}
	answered := 0
	for i, reply := range res.Msg.GetReplies() {
		switch f := reply.GetFailure(); {
		case f == nil:
			answered++
		case f.GetDetail().GetReason() != cartwheelv1.ErrorDetail_REASON_OVERLOADED || i == len(calls)-1:
			t.Errorf("call %d was answered %v", i, f)
		}
	}
	if answered < 10 {
		t.Errorf("%d of %d were answered, and there was room for 10", answered, len(calls))
	}
}

// wait waits for a condition, with a deadline.
func (h *holding) wait(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for until := time.Now().Add(20 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

func BenchmarkPipeline(b *testing.B) {
	n := newSingle(b, 1)
	stream := openStream(b, pipelines(b, n))
	for _, batch := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("%d calls a message", batch), func(b *testing.B) {
			calls := make([]*pcall, batch)
			for b.Loop() {
				for i := range calls {
					calls[i] = getting(uint64(i), "k")
				}
				send(b, stream, calls...)
				receive(b, stream, batch)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*batch), "ns/call")
		})
	}
}
