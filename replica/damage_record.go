package replica

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
)

// Parts of a store, as [Damage] names them.
const (
	partClocks     = "clocks"
	partRows       = "rows"
	partDead       = "dead"
	partDeferred   = "deferred"
	partExpiring   = "expiring"
	partSummaries  = "summaries"
	partLog        = "log"
	partRemembered = "remembered"
	partMarks      = "marks"
)

// record names a stored record, damaged as its name may be.
type record struct {
	part      string
	partition int
	key       string
}

func (r record) compare(o record) int {
	if r.partition != o.partition {
		return r.partition - o.partition
	}
	if c := strings.Compare(r.part, o.part); c != 0 {
		return c
	}
	return strings.Compare(r.key, o.key)
}

func (r record) String() string {
	switch r.part {
	case partRows:
		if a, err := crdt.DecodeAddress([]byte(r.key)); err == nil {
			return fmt.Sprintf("row %v of partition %d", a, r.partition)
		}
	case partLog:
		if len(r.key) == 16 {
			return fmt.Sprintf("logged group that ends with %v in partition %d", r.dot(), r.partition)
		}
	}
	return fmt.Sprintf("record %x in %s of partition %d", r.key, r.part, r.partition)
}

// dot is that of a logged group's last event.
func (r record) dot() dvv.Dot {
	if len(r.key) != 16 {
		return dvv.Dot{}
	}
	b := []byte(r.key)
	return dvv.Dot{Actor: dvv.Actor(binary.BigEndian.Uint64(b)), Seq: binary.BigEndian.Uint64(b[8:])}
}

func insertRecord(list []record, r record) ([]record, bool) {
	at, found := slices.BinarySearchFunc(list, r, record.compare)
	if found {
		return list, false
	}
	return slices.Insert(list, at, r), true
}

func deleteRecord(list []record, r record) []record {
	if at, found := slices.BinarySearchFunc(list, r, record.compare); found {
		return slices.Delete(list, at, at+1)
	}
	return list
}

// eachDamage calls fn for the damaged records that an error tells of. It returns
// false when the error tells of anything else, or of damage below the records,
// after which nothing of a store can be trusted.
func eachDamage(err error, fn func(record)) (only bool) {
	switch e := err.(type) { //nolint:errorlint // the whole tree of errors is gone through, level by level
	case nil:
		return false
	case Damage:
		part, partition, key := e.Record()
		if partition < 0 {
			return false
		}
		fn(record{part, partition, string(key)})
		return true
	case interface{ Unwrap() error }:
		return eachDamage(e.Unwrap(), fn)
	case interface{ Unwrap() []error }:
		only = true
		for _, err := range e.Unwrap() {
			only = eachDamage(err, fn) && only
		}
		return only
	}
	return false
}

// operation returns which operation a damaged record stood for.
func (r record) operation() (op crdt.Operation, ok bool) {
	b := []byte(r.key)
	if r.part != partRemembered || len(b) != 32 {
		return op, false
	}
	op.Issued, op.Seq = int64(binary.BigEndian.Uint64(b)), binary.BigEndian.Uint64(b[24:])
	copy(op.Client[:], b[8:24])
	return op, true
}
