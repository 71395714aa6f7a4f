package gossip

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cartwheel-db/cartwheel/ring"
	"github.com/hashicorp/memberlist"
)

const patience = 12 * time.Second

// eventually waits for a condition; a busy machine gets its time.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.Now().Add(patience)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("after %v still not so: %s", patience, what)
		}
		<-tick.C
	}
}

// witness records what the callbacks are told.
type witness struct {
	mu     sync.Mutex
	facts  ring.Facts
	events []string
}

func (w *witness) onFacts(f ring.Facts) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.facts = f
}

func (w *witness) onPeer(id ring.NodeID, p Peer, up bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, fmt.Sprintf("%s up=%v %v hash=%d boot=%d", id, up, p.State, p.RingHash, p.Boot))
}

func (w *witness) saw(parts ...string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
next:
	for _, event := range w.events {
		for _, part := range parts {
			if !strings.Contains(event, part) {
				continue next
			}
		}
		return true
	}
	return false
}

func (w *witness) heard(f ring.Facts) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.facts.Equal(f)
}

// fast is tuned for tests on one machine.
func fast(id string) Config {
	return Config{
		Self: ring.NodeID(id), ClusterID: "shop", Ring: ring.Config{Partitions: 64, Replicas: 3},
		Secret: []byte("a secret of the cluster"), Boot: 7, BindAddr: "127.0.0.1:0",
		PeerAddr: id + ":1", APIAddr: id + ":2",
		RejoinMin: 100 * time.Millisecond, RejoinMax: 400 * time.Millisecond,
	}
}

func start(t *testing.T, c Config) (*Gossip, *witness) {
	t.Helper()
	w := &witness{}
	c.OnFacts, c.OnPeer = w.onFacts, w.onPeer
	g, err := Start(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
	return g, w
}

func join(t *testing.T, g *Gossip, addrs ...string) {
	t.Helper()
	if _, err := g.Join(addrs...); err != nil {
		t.Fatal(err)
	}
}

func joinedFact(number uint64, id string) ring.Facts {
	var s ring.Facts
	if _, err := s.Add(ring.Fact{Number: number, Kind: ring.Joined, Node: ring.NodeID(id), PeerAddr: id + ":1", APIAddr: id + ":2"}); err != nil {
		panic(err)
	}
	return s
}

func TestThreeNodesAgreeOnFactsInWhateverOrderTheyJoin(t *testing.T) {
	for name, joins := range map[string][][2]int{ // who joins whom
		"all join the first":             {{1, 0}, {2, 0}},
		"a chain":                        {{1, 0}, {2, 1}},
		"the first joins the others":     {{0, 1}, {0, 2}},
		"two pairs, then one across":     {{2, 1}, {1, 0}},
		"everybody joins everybody":      {{0, 1}, {1, 2}, {2, 0}},
		"one also joins itself, by seed": {{1, 1}, {1, 0}, {2, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var nodes []*Gossip
			var witnesses []*witness
			var all ring.Facts
			for i := range 3 {
				c := fast(fmt.Sprintf("n%d", i+1))
				c.Facts = joinedFact(uint64(i)+1, string(c.Self))
				all.Merge(c.Facts)
				g, w := start(t, c)
				nodes, witnesses = append(nodes, g), append(witnesses, w)
			}
			for _, j := range joins {
				join(t, nodes[j[0]], nodes[j[1]].Addr())
			}
			// A fact added later travels by broadcast.
			late := joinedFact(9, "n9")
			nodes[2].AddFacts(late)
			all.Merge(late)
			for i, g := range nodes {
				eventually(t, "all facts everywhere", func() bool {
					// Nobody is told what it said itself.
					return g.Facts().Equal(all) && (i == 2 || witnesses[i].heard(all))
				})
				eventually(t, "all see all", func() bool {
					return g.Alive("n1") && g.Alive("n2") && g.Alive("n3") && len(g.Peers()) == 2
				})
			}
			p := nodes[0].Peers()[0]
			want := Peer{ID: "n2", Boot: 7, GossipAddr: nodes[1].Addr(), PeerAddr: "n2:1", APIAddr: "n2:2", State: Joining, Up: true}
			if p != want {
				t.Errorf("peer %+v, want %+v", p, want)
			}
		})
	}
}

func TestJoinReturnsWithTheFactsItBrought(t *testing.T) {
	t.Parallel()
	c := fast("n1")
	c.Facts = joinedFact(1, "n1")
	a, _ := start(t, c)
	b, told := start(t, fast("n2"))
	if n, err := b.Join(a.Addr(), b.Addr()); n != 1 || err != nil {
		t.Fatalf("reached %d, %v", n, err)
	}
	if !b.Facts().Equal(c.Facts) || !told.heard(c.Facts) {
		t.Errorf("facts after join:\n%v", b.Facts())
	}
}

func TestAChangeOfMetaReachesTheOthers(t *testing.T) {
	t.Parallel()
	a, _ := start(t, fast("n1"))
	b, w := start(t, fast("n2"))
	join(t, b, a.Addr())
	a.SetMeta(4711, Ready)
	eventually(t, "n2 sees the hash of n1", func() bool { return w.saw("n1", "up=true", "ready", "hash=4711") })
}

func TestAKilledNodeIsNoticedAndItsNextBootToo(t *testing.T) {
	t.Parallel()
	a, w := start(t, fast("n1"))
	b, _ := start(t, fast("n2"))
	join(t, b, a.Addr())
	eventually(t, "n1 sees n2", func() bool { return a.Alive("n2") })
	addr := b.Addr()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "n1 misses n2", func() bool { return w.saw("n2", "up=false", "joining") })
	if a.Alive("n2") || w.saw("up=false", "left") {
		t.Error("a death passes for a leave, or for life")
	}

	// It comes back at another address and joins nobody: a seed is enough.
	again := fast("n2")
	again.Boot, again.Seeds = 8, []string{a.Addr()}
	back, _ := start(t, again)
	eventually(t, "n1 sees the new boot of n2", func() bool { return w.saw("n2", "up=true", "boot=8") })
	if back.Addr() == addr {
		t.Log("the kernel gave the same port again")
	}
	eventually(t, "n1 knows the new address", func() bool { return a.Peers()[0].GossipAddr == back.Addr() })
}

