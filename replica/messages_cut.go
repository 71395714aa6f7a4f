package replica

import (
	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica/merkle"
)

// A snapshot is pulled: whoever needs it asks for one page after the other, from
// a cut that the source keeps. Every question may be asked again.
//
//	receiver ── CutOpen ──▶ source     my clock
//	receiver ◀─ CutHead ─── source     the cut's clock
//	receiver ── CutAsk ───▶ source     log, then clears, sums, rows, operations
//	receiver ◀─ CutPage ─── source
//	  …
//	receiver ── CutDone ──▶ source

// CutOpen asks for a cut of a partition.
type CutOpen struct {
	ID        uint64 // of the sender's install
	Partition int
	Clock     dvv.Clock // of the sender: what it has need not be sent
}

// CutHead answers [CutOpen].
type CutHead struct {
	ID        uint64
	Partition int
	Cut       uint64 // of the source; 0 when there is none, and why:
	Busy      bool   // ask again later; otherwise there is nothing to be had
	Clock     dvv.Clock
	Leaves    int // of the cut's tree, 0 when it has none
}

// CutPart is a part of a cut, in the order in which they are asked for.
type CutPart uint8

// The parts.
const (
	CutLog        CutPart = 1 + iota // groups that the asker lacked when the cut was opened
	CutClears                        // the dots that clears deferred, by key
	CutSums                          // of the leaves of the tree
	CutRows                          // those of the leaves and keys that are asked for
	CutOperations                    // remembered, with dots that the asker lacked
	cutPartEnd
)

// Valid tells whether c is one of the parts.
func (c CutPart) Valid() bool { return c > 0 && c < cutPartEnd }

// CutAsk asks for a page of a cut.
type CutAsk struct {
	ID        uint64
	Partition int
	Cut       uint64
	Part      CutPart
	After     []byte // [CutPage.Next] of the page before, empty for the first
	Wanted    Wanted // of rows
}

// Wanted tells which rows of a cut are asked for.
type Wanted struct {
	All    bool
	Leaves []byte     // a bit for each leaf, the lowest first; empty for none
	Keys   []crdt.Key // of which all rows are asked for; at most [MaxWantedKeys]
}

// MaxWantedKeys bounds the keys that [Wanted] names one by one.
const MaxWantedKeys = 1 << 10

// CutPage answers [CutAsk]. It holds at most about 256 KiB, or one record.
type CutPage struct {
	ID         uint64
	Partition  int
	Cut        uint64
	Part       CutPart
	After      []byte       // as it was asked
	Gone       bool         // the source does not keep this cut, or cannot read it: begin anew
	Groups     []crdt.Group // of these lists the part has one
	Clears     []Clears
	Sums       []merkle.Sum
	Rows       []AddressedRow
	Operations []crdt.Remembered
	Next       []byte // where the next page of this part begins, empty when this is the last
}

// Clears are the dots that clears of a key deferred.
type Clears struct {
	Key  crdt.Key
	Dots dvv.Clock
}

// CutDone lets a cut go.
type CutDone struct {
	Partition int
	Cut       uint64
}

func (CutOpen) message() {}
func (CutHead) message() {}
func (CutAsk) message()  {}
func (CutPage) message() {}
func (CutDone) message() {}
