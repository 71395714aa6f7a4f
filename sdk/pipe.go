package cartwheel

import (
	"context"
	"errors"
	"math"
	"strconv"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	cartwheelv1 "github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1"
)

// API is how operations travel to a node.
type API int

// Ways for operations to travel. What concurrent callers have waiting goes
// together; nothing waits for more to come.
const (
	// Stream carries many operations per message, both ways, each answered when it
	// is done. An endpoint that cannot do so (an older node, a proxy or an HTTP
	// client that speaks HTTP/1.1 only) is served by Unary, and tried again later.
	Stream API = iota
	// Batch sends many operations in one request, which is answered when all of
	// them are done.
	Batch
	// Unary is one request an operation.
	Unary
)

// WithAPI chooses how operations travel. Default Stream.
func WithAPI(api API) Option { return func(c *config) { c.api = api } }

// Operations travel through the pipe of their endpoint. Callers put theirs in a
// queue and wait; what is in the queue when the message before has been sent makes
// the next one:
//
//	callers ─▶ queue ─▶ message ─▶ node ─▶ replies ─▶ each to its caller
//
// A caller encodes its request and decodes its reply itself, so nobody waits for
// the work of another.
type pipe interface {
	// carrier returns who carries a call now, nil for nobody: then it travels alone.
	carrier() carrier
}

// carrier takes calls, unless they come too late, and lets their callers wait. wait
// tells whether a call was done before its context ended.
type carrier interface {
	enter(w *waiting) bool
	wait(ctx context.Context, w *waiting) bool
}

const (
	// maxCalls and maxUnderWay are the node's bounds for a message and for a stream.
	maxCalls    = 1_000
	maxUnderWay = 1_024
	// messageBytes end a message early; a request larger than that travels alone,
	// and is refused by itself if it is too large.
	messageBytes = 1 << 20
)

// waiting is one call whose caller waits.
type waiting struct {
	id       uint64
	request  []byte    // as a field of a message, until it is sent
	deadline time.Time // zero for none
	gone     bool      // its caller has left, or is told that it is late
	late     bool      // its deadline passed while it was carried
	batch    *batch    // it was sent with, if with any

	done  chan struct{} // closed when there is
	reply []byte        // a reply,
	err   error         // or why there is none
}

var lastCall atomic.Uint64

// errNotSent says that a call never left: it may travel otherwise.
var errNotSent = errors.New("the pipe closed before the call was sent")

// piped sends a request through a pipe, and by itself where nobody carries it.
func piped[Req, Res any](
	ctx context.Context, p pipe, request *connect.Request[Req], call *cartwheelv1.PipelinedCall,
	alone func(context.Context, *connect.Request[Req]) (*connect.Response[Res], error),
	answer func(*cartwheelv1.PipelinedReply) *Res,
) (*connect.Response[Res], error) {
	by := p.carrier()
	if by == nil {
		return alone(ctx, request)
	}
	w, ok := packed(ctx, call)
	if !ok || !by.enter(w) {
		return alone(ctx, request)
	}
	if !by.wait(ctx, w) {
		return nil, ended(ctx)
	}
	switch {
	case errors.Is(w.err, errNotSent):
		return alone(ctx, request)
	case w.err != nil:
		return nil, w.err
	}
	reply := &cartwheelv1.PipelinedReply{}
	if err := proto.Unmarshal(w.reply, reply); err != nil {
		return nil, connect.NewError(connect.CodeInternal, err)
	}
	if reply.GetFailure() != nil {
		return nil, failed(reply.GetFailure())
	}
	if res := answer(reply); res != nil {
		return connect.NewResponse(res), nil
	}
	return nil, connect.NewError(connect.CodeInternal, errors.New("the reply is that of another operation"))
}

// callsField is the number of calls in a message, and repliesField that of
// replies.
const callsField, cancelField, repliesField = 1, 2, 1

