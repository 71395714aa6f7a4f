package server

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica"
	"github.com/cartwheel-db/cartwheel/replica/store"
	"github.com/cartwheel-db/cartwheel/ring"
)

// loop drives one shard: the only goroutine that touches it. It feeds requests,
// messages and time in, and carries sends and replies out. While one
// transaction is being synced by a second goroutine, the loop goes on reading
// and counting; what changes rows gathers meanwhile and becomes the next
// transaction. That is the group commit: nothing ever waits for more to come.
type loop struct {
	cfg loopConfig
	log *slog.Logger

	frames   chan input // of peers
	requests chan input // of clients
	underWay atomic.Int64
	calls    chan func()
	stop     chan struct{}
	done     chan struct{}

	shard   *replica.Shard
	store   *store.Store
	commits chan *store.Tx
	synced  chan error
	replies map[uint64]chan<- answer
	nextID  uint64

	ring  *ring.Ring
	alive map[ring.NodeID]bool
	links map[ring.NodeID]bool

	stamp   atomic.Uint64
	reopens atomic.Uint64
	expired atomic.Uint64 // forwarded mutations whose time was over when their turn came
	asides  atomic.Uint64 // damaged files set aside
	view    *store.View   // of what is committed, nil until it is read
	reading bool          // from it
	alone   bool          // the commit under way waits until no view is open
	broken  error         // a read found the store failed
	told    map[string]bool
	full    bool // the last commit found no space
	closing bool

	// After a failed commit the store takes no writes for a while, longer each time
	// in a row: a full disk shall not be tried a thousand times a second.
	pause  time.Duration
	resume <-chan time.Time
}

type loopConfig struct {
	path    string
	store   store.Options
	replica replica.Config
	ring    *ring.Ring
	send    func(ring.NodeID, replica.Message)
	logger  *slog.Logger
}

type answer struct {
	result replica.Result
	stamp  crdt.Stamp
}

// input is a client's request or a frame of a peer's messages.
type input struct {
	request  replica.Request
	deadline time.Time
	reply    chan<- answer
	seen     crdt.Stamp
	from     ring.NodeID
	messages []replica.Message
	at       time.Duration // of its arrival, by uptime
}

const (
	// maxUnderWay bounds the requests that wait for the loop or for an answer of the
	// shard, those too whose clients have gone. The API admits far fewer.
	maxUnderWay = 4096
	// maxFrames that wait for the loop, besides one in the hands of each peer's
	// reader: a frame may have megabytes, and what does not fit waits at its sender.
	maxFrames = 8
	// Inputs taken in one turn.
	turnFrames, turnRequests = 64, 256
	// sameTime is how many requests in a row are taken at one time: asking for it is a
	// system call, and some of them may take milliseconds.
	sameTime = 16
)

func randomActor() dvv.Actor {
	var b [8]byte
	for {
		if _, err := rand.Read(b[:]); err != nil {
			panic(fmt.Sprintf("no randomness for an actor id: %v", err))
		}
		if a := dvv.Actor(binary.BigEndian.Uint64(b[:])); a > 1<<16 {
			return a
		}
	}
}

func startLoop(cfg loopConfig) (*loop, error) {
	l := &loop{
		cfg: cfg, log: cfg.logger, ring: cfg.ring,
		frames: make(chan input, maxFrames), requests: make(chan input, maxUnderWay), calls: make(chan func(), 64),
		stop: make(chan struct{}), done: make(chan struct{}),
		commits: make(chan *store.Tx), synced: make(chan error, 1),
		replies: map[uint64]chan<- answer{}, told: map[string]bool{}, alive: map[ring.NodeID]bool{}, links: map[ring.NodeID]bool{},
	}
	if err := l.open(); err != nil {
		return nil, err
	}
	var syncer sync.WaitGroup
	syncer.Go(func() {
		for tx := range l.commits {
			l.synced <- tx.Commit()
		}
	})
	go func() {
		defer close(l.done)
		l.run()
		close(l.commits)
		syncer.Wait()
		l.shard.Release()
		if err := l.saveTrees(); err != nil {
			l.log.Info("trees not saved: they are built again", "path", cfg.path, "err", err)
		}
		if err := l.store.Close(); err != nil {
			l.log.Error("close store", "path", cfg.path, "err", err)
		}
	}()
	return l, nil
}

