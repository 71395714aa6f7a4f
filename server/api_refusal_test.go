package server_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/crdt/pack"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica"
	v1 "github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1"
	"github.com/cartwheel-db/cartwheel/server"
)

func TestEveryCallRefusesWhatNoCallMayAskForAndWritesNothing(t *testing.T) {
	n := newSingle(t, 1)
	c := serve(t, n)
	fill(t, c)
	before := n.dump()
	for _, test := range []struct {
		name   string
		target target
		want   want
	}{
		{"an empty bucket", target{key: "42"}, want{code: connect.CodeInvalidArgument, reason: v1.ErrorDetail_REASON_INVALID_NAME, limit: crdt.MaxBucket, text: "must not be empty"}},
		{"a bucket of 65 bytes", target{bucket: strings.Repeat("b", 65), key: "42"}, want{code: connect.CodeInvalidArgument, reason: v1.ErrorDetail_REASON_TOO_LARGE, limit: 64, actual: 65}},
		{"an empty key", target{bucket: "carts"}, want{code: connect.CodeInvalidArgument, reason: v1.ErrorDetail_REASON_INVALID_NAME, limit: crdt.MaxKey, text: "must not be empty"}},
		{"a key of 1025 bytes", target{bucket: "carts", key: strings.Repeat("k", 1025)}, want{code: connect.CodeInvalidArgument, reason: v1.ErrorDetail_REASON_TOO_LARGE, limit: 1024, actual: 1025}},
		{"more replicas than there are owners", target{bucket: "carts", key: "42", replicas: 2}, want{code: connect.CodeInvalidArgument, reason: v1.ErrorDetail_REASON_INVALID_OPTION, limit: 1, actual: 2, text: "1 owner"}},
		{"far more replicas than any int32 holds", target{bucket: "carts", key: "42", replicas: math.MaxUint32}, want{code: connect.CodeInvalidArgument, reason: v1.ErrorDetail_REASON_INVALID_OPTION, limit: 1, actual: math.MaxUint32}},
	} {
		for _, r := range calls {
			t.Run(r.op+" with "+test.name, func(t *testing.T) {
				_, err := r.call(t.Context(), c, test.target)
				refused(t, err, r.op, test.want)
			})
		}
	}
	if after := n.dump(); after != before {
		t.Errorf("something was written\nbefore %s\nafter %s", before, after)
	}
}

