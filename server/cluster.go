package server

import (
	"context"
	"fmt"
	"time"

	"connectrpc.com/connect"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/replica"
	"github.com/cartwheel-db/cartwheel/ring"
	cartwheelv1 "github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1"
)

// clusterService tells what this node knows, without asking anybody.
type clusterService struct{ *api }

var nodeStates = map[string]cartwheelv1.NodeState{
	Starting:   cartwheelv1.NodeState_NODE_STATE_STARTING,
	Joining:    cartwheelv1.NodeState_NODE_STATE_JOINING,
	Recovering: cartwheelv1.NodeState_NODE_STATE_RECOVERING,
	Ready:      cartwheelv1.NodeState_NODE_STATE_READY,
	Draining:   cartwheelv1.NodeState_NODE_STATE_DRAINING,
	Left:       cartwheelv1.NodeState_NODE_STATE_LEFT,
}

// census is the cluster at one moment: a ring, and a snapshot of the node.
type census struct {
	self   ring.NodeID
	ring   *ring.Ring
	status NodeStatus
	peers  map[ring.NodeID]PeerStatus
}

func (s clusterService) census() census {
	c := census{self: s.backend.Self(), ring: s.backend.Ring(), status: s.backend.Snapshot(), peers: map[ring.NodeID]PeerStatus{}}
	for _, p := range c.status.Peers {
		c.peers[p.ID] = p
	}
	return c
}

// node describes a member; one that the ring does not know has its id alone.
func (c census) node(id ring.NodeID) *cartwheelv1.Node {
	m, member := c.ring.Node(id)
	n := &cartwheelv1.Node{Id: string(id), Zone: m.Zone, Weight: m.Weight, ApiAddress: m.APIAddr, PeerAddress: m.PeerAddr}
	p := c.peers[id]
	switch {
	case id == c.self:
		n.State = nodeStates[c.status.State]
	case p.State == Left && !member:
		n.State = cartwheelv1.NodeState_NODE_STATE_LEFT
	case !p.Alive || p.State == Left: // a member that was stopped comes back
		n.State = cartwheelv1.NodeState_NODE_STATE_UNREACHABLE
	case p.State == "":
		n.State = cartwheelv1.NodeState_NODE_STATE_READY
	default:
		n.State = nodeStates[p.State]
	}
	if p.Addr != "" {
		n.PeerAddress = p.Addr
	}
	return n
}

func ringHash(h uint64) string { return fmt.Sprintf("%016x", h) }

func (s clusterService) Status(context.Context, *connect.Request[cartwheelv1.ClusterServiceStatusRequest]) (*connect.Response[cartwheelv1.ClusterServiceStatusResponse], error) {
	now := s.backend.WallMillis() // before the snapshot, which may have to wait: a client reckons with it
	c := s.census()
	sum := summarize(s.backend.Health())
	c.status.State = sum.state(c.status.State)
	r, w := s.backend.Defaults()
	res := &cartwheelv1.ClusterServiceStatusResponse{
		Node:         c.node(c.self),
		Version:      c.status.Version,
		UptimeMs:     uint64(max(0, time.UnixMilli(now).Sub(c.status.Started).Milliseconds())),
		ServerTimeMs: uint64(now),
		Stamp:        uint64(c.status.Stamp),
		Config: &cartwheelv1.ClusterConfig{
			ClusterId: c.status.ClusterID, R: uint32(r), W: uint32(w),
			N: uint32(c.ring.Config().Replicas), Q: uint32(c.ring.Config().Partitions),
		},
		RingHash:             ringHash(c.ring.Hash()),
		PartitionsStored:     uint32(c.status.Stored),
		PartitionsOwned:      uint32(c.status.Owned),
		PartitionsReady:      uint32(sum.states[replica.Ready]),
		PartitionsHandingOff: uint32(c.status.HandingOff),
		Partitions: &cartwheelv1.PartitionCounts{
			Joining: uint32(sum.states[replica.Joining]), Recovering: uint32(sum.states[replica.Recovering]),
			Ready: uint32(sum.states[replica.Ready]), Draining: uint32(sum.states[replica.Draining]),
		},
		Staleness:    staleness(sum.worst),
		LogGroups:    uint64(sum.groups),
		LogBytes:     uint64(sum.logBytes),
		Operations:   uint64(sum.operations),
		DamagedRows:  uint64(sum.damaged),
		TrimmedEarly: c.status.Totals.TrimmedEarly,
	}
	for _, h := range sum.installs {
		res.Installs = append(res.Installs, install(h))
	}
	for _, p := range c.status.Peers {
		peer := &cartwheelv1.PeerStatus{Node: c.node(p.ID), Alive: p.Alive, Reachable: s.backend.Reachable(p.ID)}
		if depth, known := sum.peers[p.ID]; known {
			peer.AgeMs, peer.MissingEvents = bound(depth.Age), depth.Missing
		}
		if p.RingHash != 0 {
			peer.RingHash = ringHash(p.RingHash)
		}
		res.Peers = append(res.Peers, peer)
	}
	return connect.NewResponse(res), nil
}