// saveTrees is the last transaction of a store that closes in good order.
func (l *loop) saveTrees() error {
	tx, err := l.store.Begin()
	if err != nil {
		return err
	}
	if err := l.shard.SaveTrees(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

func (l *loop) now() replica.Now {
	return replica.Now{Mono: int64(uptime()), Wall: time.Now().UnixMilli()}
}

func (l *loop) run() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	defer l.endView()
	committing := false
	for now := l.now(); ; {
		if l.broken != nil && l.resume == nil && !committing && !l.closing {
			l.reopen(l.broken)
		}
		// Once closing, nothing is begun any more: peers go on sending, and what they
		// are not told is durable they keep.
		if !committing && !l.closing && l.shard.Waiting() {
			// On a busy machine others hold more for this very commit and only lack a
			// processor: let them go first. On an idle one this returns at once.
			runtime.Gosched()
			l.drain()
			committing = l.begin()
			now = l.now()
		}
		l.flush()
		if l.closing && !committing {
			l.refuseAll("the node is shutting down")
			return
		}
		if committing && l.alone {
			l.endView()
		}
		timer.Reset(max(0, time.Duration(l.shard.NextTick()-now.Mono)))
		select {
		case in := <-l.frames:
			l.take(l.now(), in)
			l.drain()
		case in := <-l.requests:
			l.drainFrames()
			l.take(l.now(), in)
			l.drain()
		case fn := <-l.calls:
			fn()
		case err := <-l.synced:
			committing = false
			l.endView() // it shows what was before
			l.shard.Committed(l.now(), err)
			if err != nil {
				l.reopen(err)
			} else {
				l.pause = 0
			}
		case <-timer.C:
		case <-l.resume:
			l.resume = nil
			if l.full = l.full && !hasRoom(l.cfg.path); l.full {
				l.rest()
			} else {
				l.shard.SetWritable(l.now(), true)
			}
		case <-l.stop:
			l.stop = nil
			l.closing = true
		}
		now = l.now()
		l.shard.Tick(now)
	}
}

// drain takes what else is waiting, without waiting for it. Peers come first:
// what they acknowledge and answer ends requests, and makes room for new ones.
func (l *loop) drain() {
	l.drainFrames()
	var now replica.Now
	for i := range turnRequests {
		select {
		case in := <-l.requests:
			if i%sameTime == 0 {
				now = l.now()
			}
			l.take(now, in)
		default:
			return
		}
	}
}

func (l *loop) drainFrames() {
	for range turnFrames {
		select {
		case in := <-l.frames:
			l.take(l.now(), in)
		default:
			return
		}
	}
}

func (l *loop) take(now replica.Now, in input) {
	l.shard.Observe(now, in.seen)
	for _, m := range in.messages {
		if f, ok := m.(replica.Forward); ok {
			// What it has left counts from its arrival, and not from its turn.
			if f.Left -= now.Mono - int64(in.at); f.Left <= 0 {
				l.expired.Add(1)
				continue
			}
			m = f
		}
		l.shard.Receive(now, in.from, m)
	}
	if in.reply == nil {
		return
	}
	l.nextID++
	in.request.ID = l.nextID
	in.request.Deadline = now.Mono + int64(time.Until(in.deadline))
	l.replies[l.nextID] = in.reply
	l.shard.Request(now, in.request)
}

// begin opens a transaction, lets the shard fill it and hands it to be synced.
// It tells whether a commit is under way now.
func (l *loop) begin() bool {
	l.endView()
	tx, err := l.store.Begin()
	if err != nil {
		l.reopen(err)
		return false
	}
	if err := l.shard.Fill(l.now(), tx); err != nil {
		err = errors.Join(err, tx.Rollback())
		l.shard.Committed(l.now(), err)
		l.reopen(err)
		return false
	}
	l.flush()
	l.alone = tx.Outgrows()
	l.commits <- tx
	return true
}

// flush carries out what the shard wants done.
func (l *loop) flush() {
	l.stamp.Store(uint64(l.shard.Stamp()))
	l.tellDamage()
	for _, o := range l.shard.Outputs() {
		switch o := o.(type) {
		case replica.Send:
			l.cfg.send(o.To, o.Message)
		case replica.Reply:
			if reply := l.replies[o.ID]; reply != nil {
				delete(l.replies, o.ID)
				l.underWay.Add(-1)
				reply <- answer{o.Result, l.shard.Stamp()}
			}
		}
	}
}

var idleReplies = sync.Pool{New: func() any { return make(chan answer, 1) }}

// do runs one request and waits for its result.
func (l *loop) do(ctx context.Context, r replica.Request, seen crdt.Stamp, deadline time.Time) (replica.Result, crdt.Stamp) {
	fail := func(reason replica.Reason, unknown bool, text string) (replica.Result, crdt.Stamp) {
		return replica.Result{Failure: &replica.Failure{Reason: reason, Unknown: unknown, Text: text}}, crdt.Stamp(l.stamp.Load())
	}
	if l.underWay.Add(1) > maxUnderWay {
		l.underWay.Add(-1)
		return fail(replica.Overloaded, false, fmt.Sprintf("%d requests are under way already; nothing was done", maxUnderWay))
	}
	select {
	case <-l.done:
		return fail(replica.Internal, false, "the node is shutting down; nothing was done")
	default:
	}
	reply := idleReplies.Get().(chan answer)
	l.requests <- input{request: r, reply: reply, deadline: deadline, seen: seen} // has room for all that are under way
	select {
	case a := <-reply:
		idleReplies.Put(reply) // one that was not answered may be yet
		return a.result, a.stamp
	case <-ctx.Done():
		return fail(replica.DeadlinePast, r.Mutation != nil, fmt.Sprintf("gave up waiting: %v", context.Cause(ctx)))
	case <-l.done:
		select {
		case a := <-reply:
			return a.result, a.stamp
		default:
			return fail(replica.Internal, r.Mutation != nil, "the node was shut down")
		}
	}
}

// deliver hands over a frame's messages. It blocks while others wait: that is the
// backpressure a peer feels.
func (l *loop) deliver(from ring.NodeID, seen crdt.Stamp, messages []replica.Message) {
	select {
	case l.frames <- input{from: from, seen: seen, messages: messages, at: uptime()}:
	case <-l.done:
	}
}

// call runs fn on the loop's goroutine, and returns when it has run or the loop
// is gone.
func (l *loop) call(fn func()) {
	ran := make(chan struct{})
	select {
	case l.calls <- func() { fn(); close(ran) }:
	case <-l.done:
		return
	}
	select {
	case <-ran:
	case <-l.done:
	}
}

// tell runs fn on the loop's goroutine, some time.
func (l *loop) tell(fn func()) {
	select {
	case l.calls <- fn:
	case <-l.done:
	}
}

func (l *loop) setRing(r *ring.Ring) {
	l.tell(func() { l.ring = r; l.shard.SetRing(l.now(), r) })
}

func (l *loop) setPeer(id ring.NodeID, alive bool) {
	l.tell(func() { l.alive[id] = alive; l.shard.SetPeer(l.now(), id, alive) })
}

func (l *loop) setLink(id ring.NodeID, up bool) {
	l.tell(func() { l.links[id] = up; l.shard.SetLink(l.now(), id, up) })
}

func (l *loop) close() {
	select {
	case <-l.done:
	case l.stop <- struct{}{}:
	}
	<-l.done
}
