package server_test

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"testing"

	"connectrpc.com/connect"

	"github.com/cartwheel-db/cartwheel/crdt"
	v1 "github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1"
)

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