func TestEachBadInputGetsATypedErrorWithTheNumbersInItAndWritesNothing(t *testing.T) {
	n := newSingle(t, 1)
	c := serve(t, n)
	fill(t, c)
	ctx := t.Context()
	long, big := strings.Repeat("x", crdt.MaxMember+1), make([]byte, crdt.MaxValue+1)
	many := strings.Split(strings.Repeat("m,", 10_000)+"m", ",")
	invalid, at := connect.CodeInvalidArgument, target{bucket: "carts", key: "42"}

	adding := func(members ...*v1.Member) error {
		_, err := c.set.Add(ctx, connect.NewRequest(&v1.SetServiceAddRequest{Bucket: "carts", Key: "42", Members: members}))
		return err
	}
	removing := func(members ...string) error {
		_, err := c.set.Remove(ctx, connect.NewRequest(&v1.SetServiceRemoveRequest{Bucket: "carts", Key: "42", Members: members}))
		return err
	}
	updating := func(changes ...*v1.SetChange) error {
		_, err := c.set.Update(ctx, connect.NewRequest(&v1.SetServiceUpdateRequest{Bucket: "carts", Key: "42", Changes: changes}))
		return err
	}
	first := strings.Repeat("x", 32)
	containing := func(members ...string) error {
		_, err := c.set.Contains(ctx, connect.NewRequest(&v1.SetServiceContainsRequest{Bucket: "carts", Key: "42", Members: members}))
		return err
	}
	for _, test := range []struct {
		name, op string
		err      func() error
		want     want
	}{
		{"an empty member cannot be added", "set.add", func() error { return adding(&v1.Member{}) }, want{invalid, v1.ErrorDetail_REASON_INVALID_NAME, crdt.MaxMember, 0, 0, 0, false, "member"}},
		{"nor one of 4097 bytes", "set.add", func() error { return adding(&v1.Member{Member: long}) }, want{invalid, v1.ErrorDetail_REASON_TOO_LARGE, 4096, 4097, 0, 0, false, "member"}},
		{"a note has at most a megabyte", "set.add", func() error { return adding(&v1.Member{Member: "m", Note: big}) }, want{invalid, v1.ErrorDetail_REASON_TOO_LARGE, 1 << 20, 1<<20 + 1, 0, 0, false, `member 1 of 1, "m": note`}},
		{"an expiry fits int64", "set.add", func() error { return adding(&v1.Member{Member: "m", ExpiresAtMs: 1 << 63}) }, want{invalid, v1.ErrorDetail_REASON_INVALID_OPTION, math.MaxInt64, 1 << 63, 0, 0, false, "expires_at_ms"}},
		{"an add of nobody makes no sense", "set.add", func() error { return adding() }, want{invalid, v1.ErrorDetail_REASON_INVALID_OPTION, 1, 0, 0, 0, false, "0 members"}},
		{"an add of 1001 members is too many", "set.add", func() error { return adding(make([]*v1.Member, 1001)...) }, want{invalid, v1.ErrorDetail_REASON_TOO_LARGE, 1000, 1001, 0, 0, false, "1001 members"}},
		{"one bad member among good ones spoils the batch", "set.add", func() error { return adding(&v1.Member{Member: "a"}, &v1.Member{Member: "b"}, &v1.Member{}) }, want{invalid, v1.ErrorDetail_REASON_INVALID_NAME, crdt.MaxMember, 0, 0, 0, false, "member 3 of 3: "}},
		{"a remove of nobody makes no sense", "set.remove", func() error { return removing() }, want{invalid, v1.ErrorDetail_REASON_INVALID_OPTION, 1, 0, 0, 0, false, "0 members"}},
		{"an over-long member cannot be removed", "set.remove", func() error { return removing("milk", long) }, want{invalid, v1.ErrorDetail_REASON_TOO_LARGE, 4096, 4097, 0, 0, false, `member 2 of 2, "` + first + `…": `}},
		{"an empty batch makes no sense", "set.update", func() error { return updating() }, want{invalid, v1.ErrorDetail_REASON_INVALID_OPTION, 1, 0, 0, 0, false, "0 changes"}},
		{"a change is an add or a remove", "set.update", func() error { return updating(add("a"), &v1.SetChange{}) }, want{invalid, v1.ErrorDetail_REASON_INVALID_OPTION, 0, 0, 0, 0, false, "change 2 of 2"}},
		{"a batch holds its members to the same bounds", "set.update", func() error { return updating(add("a"), remove(long)) }, want{invalid, v1.ErrorDetail_REASON_TOO_LARGE, 4096, 4097, 0, 0, false, `change 2 of 2, "` + first + `…": `}},
		{"contains needs somebody to ask about", "set.contains", func() error { return containing() }, want{invalid, v1.ErrorDetail_REASON_INVALID_OPTION, 1, 0, 0, 0, false, "0 members"}},
		{"contains asks about 10,000 at most", "set.contains", func() error { return containing(many...) }, want{invalid, v1.ErrorDetail_REASON_TOO_LARGE, 10_000, 10_001, 0, 0, false, "members"}},
		{"contains refuses an empty member", "set.contains", func() error { return containing("milk", "") }, want{invalid, v1.ErrorDetail_REASON_INVALID_NAME, crdt.MaxMember, 0, 0, 0, false, "member 2 of 2: "}},
		{"a prefix is as long as a member at most", "set.members", func() error {
			_, err := c.set.Members(ctx, connect.NewRequest(&v1.SetServiceMembersRequest{Bucket: "carts", Key: "42", Prefix: long}))
			return err
		}, want{invalid, v1.ErrorDetail_REASON_TOO_LARGE, 4096, 4097, 0, 0, false, "prefix"}},
		{"fast and r contradict each other", "counter.get", func() error {
			_, err := c.counter.Get(ctx, connect.NewRequest(&v1.CounterServiceGetRequest{Bucket: "carts", Key: "42", Options: &v1.ReadOptions{R: 1, Fast: true}}))
			return err
		}, want{invalid, v1.ErrorDetail_REASON_INVALID_OPTION, 1, 1, 0, 0, false, "fast"}},
		{"a counter stops at the end of int64", "counter.add", func() error {
			_, err := c.counter.Add(ctx, connect.NewRequest(&v1.CounterServiceAddRequest{Bucket: "carts", Key: "42", Delta: math.MaxInt64}))
			return err
		}, want{connect.CodeOutOfRange, v1.ErrorDetail_REASON_COUNTER_OVERFLOW, 0, 0, 0, 0, false, "3+9223372036854775807"}},
		{"a register has at most a megabyte", "register.set", func() error {
			_, err := c.register.Set(ctx, connect.NewRequest(&v1.RegisterServiceSetRequest{Bucket: "carts", Key: "42", Value: big}))
			return err
		}, want{invalid, v1.ErrorDetail_REASON_TOO_LARGE, 1 << 20, 1<<20 + 1, 0, 0, false, "value"}},
		{"a blob has at most a megabyte", "blob.put", func() error {
			_, err := c.blob.Put(ctx, connect.NewRequest(&v1.BlobServicePutRequest{Bucket: "carts", Key: "42", Value: big}))
			return err
		}, want{invalid, v1.ErrorDetail_REASON_TOO_LARGE, 1 << 20, 1<<20 + 1, 0, 0, false, "value"}},
		{"locate needs a type", "cluster.locate", func() error {
			_, err := c.cluster.Locate(ctx, connect.NewRequest(&v1.ClusterServiceLocateRequest{Bucket: "carts", Key: "42"}))
			return err
		}, want{invalid, v1.ErrorDetail_REASON_INVALID_OPTION, 5, 0, 0, 0, false, "type"}},
		{"locate needs a key", "cluster.locate", func() error {
			_, err := c.cluster.Locate(ctx, connect.NewRequest(&v1.ClusterServiceLocateRequest{Type: v1.DataType_DATA_TYPE_SET, Bucket: "carts"}))
			return err
		}, want{invalid, v1.ErrorDetail_REASON_INVALID_NAME, crdt.MaxKey, 0, 0, 0, false, "key"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := n.dump()
			refused(t, test.err(), test.op, test.want)
			if after := n.dump(); after != before {
				t.Errorf("something was written\nbefore %s\nafter %s", before, after)
			}
		})
	}
	// None of it was refused for another reason than the one it names.
	for _, r := range calls {
		if _, err := r.call(ctx, c, at); err != nil {
			t.Errorf("%s in order: %v", r.op, err)
		}
	}
}

