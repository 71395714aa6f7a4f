package replica_test

import (
	"strings"
	"testing"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica"
	"github.com/cartwheel-db/cartwheel/replica/replicatest"
	"github.com/cartwheel-db/cartwheel/ring"
)

// What the simulation found, told as small stories: three nodes whose messages
// are carried by hand.

const milli = int64(1e6)

// trio is nodes n1, n2 and n3 of a ring with one partition, owned by all. first
// is the order in which it asks them.
type trio struct {
	t     *testing.T
	now   int64
	nodes map[ring.NodeID]*member
	first []ring.NodeID
	ring  *ring.Ring
}

type member struct {
	id    ring.NodeID
	shard *replica.Shard
	store *replicatest.MemStore
	sends []replica.Send
	reply []replica.Reply

	damage damage // of its store
	skew   int64  // milliseconds that its wall clock is ahead
}

func newTrio(t *testing.T, set func(*replica.Config)) *trio { return newTrioOwned(t, 3, set) }

// newTrioOwned is a trio of which the first nodes of the walk own the partition.
func newTrioOwned(t *testing.T, owners int, set func(*replica.Config)) *trio {
	t.Helper()
	return newCrowd(t, 3, owners, set)
}

// newCrowd is as many nodes as one likes.
func newCrowd(t *testing.T, nodes, owners int, set func(*replica.Config)) *trio {
	t.Helper()
	return newCrowdOf(t, nodes, owners, 1, set)
}

func newCrowdOf(t *testing.T, nodes, owners, partitions int, set func(*replica.Config)) *trio {
	t.Helper()
	var facts ring.Facts
	for i, id := range []ring.NodeID{"n1", "n2", "n3", "n4", "n5"}[:nodes] {
		if _, err := facts.Add(ring.Fact{Number: uint64(i + 1), Kind: ring.Joined, Node: id, PeerAddr: string(id) + ":1", APIAddr: string(id) + ":2"}); err != nil {
			t.Fatal(err)
		}
	}
	r, err := ring.Fold(ring.Config{Partitions: partitions, Replicas: owners}, facts)
	if err != nil {
		t.Fatal(err)
	}
	w := &trio{t: t, nodes: map[ring.NodeID]*member{}, first: r.Walk(0), ring: r}
	for i, id := range w.first {
		m := &member{id: id, store: replicatest.NewMemStore()}
		w.nodes[id] = m
		w.open(m, dvv.Actor(1+i), set)
	}
	return w
}

func (w *trio) open(m *member, actor dvv.Actor, set func(*replica.Config)) {
	w.t.Helper()
	next := actor + 100
	cfg := replica.Config{NoBarrier: true, Self: m.id, NewActor: func() dvv.Actor { next++; return next }, Read: func(fn func(replica.View) error) error { return fn(m.damage.of(m.store.View())) },
		Hold: func() (replica.View, func() error, error) {
			return m.damage.of(m.store.View()), func() error { return nil }, nil
		}}
	if set != nil {
		set(&cfg)
	}
	var err error
	if m.shard, err = replica.New(cfg, actor, w.ring, w.clock()); err != nil {
		w.t.Fatal(err)
	}
	for _, id := range w.first {
		m.shard.SetPeer(w.clock(), id, true)
		m.shard.SetLink(w.clock(), id, true)
	}
	m.take()
	m.sends = nil
}

func (w *trio) clock() replica.Now {
	return replica.Now{Mono: 1 + w.now, Wall: 1_750_000_000_000 + w.now/milli}
}

// clockOf is the clock of a node.
func (w *trio) clockOf(m *member) replica.Now {
	now := w.clock()
	now.Wall += m.skew
	return now
}

// node is the i-th of the partition's walk: 0 coordinates while it is up.
func (w *trio) node(i int) *member { return w.nodes[w.first[i]] }

func (m *member) take() {
	for _, o := range m.shard.Outputs() {
		switch o := o.(type) {
		case replica.Send:
			m.sends = append(m.sends, o)
		case replica.Reply:
			m.reply = append(m.reply, o)
		}
	}
}

// pass lets time pass at a node.
func (w *trio) pass(m *member, ms int64) {
	for until := w.now + ms*milli; w.now < until; {
		w.now = min(until, max(w.now+1, m.shard.NextTick()-1))
		m.shard.Tick(w.clockOf(m))
		m.take()
	}
}

func (w *trio) ask(m *member, r replica.Request) {
	m.shard.Request(w.clockOf(m), r)
	m.take()
}

