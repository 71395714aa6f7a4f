package cartwheel

import (
	"encoding/binary"
	"math/bits"

	"github.com/cespare/xxhash/v2"

	cartwheelv1 "github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1"
)

// ring is who owns what, as a node told. It never changes; a newer one takes its
// place.
type ring struct {
	shift  int
	owners [][]*member // by partition, in order of preference
}

// member is a node that owns something.
type member struct {
	id string
	at *endpoint // where to reach it; nil when nobody knows
}

// newRing reads the ring from the answer of a node. It is nil for a ring that this
// client does not understand.
func newRing(res *cartwheelv1.ClusterServiceRingResponse, find func(id string) *endpoint) *ring {
	q := len(res.GetPartitions())
	if q == 0 || q&(q-1) != 0 {
		return nil
	}
	r := &ring{shift: 64 - bits.TrailingZeros(uint(q)), owners: make([][]*member, q)}
	members := map[string]*member{}
	for _, p := range res.GetPartitions() {
		if p.GetPartition() >= uint32(q) {
			return nil
		}
		for _, id := range p.GetOwners() {
			if members[id] == nil {
				members[id] = &member{id, find(id)}
			}
			r.owners[p.GetPartition()] = append(r.owners[p.GetPartition()], members[id])
		}
	}
	return r
}

// ownersOf returns the owners of a key.
func (r *ring) ownersOf(bucket, key string) []*member {
	return r.owners[partitionOf(bucket, key, r.shift)]
}

// partitionOf is that of a key: the top bits of xxhash64 over the uvarint length of
// the bucket, the bucket and the key. The contract says so at ClusterService.Ring.
func partitionOf(bucket, key string, shift int) uint64 {
	var length [binary.MaxVarintLen64]byte
	var d xxhash.Digest
	d.Reset()
	_, _ = d.Write(length[:binary.PutUvarint(length[:], uint64(len(bucket)))])
	_, _ = d.WriteString(bucket)
	_, _ = d.WriteString(key)
	return d.Sum64() >> shift
}
