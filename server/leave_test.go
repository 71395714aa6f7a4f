package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cartwheel-db/cartwheel/replica"
	"github.com/cartwheel-db/cartwheel/ring"
)

// commitChange waits until a change has no risks, and commits it at a node.
func (c *cluster) commitChange(at int, change Change) {
	c.t.Helper()
	c.eventually(fmt.Sprintf("the %v is without risk and takes effect", change), func() bool {
		p, err := c.nodes[at].PlanChange(change)
		if err != nil {
			c.t.Fatal(err)
		}
		if len(p.Risks) > 0 {
			return false
		}
		after, err := c.nodes[at].CommitChange(change, p.Before.Hash(), false)
		var stale *StalePlanError
		var risky *RiskyPlanError
		if errors.As(err, &stale) || errors.As(err, &risky) {
			return false
		}
		if err != nil || after.Hash() != p.After.Hash() {
			c.t.Fatalf("%v: %v, ring %v, planned %v", change, err, after, p.After)
		}
		return true
	})
}

// hearsAllReady waits until a node is ready and hears that all others are.
func (c *cluster) hearsAllReady(i int) {
	c.t.Helper()
	c.eventually("all are ready, and it is heard of", func() bool {
		s := c.nodes[i].Snapshot()
		return s.State == Ready && len(s.Peers) == len(c.nodes)-1 && !slices.ContainsFunc(s.Peers, func(p PeerStatus) bool { return !p.Alive || p.State != Ready })
	})
}

func (c *cluster) stored(i int) (stored []int) {
	n := c.nodes[i]
	n.loop.call(func() { stored = n.loop.shard.Stored() })
	return stored
}

func (c *cluster) hasLeft(i int) bool { return c.nodes[i].Snapshot().State == Left }

// load writes until it is stopped, at all nodes it is given, and keeps count of
// what was acknowledged and what may have been.
type load struct {
	stop    chan struct{}
	writers sync.WaitGroup
	mu      sync.Mutex
	acked   map[string]int64
	unknown int
	failed  []string
}

const loadKeys = 24

func (c *cluster) load(nodes ...int) *load {
	l := &load{stop: make(chan struct{}), acked: map[string]int64{}}
	for w, i := range nodes {
		n := c.nodes[i]
		l.writers.Go(func() {
			pace := time.NewTicker(2 * time.Millisecond) // leaves the machine room for the rest
			defer pace.Stop()
			for k := w; ; k++ {
				select {
				case <-l.stop:
					return
				case <-pace.C:
				}
				key := fmt.Sprint("k", k%loadKeys)
				ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
				res, _ := n.Do(ctx, increment(key, 1), 0)
				cancel()
				l.mu.Lock()
				switch {
				case res.Failure == nil:
					l.acked[key]++
				case res.Failure.Unknown:
					l.unknown++
				default:
					l.failed = append(l.failed, res.Failure.Text)
				}
				l.mu.Unlock()
			}
		})
	}
	return l
}

func (l *load) count() (n int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range l.acked {
		n += a
	}
	return n
}

func (l *load) end() {
	close(l.stop)
	l.writers.Wait()
}

// holds checks that every node reads what was acknowledged, and no more than may
// have been written.
func (c *cluster) holds(l *load) {
	c.t.Helper()
	for i, n := range c.nodes {
		if n == nil {
			continue
		}
		var sum int64
		for k := range loadKeys {
			key := fmt.Sprint("k", k)
			got := c.counter(i, key)
			if sum += got; got < l.acked[key] {
				c.t.Errorf("%s at n%d: %d, and %d were acknowledged", key, i, got, l.acked[key])
			}
		}
		if most := l.count() + int64(l.unknown); sum > most {
			c.t.Errorf("at n%d: %d, and at most %d were written", i, sum, most)
		}
	}
	if len(l.failed) > 0 {
		c.t.Errorf("%d writes were refused: %.300s", len(l.failed), l.failed[0])
	}
}

func TestANodeJoinsAndAnotherLeavesUnderWritesAndNothingIsLost(t *testing.T) {
	c := newTestCluster(t, 3)
	writes := c.load(0, 1, 2)
	c.nodes = append(c.nodes, nil)
	c.start(3)
	c.commitChange(3, Change{Node: c.nodes[0].id})
	c.eventually("the leaver has handed everything off", func() bool { return c.hasLeft(0) })
	before := writes.count()
	c.eventually("writes go on, at the one that left too", func() bool { return writes.count() > before+30 })
	writes.end()
	if stored, owned := c.stored(0), len(c.nodes[0].Ring().PartitionsOf(c.nodes[0].id)); len(stored) > 0 || owned > 0 {
		t.Errorf("it stores %v and owns %d", stored, owned)
	}
	c.holds(writes)
	c.stop(0)
	c.holds(writes)
}

