package cartwheel

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"connectrpc.com/connect"

	"github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1/cartwheelv1connect"
)

// batches is a pipe of unary calls, each of which carries what was waiting.
type batches struct {
	client *connect.Client[frame, frame]
	life   *life

	mu       sync.Mutex
	queue    queue
	sending  int
	notUntil time.Time // the endpoint does not know batches
}

// maxBatches are under way at a time. More would be smaller, fewer would let
// everybody wait for one slow call.
const maxBatches = 4

func newBatches(base string, cfg config, l *life) *batches {
	return &batches{life: l, client: connect.NewClient[frame, frame](cfg.http, base+cartwheelv1connect.PipelineServiceBatchProcedure,
		connect.WithCodec(frameCodec{}), connect.WithReadMaxBytes(maxReply), connect.WithAcceptCompression("gzip", nil, nil))}
}

func (b *batches) carrier() carrier {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.notUntil.IsZero() && time.Now().Before(b.notUntil) {
		return nil
	}
	return b
}

func (b *batches) enter(w *waiting) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.sending < maxBatches {
		if !b.life.begin(b.send) {
			return false
		}
		b.sending++
	}
	b.queue = append(b.queue, w)
	return true
}

func (b *batches) wait(ctx context.Context, w *waiting) bool {
	if await(ctx, w.done) {
		return true
	}
	b.abandon(w)
	return false
}

// abandon ends the batch of a call when nobody waits for any call of it.
func (b *batches) abandon(w *waiting) {
	b.mu.Lock()
	defer b.mu.Unlock()
	w.gone, w.request = true, nil
	if w.batch == nil {
		return
	}
	if w.batch.wanted--; w.batch.wanted == 0 {
		w.batch.cancel()
	}
}

// batch is what was sent together.
type batch struct {
	cancel context.CancelFunc
	wanted int // calls that their callers did not leave
}

// send sends one batch after the other, until nothing waits.
func (b *batches) send() {
	for {
		runtime.Gosched() // others have calls for this batch, and lack a processor only
		b.mu.Lock()
		message, calls := b.queue.take(nil, maxCalls)
		if len(calls) == 0 {
			b.sending--
			b.mu.Unlock()
			return
		}
		ctx, cancel := context.WithDeadline(context.Background(), last(calls))
		together := &batch{cancel, len(calls)}
		for _, w := range calls {
			w.batch = together
		}
		b.mu.Unlock()
		b.carry(ctx, message, calls)
		cancel()
	}
}

// last is when the last of the callers gives up.
func last(calls []*waiting) (at time.Time) {
	for _, w := range calls {
		if w.deadline.After(at) {
			at = w.deadline
		}
	}
	return at
}

// carry sends a batch and hands replies to their callers.
func (b *batches) carry(ctx context.Context, message []byte, calls []*waiting) {
	under := make(map[uint64]*waiting, len(calls))
	for _, w := range calls {
		under[w.id] = w
	}
	res, err := b.client.CallUnary(ctx, connect.NewRequest(&frame{message}))
	if err == nil {
		err = eachReply(res.Msg.bytes, func(id uint64, reply []byte) {
			if w := under[id]; w != nil {
				delete(under, id)
				w.reply = reply
				close(w.done)
			}
		})
		if err == nil {
			err = connect.NewError(connect.CodeDataLoss, errors.New("the batch was answered without this call"))
		}
	}
	if connect.CodeOf(err) == connect.CodeUnimplemented {
		b.mu.Lock()
		b.notUntil = time.Now().Add(unableFor)
		b.mu.Unlock()
		err = errNotSent
	}
	for _, w := range under {
		w.err = err
		close(w.done)
	}
}

// frame is a message as bytes.
type frame struct{ bytes []byte }

// frameCodec lets messages through as they are.
type frameCodec struct{}

func (frameCodec) Name() string { return "proto" }

func (frameCodec) Marshal(message any) ([]byte, error) {
	f, ok := message.(*frame)
	if !ok {
		return nil, fmt.Errorf("%T is no frame", message)
	}
	return f.bytes, nil
}

func (frameCodec) Unmarshal(data []byte, message any) error {
	f, ok := message.(*frame)
	if !ok {
		return fmt.Errorf("%T is no frame", message)
	}
	f.bytes = append([]byte(nil), data...) // Connect uses the buffer again
	return nil
}