func TestALeaveIsToldFromADeath(t *testing.T) {
	t.Parallel()
	a, w := start(t, fast("n1"))
	b, _ := start(t, fast("n2"))
	join(t, b, a.Addr())
	eventually(t, "both see each other", func() bool { return a.Alive("n2") && b.Alive("n1") })
	if err := b.Leave(5 * time.Second); err != nil {
		t.Fatal(err)
	}
	eventually(t, "n1 sees n2 leave", func() bool { return w.saw("n2", "up=false", "left") })
	if err := b.Leave(time.Second); err != nil {
		t.Errorf("leaving twice: %v", err)
	}
}

func TestAStrangerIsRefusedWithBothValues(t *testing.T) {
	t.Parallel()
	a, _ := start(t, fast("n1"))
	for _, c := range []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"another cluster with another secret", func(c *Config) { c.ClusterID, c.Secret = "bank", []byte("other") },
			"belongs to cluster shop with 64 partitions and 3 replicas; this node to cluster bank with 64 partitions and 3 replicas"},
		{"another number of partitions", func(c *Config) { c.Ring.Partitions = 256 },
			"belongs to cluster shop with 64 partitions and 3 replicas; this node to cluster shop with 256 partitions and 3 replicas"},
		{"another number of replicas", func(c *Config) { c.Ring.Replicas = 2 },
			"belongs to cluster shop with 64 partitions and 3 replicas; this node to cluster shop with 64 partitions and 2 replicas"},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := fast("n2")
			c.change(&config)
			b, _ := start(t, config)
			n, err := b.Join(a.Addr())
			var foreign *ForeignError
			if n != 0 || !errors.As(err, &foreign) || !strings.Contains(err.Error(), "node n1 at "+a.Addr()+" "+c.want) {
				t.Fatalf("reached %d, error %v, want one with %q", n, err, c.want)
			}
			if len(a.Peers())+len(b.Peers()) > 0 {
				t.Errorf("they met all the same: %v %v", a.Peers(), b.Peers())
			}
		})
	}
	t.Run("the same cluster with another secret", func(t *testing.T) {
		config := fast("n2")
		config.Secret = []byte("other")
		b, _ := start(t, config)
		if _, err := b.Join(a.Addr()); err == nil || !strings.Contains(err.Error(), "has it the same cluster secret?") {
			t.Fatalf("error %v", err)
		}
	})
	t.Run("a second process with the same node id", func(t *testing.T) {
		config := fast("n1")
		config.Boot = 8
		b, _ := start(t, config)
		_, err := b.Join(a.Addr())
		var twin *TwinError
		if !errors.As(err, &twin) || !strings.Contains(err.Error(), "node n1 is running at "+a.Addr()+" already") {
			t.Fatalf("error %v", err)
		}
	})
	t.Run("nobody there", func(t *testing.T) {
		b, _ := start(t, fast("n2"))
		gone, _ := start(t, fast("n3"))
		addr := gone.Addr()
		if err := gone.Close(); err != nil {
			t.Fatal(err)
		}
		if n, err := b.Join(addr); n != 0 || err == nil || !strings.Contains(err.Error(), addr) {
			t.Fatalf("reached %d, error %v", n, err)
		}
		if n, err := b.Join(addr, a.Addr()); n != 1 || err != nil {
			t.Fatalf("reached %d, error %v: one of two is enough", n, err)
		}
	})
}