func TestAnOperationIdHasOneSpellingAndNamesOneOperation(t *testing.T) {
	n := newSingle(t, 1)
	c := serve(t, n)
	client, now := strings.Repeat("0", 31)+"1", func() int64 { return n.WallMillis() }
	for _, test := range []struct {
		name, id string
		want     want
	}{
		{"words are none", "milk", want{text: "milk"}},
		{"two parts are none", client + "-1", want{text: "<client>-<sequence>-<issue time>"}},
		{"a client id has 32 digits", client[1:] + "-1-5", want{text: "32 lower-case hex"}},
		{"not 33", client + "0-1-5", want{text: "32 lower-case hex"}},
		{"of lower case", strings.Repeat("A", 32) + "-1-5", want{text: "lower-case"}},
		{"and all hex", strings.Repeat("g", 32) + "-1-5", want{text: "hex"}},
		{"a sequence has no sign", client + "-+1-5", want{text: "sequence"}},
		{"and no leading zero", client + "-01-5", want{text: "sequence"}},
		{"and fits 64 bits", client + "-18446744073709551616-5", want{text: "sequence"}},
		{"an issue time is not negative", client + "-1--5", want{text: "issue time"}},
		{"and fits int64", client + "-1-9223372036854775808", want{text: "9223372036854775807"}},
		{"and ends there", fmt.Sprintf("%s-1-%d-1", client, now()), want{text: "issue time"}},
		{"an empty part is none", client + "--5", want{text: "sequence"}},
		{"all zero is none", strings.Repeat("0", 32) + "-0-0", want{text: "all zero"}},
		{"a long text is not even read", strings.Repeat("0", 1000), want{text: "1000 bytes, limit 73"}},
		{"one from the future is refused", fmt.Sprintf("%s-1-%d", client, now()+120_000), want{text: "future"}},
		{"one of yesterday has an outcome nobody knows", fmt.Sprintf("%s-1-%d", client, now()-86_400_000), want{code: connect.CodeFailedPrecondition, reason: v1.ErrorDetail_REASON_OPERATION_EXPIRED, unknown: true, text: "86400"}},
	} {
		if test.want.reason == 0 {
			test.want.code, test.want.reason = connect.CodeInvalidArgument, v1.ErrorDetail_REASON_OPERATION_INVALID
		}
		for _, r := range calls {
			if !r.mutation {
				continue
			}
			t.Run(test.name+" in "+r.op, func(t *testing.T) {
				before := n.dump()
				_, err := r.call(t.Context(), c, target{bucket: "carts", key: "42", op: test.id})
				refused(t, err, r.op, test.want)
				if after := n.dump(); after != before {
					t.Errorf("something was written\nbefore %s\nafter %s", before, after)
				}
			})
		}
	}
	t.Run("a retry counts once, and another increment under its id not at all", func(t *testing.T) {
		id := n.operation(7, 0)
		addDelta := func(delta int64) (int64, error) {
			res, err := c.counter.Add(t.Context(), connect.NewRequest(&v1.CounterServiceAddRequest{Bucket: "carts", Key: "once", Delta: delta, Options: &v1.WriteOptions{OperationId: id}}))
			if err != nil {
				return 0, err
			}
			return res.Msg.GetValue(), nil
		}
		for range 3 {
			if v, err := addDelta(5); err != nil || v != 5 {
				t.Fatalf("got %d, %v, want 5", v, err)
			}
		}
		before := n.dump()
		_, err := addDelta(6)
		refused(t, err, "counter.add", want{code: connect.CodeFailedPrecondition, reason: v1.ErrorDetail_REASON_OPERATION_REUSED, text: "once"})
		if after := n.dump(); after != before {
			t.Errorf("something was written\nbefore %s\nafter %s", before, after)
		}
	})
}

