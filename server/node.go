package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica"
	"github.com/cartwheel-db/cartwheel/replica/merkle"
	"github.com/cartwheel-db/cartwheel/replica/store"
	"github.com/cartwheel-db/cartwheel/ring"
	"github.com/cartwheel-db/cartwheel/ring/gossip"
	"github.com/cartwheel-db/cartwheel/server/peer"
)

// Config starts one node.
type Config struct {
	Cluster Cluster
	Data    string   // directory, made if absent
	API     string   // host:port of the client API
	Peer    string   // host:port of the peer link
	Gossip  string   // host:port of gossip, UDP and TCP
	Join    []string // gossip addresses of members; only for a node without data
	Zone    string
	Weight  uint32 // share of partitions; 0 is 1
	// Origins of pages that may call the API from browsers, for [CheckOrigin]; none
	// by default.
	Origins []string
	// Requests bounds the requests of clients that are worked on at a time; 0 is
	// [DefaultRequests]. More are refused as overloaded.
	Requests int
	// What it costs to keep replicas equal; zero values take the defaults below.
	LogCap       int64         // bytes that one partition logs for an owner that stays away
	SnapshotRate int64         // bytes of snapshots sent a second
	VerifyEvery  time.Duration // every partition is compared with every co-owner within this time

	NoSync bool // leave commits to the operating system: acknowledged writes survive the process, not the machine
	Logger *slog.Logger

	JoinTimeout time.Duration // how long to try to reach a member; 0 is 30 s

	onSync func(path string) // tests: called when a commit's syncs have completed
}

// Defaults of [Config].
const (
	DefaultLogCap       = 8 << 20
	DefaultSnapshotRate = 32 << 20
	DefaultVerifyEvery  = time.Hour
)

// leaves is the size of a partition's tree: a million leaves in all, 16 MiB, for
// a node that owns every partition, and 4,096 a partition at most.
func leaves(partitions int) int { return min(4096, max(16, 1<<20/partitions)) }

// Node is one node of a cluster, running.
type Node struct {
	cfg     Config
	id      ring.NodeID
	log     *slog.Logger
	sealer  dvv.Sealer
	started time.Time

	admission *admission

	loop  *loop
	links *peer.Transport
	talk  atomic.Pointer[gossip.Gossip]
	api   *http.Server
	apiAt net.Listener

	ring  atomic.Pointer[ring.Ring]
	state atomic.Int32

	mu    sync.Mutex // facts, seeds and their file
	facts ring.Facts
	seeds []string // gossip addresses of others, of earlier lives too

	factsSent sync.Map // ring.NodeID -> time.Time of the last exchange of facts

	wired    chan struct{} // closed when loop, links and gossip know each other
	draining chan struct{} // closed when the node begins to stop
	drain    sync.Once
	closing  sync.Mutex    // held by Close
	watched  chan struct{} // closed when nobody looks after the node's state any more
}

// Deadlines of requests: of those that come without one, and of all others at
// most. Whoever hangs up leaves a request behind that is held until then.
const (
	defaultDeadline = 5 * time.Second
	maxDeadline     = time.Minute
)