// A15: partitions go from one node to a newcomer and back, and come back under
// another actor.
func TestPartitionsThatMoveAwayAndBackUnderWritesLoseNothing(t *testing.T) {
	c := newTestCluster(t, 3)
	writes := c.load(0, 1, 2)
	c.nodes = append(c.nodes, nil)
	c.start(3)
	newcomer := c.nodes[3].id
	var moved []ring.Move
	settled := func() bool {
		for _, n := range c.nodes {
			if s := n.Snapshot(); n.Ring().Hash() != c.nodes[3].Ring().Hash() || s.HandingOff > 0 {
				return false
			}
		}
		return true
	}
	c.eventually("partitions moved to the newcomer, and are dropped where they came from", func() bool {
		dropped := uint64(0)
		for _, n := range c.nodes[:3] {
			dropped += n.Snapshot().Totals.HandedOff
		}
		return settled() && len(c.stored(3)) > 0 && dropped > 0
	})
	c.eventually("it may leave again", func() bool {
		p, err := c.nodes[1].PlanChange(Change{Node: newcomer})
		if err != nil {
			t.Fatal(err)
		}
		moved = ring.Plan(p.Before, p.After)
		return len(p.Risks) == 0
	})
	for _, m := range moved {
		if m.From != newcomer || m.To == "" {
			t.Fatalf("the plan moves %v", m)
		}
	}
	c.commitChange(1, Change{Node: newcomer})
	c.eventually("everything is back", func() bool { return c.hasLeft(3) && settled() })
	writes.end()
	c.stop(3)
	c.holds(writes)
}

// H9.
func TestAPlanIsCommittedOnlyUnderTheRingItWasMadeFor(t *testing.T) {
	c := newTestCluster(t, 4)
	change := Change{Node: c.nodes[1].id}
	shown, err := c.nodes[0].PlanChange(change)
	if err != nil {
		t.Fatal(err)
	}
	c.nodes = append(c.nodes, nil)
	c.start(4) // while the operator looks at it
	c.eventually("the node with the plan has heard of the fifth", func() bool { return len(c.nodes[0].Ring().Members()) == 5 })
	now := c.nodes[0].Ring()
	_, err = c.nodes[0].CommitChange(change, shown.Before.Hash(), true)
	var stale *StalePlanError
	if !errors.As(err, &stale) || stale.Planned != shown.Before.Hash() || stale.Now != now.Hash() || !strings.Contains(err.Error(), "no longer matches") {
		t.Fatalf("got %v, want a refusal with both hashes", err)
	}
	if _, member := c.nodes[0].Ring().Node(change.Node); !member || c.nodes[0].Ring().Hash() != now.Hash() {
		t.Fatal("it was refused and changed something")
	}
	again, err := c.nodes[0].PlanChange(change)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 { // the first answer may be lost
		after, err := c.nodes[0].CommitChange(change, again.Before.Hash(), true)
		if err != nil || after.Hash() != again.After.Hash() {
			t.Fatalf("commit %d: %v, %v, want %v", i+1, err, after, again.After)
		}
	}
	c.eventually("all nodes fold the ring of the plan", func() bool {
		return !slices.ContainsFunc(c.nodes, func(n *Node) bool { return n.Ring().Hash() != again.After.Hash() })
	})
	// Another node, which has heard of it, is asked the same again.
	if _, err := c.nodes[3].CommitChange(change, again.Before.Hash(), true); err != nil || c.nodes[3].Ring().Hash() != again.After.Hash() {
		t.Errorf("at another node: %v", err)
	}
	// And another change under the same plan is none.
	if _, err := c.nodes[3].CommitChange(Change{Node: c.nodes[2].id}, again.Before.Hash(), true); !errors.As(err, &stale) {
		t.Errorf("another node under the plan of the first: %v", err)
	}
}