func TestMemberlistItselfRefusesAStrangerWhoSkipsTheHello(t *testing.T) {
	t.Parallel()
	a, _ := start(t, fast("n1"))
	config := fast("n2")
	config.Ring.Partitions = 256
	b, _ := start(t, config)
	_, err := b.list.Join([]string{a.Addr()})
	want := "node n1 at " + a.Addr() + " belongs to cluster shop with 64 partitions and 3 replicas; this node to cluster shop with 256"
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Fatalf("error %v, want one with %q", err, want)
	}
	if a.Alive("n2") || b.Alive("n1") {
		t.Error("they met all the same")
	}
}

// splitNetwork drops packets and refuses streams between two sides.
type splitNetwork struct {
	mu   sync.Mutex
	side map[string]int
}

func (n *splitNetwork) set(side map[string]int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.side = side
}

func (n *splitNetwork) cut(a, b string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.side[a] != n.side[b]
}

type splitTransport struct {
	memberlist.NodeAwareTransport
	network *splitNetwork
}

func (s *splitTransport) addr() string {
	ip, port, err := s.FinalAdvertiseAddr("", 0)
	if err != nil {
		panic(err)
	}
	return net.JoinHostPort(ip.String(), fmt.Sprint(port))
}

func (s *splitTransport) WriteToAddress(b []byte, to memberlist.Address) (time.Time, error) {
	if s.network.cut(s.addr(), to.Addr) {
		return time.Now(), nil
	}
	return s.NodeAwareTransport.WriteToAddress(b, to)
}

func (s *splitTransport) DialAddressTimeout(to memberlist.Address, timeout time.Duration) (net.Conn, error) {
	if s.network.cut(s.addr(), to.Addr) {
		return nil, errors.New("the network is split")
	}
	return s.NodeAwareTransport.DialAddressTimeout(to, timeout)
}

