package server

import (
	"context"
	"time"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica"
	"github.com/cartwheel-db/cartwheel/ring"
)

// Backend is what the API asks of a node. All of it is safe for concurrent use.
type Backend interface {
	// Do runs one request through the shard of its key and returns the node's
	// stamp with the result. It sets r.ID, and r.Deadline from ctx, or 5 s from
	// now where ctx has none. seen is the highest stamp the client has seen.
	Do(ctx context.Context, r replica.Request, seen crdt.Stamp) (replica.Result, crdt.Stamp)
	Self() ring.NodeID
	Ring() *ring.Ring
	Sealer() dvv.Sealer
	// Defaults returns how many replicas a read joins, and how many durable
	// copies a mutation waits for, when the request does not say.
	Defaults() (r, w int)
	// WallMillis is the node's wall clock, in milliseconds since the Unix epoch.
	WallMillis() int64
	Snapshot() NodeStatus
	// Health tells how the partitions are doing that the node owns or stores, in
	// order. It looks at each of them.
	Health() []replica.Health
	// ForceReady makes owned partitions count toward R although they have not
	// caught up, and returns those that did not before.
	ForceReady(partitions []int) []int
	// Verify begins to compare all partitions that the node owns with all their
	// other owners; Verifying tells how far that is.
	Verify()
	Verifying() replica.VerifyReport
	// PlanChange tells what a change of membership comes to, and changes nothing;
	// CommitChange signs it off and returns the ring after it, if the ring is still
	// the one of that hash. Errors: *[ChangeError], *[StalePlanError],
	// *[RiskyPlanError] without force.
	PlanChange(c Change) (*Plan, error)
	CommitChange(c Change, ringHash uint64, force bool) (*ring.Ring, error)
	// Departures lists nodes that departed and still run, by id.
	Departures() []Departure
	// Reachable tells whether the data path accepts messages for a node.
	Reachable(id ring.NodeID) bool
}

// What a node may say of its state. See [NodeStatus] and [PeerStatus].
const (
	Starting   = "starting"   // opening its store and meeting its peers
	Joining    = "joining"    // serves, and fetches partitions that it was never ready for
	Recovering = "recovering" // serves, and catches up
	Ready      = "ready"      // serves and has caught up
	Draining   = "draining"   // finishes what it has begun, or hands off what it stores, and takes nothing new
	Left       = "left"       // departed with nothing left to hand off; of a member that it was stopped on purpose
)

// NodeStatus is what a node says of itself.
type NodeStatus struct {
	State     string // [Starting], [Joining], [Recovering], [Ready] or [Draining]
	Version   string
	ClusterID string
	Started   time.Time
	Stamp     crdt.Stamp // the highest given or seen by any shard

	Stored     int // partitions it holds data of
	Owned      int // partitions it owns
	HandingOff int // held for others and on their way

	Peers  []PeerStatus
	Totals replica.Stats
}

// PeerStatus is how a node finds one of its peers.
type PeerStatus struct {
	ID       ring.NodeID
	Alive    bool   // gossip hears from it: a hint, some seconds behind
	Link     bool   // a connection for sending is up
	Addr     string // of its peer link; empty for what the ring says
	State    string // as for [NodeStatus]; empty is [Ready] of one that is alive
	RingHash uint64 // of the ring it last showed; 0 before it showed any
}
