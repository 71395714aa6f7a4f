package cartwheel_test

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	ringpkg "github.com/cartwheel-db/cartwheel/ring"
	cartwheel "github.com/cartwheel-db/cartwheel/sdk"
	cartwheelv1 "github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1"
	"github.com/cartwheel-db/cartwheel/server/servertest"
)

func TestClientAndNodesAgreeOnThePartitionOfAKey(t *testing.T) {
	if got := cartwheel.PartitionOf("carts", "42", 8); got != 227 {
		t.Errorf("carts/42 is in %d, the contract says 227", got)
	}
	rapid.Check(t, func(t *rapid.T) {
		bucket, key := rapid.String().Draw(t, "bucket"), rapid.String().Draw(t, "key")
		q := 1 << rapid.IntRange(0, 16).Draw(t, "log q")
		got, want := cartwheel.PartitionOf(bucket, key, bits.TrailingZeros(uint(q))), ringpkg.Config{Partitions: q}.Partition(bucket, key)
		if got != want {
			t.Fatalf("%q %q is in %d of %d to a client, and in %d to a node", bucket, key, got, q, want)
		}
	})
}

// ringOf makes every partition owned by these nodes, in this order.
func (c *fakeCluster) ringOf(nodes ...int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ring = &cartwheelv1.ClusterServiceRingResponse{RingHash: "beef"}
	for p := range uint32(4) {
		owners := &cartwheelv1.RingPartition{Partition: p}
		for _, n := range nodes {
			owners.Owners = append(owners.Owners, fmt.Sprint("node-", n))
		}
		c.ring.Partitions = append(c.ring.Partitions, owners)
	}
}

// addressesOf makes every node tell where these nodes are.
func (c *fakeCluster) addressesOf(nodes ...*fakeNode) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.addresses = map[string]string{}
	for _, n := range nodes {
		c.addresses[fmt.Sprint("node-", n.number)] = n.server.Listener.Addr().String()
	}
}

