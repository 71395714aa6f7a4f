package replica

import (
	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica/merkle"
)

// A View is one consistent, committed state of a shard's store. What it returns
// stays valid after the view is closed and may be kept, but not changed.
//
// Partitions are independent: p is the partition's number, and every method
// speaks of that partition alone.
type View interface {
	// Partitions lists the partitions that are stored, in order.
	Partitions() ([]int, error)
	// Clock returns the partition's clock; stored is false when this node holds
	// no store of it.
	Clock(p int) (c dvv.Clock, stored bool, err error)

	// Row returns a row, empty when absent.
	Row(p int, a crdt.Address) (crdt.Row, error)
	// Rows calls fn for each row of the key whose field is at least from, in byte
	// order of fields, until fn returns false.
	Rows(p int, k crdt.Key, from string, fn func(field string, r crdt.Row) bool) error
	// AllRows calls fn for each row in the order of address bytes, from the first
	// whose address bytes are at least from; nil begins at the start.
	AllRows(p int, from []byte, fn func(crdt.Address, crdt.Row) bool) error

	// Expiring calls fn for each row of which something expires at or before a moment
	// (milliseconds since the Unix epoch), the earliest first, then in the order of
	// address bytes, until fn returns false. at is [crdt.Row.Expires]. It reads the
	// index from times to rows, not the rows.
	Expiring(p int, until int64, fn func(at int64, a crdt.Address) bool) error
	// Summary returns what is kept of all members of a set together. It is not found
	// where none was put: the set has no rows, or nobody knows.
	Summary(p int, k crdt.Key) (s Summary, found bool, err error)

	// AllSummaries calls fn for each set of which a summary is kept, in order.
	AllSummaries(p int, fn func(crdt.Key, Summary) bool) error

	// Dead returns the dots deferred at a key by clears, empty when none.
	Dead(p int, k crdt.Key) (dvv.Clock, error)
	// AllDead calls fn for each key with deferred dots, in order.
	AllDead(p int, fn func(crdt.Key, dvv.Clock) bool) error
	// DeferredIn calls fn for each deferred dot of a row that is in dots. It reads
	// the index from dots to rows, not the rows.
	DeferredIn(p int, dots dvv.Clock, fn func(dvv.Dot, crdt.Address) bool) error

	// Group returns the logged group that holds d.
	Group(p int, d dvv.Dot) (g crdt.Group, logged bool, err error)
	// Log calls fn for each logged group that has a dot in wanted, ordered by actor
	// and sequence, until fn returns false. size is the encoded size in bytes.
	Log(p int, wanted dvv.Clock, fn func(g crdt.Group, size int) bool) error

	// Remembered returns what is known of an operation.
	Remembered(p int, op crdt.Operation) (m crdt.Remembered, found bool, err error)
	// AllRemembered calls fn for each remembered operation from the given one on,
	// that one included, ordered by time of issue, client and sequence. The zero
	// operation begins at the start.
	AllRemembered(p int, from crdt.Operation, fn func(crdt.Remembered) bool) error

	// Mark returns the partition's durable marks, false when none were put. ready: it
	// has been ready here, holding all that the other owners had. promoting: a
	// snapshot is being promoted in pieces, and rows and clock do not fit until that
	// is done. A partition without a clock may have marks.
	Mark(p int) (ready, promoting bool, err error)
	// Tree returns the bytes of the tree that was last put, nil when there is none.
	Tree(p int) ([]byte, error)
	// Staged returns a record of a snapshot on its way in.
	Staged(p int, key []byte) (value []byte, found bool, err error)
	// AllStaged calls fn for the staged records whose keys are at least from, in
	// byte order, until fn returns false.
	AllStaged(p int, from []byte, fn func(key, value []byte) bool) error
	// Tally tells how many groups a partition logs, how many bytes they take as [Log]
	// counts them, and how many operations it remembers, as of the last commit. It
	// costs no reading.
	Tally(p int) (groups, logBytes, operations int64)
}

// Summary is what a replica knows of a set without reading its members: how many
// rows have something live, and a sum over all its rows. Two replicas with equal
// sums have equal rows, so the count of either is that of both joined.
type Summary = merkle.Summary

// Damage is implemented by errors about stored records that fail their checksum
// or cannot be read. Such a record is never returned. What a walk meets of it is
// skipped and reported when the walk is over, so that one record does not hide
// the others: a walk's error that is a Damage means that fn saw all the rest.
type Damage interface {
	error
	// Record returns the part of the store ("clocks", "rows", "dead", "deferred",
	// "expiring", "summaries", "log", "remembered", "marks", "trees", "staged") and the record's partition and
	// key as they are stored, or as they should be where the store can tell: of a row
	// its address bytes; of a logged group its actor and last sequence, 8 bytes each;
	// of an operation issue time, client and sequence. Both may themselves be damaged,
	// so all that is known is that something lay between the record's neighbours: a
	// look-up that finds nothing right beside such a record tells of it too. Damage
	// below the records is of no part, and partition -1.
	Record() (part string, partition int, key []byte)
}

// A Tx is the shard's single writer: it reads what it wrote itself, and all it
// wrote becomes durable and visible together, or not at all.
type Tx interface {
	View
	// PutClock stores the clock, and with it the partition.
	PutClock(p int, c dvv.Clock) error
	// PutRow replaces row before by after, an empty one by nothing, and keeps the
	// indexes of deferred dots and of expiries in step.
	PutRow(p int, a crdt.Address, before, after crdt.Row) error
	// PutSummary replaces what is kept of a set; the zero Summary removes it.
	PutSummary(p int, k crdt.Key, s Summary) error
	// PutDead replaces the dots deferred at a key; empty removes them.
	PutDead(p int, k crdt.Key, c dvv.Clock) error
	// PutGroup appends a group to the log.
	PutGroup(p int, g *crdt.Group) error
	// DeleteGroup removes a group from the log.
	DeleteGroup(p int, g *crdt.Group) error
	PutRemembered(p int, m *crdt.Remembered) error
	DeleteRemembered(p int, op crdt.Operation) error
	// PutMark replaces the partition's marks; two false ones remove them.
	PutMark(p int, ready, promoting bool) error
	// PutTree keeps the bytes of a tree; nil removes them.
	PutTree(p int, b []byte) error
	// Stage keeps a record of a snapshot on its way in, aside from everything else.
	Stage(p int, key, value []byte) error
	// DropStaged removes the partition's staged records, limit of them at most, and
	// tells whether there are more.
	DropStaged(p int, limit int) (more bool, err error)
	// ReplaceRow replaces a row whatever is stored of it, damaged or not, and
	// rebuilds what the indexes of deferred dots and of expiries say of it.
	ReplaceRow(p int, a crdt.Address, after crdt.Row) error
	// Purge removes a damaged record, named as [Damage] names it: its key may be the
	// damaged part of it. A record that is whole stays.
	Purge(part string, p int, key []byte) error
	// Drop removes everything of a partition, its marks, tree and staged records too.
	Drop(p int) error
}
