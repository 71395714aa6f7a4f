package server

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/cartwheel-db/cartwheel/crdt"
	cartwheelv1 "github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1"
)

// MaxCalls is the most calls of one message of a pipeline.
const MaxCalls = 1_000

// pipelineService carries many calls in a message. Each takes the way of a call of
// its own, from admission to reply:
//
//	message ─▶ lane ─┬─▶ admission ─▶ handler of its service ─┬─▶ message
//	                 ├─▶ admission ─▶ handler of its service ─┤
//	                 └─▶ …                                    ┘
type pipelineService struct{ *api }

// Batch implements the service. It does not begin calls whose replies might not
// fit into a message any more: these are refused for overload, with nothing done.
func (s pipelineService) Batch(ctx context.Context, req *connect.Request[cartwheelv1.PipelineServiceBatchRequest]) (*connect.Response[cartwheelv1.PipelineServiceBatchResponse], error) {
	calls := req.Msg.GetCalls()
	if p := checkCount("calls", len(calls), MaxCalls); p != nil {
		return nil, (&call{op: "pipeline.batch"}).error(p)
	}
	res := &cartwheelv1.PipelineServiceBatchResponse{Replies: make([]*cartwheelv1.PipelinedReply, len(calls))}
	l := newLane(ctx, s.api)
	l.keeps = true
	defer l.close()
	l.take(calls, time.Now())
	defer context.AfterFunc(ctx, func() { l.cancelAll(context.Cause(ctx)) })()
	for left := len(calls); left > 0; {
		<-l.wake
		for _, done := range l.collect(math.MaxInt) {
			res.Replies[done.place], left = done.reply, left-1
		}
	}
	return connect.NewResponse(res), nil
}

// failureOf puts an error of a handler into the form of a reply.
func failureOf(err error) *cartwheelv1.PipelinedFailure {
	var failed *connect.Error
	if !errors.As(err, &failed) {
		failed = connect.NewError(connect.CodeUnknown, err)
	}
	f := &cartwheelv1.PipelinedFailure{Code: uint32(failed.Code()), Message: failed.Message()}
	for _, attached := range failed.Details() {
		if value, err := attached.Value(); err == nil {
			if detail, ok := value.(*cartwheelv1.ErrorDetail); ok {
				f.Detail = detail
			}
		}
	}
	if ms, err := strconv.ParseUint(failed.Meta().Get(pushbackHeader), 10, 32); err == nil {
		f.PushbackMs = uint32(ms)
	}
	return f
}

// failed is the reply to a call that never reached a handler.
func failed(call *cartwheelv1.PipelinedCall, p *problem) *cartwheelv1.PipelinedReply {
	return &cartwheelv1.PipelinedReply{Id: call.GetId(), Reply: &cartwheelv1.PipelinedReply_Failure{Failure: failureOf(named(call).error(p))}}
}

// named tells which operation a call is, and on what. Only failures ask.
func named(pipelined *cartwheelv1.PipelinedCall) *call {
	c := &call{op: "pipeline.call"}
	m := pipelined.ProtoReflect()
	field := m.WhichOneof(m.Descriptor().Oneofs().ByName("call"))
	if field == nil {
		return c
	}
	c.op = strings.Replace(string(field.Name()), "_", ".", 1) // "set_add" is "set.add"
	if on, ok := m.Get(field).Message().Interface().(interface {
		GetBucket() string
		GetKey() string
	}); ok {
		c.key = crdt.Key{Bucket: on.GetBucket(), Name: on.GetKey()}
	}
	return c
}

// Replies of calls that are under way count with what they may come to: what
// reads values may find a page of them.
const (
	largeReply = PageBytes
	smallReply = 4 << 10
)

func replyBound(call *cartwheelv1.PipelinedCall) int {
	switch c := call.GetCall().(type) {
	case *cartwheelv1.PipelinedCall_SetMembers, *cartwheelv1.PipelinedCall_RegisterGet, *cartwheelv1.PipelinedCall_BlobGet, *cartwheelv1.PipelinedCall_MapGet:
		return largeReply
	case *cartwheelv1.PipelinedCall_SetContains:
		return smallReply + len(c.SetContains.GetMembers())
	}
	return smallReply
}

// tripped is the reply to a call whose handler panicked: nobody meant that.
func tripped(call *cartwheelv1.PipelinedCall, cause any) *cartwheelv1.PipelinedReply {
	return &cartwheelv1.PipelinedReply{Id: call.GetId(), Reply: &cartwheelv1.PipelinedReply_Failure{Failure: &cartwheelv1.PipelinedFailure{
		Code: uint32(connect.CodeInternal), Message: fmt.Sprintf("%s: the node tripped over this call: %v", named(call).op, cause),
	}}}
}
