package peer

import (
	"slices"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/crdt/pack"
	"github.com/cartwheel-db/cartwheel/replica"
	"github.com/cartwheel-db/cartwheel/replica/merkle"
)

// The comparison of Merkle trees.

const (
	kindTreeRoots    kind = 20
	kindTreeVerdicts kind = 21
	kindTreeBranch   kind = 22
	kindRowPrints    kind = 23
	kindRowsApart    kind = 24
	kindRowsMend     kind = 25
)

const (
	minRootBytes      = 1 + 18 + 18 + 3
	minVerdictBytes   = 1 + 1 + 3
	minNodeBytes      = 1 + 18
	minRowPrintBytes  = 1 + 18
	minAddressedBytes = 2 + 7 + 2
	maxAddressBytes   = 2 + crdt.MaxBucket + 2 + crdt.MaxKey + 1 + crdt.MaxPath
	maxTreeLevel      = 16
)

func treeRootsSize(m replica.TreeRoots) (n int) {
	for i := range m.Batch {
		n += 48 + clockSize(m.Batch[i].Clock)
	}
	return n
}

func appendTreeRoots(b []byte, m replica.TreeRoots) []byte {
	b = pack.AppendArray(pack.AppendUint(b, m.ID), len(m.Batch))
	for i := range m.Batch {
		e := &m.Batch[i]
		b = pack.AppendBytes(appendPartition(b, e.Partition), e.Print[:])
		b = crdt.AppendClock(pack.AppendBytes(b, e.Root[:]), e.Clock)
	}
	return b
}

func readTreeRoots(r *pack.Reader) replica.TreeRoots {
	return replica.TreeRoots{ID: r.Uint(), Batch: list(r, "roots", minRootBytes, unlimited, func(r *pack.Reader) replica.TreeRoot {
		return replica.TreeRoot{Partition: readPartition(r), Print: readPrint(r), Root: readSum(r), Clock: crdt.ReadClock(r)}
	})}
}

func readSum(r *pack.Reader) merkle.Sum { return merkle.Sum(readPrint(r)) }

func treeVerdictsSize(m replica.TreeVerdicts) (n int) {
	for i := range m.Batch {
		n += 8 + clockSize(m.Batch[i].Clock)
	}
	return n
}

func appendTreeVerdicts(b []byte, m replica.TreeVerdicts) []byte {
	b = pack.AppendArray(pack.AppendUint(b, m.ID), len(m.Batch))
	for i := range m.Batch {
		v := &m.Batch[i]
		b = crdt.AppendClock(pack.AppendUint(appendPartition(b, v.Partition), uint64(v.Found)), v.Clock)
	}
	return b
}

func readTreeVerdicts(r *pack.Reader) replica.TreeVerdicts {
	return replica.TreeVerdicts{ID: r.Uint(), Batch: list(r, "verdicts", minVerdictBytes, unlimited, func(r *pack.Reader) replica.TreeVerdict {
		v := replica.TreeVerdict{Partition: readPartition(r), Found: replica.Likeness(r.UintMax(255)), Clock: crdt.ReadClock(r)}
		if r.Err() == nil && !v.Found.Valid() {
			r.Fail("a verdict of no known kind: %d", v.Found)
		}
		return v
	})}
}

func appendTreeBranch(b []byte, m replica.TreeBranch) []byte {
	b = pack.AppendBytes(appendPartition(pack.AppendUint(b, m.ID), m.Partition), m.Print[:])
	b = appendCount(pack.AppendBool(b, m.Reply), m.Step.Level)
	b = pack.AppendArray(b, len(m.Step.Indices))
	for i, index := range m.Step.Indices {
		b = pack.AppendBytes(appendCount(b, index), m.Step.Sums[i][:])
	}
	return b
}

