package server_test

import (
	"strings"
	"testing"

	"connectrpc.com/connect"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica"
	v1 "github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1"
	"github.com/cartwheel-db/cartwheel/server"
)

var typesByService = map[string]crdt.Type{"set": crdt.Set, "counter": crdt.Counter, "register": crdt.Register, "blob": crdt.Blob, "map": crdt.Map}

func sessionScope(op, key string) dvv.Scope {
	service, _, _ := strings.Cut(op, ".")
	return dvv.Scope{Purpose: dvv.PurposeSession, Type: uint8(typesByService[service]), Bucket: "carts", Key: key}
}

func TestASessionGrowsByWhatEachCallReadOrWrote(t *testing.T) {
	for _, r := range calls {
		t.Run(r.op, func(t *testing.T) {
			n := newSingle(t, 1)
			c := serve(t, n)
			fill(t, c)
			scope := sessionScope(r.op, "42")
			one, three := dvv.Dot{Actor: localActor, Seq: 1}, dvv.Dot{Actor: localActor, Seq: 3}
			given := []string{must(n.sealer.SealContext(scope, dvv.ClockOf(one))), must(n.sealer.SealContext(scope, dvv.ClockOf(three)))}
			before := n.clockOf(t, "carts", "42")
			var asked []*dvv.Clock
			n.before = func(r replica.Request) {
				session := r.Session
				if r.Mutation != nil {
					session = r.Mutation.Session
				}
				asked = append(asked, session)
			}
			info, err := r.call(t.Context(), c, target{bucket: "carts", key: "42", session: &v1.SessionTokens{Tokens: given}})
			if err != nil {
				t.Fatal(err)
			}
			want := dvv.ClockOf(one, three)
			if len(asked) == 0 || asked[0] == nil || !asked[0].Equal(want) {
				t.Errorf("the engine was asked to cover %v, want %v", asked, want)
			}
			after := n.clockOf(t, "carts", "42")
			if r.mutation {
				want.Join(after.Minus(before))
			} else {
				want.Join(before)
			}
			if got := must(n.sealer.OpenContext(scope, info.GetSession())); !got.Equal(want) || info.GetSessionOverflow() {
				t.Errorf("the reply's session is %v, want %v", got, want)
			}
		})
	}
}

func TestAWriterReadsItsOwnWritesRemovesIncluded(t *testing.T) {
	n := newSingle(t, 1)
	c := serve(t, n)
	fill(t, c)
	for _, r := range calls {
		t.Run(r.op, func(t *testing.T) {
			before := n.clockOf(t, "carts", "42")
			info, err := r.call(t.Context(), c, target{bucket: "carts", key: "42", session: &v1.SessionTokens{}})
			if err != nil {
				t.Fatal(err)
			}
			after := n.clockOf(t, "carts", "42")
			got := must(n.sealer.OpenContext(sessionScope(r.op, "42"), info.GetSession()))
			if !got.Covers(after.Minus(before)) || !r.mutation && !got.Equal(after) {
				t.Errorf("%v was written and the session is %v", after.Minus(before), got)
			}
		})
	}
}

func TestASessionThatNoStateCoversIsRefusedAndNothingIsWritten(t *testing.T) {
	n := newSingle(t, 1)
	c := serve(t, n)
	fill(t, c)
	unheard := dvv.ClockOf(dvv.Dot{Actor: foreignActor, Seq: 7})
	for _, r := range calls {
		t.Run(r.op, func(t *testing.T) {
			session := &v1.SessionTokens{Tokens: []string{must(n.sealer.SealContext(sessionScope(r.op, "42"), unheard))}}
			before := n.clockOf(t, "carts", "42")
			info, err := r.call(t.Context(), c, target{bucket: "carts", key: "42", session: session})
			switch r.op {
			case "set.add", "set.update", "counter.add", "register.set", "blob.put", "map.update": // which read nothing first
				if got := must(n.sealer.OpenContext(sessionScope(r.op, "42"), info.GetSession())); err != nil || !got.Covers(unheard) || got.Equal(unheard) {
					t.Errorf("the session is %v, %v", got, err)
				}
				return
			}
			refused(t, err, r.op, want{code: connect.CodeUnavailable, reason: v1.ErrorDetail_REASON_SESSION_UNMET, text: "session"})
			if after := n.clockOf(t, "carts", "42"); !after.Equal(before) {
				t.Errorf("the clock went from %v to %v", before, after)
			}
		})
	}
}

