package peer

import (
	"net"
	"sync"
	"testing"
	"time"

	"github.com/cartwheel-db/cartwheel/ring"
)

// node is a Transport under test with what it was delivered.
type node struct {
	*Transport
	id   ring.NodeID
	mu   sync.Mutex
	got  map[ring.NodeID][]string
	head map[ring.NodeID]Header
	ups  map[ring.NodeID][]bool
}

func testConfig(id ring.NodeID) Config {
	return Config{
		Self: id, ClusterID: "groceries", Partitions: 256, Replicas: 3, Boot: 1,
		Secret: []byte("a secret of sixteen bytes or more"), Listen: "127.0.0.1:0",
		Heartbeat: 50 * time.Millisecond, DeadAfter: 2 * time.Second,
		RetryMin: 5 * time.Millisecond, RetryMax: 50 * time.Millisecond,
	}
}

// start listens as id and closes with the test. change may alter the config; a Deliver set there replaces recording.
func start(t testing.TB, id ring.NodeID, change func(*Config)) *node {
	t.Helper()
	n := &node{id: id, got: map[ring.NodeID][]string{}, head: map[ring.NodeID]Header{}, ups: map[ring.NodeID][]bool{}}
	cfg := testConfig(id)
	cfg.Deliver = n.record
	cfg.OnLink = func(peer ring.NodeID, up bool) {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.ups[peer] = append(n.ups[peer], up)
	}
	if change != nil {
		change(&cfg)
	}
	var err error
	if n.Transport, err = Listen(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

func (n *node) record(from ring.NodeID, h Header, messages [][]byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.head[from] = h
	for _, m := range messages {
		n.got[from] = append(n.got[from], string(m))
	}
}

func (n *node) received(from ring.NodeID) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]string(nil), n.got[from]...)
}

func (n *node) links(peer ring.NodeID) []bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]bool(nil), n.ups[peer]...)
}

// dials makes n hold a link to peer and waits until it stands.
func (n *node) dials(t testing.TB, peer *node) {
	t.Helper()
	n.SetPeers(map[ring.NodeID]string{peer.id: peer.Addr()})
	eventually(t, string(n.id)+" has a link to "+string(peer.id), func() bool { return n.Up(peer.id) })
}

// impostor is a bare connection to n that has passed the handshake as id.
func impostor(t testing.TB, n *node, id ring.NodeID) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", n.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := talkAs(t, conn, id).greet(n.id); err != nil {
		t.Fatal(err)
	}
	return conn
}

func talkAs(t testing.TB, conn net.Conn, id ring.NodeID) *handshake {
	t.Helper()
	cfg := testConfig(id)
	cfg.Deliver = func(ring.NodeID, Header, [][]byte) {}
	cfg, err := cfg.complete()
	if err != nil {
		t.Fatal(err)
	}
	key, err := linkKey(cfg.Secret)
	if err != nil {
		t.Fatal(err)
	}
	talk, err := (&Transport{cfg: cfg, key: key}).newHandshake(conn)
	if err != nil {
		t.Fatal(err)
	}
	return talk
}

// freeAddr is a loopback address where nobody listens.
func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// startAt listens as id on an address that was in use a moment ago.
func startAt(t testing.TB, id ring.NodeID, addr string, boot uint64) *node {
	t.Helper()
	eventually(t, addr+" to be free", func() bool {
		l, err := net.Listen("tcp", addr)
		if err == nil {
			l.Close()
		}
		return err == nil
	})
	return start(t, id, func(c *Config) { c.Listen, c.Boot = addr, boot })
}
