package server_test

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"connectrpc.com/connect"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica"
	v1 "github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1"
)

// cart is a client of one set.
type cart struct {
	t testing.TB
	client
	key string
}

func (s cart) add(context string, members ...string) string {
	s.t.Helper()
	req := &v1.SetServiceAddRequest{Bucket: "carts", Key: s.key, Context: context}
	for _, m := range members {
		req.Members = append(req.Members, &v1.Member{Member: m})
	}
	return must(s.set.Add(s.t.Context(), connect.NewRequest(req))).Msg.GetContext()
}

func (s cart) remove(context string, members ...string) string {
	s.t.Helper()
	req := &v1.SetServiceRemoveRequest{Bucket: "carts", Key: s.key, Context: context, Members: members}
	return must(s.set.Remove(s.t.Context(), connect.NewRequest(req))).Msg.GetContext()
}

func (s cart) update(context string, changes ...*v1.SetChange) string {
	s.t.Helper()
	req := &v1.SetServiceUpdateRequest{Bucket: "carts", Key: s.key, Context: context, Changes: changes}
	return must(s.set.Update(s.t.Context(), connect.NewRequest(req))).Msg.GetContext()
}

func (s cart) clear(context string) {
	s.t.Helper()
	must(s.set.Clear(s.t.Context(), connect.NewRequest(&v1.SetServiceClearRequest{Bucket: "carts", Key: s.key, Context: context})))
}

func (s cart) page(req *v1.SetServiceMembersRequest) *v1.SetServiceMembersResponse {
	s.t.Helper()
	req.Bucket, req.Key = "carts", s.key
	return must(s.set.Members(s.t.Context(), connect.NewRequest(req))).Msg
}

func (s cart) shows(want ...string) string {
	s.t.Helper()
	res := s.page(&v1.SetServiceMembersRequest{})
	if got := names(res.GetMembers()); !slices.Equal(got, want) {
		s.t.Errorf("the set shows %v, want %v", got, want)
	}
	if size := must(s.set.Size(s.t.Context(), connect.NewRequest(&v1.SetServiceSizeRequest{Bucket: "carts", Key: s.key}))).Msg.GetSize(); size != uint64(len(want)) {
		s.t.Errorf("size %d, want %d", size, len(want))
	}
	return res.GetContext()
}

func names(members []*v1.Member) []string {
	var out []string
	for _, m := range members {
		out = append(out, m.GetMember())
	}
	return out
}