// packed encodes a call. One that cannot be encoded, or is too large, is not ok:
// by itself it is told so in the usual way.
func packed(ctx context.Context, call *cartwheelv1.PipelinedCall) (w *waiting, ok bool) {
	w = &waiting{id: lastCall.Add(1), done: make(chan struct{})}
	call.Id = w.id
	if deadline, has := ctx.Deadline(); has {
		w.deadline = deadline
		call.TimeoutMs = uint32(min(max(1, time.Until(deadline).Milliseconds()), math.MaxUint32))
	}
	size := proto.Size(call)
	if size > messageBytes {
		return nil, false
	}
	b := protowire.AppendTag(make([]byte, 0, size+8), callsField, protowire.BytesType)
	b, err := proto.MarshalOptions{UseCachedSize: true}.MarshalAppend(protowire.AppendVarint(b, uint64(size)), call)
	w.request = b
	return w, err == nil
}

// ended is the error of a call whose context ended.
func ended(ctx context.Context) error {
	if errors.Is(root(ctx).Err(), context.Canceled) {
		return connect.NewError(connect.CodeCanceled, context.Canceled)
	}
	return connect.NewError(connect.CodeDeadlineExceeded, context.DeadlineExceeded)
}

// failed turns a failure into the error that a call of its own ends with.
func failed(f *cartwheelv1.PipelinedFailure) error {
	err := connect.NewWireError(connect.Code(f.GetCode()), errors.New(f.GetMessage()))
	if f.GetDetail() != nil {
		if detail, wrong := connect.NewErrorDetail(f.GetDetail()); wrong == nil {
			err.AddDetail(detail)
		}
	}
	if ms := f.GetPushbackMs(); ms > 0 {
		err.Meta().Set(pushbackHeader, strconv.FormatUint(uint64(ms), 10))
	}
	return err
}

// queue is what waits to be sent, in order.
type queue []*waiting

// take moves calls from the queue into a message, up to a number of them, and
// returns those it took.
func (q *queue) take(message []byte, most int) ([]byte, []*waiting) {
	var taken []*waiting
	list := *q
	for len(list) > 0 && len(taken) < most {
		w := list[0]
		if !w.gone {
			if len(taken) > 0 && len(message)+len(w.request) > messageBytes {
				break
			}
			message, w.request = append(message, w.request...), nil
			taken = append(taken, w)
		}
		list[0], list = nil, list[1:]
	}
	if *q = list; len(list) == 0 {
		*q = nil
	}
	return message, taken
}

// eachReply calls fn for every reply of a message, until it is malformed.
func eachReply(message []byte, fn func(id uint64, reply []byte)) error {
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return protowire.ParseError(n)
		}
		if message = message[n:]; number != repliesField || kind != protowire.BytesType {
			if n = protowire.ConsumeFieldValue(number, kind, message); n < 0 {
				return protowire.ParseError(n)
			}
			message = message[n:]
			continue
		}
		reply, n := protowire.ConsumeBytes(message)
		if n < 0 {
			return protowire.ParseError(n)
		}
		message = message[n:]
		id, err := idOf(reply)
		if err != nil {
			return err
		}
		fn(id, reply)
	}
	return nil
}

// idOf finds the id of a reply, which is its first field as a rule.
func idOf(reply []byte) (id uint64, err error) {
	for len(reply) > 0 {
		number, kind, n := protowire.ConsumeTag(reply)
		if n < 0 {
			return 0, protowire.ParseError(n)
		}
		reply = reply[n:]
		if number == 1 && kind == protowire.VarintType {
			if id, n = protowire.ConsumeVarint(reply); n < 0 {
				return 0, protowire.ParseError(n)
			}
			return id, nil
		}
		if n = protowire.ConsumeFieldValue(number, kind, reply); n < 0 {
			return 0, protowire.ParseError(n)
		}
		reply = reply[n:]
	}
	return 0, nil
}