func ask(t *testing.T, db *cartwheel.DB) string {
	t.Helper()
	var info cartwheel.Info
	if _, err := db.Counter("stock", "1").With(cartwheel.Report(&info)).Add(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	return info.Endpoint
}

func TestAnOperationGoesToAnOwnerThatNobodyNamed(t *testing.T) {
	cluster, nodes := newCluster(t, 3)
	cluster.ringOf(2, 1)
	cluster.addressesOf(nodes...)
	db := open(t, nodes[:1])
	eventually(t, "the first owner is asked", func() bool { return ask(t, db) == nodes[2].server.URL })
	for range 10 {
		if at := ask(t, db); at != nodes[2].server.URL {
			t.Errorf("answered by %s", at)
		}
	}
	if s := db.Stats(); s.Retries != 0 {
		t.Errorf("it took %d retries", s.Retries)
	}
	nodes[2].plant(counterAdd, cut)
	if at := ask(t, db); at != nodes[1].server.URL {
		t.Errorf("the first owner fails, and %s answers; want the second, %s", at, nodes[1].server.URL)
	}
	if s := db.Stats(); s.Failovers != 1 {
		t.Errorf("%d failovers", s.Failovers)
	}
}

func TestWithoutRoutingTheGivenEndpointIsAsked(t *testing.T) {
	cluster, nodes := newCluster(t, 2)
	cluster.ringOf(1)
	cluster.addressesOf(nodes...)
	db := open(t, nodes[:1], cartwheel.WithoutRouting())
	for range 10 {
		if at := ask(t, db); at != nodes[0].server.URL {
			t.Errorf("answered by %s", at)
		}
	}
	if n := nodes[0].requests("ClusterService/Ring"); n != 0 {
		t.Errorf("the ring was asked for %d times", n)
	}
}

// Owners behind an address translation: nobody waits for them, ever.
func TestOwnersThatCannotBeReachedCostACallNothing(t *testing.T) {
	for _, test := range []struct{ name, address string }{
		{"nobody listens", "127.0.0.1:1"},
		{"packets vanish", "192.0.2.1:7401"}, // of documentation: RFC 5737
		{"it listens everywhere", "[::]:7401"},
		{"no address", ""},
		{"nonsense", "not an address"},
	} {
		t.Run(test.name, func(t *testing.T) {
			cluster, nodes := newCluster(t, 1)
			cluster.ringOf(7)
			cluster.mu.Lock()
			cluster.addresses = map[string]string{"node-7": test.address}
			cluster.mu.Unlock()
			var failed atomic.Int64
			db := open(t, nodes, cartwheel.WithAPI(cartwheel.Stream), cartwheel.WithObserver(func(a cartwheel.Attempt) {
				if a.Err != nil {
					failed.Add(1)
				}
			}))
			eventually(t, "the ring is known", db.Routed)
			for range 50 {
				if at := ask(t, db); at != nodes[0].server.URL {
					t.Fatalf("answered by %s", at)
				}
			}
			if failed.Load() > 0 {
				t.Errorf("%d attempts failed", failed.Load())
			}
		})
	}
}

// The same address is another node's in another network, and may be given away:
// who is there is asked for its name before anything else.
func TestAStrangerAtTheAddressOfAMemberIsAskedForNothing(t *testing.T) {
	for _, api := range []cartwheel.API{cartwheel.Unary, cartwheel.Stream} {
		cluster, nodes := newCluster(t, 1)
		other, strangers := newCluster(t, 1)
		cluster.ringOf(7)
		cluster.mu.Lock()
		cluster.addresses = map[string]string{"node-7": strangers[0].server.Listener.Addr().String()}
		cluster.mu.Unlock()
		db := open(t, nodes, cartwheel.WithAPI(api))
		eventually(t, "the stranger was asked who it is", func() bool {
			return ask(t, db) == nodes[0].server.URL && strangers[0].requests("ClusterService/Status") > 0
		})
		for range 50 {
			if at := ask(t, db); at != nodes[0].server.URL {
				t.Fatalf("answered by %s", at)
			}
		}
		other.mu.Lock()
		if len(other.counts) > 0 {
			t.Errorf("the stranger counts %v", other.counts)
		}
		other.mu.Unlock()
	}
}

func TestAnAddressThatWasGivenAwayWhileNobodyAskedIsNotTrusted(t *testing.T) {
	t.Cleanup(cartwheel.TrustFor(50 * time.Millisecond))
	cluster, nodes := newCluster(t, 2)
	cluster.ringOf(1)
	cluster.addressesOf(nodes...)
	db := open(t, nodes[:1])
	eventually(t, "the owner is asked", func() bool { return ask(t, db) == nodes[1].server.URL })
	cluster.mu.Lock()
	nodes[1].number = 9
	cluster.mu.Unlock()
	time.Sleep(100 * time.Millisecond)
	for range 50 {
		if at := ask(t, db); at != nodes[0].server.URL {
			t.Fatalf("answered by %s", at)
		}
	}
}

// Where one of the given endpoints is reached by TLS, nobody is asked without it but
// who was named so.
func TestNodesThatNobodyNamedAreReachedByTLSWhereAnyEndpointIs(t *testing.T) {
	cluster, nodes := newCluster(t, 2)
	cluster.ringOf(1, 0)
	cluster.addressesOf(nodes...)
	db, err := cartwheel.Open(t.Context(), []string{"https://127.0.0.1:1", nodes[0].server.URL}, cartwheel.WithAPI(cartwheel.Unary))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	eventually(t, "the ring is known", db.Routed)
	want := []string{"https://" + nodes[1].server.Listener.Addr().String(), nodes[0].server.URL}
	if got := db.OwnersAt("stock", "1"); !slices.Equal(got, want) {
		t.Errorf("owners are at %v, want %v", got, want)
	}
}

func TestAnOwnerThatComesBackIsAskedAgain(t *testing.T) {
	cluster, nodes := newCluster(t, 2)
	cluster.ringOf(1, 0)
	db := open(t, nodes, cartwheel.WithCooldown(10*time.Millisecond))
	eventually(t, "the owner is asked", func() bool { return ask(t, db) == nodes[1].server.URL })
	nodes[1].plant(counterAdd, cut)
	nodes[1].plant("ClusterService/Status", refuse, refuse)
	if at := ask(t, db); at != nodes[0].server.URL {
		t.Errorf("answered by %s while the owner fails", at)
	}
	eventually(t, "it is asked again", func() bool { return ask(t, db) == nodes[1].server.URL })
	if s := db.Stats(); s.Retries != 1 {
		t.Errorf("%d retries, want the one on which it failed", s.Retries)
	}
}

func TestARingThatChangedIsNoticedByWhoCoordinates(t *testing.T) {
	cluster, nodes := newCluster(t, 2)
	cluster.ringOf(0, 1)
	db := open(t, nodes)
	eventually(t, "the first owner is asked", func() bool { return db.Routed() && ask(t, db) == nodes[0].server.URL })
	cluster.mu.Lock()
	cluster.coordinator = "node-1"
	cluster.mu.Unlock()
	cluster.ringOf(1, 0)
	eventually(t, "the other is the first owner", func() bool { return ask(t, db) == nodes[1].server.URL })
}

// Open meets one node at the address of the balancer. The router then meets the first
// owner there, takes the balancer for it, and when it asks again meets the second.
func TestABalancerIsNotTakenForANode(t *testing.T) {
	cluster, nodes := newCluster(t, 3)
	cluster.ringOf(2, 1)
	cluster.addressesOf(nodes...)
	balancer := newBalancer(t, nodes[0], nodes[2], nodes[1])
	db, err := cartwheel.Open(t.Context(), []string{balancer}, cartwheel.WithAPI(cartwheel.Unary),
		cartwheel.WithAttemptTimeout(patience), cartwheel.WithTimeout(patience)) // or it asks more often
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	eventually(t, "the owner itself is asked", func() bool { return ask(t, db) == nodes[2].server.URL })
	if at, want := db.OwnersAt("stock", "1"), []string{nodes[2].server.URL, nodes[1].server.URL}; !slices.Equal(at, want) {
		t.Errorf("owners are at %v, want %v", at, want)
	}
}

func TestRotationSpreadsReadsOverTheOwners(t *testing.T) {
	cluster, nodes := newCluster(t, 3)
	cluster.ringOf(2, 1)
	db := open(t, nodes, cartwheel.WithRotation())
	eventually(t, "the first owner coordinates", func() bool { return db.Routed() && ask(t, db) == nodes[2].server.URL })
	var before, after []int
	for _, n := range nodes {
		before = append(before, n.requests("CounterService/Get"))
	}
	for range 20 {
		if _, err := db.Counter("stock", "1").Get(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for i, n := range nodes {
		after = append(after, n.requests("CounterService/Get")-before[i])
	}
	if !slices.Equal(after, []int{0, 10, 10}) {
		t.Errorf("20 reads went to %v, want half of them to each owner", after)
	}
}

// Three real nodes, of which one is named: all of it goes to owners, and no
// mutation is handed on.
func TestRoutedMutationsAreNotForwardedByRealNodes(t *testing.T) {
	c := realCluster(t, 3)
	db, err := cartwheel.Open(t.Context(), c.Endpoints()[:1])
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	forwards := func() (n uint64) {
		for _, node := range c.Nodes() {
			n += node.Snapshot().Totals.Forwards
		}
		return n
	}
	add := func(i int) {
		if _, err := db.Counter("stock", fmt.Sprint(i)).Add(t.Context(), 1); err != nil {
			t.Error(err)
		}
	}
	eventually(t, "nothing is handed on any more", func() bool {
		before := forwards()
		for i := range 30 {
			add(i)
		}
		return forwards() == before
	})
	// A node that a busy machine kept from answering for seconds is passed over once.
	eventually(t, "none of 300 mutations at a time is handed on", func() bool {
		before := forwards()
		var running sync.WaitGroup
		for i := range 300 {
			running.Go(func() { add(i) })
		}
		running.Wait()
		return forwards() == before
	})
	for i := range 20 {
		at, err := db.Cluster().Locate(t.Context(), cartwheel.TypeCounter, "stock", fmt.Sprint(i))
		if err != nil {
			t.Fatal(err)
		}
		if got := cartwheel.PartitionOf("stock", fmt.Sprint(i), 4); got != at.Partition {
			t.Errorf("key %d is in %d to the client, and in %d to the node", i, got, at.Partition)
		}
	}
}

func realCluster(t *testing.T, nodes int) *servertest.Cluster {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	c, err := servertest.Start(ctx, nodes)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// A node leaves in mid-stream: whatever was on its way goes to another under the
// same operation id, and counts once.
func TestANodeThatStopsInMidStreamCostsNoIncrement(t *testing.T) {
	eachAPI(t, "by ", func(t *testing.T, api cartwheel.API) {
		c := realCluster(t, 3)
		db, err := cartwheel.Open(t.Context(), c.Endpoints(), cartwheel.WithAPI(api), cartwheel.WithRotation(), cartwheel.WithTimeout(patience))
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		const workers, each = 24, 40
		running := callers(t)
		var done, unknown atomic.Int64
		for w := range workers {
			running.Go(func() {
				for i := range each {
					_, err := db.Counter("stock", fmt.Sprint((w+i)%5)).Add(t.Context(), 1)
					switch {
					case err == nil:
						done.Add(1)
					case errors.Is(err, cartwheel.ErrUnknownOutcome):
						unknown.Add(1)
					default:
						t.Errorf("worker %d: %v", w, err)
					}
				}
			})
		}
		eventually(t, "a good part is done", func() bool { return done.Load() > workers*each/4 })
		limit, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if err := c.Nodes()[1].Close(limit); err != nil {
			t.Errorf("stop: %v", err)
		}
		running.Wait()
		sum := int64(0)
		for i := range 5 {
			value, err := db.Counter("stock", fmt.Sprint(i)).Get(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			sum += value
		}
		if sum < done.Load() || sum > done.Load()+unknown.Load() || done.Load()+unknown.Load() != workers*each {
			t.Errorf("%d were acknowledged and %d are unknown, of %d: the counters say %d", done.Load(), unknown.Load(), workers*each, sum)
		}
	})
}
