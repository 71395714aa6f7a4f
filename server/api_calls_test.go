package server_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"

	"connectrpc.com/connect"

	v1 "github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1"
)

// target is what a request of [calls] is about.
type target struct {
	bucket, key string
	replicas    uint32 // w of a mutation, r of a read
	fast        bool
	op          string
	context     string
	stamp       uint64
	session     *v1.SessionTokens
	maxStale    uint64 // milliseconds, of a read
}

func (a target) write() *v1.WriteOptions {
	return &v1.WriteOptions{W: a.replicas, OperationId: a.op, Stamp: a.stamp, Session: a.session}
}

func (a target) read() *v1.ReadOptions {
	return &v1.ReadOptions{R: a.replicas, Fast: a.fast, Stamp: a.stamp, MaxStalenessMs: a.maxStale, Session: a.session}
}

// rpc is one procedure, called with as little as it takes.
type rpc struct {
	op       string
	mutation bool
	context  bool // takes one
	call     func(context.Context, client, target) (*v1.ReplyInfo, error)
}

func done[M any, P interface {
	*M
	GetInfo() *v1.ReplyInfo
}](res *connect.Response[M], err error) (*v1.ReplyInfo, error) {
	if err != nil {
		return nil, err
	}
	return P(res.Msg).GetInfo(), nil
}

// calls is every procedure of the five types.
var calls = []rpc{
	{"set.add", true, true, func(ctx context.Context, c client, a target) (*v1.ReplyInfo, error) {
		return done(c.set.Add(ctx, connect.NewRequest(&v1.SetServiceAddRequest{Bucket: a.bucket, Key: a.key, Options: a.write(), Context: a.context, Members: []*v1.Member{{Member: "milk"}}})))
	}},
	{"set.remove", true, true, func(ctx context.Context, c client, a target) (*v1.ReplyInfo, error) {
		return done(c.set.Remove(ctx, connect.NewRequest(&v1.SetServiceRemoveRequest{Bucket: a.bucket, Key: a.key, Options: a.write(), Context: a.context, Members: []string{"milk"}})))
	}},
	{"set.update", true, true, func(ctx context.Context, c client, a target) (*v1.ReplyInfo, error) {
		return done(c.set.Update(ctx, connect.NewRequest(&v1.SetServiceUpdateRequest{Bucket: a.bucket, Key: a.key, Options: a.write(), Context: a.context, Changes: []*v1.SetChange{add("milk")}})))
	}},
	{"set.contains", false, false, func(ctx context.Context, c client, a target) (*v1.ReplyInfo, error) {
		return done(c.set.Contains(ctx, connect.NewRequest(&v1.SetServiceContainsRequest{Bucket: a.bucket, Key: a.key, Options: a.read(), Members: []string{"milk"}})))
	}},
	{"set.size", false, false, func(ctx context.Context, c client, a target) (*v1.ReplyInfo, error) {
		return done(c.set.Size(ctx, connect.NewRequest(&v1.SetServiceSizeRequest{Bucket: a.bucket, Key: a.key, Options: a.read()})))
	}},
	{"set.members", false, false, func(ctx context.Context, c client, a target) (*v1.ReplyInfo, error) {
		return done(c.set.Members(ctx, connect.NewRequest(&v1.SetServiceMembersRequest{Bucket: a.bucket, Key: a.key, Options: a.read()})))
	}},
	{"set.clear", true, true, func(ctx context.Context, c client, a target) (*v1.ReplyInfo, error) {
		return done(c.set.Clear(ctx, connect.NewRequest(&v1.SetServiceClearRequest{Bucket: a.bucket, Key: a.key, Options: a.write(), Context: a.context})))
	}},
	{"counter.add", true, false, func(ctx context.Context, c client, a target) (*v1.ReplyInfo, error) {
		return done(c.counter.Add(ctx, connect.NewRequest(&v1.CounterServiceAddRequest{Bucket: a.bucket, Key: a.key, Options: a.write(), Delta: 3})))
	}},
	{"counter.get", false, false, func(ctx context.Context, c client, a target) (*v1.ReplyInfo, error) {
		return done(c.counter.Get(ctx, connect.NewRequest(&v1.CounterServiceGetRequest{Bucket: a.bucket, Key: a.key, Options: a.read()})))
	}},
	{"counter.reset", true, false, func(ctx context.Context, c client, a target) (*v1.ReplyInfo, error) {
		return done(c.counter.Reset(ctx, connect.NewRequest(&v1.CounterServiceResetRequest{Bucket: a.bucket, Key: a.key, Options: a.write()})))
	}},
	{"register.set", true, true, func(ctx context.Context, c client, a target) (*v1.ReplyInfo, error) {
		return done(c.register.Set(ctx, connect.NewRequest(&v1.RegisterServiceSetRequest{Bucket: a.bucket, Key: a.key, Options: a.write(), Context: a.context, Value: []byte("v")})))
	}},
	{"register.get", false, false, func(ctx context.Context, c client, a target) (*v1.ReplyInfo, error) {
		return done(c.register.Get(ctx, connect.NewRequest(&v1.RegisterServiceGetRequest{Bucket: a.bucket, Key: a.key, Options: a.read()})))
	}},
	{"register.delete", true, true, func(ctx context.Context, c client, a target) (*v1.ReplyInfo, error) {
		return done(c.register.Delete(ctx, connect.NewRequest(&v1.RegisterServiceDeleteRequest{Bucket: a.bucket, Key: a.key, Options: a.write(), Context: a.context})))
	}},
	{"blob.get", false, false, func(ctx context.Context, c client, a target) (*v1.ReplyInfo, error) {
		return done(c.blob.Get(ctx, connect.NewRequest(&v1.BlobServiceGetRequest{Bucket: a.bucket, Key: a.key, Options: a.read()})))
	}},
	{"blob.put", true, true, func(ctx context.Context, c client, a target) (*v1.ReplyInfo, error) {
		return done(c.blob.Put(ctx, connect.NewRequest(&v1.BlobServicePutRequest{Bucket: a.bucket, Key: a.key, Options: a.write(), Context: a.context, Value: []byte("v")})))
	}},
	{"blob.delete", true, true, func(ctx context.Context, c client, a target) (*v1.ReplyInfo, error) {
		return done(c.blob.Delete(ctx, connect.NewRequest(&v1.BlobServiceDeleteRequest{Bucket: a.bucket, Key: a.key, Options: a.write(), Context: a.context})))
	}},
	{"map.update", true, true, func(ctx context.Context, c client, a target) (*v1.ReplyInfo, error) {
		return done(c.maps.Update(ctx, connect.NewRequest(&v1.MapServiceUpdateRequest{Bucket: a.bucket, Key: a.key, Options: a.write(), Context: a.context, Changes: []*v1.MapChange{increment("apples", 3), assign("note", "v")}})))
	}},
	{"map.get", false, false, func(ctx context.Context, c client, a target) (*v1.ReplyInfo, error) {
		return done(c.maps.Get(ctx, connect.NewRequest(&v1.MapServiceGetRequest{Bucket: a.bucket, Key: a.key, Options: a.read()})))
	}},
	{"map.delete", true, true, func(ctx context.Context, c client, a target) (*v1.ReplyInfo, error) {
		return done(c.maps.Delete(ctx, connect.NewRequest(&v1.MapServiceDeleteRequest{Bucket: a.bucket, Key: a.key, Options: a.write(), Context: a.context})))
	}},
}