func (w *trio) add(m *member, id uint64, seq uint64, member string, ms int64) {
	w.ask(m, replica.Request{ID: id, Deadline: w.clock().Mono + ms*milli, Mutation: &replica.Mutation{
		Key: crdt.Key{Type: crdt.Set, Bucket: "b", Name: "k"}, Verb: replica.Update, Changes: []replica.Change{{Member: member}},
		Op: crdt.Operation{Client: [16]byte{9}, Seq: seq, Issued: w.clock().Wall},
	}})
}

// sent takes the sends of one type of message to one node.
func sent[M replica.Message](m *member, to ring.NodeID) (found []M) {
	var rest []replica.Send
	for _, s := range m.sends {
		if msg, ok := s.Message.(M); ok && s.To == to {
			found = append(found, msg)
		} else {
			rest = append(rest, s)
		}
	}
	m.sends = rest
	return found
}

func (w *trio) deliver(from, to *member, msgs ...replica.Message) {
	for _, m := range msgs {
		to.shard.Receive(w.clockOf(to), from.id, m)
		to.take()
	}
}

func (w *trio) fill(m *member) *replicatest.MemTx {
	w.t.Helper()
	if !m.shard.Waiting() {
		w.t.Fatalf("%v has nothing to commit", m.id)
	}
	tx := m.store.Begin()
	if err := m.shard.Fill(w.clockOf(m), m.damage.in(tx)); err != nil {
		w.t.Fatal(err)
	}
	m.take()
	return tx
}

func (w *trio) commit(m *member) {
	w.t.Helper()
	if err := w.fill(m).Commit(); err != nil {
		w.t.Fatal(err)
	}
	m.shard.Committed(w.clockOf(m), nil)
	m.take()
}

func TestAFailureIsUnknownWhileAnEarlierCoordinatorMayStillWrite(t *testing.T) {
	w := newTrio(t, nil)
	first, second, client := w.node(0), w.node(1), w.node(2)
	w.add(client, 1, 1, "milk", 5000)
	if got := sent[replica.Forward](client, first.id); len(got) != 1 {
		t.Fatalf("forwards to %v: %v", first.id, got)
	}
	w.pass(client, 700) // the first coordinator is late: the second gets it
	forwards := sent[replica.Forward](client, second.id)
	if len(forwards) != 1 {
		t.Fatalf("forwards to %v: %v", second.id, forwards)
	}
	w.deliver(second, client, replica.Forwarded{ID: forwards[0].ID, Result: replica.Result{Failure: &replica.Failure{Reason: replica.NoQuorum, Text: "nothing was written"}}})
	if len(client.reply) != 1 || client.reply[0].Result.Failure == nil || !client.reply[0].Result.Failure.Unknown {
		t.Fatalf("the client hears %+v; the first coordinator may have written it", client.reply)
	}
	if text := client.reply[0].Result.Failure.Text; !strings.Contains(text, string(first.id)) {
		t.Errorf("%q does not name %v", text, first.id)
	}
}

func TestTheFailureOfACoordinatorThatWasGivenUpDoesNotEndTheNextOne(t *testing.T) {
	w := newTrio(t, nil)
	first, second, client := w.node(0), w.node(1), w.node(2)
	w.add(client, 1, 1, "milk", 5000)
	id := sent[replica.Forward](client, first.id)[0].ID
	w.pass(client, 700)
	w.deliver(first, client, replica.Forwarded{ID: id, Result: replica.Result{Failure: &replica.Failure{Reason: replica.NoQuorum, Text: "nothing was written"}}})
	if len(client.reply) != 0 {
		t.Fatalf("the client hears %+v while %v is at it", client.reply[0].Result.Failure, second.id)
	}
	w.deliver(second, client, replica.Forwarded{ID: id, Result: replica.Result{Failure: &replica.Failure{Reason: replica.NoQuorum, Text: "nothing was written"}}})
	if len(client.reply) != 1 || client.reply[0].Result.Failure.Unknown {
		t.Fatalf("both coordinators did nothing; the client hears %+v", client.reply)
	}
}

func TestAWriteThatThisNodeCoordinatesIsInDoubtWhenTheDeadlinePasses(t *testing.T) {
	w := newTrio(t, nil)
	first := w.node(0)
	w.add(first, 1, 1, "milk", 200)
	w.commit(first)
	w.pass(first, 300)
	if len(first.reply) != 1 || first.reply[0].Result.Failure == nil || !first.reply[0].Result.Failure.Unknown {
		t.Fatalf("written on one of two nodes; the client hears %+v", first.reply)
	}
}

