package replica

import (
	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
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
	// AllRows calls fn for each row in the order of address bytes.
	AllRows(p int, fn func(crdt.Address, crdt.Row) bool) error

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
	// AllRemembered calls fn for each remembered operation, in order.
	AllRemembered(p int, fn func(crdt.Remembered) bool) error
}

// A Tx is the shard's single writer: it reads what it wrote itself, and all it
// wrote becomes durable and visible together, or not at all.
type Tx interface {
	View
	// PutClock stores the clock, and with it the partition.
	PutClock(p int, c dvv.Clock) error
	// PutRow replaces row before by after, an empty one by nothing, and keeps the
	// index of deferred dots in step.
	PutRow(p int, a crdt.Address, before, after crdt.Row) error
	// PutDead replaces the dots deferred at a key; empty removes them.
	PutDead(p int, k crdt.Key, c dvv.Clock) error
	// PutGroup appends a group to the log.
	PutGroup(p int, g *crdt.Group) error
	// DeleteGroup removes a group from the log.
	DeleteGroup(p int, g *crdt.Group) error
	PutRemembered(p int, m *crdt.Remembered) error
	DeleteRemembered(p int, op crdt.Operation) error
	// Drop removes everything of a partition.
	Drop(p int) error
}
