package cartwheel

import (
	"context"
	"strings"
	"time"

	"connectrpc.com/connect"

	cartwheelv1 "github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1"
)

// Cluster is a handle on the cluster as the endpoint that answers sees it. To
// ask one node and no other, Open it alone; values are then still asked of their
// owners, but for WithoutRouting.
type Cluster struct{ db *DB }

// Cluster returns a handle on the cluster.
func (db *DB) Cluster() *Cluster { return &Cluster{db: db} }

// Node is a member of the cluster.
type Node struct {
	ID          string // UUID, for life
	State       string // starting, joining, recovering, ready, draining, left or unreachable
	Zone        string
	Weight      int
	APIAddress  string // where clients reach it, host:port
	PeerAddress string // where nodes reach it, host:port
}

// Peer is how the answering node finds another.
type Peer struct {
	Node      Node
	Alive     bool   // gossip hears from it: a hint, some seconds behind
	Reachable bool   // the data path accepts messages for it
	RingHash  string // of the ring it last showed

	// In every partition that the answering node owns it holds all that the peer
	// held this long ago; UnknownStaleness if nobody knows.
	Age     time.Duration
	Missing uint64 // events that the peer has shown there, and that it does not hold
}

// Status describes the node that answered.
type Status struct {
	Node       Node
	Version    string
	Uptime     time.Duration
	ServerTime time.Time
	Stamp      uint64 // its hybrid logical clock
	ClusterID  string
	N, R, W, Q int // owners, default reads, default durable writes, partitions
	RingHash   string
	Peers      []Peer
	Stored     int // partitions it holds data of
	Owned      int // partitions it owns
	Ready      int // owned ones in which it has caught up
	HandingOff int // held for others and on their way

	Partitions   PartitionCounts
	Staleness    Staleness // the worst of the partitions it owns
	Installs     []Install
	LogGroups    uint64 // groups of events logged for owners that lack them
	LogBytes     uint64
	Operations   uint64 // operation ids remembered
	DamagedRows  uint64 // that wait to be fetched again
	TrimmedEarly uint64 // groups that left a log at its cap, before every owner had them
}

// PartitionCounts counts partitions by their state; see Partition.
type PartitionCounts struct{ Joining, Recovering, Ready, Draining int }

// Install is a snapshot of a partition on its way to the answering node.
type Install struct {
	Partition int
	From      string // id of the node it comes from
	Phase     string // log, comparing, rows or promoting
	Done      uint64 // rows, or groups of the log
	Total     uint64 // 0 while nobody knows
}

// Status asks a node about itself.
func (c *Cluster) Status(ctx context.Context) (Status, error) {
	res, err := ask(ctx, c.db, &call{op: "cluster.status"}, func(ctx context.Context, e *endpoint) (*connect.Response[cartwheelv1.ClusterServiceStatusResponse], error) {
		return e.cluster.Status(ctx, connect.NewRequest(&cartwheelv1.ClusterServiceStatusRequest{}))
	})
	if err != nil {
		return Status{}, err
	}
	status := Status{
		Node:       node(res.GetNode()),
		Version:    res.GetVersion(),
		Uptime:     time.Duration(res.GetUptimeMs()) * time.Millisecond,
		ServerTime: time.UnixMilli(int64(res.GetServerTimeMs())),
		Stamp:      res.GetStamp(),
		ClusterID:  res.GetConfig().GetClusterId(),
		N:          int(res.GetConfig().GetN()),
		R:          int(res.GetConfig().GetR()),
		W:          int(res.GetConfig().GetW()),
		Q:          int(res.GetConfig().GetQ()),
		RingHash:   res.GetRingHash(),
		Stored:     int(res.GetPartitionsStored()),
		Owned:      int(res.GetPartitionsOwned()),
		Ready:      int(res.GetPartitionsReady()),
		HandingOff: int(res.GetPartitionsHandingOff()),

		Partitions: PartitionCounts{
			int(res.GetPartitions().GetJoining()), int(res.GetPartitions().GetRecovering()),
			int(res.GetPartitions().GetReady()), int(res.GetPartitions().GetDraining()),
		},
		Staleness:    staleness(res.GetStaleness()),
		LogGroups:    res.GetLogGroups(),
		LogBytes:     res.GetLogBytes(),
		Operations:   res.GetOperations(),
		DamagedRows:  res.GetDamagedRows(),
		TrimmedEarly: res.GetTrimmedEarly(),
	}
	for _, i := range res.GetInstalls() {
		status.Installs = append(status.Installs, install(i))
	}
	for _, peer := range res.GetPeers() {
		status.Peers = append(status.Peers, Peer{
			Node: node(peer.GetNode()), Alive: peer.GetAlive(), Reachable: peer.GetReachable(), RingHash: peer.GetRingHash(),
			Age: milliseconds(peer.AgeMs), Missing: peer.GetMissingEvents(),
		})
	}
	return status, nil
}