func TestATokenOpensForWhatItWasMadeForAndNothingElse(t *testing.T) {
	n := newSingle(t, 1)
	c := serve(t, n)
	fill(t, c)
	stranger := must(dvv.NewSealer([]byte("another cluster's secret")))
	types := map[string]crdt.Type{"set": crdt.Set, "register": crdt.Register, "blob": crdt.Blob, "map": crdt.Map}
	for _, r := range calls {
		if !r.context {
			continue
		}
		service, _, _ := strings.Cut(r.op, ".")
		scope := dvv.Scope{Purpose: dvv.PurposeContext, Type: uint8(types[service]), Bucket: "carts", Key: "42"}
		dots := dvv.ClockOf(dvv.Dot{Actor: localActor, Seq: 1})
		payload := dots.AppendBinary(nil)
		if service == "map" {
			scope.Purpose, payload = "map context", pack.AppendArray(pack.AppendBytes(nil, payload), 0)
		}
		good := must(n.sealer.Seal(scope, payload))
		other, elsewhere, cursor := scope, scope, scope
		other.Type, elsewhere.Key, cursor.Purpose = uint8(crdt.Counter), "43", dvv.PurposeCursor
		changed := good[:12] + strings.Map(func(r rune) rune {
			if r == 'A' {
				return 'B'
			}
			return 'A'
		}, good[12:13]) + good[13:]
		for _, test := range []struct {
			name, token string
			reason      v1.ErrorDetail_Reason
			limit, got  uint64
			says        string
		}{
			{"of another key", must(n.sealer.Seal(elsewhere, payload)), v1.ErrorDetail_REASON_CONTEXT_FOREIGN, 0, 0, "given for another key"},
			{"of another type", must(n.sealer.Seal(other, payload)), v1.ErrorDetail_REASON_CONTEXT_FOREIGN, 0, 0, "given for another key or type"},
			{"that is a cursor", must(n.sealer.Seal(cursor, []byte("\x00milk"))), v1.ErrorDetail_REASON_CONTEXT_FOREIGN, 0, 0, "for another use"},
			{"of another cluster", must(stranger.Seal(scope, payload)), v1.ErrorDetail_REASON_CONTEXT_FOREIGN, 0, 0, "another cluster"},
			{"that was changed", changed, v1.ErrorDetail_REASON_CONTEXT_FORGED, 0, 0, "changed or cut"},
			{"that was cut", good[:len(good)-4], v1.ErrorDetail_REASON_CONTEXT_FORGED, 0, 0, "changed or cut"},
			{"that was cut to a stump", good[:8], v1.ErrorDetail_REASON_CONTEXT_MALFORMED, 21, 6, "6 bytes decoded, at least 21 are needed"},
			{"that is no token", "whatever, really", v1.ErrorDetail_REASON_CONTEXT_MALFORMED, 0, 0, "at byte 8"},
			{"that is sealed around rubbish", must(n.sealer.Seal(scope, []byte{0xff})), v1.ErrorDetail_REASON_CONTEXT_MALFORMED, 0, 0, "nothing in it"},
			{"that is oversized", strings.Repeat("A", dvv.MaxTokenLen+1), v1.ErrorDetail_REASON_TOO_LARGE, dvv.MaxTokenLen, dvv.MaxTokenLen + 1, "65537 characters, limit 65536"},
		} {
			t.Run(r.op+" refuses a context "+test.name, func(t *testing.T) {
				before := n.dump()
				_, err := r.call(t.Context(), c, target{bucket: "carts", key: "42", context: test.token})
				refused(t, err, r.op, want{code: connect.CodeInvalidArgument, reason: test.reason, limit: test.limit, actual: test.got, text: "context: "})
				if !strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), "dvv") {
					t.Errorf("%v: want %q", err, test.says)
				}
				if strings.Contains(err.Error(), test.token) {
					t.Error("the token is given back in the error")
				}
				if after := n.dump(); after != before {
					t.Errorf("something was written\nbefore %s\nafter %s", before, after)
				}
			})
		}
		if _, err := r.call(t.Context(), c, target{bucket: "carts", key: "42", context: good}); err != nil {
			t.Errorf("%s refuses a good context: %v", r.op, err)
		}
	}
}

