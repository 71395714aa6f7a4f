package replica

import "github.com/cartwheel-db/cartwheel/replica/merkle"

// Miscount makes a partition's tree another one than the sum of its rows, as a
// flipped bit in memory would.
func (s *Shard) Miscount(partition int) {
	t := s.parts[partition].wholeTree()
	t.Apply(0, merkle.Sum{}, merkle.Sum{15: 1})
}

// SliceRows is how many rows one slice of a walk reads.
const SliceRows = sliceRows
