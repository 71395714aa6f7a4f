package server

import (
	"fmt"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/replica"
	"github.com/cartwheel-db/cartwheel/replica/store"
	"github.com/cartwheel-db/cartwheel/ring"
)

// benchShard is a shard on its store, driven as the loop does and without the
// loop: what a mutation costs the replica that coordinates it, up to the sync.
type benchShard struct {
	b     *testing.B
	shard *replica.Shard
	store *store.Store
	view  *store.View // of the turn
	now   replica.Now
	op    uint64
}

func newBenchShard(b *testing.B) *benchShard {
	var facts ring.Facts
	if _, err := facts.Add(ring.Fact{Number: 1, Kind: ring.Joined, Node: "n1", PeerAddr: "n1:1", APIAddr: "n1:2"}); err != nil {
		b.Fatal(err)
	}
	r, err := ring.Fold(ring.Config{Partitions: 256, Replicas: 1}, facts)
	if err != nil {
		b.Fatal(err)
	}
	s, err := store.Open(filepath.Join(b.TempDir(), "shard"), store.Options{ClusterID: "bench", Node: "n1", Partitions: 256})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	d := &benchShard{b: b, store: s, now: replica.Now{Mono: 1, Wall: time.Now().UnixMilli()}}
	read := func(fn func(replica.View) error) (err error) {
		if d.view == nil {
			if d.view, err = s.View(); err != nil {
				return err
			}
		}
		return fn(d.view)
	}
	d.shard, err = replica.New(replica.Config{Self: "n1", NewActor: randomActor, R: 1, W: 1, Read: read}, s.Actor(), r, d.now)
	if err != nil {
		b.Fatal(err)
	}
	return d
}

func (d *benchShard) endTurn() []any {
	if d.view != nil {
		_ = d.view.Close()
		d.view = nil
	}
	return d.shard.Outputs()
}

// commit makes n mutations durable in one transaction.
func (d *benchShard) commit(n int, mutation func(i int) replica.Mutation) {
	d.now.Mono += int64(time.Millisecond)
	d.now.Wall++
	for i := range n {
		m := mutation(i)
		d.op++
		m.Op = crdt.Operation{Client: [16]byte{1}, Seq: d.op, Issued: d.now.Wall}
		d.shard.Request(d.now, replica.Request{ID: d.op, Deadline: d.now.Mono + 1e9, Mutation: &m})
	}
	outputs := d.endTurn()
	tx, err := d.store.Begin()
	if err == nil {
		err = d.shard.Fill(d.now, tx)
	}
	if err == nil {
		err = tx.Commit()
	}
	if err != nil {
		d.b.Fatal(err)
	}
	d.shard.Committed(d.now, nil)
	answered := 0
	for _, o := range append(outputs, d.endTurn()...) {
		reply, ok := o.(replica.Reply)
		if !ok || reply.Result.Failure != nil || !reply.Result.Wrote {
			d.b.Fatalf("after %d mutations: %+v", n, o)
		}
		answered++
	}
	if answered != n {
		d.b.Fatalf("%d of %d mutations answered", answered, n)
	}
}

// rest lets the shard sum up the sets that have become large, and nothing leave the
// log yet: pages that are freed are listed by every commit.
func (d *benchShard) rest() {
	summed := d.shard.Totals().Summarized
	for range 3000 {
		d.now.Mono += int64(time.Millisecond)
		if d.shard.Tick(d.now); d.shard.Waiting() {
			d.commit(0, nil)
		}
	}
	if d.shard.Totals().Summarized == summed {
		d.b.Fatal("nothing was summed up")
	}
}

func (d *benchShard) measure(b *testing.B, group int, mutation func(i int) replica.Mutation) {
	d.b = b
	cpu := func() int64 {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return u.Utime.Nano() + u.Stime.Nano()
	}
	b.ReportAllocs()
	b.ResetTimer()
	before, pages := cpu(), d.store.Stats().Pages
	for done := 0; done < b.N; done += group {
		d.commit(group, func(i int) replica.Mutation { return mutation(done + i) })
	}
	b.ReportMetric(float64(cpu()-before)/1e3/float64(b.N), "cpu-us/op")
	b.ReportMetric(float64(d.store.Stats().Pages-pages)/float64(b.N), "page-B/op")
}

// Adding to a set costs the same whatever its size: the sets of both sizes lie
// in one file here, so that nothing but the set differs. An add of a member that
// is there replaces it, and so the sets keep their sizes.
func BenchmarkAddToSet(b *testing.B) {
	d := newBenchShard(b)
	add := func(members, member int) replica.Mutation {
		return replica.Mutation{
			Key: crdt.Key{Type: crdt.Set, Bucket: "bench", Name: fmt.Sprintf("of-%d", members)}, Verb: replica.Update,
			Changes: []replica.Change{{Member: fmt.Sprintf("member-%07d", member)}},
		}
	}
	sizes := []int{1000, 100_000}
	for _, members := range sizes {
		for from := 0; from < members; from += 1000 {
			d.commit(1000, func(i int) replica.Mutation { return add(members, from+i) })
		}
	}
	d.rest()
	for _, group := range []int{1, 64} {
		for _, members := range sizes {
			b.Run(fmt.Sprintf("adds=%d/members=%d", group, members), func(b *testing.B) {
				d.measure(b, group, func(i int) replica.Mutation { return add(members, i*7919%members) })
			})
		}
	}
}

// Increments of 10,000 counters, one each.
func BenchmarkIncrement(b *testing.B) {
	const counters = 10_000
	d := newBenchShard(b)
	increment := func(i int) replica.Mutation {
		return replica.Mutation{Key: crdt.Key{Type: crdt.Counter, Bucket: "bench", Name: fmt.Sprintf("k%07d", i*7919%counters)}, Verb: replica.Add, Delta: 1}
	}
	for from := 0; from < counters; from += 1000 {
		d.commit(1000, func(i int) replica.Mutation { return increment(from + i) })
	}
	for _, group := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("increments=%d", group), func(b *testing.B) { d.measure(b, group, increment) })
	}
}

// BenchmarkReadOneReplica is what a read of a counter from one replica costs the
// shard and its store, eight of them a turn: what a fast read costs a node beside
// carrying it.
func BenchmarkReadOneReplica(b *testing.B) {
	d := newBenchShard(b)
	keys := make([]crdt.Key, 1000)
	d.commit(len(keys), func(i int) replica.Mutation {
		keys[i] = crdt.Key{Type: crdt.Counter, Bucket: "bench", Name: fmt.Sprint("counter-", i)}
		return replica.Mutation{Key: keys[i], Verb: replica.Add, Delta: 1}
	})
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		d.op++
		d.shard.Request(d.now, replica.Request{ID: d.op, Deadline: d.now.Mono + 1e9, Query: &replica.Query{Key: keys[n%len(keys)]}})
		if n%8 == 7 {
			d.endTurn()
		}
	}
}