func TestACallWhoseTimeIsUpDoesNothing(t *testing.T) {
	n := newSingle(t, 1)
	fill(t, serve(t, n))
	past, cancel := context.WithDeadline(t.Context(), time.Unix(1, 0))
	defer cancel()
	gone, leave := context.WithCancel(t.Context())
	leave()
	before := n.dump()
	for _, test := range []struct {
		name string
		ctx  context.Context
		want want
	}{
		{"past its deadline", past, want{code: connect.CodeDeadlineExceeded, reason: v1.ErrorDetail_REASON_DEADLINE_PAST, text: "nothing was done"}},
		{"given up by its caller", gone, want{code: connect.CodeCanceled, text: "nothing was done"}},
	} {
		// The time runs out between the arrival of the message and the handler.
		late := connect.UnaryInterceptorFunc(func(next connect.UnaryFunc) connect.UnaryFunc {
			return func(_ context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
				return next(test.ctx, req)
			}
		})
		c := serve(t, n, late)
		for _, r := range calls {
			t.Run(r.op+" "+test.name, func(t *testing.T) {
				_, err := r.call(t.Context(), c, target{bucket: "carts", key: "42"})
				refused(t, err, r.op, test.want)
			})
		}
	}
	c := serve(t, n)
	t.Run("no time left on arrival", func(t *testing.T) {
		req := must(http.NewRequestWithContext(t.Context(), http.MethodPost, c.url+"/cartwheel.v1.SetService/Add", strings.NewReader(`{"bucket":"carts","key":"42","members":[{"member":"late"}]}`)))
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Connect-Timeout-Ms", "0")
		res := must(c.http.Do(req))
		defer res.Body.Close()
		if body := string(must(io.ReadAll(res.Body))); res.StatusCode != http.StatusGatewayTimeout || !strings.Contains(body, "cartwheel.v1.ErrorDetail") || !strings.Contains(body, "set.add: ") {
			t.Errorf("got %s %s", res.Status, body)
		}
	})
	t.Run("no time left on arrival by gRPC", func(t *testing.T) {
		req := must(http.NewRequestWithContext(t.Context(), http.MethodPost, c.url+"/cartwheel.v1.SetService/Add", bytes.NewReader(make([]byte, 5)))) // a frame of an empty message
		req.Header.Set("Content-Type", "application/grpc")
		req.Header.Set("Grpc-Timeout", "0n")
		res := must(c.http.Do(req))
		defer res.Body.Close()
		must(io.ReadAll(res.Body))
		for name, values := range res.Trailer {
			res.Header[name] = values
		}
		if res.Header.Get("Grpc-Status") != "4" || !strings.Contains(res.Header.Get("Grpc-Message"), "set.add: ") {
			t.Errorf("got %v", res.Header)
		}
	})
	if after := n.dump(); after != before {
		t.Errorf("something was written\nbefore %s\nafter %s", before, after)
	}
}

