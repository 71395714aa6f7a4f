package peer

import (
	"bytes"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/crdt/pack"
	"github.com/cartwheel-db/cartwheel/replica"
)

// The repair of damaged rows.

const (
	kindFetch   kind = 40
	kindFetched kind = 41
)

const minFetchedDeadBytes = 1 + 2 + 2 + 3

func fetchSize(m replica.Fetch) int { return len(m.From) + len(m.Until) }

func appendFetch(b []byte, m replica.Fetch) []byte {
	b = appendPartition(pack.AppendUint(b, m.ID), m.Partition)
	return pack.AppendBytes(pack.AppendBytes(b, m.From), m.Until)
}

// readFetch knows bounds that are there from those that are not by their length:
// no address is empty.
func readFetch(r *pack.Reader) replica.Fetch {
	m := replica.Fetch{ID: r.Uint(), Partition: readPartition(r), From: readBytes(r, maxAddressBytes), Until: readBytes(r, maxAddressBytes)}
	if r.Err() == nil && m.From != nil && m.Until != nil && bytes.Compare(m.From, m.Until) >= 0 {
		r.Fail("addresses from %x until %x", m.From, m.Until)
	}
	return m
}

func fetchedSize(m replica.Fetched) int {
	n := clockSize(m.Clock) + addressedSize(m.Rows)
	for i := range m.Dead {
		k := &m.Dead[i].Key
		n += 8 + len(k.Bucket) + len(k.Name) + clockSize(m.Dead[i].Dots)
	}
	return n
}

func appendFetched(b []byte, m replica.Fetched) []byte {
	b = pack.AppendBool(appendPartition(pack.AppendUint(b, m.ID), m.Partition), m.Failed)
	if m.Failed {
		return b
	}
	b = pack.AppendArray(crdt.AppendClock(b, m.Clock), len(m.Dead))
	for i := range m.Dead {
		b = crdt.AppendClock(appendKey(b, m.Dead[i].Key), m.Dead[i].Dots)
	}
	return appendAddressed(b, m.Rows)
}

func readFetched(r *pack.Reader) replica.Fetched {
	m := replica.Fetched{ID: r.Uint(), Partition: readPartition(r), Failed: r.Bool()}
	if r.Err() != nil || m.Failed {
		return m
	}
	m.Clock = crdt.ReadClock(r)
	m.Dead = list(r, "keys", minFetchedDeadBytes, replica.MaxFetched, func(r *pack.Reader) replica.FetchedDead {
		d := replica.FetchedDead{Key: readKey(r), Dots: crdt.ReadClock(r)}
		if r.Err() == nil {
			refuse(r, d.Key.Check())
		}
		return d
	})
	m.Rows = readAddressed(r)
	if len(m.Rows) > replica.MaxFetched {
		r.Fail("%d rows, limit %d", len(m.Rows), replica.MaxFetched)
	}
	return m
}
