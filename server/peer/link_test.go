package peer

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cartwheel-db/cartwheel/ring"
)

func TestMessagesOfEachSenderArriveOnceAndInOrder(t *testing.T) {
	leakFree(t)
	const senders, each = 4, 5000
	n1, n2 := start(t, "n1", nil), start(t, "n2", nil)
	n1.dials(t, n2)
	n2.dials(t, n1)
	var wg sync.WaitGroup
	for s := range senders {
		from, to := n1, n2
		if s%2 == 1 {
			from, to = n2, n1
		}
		wg.Go(func() {
			for i := range each {
				if err := from.Send(to.id, fmt.Appendf(nil, "%d/%d", s, i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for _, pair := range [][2]*node{{n1, n2}, {n2, n1}} {
		from, to := pair[0], pair[1]
		eventually(t, "all messages", func() bool { return len(to.received(from.id)) >= senders/2*each })
		next := map[int]int{}
		for _, m := range to.received(from.id) {
			var s, i int
			if _, err := fmt.Sscanf(m, "%d/%d", &s, &i); err != nil || next[s] != i {
				t.Fatalf("%s got %q, want number %d of sender %d", to.id, m, next[s], s)
			}
			next[s]++
		}
	}
}

func TestManyMessagesShareAFrameWhenTheReaderIsSlow(t *testing.T) {
	leakFree(t)
	const messages = 20_000 // 20 MB: more than the sockets hold
	gate := make(chan struct{})
	counted := 0
	done := make(chan struct{})
	n1 := start(t, "n1", nil)
	n2 := start(t, "n2", func(c *Config) {
		c.Deliver = func(_ ring.NodeID, _ Header, got [][]byte) {
			<-gate
			for _, m := range got {
				if n := int(binary.BigEndian.Uint32(m)); n != counted {
					t.Errorf("got message %d, want %d", n, counted)
				}
				if counted++; counted == messages {
					close(done)
				}
			}
		}
	})
	n1.dials(t, n2)
	for i := range messages {
		m := binary.BigEndian.AppendUint32(make([]byte, 0, 1000), uint32(i))
		if err := n1.Send("n2", m[:1000]); err != nil {
			t.Fatal(err)
		}
	}
	close(gate)
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("not all messages arrived in 20 s")
	}
	eventually(t, "the queue to be empty", func() bool { return n1.Stats().Peers["n2"].QueueMessages == 0 })
	s := n1.Stats().Peers["n2"]
	t.Logf("%d messages in %d frames: %.1f a frame", s.MessagesSent, s.FramesSent, s.MessagesPerFrame())
	if s.MessagesPerFrame() <= 1 || s.MessagesSent != messages || s.QueueBytes != 0 {
		t.Errorf("got %+v", s)
	}
	if r := n2.Stats().Peers["n1"]; r.MessagesReceived != messages || r.FramesReceived != s.FramesSent {
		t.Errorf("sent %d frames, the other side counted %d with %d messages", s.FramesSent, r.FramesReceived, r.MessagesReceived)
	}
}

func TestAMessageAsLargeAsAFrameAllowsArrivesAndALargerOneIsRefused(t *testing.T) {
	leakFree(t)
	n1, n2 := start(t, "n1", nil), start(t, "n2", nil)
	n1.dials(t, n2)
	largest := 8<<20 - frameOverhead
	for _, size := range []int{0, 1, largest} {
		if err := n1.Send("n2", sample(size)); err != nil {
			t.Fatal(err)
		}
	}
	err := n1.Send("n2", sample(largest+1))
	var refused *SendError
	if !errors.As(err, &refused) || !errors.Is(err, ErrTooLarge) || refused.Size != largest+1 || refused.Limit != largest {
		t.Errorf("got %v", err)
	}
	eventually(t, "all three", func() bool { return len(n2.received("n1")) == 3 })
	if got := n2.received("n1")[2]; got != string(sample(largest)) {
		t.Errorf("the largest message arrived as %d bytes", len(got))
	}
}

func TestAFullQueueRefusesByCountAndByBytesAndNeverBlocks(t *testing.T) {
	leakFree(t)
	for _, c := range []struct {
		name            string
		messages, bytes int
	}{
		{"by count", 10, 64 << 20},
		{"by bytes", 1 << 16, 8 << 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			gate := make(chan struct{})
			n1 := start(t, "n1", func(cfg *Config) { cfg.QueueMessages, cfg.QueueBytes = c.messages, c.bytes })
			n2 := start(t, "n2", func(cfg *Config) { cfg.Deliver = func(ring.NodeID, Header, [][]byte) { <-gate } })
			defer close(gate) // before the nodes close: Close waits for Deliver
			n1.dials(t, n2)
			sent, message := 0, sample(1<<20)
			var err error
			eventually(t, "a refusal", func() bool { // the sockets take some megabytes first
				for err = n1.Send("n2", message); err == nil; err = n1.Send("n2", message) {
					sent++
				}
				s := n1.Stats().Peers["n2"]
				return s.MessagesSent > 0 && s.QueueMessages == min(c.messages, c.bytes>>20)
			})
			var refused *SendError
			if !errors.Is(err, ErrQueueFull) || !errors.As(err, &refused) || refused.Messages == 0 || refused.Bytes != refused.Messages<<20 {
				t.Errorf("got %v", err)
			}
			s := n1.Stats().Peers["n2"]
			if s.RefusedFull == 0 || s.QueueMessages > c.messages || s.QueueBytes > c.bytes || !n1.Up("n2") {
				t.Errorf("got %+v", s)
			}
		})
	}
}

func TestWithoutALinkSendRefuses(t *testing.T) {
	leakFree(t)
	n1 := start(t, "n1", nil)
	n1.SetPeers(map[ring.NodeID]string{"n1": n1.Addr(), "n2": freeAddr(t)})
	for _, to := range []ring.NodeID{"n1", "n2", "n9"} {
		if err := n1.Send(to, []byte("x")); !errors.Is(err, ErrNoLink) || !strings.Contains(err.Error(), string(to)) {
			t.Errorf("to %s: got %v", to, err)
		}
	}
	eventually(t, "the failed dial to be told", func() bool { return n1.Stats().Peers["n2"].LastError != nil })
	if s := n1.Stats().Peers["n2"]; s.Up || s.RefusedNoLink != 1 {
		t.Errorf("got %+v", s)
	}
}

func TestALinkComesBackAfterItsPeerRestarted(t *testing.T) {
	leakFree(t)
	n1, n2 := start(t, "n1", nil), start(t, "n2", nil)
	n1.dials(t, n2)
	if err := n1.Send("n2", []byte("before")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the first message", func() bool { return len(n2.received("n1")) == 1 })
	addr := n2.Addr()
	if err := n2.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the loss to be noticed", func() bool { return !n1.Up("n2") })
	if err := n1.Send("n2", []byte("into the void")); !errors.Is(err, ErrNoLink) {
		t.Errorf("got %v", err)
	}
	n2 = startAt(t, "n2", addr, 2)
	eventually(t, "the link to be back", func() bool { return n1.Up("n2") })
	if err := n1.Send("n2", []byte("after")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the second message", func() bool { return len(n2.received("n1")) == 1 })
	if got := n2.received("n1"); got[0] != "after" {
		t.Errorf("got %q", got)
	}
	if s := n1.Stats().Peers["n2"]; s.Reconnects != 1 || s.Boot != 2 || s.LastError == nil {
		t.Errorf("got %+v", s)
	}
	if got := n1.links("n2"); !slices.Equal(got, []bool{true, false, true}) {
		t.Errorf("OnLink said %v", got)
	}
}

// levels keeps at which levels something was logged.
type levels struct {
	slog.Handler
	mu  sync.Mutex
	met map[string][]slog.Level
}

func (l *levels) Enabled(context.Context, slog.Level) bool { return true }

func (l *levels) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.met[r.Message] = append(l.met[r.Message], r.Level)
	return nil
}

func (l *levels) of(message string) []slog.Level {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.met[message])
}

func TestThatALinkEndsIsNewsUnlessThisNodeIsLeaving(t *testing.T) {
	for _, test := range []struct {
		name    string
		leaving bool
		want    slog.Level
	}{{"it stays", false, slog.LevelWarn}, {"it leaves", true, slog.LevelDebug}} {
		t.Run(test.name, func(t *testing.T) {
			logged := &levels{met: map[string][]slog.Level{}}
			a := start(t, "a", func(c *Config) { c.Logger = slog.New(logged) })
			b := start(t, "b", nil)
			a.dials(t, b)
			if test.leaving {
				a.Leave()
			}
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the end of the link is logged", func() bool { return len(logged.of("peer link down")) > 0 })
			if got := logged.of("peer link down")[0]; got != test.want {
				t.Errorf("logged at %v, want %v", got, test.want)
			}
		})
	}
}

func TestAPeerThatDialsUsIsDialledAtOnce(t *testing.T) {
	leakFree(t)
	addr := freeAddr(t)
	n1 := start(t, "n1", func(c *Config) { c.RetryMin, c.RetryMax = time.Hour, time.Hour })
	n1.SetPeers(map[ring.NodeID]string{"n2": addr})
	eventually(t, "the dial to fail", func() bool { return n1.Stats().Peers["n2"].LastError != nil })
	n2 := startAt(t, "n2", addr, 1)
	n2.dials(t, n1)
	eventually(t, "a link back, an hour early", func() bool { return n1.Up("n2") })
}

func TestPeersAreAddedDroppedAndDialledElsewhere(t *testing.T) {
	leakFree(t)
	n1, old, n3 := start(t, "n1", nil), start(t, "n2", nil), start(t, "n3", nil)
	n1.dials(t, old)
	moved := start(t, "n2", nil)
	n1.SetPeers(map[ring.NodeID]string{"n2": moved.Addr(), "n3": n3.Addr()})
	eventually(t, "both links", func() bool { return n1.Up("n2") && n1.Up("n3") })
	if err := n1.Send("n2", []byte("moved")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the message at the new address", func() bool { return len(moved.received("n1")) == 1 })
	eventually(t, "the old address to be left", func() bool { return !old.Stats().Peers["n1"].Inbound })

	n1.SetPeers(map[ring.NodeID]string{"n3": n3.Addr()})
	if err := n1.Send("n2", nil); !errors.Is(err, ErrNoLink) {
		t.Errorf("got %v", err)
	}
	eventually(t, "n2 to be forgotten", func() bool { _, known := n1.Stats().Peers["n2"]; return !known })
	if got := n1.links("n2"); !slices.Equal(got, []bool{true, false, true, false}) {
		t.Errorf("OnLink said %v", got)
	}
	n1.SetPeers(map[ring.NodeID]string{"n2": moved.Addr(), "n3": n3.Addr()})
	eventually(t, "n2 to be dialled again", func() bool { return n1.Up("n2") })
	if s := n1.Stats().Peers["n3"]; s.Reconnects != 0 {
		t.Errorf("the link to n3 was touched: %+v", s)
	}
}

func TestASilentPeerIsDeadAndASlowOneIsNot(t *testing.T) {
	leakFree(t)
	t.Run("silent", func(t *testing.T) {
		mute, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer mute.Close()
		go func() { // answers every handshake and then says nothing
			for {
				conn, err := mute.Accept()
				if err != nil {
					return
				}
				defer conn.Close()
				if _, err := talkAs(t, conn, "n2").answer(); err != nil {
					return
				}
			}
		}()
		n1 := start(t, "n1", func(c *Config) { c.DeadAfter = 200 * time.Millisecond })
		n1.SetPeers(map[ring.NodeID]string{"n2": mute.Addr().String()})
		eventually(t, "the link to be given up", func() bool {
			e := n1.Stats().Peers["n2"].LastError
			return e != nil && strings.Contains(e.Error(), "nothing heard for 200ms")
		})
	})
	t.Run("slow", func(t *testing.T) {
		gate := make(chan struct{})
		n1 := start(t, "n1", nil)
		n2 := start(t, "n2", func(c *Config) { c.Deliver = func(ring.NodeID, Header, [][]byte) { <-gate } })
		n1.dials(t, n2)
		began := time.Now()
		eventually(t, "more than DeadAfter of heartbeats", func() bool {
			return n1.Stats().Peers["n2"].HeartbeatsReceived > 40 && time.Since(began) > 2500*time.Millisecond
		})
		close(gate)
		if s := n1.Stats().Peers["n2"]; !s.Up || s.Reconnects != 0 || s.LastError != nil {
			t.Errorf("got %+v", s)
		}
	})
}

func TestHeartbeatsCarryTheHeaderOverAnIdleLink(t *testing.T) {
	leakFree(t)
	want := Header{RingHash: 0xfeedface, Stamp: 42}
	n1, n2 := start(t, "n1", func(c *Config) { c.Header = func() Header { return want } }), start(t, "n2", nil)
	n1.dials(t, n2)
	eventually(t, want.String(), func() bool {
		n2.mu.Lock()
		defer n2.mu.Unlock()
		return n2.head["n1"] == want
	})
	if s := n1.Stats().Peers["n2"]; s.FramesSent != 0 || s.HeartbeatsSent == 0 {
		t.Errorf("got %+v", s)
	}
}

func TestANewConnectionOfAPeerWaitsForTheDeliveryOfTheOldOne(t *testing.T) {
	leakFree(t)
	entered, gate := make(chan string, 10), make(chan struct{})
	defer close(gate) // before the node closes: Close waits for Deliver
	n2 := start(t, "n2", func(c *Config) {
		c.Deliver = func(_ ring.NodeID, _ Header, messages [][]byte) {
			entered <- string(messages[0])
			<-gate
		}
	})
	first := impostor(t, n2, "n1")
	if _, err := first.Write(appendFrame(nil, Header{}, [][]byte{[]byte("old")})); err != nil {
		t.Fatal(err)
	}
	if got := <-entered; got != "old" {
		t.Fatalf("got %q", got)
	}
	second := impostor(t, n2, "n1")
	if _, err := second.Write(appendFrame(nil, Header{}, [][]byte{[]byte("new")})); err != nil {
		t.Fatal(err)
	}
	closedByPeer(t, first)
	// The new connection has taken over and is answered, beat after beat, while "old" is still in delivery.
	if _, err := io.ReadFull(second, make([]byte, 4*(frameHeadBytes+heartbeatBytes))); err != nil {
		t.Fatal(err)
	}
	if len(entered) != 0 {
		t.Fatalf("%q was delivered beside the old one", <-entered)
	}
	gate <- struct{}{}
	if got := <-entered; got != "new" {
		t.Errorf("got %q", got)
	}
}

func TestClosingTwiceIsFineAndNothingWorksAfterwards(t *testing.T) {
	leakFree(t)
	n1, n2 := start(t, "n1", nil), start(t, "n2", nil)
	n1.dials(t, n2)
	for range 2 {
		if err := n1.Close(); err != nil {
			t.Fatal(err)
		}
	}
	n1.SetPeers(map[ring.NodeID]string{"n3": freeAddr(t)})
	if err := n1.Send("n2", nil); !errors.Is(err, ErrNoLink) || n1.Up("n2") || n1.Up("n3") {
		t.Errorf("got %v", err)
	}
	if got := n1.links("n2"); !slices.Equal(got, []bool{true, false}) {
		t.Errorf("OnLink said %v", got)
	}
}

func TestAConfigThatCannotWorkIsRefusedByName(t *testing.T) {
	for _, c := range []struct {
		field  string
		change func(*Config)
	}{
		{"Self", func(c *Config) { c.Self = "" }},
		{"ClusterID", func(c *Config) { c.ClusterID = strings.Repeat("x", 257) }},
		{"Partitions", func(c *Config) { c.Partitions = 0 }},
		{"Replicas", func(c *Config) { c.Replicas = -1 }},
		{"Secret", func(c *Config) { c.Secret = []byte("short") }},
		{"Deliver", func(c *Config) { c.Deliver = nil }},
		{"MaxFrame", func(c *Config) { c.MaxFrame = 100 }},
		{"QueueBytes", func(c *Config) { c.QueueBytes = 100 }},
		{"DeadAfter", func(c *Config) { c.DeadAfter = c.Heartbeat }},
		{"RetryMax", func(c *Config) { c.RetryMax = c.RetryMin / 2 }},
	} {
		cfg := testConfig("n1")
		cfg.Deliver = func(ring.NodeID, Header, [][]byte) {}
		c.change(&cfg)
		_, err := Listen(cfg)
		var refused *ConfigError
		if !errors.As(err, &refused) || refused.Field != c.field {
			t.Errorf("%s: got %v", c.field, err)
		}
	}
}