func TestEachFailureOfTheEngineHasOneCodeAndOneReason(t *testing.T) {
	n := newSingle(t, 3)
	c := serve(t, n)
	for _, test := range []struct {
		failure replica.Failure
		want    want
	}{
		{replica.Failure{Reason: replica.Internal}, want{code: connect.CodeUnavailable, reason: v1.ErrorDetail_REASON_NOT_READY}},
		{replica.Failure{Reason: replica.Internal, Unknown: true}, want{code: connect.CodeUnavailable, reason: v1.ErrorDetail_REASON_NOT_READY, unknown: true}},
		{replica.Failure{Reason: replica.Invalid}, want{code: connect.CodeInvalidArgument, reason: v1.ErrorDetail_REASON_TOO_LARGE}},
		{replica.Failure{Reason: replica.NoQuorum, Needed: 2, Got: 1, Unknown: true}, want{code: connect.CodeUnavailable, reason: v1.ErrorDetail_REASON_QUORUM_NOT_REACHED, needed: 2, answered: 1, unknown: true}},
		{replica.Failure{Reason: replica.DeadlinePast, Unknown: true}, want{code: connect.CodeDeadlineExceeded, reason: v1.ErrorDetail_REASON_DEADLINE_PAST, unknown: true}},
		{replica.Failure{Reason: replica.Overloaded}, want{code: connect.CodeResourceExhausted, reason: v1.ErrorDetail_REASON_OVERLOADED}},
		{replica.Failure{Reason: replica.OpExpired, Unknown: true}, want{code: connect.CodeFailedPrecondition, reason: v1.ErrorDetail_REASON_OPERATION_EXPIRED, unknown: true}},
		{replica.Failure{Reason: replica.OpExpired}, want{code: connect.CodeInvalidArgument, reason: v1.ErrorDetail_REASON_OPERATION_INVALID}},
		{replica.Failure{Reason: replica.OpReused}, want{code: connect.CodeFailedPrecondition, reason: v1.ErrorDetail_REASON_OPERATION_REUSED}},
		{replica.Failure{Reason: replica.Overflow}, want{code: connect.CodeOutOfRange, reason: v1.ErrorDetail_REASON_COUNTER_OVERFLOW}},
		{replica.Failure{Reason: replica.TooStale}, want{code: connect.CodeFailedPrecondition, reason: v1.ErrorDetail_REASON_TOO_STALE}},
		{replica.Failure{Reason: replica.SessionUnmet}, want{code: connect.CodeUnavailable, reason: v1.ErrorDetail_REASON_SESSION_UNMET}},
	} {
		test.failure.Text = "what the engine says"
		test.want.text = test.failure.Text
		for _, r := range calls {
			t.Run(fmt.Sprintf("%v of %s", test.failure.Reason, r.op), func(t *testing.T) {
				n.mu.Lock()
				n.instead = &replica.Result{Failure: &test.failure}
				n.mu.Unlock()
				_, err := r.call(t.Context(), c, target{bucket: "carts", key: "42"})
				w := test.want
				w.unknown = w.unknown && r.mutation // a read has no outcome to be in doubt about
				refused(t, err, r.op, w)
			})
		}
	}
}

