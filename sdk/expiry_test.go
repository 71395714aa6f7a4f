package cartwheel_test

import (
	"slices"
	"testing"
	"time"

	cartwheel "github.com/cartwheel-db/cartwheel/sdk"
)

func TestAWriteBearsTheExpiryOfItsHandleOnTheClockOfTheCluster(t *testing.T) {
	cluster, nodes := newCluster(t, 1)
	cluster.clock = func() time.Time { return time.Now().Add(-time.Hour) } // the client is ahead
	db := open(t, nodes)
	at := time.UnixMilli(4102444800123)
	for _, test := range []struct {
		name string
		do   func(options ...cartwheel.CallOption) error
	}{
		{"set.add", func(o ...cartwheel.CallOption) error { return db.Set("b", "k").With(o...).Add(t.Context(), "m") }},
		{"set.update", func(o ...cartwheel.CallOption) error {
			return db.Set("b", "k").With(o...).Update(t.Context(), cartwheel.Adding(cartwheel.Member{Name: "m"}))
		}},
		{"counter.add", func(o ...cartwheel.CallOption) error {
			_, err := db.Counter("b", "k").With(o...).Add(t.Context(), 1)
			return err
		}},
		{"register.set", func(o ...cartwheel.CallOption) error {
			return db.Register("b", "k").With(o...).Set(t.Context(), []byte("v"))
		}},
		{"blob.put", func(o ...cartwheel.CallOption) error {
			_, err := db.Blob("b", "k").With(o...).Put(t.Context(), []byte("v"), "")
			return err
		}},
		{"map.update", func(o ...cartwheel.CallOption) error {
			return db.Map("b", "k").With(o...).Update(t.Context(), cartwheel.Increment("f", 1))
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			expires := func(o ...cartwheel.CallOption) uint64 {
				t.Helper()
				if err := test.do(o...); err != nil {
					t.Fatal(err)
				}
				cluster.mu.Lock()
				defer cluster.mu.Unlock()
				return cluster.seen[len(cluster.seen)-1].expires
			}
			if got := expires(); got != 0 {
				t.Errorf("without an expiry: %d", got)
			}
			if got := expires(cartwheel.ExpiresAt(at)); got != uint64(at.UnixMilli()) {
				t.Errorf("at %v: %d", at, got)
			}
			if got := expires(cartwheel.ExpiresAt(time.UnixMilli(-5))); got != 1 {
				t.Errorf("before all time: %d", got)
			}
			if got := expires(cartwheel.ExpiresAt(at), cartwheel.ExpiresAt(time.Time{})); got != 0 {
				t.Errorf("for ever: %d", got)
			}
			before := db.ServerTime()
			got := time.UnixMilli(int64(expires(cartwheel.ExpiresIn(30 * time.Second))))
			if early, late := before.Add(30*time.Second).Truncate(time.Millisecond), db.ServerTime().Add(30*time.Second); got.Before(early) || got.After(late) {
				t.Errorf("in 30 s: %v, want between %v and %v", got, early, late)
			}
			if time.Until(got) > -time.Minute*58 {
				t.Errorf("in 30 s of the client's clock: %v", got)
			}
		})
	}
}

func TestARetryBearsTheSameExpiry(t *testing.T) {
	cluster, nodes := newCluster(t, 1)
	nodes[0].plant("RegisterService/Set", abort)
	if err := open(t, nodes).Register("b", "k").With(cartwheel.ExpiresIn(time.Minute)).Set(t.Context(), []byte("v")); err != nil {
		t.Fatal(err)
	}
	var sent []uint64
	for _, r := range cluster.seen {
		if r.procedure == "register.set" {
			sent = append(sent, r.expires)
		}
	}
	if len(sent) != 2 || sent[0] != sent[1] || sent[0] == 0 {
		t.Errorf("sent %d", sent)
	}
}

func TestReadsSayUntilWhenValuesAreShown(t *testing.T) {
	cluster, nodes := newCluster(t, 1)
	db, at := open(t, nodes), time.UnixMilli(4102444800123)
	for range 2 {
		if _, err := db.Blob("b", "k").Put(t.Context(), nil, ""); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		reply []uint64
		want  [2]time.Time
	}{
		{nil, [2]time.Time{}},
		{[]uint64{4102444800123, 0}, [2]time.Time{at}},
		{[]uint64{0, 4102444800123}, [2]time.Time{1: at}},
		{[]uint64{4102444800123, 0, 7}, [2]time.Time{at}}, // more than there are siblings
	} {
		cluster.expires = c.reply
		counter, err := db.Counter("b", "k").Read(t.Context())
		if err != nil || !counter.ExpiresAt.Equal(c.want[0]) {
			t.Errorf("%v: counter until %v, %v", c.reply, counter.ExpiresAt, err)
		}
		register, err := db.Register("b", "k").Get(t.Context())
		if err != nil || !register.ExpiresAt.Equal(c.want[0]) {
			t.Errorf("%v: register until %v, %v", c.reply, register.ExpiresAt, err)
		}
		blob, err := db.Blob("b", "k").Get(t.Context())
		if err != nil || !slices.EqualFunc(blob.ExpiresAt, c.want[:], time.Time.Equal) {
			t.Errorf("%v: siblings until %v, %v", c.reply, blob.ExpiresAt, err)
		}
	}
}
