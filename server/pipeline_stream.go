package server

import (
	"context"
	"errors"
	"io"
	"time"

	"connectrpc.com/connect"

	cartwheelv1 "github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1"
)

// messageBytes of replies end a message of a stream early.
const messageBytes = 1 << 20

// Stream implements the service. One goroutine reads, this one writes, and what
// is done while a message is on its way goes with the next:
//
//	read ─▶ lane ─▶ done, done, done ─▶ collected ─▶ one message
//	  ▲                                                  │
//	  └───────────── room for as many calls ◀────────────┘
//
// A client that does not read its replies keeps this goroutine waiting, then its
// own calls, and then what it sends; nobody else.
func (s pipelineService) Stream(ctx context.Context, stream *connect.BidiStream[cartwheelv1.PipelineServiceStreamRequest, cartwheelv1.PipelineServiceStreamResponse]) error {
	// A message without replies says that the stream is open, so that clients learn
	// it where a proxy or HTTP/1.1 is in between.
	if err := stream.Send(&cartwheelv1.PipelineServiceStreamResponse{}); err != nil {
		return err
	}
	l := newLane(ctx, s.api)
	defer l.close()
	in := &streamReader{lane: l, stream: stream, ended: make(chan struct{})}
	go in.run()
	ended, draining, last := (<-chan struct{})(in.ended), s.draining, false
	for {
		select {
		case <-l.wake:
			l.gather()
		case <-ended: // what is under way is answered yet
			if in.err != nil {
				return in.err
			}
			ended, last = nil, true
		case <-draining:
			l.leave()
			draining, last = nil, true
		case <-ctx.Done():
			return ctx.Err()
		}
		for replies := l.collect(messageBytes); len(replies) > 0; replies = l.collect(messageBytes) {
			message := &cartwheelv1.PipelineServiceStreamResponse{Replies: make([]*cartwheelv1.PipelinedReply, len(replies))}
			for i, p := range replies {
				message.Replies[i] = p.reply
			}
			if err := stream.Send(message); err != nil {
				return err
			}
			l.sent(replies)
		}
		if last && l.empty() {
			return nil
		}
	}
}

// streamReader takes in what the client of a stream sends.
type streamReader struct {
	lane   *lane
	stream *connect.BidiStream[cartwheelv1.PipelineServiceStreamRequest, cartwheelv1.PipelineServiceStreamResponse]
	ended  chan struct{} // closed when the client sends nothing any more
	err    error         // why, nil when it said so
}

func (r *streamReader) run() {
	defer close(r.ended)
	for {
		message, err := r.stream.Receive()
		if errors.Is(err, io.EOF) {
			return
		}
		if err == nil && len(message.GetCalls()) > MaxCalls {
			n := len(message.GetCalls())
			err = (&call{op: "pipeline.stream"}).error(tooLarge(MaxCalls, n, "%d calls in a message, limit %d", n, MaxCalls))
		}
		if err != nil {
			r.err = err
			return
		}
		r.lane.cancel(message.GetCancel())
		if len(message.GetCalls()) == 0 {
			continue
		}
		r.lane.take(message.GetCalls(), time.Now())
	}
}
