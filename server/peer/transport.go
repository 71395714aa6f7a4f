package peer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cartwheel-db/cartwheel/ring"
)

// Transport is a node's end of all its peer links. Its methods may be called from any goroutine.
type Transport struct {
	cfg      Config
	key      []byte
	log      *slog.Logger
	listener net.Listener

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup // accept, every link and every inbound connection

	mu          sync.RWMutex
	closed      bool
	links       map[ring.NodeID]*link    // to members
	ending      map[ring.NodeID]*link    // dropped, perhaps still under way: a successor waits for it
	inbound     map[ring.NodeID]*inbound // from whoever authenticated; the newest per peer
	tallies     map[ring.NodeID]*tally   // of both
	refused     uint64
	lastRefusal error
	refusalSaid refusalKey
	refusalAt   time.Time

	turnedAway atomic.Uint64
	leaving    atomic.Bool
}

// Listen opens the node's peer address and answers peers from then on; it dials nobody before SetPeers. The error is a
// *ConfigError, or the network's.
func Listen(cfg Config) (*Transport, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	key, err := linkKey(cfg.Secret)
	if err != nil {
		return nil, fmt.Errorf("peer link key: %w", err)
	}
	listener, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("peer listen on %q: %w", cfg.Listen, err)
	}
	t := &Transport{
		cfg: cfg, key: key, log: cfg.Logger, listener: listener,
		links:   map[ring.NodeID]*link{},
		ending:  map[ring.NodeID]*link{},
		inbound: map[ring.NodeID]*inbound{},
		tallies: map[ring.NodeID]*tally{},
	}
	t.cfg.Secret = nil // the derived key is all that is needed from here
	t.ctx, t.cancel = context.WithCancel(context.Background())
	t.wg.Add(1)
	go t.accept()
	return t, nil
}

// Leave says that this node is about to stop. Links serve until Close; that they end is no news any more, for often the
// others stop as well.
func (t *Transport) Leave() { t.leaving.Store(true) }

// Addr is the address listened on, with the port that was picked if none was asked for.
func (t *Transport) Addr() string { return t.listener.Addr().String() }

// SetPeers says to whom links are held, by the address (host:port) to dial. It adds, drops, and dials again where an
// address changed; the rest stays untouched. Self is passed over. It does not wait for any of it.
func (t *Transport) SetPeers(peers map[ring.NodeID]string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	for id, l := range t.links {
		if addr, member := peers[id]; !member || addr != l.addr {
			l.cancel()
			delete(t.links, id)
			t.ending[id] = l
		}
	}
	for id, addr := range peers {
		if id == t.cfg.Self || t.links[id] != nil {
			continue
		}
		l := &link{
			t: t, peer: id, addr: addr, tally: t.tallyOf(id),
			queue: newSendQueue(t.cfg.QueueMessages, t.cfg.QueueBytes),
			poke:  make(chan struct{}, 1), done: make(chan struct{}),
		}
		l.ctx, l.cancel = context.WithCancel(t.ctx)
		t.links[id] = l
		t.wg.Add(1)
		go l.run(t.ending[id])
	}
}

// Send enqueues a message for a peer and takes ownership of the slice. A nil error means queued, not delivered. Otherwise a
// *SendError, with ErrNoLink, ErrQueueFull or ErrTooLarge inside; it never blocks.
func (t *Transport) Send(to ring.NodeID, message []byte) error {
	t.mu.RLock()
	l := t.links[to]
	t.mu.RUnlock()
	if l == nil {
		return &SendError{Peer: to, Reason: ErrNoLink, Size: len(message)}
	}
	if limit := t.cfg.MaxFrame - frameOverhead; len(message) > limit {
		l.tally.refusedTooLarge.Add(1)
		return &SendError{Peer: to, Reason: ErrTooLarge, Size: len(message), Limit: limit}
	}
	messages, bytes, refused := l.queue.push(message)
	switch {
	case refused == nil:
		return nil
	case errors.Is(refused, ErrNoLink):
		l.tally.refusedNoLink.Add(1)
	default:
		l.tally.refusedFull.Add(1)
	}
	return &SendError{Peer: to, Reason: refused, Size: len(message), Limit: t.cfg.QueueBytes, Messages: messages, Bytes: bytes}
}

// Up reports whether the link for sending to the peer stands.
func (t *Transport) Up(peer ring.NodeID) bool {
	t.mu.RLock()
	l := t.links[peer]
	t.mu.RUnlock()
	return l != nil && l.queue.isOpen()
}

// Close ends every connection, waits for every goroutine and call under way, and is safe to call twice. Messages still
// queued are dropped.
func (t *Transport) Close() error {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.cancel()
	err := t.listener.Close()
	t.wg.Wait()
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}
	return err
}

// ended takes note that a link's last call has returned.
func (t *Transport) ended(l *link) {
	t.mu.Lock()
	if t.ending[l.peer] == l {
		delete(t.ending, l.peer)
		t.forget(l.peer)
	}
	t.mu.Unlock()
	close(l.done)
}

// tallyOf returns the peer's counters, made at first need. Under mu.
func (t *Transport) tallyOf(id ring.NodeID) *tally {
	c := t.tallies[id]
	if c == nil {
		c = &tally{}
		t.tallies[id] = c
	}
	return c
}

// forget drops the counters of a peer that is neither a member nor connected. Under mu.
func (t *Transport) forget(id ring.NodeID) {
	if t.links[id] == nil && t.ending[id] == nil && t.inbound[id] == nil {
		delete(t.tallies, id)
	}
}
