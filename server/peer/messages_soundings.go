package peer

import (
	"slices"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/crdt/pack"
	"github.com/cartwheel-db/cartwheel/replica"
	"github.com/cartwheel-db/cartwheel/ring"
)

// Soundings, and the staleness that comes of them.

const (
	kindSounding kind = 13
	kindSounded  kind = 14
)

const (
	minShownBytes = 1 + 18 + 1
	minDepthBytes = 2
)

// The flags of one [replica.Depth]. The clock follows unless it is the same.
const (
	depthSame = 1 << iota
	depthReady
	depthLost
	depthFlags
)

func soundingSize(m replica.Sounding) (n int) {
	for i := range m.Batch {
		n += 24 + clockSize(m.Batch[i].Clock)
	}
	return n
}

func appendSounding(b []byte, m replica.Sounding) []byte {
	b = pack.AppendArray(pack.AppendUint(b, m.ID), len(m.Batch))
	for i := range m.Batch {
		e := &m.Batch[i]
		b = pack.AppendBytes(appendPartition(b, e.Partition), e.Print[:])
		if !e.Open {
			b = pack.AppendArray(b, 0)
			continue
		}
		b = crdt.AppendClock(pack.AppendArray(b, 1), e.Clock)
	}
	return b
}

func readSounding(r *pack.Reader) replica.Sounding {
	return replica.Sounding{ID: r.Uint(), Batch: list(r, "partitions", minShownBytes, unlimited, func(r *pack.Reader) replica.Shown {
		e := replica.Shown{Partition: readPartition(r), Print: readPrint(r)}
		if e.Open = some(r, "clock", 1); e.Open {
			e.Clock = crdt.ReadClock(r)
		}
		return e
	})}
}

func soundedSize(m replica.Sounded) (n int) {
	for i := range m.Batch {
		n += 5 + clockSize(m.Batch[i].Clock)
	}
	return n
}

func appendSounded(b []byte, m replica.Sounded) []byte {
	b = pack.AppendBool(pack.AppendUint(pack.AppendUint(b, m.ID), m.Ring), m.Active)
	b = pack.AppendArray(b, len(m.Batch))
	for i := range m.Batch {
		d := &m.Batch[i]
		flags := uint64(0)
		for _, f := range [...]struct {
			set bool
			bit uint64
		}{{d.Same, depthSame}, {d.Ready, depthReady}, {d.Lost, depthLost}} {
			if f.set {
				flags |= f.bit
			}
		}
		b = pack.AppendUint(appendPartition(b, d.Partition), flags)
		if !d.Same {
			b = crdt.AppendClock(b, d.Clock)
		}
	}
	return b
}

func readSounded(r *pack.Reader) replica.Sounded {
	return replica.Sounded{ID: r.Uint(), Ring: r.Uint(), Active: r.Bool(), Batch: list(r, "partitions", minDepthBytes, unlimited, func(r *pack.Reader) replica.Depth {
		d := replica.Depth{Partition: readPartition(r)}
		flags := r.UintMax(depthFlags - 1)
		d.Same, d.Ready, d.Lost = flags&depthSame != 0, flags&depthReady != 0, flags&depthLost != 0
		if !d.Same {
			d.Clock = crdt.ReadClock(r)
		}
		return d
	})}
}

// appendStaleness writes bounds one higher, so that an unknown one is 0.
func appendStaleness(b []byte, s replica.Staleness) []byte {
	b = pack.AppendUint(pack.AppendUint(b, uint64(s.Bound+1)), uint64(s.Reachable+1))
	b = pack.AppendArray(b, len(s.Missing))
	for _, id := range s.Missing {
		b = pack.AppendString(b, string(id))
	}
	return b
}

func readStaleness(r *pack.Reader) replica.Staleness {
	s := replica.Staleness{
		Bound: int64(r.UintMax(1<<62)) - 1, Reachable: int64(r.UintMax(1<<62)) - 1,
		Missing: list(r, "missing members", 1, unlimited, func(r *pack.Reader) ring.NodeID { return readNode(r) }),
	}
	if !slices.IsSorted(s.Missing) {
		r.Fail("missing members out of order: %v", s.Missing)
	}
	return s
}
