package cartwheel

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/encoding/protowire"
)

// streams is a pipe of one stream at a time, opened when it is wanted. Until it is
// open, and for as long as it cannot be opened, calls travel by themselves.
type streams struct {
	url  string
	http connect.HTTPClient
	life *life
	open atomic.Pointer[stream]

	mu       sync.Mutex
	opening  bool
	failures int       // to open, in a row
	notUntil time.Time // the next attempt
}

const (
	openTimeout = 5 * time.Second
	// After each failure to open in a row the pause is twice as long.
	firstOpenPause = 100 * time.Millisecond
	lastOpenPause  = 10 * time.Second
	// unableFor is how long an endpoint that does not know pipelines is left alone.
	unableFor = time.Minute
	// idleFor is how long a stream stays open that nobody uses.
	idleFor = time.Minute
)

func newStreams(base string, cfg config, l *life) *streams {
	s := &streams{url: base + streamPath, http: cfg.http, life: l}
	// A stream outlives whatever a client allows for one request.
	if plain, ok := cfg.http.(*http.Client); ok && plain.Timeout > 0 {
		endless := *plain
		endless.Timeout = 0
		s.http = &endless
	}
	return s
}

func (p *streams) carrier() carrier {
	if s := p.open.Load(); s != nil {
		return s
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.opening && !time.Now().Before(p.notUntil) {
		p.opening = p.life.begin(func() { p.closed(p.run()) })
	}
	return nil
}

// run opens a stream and serves it until it ends.
func (p *streams) run() error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s := &stream{ctx: ctx, cancel: cancel, wake: make(chan struct{}, 1), under: map[uint64]*waiting{}, callers: &p.life.callers}
	defer context.AfterFunc(p.life.closing, s.finish)()
	late := time.AfterFunc(openTimeout, cancel)
	in, err := openFrames(ctx, p.http, p.url, s)
	if err != nil {
		return err
	}
	defer in.close()
	if _, err := in.next(); err != nil { // the greeting
		return err
	}
	if !late.Stop() {
		return context.DeadlineExceeded
	}
	s.idle = time.AfterFunc(idleFor, s.rest)
	defer s.idle.Stop()
	p.mu.Lock()
	p.opening, p.failures = false, 0
	p.open.Store(s)
	p.mu.Unlock()
	err = s.read(in)
	p.open.CompareAndSwap(s, nil)
	s.fail(err)
	return nil
}

// closed notes that there is no stream any more, or why none could be opened.
func (p *streams) closed(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil { // it was open, and another may be opening already
		return
	}
	p.opening = false
	pause := min(lastOpenPause, firstOpenPause<<min(p.failures, 10))
	if p.failures++; errors.Is(err, errNoStreams) {
		pause = unableFor
	}
	p.notUntil = time.Now().Add(pause)
}

// stream carries calls, each way in messages. It is the body of its own request:
// the transport reads the next message when it has sent the one before, and that
// is when the message is made.
type stream struct {
	ctx    context.Context // of its request
	cancel context.CancelFunc
	wake   chan struct{} // of who makes messages
	out    []byte        // of the message being sent
	idle   *time.Timer

	callers *answered

	mu       sync.Mutex
	until    uint64 // so many of the callers ran, the next message waits; 0 while it waits for nobody
	queue    queue
	canceled []uint64 // calls under way that nobody waits for any more
	under    map[uint64]*waiting
	next     time.Time // the deadline that the timer waits for, zero for none
	late     *time.Timer
	used     bool // since the idle timer looked
	leaving  bool // takes nothing new, and ends when nothing is under way
	broken   bool
}

func (s *stream) enter(w *waiting) bool {
	s.mu.Lock()
	if s.broken || s.leaving {
		s.mu.Unlock()
		return false
	}
	s.queue = append(s.queue, w)
	s.used = true
	s.watch(w.deadline)
	s.mu.Unlock()
	s.rouse()
	return true
}

func (s *stream) wait(ctx context.Context, w *waiting) bool {
	if left := root(ctx).Done(); left == nil { // as mostly, and then no select is needed
		<-w.done
	} else {
		select {
		case <-w.done:
		case <-left:
			s.abandon(w)
			return false
		}
	}
	if w.reply != nil {
		s.callers.ran()
	}
	return !w.late
}

