package gossip

import (
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"time"

	"github.com/cartwheel-db/cartwheel/ring"
	"github.com/hashicorp/memberlist"
)

// Config says who this node is and how to reach it.
type Config struct {
	Self      ring.NodeID // 1..64 printable characters; unique for ever
	ClusterID string      // 1..64 printable characters
	Ring      ring.Config
	Secret    []byte // of the cluster; the gossip key is derived from it
	Boot      uint64 // random per process

	BindAddr      string // host:port for UDP and TCP; port 0 picks one
	AdvertiseAddr string // host:port that others dial; empty: the bound address
	PeerAddr      string // shown to others, as is
	APIAddr       string // shown to others, as is

	// Facts are those known at the start. OnFacts is told the whole set whenever
	// others made it grow; what the caller adds itself it need not be told.
	Facts   ring.Facts
	OnFacts func(ring.Facts)

	// OnPeer is told of every change of another node: up or down, another boot,
	// address, state or ring hash. Changes in quick succession may come as one.
	OnPeer func(id ring.NodeID, p Peer, up bool)

	// Seeds are gossip addresses tried again and again until each was reached
	// once: the members of before a restart, as found in Peers.
	Seeds []string

	Logger *slog.Logger // nil: silence

	// Zero means the default, which suits clusters of a few dozen nodes.
	ProbeInterval    time.Duration // 300 ms
	ProbeTimeout     time.Duration // 100 ms
	GossipInterval   time.Duration // 50 ms
	PushPullInterval time.Duration // 5 s
	RejoinMin        time.Duration // 500 ms: first wait before a lost member is dialled again
	RejoinMax        time.Duration // 5 s: longest wait

	// wrap puts a test's network under ours.
	wrap func(memberlist.NodeAwareTransport) memberlist.NodeAwareTransport
}

func (c Config) withDefaults() Config {
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&c.ProbeInterval, 300 * time.Millisecond}, {&c.ProbeTimeout, 100 * time.Millisecond},
		{&c.GossipInterval, 50 * time.Millisecond}, {&c.PushPullInterval, 5 * time.Second},
		{&c.RejoinMin, 500 * time.Millisecond}, {&c.RejoinMax, 5 * time.Second},
	} {
		if *d.field <= 0 {
			*d.field = d.value
		}
	}
	if c.Ring.Partitions == 0 {
		c.Ring.Partitions = ring.DefaultPartitions
	}
	if c.Ring.Replicas == 0 {
		c.Ring.Replicas = ring.DefaultReplicas
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.OnFacts == nil {
		c.OnFacts = func(ring.Facts) {}
	}
	if c.OnPeer == nil {
		c.OnPeer = func(ring.NodeID, Peer, bool) {}
	}
	return c
}

func (c Config) identity() Identity {
	return Identity{Node: c.Self, Boot: c.Boot, ClusterID: c.ClusterID, Partitions: c.Ring.Partitions, Replicas: c.Ring.Replicas}
}

func (c Config) check() error {
	if err := c.identity().check(); err != nil {
		return fmt.Errorf("gossip: %w", err)
	}
	if len(c.Secret) == 0 {
		return errors.New("gossip: no cluster secret: unencrypted gossip would let anybody in")
	}
	return nil
}

// key is bound to its purpose: the secret also signs context tokens.
func (c Config) key() []byte {
	mac := hmac.New(sha256.New, c.Secret)
	mac.Write([]byte("cartwheel gossip key"))
	return mac.Sum(nil)
}

// memberlist is the library's configuration for a small cluster.
func (c Config) memberlist(transport memberlist.Transport) *memberlist.Config {
	m := memberlist.DefaultLANConfig()
	m.Name = string(c.Self)
	m.Transport = transport
	m.Label = "cartwheel/" + c.ClusterID
	m.SecretKey = c.key()
	m.EnableCompression = false // a compressed bomb is not worth a few bytes
	m.UDPBufferSize = 1400
	m.ProbeInterval, m.ProbeTimeout = c.ProbeInterval, c.ProbeTimeout
	m.GossipInterval = c.GossipInterval
	m.SuspicionMult = 3
	m.PushPullInterval = c.PushPullInterval
	m.TCPTimeout = helloTimeout
	m.DeadNodeReclaimTime = time.Millisecond // at 0 a node could never come back with another address
	m.Logger = memberLogger(c.Logger)
	return m
}

// listen binds UDP and TCP to the same port, which for port 0 takes luck: the
// kernel picks it for one of them only.
func (c Config) listen() (memberlist.NodeAwareTransport, error) {
	host, port, err := hostPort("bind", c.BindAddr)
	if err != nil {
		return nil, err
	}
	attempts := 1
	if port == 0 {
		attempts = 10
	}
	var transport *memberlist.NetTransport
	for range attempts {
		transport, err = memberlist.NewNetTransport(&memberlist.NetTransportConfig{
			BindAddrs: []string{host}, BindPort: port, Logger: memberLogger(c.Logger)})
		if err == nil {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("gossip: listen on %s: %w", c.BindAddr, err)
	}
	if c.wrap != nil {
		return c.wrap(transport), nil
	}
	return transport, nil
}

// hostPort splits an address and resolves its host: memberlist wants an IP.
func hostPort(what, addr string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, fmt.Errorf("gossip: %s address %q: %w", what, addr, err)
	}
	port, err = strconv.Atoi(text)
	if err != nil || port < 0 || port > 65535 {
		return "", 0, fmt.Errorf("gossip: %s address %q: port must be within 0..65535", what, addr)
	}
	if host == "" {
		return "0.0.0.0", port, nil
	}
	ip, err := net.ResolveIPAddr("ip", host)
	if err != nil {
		return "", 0, fmt.Errorf("gossip: %s address %q: %w", what, addr, err)
	}
	return ip.String(), port, nil
}