func TestSetsByStories(t *testing.T) {
	n := newSingle(t, 1)
	c := serve(t, n)
	key := func(s cart) crdt.Key { return crdt.Key{Type: crdt.Set, Bucket: "carts", Name: s.key} }
	// elsewhere adds a member through another node, at the same time.
	elsewhere := func(s cart, member string) {
		n.deliver(s.t, key(s).Member(member), crdt.Operation{}, func(at crdt.Stamp) crdt.Payload { return crdt.Member{Stamp: at}.Payload() })
	}
	for _, story := range []struct {
		name string
		tell func(cart)
	}{
		{"what was added is shown in byte order, once", func(s cart) {
			s.add("", "milk", "eggs")
			s.add("", "milk", "äpfel", "Z")
			s.shows("Z", "eggs", "milk", "äpfel")
		}},
		{"an absent set is empty and has a context that covers nothing", func(s cart) {
			nothing := s.shows()
			s.add("", "milk")
			s.clear(nothing)
			s.remove(nothing, "milk")
			s.shows("milk")
		}},
		{"a remove without a context takes what there is, of that member only", func(s cart) {
			s.add("", "a", "b")
			elsewhere(s, "a")
			s.remove("", "a")
			s.shows("b")
		}},
		{"a remove with a context leaves what the context did not show", func(s cart) {
			s.add("", "x")
			shown := s.shows("x")
			elsewhere(s, "x")
			s.remove(shown, "x")
			s.shows("x")
			s.remove(s.shows("x"), "x")
			s.shows()
		}},
		{"the context of an add removes that add and no other", func(s cart) {
			s.add("", "x")
			mine := s.add("", "y")
			elsewhere(s, "y")
			s.remove(mine, "x", "y")
			s.shows("x", "y")
		}},
		{"removing the absent succeeds and writes nothing", func(s cart) {
			before := n.dump()
			s.remove("", "nobody")
			s.clear("")
			if after := n.dump(); after != before {
				s.t.Errorf("before %s\nafter %s", before, after)
			}
			s.shows()
		}},
		{"a batch keeps its order, with a context, without one, and one by one", func(s cart) {
			s.add("", "a", "b")
			s.update(s.shows("a", "b"), remove("b"), add("b"))
			s.shows("a", "b")
			s.update("", remove("b"), add("b"))
			s.shows("a", "b")
			s.update("", remove("b"))
			s.update("", add("b"))
			s.shows("a", "b")
			s.update("", add("c"), remove("a"), remove("c"))
			s.shows("b")
		}},
		{"a batch is one commit, shown whole", func(s cart) {
			commits := n.store.Commits
			s.update("", add("a"), add("b"), remove("a"), add("c"))
			if got := n.store.Commits - commits; got != 1 {
				s.t.Errorf("%d commits", got)
			}
			s.shows("b", "c")
		}},
		{"a clear takes what there is", func(s cart) {
			s.add("", "a", "b", "c")
			elsewhere(s, "a")
			s.clear("")
			s.shows()
			s.add("", "d")
			s.shows("d")
		}},
		{"a clear with a context leaves what was added since", func(s cart) {
			s.add("", "a", "b")
			shown := s.shows("a", "b")
			s.add("", "z")
			elsewhere(s, "a")
			s.clear(shown)
			s.shows("a", "z")
		}},
		{"contains answers in the order asked, twice if asked twice, and covers what it found", func(s cart) {
			s.add("", "a", "c")
			elsewhere(s, "c")
			res := must(c.set.Contains(t.Context(), connect.NewRequest(&v1.SetServiceContainsRequest{Bucket: "carts", Key: s.key, Members: []string{"c", "b", "a", "c"}}))).Msg
			if want := []bool{true, false, true, true}; !slices.Equal(res.GetContains(), want) {
				s.t.Errorf("got %v, want %v", res.GetContains(), want)
			}
			s.remove(res.GetContext(), "a", "c")
			s.shows()
		}},
		{"contains asks about more than one query holds", func(s cart) {
			var members []string
			for i := range 2*replica.MaxFields + 500 {
				members = append(members, fmt.Sprintf("m%05d", i))
			}
			for part := range slices.Chunk(members[:1500], replica.MaxChanges) {
				s.add("", part...)
			}
			slices.Reverse(members)
			res := must(c.set.Contains(t.Context(), connect.NewRequest(&v1.SetServiceContainsRequest{Bucket: "carts", Key: s.key, Members: members}))).Msg
			for i, m := range members {
				if res.GetContains()[i] != (m < "m01500") {
					s.t.Fatalf("%s: %t", m, res.GetContains()[i])
				}
			}
			s.clear(res.GetContext())
			s.shows()
		}},
		{"a member carries the note of its latest add", func(s cart) {
			with := func(note string) {
				must(s.set.Add(t.Context(), connect.NewRequest(&v1.SetServiceAddRequest{Bucket: "carts", Key: s.key, Members: []*v1.Member{{Member: "a", Note: []byte(note)}}})))
			}
			with("first")
			with("second")
			if m := s.page(&v1.SetServiceMembersRequest{}).GetMembers(); len(m) != 1 || string(m[0].GetNote()) != "second" {
				s.t.Errorf("got %v", m)
			}
		}},
		{"an expired member is hidden from every read, until it is renewed", func(s cart) {
			until := func(ms int64) {
				must(s.set.Add(t.Context(), connect.NewRequest(&v1.SetServiceAddRequest{Bucket: "carts", Key: s.key, Members: []*v1.Member{{Member: "here", ExpiresAtMs: uint64(n.WallMillis() + ms)}}})))
			}
			contains := func() bool {
				return must(c.set.Contains(t.Context(), connect.NewRequest(&v1.SetServiceContainsRequest{Bucket: "carts", Key: s.key, Members: []string{"here"}}))).Msg.GetContains()[0]
			}
			s.add("", "always")
			until(1000)
			s.shows("always", "here")
			if !contains() {
				s.t.Error("not there before its time is over")
			}
			n.pass(1000)
			s.shows("always")
			if contains() {
				s.t.Error("there after its time is over")
			}
			until(1000)
			s.shows("always", "here")
		}},
		{"the latest of several expiries counts, and never is later than any", func(s cart) {
			must(s.set.Add(t.Context(), connect.NewRequest(&v1.SetServiceAddRequest{Bucket: "carts", Key: s.key, Members: []*v1.Member{{Member: "here", ExpiresAtMs: uint64(n.WallMillis() + 10)}}})))
			elsewhere(s, "here")
			n.pass(1000)
			s.shows("here")
		}},
	} {
		t.Run(story.name, func(t *testing.T) { story.tell(cart{t, c, story.name}) })
	}
}

