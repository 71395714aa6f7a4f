package replica

import (
	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/ring"
)

// A Message goes from one node's shard to another node's. Messages may be lost,
// delayed, repeated and reordered; none of them is an error to repeat. A message
// that was handed out is never changed, by either side.
type Message interface{ message() }

// Replicate carries groups to replicas of their partitions. What one commit of
// a coordinator sends to one peer travels as one message and arrives whole: a
// running total never arrives without the increments of the same commit that it
// includes.
type Replicate struct{ Batch []Shipment }

// Shipment is groups of one partition.
type Shipment struct {
	Partition int
	Groups    []crdt.Group
}

// Acked tells that groups are durable at the sender.
type Acked struct{ Batch []Receipt }

// Receipt names groups of one partition by their first dots.
type Receipt struct {
	Partition int
	Dots      []dvv.Dot
}

// Forward hands a mutation to the node that shall coordinate it.
type Forward struct {
	ID       uint64 // of the sender
	Mutation Mutation
	W        int
	Left     int64 // nanoseconds until the client's deadline
}

// Forwarded is the result of a [Forward].
type Forwarded struct {
	ID     uint64
	Result Result
}

// Asking asks a replica for rows.
type Asking struct {
	ID        uint64 // of the sender
	Partition int
	Query     Query
	MaxStale  int64    // nanoseconds; a replica further behind sounds the others at once. 0: any
	Hashed    bool     // reply without rows when they hash to Hash
	Hash      [16]byte // of [Answer.Hash]
}

// Answered is a replica's reply to [Asking].
type Answered struct {
	ID        uint64
	Ready     bool // the sender is a ready owner of the partition, so the answer counts toward R
	Failed    bool // the rows could not be read; there is no answer
	Same      bool // the rows are those whose hash was sent along, and left out
	Staleness Staleness
	Answer    Answer
}

// Digest opens an exchange: fingerprints of the sender's clocks. A receiver
// whose clock differs replies with [CatchUp]; equal clocks need no reply.
type Digest struct{ Batch []ClockPrint }

// ClockPrint is the fingerprint of one partition's clock.
type ClockPrint struct {
	Partition int
	Print     [16]byte
}

// CatchUp asks for the groups that the sender's clock lacks (rule 3).
type CatchUp struct {
	Partition int
	Clock     dvv.Clock
	Final     bool // do not ask back
}

// Events answers [CatchUp], or follows an [Offer] that found something missing.
type Events struct {
	Partition int
	Groups    []crdt.Group
	More      bool // ask again when these are durable
	Gap       bool // the sender's log does not reach back to all that is missing
	Report    bool // the sender hands off: reply with [Coverage] when these are durable
}

// Offer is sent by a node that stores a partition it does not own, to each
// owner: tell me your durable clock.
type Offer struct {
	Partition int
	Ring      uint64
}

// Coverage is an owner's durable clock, and the ring it counts under.
type Coverage struct {
	Partition int
	Ring      uint64
	Clock     dvv.Clock
}

// Nudge tells a replica that a merged read found it behind the given peer.
type Nudge struct {
	Partition int
	From      ring.NodeID
}

// Sounding asks a member what it has of partitions that the sender owns, in
// order.
type Sounding struct {
	ID    uint64 // of the sender
	Batch []Shown
}

// Shown is what the sender itself has of a partition, durably.
type Shown struct {
	Partition int
	Print     [16]byte  // of its clock
	Open      bool      // it is not ready, and shows its clock
	Clock     dvv.Clock // if Open
}

// Sounded replies to [Sounding], after the commit that was under way when it
// came: what the sender of the reply had minted or taken by then is in its clock.
type Sounded struct {
	ID     uint64
	Ring   uint64
	Active bool    // the asker is on the sender's active lists
	Batch  []Depth // of all partitions that were asked for, in that order
}

// Depth is what a member has of one partition.
type Depth struct {
	Partition int
	Same      bool      // the durable clock has the fingerprint that was sent along
	Ready     bool      // the sender is an owner that is ready, or has been
	Lost      bool      // the asker has shown a clock before that what it shows now does not cover
	Clock     dvv.Clock // durable; left out when it is the same
}

func (Sounding) message()  {}
func (Sounded) message()   {}
func (Replicate) message() {}
func (Acked) message()     {}
func (Forward) message()   {}
func (Forwarded) message() {}
func (Asking) message()    {}
func (Answered) message()  {}
func (Digest) message()    {}
func (CatchUp) message()   {}
func (Events) message()    {}
func (Offer) message()     {}
func (Coverage) message()  {}
func (Nudge) message()     {}

// Outputs of a shard.
type (
	// Send asks the driver to send a message; it may be lost.
	Send struct {
		To      ring.NodeID
		Message Message
	}
	// Reply ends a client's request.
	Reply struct {
		ID     uint64
		Result Result
	}
)
