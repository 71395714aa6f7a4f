package server

import (
	"testing"

	"github.com/cartwheel-db/cartwheel/ring"
)

// Every frame bears the sender's ring hash, and another hash than one's own is
// answered with facts: nodes agree on the ring even while gossip is late.
func TestAPeerUnderAnotherRingIsSentTheFactsOverTheLink(t *testing.T) {
	c := newTestCluster(t, 2)
	var heard ring.Facts
	if _, err := heard.Add(ring.Fact{Number: 100, Kind: ring.Joined, Node: "absent", PeerAddr: "127.0.0.1:1", APIAddr: "127.0.0.1:2", Weight: 1}); err != nil {
		t.Fatal(err)
	}
	if err := c.nodes[0].merge(heard); err != nil { // and not a word to gossip
		t.Fatal(err)
	}
	c.eventually("the other node folds the same ring", func() bool {
		return len(c.nodes[1].Ring().Members()) == 3 && c.nodes[0].Ring().Hash() == c.nodes[1].Ring().Hash()
	})
}
