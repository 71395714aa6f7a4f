package replica

import (
	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
)

// StopHolding makes the partition forget that a snapshot is staged: the mutant
// "nohold" of the model.
func (p *Partition) StopHolding() { p.awaited = dvv.Clock{} }

// IgnoreKeys makes an install compare leaves only and overlook clears that one
// side alone has deferred.
func (in *Install) IgnoreKeys() { in.keys = map[crdt.Key]bool{} }
