package gossip

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cartwheel-db/cartwheel/ring"
)

// MaxClusterID bounds the id of a cluster, in bytes.
const MaxClusterID = 64

// Identity is what must agree before two nodes talk at all, and who says so.
type Identity struct {
	Node       ring.NodeID
	Boot       uint64 // random per process: tells a restart from a copied data directory
	ClusterID  string
	Partitions int
	Replicas   int
}

func (id Identity) cluster() string {
	return fmt.Sprintf("cluster %s with %d partitions and %d replicas", id.ClusterID, id.Partitions, id.Replicas)
}

// ForeignError refuses a node of another cluster, or of one with another shape.
type ForeignError struct {
	Addr         string // where it was met, if known
	Theirs, Ours Identity
}

func (e *ForeignError) Error() string {
	at := ""
	if e.Addr != "" {
		at = " at " + e.Addr
	}
	return fmt.Sprintf("gossip: node %s%s belongs to %s; this node to %s", e.Theirs.Node, at, e.Theirs.cluster(), e.Ours.cluster())
}

// TwinError refuses to run beside another process with the same node id: a
// copied data directory, most likely.
type TwinError struct {
	Addr         string
	Theirs, Ours Identity
}

func (e *TwinError) Error() string {
	return fmt.Sprintf("gossip: node %s is running at %s already (boot %016x; this process is boot %016x): was its data directory copied?",
		e.Ours.Node, e.Addr, e.Theirs.Boot, e.Ours.Boot)
}

// admit says whether a node with that identity may talk to this one.
func (id Identity) admit(theirs Identity, addr string) error {
	if theirs.ClusterID != id.ClusterID || theirs.Partitions != id.Partitions || theirs.Replicas != id.Replicas {
		return &ForeignError{Addr: addr, Theirs: theirs, Ours: id}
	}
	return nil
}

// An identity travels in clear in a hello and in front of facts, version 1:
//
//	01 len node boot(8, big endian) len cluster partitions(4) replicas(1)
const (
	identityVersion = 1
	maxIdentity     = 1 + 1 + ring.MaxIDLen + 8 + 1 + MaxClusterID + 4 + 1
)

// ErrMalformed is what every refusal of undecodable bytes matches with errors.Is.
var ErrMalformed = errors.New("malformed gossip")

func (id Identity) append(b []byte) []byte {
	b = append(b, identityVersion, byte(len(id.Node)))
	b = append(b, id.Node...)
	b = binary.BigEndian.AppendUint64(b, id.Boot)
	b = append(b, byte(len(id.ClusterID)))
	b = append(b, id.ClusterID...)
	b = binary.BigEndian.AppendUint32(b, uint32(id.Partitions))
	return append(b, byte(id.Replicas))
}

// cutIdentity reads an identity from the front of b.
func cutIdentity(b []byte) (id Identity, rest []byte, err error) {
	size := len(b)
	malformed := func(format string, args ...any) (Identity, []byte, error) {
		return Identity{}, nil, fmt.Errorf("%w: identity in %d bytes: "+format, append([]any{ErrMalformed, size}, args...)...)
	}
	take := func(n int) []byte {
		if b == nil || n > len(b) {
			b = nil
			return make([]byte, n) // at most 255 bytes: lengths are one byte
		}
		taken := b[:n]
		b = b[n:]
		return taken
	}
	if version := take(1)[0]; b != nil && version != identityVersion {
		return malformed("version %d, this node reads %d", version, identityVersion)
	}
	id.Node = ring.NodeID(take(int(take(1)[0])))
	id.Boot = binary.BigEndian.Uint64(take(8))
	id.ClusterID = string(take(int(take(1)[0])))
	id.Partitions = int(binary.BigEndian.Uint32(take(4)))
	id.Replicas = int(take(1)[0])
	switch {
	case b == nil:
		return malformed("cut short")
	case id.check() != nil:
		return malformed("%w", id.check())
	}
	return id, b, nil
}

func (id Identity) check() error {
	if id.Node == "" || len(id.Node) > ring.MaxIDLen || !printable(string(id.Node)) {
		return fmt.Errorf("node id of %d bytes: must be 1..%d printable characters", len(id.Node), ring.MaxIDLen)
	}
	if id.ClusterID == "" || len(id.ClusterID) > MaxClusterID || !printable(id.ClusterID) {
		return fmt.Errorf("cluster id of %d bytes: must be 1..%d printable characters", len(id.ClusterID), MaxClusterID)
	}
	if id.Partitions == 0 || id.Replicas == 0 {
		return fmt.Errorf("%d partitions and %d replicas", id.Partitions, id.Replicas)
	}
	return ring.Config{Partitions: id.Partitions, Replicas: id.Replicas}.Check()
}

// printable keeps ids that end up in logs and terminals to plain characters.
func printable(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return true
}
