package peer

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/cartwheel-db/cartwheel/ring"
)

// Config tells a Transport who it is, what cluster it belongs to and whom to call. Zero limits and timeouts take the
// defaults named beside them.
type Config struct {
	Self       ring.NodeID // at most 256 bytes
	ClusterID  string      // at most 256 bytes
	Partitions int         // Q: fixed for the life of the cluster
	Replicas   int         // N
	Secret     []byte      // the cluster's; every node has the same, at least 16 bytes
	Boot       uint64      // random, new at every start of the process
	Listen     string      // host:port; port 0 picks one, see Transport.Addr
	Logger     *slog.Logger

	// Deliver gets each frame that arrives, on the goroutine that reads the connection: one frame at a time per peer, in
	// order. The slices belong to the connection and are valid during the call only. Blocking is backpressure on that
	// peer. A heartbeat is delivered with no messages, for its Header. From is authenticated but need not be among
	// SetPeers. It must return for Close to return, and must not call Close.
	Deliver func(from ring.NodeID, h Header, messages [][]byte)
	// OnLink reports that the link for sending to a peer came up (Send works already) or went down (what was queued is
	// gone). Calls for one peer alternate and never overlap. It must return soon, and must not call Close. May be nil.
	OnLink func(peer ring.NodeID, up bool)
	// Header is asked once per outgoing frame, from several goroutines. May be nil: zeros.
	Header func() Header

	MaxFrame      int // bytes of a frame's body, the same on every node; 8 MiB
	QueueMessages int // messages queued per peer; 65,536
	QueueBytes    int // bytes queued per peer, at least MaxFrame; 64 MiB

	HandshakeTimeout time.Duration // dial, and then the whole handshake; 3 s
	Heartbeat        time.Duration // pause between heartbeats; 1 s
	DeadAfter        time.Duration // silence after which a connection is closed, at least twice Heartbeat; 3 s
	RetryMin         time.Duration // first pause before dialling again; 50 ms
	RetryMax         time.Duration // longest pause, before up to half of it is added or taken at random; 2 s
}

// Header travels with every frame.
type Header struct {
	RingHash uint64 // hash of the ring the sender speaks under
	Stamp    uint64 // highest hybrid logical clock the sender has seen
}

func (h Header) String() string { return fmt.Sprintf("ring %016x stamp %d", h.RingHash, h.Stamp) }

const (
	minSecretBytes = 16
	maxNameBytes   = 256
	minFrameBytes  = 1 << 10
	maxFrameBytes  = 1 << 30
)

// complete returns the config with defaults filled in, or a *ConfigError.
func (c Config) complete() (Config, error) {
	fill(&c.MaxFrame, 8<<20)
	fill(&c.QueueMessages, 1<<16)
	fill(&c.QueueBytes, max(64<<20, c.MaxFrame))
	fill(&c.HandshakeTimeout, 3*time.Second)
	fill(&c.Heartbeat, time.Second)
	fill(&c.DeadAfter, 3*c.Heartbeat)
	fill(&c.RetryMin, 50*time.Millisecond)
	fill(&c.RetryMax, max(2*time.Second, c.RetryMin))
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.OnLink == nil {
		c.OnLink = func(ring.NodeID, bool) {}
	}
	if c.Header == nil {
		c.Header = func() Header { return Header{} }
	}
	rules := []struct {
		ok         bool
		field      string
		got, wants any
	}{
		{c.Self != "" && len(c.Self) <= maxNameBytes, "Self", len(c.Self), "1 to 256 bytes"},
		{c.ClusterID != "" && len(c.ClusterID) <= maxNameBytes, "ClusterID", len(c.ClusterID), "1 to 256 bytes"},
		{c.Partitions > 0, "Partitions", c.Partitions, "above 0"},
		{c.Replicas > 0, "Replicas", c.Replicas, "above 0"},
		{len(c.Secret) >= minSecretBytes, "Secret", len(c.Secret), "at least 16 bytes"},
		{c.Deliver != nil, "Deliver", "nil", "a function"},
		{c.MaxFrame >= minFrameBytes && c.MaxFrame <= maxFrameBytes, "MaxFrame", c.MaxFrame, "1 KiB to 1 GiB"},
		{c.QueueMessages > 0, "QueueMessages", c.QueueMessages, "above 0"},
		{c.QueueBytes >= c.MaxFrame, "QueueBytes", c.QueueBytes, "at least MaxFrame"},
		{c.HandshakeTimeout > 0, "HandshakeTimeout", c.HandshakeTimeout, "above 0"},
		{c.Heartbeat > 0, "Heartbeat", c.Heartbeat, "above 0"},
		{c.DeadAfter >= 2*c.Heartbeat, "DeadAfter", c.DeadAfter, "at least twice Heartbeat"},
		{c.RetryMin > 0 && c.RetryMax >= c.RetryMin, "RetryMax", c.RetryMax, "at least RetryMin, above 0"},
	}
	for _, r := range rules {
		if !r.ok {
			return c, &ConfigError{Field: r.field, Got: fmt.Sprint(r.got), Want: fmt.Sprint(r.wants)}
		}
	}
	return c, nil
}

func fill[T int | time.Duration](field *T, standard T) {
	if *field == 0 {
		*field = standard
	}
}