// clockOf is what the partition of a key holds.
func (n *single) clockOf(t testing.TB, bucket, key string) dvv.Clock {
	t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	clock, _, err := n.store.View().Clock(n.ring.Partition(bucket, key))
	if err != nil {
		t.Fatal(err)
	}
	return clock
}

func TestWithoutASessionNothingIsSealedOrAskedFor(t *testing.T) {
	n := newSingle(t, 1)
	c := serve(t, n)
	fill(t, c)
	n.before = func(r replica.Request) {
		if r.Session != nil || r.Mutation != nil && r.Mutation.Session != nil {
			t.Errorf("the engine is asked for a session in %+v", r)
		}
	}
	for _, r := range calls {
		info, err := r.call(t.Context(), c, target{bucket: "carts", key: "42"})
		if err != nil || info.GetSession() != "" || info.GetSessionOverflow() {
			t.Errorf("%s: %v, %v", r.op, info, err)
		}
	}
}

func TestASessionOpensForTheValueItBelongsToAndNothingElse(t *testing.T) {
	n := newSingle(t, 1)
	c := serve(t, n)
	fill(t, c)
	stranger := must(dvv.NewSealer([]byte("another cluster's secret")))
	dots := dvv.ClockOf(dvv.Dot{Actor: localActor, Seq: 1})
	for _, r := range calls {
		scope := sessionScope(r.op, "42")
		good := must(n.sealer.SealContext(scope, dots))
		other, context := scope, scope
		other.Type++
		context.Purpose = dvv.PurposeContext
		many := make([]string, server.MaxSessionTokens+1)
		for i := range many {
			many[i] = good
		}
		for _, test := range []struct {
			name       string
			tokens     []string
			limit, got uint64
		}{
			{"of another key", []string{must(n.sealer.SealContext(sessionScope(r.op, "43"), dots))}, 0, 0},
			{"of another type", []string{must(n.sealer.SealContext(other, dots))}, 0, 0},
			{"that is a context", []string{must(n.sealer.SealContext(context, dots))}, 0, 0},
			{"of another cluster", []string{must(stranger.SealContext(scope, dots))}, 0, 0},
			{"that was changed", []string{"B" + good[1:]}, 1, 5},
			{"that was cut", []string{good[:len(good)-4]}, 0, 0},
			{"that was cut to a stump", []string{good[:8]}, 21, 6},
			{"that is no token", []string{"whatever, really"}, 0, 0},
			{"that is empty", []string{""}, 21, 0},
			{"that is sealed around rubbish", []string{must(n.sealer.Seal(scope, []byte{0xff}))}, 0, 0},
			{"that is oversized", []string{strings.Repeat("A", dvv.MaxTokenLen+1)}, dvv.MaxTokenLen, dvv.MaxTokenLen + 1},
			{"of which one is bad", []string{good, "AAAA"}, 21, 3},
			{"of too many tokens", many, server.MaxSessionTokens, server.MaxSessionTokens + 1},
		} {
			t.Run(r.op+" refuses a session "+test.name, func(t *testing.T) {
				before := n.dump()
				_, err := r.call(t.Context(), c, target{bucket: "carts", key: "42", session: &v1.SessionTokens{Tokens: test.tokens}})
				code, d := detail(t, err)
				if code != connect.CodeInvalidArgument || d.GetReason() != v1.ErrorDetail_REASON_SESSION_INVALID || !strings.Contains(err.Error(), "session: ") {
					t.Fatalf("got %v %v: %v", code, d.GetReason(), err)
				}
				if d.GetLimit() != test.limit || d.GetActual() != test.got {
					t.Errorf("limit %d, actual %d, want %d and %d", d.GetLimit(), d.GetActual(), test.limit, test.got)
				}
				if after := n.dump(); after != before {
					t.Errorf("something was written\nbefore %s\nafter %s", before, after)
				}
			})
		}
	}
}

