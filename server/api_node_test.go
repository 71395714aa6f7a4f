package server_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica"
	"github.com/cartwheel-db/cartwheel/replica/replicatest"
	"github.com/cartwheel-db/cartwheel/ring"
	"github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1/cartwheelv1connect"
	"github.com/cartwheel-db/cartwheel/server"
)

// single is a node of one shard that runs the real engine over a store in
// memory, one request at a time. Time passes only when it is asked for
// something, so that what it answers can be written down.
type single struct {
	mu      sync.Mutex
	shard   *replica.Shard
	store   *replicatest.MemStore
	ring    *ring.Ring
	sealer  dvv.Sealer
	now     replica.Now
	ids     uint64
	replies map[uint64]replica.Result
	seen    []crdt.Stamp // of the requests
	foreign uint64       // last seq of foreignActor
	state   string
	peer    string                 // the state that n2 shows
	health  []replica.Health       // nil for what the engine says
	reports []replica.VerifyReport // one for each look at a verification

	before  func(replica.Request) // called ahead of each request
	instead *replica.Result       // what to answer without asking the engine
}

const (
	startMillis  = 1_700_000_000_000
	localActor   = dvv.Actor(1)
	foreignActor = dvv.Actor(2)
)

var secret = []byte("sixteen bytes and then some")

// newSingle makes the only member of a cluster whose partitions want the given
// number of owners.
func newSingle(t testing.TB, owners int) *single {
	t.Helper()
	n := &single{store: replicatest.NewMemStore(), now: replica.Now{Mono: 1, Wall: startMillis}, replies: map[uint64]replica.Result{}, state: server.Ready}
	var facts ring.Facts
	must(facts.Add(ring.Fact{Number: 1, Kind: ring.Joined, Node: "n1", PeerAddr: "127.0.0.1:7001", APIAddr: "127.0.0.1:8001", Zone: "z1", Weight: 1}))
	n.ring = must(ring.Fold(ring.Config{Partitions: 4, Replicas: owners}, facts))
	n.sealer = must(dvv.NewSealer(secret))
	n.shard = must(replica.New(replica.Config{
		Self: "n1", R: min(owners, 2), W: min(owners, 2),
		NewActor: func() dvv.Actor { panic("a second actor is never needed here") },
		Read:     func(read func(replica.View) error) error { return read(n.store.View()) },
	}, localActor, n.ring, n.now))
	return n
}

// must is for what can only fail when the test itself is wrong, or when a call
// that is not the point of the test fails.
func must[V any](v V, err error) V {
	if err != nil {
		panic(err)
	}
	return v
}

func (n *single) Do(ctx context.Context, r replica.Request, seen crdt.Stamp) (replica.Result, crdt.Stamp) {
	if n.before != nil {
		n.before(r)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.seen = append(n.seen, seen)
	if n.instead != nil {
		return *n.instead, n.shard.Stamp()
	}
	left := 5 * time.Second
	if at, ok := ctx.Deadline(); ok {
		left = time.Until(at)
	}
	return n.carryOut(r, seen, left), n.shard.Stamp()
}

func (n *single) carryOut(r replica.Request, seen crdt.Stamp, left time.Duration) replica.Result {
	n.ids++
	n.now.Mono += int64(time.Millisecond)
	n.now.Wall++
	r.ID, r.Deadline = n.ids, n.now.Mono+int64(left)
	n.shard.Observe(n.now, seen)
	n.shard.Request(n.now, r)
	for {
		n.drive()
		if res, ok := n.replies[r.ID]; ok {
			delete(n.replies, r.ID)
			return res
		}
		// Nobody else is there to answer: let the time run out.
		n.now.Mono += int64(20 * time.Millisecond)
		n.shard.Tick(n.now)
	}
}

func (n *single) drive() {
	for n.shard.Waiting() {
		tx := n.store.Begin()
		if err := n.shard.Fill(n.now, tx); err != nil {
			panic(err)
		}
		n.shard.Committed(n.now, tx.Commit())
	}
	for _, out := range n.shard.Outputs() {
		if r, ok := out.(replica.Reply); ok {
			n.replies[r.ID] = r.Result
		}
	}
}

// mutate is a client beside the API.
func (n *single) mutate(t testing.TB, m replica.Mutation) {
	t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	if res := n.carryOut(replica.Request{Mutation: &m}, 0, time.Second); res.Failure != nil {
		t.Errorf("mutation beside the API: %v", res.Failure)
	}
}

// deliver applies an event that another node coordinated at the same time.
func (n *single) deliver(t testing.TB, a crdt.Address, op crdt.Operation, payload func(crdt.Stamp) crdt.Payload) {
	t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.foreign++
	stamp := n.shard.Stamp() + 1
	g := crdt.Group{Actor: foreignActor, First: n.foreign, Stamp: stamp, Op: op, Events: []crdt.Event{{Row: a, Payload: payload(stamp)}}}
	n.shard.Receive(n.now, "n2", replica.Replicate{Batch: []replica.Shipment{{
		Partition: n.ring.Partition(a.Bucket, a.Name), Groups: []crdt.Group{g},
	}}})
	n.drive()
}

func (n *single) pass(ms int64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.now.Wall += ms
	n.now.Mono += ms * int64(time.Millisecond)
}

// dump is everything that is stored.
func (n *single) dump() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var b strings.Builder
	for p := range n.ring.Config().Partitions {
		b.WriteString(replicatest.DumpText(n.store.View(), p))
	}
	return b.String()
}