func TestAChangeThatMakesNoSenseOrIsRiskyIsRefused(t *testing.T) {
	c := newTestCluster(t, 3)
	n0, n1 := c.nodes[0].id, c.nodes[1].id
	for _, test := range []struct {
		name   string
		change Change
		want   string
	}{
		{"somebody unknown", Change{Node: "n9"}, "n9 is no member"},
		{"replaced by somebody unknown", Change{Node: n0, By: "n9"}, "n9 is no member: start it with --join first"},
		{"replaced by itself", Change{Node: n0, By: n0}, "its own place"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := c.nodes[0].PlanChange(test.change)
			var refused *ChangeError
			if !errors.As(err, &refused) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
			if _, err := c.nodes[0].CommitChange(test.change, c.nodes[0].Ring().Hash(), true); !errors.As(err, &refused) {
				t.Errorf("force makes it %v", err)
			}
		})
	}
	c.hearsAllReady(0)
	p, err := c.nodes[0].PlanChange(Change{Node: n1})
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Risks) != 1 || !strings.Contains(p.Risks[0], "2 members would remain, and each partition wants 3 owners") {
		t.Fatalf("two of three: risks %q", p.Risks)
	}
	var risky *RiskyPlanError
	if _, err := c.nodes[0].CommitChange(p.Change, p.Before.Hash(), false); !errors.As(err, &risky) || len(c.nodes[0].Ring().Members()) != 3 {
		t.Fatalf("without force: %v, %v", err, c.nodes[0].Ring())
	}
	c.mustDo(2, increment("k", 5))
	if _, err := c.nodes[0].CommitChange(p.Change, p.Before.Hash(), true); err != nil {
		t.Fatal(err)
	}
	if _, err := c.nodes[0].PlanChange(Change{Node: n1}); err == nil || !strings.Contains(err.Error(), "has departed already") {
		t.Errorf("again: %v", err)
	}
	if _, err := c.nodes[0].PlanChange(Change{Node: n0, By: n1}); err == nil || !strings.Contains(err.Error(), "has departed, and never comes back") {
		t.Errorf("replaced by one who left: %v", err)
	}
	c.eventually("it has handed off to the two that remain", func() bool { return c.hasLeft(1) })
	p, err = c.nodes[2].PlanChange(Change{Node: n0})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.nodes[2].CommitChange(p.Change, p.Before.Hash(), true); err != nil {
		t.Fatal(err)
	}
	c.eventually("and the next one too", func() bool { return c.hasLeft(0) })
	if _, err := c.nodes[2].PlanChange(Change{Node: c.nodes[2].id}); err == nil || !strings.Contains(err.Error(), "the last member") {
		t.Errorf("the last one leaves: %v", err)
	}
	one := increment("k", 0)
	one.Mutation, one.Query = nil, &replica.Query{Key: one.Mutation.Key}
	one.R = 1
	if tally, err := c.mustDo(2, one).Merged.Row("").Tally(); err != nil || fmt.Sprint(tally.Exact()) != "5" {
		t.Errorf("the last one holds %v, %v, want 5", tally.Exact(), err)
	}
}

func TestANodeLeavesWhenTheOneBeforeItIsThrough(t *testing.T) {
	c := newTestCluster(t, 5)
	for i := range 20 {
		c.mustDo(i%5, increment(fmt.Sprint("k", i), 1))
	}
	c.hearsAllReady(0)
	var risks []string
	first, second := Change{Node: c.nodes[4].id}, Change{Node: c.nodes[3].id}
	p, err := c.nodes[0].PlanChange(first)
	if err != nil {
		t.Fatal(err)
	}
	after, err := c.nodes[0].CommitChange(first, p.Before.Hash(), false)
	if err != nil {
		t.Fatal(err)
	}
	// The first hands off in rounds of a second; right after its leaving it is not done.
	if p, err = c.nodes[0].PlanChange(second); err == nil {
		risks = p.Risks
	}
	if len(risks) != 1 || !strings.Contains(risks[0], string(first.Node)+" departed and still hands off") {
		t.Errorf("the second change has the risks %q (%v)", risks, err)
	}
	_, err = c.nodes[0].CommitChange(second, after.Hash(), false)
	if risky := (*RiskyPlanError)(nil); !errors.As(err, &risky) {
		t.Errorf("commit: %v", err)
	}
	c.eventually("the first is through", func() bool { return c.hasLeft(4) })
	c.commitChange(0, second)
}