func TestCountersByStories(t *testing.T) {
	n := newSingle(t, 1)
	c := serve(t, n)
	type counter struct {
		*testing.T
		add   func(int64) (int64, bool)
		get   func() (int64, bool)
		reset func() (int64, bool)
	}
	// elsewhere is a concurrent increment at another node.
	elsewhere := func(t *testing.T, delta int64) {
		n.deliver(t, crdt.Key{Type: crdt.Counter, Bucket: "counts", Name: t.Name()}.Row(), crdt.Operation{}, func(crdt.Stamp) crdt.Payload {
			return crdt.Entry{P: crdt.TotalOf(delta)}.Payload()
		})
	}
	type value struct {
		v         int64
		saturated bool
	}
	same := func(t *testing.T, v int64, saturated bool, want value) {
		t.Helper()
		if got := (value{v, saturated}); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	for _, story := range []struct {
		name string
		tell func(c counter)
	}{
		{"an absent counter is 0", func(c counter) {
			v, s := c.get()
			same(c.T, v, s, value{0, false})
			v, s = c.reset()
			same(c.T, v, s, value{0, false})
		}},
		{"increments add up and a decrement takes away", func(c counter) {
			c.add(10)
			v, s := c.add(-3)
			same(c.T, v, s, value{7, false})
			v, s = c.get()
			same(c.T, v, s, value{7, false})
		}},
		{"adding 0 answers the value and writes nothing", func(c counter) {
			c.add(4)
			before := n.dump()
			v, s := c.add(0)
			same(c.T, v, s, value{4, false})
			if after := n.dump(); after != before {
				c.Errorf("before %s\nafter %s", before, after)
			}
		}},
		{"a reset answers what it took away, and the next increment starts from 0", func(c counter) {
			c.add(10)
			v, s := c.reset()
			same(c.T, v, s, value{10, false})
			v, s = c.add(4)
			same(c.T, v, s, value{4, false})
		}},
		{"the very end of int64 is not saturated", func(c counter) {
			v, s := c.add(math.MaxInt64)
			same(c.T, v, s, value{math.MaxInt64, false})
			v, s = c.get()
			same(c.T, v, s, value{math.MaxInt64, false})
		}},
		{"concurrent increments beyond int64 read as saturated, come back, and reset whole", func(c counter) {
			c.add(math.MaxInt64)
			elsewhere(c.T, 5)
			v, s := c.get()
			same(c.T, v, s, value{math.MaxInt64, true})
			v, s = c.add(-2)
			same(c.T, v, s, value{math.MaxInt64, true})
			v, s = c.add(-4)
			same(c.T, v, s, value{math.MaxInt64 - 1, false})
			elsewhere(c.T, 100)
			v, s = c.reset()
			same(c.T, v, s, value{math.MaxInt64, true})
			v, s = c.get()
			same(c.T, v, s, value{0, false})
		}},
	} {
		t.Run(story.name, func(t *testing.T) {
			story.tell(counter{t,
				func(d int64) (int64, bool) {
					m := must(c.counter.Add(t.Context(), connect.NewRequest(&v1.CounterServiceAddRequest{Bucket: "counts", Key: t.Name(), Delta: d}))).Msg
					return m.GetValue(), m.GetSaturated()
				},
				func() (int64, bool) {
					m := must(c.counter.Get(t.Context(), connect.NewRequest(&v1.CounterServiceGetRequest{Bucket: "counts", Key: t.Name()}))).Msg
					return m.GetValue(), m.GetSaturated()
				},
				func() (int64, bool) {
					m := must(c.counter.Reset(t.Context(), connect.NewRequest(&v1.CounterServiceResetRequest{Bucket: "counts", Key: t.Name()}))).Msg
					return m.GetValue(), m.GetSaturated()
				},
			})
		})
	}
}

func TestRegistersByStories(t *testing.T) {
	n := newSingle(t, 1)
	c := serve(t, n)
	elsewhere := func(t *testing.T, value string) {
		n.deliver(t, crdt.Key{Type: crdt.Register, Bucket: "regs", Name: t.Name()}.Row(), crdt.Operation{}, func(at crdt.Stamp) crdt.Payload {
			return crdt.Assign{Stamp: at, Value: []byte(value)}.Payload()
		})
	}
	type register struct {
		*testing.T
		set func(value, context string) string
		get func() *v1.RegisterServiceGetResponse
		del func(context string)
	}
	shows := func(r register, value string, losers ...string) *v1.RegisterServiceGetResponse {
		r.Helper()
		res := r.get()
		var lost []string
		last := res.GetStamp()
		for _, l := range res.GetConcurrent() {
			lost = append(lost, string(l.GetValue()))
			if l.GetStamp() > last {
				r.Errorf("losers are not newest first: %v", res)
			}
			last = l.GetStamp()
		}
		if !res.GetExists() || string(res.GetValue()) != value || !slices.Equal(lost, losers) {
			r.Errorf("got %v, want %q over %q", res, value, losers)
		}
		return res
	}
	absent := func(r register) {
		r.Helper()
		if res := r.get(); res.GetExists() || res.GetStamp() != 0 || len(res.GetValue())+len(res.GetConcurrent()) > 0 {
			r.Errorf("got %v, want nothing", res)
		}
	}
	for _, story := range []struct {
		name string
		tell func(register)
	}{
		{"an absent register differs from an empty one", func(r register) {
			absent(r)
			r.set("", "")
			shows(r, "")
		}},
		{"the last writer wins, and of writes in a row nobody lost", func(r register) {
			r.set("v1", "")
			r.set("v2", "")
			shows(r, "v2")
		}},
		{"a concurrent write that lost is shown on request, and its dot is in the context", func(r register) {
			r.set("mine", "")
			elsewhere(r.T, "theirs")
			res := shows(r, "theirs", "mine")
			quiet := must(c.register.Get(t.Context(), connect.NewRequest(&v1.RegisterServiceGetRequest{Bucket: "regs", Key: r.Name()}))).Msg
			if len(quiet.GetConcurrent()) != 0 || string(quiet.GetValue()) != "theirs" || quiet.GetContext() != res.GetContext() {
				r.Errorf("without with_concurrent: %v", quiet)
			}
			r.del(quiet.GetContext())
			absent(r)
		}},
		{"a write ends the contest", func(r register) {
			r.set("mine", "")
			elsewhere(r.T, "theirs")
			r.set("both", "")
			shows(r, "both")
		}},
		{"a delete with a context leaves a write it did not show", func(r register) {
			context := r.set("v1", "")
			elsewhere(r.T, "v2")
			r.del(context)
			shows(r, "v2")
			r.del("")
			absent(r)
		}},
		{"a client whose clock stamp is ahead wins over what it has seen", func(r register) {
			ahead := uint64(crdt.StampAt(n.WallMillis() + 30_000))
			must(c.register.Set(t.Context(), connect.NewRequest(&v1.RegisterServiceSetRequest{Bucket: "regs", Key: r.Name(), Value: []byte("v"), Options: &v1.WriteOptions{Stamp: ahead}})))
			if res := shows(r, "v"); res.GetStamp() <= ahead || res.GetInfo().GetStamp() < res.GetStamp() {
				r.Errorf("stamp %d, the client has seen %d, the reply says %d", res.GetStamp(), ahead, res.GetInfo().GetStamp())
			}
		}},
	} {
		t.Run(story.name, func(t *testing.T) {
			story.tell(register{t,
				func(value, context string) string {
					return must(c.register.Set(t.Context(), connect.NewRequest(&v1.RegisterServiceSetRequest{Bucket: "regs", Key: t.Name(), Value: []byte(value), Context: context}))).Msg.GetContext()
				},
				func() *v1.RegisterServiceGetResponse {
					return must(c.register.Get(t.Context(), connect.NewRequest(&v1.RegisterServiceGetRequest{Bucket: "regs", Key: t.Name(), WithConcurrent: true}))).Msg
				},
				func(context string) {
					must(c.register.Delete(t.Context(), connect.NewRequest(&v1.RegisterServiceDeleteRequest{Bucket: "regs", Key: t.Name(), Context: context})))
				},
			})
		})
	}
}

func TestBlobsByStories(t *testing.T) {
	n := newSingle(t, 1)
	c := serve(t, n)
	type blob struct {
		*testing.T
		put func(value, context string) string
		get func() *v1.BlobServiceGetResponse
		del func(context string)
	}
	shows := func(b blob, want ...string) string {
		b.Helper()
		res := b.get()
		var got []string
		for _, s := range res.GetSiblings() {
			got = append(got, string(s))
		}
		if !slices.Equal(got, want) {
			b.Errorf("siblings %q, want %q", got, want)
		}
		return res.GetContext()
	}
	for _, story := range []struct {
		name string
		tell func(blob)
	}{
		{"puts without a context stay side by side", func(b blob) {
			b.put("v1", "")
			b.put("v2", "")
			shows(b, "v1", "v2")
		}},
		{"a put replaces what its context showed, and only that", func(b blob) {
			first := b.put("x", "")
			b.put("y", "")
			b.put("n", first)
			shows(b, "y", "n")
			b.put("one", shows(b, "y", "n"))
			shows(b, "one")
		}},
		{"an old context used twice is concurrency and no overwrite", func(b blob) {
			b.put("v1", "")
			old := shows(b, "v1")
			b.put("v2", old)
			b.put("v3", old)
			shows(b, "v2", "v3")
		}},
		{"two clients that chain 99 puts by their own replies never make a third sibling", func(b blob) {
			contexts := [2]string{}
			for i := range 99 {
				contexts[i%2] = b.put(fmt.Sprintf("v%d", i), contexts[i%2])
			}
			shows(b, "v97", "v98")
		}},
		{"an empty value is a value, and an absent blob has none", func(b blob) {
			nothing := shows(b)
			b.put("", nothing)
			shows(b, "")
			b.put("beside", nothing)
			shows(b, "", "beside")
		}},
		{"a delete takes what there is, or what the context showed", func(b blob) {
			first := b.put("v1", "")
			b.put("v2", "")
			b.del(first)
			shows(b, "v2")
			b.del("")
			shows(b)
		}},
		{"one put that two nodes applied is one sibling, and its context covers both dots", func(b blob) {
			id := n.operation(99, 0)
			must(c.blob.Put(t.Context(), connect.NewRequest(&v1.BlobServicePutRequest{Bucket: "blobs", Key: b.Name(), Value: []byte("v"), Options: &v1.WriteOptions{OperationId: id}})))
			key := crdt.Key{Type: crdt.Blob, Bucket: "blobs", Name: b.Name()}
			var op crdt.Operation
			row := must(n.store.View().Row(n.ring.Partition(key.Bucket, key.Name), key.Row()))
			op = must(row.Siblings())[0].Op
			n.deliver(b.T, key.Row(), op, func(crdt.Stamp) crdt.Payload { return crdt.BlobValue{Op: op, Value: []byte("v")}.Payload() })
			b.put("next", shows(b, "v"))
			shows(b, "next")
		}},
		{"bytes come back as they went", func(b blob) {
			all := make([]byte, crdt.MaxValue)
			for i := range all {
				all[i] = byte(i * 7)
			}
			b.put(string(all), "")
			if got := b.get().GetSiblings(); len(got) != 1 || !bytes.Equal(got[0], all) {
				b.Error("they did not")
			}
		}},
	} {
		t.Run(story.name, func(t *testing.T) {
			story.tell(blob{t,
				func(value, context string) string {
					return must(c.blob.Put(t.Context(), connect.NewRequest(&v1.BlobServicePutRequest{Bucket: "blobs", Key: t.Name(), Value: []byte(value), Context: context}))).Msg.GetContext()
				},
				func() *v1.BlobServiceGetResponse {
					return must(c.blob.Get(t.Context(), connect.NewRequest(&v1.BlobServiceGetRequest{Bucket: "blobs", Key: t.Name()}))).Msg
				},
				func(context string) {
					must(c.blob.Delete(t.Context(), connect.NewRequest(&v1.BlobServiceDeleteRequest{Bucket: "blobs", Key: t.Name(), Context: context})))
				},
			})
		})
	}
}

func TestEveryReplySaysHowItWasMade(t *testing.T) {
	n := newSingle(t, 1)
	c := serve(t, n)
	fill(t, c)
	var last uint64
	for i, r := range calls {
		t.Run(r.op, func(t *testing.T) {
			info, err := r.call(t.Context(), c, target{bucket: "carts", key: "42", stamp: last, replicas: 1})
			if err != nil {
				t.Fatal(err)
			}
			if info.GetCoordinator() != "n1" || info.GetDegraded() || info.GetStamp() < last || info.GetStamp() == 0 {
				t.Errorf("got %v after stamp %d", info, last)
			}
			if !r.mutation && info.GetReplicasAnswered() != 1 {
				t.Errorf("a read that says %d replicas answered", info.GetReplicasAnswered())
			}
			// fill made the first four requests.
			if seen := n.stampSeen(4 + i); uint64(seen) != last {
				t.Errorf("the node heard of stamp %d, the client sent %d", seen, last)
			}
			last = info.GetStamp()
		})
	}
}

func TestAContextGoesOnWithoutReadingForAsLongAsItStaysSmall(t *testing.T) {
	n := newSingle(t, 1)
	c := serve(t, n)
	context, longest := "", 0
	put := func(context string) string {
		return must(c.blob.Put(t.Context(), connect.NewRequest(&v1.BlobServicePutRequest{Bucket: "blobs", Key: "chain", Value: []byte("v"), Context: context}))).Msg.GetContext()
	}
	for range 2000 {
		context = put(context)
		longest = max(longest, len(context))
		// A neighbour in the same partition, so that the dots of the chain have gaps.
		n.mutate(t, replica.Mutation{Key: neighbour(n, "blobs", "chain"), Verb: replica.Add, Delta: 1})
	}
	if longest > 8<<10 || longest < 4<<10 {
		t.Errorf("the longest context has %d characters", longest)
	}
	if got := must(c.blob.Get(t.Context(), connect.NewRequest(&v1.BlobServiceGetRequest{Bucket: "blobs", Key: "chain"}))).Msg.GetSiblings(); len(got) != 1 {
		t.Errorf("%d siblings", len(got))
	}
}

// neighbour is a counter in the partition of another key.
func neighbour(n *single, bucket, key string) crdt.Key {
	k := crdt.Key{Type: crdt.Counter, Bucket: "neighbours"}
	for i := 0; ; i++ {
		if k.Name = fmt.Sprint("n", i); n.ring.Partition(k.Bucket, k.Name) == n.ring.Partition(bucket, key) {
			return k
		}
	}
}

func TestAContextTooWideForOneEventIsRefused(t *testing.T) {
	n := newSingle(t, 1)
	c := serve(t, n)
	fill(t, c)
	var wide dvv.Clock
	wide.AddRange(dvv.Actor(77), 1, 1<<40)
	token := must(n.sealer.SealContext(dvv.Scope{Purpose: dvv.PurposeContext, Type: uint8(crdt.Blob), Bucket: "carts", Key: "42"}, wide))
	before := n.dump()
	_, err := c.blob.Put(t.Context(), connect.NewRequest(&v1.BlobServicePutRequest{Bucket: "carts", Key: "42", Context: token}))
	refused(t, err, "blob.put", want{code: connect.CodeInvalidArgument, reason: v1.ErrorDetail_REASON_TOO_LARGE, text: "limit 32768"})
	if after := n.dump(); after != before || !strings.Contains(before, "carts") {
		t.Errorf("before %s\nafter %s", before, after)
	}
}
