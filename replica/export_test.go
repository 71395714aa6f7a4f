package replica

import (
	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
)

// StopHolding makes the partition forget that a snapshot is staged: the mutant
// "nohold" of the model.
func (p *Partition) StopHolding() { p.awaited = dvv.Clock{} }

// Header returns the bytes of a promotion in pieces, and ReadHeader reads them.
func (in *Install) Header() []byte { return in.appendHeader(nil) }

// ReadHeader reads what [Install.Header] returned.
func ReadHeader(b []byte) (*Install, error) {
	in := &Install{}
	return in, in.readHeader(b)
}

// At lets a promotion stand at a step and a place within it.
func (in *Install) At(s int, at []byte) *Install {
	in.step, in.at = step(s), at
	return in
}

// IgnoreKeys makes an install compare leaves only and overlook clears that one
// side alone has deferred.
func (in *Install) IgnoreKeys() { in.keys = map[crdt.Key]bool{} }
