package server

import (
	"slices"
	"testing"
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
