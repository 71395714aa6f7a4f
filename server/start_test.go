package server

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/cartwheel-db/cartwheel/ring"
)

func TestANodeThatComesBackAloneStillKnowsWhereTheOthersGossip(t *testing.T) {
	c := newTestCluster(t, 3)
	want := []string{c.nodes[1].GossipAddr(), c.nodes[2].GossipAddr()}
	for i := range c.nodes {
		c.stop(i)
	}
	for range 2 { // it must still know them after it was alone
		c.start(0) // with other addresses than before: that is a new fact, and is stored
		c.stop(0)
		past, err := readFacts(c.config(0).Data)
		if err != nil {
			t.Fatal(err)
		}
		for _, addr := range want {
			if !slices.Contains(past.Seeds, addr) {
				t.Errorf("it knows %v, and not %s any more", past.Seeds, addr)
			}
		}
	}
}

// Peers dial a node that starts again as soon as it listens, before it has
// finished putting itself together.
func TestANodeMayBeCalledWhileItStarts(t *testing.T) {
	c := newTestCluster(t, 2)
	cfg := c.config(1)
	cfg.Peer, cfg.Join = c.nodes[1].PeerAddr(), nil
	for i := range 2 {
		c.stop(1)
		// The ring changes meanwhile: the first frame makes both talk about it.
		n0 := c.nodes[0]
		var news ring.Facts
		if _, err := news.Add(ring.Fact{Number: n0.facts.Next(), Kind: ring.Joined, Node: n0.id, PeerAddr: n0.PeerAddr(), APIAddr: n0.APIAddr(), Weight: uint32(2 + i)}); err != nil {
			t.Fatal(err)
		}
		n0.learn(news)
		// Nobody is there to join: it listens for a while, and gives up.
		alone := cfg
		alone.Join, alone.JoinTimeout = []string{"127.0.0.1:1"}, 2500*time.Millisecond
		if _, err := Start(context.Background(), alone); err == nil {
			t.Fatal("it joined nobody")
		}
		n, err := Start(context.Background(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		c.nodes[1] = n
		c.eventually("both reach each other", func() bool {
			return n.Meets(2) && c.nodes[0].Meets(2)
		})
	}
}
