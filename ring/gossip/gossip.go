package gossip

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/cartwheel-db/cartwheel/ring"
	"github.com/hashicorp/memberlist"
)

// Gossip is this node's part in the cluster's talk. Its methods may be called
// from any goroutine; Join, Leave and Close not from within a callback.
type Gossip struct {
	config     Config
	self       Identity
	addr       string
	log        *slog.Logger
	door       *door
	list       *memberlist.Memberlist
	broadcasts *memberlist.TransmitLimitedQueue
	peers      table

	mu      sync.Mutex
	facts   ring.Facts
	meta    meta
	shown   []byte   // meta, encoded
	inbox   [][]byte // facts as they came, not yet decoded
	waiting int      // bytes in the inbox

	updating  sync.Mutex
	news      chan struct{}      // something to tell, capacity 1
	advertise chan struct{}      // meta changed, capacity 1
	settle    chan chan struct{} // closed once all that came before is told
	stop      chan struct{}
	ending    sync.Mutex // held by whoever leaves or closes: Leave after Shutdown panics (memberlist v0.7.0, memberlist.go:654)
	stopped   sync.Once
	loops     sync.WaitGroup
}

// Bounds of what waits to be decoded. What does not fit is dropped: the next
// push/pull brings it again.
const (
	maxInbox      = 256
	maxInboxBytes = 2 * maxMessage
)

// Start listens and gossips; it joins nobody but the seeds, in the background.
func Start(c Config) (*Gossip, error) {
	c = c.withDefaults()
	if err := c.check(); err != nil {
		return nil, err
	}
	g := &Gossip{
		config:    c,
		self:      c.identity(),
		log:       c.Logger.With("node", string(c.Self)),
		facts:     c.Facts,
		meta:      meta{Identity: c.identity(), peerAddr: c.PeerAddr, apiAddr: c.APIAddr, state: Joining},
		peers:     table{known: make(map[ring.NodeID]*peerEntry)},
		news:      make(chan struct{}, 1),
		advertise: make(chan struct{}, 1),
		settle:    make(chan chan struct{}),
		stop:      make(chan struct{}),
	}
	g.broadcasts = &memberlist.TransmitLimitedQueue{
		NumNodes:       func() int { return g.peers.countUp() + 1 },
		RetransmitMult: 4,
	}
	if err := g.checkMeta(); err != nil {
		return nil, err
	}
	transport, err := c.listen()
	if err != nil {
		return nil, err
	}
	g.door = newDoor(transport, g.self, func(err error) { g.log.Warn("hello refused", "err", err) })
	if err := g.create(); err != nil {
		return nil, errors.Join(err, g.door.Shutdown())
	}
	g.loops.Go(g.tell)
	g.loops.Go(g.keepAdvertising)
	g.loops.Go(g.keepRejoining)
	return g, nil
}

// checkMeta makes sure that whatever this node will show of itself fits: later
// there would be nobody to tell.
func (g *Gossip) checkMeta() error {
	longest := g.meta
	longest.ringHash = math.MaxUint64
	if _, err := longest.encode(); err != nil {
		return err
	}
	for _, addr := range []string{g.config.PeerAddr, g.config.APIAddr} {
		if len(addr) > ring.MaxAddrLen {
			return fmt.Errorf("gossip: address of %d bytes, at most %d", len(addr), ring.MaxAddrLen)
		}
	}
	var err error
	g.shown, err = g.meta.encode()
	return err
}

func (g *Gossip) create() error {
	mc := g.config.memberlist(g.door)
	d := packetPath{g}
	mc.Delegate, mc.Events, mc.Alive, mc.Merge, mc.Conflict = d, d, d, d, d
	mc.AdvertiseAddr, mc.AdvertisePort = "", 0
	if g.config.AdvertiseAddr != "" {
		host, port, err := hostPort("advertise", g.config.AdvertiseAddr)
		if err != nil {
			return err
		}
		mc.AdvertiseAddr, mc.AdvertisePort = host, port
	}
	ip, port, err := g.door.FinalAdvertiseAddr(mc.AdvertiseAddr, mc.AdvertisePort)
	if err != nil {
		return fmt.Errorf("gossip: address to advertise: %w", err)
	}
	g.addr = net.JoinHostPort(ip.String(), strconv.Itoa(port))
	if g.list, err = memberlist.Create(mc); err != nil {
		return fmt.Errorf("gossip: start on %s: %w", g.addr, err)
	}
	return nil
}

// Addr is the host:port that others join.
func (g *Gossip) Addr() string { return g.addr }

// Facts is the set as it stands.
func (g *Gossip) Facts() ring.Facts {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.facts
}

// Peers are all other nodes ever met, by id, up or not.
func (g *Gossip) Peers() []Peer { return g.peers.all() }

// Alive reports whether a node is up, as far as gossip knows; this one is.
func (g *Gossip) Alive(id ring.NodeID) bool { return id == g.self.Node || g.peers.isUp(id) }

// AddFacts takes facts that the caller has signed off and stored, and broadcasts
// those that are new.
func (g *Gossip) AddFacts(facts ring.Facts) {
	g.spread(g.merge(facts))
}

// merge returns the facts that were new.
func (g *Gossip) merge(facts ring.Facts) []ring.Fact {
	g.mu.Lock()
	defer g.mu.Unlock()
	var fresh []ring.Fact
	for _, f := range facts.All() {
		if !g.facts.Contains(f) {
			fresh = append(fresh, f)
		}
	}
	g.facts.Merge(facts)
	return fresh
}

