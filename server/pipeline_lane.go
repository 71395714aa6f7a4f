package server

import (
	"context"
	"log/slog"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	cartwheelv1 "github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1"
)

// lane carries the calls of one stream or of one batch, which know nothing of each
// other. Its goroutines are as many as there are calls under way, and serve one
// call after the other.
type lane struct {
	*api
	ctx   context.Context // of the stream or batch
	keeps bool            // replies stay until the end: those of a batch

	mu       sync.Mutex
	calls    map[uint64]*pipelined // taken, and not done yet
	waiting  []*pipelined          // of these the ones not begun, the oldest first
	done     []*pipelined          // whose replies wait to be collected
	under    int                   // calls taken whose replies were not sent
	held     int                   // bytes of replies that wait, and bounds of those under way
	kept     int                   // bytes of replies of a batch
	counted  int                   // of the node's bytes of replies that wait, those of this lane
	asked    int                   // bytes of calls that have no reply yet
	running  int
	workers  int
	idle     int // of these, waiting for work
	coming   int // on their way to work
	spare    int // the fewest idle since the last sweep: nobody needed them
	dismiss  int
	sweeping bool
	leaving  bool // the node drains: what comes is answered, and not begun
	ended    bool
	work     sync.Cond // there is something to do, or nothing ever again
	room     sync.Cond // there may be room for more calls

	wake chan struct{} // of whoever collects
}

const (
	// MaxUnderWay is how many calls of a stream are under way at most: then the node
	// stops reading it.
	MaxUnderWay = 1_024
	// laneWorkers are worked on at a time, as many as a connection may have requests.
	laneWorkers = DefaultRequests
	// laneBytes bounds the replies that one stream holds, those that wait and those to
	// come, and batchBytes those of a batch, which is one message in the end.
	laneBytes  = 64 << 20
	batchBytes = 32 << 20
	// nodeBytes bounds the replies of all streams and batches that wait: beyond it a
	// lane that holds some already begins nothing that may come to much.
	nodeBytes = 128 << 20
	// askedBytes bounds the calls of one stream that have no reply yet, as MaxUnderWay
	// bounds their number: who sends more is not read from. It is what may be admitted
	// of them, so nobody waits for it who would not wait there.
	askedBytes = requestBytes

	sweepEvery = 250 * time.Millisecond
)

func newLane(ctx context.Context, a *api) *lane {
	l := &lane{api: a, ctx: ctx, calls: map[uint64]*pipelined{}, wake: make(chan struct{}, 1)}
	l.work.L, l.room.L = &l.mu, &l.mu
	return l
}

// take takes the calls of one message. Those of a stream wait until there is room
// for all of them.
func (l *lane) take(calls []*cartwheelv1.PipelinedCall, arrived time.Time) {
	list, asked := make([]*pipelined, len(calls)), 0
	for i, call := range calls {
		p := &pipelined{lane: l, call: call, place: i, canceled: make(chan struct{}), asked: proto.Size(call), bound: replyBound(call)}
		if ms := call.GetTimeoutMs(); ms > 0 {
			p.deadline = arrived.Add(time.Duration(ms) * time.Millisecond)
		}
		if at, has := l.ctx.Deadline(); has && (p.deadline.IsZero() || at.Before(p.deadline)) {
			p.deadline = at
		}
		list[i], asked = p, asked+p.asked
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for !l.keeps && !l.ended && (l.under+len(list) > MaxUnderWay || l.asked > 0 && l.asked+asked > askedBytes) {
		l.room.Wait()
	}
	if l.ended {
		return
	}
	l.under, l.asked = l.under+len(list), l.asked+asked
	for _, p := range list {
		_, twice := l.calls[l.key(p)]
		switch {
		case twice:
			l.turnAway(p, invalidOption(0, p.call.GetId(), "call %d is under way on this stream already", p.call.GetId()))
		case l.leaving:
			l.turnAway(p, &problem{reason: cartwheelv1.ErrorDetail_REASON_NOT_READY, text: "the node is shutting down; nothing was done"})
		default:
			l.calls[l.key(p)] = p
			l.waiting = append(l.waiting, p)
		}
	}
	l.employ()
	if !l.sweeping {
		l.sweeping = true
		time.AfterFunc(sweepEvery, l.sweep)
	}
}

// turnAway answers a call that is not begun.
func (l *lane) turnAway(p *pipelined, why *problem) {
	p.reply = failed(p.call, why)
	p.size = proto.Size(p.reply)
	l.end(p)
}

// leave begins nothing new from now on.
func (l *lane) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.leaving = true
}

// key is what tells the calls under way apart: a batch answers in order, whatever
// its ids are.
func (l *lane) key(p *pipelined) uint64 {
	if l.keeps {
		return uint64(p.place)
	}
	return p.call.GetId()
}

// employ sees that somebody works on what may begin.
func (l *lane) employ() {
	for l.coming < len(l.waiting) && l.begins() {
		switch {
		case l.idle > 0:
			l.call()
			l.spare = min(l.spare, l.idle)
		case l.workers < laneWorkers:
			l.workers++
			l.coming++
			go l.serve()
		default:
			return
		}
	}
}

// call wakes one who is idle.
func (l *lane) call() {
	l.idle--
	l.coming++
	l.work.Signal()
}