// Start starts a node. It returns when the node is a member of the ring and
// serves its API.
func Start(ctx context.Context, cfg Config) (*Node, error) {
	if err := cfg.Cluster.Check(); err != nil {
		return nil, err
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.JoinTimeout == 0 {
		cfg.JoinTimeout = 30 * time.Second
	}
	sealer, err := dvv.NewSealer(cfg.Cluster.Secret)
	if err != nil {
		return nil, fmt.Errorf("cluster secret: %w", err)
	}
	who, fresh, err := openIdentity(cfg.Data, cfg.Cluster)
	if err != nil {
		return nil, err
	}
	n := &Node{cfg: cfg, id: ring.NodeID(who.Node), sealer: sealer, started: time.Now(),
		wired: make(chan struct{}), draining: make(chan struct{}), watched: make(chan struct{})}
	n.admission = newAdmission(cfg.Requests, time.Now)
	n.log = cfg.Logger.With("node", short(n.id))
	n.state.Store(int32(gossip.Joining))
	if err := n.start(ctx, fresh); err != nil {
		n.stop()
		return nil, err
	}
	return n, nil
}

func short(id ring.NodeID) string { return string(id[:min(8, len(id))]) }

func (n *Node) start(ctx context.Context, fresh bool) (err error) {
	past, err := readFacts(n.cfg.Data)
	if err != nil {
		return err
	}
	n.facts, n.seeds = past.Facts, past.Seeds
	if !fresh && len(n.cfg.Join) > 0 && alone(n.facts, n.id) {
		return fmt.Errorf("join: the data directory %s is a cluster of its own already; only an empty node may join", n.cfg.Data)
	}
	r, err := ring.Fold(n.cfg.Cluster.Ring(), n.facts)
	if err != nil {
		return err
	}
	n.ring.Store(r)
	if n.apiAt, err = net.Listen("tcp", n.cfg.API); err != nil {
		return fmt.Errorf("client API: %w", err)
	}
	// The loop first: links and gossip tell it things as soon as they listen.
	n.loop, err = startLoop(loopConfig{
		path:  filepath.Join(n.cfg.Data, "shard-0.db"),
		store: store.Options{ClusterID: n.cfg.Cluster.ID, Node: string(n.id), Partitions: n.cfg.Cluster.Partitions, NoSync: n.cfg.NoSync, OnSync: n.cfg.onSync},
		replica: replica.Config{Self: n.id, R: n.cfg.Cluster.Read, W: n.cfg.Cluster.Write,
			TreeKey: merkle.NewKey(n.cfg.Cluster.Secret), Leaves: leaves(n.cfg.Cluster.Partitions),
			LogCap: n.cfg.LogCap, SnapshotRate: n.cfg.SnapshotRate, VerifyEvery: int64(n.cfg.VerifyEvery)},
		ring: r, send: n.send, logger: n.log,
	})
	if err != nil {
		return err
	}
	boot := rand.Uint64()
	if n.links, err = n.listenPeers(boot); err != nil {
		return fmt.Errorf("peer link: %w", err)
	}
	talk, err := gossip.Start(gossip.Config{
		Self: n.id, ClusterID: n.cfg.Cluster.ID, Ring: n.cfg.Cluster.Ring(), Secret: n.cfg.Cluster.Secret, Boot: boot,
		BindAddr: n.cfg.Gossip, PeerAddr: n.links.Addr(), APIAddr: n.apiAt.Addr().String(),
		Facts: n.facts.Clone(), OnFacts: n.learn, OnPeer: n.onPeer, Seeds: past.Seeds, Logger: n.log,
	})
	if err == nil {
		n.talk.Store(talk)
	}
	close(n.wired) // whether or not: links end when their calls have returned
	if err != nil {
		return fmt.Errorf("gossip: %w", err)
	}
	if err := n.join(ctx); err != nil {
		return err
	}
	if err := n.signOn(); err != nil {
		return err
	}
	n.serveAPI()
	go n.watch()
	return nil
}

func (n *Node) serveAPI() {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	n.api = &http.Server{
		Handler:           crossOrigin(Handler(n, HandlerOptions{Metrics: n.metrics(), admission: n.admission, draining: n.draining, log: n.log}), n.cfg.Origins),
		Protocols:         &protocols,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		ErrorLog:          slog.NewLogLogger(n.log.Handler(), slog.LevelDebug),
		// More streams than are admitted would only be refused; clients know how to
		// wait for one.
		HTTP2: &http.HTTP2Config{MaxConcurrentStreams: n.admission.most},
	}
	go func() {
		if err := n.api.Serve(readingAhead{n.apiAt}); !errors.Is(err, http.ErrServerClosed) {
			n.log.Error("client API stopped", "err", err)
		}
	}()
}

// Close drains and stops: the node says goodbye, finishes what clients wait
// for, and closes its store. When ctx ends, clients are waited for no more; what is
// left then takes as long as a commit that is under way. To close a node that is
// being closed is to wait for it.
func (n *Node) Close(ctx context.Context) error {
	n.drain.Do(func() { close(n.draining) })
	n.links.Leave()
	n.closing.Lock()
	defer n.closing.Unlock()
	<-n.watched
	if gossip.State(n.state.Load()) != gossip.Left {
		n.state.Store(int32(gossip.Draining))
		n.talk.Load().SetMeta(n.Ring().Hash(), gossip.Draining)
	}
	err := n.api.Shutdown(ctx)
	if err != nil {
		err = errors.Join(fmt.Errorf("drain the client API: %w", err), n.api.Close())
	}
	leave := time.Second
	if deadline, ok := ctx.Deadline(); ok {
		leave = max(50*time.Millisecond, min(leave, time.Until(deadline)))
	}
	if lerr := n.talk.Load().Leave(leave); lerr != nil {
		n.log.Info("left without being heard", "err", lerr)
	}
	n.stop()
	return err
}

// stop ends whatever was started, in an order that leaves nobody waiting.
func (n *Node) stop() {
	if talk := n.talk.Load(); talk != nil {
		_ = talk.Close()
	}
	if n.apiAt != nil {
		_ = n.apiAt.Close()
	}
	if n.loop != nil {
		n.loop.close()
	}
	if n.links != nil {
		_ = n.links.Close()
	}
}

// ID returns the node's id.
func (n *Node) ID() ring.NodeID { return n.id }

// APIAddr returns where clients reach the node.
func (n *Node) APIAddr() string { return n.apiAt.Addr().String() }

// PeerAddr returns where peers reach the node.
func (n *Node) PeerAddr() string { return n.links.Addr() }

// GossipAddr returns what others pass to --join.
func (n *Node) GossipAddr() string { return n.talk.Load().Addr() }

// Meets tells whether the ring has this many members at least and the node
// reaches all of them.
func (n *Node) Meets(members int) bool {
	all := n.Ring().Members()
	for _, m := range all {
		if !n.Reachable(m.ID) {
			return false
		}
	}
	return len(all) >= members
}
