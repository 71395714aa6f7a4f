package gossip

import (
	"cmp"
	"slices"
	"sync"

	"github.com/cartwheel-db/cartwheel/ring"
	"github.com/hashicorp/memberlist"
)

// Peer is another node as it last showed itself.
type Peer struct {
	ID         ring.NodeID
	Boot       uint64 // changes when the process restarts
	GossipAddr string // where to join it
	PeerAddr   string
	APIAddr    string
	RingHash   uint64
	State      State
	Up         bool // memberlist holds it alive (or not yet dead)
}

// table remembers every peer ever met. memberlist forgets the dead after a
// while; the rejoin loop may not.
type table struct {
	mu    sync.Mutex
	known map[ring.NodeID]*peerEntry
	up    int
}

type peerEntry struct {
	Peer
	told Peer // what OnPeer was last told
}

// show records what a node says of itself.
func (t *table) show(m meta, gossipAddr string, up bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	entry := t.known[m.Node]
	if entry == nil {
		entry = &peerEntry{}
		t.known[m.Node] = entry
	}
	switch {
	case up && !entry.Up:
		t.up++
	case !up && entry.Up:
		t.up--
	}
	entry.Peer = Peer{ID: m.Node, Boot: m.Boot, GossipAddr: gossipAddr, PeerAddr: m.peerAddr,
		APIAddr: m.apiAddr, RingHash: m.ringHash, State: m.state, Up: up}
}

// untold returns the peers that changed since it was last asked, by id.
func (t *table) untold() []Peer {
	t.mu.Lock()
	defer t.mu.Unlock()
	var changed []Peer
	for _, entry := range t.known {
		if entry.told != entry.Peer {
			entry.told = entry.Peer
			changed = append(changed, entry.Peer)
		}
	}
	sortPeers(changed)
	return changed
}

func (t *table) all() []Peer {
	t.mu.Lock()
	defer t.mu.Unlock()
	peers := make([]Peer, 0, len(t.known))
	for _, entry := range t.known {
		peers = append(peers, entry.Peer)
	}
	sortPeers(peers)
	return peers
}

func (t *table) isUp(id ring.NodeID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	entry := t.known[id]
	return entry != nil && entry.Up
}

func (t *table) countUp() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.up
}

func sortPeers(peers []Peer) {
	slices.SortFunc(peers, func(a, b Peer) int { return cmp.Compare(a.ID, b.ID) })
}

// packetPath is what memberlist calls. None of it may wait, and buffers are only
// good until it returns.
type packetPath struct{ g *Gossip }

var (
	_ memberlist.Delegate         = packetPath{}
	_ memberlist.EventDelegate    = packetPath{}
	_ memberlist.AliveDelegate    = packetPath{}
	_ memberlist.MergeDelegate    = packetPath{}
	_ memberlist.ConflictDelegate = packetPath{}
)

// NodeMeta is what this node shows of itself.
func (d packetPath) NodeMeta(int) []byte {
	d.g.mu.Lock()
	defer d.g.mu.Unlock()
	return slices.Clone(d.g.shown)
}

// NotifyMsg takes a broadcast.
func (d packetPath) NotifyMsg(b []byte) { d.g.take(b) }

// MergeRemoteState takes the facts of a push/pull.
func (d packetPath) MergeRemoteState(b []byte, _ bool) { d.g.take(b) }

// LocalState gives the facts for a push/pull.
func (d packetPath) LocalState(bool) []byte {
	b, err := encodeFacts(d.g.self, d.g.Facts())
	if err != nil {
		d.g.log.Error("facts cannot be sent", "err", err)
		return nil
	}
	return b
}

// GetBroadcasts gives queued facts room in a packet.
func (d packetPath) GetBroadcasts(overhead, limit int) [][]byte {
	return d.g.broadcasts.GetBroadcasts(overhead, limit)
}

// NotifyAlive refuses whoever does not belong here.
func (d packetPath) NotifyAlive(n *memberlist.Node) error {
	_, err := d.g.admit(n)
	return err
}

// NotifyMerge refuses a join if anybody on the other side does not belong here.
func (d packetPath) NotifyMerge(nodes []*memberlist.Node) error {
	for _, n := range nodes {
		if _, err := d.g.admit(n); err != nil {
			return err
		}
	}
	return nil
}

// NotifyJoin, NotifyUpdate and NotifyLeave note the change for the loop to tell.
func (d packetPath) NotifyJoin(n *memberlist.Node) { d.g.note(n, true) }

// NotifyUpdate is called when the meta changed.
func (d packetPath) NotifyUpdate(n *memberlist.Node) { d.g.note(n, true) }

// NotifyLeave is called for the dead and for those who left.
func (d packetPath) NotifyLeave(n *memberlist.Node) { d.g.note(n, false) }

// NotifyConflict is called when two addresses claim one name.
func (d packetPath) NotifyConflict(here, there *memberlist.Node) {
	d.g.log.Error("one node id at two addresses: was a data directory copied?",
		"node", here.Name, "addr", here.Address(), "other", there.Address())
}