// maxSpread bounds how many facts are broadcast at once. A node that learns a
// whole history is behind; it need not shout.
const maxSpread = 16

func (g *Gossip) spread(fresh []ring.Fact) {
	if len(fresh) > maxSpread {
		return
	}
	for _, f := range fresh {
		var one ring.Facts
		_, _ = one.Add(f) // it comes out of a set, so it is sound
		if b, err := encodeFacts(g.self, one); err == nil && len(b) <= maxBroadcast {
			g.broadcasts.QueueBroadcast(broadcast(b))
		}
	}
}

// broadcast is one fact; nothing makes it stale.
type broadcast []byte

func (broadcast) Invalidates(memberlist.Broadcast) bool { return false }
func (b broadcast) Message() []byte                     { return b }
func (broadcast) Finished()                             {}
func (broadcast) UniqueBroadcast()                      {}

// SetMeta changes what this node shows of itself; others see it soon after.
func (g *Gossip) SetMeta(ringHash uint64, state State) {
	g.setMeta(ringHash, state)
	poke(g.advertise)
}

func (g *Gossip) setMeta(ringHash uint64, state State) {
	g.mu.Lock()
	defer g.mu.Unlock()
	changed := g.meta
	changed.ringHash, changed.state = ringHash, state
	shown, err := changed.encode()
	if err == nil { // Start made sure that it fits
		g.meta, g.shown = changed, shown
	}
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // whoever reads c has not looked yet and will see this, too
	}
}

func (g *Gossip) keepAdvertising() {
	for {
		select {
		case <-g.advertise:
			// Not waiting for it to be sent: it is queued, and a later change overtakes it.
			_ = g.update(time.Millisecond)
		case <-g.stop:
			return
		}
	}
}

// update shows the meta to others. One at a time: memberlist reads this node's
// address unguarded there.
func (g *Gossip) update(timeout time.Duration) error {
	g.updating.Lock()
	defer g.updating.Unlock()
	return g.list.UpdateNode(timeout)
}

// admit reads a node's meta and refuses it if it is not of this cluster.
func (g *Gossip) admit(n *memberlist.Node) (meta, error) {
	m, err := decodeMeta(n.Meta)
	if err != nil {
		return meta{}, fmt.Errorf("gossip: node %q at %s: %w", n.Name, n.Address(), err)
	}
	if string(m.Node) != n.Name {
		return meta{}, fmt.Errorf("gossip: node %q at %s calls itself %s in its meta", n.Name, n.Address(), m.Node)
	}
	return m, g.self.admit(m.Identity, n.Address())
}

// note records a change of a peer for the loop to tell.
func (g *Gossip) note(n *memberlist.Node, up bool) {
	if n.Name == string(g.self.Node) {
		return
	}
	m, err := g.admit(n)
	if err != nil {
		return // NotifyAlive has said so
	}
	g.peers.show(m, n.Address(), up)
	poke(g.news)
}

// take puts facts into the inbox, as they came.
func (g *Gossip) take(b []byte) {
	g.mu.Lock()
	fits := len(g.inbox) < maxInbox && g.waiting+len(b) <= maxInboxBytes
	if fits {
		g.inbox = append(g.inbox, slices.Clone(b))
		g.waiting += len(b)
	}
	g.mu.Unlock()
	if fits {
		poke(g.news)
	}
}

// tell is the one goroutine that decodes and calls back.
func (g *Gossip) tell() {
	for {
		select {
		case <-g.news:
			g.tellNews()
		case done := <-g.settle:
			g.tellNews()
			close(done)
		case <-g.stop:
			return
		}
	}
}

func (g *Gossip) tellNews() {
	g.mu.Lock()
	inbox := g.inbox
	g.inbox, g.waiting = nil, 0
	g.mu.Unlock()

	grew := false
	for _, b := range inbox {
		facts, from, err := decodeFacts(g.self, b)
		if err != nil {
			g.log.Warn("facts refused", "from", string(from.Node), "err", err)
			continue
		}
		if fresh := g.merge(facts); len(fresh) > 0 {
			grew = true
			g.spread(fresh) // so that a broadcast reaches everybody, not only whom its author met
		}
	}
	if grew {
		g.config.OnFacts(g.Facts())
	}
	for _, p := range g.peers.untold() {
		g.config.OnPeer(p.ID, p, p.Up)
	}
}

// Leave says goodbye, waits at most timeout until somebody heard it, and stops.
// It changes no membership: the node may come back. Once stopped it does nothing.
func (g *Gossip) Leave(timeout time.Duration) error {
	g.ending.Lock()
	defer g.ending.Unlock()
	select {
	case <-g.stop:
		return nil
	default:
	}
	g.mu.Lock()
	hash := g.meta.ringHash
	g.mu.Unlock()
	g.setMeta(hash, Left)
	heard := g.update(timeout / 2)
	left := g.list.Leave(timeout / 2)
	if err := errors.Join(heard, left); err != nil {
		return errors.Join(fmt.Errorf("gossip: leave within %v: %w", timeout, err), g.end())
	}
	return g.end()
}

// Close stops without a word; others will find this node dead. While the node
// leaves, it waits for that.
func (g *Gossip) Close() error {
	g.ending.Lock()
	defer g.ending.Unlock()
	return g.end()
}

// end is called under the lock of ending.
func (g *Gossip) end() error {
	var err error
	g.stopped.Do(func() {
		close(g.stop)
		err = g.list.Shutdown()
	})
	g.loops.Wait()
	return err
}