func TestASessionThatNoTokenHoldsIsToldAndTheCallSucceeds(t *testing.T) {
	n := newSingle(t, 1)
	c := serve(t, n)
	fill(t, c)
	scope := sessionScope("register.get", "42")
	var halves [2]dvv.Clock
	var tokens []string
	for i := range halves {
		for a := range 2500 { // of 12 bytes each
			halves[i].Add(dvv.Dot{Actor: dvv.Actor(i*1_000_000 + a + 100), Seq: 1})
		}
		tokens = append(tokens, must(n.sealer.SealContext(scope, halves[i])))
	}
	n.instead = &replica.Result{Answers: 1, Merged: &replica.Merged{}}
	res, err := c.register.Get(t.Context(), connect.NewRequest(&v1.RegisterServiceGetRequest{Bucket: "carts", Key: "42",
		Options: &v1.ReadOptions{Session: &v1.SessionTokens{Tokens: tokens}}}))
	if err != nil {
		t.Fatal(err)
	}
	if info := res.Msg.GetInfo(); info.GetSession() != "" || !info.GetSessionOverflow() || info.GetReplicasAnswered() != 1 {
		t.Errorf("got %v", info)
	}
	res, err = c.register.Get(t.Context(), connect.NewRequest(&v1.RegisterServiceGetRequest{Bucket: "carts", Key: "42",
		Options: &v1.ReadOptions{Session: &v1.SessionTokens{Tokens: tokens[:1]}}}))
	if err != nil {
		t.Fatal(err)
	}
	if info := res.Msg.GetInfo(); info.GetSession() != tokens[0] || info.GetSessionOverflow() {
		t.Errorf("half of it fits, and the reply says %v", info)
	}
}

func TestEachReadOfOneCallCoversTheOnesBefore(t *testing.T) {
	n := newSingle(t, 1)
	c := serve(t, n)
	var asked []dvv.Clock
	n.before = func(r replica.Request) {
		var session dvv.Clock
		if r.Session != nil {
			session = r.Session.Clone()
		}
		asked = append(asked, session)
		n.instead = &replica.Result{Merged: &replica.Merged{
			Clock: dvv.ClockOf(dvv.Dot{Actor: 5, Seq: uint64(len(asked))}), More: len(asked) < 3, Last: strings.Repeat("m", len(asked)),
		}}
	}
	res, err := c.set.Members(t.Context(), connect.NewRequest(&v1.SetServiceMembersRequest{Bucket: "carts", Key: "42", Options: &v1.ReadOptions{Session: &v1.SessionTokens{}}}))
	if err != nil {
		t.Fatal(err)
	}
	for i, session := range asked {
		if want := uint64(i); session.Count() != want || session.Last(5) != want {
			t.Errorf("read %d was to cover %v", i, session)
		}
	}
	if got := must(n.sealer.OpenContext(sessionScope("set.members", "42"), res.Msg.GetInfo().GetSession())); len(asked) != 3 || got.Count() != 3 {
		t.Errorf("after %d reads the session is %v", len(asked), got)
	}
}

// What a session costs a node, beside the engine's work: opening the token of a
// request and sealing that of a reply, under a clock of so many actors.
func BenchmarkSession(b *testing.B) {
	sealer := must(dvv.NewSealer(secret))
	scope := sessionScope("set.add", "42")
	for name, actors := range map[string]int{"3 actors": 3, "100 actors": 100} {
		var clock dvv.Clock
		for a := range actors {
			clock.AddRange(dvv.Actor(uint64(a+1)*0x9e3779b97f4a7c15), 1, 100_000)
		}
		token := must(sealer.SealContext(scope, clock))
		b.Run("seal "+name, func(b *testing.B) {
			b.ReportMetric(float64(len(token)), "characters")
			for b.Loop() {
				must(sealer.SealContext(scope, clock))
			}
		})
		b.Run("open "+name, func(b *testing.B) {
			for b.Loop() {
				must(sealer.OpenContext(scope, token))
			}
		})
	}
}
