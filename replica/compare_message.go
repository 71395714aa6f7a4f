package replica

import (
	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica/merkle"
)

// TreeRoots opens a comparison of trees: the sender's roots, and the clocks they
// belong to. The reply is [TreeVerdicts].
type TreeRoots struct {
	ID    uint64 // of the sender
	Batch []TreeRoot
}

// TreeRoot is the root of one partition's tree.
type TreeRoot struct {
	Partition int
	Print     [16]byte // fingerprint of the clock that the rows were summed up under
	Root      merkle.Sum
	Clock     dvv.Clock // that clock, when it was found to be another one before; else empty
}

// TreeVerdicts replies to [TreeRoots].
type TreeVerdicts struct {
	ID    uint64 // of the asker
	Batch []TreeVerdict
}

// TreeVerdict is what the sender finds of one partition.
type TreeVerdict struct {
	Partition int
	Found     Likeness
	Clock     dvv.Clock // the sender's, where it is another one
}

// TreeBranch goes one step down two trees that differ under equal clocks.
type TreeBranch struct {
	ID        uint64 // of who began the walk
	Partition int
	Print     [16]byte // of the sender's clock: a step under another clock ends the walk
	Reply     bool     // from who was asked
	Step      merkle.Step
}

// RowPrints lists the sender's rows in some leaves that differ.
type RowPrints struct {
	ID        uint64
	Partition int
	Print     [16]byte
	Leaves    []int
	Rows      []RowPrint
}

// RowPrint stands for one row.
type RowPrint struct {
	Place uint64 // keyed hash of its address
	Sum   merkle.Sum
}

// RowsApart replies to [RowPrints]: the sender's rows that differ from those that
// were listed, and the places of those that it wants to see.
type RowsApart struct {
	ID        uint64
	Partition int
	Print     [16]byte
	Rows      []AddressedRow
	Wanted    []uint64
}

// AddressedRow is a row and where it belongs.
type AddressedRow struct {
	Address crdt.Address
	Row     crdt.Row
}

// RowsMend carries rows of which sender and receiver shall keep the union.
type RowsMend struct {
	Partition int
	Print     [16]byte
	Rows      []AddressedRow
}

func (TreeRoots) message()    {}
func (TreeVerdicts) message() {}
func (TreeBranch) message()   {}
func (RowPrints) message()    {}
func (RowsApart) message()    {}
func (RowsMend) message()     {}