func (n *single) WallMillis() int64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.now.Wall
}

func (n *single) Self() ring.NodeID             { return "n1" }
func (n *single) Ring() *ring.Ring              { return n.ring }
func (n *single) Sealer() dvv.Sealer            { return n.sealer }
func (n *single) Reachable(id ring.NodeID) bool { return id == "n1" }
func (n *single) Defaults() (r, w int)          { k := min(n.ring.Config().Replicas, 2); return k, k }
func (n *single) stampSeen(i int) crdt.Stamp    { n.mu.Lock(); defer n.mu.Unlock(); return n.seen[i] }
func (n *single) Snapshot() server.NodeStatus {
	n.mu.Lock()
	defer n.mu.Unlock()
	return server.NodeStatus{
		State: n.state, Version: "v0", ClusterID: "c1", Started: time.UnixMilli(startMillis - 5000),
		Stamp: n.shard.Stamp(), Stored: len(n.shard.Stored()), Owned: 4,
		Peers: []server.PeerStatus{{ID: "n2", Addr: "127.0.0.1:7002", RingHash: 0xabc, State: n.peer, Alive: n.peer != ""}}, Totals: n.shard.Totals(),
	}
}

func (n *single) Health() []replica.Health {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.health != nil {
		return n.health
	}
	return n.shard.Health(n.now)
}

func (n *single) ForceReady(partitions []int) (forced []int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range partitions {
		if n.shard.ForceReady(n.now, p) {
			forced = append(forced, p)
		}
	}
	return forced
}

func (n *single) Verify() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.shard.Verify(n.now)
}

func (n *single) Verifying() (r replica.VerifyReport) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.reports) > 0 {
		r, n.reports = n.reports[0], n.reports[1:]
		return r
	}
	return n.shard.Verifying(n.now)
}

// client is a client of each service, over HTTP/2 and a real socket.
type client struct {
	url      string
	http     *http.Client
	set      cartwheelv1connect.SetServiceClient
	counter  cartwheelv1connect.CounterServiceClient
	register cartwheelv1connect.RegisterServiceClient
	blob     cartwheelv1connect.BlobServiceClient
	maps     cartwheelv1connect.MapServiceClient
	cluster  cartwheelv1connect.ClusterServiceClient
}

func serve(t testing.TB, n *single, interceptors ...connect.Interceptor) client {
	t.Helper()
	metrics := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "cartwheel_up 1\n") })
	s := httptest.NewUnstartedServer(server.Handler(n, server.HandlerOptions{Metrics: metrics, Interceptors: interceptors}))
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(true)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(s.Close)
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols}
	t.Cleanup(transport.CloseIdleConnections)
	h := &http.Client{Transport: transport}
	c := clientOf(h, s.URL)
	c.http = h
	return c
}

func clientOf(h connect.HTTPClient, url string) client {
	return client{
		url:      url,
		set:      cartwheelv1connect.NewSetServiceClient(h, url),
		counter:  cartwheelv1connect.NewCounterServiceClient(h, url),
		register: cartwheelv1connect.NewRegisterServiceClient(h, url),
		blob:     cartwheelv1connect.NewBlobServiceClient(h, url),
		maps:     cartwheelv1connect.NewMapServiceClient(h, url),
		cluster:  cartwheelv1connect.NewClusterServiceClient(h, url),
	}
}

// operation returns the text of an id issued so many milliseconds before the
// node's time.
func (n *single) operation(seq int, ago int64) string {
	return fmt.Sprintf("%032x-%d-%d", 0xfeed, seq, n.WallMillis()-ago)
}