func TestASplitHealsByItselfAndFactsOfBothSidesMeet(t *testing.T) {
	t.Parallel()
	network := &splitNetwork{}
	var nodes []*Gossip
	for i := range 4 {
		c := fast(fmt.Sprintf("n%d", i+1))
		c.PushPullInterval = time.Hour // else it might heal by chance
		c.wrap = func(inner memberlist.NodeAwareTransport) memberlist.NodeAwareTransport {
			return &splitTransport{NodeAwareTransport: inner, network: network}
		}
		g, _ := start(t, c)
		nodes = append(nodes, g)
		join(t, g, nodes[0].Addr())
	}
	everybody := func() bool {
		for _, g := range nodes {
			for _, h := range nodes {
				if !g.Alive(h.self.Node) {
					return false
				}
			}
		}
		return true
	}
	eventually(t, "all see all", everybody)

	network.set(map[string]int{nodes[2].Addr(): 1, nodes[3].Addr(): 1})
	eventually(t, "each half believes the other dead", func() bool {
		return !nodes[0].Alive("n3") && !nodes[0].Alive("n4") && !nodes[1].Alive("n3") && !nodes[1].Alive("n4") &&
			!nodes[2].Alive("n1") && !nodes[2].Alive("n2") && !nodes[3].Alive("n1") && !nodes[3].Alive("n2")
	})
	if !nodes[0].Alive("n2") || !nodes[2].Alive("n4") {
		t.Error("a half lost its own")
	}
	both := joinedFact(1, "n1")
	nodes[0].AddFacts(both)
	nodes[3].AddFacts(joinedFact(1, "n4"))
	both.Merge(joinedFact(1, "n4"))

	network.set(nil)
	eventually(t, "the halves find each other", everybody)
	eventually(t, "the facts of both are everywhere", func() bool {
		for _, g := range nodes {
			if !g.Facts().Equal(both) {
				return false
			}
		}
		return true
	})
}

func TestADepartedNodeIsNotDialledForEver(t *testing.T) {
	t.Parallel()
	a, _ := start(t, fast("n1"))
	b, _ := start(t, fast("n2"))
	join(t, b, a.Addr())
	eventually(t, "n1 sees n2", func() bool { return a.Alive("n2") })
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "n1 looks for n2", func() bool { return len(a.lostPeers()) == 1 })
	var left ring.Facts
	if _, err := left.Add(ring.Fact{Number: 2, Kind: ring.Left, Node: "n2"}); err != nil {
		t.Fatal(err)
	}
	a.AddFacts(left)
	if lost := a.lostPeers(); len(lost) != 0 {
		t.Errorf("still dialling %v", lost)
	}
}

func TestABadConfigIsRefusedWithTheReason(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		change func(*Config)
		want   string
	}{
		{func(c *Config) { c.Self = "" }, "node id of 0 bytes"},
		{func(c *Config) { c.Self = "n 1" }, "printable"},
		{func(c *Config) { c.ClusterID = strings.Repeat("x", 65) }, "cluster id of 65 bytes: must be 1..64"},
		{func(c *Config) { c.Secret = nil }, "no cluster secret"},
		{func(c *Config) { c.Ring.Partitions = 100 }, "100 partitions: must be a power of two"},
		{func(c *Config) { c.BindAddr = "nowhere" }, `bind address "nowhere"`},
		{func(c *Config) { c.BindAddr = "127.0.0.1:70000" }, "port must be within 0..65535"},
		{func(c *Config) { c.AdvertiseAddr = "nowhere" }, `advertise address "nowhere"`},
		{func(c *Config) { c.PeerAddr, c.APIAddr = strings.Repeat("p", 250), strings.Repeat("a", 250) },
			"at most 512: shorten the peer address (250 bytes) or the api address (250 bytes)"},
	} {
		config := fast("n1")
		c.change(&config)
		g, err := Start(config)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want one with %q", err, c.want)
		}
		if g != nil {
			_ = g.Close()
		}
	}
}

func TestTheLogSpeaksInLevels(t *testing.T) {
	var b strings.Builder
	logger := memberLogger(slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{Level: slog.LevelInfo,
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}})))
	logger.Print("[DEBUG] memberlist: nothing new")
	logger.Print("[WARN] memberlist: Refuting a suspect message")
	logger.Print("[ERR] memberlist: Failed to send")
	if want := "level=INFO msg=\"Refuting a suspect message\"\nlevel=WARN msg=\"Failed to send\"\n"; b.String() != want {
		t.Errorf("got %s", b.String())
	}
}
