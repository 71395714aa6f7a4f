package peer

import (
	"math"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/crdt/pack"
	"github.com/cartwheel-db/cartwheel/replica"
	"github.com/cartwheel-db/cartwheel/replica/merkle"
)

// The pulling of snapshots.

const (
	kindCutOpen kind = 30
	kindCutHead kind = 31
	kindCutAsk  kind = 32
	kindCutPage kind = 33
	kindCutDone kind = 34
)

const (
	minKeyBytes       = 1 + 1 + 1
	minClearsBytes    = minKeyBytes + 3
	minSumBytes       = 18
	minOperationBytes = 9
	maxPlaceBytes     = maxAddressBytes + 1
)

func appendCutOpen(b []byte, m replica.CutOpen) []byte {
	return crdt.AppendClock(appendPartition(pack.AppendUint(b, m.ID), m.Partition), m.Clock)
}

func readCutOpen(r *pack.Reader) replica.CutOpen {
	return replica.CutOpen{ID: r.Uint(), Partition: readPartition(r), Clock: crdt.ReadClock(r)}
}

func appendCutHead(b []byte, m replica.CutHead) []byte {
	b = pack.AppendUint(appendPartition(pack.AppendUint(b, m.ID), m.Partition), m.Cut)
	return appendCount(crdt.AppendClock(pack.AppendBool(b, m.Busy), m.Clock), m.Leaves)
}

func readCutHead(r *pack.Reader) replica.CutHead {
	return replica.CutHead{
		ID: r.Uint(), Partition: readPartition(r), Cut: r.Uint(), Busy: r.Bool(), Clock: crdt.ReadClock(r),
		Leaves: int(r.UintMax(merkle.MaxLeaves)),
	}
}

func wantedSize(w replica.Wanted) int {
	n := len(w.Leaves)
	for _, k := range w.Keys {
		n += 8 + len(k.Bucket) + len(k.Name)
	}
	return n
}

func appendCutAsk(b []byte, m replica.CutAsk) []byte {
	b = pack.AppendUint(appendPartition(pack.AppendUint(b, m.ID), m.Partition), m.Cut)
	b = pack.AppendBytes(pack.AppendUint(b, uint64(m.Part)), m.After)
	b = pack.AppendBytes(pack.AppendBool(b, m.Wanted.All), m.Wanted.Leaves)
	b = pack.AppendArray(b, len(m.Wanted.Keys))
	for _, k := range m.Wanted.Keys {
		b = appendKey(b, k)
	}
	return b
}

func readCutAsk(r *pack.Reader) replica.CutAsk {
	return replica.CutAsk{
		ID: r.Uint(), Partition: readPartition(r), Cut: r.Uint(), Part: readCutPart(r), After: readBytes(r, maxPlaceBytes),
		Wanted: replica.Wanted{
			All: r.Bool(), Leaves: readBytes(r, merkle.MaxLeaves/8),
			Keys: list(r, "keys", minKeyBytes, replica.MaxWantedKeys, readCheckedKey),
		},
	}
}

func readCutPart(r *pack.Reader) replica.CutPart {
	p := replica.CutPart(r.UintMax(math.MaxUint8))
	if r.Err() == nil && !p.Valid() {
		r.Fail("part %d of a cut", p)
	}
	return p
}

func readCheckedKey(r *pack.Reader) crdt.Key {
	k := readKey(r)
	if r.Err() == nil {
		refuse(r, k.Check())
	}
	return k
}

func cutPageSize(m *replica.CutPage) int {
	n := len(m.After) + len(m.Next) + groupsSize(m.Groups) + addressedSize(m.Rows) + minSumBytes*len(m.Sums)
	for i := range m.Clears {
		n += 8 + len(m.Clears[i].Key.Bucket) + len(m.Clears[i].Key.Name) + clockSize(m.Clears[i].Dots)
	}
	for i := range m.Operations {
		o := &m.Operations[i]
		n += 80 + 14*(len(o.Dots)+len(o.Voided))
		for _, add := range o.Adds {
			n += 16 + len(add.Row.Bucket) + len(add.Row.Name) + len(add.Row.Field)
		}
	}
	return n
}

// appendCutPage writes the list of the page's part and leaves the others out.
func appendCutPage(b []byte, m replica.CutPage) []byte {
	b = pack.AppendUint(appendPartition(pack.AppendUint(b, m.ID), m.Partition), m.Cut)
	b = pack.AppendBytes(pack.AppendUint(b, uint64(m.Part)), m.After)
	b = pack.AppendBool(b, m.Gone)
	switch m.Part {
	case replica.CutLog:
		b = appendGroups(b, m.Groups)
	case replica.CutClears:
		b = pack.AppendArray(b, len(m.Clears))
		for i := range m.Clears {
			b = crdt.AppendClock(appendKey(b, m.Clears[i].Key), m.Clears[i].Dots)
		}
	case replica.CutSums:
		b = pack.AppendArray(b, len(m.Sums))
		for i := range m.Sums {
			b = pack.AppendBytes(b, m.Sums[i][:])
		}
	case replica.CutRows:
		b = appendAddressed(b, m.Rows)
	case replica.CutOperations:
		b = pack.AppendArray(b, len(m.Operations))
		for i := range m.Operations {
			b = crdt.AppendRemembered(b, &m.Operations[i])
		}
	}
	return pack.AppendBytes(b, m.Next)
}

func readCutPage(r *pack.Reader) replica.CutPage {
	m := replica.CutPage{
		ID: r.Uint(), Partition: readPartition(r), Cut: r.Uint(), Part: readCutPart(r), After: readBytes(r, maxPlaceBytes), Gone: r.Bool(),
	}
	switch m.Part {
	case replica.CutLog:
		m.Groups = readGroups(r)
	case replica.CutClears:
		m.Clears = list(r, "clears", minClearsBytes, unlimited, func(r *pack.Reader) replica.Clears {
			return replica.Clears{Key: readCheckedKey(r), Dots: crdt.ReadClock(r)}
		})
	case replica.CutSums:
		m.Sums = list(r, "sums", minSumBytes, merkle.MaxLeaves, readSum)
	case replica.CutRows:
		m.Rows = readAddressed(r)
	case replica.CutOperations:
		m.Operations = list(r, "operations", minOperationBytes, unlimited, crdt.ReadRemembered)
	}
	m.Next = readBytes(r, maxPlaceBytes)
	return m
}

func appendCutDone(b []byte, m replica.CutDone) []byte {
	return pack.AppendUint(appendPartition(b, m.Partition), m.Cut)
}

func readCutDone(r *pack.Reader) replica.CutDone {
	return replica.CutDone{Partition: readPartition(r), Cut: r.Uint()}
}