func TestAReplyToAnEarlierLifeOfTheNodeIsNotHeard(t *testing.T) {
	w := newTrio(t, nil)
	first, client := w.node(0), w.node(2)
	w.add(client, 1, 1, "milk", 5000)
	old := sent[replica.Forward](client, first.id)[0]
	w.open(client, 0xfeed_0000_0000_0000, nil)
	w.add(client, 2, 2, "eggs", 5000)
	w.deliver(first, client, replica.Forwarded{ID: old.ID, Result: replica.Result{Wrote: true}})
	if len(client.reply) != 0 {
		t.Fatalf("the client of eggs hears what became of milk: %+v", client.reply)
	}
}

func TestARemoveSaysWhenItCouldNotReadAtR(t *testing.T) {
	w := newTrio(t, func(c *replica.Config) { c.R = 3 })
	first, second, third := w.node(0), w.node(1), w.node(2)
	third.shard.SetRing(w.clock(), w.pair(third.id)) // it does not believe that it owns the partition, so its answer does not count
	w.ask(first, replica.Request{ID: 1, Deadline: w.clock().Mono + 5000*milli, Mutation: &replica.Mutation{
		Key: crdt.Key{Type: crdt.Set, Bucket: "b", Name: "k"}, Verb: replica.Update, Changes: []replica.Change{{Member: "milk", Remove: true}},
	}})
	for _, m := range []*member{second, third} {
		for _, q := range sent[replica.Asking](first, m.id) {
			w.deliver(first, m, q)
		}
		for _, a := range sent[replica.Answered](m, first.id) {
			w.deliver(m, first, a)
		}
	}
	w.commit(first)
	if len(first.reply) != 1 || first.reply[0].Result.Failure != nil || !first.reply[0].Result.Degraded {
		t.Fatalf("two of three owners were read; the client hears %+v", first.reply)
	}
}

// The retry of a remove may read at R. What was removed was found by the first try.
func TestARetryDoesNotSayThatTheFirstTryReadAtR(t *testing.T) {
	w := newTrio(t, func(c *replica.Config) { c.R = 3 })
	first, third := w.node(0), w.node(2)
	w.add(first, 1, 1, "milk", 5000)
	w.run(nil)
	w.success(first)
	third.shard.SetRing(w.clock(), w.pair(third.id)) // its answer does not count
	remove := replica.Mutation{Key: carts, Verb: replica.Update, Changes: []replica.Change{{Member: "milk", Remove: true}},
		Op: crdt.Operation{Client: [16]byte{9}, Seq: 2, Issued: w.clock().Wall}}
	for _, try := range []string{"first", "second"} {
		m := remove
		w.ask(first, replica.Request{ID: 2, Deadline: w.clock().Mono + 5000*milli, Mutation: &m})
		w.run(nil)
		if res := w.success(first); !res.Degraded || !res.Wrote {
			t.Errorf("the %s try: %+v", try, res)
		}
		third.shard.SetRing(w.clock(), w.ring)
		third.take()
	}
}

