package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/replica"
	cartwheelv1 "github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1"
	"github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1/cartwheelv1connect"
)

func gets(from, n int) []*cartwheelv1.PipelinedCall {
	list := make([]*cartwheelv1.PipelinedCall, n)
	for i := range list {
		get := &cartwheelv1.CounterServiceGetRequest{Bucket: "b", Key: fmt.Sprint("k", from+i)}
		list[i] = &cartwheelv1.PipelinedCall{Id: uint64(from + i), Call: &cartwheelv1.PipelinedCall_CounterGet{CounterGet: get}}
	}
	return list
}

func pipelineOf(t *testing.T, h http.Handler) cartwheelv1connect.PipelineServiceClient {
	t.Helper()
	server := httptest.NewUnstartedServer(h)
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	t.Cleanup(server.Close)
	return pipelineAt(t, server.URL)
}

func pipelineAt(t *testing.T, url string) cartwheelv1connect.PipelineServiceClient {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols}
	t.Cleanup(transport.CloseIdleConnections)
	return cartwheelv1connect.NewPipelineServiceClient(&http.Client{Transport: transport}, url)
}

type pipelineStream = connect.BidiStreamForClient[cartwheelv1.PipelineServiceStreamRequest, cartwheelv1.PipelineServiceStreamResponse]

