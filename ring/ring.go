package ring

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"

	"github.com/cespare/xxhash/v2"
)

// Bounds and defaults of a cluster's shape.
const (
	DefaultPartitions = 256
	DefaultReplicas   = 3
	MaxPartitions     = 1 << 16
	MaxReplicas       = 64
)

// Config is the shape of a cluster. It is written once, in the cluster file, and
// never changes. Zero fields take the defaults.
type Config struct {
	Partitions int // Q, a power of two
	Replicas   int // N, owners of a partition
}

func (c Config) withDefaults() Config {
	if c.Partitions == 0 {
		c.Partitions = DefaultPartitions
	}
	if c.Replicas == 0 {
		c.Replicas = DefaultReplicas
	}
	return c
}

// Check says what is wrong with the shape, if anything.
func (c Config) Check() error {
	c = c.withDefaults()
	if q := c.Partitions; q < 1 || q > MaxPartitions || bits.OnesCount(uint(q)) != 1 {
		return fmt.Errorf("ring: %d partitions: must be a power of two within 1..%d", q, MaxPartitions)
	}
	if c.Replicas < 1 || c.Replicas > MaxReplicas {
		return fmt.Errorf("ring: %d replicas: must be within 1..%d", c.Replicas, MaxReplicas)
	}
	return nil
}

// Partition is the partition of a key: the top bits of xxhash64 over the uvarint
// length of the bucket, the bucket and the key. The length keeps ("ab","c") and
// ("a","bc") apart.
func (c Config) Partition(bucket, key string) int {
	var length [binary.MaxVarintLen64]byte
	var d xxhash.Digest
	d.Reset()
	_, _ = d.Write(length[:binary.PutUvarint(length[:], uint64(len(bucket)))])
	_, _ = d.WriteString(bucket)
	_, _ = d.WriteString(key)
	q := uint64(c.withDefaults().Partitions)
	return int(d.Sum64() >> (64 - bits.TrailingZeros64(q)))
}

// Member is a node as the facts describe it.
type Member struct {
	ID       NodeID
	PeerAddr string
	APIAddr  string
	Zone     string
	Weight   uint32 // at least 1
	Joined   uint64 // number of the fact that first made it a member
}

// Ring says who owns what. It never changes once folded and may be shared.
type Ring struct {
	config   Config
	hash     uint64
	members  []Member // by ID
	departed []Member // by ID
	byID     map[NodeID]int
	owners   [][]NodeID // per partition, in preference order
	former   [][]NodeID // per partition: members that once owned it, latest first
}

// Fold replays the facts into a ring. It is pure: same facts, same ring, in
// whatever order they arrived. It fails for a bad config, and when the facts add
// up to more than [MaxMembers] members.
func Fold(cfg Config, facts Facts) (*Ring, error) {
	cfg = cfg.withDefaults()
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	pl := newPlacement(cfg)
	for _, f := range facts.sorted {
		if err := pl.step(f); err != nil {
			return nil, err
		}
	}
	return pl.ring(cfg, hashOf(cfg, facts)), nil
}

func hashOf(cfg Config, facts Facts) uint64 {
	b := binary.AppendUvarint(nil, uint64(cfg.Partitions))
	b = binary.AppendUvarint(b, uint64(cfg.Replicas))
	return xxhash.Sum64(facts.encode(b))
}

// Hash identifies the config and the facts, and so the ring: two nodes with
// equal hashes agree on every owner, and a plan made for one hash holds only
// while the hash is the same.
func (r *Ring) Hash() uint64 { return r.hash }

// Config is the shape the ring was folded with, defaults filled in.
func (r *Ring) Config() Config { return r.config }

// Node finds a current member.
func (r *Ring) Node(id NodeID) (Member, bool) {
	i, ok := r.byID[id]
	if !ok {
		return Member{}, false
	}
	return r.members[i], true
}

// Members are the current members, by id.
func (r *Ring) Members() []Member { return slices.Clone(r.members) }

// Departed are the nodes that left or were replaced, by id, as last described. A
// node of which nothing but its leaving is known appears with its id alone.
func (r *Ring) Departed() []Member { return slices.Clone(r.departed) }

// HasDeparted reports whether the node left or was replaced.
func (r *Ring) HasDeparted(id NodeID) bool {
	_, found := slices.BinarySearchFunc(r.departed, id, func(m Member, id NodeID) int { return cmp.Compare(m.ID, id) })
	return found
}

// Partition is the partition of a key, 0..Q-1.
func (r *Ring) Partition(bucket, key string) int { return r.config.Partition(bucket, key) }

// Owners are the N nodes that own partition p, or all members if they are
// fewer, in preference order. The caller must not write to the slice.
func (r *Ring) Owners(p int) []NodeID { return r.owners[p] }

// Owns reports whether the node is among the owners of p.
func (r *Ring) Owns(id NodeID, p int) bool { return slices.Contains(r.owners[p], id) }

// PartitionsOf are the partitions a node owns, ascending.
func (r *Ring) PartitionsOf(id NodeID) []int {
	var owned []int
	for p := range r.owners {
		if r.Owns(id, p) {
			owned = append(owned, p)
		}
	}
	return owned
}