// pair is the ring after a node has left.
func (w *trio) pair(without ring.NodeID) *ring.Ring {
	var facts ring.Facts
	for i, id := range []ring.NodeID{"n1", "n2", "n3"} {
		_, _ = facts.Add(ring.Fact{Number: uint64(i + 1), Kind: ring.Joined, Node: id, PeerAddr: string(id) + ":1", APIAddr: string(id) + ":2"})
	}
	_, _ = facts.Add(ring.Fact{Number: 4, Kind: ring.Left, Node: without})
	r, err := ring.Fold(ring.Config{Partitions: 1, Replicas: 3}, facts)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func TestALostPeerPastTheDeadlineIsNotFollowedByOneMoreForward(t *testing.T) {
	w := newTrio(t, nil)
	first, second, client := w.node(0), w.node(1), w.node(2)
	w.add(client, 1, 1, "milk", 50)
	w.now += 60 * milli
	client.shard.SetLink(w.clock(), first.id, false)
	client.take()
	if late := sent[replica.Forward](client, second.id); len(late) > 0 {
		t.Errorf("handed on with %d ns left", late[0].Left)
	}
	w.pass(client, 20)
	if len(client.reply) != 1 || !client.reply[0].Result.Failure.Unknown {
		t.Errorf("the client hears %+v", client.reply)
	}
}

func TestARepeatedPartOfACatchUpIsNotAskedOnFromTwice(t *testing.T) {
	w := newTrio(t, nil)
	first, second := w.node(0), w.node(1)
	w.add(first, 1, 1, "milk", 5000)
	w.commit(first)
	groups := sent[replica.Replicate](first, second.id)[0].Batch[0].Groups
	part := replica.Events{Groups: groups, More: true}
	w.deliver(first, second, part, part)
	w.commit(second)
	if asked := sent[replica.CatchUp](second, first.id); len(asked) != 1 {
		t.Errorf("asks on %d times: with every repetition the talk would double", len(asked))
	}
	handed := replica.Events{Groups: groups, Report: true}
	w.deliver(first, second, handed)
	w.commit(second)
	if reports := sent[replica.Coverage](second, first.id); len(reports) != 0 {
		t.Errorf("reports %d times what brought nothing: the next offer will ask", len(reports))
	}
}

func TestAPeerFoundLostInASweepIsLostToAllWhoWaitForIt(t *testing.T) {
	w := newTrio(t, nil)
	first, second, client := w.node(0), w.node(1), w.node(2)
	for id := range uint64(5) { // as many unanswered requests as open the breaker
		w.ask(client, replica.Request{ID: id, Deadline: w.clock().Mono + 30*milli, Query: &replica.Query{Key: crdt.Key{Type: crdt.Counter, Bucket: "b", Name: "c"}}})
	}
	w.add(client, 9, 1, "milk", 5000)
	w.pass(client, 60)
	if len(sent[replica.Forward](client, first.id)) != 1 || len(sent[replica.Forward](client, second.id)) != 1 {
		t.Errorf("the mutation still waits for %v: %v", first.id, client.sends)
	}
}

func TestGroupsOfAPartitionThatDoesNotExistAreNotStored(t *testing.T) {
	w := newTrio(t, nil)
	first, second := w.node(0), w.node(1)
	w.add(first, 1, 1, "milk", 5000)
	w.commit(first)
	groups := sent[replica.Replicate](first, second.id)[0].Batch[0].Groups
	for _, partition := range []int{-1, 1, 1 << 20} {
		w.deliver(first, second, replica.Replicate{Batch: []replica.Shipment{{Partition: partition, Groups: groups}}})
		if second.shard.Waiting() {
			t.Errorf("groups of partition %d of 1 wait to be stored", partition)
		}
	}
	if n := second.shard.Totals().Malformed; n != 3 {
		t.Errorf("%d of 3 counted as malformed", n)
	}
}

func TestANodeThatDoesNotOwnAPartitionDoesNotCatchUp(t *testing.T) {
	w := newTrioOwned(t, 2, nil)
	first, second, other := w.node(0), w.node(1), w.node(2)
	w.add(first, 1, 1, "milk", 5000)
	w.commit(first)
	stored := sent[replica.Replicate](first, second.id)[0]
	w.deliver(first, other, stored) // as if it stood in for the second
	w.commit(other)
	w.deliver(first, other,
		replica.Nudge{Partition: 0, From: second.id},
		replica.Digest{Batch: []replica.ClockPrint{{Partition: 0}}},
		replica.CatchUp{Partition: 0, Clock: dvv.ClockOf(dvv.Dot{Actor: 77, Seq: 7})},
		replica.Events{Partition: 0, Groups: stored.Batch[0].Groups, More: true})
	if asked := append(sent[replica.CatchUp](other, first.id), sent[replica.CatchUp](other, second.id)...); len(asked) > 0 || other.shard.Waiting() {
		t.Errorf("it asks %v, and will store more: %t; it would hand off and fetch for ever", asked, other.shard.Waiting())
	}
}

func TestAFallbackIsSentWhatAnIncrementFollows(t *testing.T) {
	w := newTrioOwned(t, 2, nil)
	first, second, other := w.node(0), w.node(1), w.node(2)
	count := func(id uint64) {
		w.ask(first, replica.Request{ID: id, Deadline: w.clock().Mono + 5000*milli, Mutation: &replica.Mutation{
			Key: crdt.Key{Type: crdt.Counter, Bucket: "b", Name: "c"}, Verb: replica.Add, Delta: 1}})
	}
	count(1)
	w.commit(first) // the message to the second is lost
	first.shard.SetLink(w.clock(), second.id, false)
	first.take()
	sent[replica.Replicate](first, other.id)
	count(2)
	count(3)
	w.fill(first)
	got := sent[replica.Replicate](first, other.id)
	if len(got) != 1 || len(got[0].Batch) != 1 || len(got[0].Batch[0].Groups) != 3 {
		t.Fatalf("the fallback is sent %v; the third increment includes the first two", got)
	}
	w.deliver(first, other, got[0])
	w.commit(other)
	if acked := sent[replica.Acked](other, first.id); len(acked) != 1 || len(acked[0].Batch[0].Dots) != 3 {
		t.Errorf("the fallback acknowledges %v", acked)
	}
}