func add(member string) *v1.SetChange {
	return &v1.SetChange{Change: &v1.SetChange_Add{Add: &v1.Member{Member: member}}}
}

func remove(member string) *v1.SetChange {
	return &v1.SetChange{Change: &v1.SetChange_Remove{Remove: member}}
}

// fill gives every type a value at carts/42.
func fill(t testing.TB, c client) {
	t.Helper()
	for _, r := range calls {
		switch r.op {
		case "set.add", "counter.add", "register.set", "blob.put", "map.update":
			if _, err := r.call(t.Context(), c, target{bucket: "carts", key: "42"}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// want is what an error must say.
type want struct {
	code             connect.Code
	reason           v1.ErrorDetail_Reason
	limit, actual    uint64
	needed, answered uint32
	unknown          bool
	text             string // part of the message
}

func detail(t testing.TB, err error) (connect.Code, *v1.ErrorDetail) {
	t.Helper()
	var failed *connect.Error
	if !errors.As(err, &failed) {
		t.Fatalf("want a Connect error, got %v", err)
	}
	if len(failed.Details()) != 1 {
		t.Fatalf("want one detail, got %d in %v", len(failed.Details()), err)
	}
	value, verr := failed.Details()[0].Value()
	if verr != nil {
		t.Fatal(verr)
	}
	return failed.Code(), value.(*v1.ErrorDetail)
}

// refused checks an error and that it left nothing behind.
func refused(t testing.TB, err error, op string, w want) {
	t.Helper()
	if err == nil {
		t.Fatalf("%s succeeded, want %v", op, w.reason)
	}
	code, d := detail(t, err)
	if code != w.code || d.GetReason() != w.reason || d.GetOperation() != op {
		t.Fatalf("got %v %v of %s, want %v %v of %s\n%v", code, d.GetReason(), d.GetOperation(), w.code, w.reason, op, err)
	}
	if d.GetLimit() != w.limit || d.GetActual() != w.actual || d.GetNeeded() != w.needed || d.GetAnswered() != w.answered || d.GetOutcomeUnknown() != w.unknown {
		t.Errorf("got limit %d actual %d needed %d answered %d unknown %t, want %+v\n%v",
			d.GetLimit(), d.GetActual(), d.GetNeeded(), d.GetAnswered(), d.GetOutcomeUnknown(), w, err)
	}
	for _, part := range []string{op, w.text} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("want %q in %q", part, err)
		}
	}
	if w.actual > 0 && !strings.Contains(err.Error(), strconv.FormatUint(w.actual, 10)) {
		t.Errorf("want the number %d in %q", w.actual, err)
	}
}
