package replicatest

import (
	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica"
)

// history is what the clients did and were told.
type history struct {
	ops     []*opRecord
	byID    map[crdt.Operation]*opRecord
	bits    [3]uint // of exact counters: increments so far
	updates [3]uint // of maps whose names begin with sum
}

// opRecord is one mutation, over all its tries.
type opRecord struct {
	client    int
	mutation  *replica.Mutation
	context   dvv.Clock // of the mutation, copied
	partition int
	w         int
	began     int64
	ended     int64 // 0 while under way
	tries     int
	floor     crdt.Stamp       // the highest stamp the client had seen
	knew      []crdt.Operation // of a register: writes the client had seen
	quorate   dvv.Clock        // dots that every read at R had to show when it began
	session   dvv.Clock        // what it was to be read under, when it read

	wild int  // how many disks had been lost, and rings changed, by then
	calm bool // none since, until it was acknowledged

	acked bool
	// The network repeated a forward of it: one copy may be refused, and said to
	// have done nothing, before the other one is done.
	repeated bool
	unknown  bool // a try had an unknown outcome, or none
	result   replica.Result
	groups   []*known
}

func (h *history) init() { h.byID = map[crdt.Operation]*opRecord{} }

func (h *history) add(r *opRecord) {
	h.ops = append(h.ops, r)
	h.byID[r.mutation.Op] = r
}

// minted ties a new group to its operation.
func (h *history) minted(w *World, k *known) {
	if k.group.Op.IsZero() {
		w.checkExpiry(k)
		return
	}
	r := h.byID[k.group.Op]
	if r == nil {
		w.fail("%v was minted for an operation that no client asked for", &k.group)
		return
	}
	k.op = r
	r.groups = append(r.groups, k)
	w.checkMinted(k, r)
}