func TestTooFewReplicasIsAnErrorThatCountsThem(t *testing.T) {
	n := newSingle(t, 3)
	c := serve(t, n)
	for _, r := range calls {
		t.Run(r.op, func(t *testing.T) {
			before := n.dump()
			_, err := r.call(t.Context(), c, target{bucket: "carts", key: "42"})
			refused(t, err, r.op, want{code: connect.CodeUnavailable, reason: v1.ErrorDetail_REASON_QUORUM_NOT_REACHED, needed: 2, answered: 1, text: "carts/42"})
			if after := n.dump(); after != before {
				t.Errorf("something was written\nbefore %s\nafter %s", before, after)
			}
		})
	}
	for _, r := range calls {
		if q := (target{bucket: "carts", key: "42", replicas: 1}); r.op == "set.add" || !r.mutation {
			if info, err := r.call(t.Context(), c, q); err != nil || info.GetReplicasAnswered() != 1 {
				t.Errorf("%s with one replica: %v, %v", r.op, info, err)
			}
		}
	}
	info, err := calls[4].call(t.Context(), c, target{bucket: "carts", key: "42", fast: true})
	if err != nil || info.GetReplicasAnswered() != 1 {
		t.Errorf("fast %s: %v, %v", calls[4].op, info, err)
	}
}

func TestAMessageOverTheLimitIsRefusedBeforeItIsRead(t *testing.T) {
	n := newSingle(t, 1)
	c := serve(t, n)
	before := n.dump()
	for _, test := range []struct {
		name   string
		blocks int
	}{
		{"just above what a message may have", server.MaxRequest/crdt.MaxValue + 1},
		{"far above", 20},
	} {
		t.Run(test.name, func(t *testing.T) {
			req := &v1.SetServiceAddRequest{Bucket: "carts", Key: "42"}
			for i := range test.blocks {
				req.Members = append(req.Members, &v1.Member{Member: fmt.Sprint("m", i), Note: make([]byte, crdt.MaxValue)})
			}
			_, err := c.set.Add(t.Context(), connect.NewRequest(req))
			refused(t, err, "set.add", want{code: connect.CodeInvalidArgument, reason: v1.ErrorDetail_REASON_TOO_LARGE,
				limit: server.MaxRequest, actual: uint64(proto.Size(req))})
		})
	}
	t.Run("the body is cut off when nobody knows its length", func(t *testing.T) {
		req := must(http.NewRequestWithContext(t.Context(), http.MethodPost, c.url+"/cartwheel.v1.SetService/Add", endless{}))
		req.Header.Set("Content-Type", "application/json")
		res := must(c.http.Do(req))
		defer res.Body.Close()
		if res.StatusCode != http.StatusTooManyRequests {
			t.Errorf("got %s", res.Status)
		}
	})
	if after := n.dump(); after != before {
		t.Errorf("something was written\nbefore %s\nafter %s", before, after)
	}
}

type endless struct{}

func (endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = ' '
	}
	return len(b), nil
}