// H5: what is asked of a node that left is done by the members, or refused; it
// never answers as a ring of its own.
func TestANodeThatLeftAnswersFromTheMembersOrNotAtAll(t *testing.T) {
	c := newTestCluster(t, 4)
	c.mustDo(0, increment("k", 7))
	gone := c.nodes[3].id
	c.commitChange(3, Change{Node: gone})
	for range 20 { // while it hands off, and after
		if res := c.mustDo(3, increment("k", 1)); res.Coordinator == gone {
			t.Fatal("it coordinated a write after it left")
		}
	}
	c.eventually("it has handed everything off", func() bool { return c.hasLeft(3) })
	if got := c.counter(3, "k"); got != 27 {
		t.Errorf("it reads %d, want 27", got)
	}
	departures := c.nodes[3].Departures()
	if len(departures) != 1 || departures[0].ID != gone || departures[0].State != Left || departures[0].Holds != 0 {
		t.Errorf("it says of itself %+v", departures)
	}
	c.eventually("others hear that it is through", func() bool {
		d := c.nodes[0].Departures()
		return len(d) == 1 && d[0].ID == gone && d[0].State == Left && d[0].Holds == 0 && d[0].APIAddr == c.nodes[3].APIAddr()
	})
	for i := range 3 {
		c.stop(i)
	}
	c.eventually("it hears that everybody is gone", func() bool {
		return !slices.ContainsFunc(c.nodes[3].Ring().Members(), func(m ring.Member) bool { return c.nodes[3].Reachable(m.ID) })
	})
	one := increment("k", 1)
	one.W = 1
	if res := c.do(3, one); res.Failure == nil || res.Failure.Reason != replica.NoQuorum || res.Failure.Unknown {
		t.Errorf("a write at W=1 with nobody there: %+v", res)
	}
	if res := c.do(3, replica.Request{Query: &replica.Query{Key: one.Mutation.Key}, R: 1}); res.Failure == nil || res.Failure.Reason != replica.NoQuorum {
		t.Errorf("a read at R=1 with nobody there: %+v", res)
	}
	if stored := c.stored(3); len(stored) > 0 {
		t.Errorf("it stores %v", stored)
	}
}

func TestANodeThatIsStoppedWhileItLeavesGoesOnWhenItIsStartedAndNotOnceItIsThrough(t *testing.T) {
	c := newTestCluster(t, 3)
	for i := range 20 {
		c.mustDo(i%3, increment(fmt.Sprint("k", i), 1))
	}
	c.hearsAllReady(0)
	p, err := c.nodes[0].PlanChange(Change{Node: c.nodes[2].id})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.nodes[0].CommitChange(p.Change, p.Before.Hash(), true); err != nil {
		t.Fatal(err)
	}
	c.eventually("it has heard", func() bool { return c.nodes[2].Ring().HasDeparted(p.Node) })
	c.stop(0) // it cannot hand off all without this owner
	if s := c.nodes[2].Snapshot().State; s != Draining && s != Left {
		t.Errorf("it is %s", s)
	}
	left := c.hasLeft(2)
	c.stop(2)
	if !left {
		c.start(2) // at other addresses than before
		c.start(0)
		c.eventually("it carries on and ends", func() bool { return c.hasLeft(2) })
		c.stop(2)
	}
	cfg := c.config(2)
	cfg.Join = nil
	_, err = Start(context.Background(), cfg)
	var departed *DepartedError
	if !errors.As(err, &departed) || departed.Node != p.Node || !strings.Contains(err.Error(), cfg.Data) {
		t.Errorf("it starts once more: %v", err)
	}
}

func TestANewNodeReplacesADeadOneWhichHandsOffWhatItStillHasShouldItComeBack(t *testing.T) {
	c := newTestCluster(t, 3)
	for i := range 20 {
		c.mustDo(i%3, increment(fmt.Sprint("k", i), 1))
	}
	dead, others := c.nodes[0].id, []ring.NodeID{c.nodes[1].id, c.nodes[2].id}
	c.stop(1)
	c.stop(2)
	c.eventually("the first is alone", func() bool { return !slices.ContainsFunc(others, c.nodes[0].Reachable) })
	alone := increment("k1", 100)
	alone.W = 1
	c.mustDo(0, alone)
	c.stop(0)
	c.start(1)
	c.start(2)
	c.nodes = append(c.nodes, nil)
	c.start(3)
	by := c.nodes[3].id
	change := Change{Node: dead, By: by}
	c.eventually("the others know the new node", func() bool { _, member := c.nodes[1].Ring().Node(by); return member })
	p, err := c.nodes[1].PlanChange(change)
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Notes) != 1 || !strings.Contains(p.Notes[0], string(dead)+" is not heard from") {
		t.Errorf("notes %q", p.Notes)
	}
	c.commitChange(1, change)
	c.eventually("the new node is ready for everything", func() bool {
		return c.nodes[3].Snapshot().State == Ready && len(c.nodes[3].Ring().PartitionsOf(by)) == 16
	})
	for i := range 20 {
		if got := c.counter(3, fmt.Sprint("k", i)); got != 1 {
			t.Errorf("k%d: %d, want 1", i, got)
		}
	}
	c.start(0)
	c.eventually("the dead one came back and handed off what only it had", func() bool { return c.hasLeft(0) && c.counter(3, "k1") == 101 })
	d := c.nodes[0].Departures()
	if len(d) != 1 || d[0].By != by {
		t.Errorf("it says of itself %+v", d)
	}
}
