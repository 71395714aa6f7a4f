package peer

import (
	"bytes"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/cartwheel-db/cartwheel/ring"
)

// closedByPeer reads until the other side closes.
func closedByPeer(t testing.TB, conn net.Conn) {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	var timeout net.Error
	if _, err := io.Copy(io.Discard, conn); errors.As(err, &timeout) && timeout.Timeout() {
		t.Fatal("the connection was not closed in 20 s")
	}
}

func TestNodesThatDoNotBelongTogetherNameBothValuesOnBothEnds(t *testing.T) {
	leakFree(t)
	for _, c := range []struct {
		name           string
		change         func(*Config)
		field          string
		ours, theirs   string // as the dialler sees it
		asTold, asHeld string // as the acceptor sees it: its own value, the dialler's
	}{
		{"another cluster", func(c *Config) { c.ClusterID = "hardware" }, "cluster", "hardware", "groceries", "groceries", "hardware"},
		{"another Q", func(c *Config) { c.Partitions = 64 }, "partitions", "64", "256", "256", "64"},
		{"another N", func(c *Config) { c.Replicas = 5 }, "replicas", "5", "3", "3", "5"},
		{"another secret", func(c *Config) { c.Secret = []byte("quite another secret") }, "secret", "", "", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			n2 := start(t, "n2", nil)
			n1 := start(t, "n1", c.change)
			n1.SetPeers(map[ring.NodeID]string{"n2": n2.Addr()})
			eventually(t, "the dialler to be told", func() bool { return n1.Stats().Peers["n2"].LastError != nil })
			expectRefusal(t, n1.Stats().Peers["n2"].LastError, HandshakeError{Peer: "n2", Field: c.field, Ours: c.ours, Theirs: c.theirs})
			eventually(t, "the acceptor to know", func() bool { return n2.Stats().LastRefusal != nil })
			expectRefusal(t, n2.Stats().LastRefusal, HandshakeError{Field: c.field, Ours: c.asTold, Theirs: c.asHeld})
			if n1.Up("n2") || n2.Stats().Peers["n1"].Inbound {
				t.Error("a link stands all the same")
			}
		})
	}
}

func expectRefusal(t *testing.T, err error, want HandshakeError) {
	t.Helper()
	var got *HandshakeError
	if !errors.As(err, &got) || got.Field != want.Field || got.Ours != want.Ours || got.Theirs != want.Theirs ||
		want.Peer != "" && got.Peer != want.Peer || got.Remote == "" {
		t.Fatalf("got %#v (%v), want %#v", got, err, want)
	}
	if !strings.Contains(err.Error(), want.Ours) || !strings.Contains(err.Error(), want.Theirs) {
		t.Errorf("%q does not name %q and %q", err, want.Ours, want.Theirs)
	}
}

func TestANodeFoundUnderAnothersAddressIsRefusedOnBothEnds(t *testing.T) {
	leakFree(t)
	n1, n3 := start(t, "n1", nil), start(t, "n3", nil)
	n1.SetPeers(map[ring.NodeID]string{"n2": n3.Addr()})
	eventually(t, "both to know", func() bool { return n1.Stats().Peers["n2"].LastError != nil && n3.Stats().LastRefusal != nil })
	expectRefusal(t, n1.Stats().Peers["n2"].LastError, HandshakeError{Peer: "n2", Field: "node id", Ours: "n2", Theirs: "n3"})
	expectRefusal(t, n3.Stats().LastRefusal, HandshakeError{Peer: "n1", Field: "node id", Ours: "n3", Theirs: "n2"})
}

