package cartwheel_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	cartwheelv1 "github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1"
)

// pipelineService carries the calls of a pipeline through the door of the fake
// node, one by one. So faults planted there befall them as well, and what cuts a
// connection cuts the stream with all that is under way on it.
type pipelineService struct{ *fakeNode }

func (s pipelineService) Batch(ctx context.Context, r *connect.Request[cartwheelv1.PipelineServiceBatchRequest]) (*connect.Response[cartwheelv1.PipelineServiceBatchResponse], error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s.note(r.Msg.GetCalls(), nil)
	replies := make([]*cartwheelv1.PipelinedReply, len(r.Msg.GetCalls()))
	var all sync.WaitGroup
	for i, call := range r.Msg.GetCalls() {
		all.Go(func() { replies[i] = s.carry(ctx, cancel, call) })
	}
	all.Wait()
	if errors.Is(context.Cause(ctx), http.ErrAbortHandler) {
		panic(http.ErrAbortHandler)
	}
	return connect.NewResponse(&cartwheelv1.PipelineServiceBatchResponse{Replies: replies}), nil
}

func (s pipelineService) Stream(ctx context.Context, stream *connect.BidiStream[cartwheelv1.PipelineServiceStreamRequest, cartwheelv1.PipelineServiceStreamResponse]) error {
	if err := stream.Send(&cartwheelv1.PipelineServiceStreamResponse{}); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	replies := make(chan *cartwheelv1.PipelinedReply, 10_000)
	go func() {
		for {
			message, err := stream.Receive()
			if err != nil {
				cancel(err)
				return
			}
			s.note(message.GetCalls(), message.GetCancel())
			for _, call := range message.GetCalls() {
				go func() {
					if reply := s.carry(ctx, cancel, call); reply != nil {
						replies <- reply
					}
				}()
			}
		}
	}()
	for {
		select {
		case reply := <-replies:
			message := &cartwheelv1.PipelineServiceStreamResponse{Replies: []*cartwheelv1.PipelinedReply{reply}}
			if err := stream.Send(message); err != nil {
				return err
			}
		case <-ctx.Done():
			if errors.Is(context.Cause(ctx), http.ErrAbortHandler) {
				panic(http.ErrAbortHandler)
			}
			return nil
		}
	}
}

// carry sends a call through the door of the node; nil is for no answer.
func (s pipelineService) carry(ctx context.Context, cut context.CancelCauseFunc, call *cartwheelv1.PipelinedCall) (reply *cartwheelv1.PipelinedReply) {
	defer func() {
		if recover() != nil {
			cut(http.ErrAbortHandler)
			reply = nil
		}
	}()
	m := call.ProtoReflect()
	field := m.WhichOneof(m.Descriptor().Oneofs().Get(0))
	body, err := proto.Marshal(m.Get(field).Message().Interface())
	if err != nil {
		panic(err)
	}
	service, method, _ := strings.Cut(string(field.Name()), "_") // set_add
	path := "/cartwheel.v1." + strings.ToUpper(service[:1]) + service[1:] + "Service/" + strings.ToUpper(method[:1]) + method[1:]
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, path, bytes.NewReader(body))
	r.Header.Set("Content-Type", "application/proto")
	w := httptest.NewRecorder()
	s.server.Config.Handler.ServeHTTP(w, r)
	if ctx.Err() != nil {
		return nil
	}
	reply = &cartwheelv1.PipelinedReply{Id: call.GetId()}
	if w.Code != http.StatusOK {
		reply.Reply = &cartwheelv1.PipelinedReply_Failure{Failure: failureOf(w)}
		return reply
	}
	to := reply.ProtoReflect()
	answer := to.NewField(to.Descriptor().Fields().ByName(field.Name()))
	if err := proto.Unmarshal(w.Body.Bytes(), answer.Message().Interface()); err != nil {
		panic(err)
	}
	to.Set(to.Descriptor().Fields().ByName(field.Name()), answer)
	return reply
}

// failureOf turns what Connect's unary protocol sends for an error into a failure.
func failureOf(w *httptest.ResponseRecorder) *cartwheelv1.PipelinedFailure {
	said := struct {
		Code    connect.Code
		Message string
		Details []struct{ Value string }
	}{Code: connect.CodeUnavailable, Message: "an answer without explanation"} // 503
	_ = json.Unmarshal(w.Body.Bytes(), &said)
	f := &cartwheelv1.PipelinedFailure{Code: uint32(said.Code), Message: said.Message}
	for _, attached := range said.Details {
		value, err := base64.RawStdEncoding.DecodeString(attached.Value)
		f.Detail = &cartwheelv1.ErrorDetail{}
		if err = errors.Join(err, proto.Unmarshal(value, f.GetDetail())); err != nil {
			panic(err)
		}
	}
	ms, _ := strconv.ParseUint(w.Header().Get("Grpc-Retry-Pushback-Ms"), 10, 32)
	f.PushbackMs = uint32(ms)
	return f
}

// note counts what came together.
func (n *fakeNode) note(calls []*cartwheelv1.PipelinedCall, canceled []uint64) {
	n.faultMu.Lock()
	defer n.faultMu.Unlock()
	if len(calls) > 0 {
		n.messages = append(n.messages, len(calls))
	}
	n.piped = append(n.piped, calls...)
	n.canceled = append(n.canceled, canceled...)
}

// pipedSoFar returns how many calls each message of a pipeline had, the calls, and
// the ids of those that were cancelled.
func (n *fakeNode) pipedSoFar() (messages []int, calls []*cartwheelv1.PipelinedCall, canceled []uint64) {
	n.faultMu.Lock()
	defer n.faultMu.Unlock()
	return slices.Clone(n.messages), slices.Clone(n.piped), slices.Clone(n.canceled)
}

// newBalancer is one address for several nodes, which take turns at each procedure. So
// whoever asks twice who it is meets two of them, whatever else is asked meanwhile.
func newBalancer(t *testing.T, nodes ...*fakeNode) string {
	t.Helper()
	var mu sync.Mutex
	turn := map[string]int{}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		node := nodes[turn[r.URL.Path]%len(nodes)]
		turn[r.URL.Path]++
		mu.Unlock()
		node.server.Config.Handler.ServeHTTP(w, r)
	}))
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	t.Cleanup(server.Close)
	return server.URL
}
