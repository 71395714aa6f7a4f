package ring

import (
	"fmt"
	"testing"
)

// Every write and every read asks for the order in which a partition's nodes are
// tried, and goes no further than its owners while they are up.
func BenchmarkInOrder(b *testing.B) {
	for _, nodes := range []int{3, 12} {
		var facts Facts
		for i := range nodes {
			id := NodeID(fmt.Sprintf("n%02d", i))
			if _, err := facts.Add(Fact{Number: uint64(i + 1), Kind: Joined, Node: id, PeerAddr: "h:1", APIAddr: "h:2"}); err != nil {
				b.Fatal(err)
			}
		}
		r, err := Fold(Config{}, facts)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("first/nodes=%d", nodes), func(b *testing.B) {
			b.ReportAllocs()
			for i := range b.N {
				for id := range r.InOrder(i % 256) {
					if id != "" {
						break
					}
				}
			}
		})
	}
}
