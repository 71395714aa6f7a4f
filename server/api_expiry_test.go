package server_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"connectrpc.com/connect"

	"github.com/cartwheel-db/cartwheel/crdt"
	v1 "github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1"
)

func TestEachTypeShowsWhatHasNotExpiredAndUntilWhen(t *testing.T) {
	n := newSingle(t, 1)
	c := serve(t, n)
	soon, later := uint64(n.WallMillis()+1000), uint64(n.WallMillis()+5000)
	options := func(at uint64) *v1.WriteOptions { return &v1.WriteOptions{ExpiresAtMs: at} }
	add := func(delta int64, at uint64) int64 {
		return must(c.counter.Add(t.Context(), connect.NewRequest(&v1.CounterServiceAddRequest{Bucket: "b", Key: "k", Delta: delta, Options: options(at)}))).Msg.GetValue()
	}
	counter := func() string {
		m := must(c.counter.Get(t.Context(), connect.NewRequest(&v1.CounterServiceGetRequest{Bucket: "b", Key: "k"}))).Msg
		return fmt.Sprint(m.GetValue(), " until ", m.GetExpiresAtMs())
	}
	register := func() string {
		m := must(c.register.Get(t.Context(), connect.NewRequest(&v1.RegisterServiceGetRequest{Bucket: "b", Key: "k", WithConcurrent: true}))).Msg
		return fmt.Sprintf("%t %s until %d, %d lost", m.GetExists(), m.GetValue(), m.GetExpiresAtMs(), len(m.GetConcurrent()))
	}
	blob := func() (string, string) {
		m := must(c.blob.Get(t.Context(), connect.NewRequest(&v1.BlobServiceGetRequest{Bucket: "b", Key: "k"}))).Msg
		return fmt.Sprintf("%s until %v", m.GetSiblings(), m.GetExpiresAtMs()), m.GetContext()
	}
	set := func(value string, at uint64) {
		must(c.register.Set(t.Context(), connect.NewRequest(&v1.RegisterServiceSetRequest{Bucket: "b", Key: "k", Value: []byte(value), Options: options(at)})))
	}
	put := func(value string, at uint64, context string) {
		must(c.blob.Put(t.Context(), connect.NewRequest(&v1.BlobServicePutRequest{Bucket: "b", Key: "k", Value: []byte(value), Options: options(at), Context: context})))
	}
	is := func(got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	seen := func() string { shown, _ := blob(); return shown }

	n.deliver(t, crdt.Key{Type: crdt.Register, Bucket: "b", Name: "k"}.Row(), crdt.Operation{}, func(crdt.Stamp) crdt.Payload {
		return crdt.Assign{Stamp: 1, Value: []byte("old")}.Payload()
	})
	set("v", soon)
	n.deliver(t, crdt.Key{Type: crdt.Register, Bucket: "b", Name: "k"}.Row(), crdt.Operation{}, func(crdt.Stamp) crdt.Payload {
		return crdt.Assign{Stamp: 1, Value: []byte("lost")}.Payload()
	})
	put("x", soon, "")
	put("y", later, "")
	put("z", 0, "")
	add(5, soon)
	n.deliver(t, crdt.Key{Type: crdt.Counter, Bucket: "b", Name: "k"}.Row(), crdt.Operation{}, func(crdt.Stamp) crdt.Payload {
		return crdt.Entry{P: crdt.TotalOf(2), Expires: int64(later)}.Payload()
	})
	is(counter(), fmt.Sprint("7 until ", later))
	is(register(), fmt.Sprintf("true v until %d, 1 lost", soon))
	is(seen(), fmt.Sprintf("[x y z] until [%d %d 0]", soon, later))

	n.pass(1000)
	is(counter(), fmt.Sprint("2 until ", later))
	is(register(), "false  until 0, 0 lost") // and what lost does not come back
	is(seen(), fmt.Sprintf("[y z] until [%d 0]", later))
	if v := add(1, later); v != 3 {
		t.Errorf("the next increment answers %d, want 3", v)
	}
	set("w", 0)
	is(register(), "true w until 0, 0 lost")

	n.pass(5000)
	is(counter(), "0 until 0")
	shown, context := blob()
	is(shown, "[z] until []")
	put("all", 0, context)
	is(seen(), "[all] until []")
}

func TestMembersWithoutAnExpiryOfTheirOwnTakeThatOfTheCall(t *testing.T) {
	n := newSingle(t, 1)
	c := serve(t, n)
	soon, later := uint64(n.WallMillis()+1000), uint64(n.WallMillis()+5000)
	must(c.set.Add(t.Context(), connect.NewRequest(&v1.SetServiceAddRequest{Bucket: "b", Key: "k", Options: &v1.WriteOptions{ExpiresAtMs: soon},
		Members: []*v1.Member{{Member: "a"}, {Member: "b", ExpiresAtMs: later}}})))
	must(c.set.Update(t.Context(), connect.NewRequest(&v1.SetServiceUpdateRequest{Bucket: "b", Key: "k", Options: &v1.WriteOptions{ExpiresAtMs: later},
		Changes: []*v1.SetChange{remove("gone"), add("c")}})))
	page := must(c.set.Members(t.Context(), connect.NewRequest(&v1.SetServiceMembersRequest{Bucket: "b", Key: "k"}))).Msg.GetMembers()
	var got []uint64
	for _, m := range page {
		got = append(got, m.GetExpiresAtMs())
	}
	if !slices.Equal(got, []uint64{soon, later, later}) {
		t.Errorf("%v", page)
	}
}

func TestAnExpiryOfWhatWritesNothingIsRefusedAndSoIsOneBeyondInt64(t *testing.T) {
	n := newSingle(t, 1)
	c := serve(t, n)
	must(c.counter.Add(t.Context(), connect.NewRequest(&v1.CounterServiceAddRequest{Bucket: "b", Key: "k", Delta: 3})))
	must(c.set.Add(t.Context(), connect.NewRequest(&v1.SetServiceAddRequest{Bucket: "b", Key: "k", Members: []*v1.Member{{Member: "m"}}})))
	for _, test := range []struct {
		op     string
		beyond bool // int64
		err    func(o *v1.WriteOptions) error
	}{
		{"set.remove", false, func(o *v1.WriteOptions) error {
			_, err := c.set.Remove(t.Context(), connect.NewRequest(&v1.SetServiceRemoveRequest{Bucket: "b", Key: "k", Members: []string{"m"}, Options: o}))
			return err
		}},
		{"set.update", false, func(o *v1.WriteOptions) error {
			_, err := c.set.Update(t.Context(), connect.NewRequest(&v1.SetServiceUpdateRequest{Bucket: "b", Key: "k", Changes: []*v1.SetChange{remove("m"), remove("n")}, Options: o}))
			return err
		}},
		{"set.clear", false, func(o *v1.WriteOptions) error {
			_, err := c.set.Clear(t.Context(), connect.NewRequest(&v1.SetServiceClearRequest{Bucket: "b", Key: "k", Options: o}))
			return err
		}},
		{"counter.reset", false, func(o *v1.WriteOptions) error {
			_, err := c.counter.Reset(t.Context(), connect.NewRequest(&v1.CounterServiceResetRequest{Bucket: "b", Key: "k", Options: o}))
			return err
		}},
		{"register.delete", false, func(o *v1.WriteOptions) error {
			_, err := c.register.Delete(t.Context(), connect.NewRequest(&v1.RegisterServiceDeleteRequest{Bucket: "b", Key: "k", Options: o}))
			return err
		}},
		{"blob.delete", false, func(o *v1.WriteOptions) error {
			_, err := c.blob.Delete(t.Context(), connect.NewRequest(&v1.BlobServiceDeleteRequest{Bucket: "b", Key: "k", Options: o}))
			return err
		}},
		{"set.add", true, func(o *v1.WriteOptions) error {
			_, err := c.set.Add(t.Context(), connect.NewRequest(&v1.SetServiceAddRequest{Bucket: "b", Key: "k", Members: []*v1.Member{{Member: "m"}}, Options: o}))
			return err
		}},
		{"counter.add", true, func(o *v1.WriteOptions) error {
			_, err := c.counter.Add(t.Context(), connect.NewRequest(&v1.CounterServiceAddRequest{Bucket: "b", Key: "k", Delta: 1, Options: o}))
			return err
		}},
		{"counter.add", true, func(o *v1.WriteOptions) error {
			_, err := c.counter.Add(t.Context(), connect.NewRequest(&v1.CounterServiceAddRequest{Bucket: "b", Key: "k", Options: o}))
			return err
		}},
		{"register.set", true, func(o *v1.WriteOptions) error {
			_, err := c.register.Set(t.Context(), connect.NewRequest(&v1.RegisterServiceSetRequest{Bucket: "b", Key: "k", Options: o}))
			return err
		}},
		{"blob.put", true, func(o *v1.WriteOptions) error {
			_, err := c.blob.Put(t.Context(), connect.NewRequest(&v1.BlobServicePutRequest{Bucket: "b", Key: "k", Options: o}))
			return err
		}},
	} {
		t.Run(fmt.Sprintf("%s, beyond int64: %t", test.op, test.beyond), func(t *testing.T) {
			before, at, limit := n.dump(), uint64(4102444800000), uint64(0)
			if test.beyond {
				at, limit = 1<<63, math.MaxInt64
			}
			refused(t, test.err(&v1.WriteOptions{ExpiresAtMs: at}), test.op, want{code: connect.CodeInvalidArgument, reason: v1.ErrorDetail_REASON_INVALID_OPTION, limit: limit, actual: at, text: "expires_at_ms"})
			if after := n.dump(); after != before {
				t.Errorf("it was refused and wrote: before %s\nafter %s", before, after)
			}
		})
	}
}

func TestARetryWithAnotherExpiryIsAnotherMutation(t *testing.T) {
	n := newSingle(t, 1)
	c := serve(t, n)
	o := &v1.WriteOptions{OperationId: n.operation(1, 0), ExpiresAtMs: uint64(n.WallMillis() + 1000)}
	set := func() error {
		_, err := c.register.Set(t.Context(), connect.NewRequest(&v1.RegisterServiceSetRequest{Bucket: "b", Key: "k", Value: []byte("v"), Options: o}))
		return err
	}
	for range 2 {
		if err := set(); err != nil {
			t.Fatal(err)
		}
	}
	o.ExpiresAtMs++
	if err := set(); err == nil {
		t.Fatal("taken for the first")
	} else if _, d := detail(t, err); d.GetReason() != v1.ErrorDetail_REASON_OPERATION_REUSED {
		t.Errorf("got %v", err)
	}
}