func (s *stream) rouse() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// abandon forgets a call whose caller does not wait any more.
func (s *stream) abandon(w *waiting) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(w)
	if w.reply != nil { // it came at the same time
		s.callers.ran()
	}
	s.endIfDone()
}

// drop lets go of a call, and cancels it at the node if it was sent.
func (s *stream) drop(w *waiting) {
	w.gone, w.request = true, nil // it may stay in the queue for as long as nothing is sent
	if s.under[w.id] != nil {
		delete(s.under, w.id)
		s.canceled = append(s.canceled, w.id)
		s.rouse()
	}
}

// Read implements io.Reader for the transport.
func (s *stream) Read(into []byte) (int, error) {
	for len(s.out) == 0 {
		select {
		case <-s.wake:
		case <-s.ctx.Done():
			return 0, s.ctx.Err()
		}
		runtime.Gosched() // others have calls for this message, and lack a processor only
		s.out = s.message()
	}
	n := copy(into, s.out)
	s.out = s.out[n:]
	return n, nil
}

// Close implements io.Closer for the transport. The one who reads ends the stream.
func (s *stream) Close() error { return nil }

// message takes what is waiting.
func (s *stream) message() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) < enough && s.callers.hold(s) {
		return nil // the last of them rouses us
	}
	s.until = 0
	m := make([]byte, prefixBytes, 1<<10)
	m, taken := s.queue.take(m, min(maxCalls, maxUnderWay-len(s.under)))
	for _, w := range taken {
		s.under[w.id] = w
	}
	if len(s.queue) > 0 && len(s.under) < maxUnderWay {
		s.rouse() // a message of its own for what this one has no room for
	}
	for _, id := range s.canceled {
		m = protowire.AppendVarint(protowire.AppendTag(m, cancelField, protowire.VarintType), id)
	}
	if s.canceled = nil; len(m) == prefixBytes {
		return nil
	}
	putPrefix(m)
	return m
}

// read hands replies to their callers until the stream ends.
func (s *stream) read(in *frames) error {
	for {
		message, err := in.next()
		if err != nil {
			return err
		}
		if err := s.deliver(message); err != nil {
			return err
		}
	}
}

func (s *stream) deliver(message []byte) error {
	s.mu.Lock()
	full := len(s.under) >= maxUnderWay
	var answered []*waiting
	err := eachReply(message, func(id uint64, reply []byte) {
		if w := s.under[id]; w != nil { // or its caller has gone
			delete(s.under, id)
			w.reply = reply
			answered = append(answered, w)
		}
	})
	if full && len(s.queue) > 0 {
		s.rouse()
	}
	s.endIfDone()
	s.callers.add(len(answered))
	s.mu.Unlock()
	for _, w := range answered {
		close(w.done)
	}
	return err
}

// fail ends all calls that the stream holds: those that were sent as a connection
// would, with nobody knowing what became of them.
func (s *stream) fail(cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = true
	s.unwatch()
	for _, w := range s.under {
		//nolint:errorlint // a cause that was wrapped could say that nothing was sent
		w.err = connect.NewError(connect.CodeUnavailable, fmt.Errorf("the stream ended before the reply: %v", cause))
		close(w.done)
	}
	for _, w := range s.queue {
		if !w.gone {
			w.err = errNotSent
			close(w.done)
		}
	}
	s.under, s.queue = nil, nil
}

// finish lets the stream end when nothing is under way any more.
func (s *stream) finish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leaving = true
	s.endIfDone()
}

// endIfDone is called under the lock.
func (s *stream) endIfDone() {
	if s.leaving && len(s.under) == 0 && !s.waits() {
		s.cancel()
	}
}

func (s *stream) waits() bool {
	for _, w := range s.queue {
		if !w.gone {
			return true
		}
	}
	return false
}

// rest ends a stream that was not used for a while.
func (s *stream) rest() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.used && len(s.under) == 0 && len(s.queue) == 0 {
		s.leaving = true
		s.cancel()
		return
	}
	s.used = false
	s.idle.Reset(idleFor)
}