func (s clusterService) Members(context.Context, *connect.Request[cartwheelv1.ClusterServiceMembersRequest]) (*connect.Response[cartwheelv1.ClusterServiceMembersResponse], error) {
	c := s.census()
	res := &cartwheelv1.ClusterServiceMembersResponse{}
	for _, m := range c.ring.Members() {
		res.Nodes = append(res.Nodes, c.node(m.ID))
	}
	return connect.NewResponse(res), nil
}

func (s clusterService) Ring(context.Context, *connect.Request[cartwheelv1.ClusterServiceRingRequest]) (*connect.Response[cartwheelv1.ClusterServiceRingResponse], error) {
	r := s.backend.Ring()
	res := &cartwheelv1.ClusterServiceRingResponse{RingHash: ringHash(r.Hash())}
	for p := range r.Config().Partitions {
		res.Partitions = append(res.Partitions, &cartwheelv1.RingPartition{Partition: uint32(p), Owners: texts(r.Owners(p))})
	}
	return connect.NewResponse(res), nil
}

func texts(ids []ring.NodeID) []string {
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = string(id)
	}
	return out
}

var dataTypes = map[cartwheelv1.DataType]crdt.Type{
	cartwheelv1.DataType_DATA_TYPE_SET:      crdt.Set,
	cartwheelv1.DataType_DATA_TYPE_COUNTER:  crdt.Counter,
	cartwheelv1.DataType_DATA_TYPE_REGISTER: crdt.Register,
	cartwheelv1.DataType_DATA_TYPE_BLOB:     crdt.Blob,
	cartwheelv1.DataType_DATA_TYPE_MAP:      crdt.Map,
}

func (s clusterService) Locate(_ context.Context, req *connect.Request[cartwheelv1.ClusterServiceLocateRequest]) (*connect.Response[cartwheelv1.ClusterServiceLocateResponse], error) {
	m := req.Msg
	t, known := dataTypes[m.GetType()]
	if !known {
		unknown := &call{api: s.api, op: "cluster.locate", key: crdt.Key{Bucket: m.GetBucket(), Name: m.GetKey()}}
		return nil, unknown.error(invalidOption(uint64(crdt.Map), uint64(m.GetType()), "type is %v: neither set, counter, register, blob nor map", m.GetType()))
	}
	if _, err := s.call("cluster.locate", t, m.GetBucket(), m.GetKey()); err != nil {
		return nil, err
	}
	c := s.census()
	p := c.ring.Partition(m.GetBucket(), m.GetKey())
	reachable := func(id ring.NodeID) bool { return id == c.self || s.backend.Reachable(id) }
	res := &cartwheelv1.ClusterServiceLocateResponse{Partition: uint32(p), Owners: texts(c.ring.Owners(p))}
	for _, st := range c.ring.Active(p, reachable) {
		a := &cartwheelv1.ActiveNode{Node: c.node(st.Node), Standing: cartwheelv1.Standing_STANDING_PRIMARY, Reachable: true}
		if st.For != "" {
			a.Standing, a.FallbackFor = cartwheelv1.Standing_STANDING_FALLBACK, string(st.For)
		}
		res.Active = append(res.Active, a)
	}
	return connect.NewResponse(res), nil
}