func TestTwoNodesOfOneIdRefuseEachOther(t *testing.T) {
	leakFree(t)
	n2 := start(t, "n2", nil)
	conn, err := net.Dial("tcp", n2.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, asDialler := talkAs(t, conn, "n2").greet("n2")
	eventually(t, "the acceptor to know", func() bool { return n2.Stats().LastRefusal != nil })
	for _, err := range []error{asDialler, n2.Stats().LastRefusal} {
		if err == nil || !strings.Contains(err.Error(), `claims the node id "n2"; this is "n2"`) {
			t.Errorf("got %v", err)
		}
	}
}

func TestANodeOfAnotherVersionIsRefusedWithBothVersions(t *testing.T) {
	leakFree(t)
	n1 := start(t, "n1", nil)
	conn, err := net.Dial("tcp", n1.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	talk := talkAs(t, conn, "n2")
	if err := talk.write([]byte("\x92\xa4CWPL\x02")); err != nil {
		t.Fatal(err)
	}
	word, err := talk.read()
	if err != nil {
		t.Fatal(err)
	}
	if its, err := parseHello(word); err != nil || its.version != handshakeVersion || its.id != "n1" {
		t.Errorf("was told %+v, %v", its, err)
	}
	closedByPeer(t, conn)
	expectRefusal(t, n1.Stats().LastRefusal, HandshakeError{Field: "version", Ours: "1", Theirs: "2"})
}

func TestAStrangerGetsNoProofFromAnAcceptor(t *testing.T) {
	leakFree(t)
	n1 := start(t, "n1", nil)
	conn, err := net.Dial("tcp", n1.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	talk := talkAs(t, conn, "n2")
	talk.key = []byte("a guess")
	_, err = talk.greet("n1")
	expectRefusal(t, err, HandshakeError{Field: "secret"})
	eventually(t, "the acceptor to know", func() bool { return n1.Stats().LastRefusal != nil })
	expectRefusal(t, n1.Stats().LastRefusal, HandshakeError{Peer: "n2", Field: "secret"})
}

// strangers write what they like before they are authenticated.
func TestStrangersAreClosedAndLeaveNothingBehind(t *testing.T) {
	leakFree(t)
	n1 := start(t, "n1", func(c *Config) { c.HandshakeTimeout = 300 * time.Millisecond })
	n2 := start(t, "n2", nil)
	goroutines := runtime.NumGoroutine()
	strangers := []struct {
		name  string
		bytes []byte
	}{
		{"says nothing", nil},
		{"says one byte and waits", []byte{0}},
		{"claims 4 GiB", []byte{0xff, 0xff, 0xff, 0xff, 1, 2, 3}},
		{"claims just above 4 KiB", []byte{0, 0, 0x10, 1}},
		{"claims 4 KiB and sends ten bytes", append([]byte{0, 0, 0x0f, 0xfc}, sample(10)...)},
		{"speaks HTTP", []byte("GET / HTTP/1.1\r\nHost: cart\r\n\r\n")},
		{"sends half a hello", prefixed(sampleHello().encode())[:30]},
		{"sends garbage", prefixed(sample(1000))},
		{"replays a hello and has no proof", append(prefixed(helloTo("n1")), prefixed(make([]byte, 32))...)},
		{"sends frames without a handshake", bytes.Repeat(appendFrame(nil, Header{}, repeat(3, sample(100))), 100)},
	}
	for _, s := range strangers {
		conn, err := net.Dial("tcp", n1.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		go func() {
			_, _ = conn.Write(s.bytes) // it may be closed under us: that is the point
		}()
		// From its own side each stranger would wait for ever.
		closedByPeer(t, conn)
	}
	eventually(t, "all to be refused", func() bool { return n1.Stats().Refused == uint64(len(strangers)) })
	eventually(t, "their goroutines to end", func() bool { return runtime.NumGoroutine() <= goroutines })
	if len(n1.Stats().Peers) != 0 {
		t.Errorf("strangers are remembered as peers: %v", n1.Stats().Peers)
	}
	n2.dials(t, n1)
}

func helloTo(to ring.NodeID) []byte {
	h := sampleHello()
	h.id, h.to = "n7", to
	return h.encode()
}

func TestACrowdOfStrangersIsTurnedAwayUntilThereIsRoom(t *testing.T) {
	leakFree(t)
	n1 := start(t, "n1", func(c *Config) { c.HandshakeTimeout = 2 * time.Second })
	n2 := start(t, "n2", nil)
	for range handshaking + 20 {
		conn, err := net.Dial("tcp", n1.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	eventually(t, "the last to be turned away", func() bool { return n1.Stats().TurnedAway >= 20 })
	n2.dials(t, n1) // keeps trying until the strangers' time is up
}

// TestPeersThatBreakTheFramingAreClosed: even who knows the secret is held to the frame.
func TestPeersThatBreakTheFramingAreClosed(t *testing.T) {
	leakFree(t)
	n1 := start(t, "n1", func(c *Config) { c.DeadAfter = 300 * time.Millisecond })
	goroutines := runtime.NumGoroutine()
	good := appendFrame(nil, Header{}, repeat(2, sample(50)))
	flipped := bytes.Clone(good)
	flipped[len(flipped)-1] ^= 1
	for _, c := range []struct {
		name  string
		bytes []byte
	}{
		{"half a frame, then silence", good[:20]},
		{"a claim above the limit", claim(8<<20+1, 1)},
		{"a claim of 8 MiB and ten bytes, then silence", claim(8<<20, sample(10)...)},
		{"a flipped bit", flipped},
		{"a body that is no frame", claim(4, 1, 2, 3, 4)},
		{"garbage", sample(5000)},
	} {
		conn := impostor(t, n1, "n2")
		grown := allocated(func() {
			if _, err := conn.Write(c.bytes); err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			closedByPeer(t, conn)
		})
		if grown > 1<<20 {
			t.Errorf("%s: allocated %d bytes", c.name, grown)
		}
	}
	eventually(t, "their goroutines to end", func() bool { return runtime.NumGoroutine() <= goroutines })
	if got := n1.received("n2"); len(got) != 0 {
		t.Errorf("delivered %q", got)
	}
}

func TestAnAcceptorThatSendsMessagesBackIsClosed(t *testing.T) {
	leakFree(t)
	liar, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer liar.Close()
	go func() {
		conn, err := liar.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		if _, err := talkAs(t, conn, "n2").answer(); err == nil {
			_, _ = conn.Write(appendFrame(nil, Header{}, [][]byte{{1}}))
			_, _ = io.Copy(io.Discard, conn)
		}
	}()
	n1 := start(t, "n1", nil)
	n1.SetPeers(map[ring.NodeID]string{"n2": liar.Addr().String()})
	eventually(t, "the frame to be refused", func() bool {
		var malformed *FrameError
		return errors.As(n1.Stats().Peers["n2"].LastError, &malformed)
	})
}