func greeted(t *testing.T, c cartwheelv1connect.PipelineServiceClient) *pipelineStream {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	stream := c.Stream(ctx)
	t.Cleanup(func() {
		cancel()
		_ = stream.CloseResponse()
	})
	if err := stream.Send(nil); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Receive(); err != nil {
		t.Fatal(err)
	}
	return stream
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for until := time.Now().Add(20 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

// The stream is not admitted, for it lasts; each of its calls is, and is refused
// where there is no room, with nothing done.
func TestEachCallOfAPipelineIsAdmittedByItself(t *testing.T) {
	const most, calls = 4, 40
	node := newTestCluster(t, 1).nodes[0]
	for _, by := range []string{"batch", "stream"} {
		t.Run(by, func(t *testing.T) {
			b := &stuckBackend{Backend: node, let: make(chan struct{})}
			a := newAdmission(most, time.Now)
			client := pipelineOf(t, Handler(b, HandlerOptions{admission: a}))
			replies := make(chan *cartwheelv1.PipelinedReply, calls)
			if by == "stream" {
				stream := greeted(t, client)
				if s := a.stats(); s.Inside != 0 || s.Admitted != 0 {
					t.Errorf("an idle stream is inside: %+v", s)
				}
				if err := stream.Send(&cartwheelv1.PipelineServiceStreamRequest{Calls: gets(0, calls)}); err != nil {
					t.Fatal(err)
				}
				go func() {
					for n := 0; n < calls; {
						message, err := stream.Receive()
						if err != nil {
							close(replies)
							return
						}
						for _, reply := range message.GetReplies() {
							n++
							replies <- reply
						}
					}
				}()
			} else {
				go func() {
					res, err := client.Batch(t.Context(), connect.NewRequest(&cartwheelv1.PipelineServiceBatchRequest{Calls: gets(0, calls)}))
					if err != nil {
						close(replies)
						return
					}
					for _, reply := range res.Msg.GetReplies() {
						replies <- reply
					}
				}()
			}
			eventually(t, "all but those inside are refused", func() bool { return a.stats().Refused == calls-most })
			close(b.let)
			refused := 0
			for range calls {
				reply := <-replies
				if reply == nil {
					t.Fatal("the pipeline failed as a whole")
				}
				if f := reply.GetFailure(); f != nil {
					refused++
					if connect.Code(f.GetCode()) != connect.CodeResourceExhausted || f.GetDetail().GetReason() != cartwheelv1.ErrorDetail_REASON_OVERLOADED ||
						f.GetDetail().GetOutcomeUnknown() || f.GetDetail().GetOperation() != "counter.get" || f.GetPushbackMs() != pushback {
						t.Fatalf("refused with %v", f)
					}
				}
			}
			if s := a.stats(); refused != calls-most || b.highest.Load() != most || s.Inside != 0 || s.Waiting != 0 || s.Admitted != most || a.held != 0 {
				t.Errorf("%d refused, %d inside at a time, afterwards %+v and %d bytes", refused, b.highest.Load(), s, a.held)
			}
		})
	}
}

func TestANodeThatDrainsEndsItsStreamsWhenWhatIsUnderWayIsAnswered(t *testing.T) {
	b := &stuckBackend{Backend: newTestCluster(t, 1).nodes[0], let: make(chan struct{})}
	draining := make(chan struct{})
	stream := greeted(t, pipelineOf(t, Handler(b, HandlerOptions{draining: draining})))
	send := func(calls []*cartwheelv1.PipelinedCall) {
		t.Helper()
		if err := stream.Send(&cartwheelv1.PipelineServiceStreamRequest{Calls: calls}); err != nil {
			t.Fatal(err)
		}
	}
	send(gets(1, 1))
	eventually(t, "the call is under way", func() bool { return b.inside.Load() == 1 })
	replies := make(chan *cartwheelv1.PipelinedReply, 100)
	ended := make(chan error, 1)
	go func() {
		for {
			message, err := stream.Receive()
			if err != nil {
				ended <- err
				return
			}
			for _, reply := range message.GetReplies() {
				replies <- reply
			}
		}
	}()
	close(draining)
	begun := int64(1) // what arrives before the stream hears of it is begun as well
	for id := 2; len(replies) == 0; id++ {
		send(gets(id, 1))
		eventually(t, "it is begun or turned away", func() bool { return b.inside.Load() == begun+1 || len(replies) > 0 })
		begun = b.inside.Load()
	}
	if f := (<-replies).GetFailure(); f.GetDetail().GetReason() != cartwheelv1.ErrorDetail_REASON_NOT_READY || f.GetDetail().GetOutcomeUnknown() {
		t.Errorf("while the node drains: %v", f)
	}
	close(b.let)
	if err := <-ended; !errors.Is(err, io.EOF) {
		t.Errorf("the stream ended with %v", err)
	}
	for close(replies); begun > 0; begun-- {
		if reply := <-replies; reply.GetCounterGet() == nil {
			t.Errorf("under way when the node began to drain: %v", reply)
		}
	}
}

func TestANodeClosesInTimeWithStreamsOpen(t *testing.T) {
	c := newTestCluster(t, 1)
	stream := greeted(t, pipelineAt(t, "http://"+c.nodes[0].APIAddr()))
	if err := stream.Send(&cartwheelv1.PipelineServiceStreamRequest{Calls: gets(1, 3)}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := c.nodes[0].Close(ctx); err != nil {
		t.Error(err)
	}
	c.nodes[0] = nil
	for {
		if _, err := stream.Receive(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func TestAStreamIsNotReadWhileItsCallsAreAsManyAsMayBe(t *testing.T) {
	b := &stuckBackend{Backend: newTestCluster(t, 1).nodes[0], let: make(chan struct{})}
	l := newLane(t.Context(), &api{backend: b, issuer: newIssuer()})
	defer l.close()
	l.take(gets(0, MaxCalls), time.Now())
	l.take(gets(MaxCalls, MaxUnderWay-MaxCalls), time.Now())
	taken := make(chan struct{})
	go func() {
		l.take(gets(MaxUnderWay, 10), time.Now())
		close(taken)
	}()
	eventually(t, "as many are worked on as may be", func() bool { return b.inside.Load() == laneWorkers })
	close(b.let)
	eventually(t, "all are done", func() bool { l.mu.Lock(); defer l.mu.Unlock(); return len(l.done) == MaxUnderWay })
	select {
	case <-taken:
		t.Error("more was taken before a reply was sent")
	default:
	}
	l.sent(l.collect(1)[:1]) // one reply of ten bytes makes no room for ten calls
	select {
	case <-taken:
		t.Error("ten were taken in the place of one")
	default:
	}
	l.sent(l.collect(1 << 30))
	<-taken
	eventually(t, "those are done too", func() bool { l.mu.Lock(); defer l.mu.Unlock(); return len(l.done) == 10 })
	eventually(t, "who has nothing to do goes home", func() bool { l.mu.Lock(); defer l.mu.Unlock(); return l.workers == 0 })
	if got := b.highest.Load(); got != laneWorkers {
		t.Errorf("%d were worked on at a time, want %d", got, laneWorkers)
	}
}

// stubborn never answers a call before it is given up.
type stubborn struct{ Backend }

func (stubborn) Do(ctx context.Context, _ replica.Request, _ crdt.Stamp) (replica.Result, crdt.Stamp) {
	<-ctx.Done()
	return replica.Result{Failure: &replica.Failure{Reason: replica.DeadlinePast, Text: context.Cause(ctx).Error()}}, 0
}

func TestABatchIsAnsweredInTimeByWhatIsLate(t *testing.T) {
	b := stubborn{newTestCluster(t, 1).nodes[0]}
	client := pipelineOf(t, Handler(b, HandlerOptions{}))
	calls := gets(0, 3)
	for _, call := range calls {
		call.TimeoutMs = 20
	}
	res, err := client.Batch(t.Context(), connect.NewRequest(&cartwheelv1.PipelineServiceBatchRequest{Calls: calls}))
	if err != nil {
		t.Fatal(err)
	}
	for _, reply := range res.Msg.GetReplies() {
		if reply.GetFailure().GetDetail().GetReason() != cartwheelv1.ErrorDetail_REASON_DEADLINE_PAST {
			t.Errorf("out of time: %v", reply)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	res, err = client.Batch(ctx, connect.NewRequest(&cartwheelv1.PipelineServiceBatchRequest{Calls: gets(0, 3)}))
	if err != nil && connect.CodeOf(err) != connect.CodeDeadlineExceeded {
		t.Errorf("the batch itself out of time: %v", err)
	}
	if err == nil && res.Msg.GetReplies()[0].GetFailure().GetDetail().GetReason() != cartwheelv1.ErrorDetail_REASON_DEADLINE_PAST {
		t.Errorf("the batch itself out of time: %v", res.Msg)
	}
}

func TestABatchDoesNotBeginReadsWhoseRepliesWouldNotFit(t *testing.T) {
	l := newLane(t.Context(), &api{backend: newTestCluster(t, 1).nodes[0], issuer: newIssuer()})
	defer l.close()
	l.keeps = true
	l.held = laneBytes // of replies that are there already
	l.take(gets(0, 2), time.Now())
	eventually(t, "both are answered", func() bool { l.mu.Lock(); defer l.mu.Unlock(); return len(l.done) == 2 })
	for _, p := range l.collect(1 << 30) {
		if f := p.reply.GetFailure(); f.GetDetail().GetReason() != cartwheelv1.ErrorDetail_REASON_OVERLOADED || f.GetDetail().GetOutcomeUnknown() {
			t.Errorf("without room for its reply: %v", p.reply)
		}
	}
}

func TestANodeThatHoldsManyRepliesBeginsNothingLargeForWhoHasNotReadHis(t *testing.T) {
	a := &api{backend: newTestCluster(t, 1).nodes[0], issuer: newIssuer()}
	const elsewhere = nodeBytes + 1
	a.unsent.Store(elsewhere)
	for _, c := range []struct {
		name    string
		held    int // by the lane itself
		call    *cartwheelv1.PipelinedCall
		refused bool
	}{
		{"a blob for who holds nothing", 0, &cartwheelv1.PipelinedCall{Call: &cartwheelv1.PipelinedCall_BlobGet{BlobGet: &cartwheelv1.BlobServiceGetRequest{Bucket: "b", Key: "k"}}}, false},
		{"a blob for who holds some", 1, &cartwheelv1.PipelinedCall{Call: &cartwheelv1.PipelinedCall_BlobGet{BlobGet: &cartwheelv1.BlobServiceGetRequest{Bucket: "b", Key: "k"}}}, true},
		{"a counter for who holds some", 1, gets(0, 1)[0], false},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLane(t.Context(), a)
			l.held = c.held
			l.take([]*cartwheelv1.PipelinedCall{c.call}, time.Now())
			eventually(t, "it is answered", func() bool { l.mu.Lock(); defer l.mu.Unlock(); return len(l.done) == 1 })
			f := l.collect(1)[0].reply.GetFailure()
			if refused := f.GetDetail().GetReason() == cartwheelv1.ErrorDetail_REASON_OVERLOADED && f.GetPushbackMs() > 0; refused != c.refused || !refused && f != nil {
				t.Errorf("answered %v, refused for overload: %t", f, refused)
			}
			l.close()
			if n := a.unsent.Load(); n != elsewhere {
				t.Errorf("%d bytes are held, %d by others", n, elsewhere)
			}
		})
	}
}