// Members lists every node, in order of id.
func (c *Cluster) Members(ctx context.Context) ([]Node, error) {
	res, err := ask(ctx, c.db, &call{op: "cluster.members"}, func(ctx context.Context, e *endpoint) (*connect.Response[cartwheelv1.ClusterServiceMembersResponse], error) {
		return e.cluster.Members(ctx, connect.NewRequest(&cartwheelv1.ClusterServiceMembersRequest{}))
	})
	var nodes []Node
	for _, member := range res.GetNodes() {
		nodes = append(nodes, node(member))
	}
	return nodes, err
}

// Ring is who owns what.
type Ring struct {
	Hash   string     // equal hashes are equal rings
	Owners [][]string // ids by partition, in order of preference
}

// Ring lists the owners of every partition.
func (c *Cluster) Ring(ctx context.Context) (Ring, error) {
	res, err := ask(ctx, c.db, &call{op: "cluster.ring"}, func(ctx context.Context, e *endpoint) (*connect.Response[cartwheelv1.ClusterServiceRingResponse], error) {
		return e.cluster.Ring(ctx, connect.NewRequest(&cartwheelv1.ClusterServiceRingRequest{}))
	})
	if err != nil {
		return Ring{}, err
	}
	ring := Ring{Hash: res.GetRingHash(), Owners: make([][]string, len(res.GetPartitions()))}
	for i, partition := range res.GetPartitions() {
		ring.Owners[i] = partition.GetOwners()
	}
	return ring, nil
}

// DataType is a type of value.
type DataType string

// The types of value.
const (
	TypeSet      DataType = "set"
	TypeCounter  DataType = "counter"
	TypeRegister DataType = "register"
	TypeBlob     DataType = "blob"
	TypeMap      DataType = "map"
)

// Location is where a key lives.
type Location struct {
	Partition int
	Owners    []string     // ids, in order of preference
	Active    []ActiveNode // whom the answering node would turn to now, in that order
}

// ActiveNode is one entry of an active list.
type ActiveNode struct {
	Node        Node
	FallbackFor string // id of the owner it stands in for; empty for an owner
	Reachable   bool
}

// Locate tells where the value of a type, bucket and key lives.
func (c *Cluster) Locate(ctx context.Context, dataType DataType, bucket, key string) (Location, error) {
	request := &cartwheelv1.ClusterServiceLocateRequest{
		// An unknown type is 0 here, which the server refuses.
		Type:   cartwheelv1.DataType(cartwheelv1.DataType_value["DATA_TYPE_"+strings.ToUpper(string(dataType))]),
		Bucket: bucket, Key: key,
	}
	in := &call{op: "cluster.locate", bucket: bucket, key: key}
	if err := in.checkNames(); err != nil {
		return Location{}, err
	}
	res, err := ask(ctx, c.db, in, func(ctx context.Context, e *endpoint) (*connect.Response[cartwheelv1.ClusterServiceLocateResponse], error) {
		return e.cluster.Locate(ctx, connect.NewRequest(request))
	})
	if err != nil {
		return Location{}, err
	}
	location := Location{Partition: int(res.GetPartition()), Owners: res.GetOwners()}
	for _, active := range res.GetActive() {
		location.Active = append(location.Active, ActiveNode{Node: node(active.GetNode()), FallbackFor: active.GetFallbackFor(), Reachable: active.GetReachable()})
	}
	return location, nil
}

func node(n *cartwheelv1.Node) Node {
	return Node{
		ID:          n.GetId(),
		State:       lower(n.GetState().String(), "NODE_STATE_"),
		Zone:        n.GetZone(),
		Weight:      int(n.GetWeight()),
		APIAddress:  n.GetApiAddress(),
		PeerAddress: n.GetPeerAddress(),
	}
}
