package gossip

import (
	"bytes"
	"fmt"
	"io"

	"github.com/cartwheel-db/cartwheel/ring"
	"github.com/hashicorp/memberlist"
	"github.com/vmihailenco/msgpack/v5"
)

// State is what a node says of itself. memberlist's own word for a node that
// went is no help: seen second-hand, a leave looks like a death.
type State uint8

// The life of a node.
const (
	Joining    State = 1 // serves, and fetches what it was never ready for
	Ready      State = 2
	Draining   State = 3 // finishes what it has, takes nothing new
	Left       State = 4 // stopped on purpose
	Recovering State = 5 // serves, and catches up with what it missed while it was away
)

func (s State) String() string {
	if s >= Joining && s <= Recovering {
		return [...]string{"joining", "ready", "draining", "left", "recovering"}[s-1]
	}
	return fmt.Sprintf("state(%d)", uint8(s))
}

// meta is what every node attaches to its pings: a msgpack array, version first,
// of at most 512 bytes.
type meta struct {
	Identity
	peerAddr string
	apiAddr  string
	ringHash uint64
	state    State
}

const (
	metaVersion = 1
	metaFields  = 10
	maxMeta     = memberlist.MetaMaxSize
)

// encode fails when the addresses do not leave room within 512 bytes.
func (m meta) encode() ([]byte, error) {
	var buf bytes.Buffer
	e := msgpack.NewEncoder(&buf)
	// Writes to a buffer do not fail.
	_ = e.EncodeArrayLen(metaFields)
	_ = e.EncodeUint(metaVersion)
	_ = e.EncodeString(string(m.Node))
	_ = e.EncodeString(m.ClusterID)
	_ = e.EncodeUint(uint64(m.Partitions))
	_ = e.EncodeUint(uint64(m.Replicas))
	_ = e.EncodeUint(m.Boot)
	_ = e.EncodeString(m.peerAddr)
	_ = e.EncodeString(m.apiAddr)
	_ = e.EncodeUint(m.ringHash)
	_ = e.EncodeUint(uint64(m.state))
	if buf.Len() > maxMeta {
		return nil, fmt.Errorf("gossip: node meta of %d bytes, at most %d: shorten the peer address (%d bytes) or the api address (%d bytes)",
			buf.Len(), maxMeta, len(m.peerAddr), len(m.apiAddr))
	}
	return buf.Bytes(), nil
}

// decodeMeta accepts what encode writes and nothing else. Lengths are read one
// by one and held against the bytes that are left, because the library's own
// decoder allocates whatever a length claims.
func decodeMeta(b []byte) (meta, error) {
	if len(b) > maxMeta {
		return meta{}, fmt.Errorf("%w: node meta of %d bytes, at most %d", ErrMalformed, len(b), maxMeta)
	}
	in := metaReader{bytes: bytes.NewReader(b)}
	in.decoder = msgpack.NewDecoder(in.bytes)
	in.array()
	if version := in.number("version", 1<<63); in.err == nil && version != metaVersion {
		return meta{}, fmt.Errorf("%w: node meta of version %d, this node reads %d", ErrMalformed, version, metaVersion)
	}
	var m meta
	m.Node = ring.NodeID(in.text("node id", ring.MaxIDLen))
	m.ClusterID = in.text("cluster id", MaxClusterID)
	m.Partitions = int(in.number("partitions", ring.MaxPartitions))
	m.Replicas = int(in.number("replicas", ring.MaxReplicas))
	m.Boot = in.number("boot", 1<<64-1)
	m.peerAddr = in.text("peer address", ring.MaxAddrLen)
	m.apiAddr = in.text("api address", ring.MaxAddrLen)
	m.ringHash = in.number("ring hash", 1<<64-1)
	m.state = State(in.number("state", uint64(Recovering)))
	if in.err != nil {
		return meta{}, fmt.Errorf("%w: node meta of %d bytes: %w", ErrMalformed, len(b), in.err)
	}
	if err := m.check(); err != nil {
		return meta{}, fmt.Errorf("%w: node meta: %w", ErrMalformed, err)
	}
	if m.state < Joining {
		return meta{}, fmt.Errorf("%w: node meta: state %d", ErrMalformed, m.state)
	}
	if again, err := m.encode(); err != nil || !bytes.Equal(again, b) {
		return meta{}, fmt.Errorf("%w: node meta of %d bytes is not in its canonical form", ErrMalformed, len(b))
	}
	return m, nil
}

// metaReader reads one value after another; after its first error, zeros.
type metaReader struct {
	bytes   *bytes.Reader
	decoder *msgpack.Decoder
	err     error
}

func (r *metaReader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, args...)
	}
}

func (r *metaReader) array() {
	if n, err := r.decoder.DecodeArrayLen(); err != nil {
		r.fail("array: %w", err)
	} else if n != metaFields {
		r.fail("array of %d, want %d", n, metaFields)
	}
}

func (r *metaReader) number(what string, limit uint64) uint64 {
	if r.err != nil {
		return 0
	}
	n, err := r.decoder.DecodeUint64()
	switch {
	case err != nil:
		r.fail("%s: %w", what, err)
	case n > limit:
		r.fail("%s %d is above %d", what, n, limit)
	default:
		return n
	}
	return 0
}

func (r *metaReader) text(what string, limit int) string {
	if r.err != nil {
		return ""
	}
	n, err := r.decoder.DecodeBytesLen()
	if err != nil {
		r.fail("%s: %w", what, err)
		return ""
	}
	if n < 0 || n > limit || n > r.bytes.Len() {
		r.fail("%s of %d bytes, at most %d, and %d are left", what, n, limit, r.bytes.Len())
		return ""
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(r.bytes, text); err != nil {
		r.fail("%s: %w", what, err)
	}
	return string(text)
}