// serve works on one call after the other.
func (l *lane) serve() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.coming--
	for {
		for !l.ended && !l.begins() {
			if l.dismiss > 0 {
				l.dismiss--
				l.workers--
				return
			}
			l.idle++
			l.work.Wait()
			l.coming--
		}
		if l.ended {
			return
		}
		p := l.waiting[0]
		l.waiting[0], l.waiting = nil, l.waiting[1:]
		l.running++
		l.held += p.bound
		l.mu.Unlock()
		p.reply = l.answer(p)
		p.size = proto.Size(p.reply)
		l.mu.Lock()
		if l.keeps && l.kept > 0 && l.kept+p.size > batchBytes && p.bound == largeReply {
			p.reply = failed(p.call, batchFull()) // a read: nothing was done
			p.size = proto.Size(p.reply)
		}
		l.kept += p.size
		l.running--
		l.held -= p.bound
		delete(l.calls, l.key(p))
		l.end(p)
		l.employ()
	}
}

// begins tells whether the next call may begin: one alone always may, but in a
// batch, where it may be told that there is no room any more.
func (l *lane) begins() bool {
	return len(l.waiting) > 0 && (l.held+l.waiting[0].bound <= l.most() || l.keeps && l.running == 0)
}

// most is how many bytes of replies the lane may hold.
func (l *lane) most() int {
	if l.keeps {
		return batchBytes
	}
	return laneBytes
}

// answer carries a call out, in its turn and if there is room and time.
func (l *lane) answer(p *pipelined) (reply *cartwheelv1.PipelinedReply) {
	defer func() {
		if cause := recover(); cause != nil {
			l.logs().Error("a handler panicked", "op", named(p.call).op, "cause", cause, "stack", string(debug.Stack()))
			reply = tripped(p.call, cause)
		}
	}()
	left := time.Duration(0)
	if !p.deadline.IsZero() {
		if left = time.Until(p.deadline); left <= 0 {
			return failed(p.call, overdue(context.DeadlineExceeded))
		}
	}
	if err := p.Err(); err != nil {
		return failed(p.call, overdue(err))
	}
	if l.keeps && l.overfull(p) {
		return failed(p.call, batchFull())
	}
	if held := l.unsent.Load(); held > nodeBytes && p.bound == largeReply && l.holdsMore(p) {
		no := failed(p.call, &problem{reason: cartwheelv1.ErrorDetail_REASON_OVERLOADED, limit: nodeBytes, actual: uint64(held),
			text: "the node holds as many replies as it can that clients have not read; nothing was done"})
		no.GetFailure().PushbackMs = pushback
		return no
	}
	if l.admission != nil {
		size := int64(p.asked)
		if !l.admission.enter(p, size, left) {
			no := failed(p.call, l.admission.refusal())
			no.GetFailure().PushbackMs = pushback
			return no
		}
		defer l.admission.leave(size)
	}
	return l.carryOut(p, p.call)
}

func batchFull() *problem {
	return &problem{reason: cartwheelv1.ErrorDetail_REASON_OVERLOADED, limit: batchBytes,
		text: "the replies of this batch fill its message; nothing was done"}
}

func (l *lane) overfull(p *pipelined) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held > batchBytes && l.held > p.bound
}

// holdsMore tells whether the lane holds replies beside what a call may come to.
func (l *lane) holdsMore(p *pipelined) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held > p.bound
}

// end notes that a call has its reply, and tells who collects.
func (l *lane) end(p *pipelined) {
	l.held += p.size
	if !l.ended {
		l.unsent.Add(int64(p.size))
		l.counted += p.size
	}
	l.asked -= p.asked
	p.call = nil // may be large, and its reply may wait for long
	l.done = append(l.done, p)
	l.room.Signal()
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// gather lets others go first who have replies for the next message and only lack
// a processor, as long as there are more of them. Where nobody has, it takes no
// time.
func (l *lane) gather() {
	for before := -1; ; {
		l.mu.Lock()
		now := len(l.done)
		l.mu.Unlock()
		if now == before {
			return
		}
		before = now
		runtime.Gosched()
	}
}

// collect returns replies that wait, up to a number of bytes, but one at least if
// there is any.
func (l *lane) collect(bytes int) []*pipelined {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, size := 0, 0
	for n < len(l.done) && (n == 0 || size+l.done[n].size <= bytes) {
		size += l.done[n].size
		n++
	}
	out := l.done[:n:n]
	if l.done = l.done[n:]; len(l.done) == 0 {
		l.done = nil
	}
	return out
}

// sent makes room for more calls than those whose replies are gone.
func (l *lane) sent(replies []*pipelined) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.under -= len(replies)
	for _, p := range replies {
		l.held -= p.size
		l.unsent.Add(-int64(p.size))
		l.counted -= p.size
	}
	l.employ()
	l.room.Signal()
}

// sweep cancels what is overdue, and sends home who had nothing to do since the
// sweep before.
func (l *lane) sweep() {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	for _, p := range l.calls {
		if !p.deadline.IsZero() && now.After(p.deadline) {
			p.cancel(context.DeadlineExceeded)
		}
	}
	for range min(l.spare, l.idle) {
		l.dismiss++
		l.call()
	}
	l.spare = l.idle
	if l.sweeping = !l.ended && (len(l.calls) > 0 || l.workers > 0); l.sweeping {
		time.AfterFunc(sweepEvery, l.sweep)
	}
}

// close cancels what is under way and sends everybody home.
func (l *lane) close() {
	l.cancelAll(context.Canceled)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	l.unsent.Add(-int64(l.counted))
	l.counted = 0
	l.work.Broadcast()
	l.room.Broadcast()
}

func (a *api) logs() *slog.Logger {
	if a.log == nil {
		return slog.Default()
	}
	return a.log
}

// empty tells whether all calls have been answered and their replies sent.
func (l *lane) empty() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.under == 0
}