// readTreeBranch leaves the check of the step to the tree that it is held against.
func readTreeBranch(r *pack.Reader) replica.TreeBranch {
	m := replica.TreeBranch{ID: r.Uint(), Partition: readPartition(r), Print: readPrint(r), Reply: r.Bool()}
	m.Step.Level = int(r.UintMax(maxTreeLevel))
	n := count(r, "nodes", minNodeBytes)
	if r.Err() != nil || n == 0 {
		return m
	}
	m.Step.Indices, m.Step.Sums = make([]int, n), make([]merkle.Sum, n)
	for i := range n {
		m.Step.Indices[i], m.Step.Sums[i] = int(r.UintMax(merkle.MaxLeaves-1)), readSum(r)
	}
	return m
}

func appendRowPrints(b []byte, m replica.RowPrints) []byte {
	b = pack.AppendBytes(appendPartition(pack.AppendUint(b, m.ID), m.Partition), m.Print[:])
	b = pack.AppendArray(b, len(m.Leaves))
	for _, leaf := range m.Leaves {
		b = appendCount(b, leaf)
	}
	b = pack.AppendArray(b, len(m.Rows))
	for i := range m.Rows {
		b = pack.AppendBytes(pack.AppendUint(b, m.Rows[i].Place), m.Rows[i].Sum[:])
	}
	return b
}

func readRowPrints(r *pack.Reader) replica.RowPrints {
	return replica.RowPrints{
		ID: r.Uint(), Partition: readPartition(r), Print: readPrint(r),
		Leaves: list(r, "leaves", 1, merkle.MaxLeaves, func(r *pack.Reader) int { return int(r.UintMax(merkle.MaxLeaves - 1)) }),
		Rows: list(r, "rows", minRowPrintBytes, unlimited, func(r *pack.Reader) replica.RowPrint {
			return replica.RowPrint{Place: r.Uint(), Sum: readSum(r)}
		}),
	}
}

func addressedSize(rows []replica.AddressedRow) (n int) {
	for i := range rows {
		a, row := &rows[i].Address, &rows[i].Row
		n += 20 + len(a.Bucket) + len(a.Name) + len(a.Field) + 14*len(row.Deferred)
		for j := range row.Live {
			n += 20 + len(row.Live[j].Payload)
		}
	}
	return n
}

func appendAddressed(b []byte, rows []replica.AddressedRow) []byte {
	b = pack.AppendArray(b, len(rows))
	for i := range rows {
		b = crdt.AppendRow(pack.AppendBytes(b, rows[i].Address.AppendBinary(nil)), rows[i].Row)
	}
	return b
}

func readAddressed(r *pack.Reader) []replica.AddressedRow {
	return list(r, "rows", minAddressedBytes, unlimited, func(r *pack.Reader) replica.AddressedRow {
		raw := r.Bytes(maxAddressBytes)
		if r.Err() != nil {
			return replica.AddressedRow{}
		}
		a, err := crdt.DecodeAddress(raw)
		refuse(r, err)
		if err != nil {
			return replica.AddressedRow{}
		}
		return replica.AddressedRow{Address: a, Row: crdt.ReadRow(r, a.RowType())}
	})
}

func appendRowsApart(b []byte, m replica.RowsApart) []byte {
	b = pack.AppendBytes(appendPartition(pack.AppendUint(b, m.ID), m.Partition), m.Print[:])
	b = pack.AppendArray(appendAddressed(b, m.Rows), len(m.Wanted))
	for _, place := range m.Wanted {
		b = pack.AppendUint(b, place)
	}
	return b
}

func readRowsApart(r *pack.Reader) replica.RowsApart {
	m := replica.RowsApart{
		ID: r.Uint(), Partition: readPartition(r), Print: readPrint(r), Rows: readAddressed(r),
		Wanted: list(r, "places", 1, unlimited, (*pack.Reader).Uint),
	}
	if r.Err() == nil && !slices.IsSorted(m.Wanted) {
		r.Fail("places out of order")
	}
	return m
}

func appendRowsMend(b []byte, m replica.RowsMend) []byte {
	return appendAddressed(pack.AppendBytes(appendPartition(b, m.Partition), m.Print[:]), m.Rows)
}

func readRowsMend(r *pack.Reader) replica.RowsMend {
	return replica.RowsMend{Partition: readPartition(r), Print: readPrint(r), Rows: readAddressed(r)}
}
