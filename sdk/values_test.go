package cartwheel_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	cartwheel "github.com/cartwheel-db/cartwheel/sdk"
)

func TestASetKeepsMembersWithTheirNotesAndExpiries(t *testing.T) {
	_, nodes := newCluster(t, 1)
	cart := open(t, nodes).Set("carts", "42")
	expiry := time.UnixMilli(4102444800123)
	shown, err := cart.AddMembers(t.Context(),
		cartwheel.Member{Name: "milk", Note: []byte("skimmed")},
		cartwheel.Member{Name: "eggs", ExpiresAt: expiry})
	if err != nil || shown != "added" {
		t.Fatalf("add: context %q, %v", shown, err)
	}
	got := list(t, cart)
	want := []cartwheel.Member{{Name: "eggs", ExpiresAt: expiry}, {Name: "milk", Note: []byte("skimmed")}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	found, shown, err := cart.ContainsEach(t.Context(), "milk", "bread", "eggs")
	if err != nil || !slices.Equal(found, []bool{true, false, true}) || shown != "shown" {
		t.Errorf("contains: %v, context %q, %v", found, shown, err)
	}
	if size, err := cart.Size(t.Context()); size != 2 || err != nil {
		t.Errorf("size: %d, %v", size, err)
	}
}

func TestASetIsChangedMemberByMemberInABatchAndWhole(t *testing.T) {
	_, nodes := newCluster(t, 1)
	cart := open(t, nodes).Set("carts", "42")
	for _, step := range []struct {
		name string
		do   func() error
		want []string
	}{
		{"add", func() error { return cart.Add(t.Context(), "a", "b", "c") }, []string{"a", "b", "c"}},
		{"remove", func() error { return cart.Remove(t.Context(), "b", "z") }, []string{"a", "c"}},
		{"remove what was shown", func() error { return cart.RemoveWith(t.Context(), "shown", "c") }, []string{"a"}},
		{"a batch keeps its order", func() error {
			return cart.Update(t.Context(), cartwheel.Adding(cartwheel.Member{Name: "d"}), cartwheel.Removing("d"),
				cartwheel.Removing("e"), cartwheel.Adding(cartwheel.Member{Name: "e"}))
		}, []string{"a", "e"}},
		{"clear", func() error { return cart.Clear(t.Context()) }, nil},
	} {
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		var names []string
		for _, member := range list(t, cart) {
			names = append(names, member.Name)
		}
		if !slices.Equal(names, step.want) {
			t.Fatalf("%s: got %v, want %v", step.name, names, step.want)
		}
	}
}

func TestMembersWalksThePagesUnderAPrefix(t *testing.T) {
	cluster, nodes := newCluster(t, 1)
	cart := open(t, nodes).Set("carts", "42")
	var want []string
	for i := range 25 {
		want = append(want, fmt.Sprintf("a%02d", i))
	}
	if err := cart.Add(t.Context(), append([]string{"b00", "0"}, want...)...); err != nil {
		t.Fatal(err)
	}
	var names []string
	for member, err := range cart.Members(t.Context(), cartwheel.Prefix("a"), cartwheel.PageSize(10)) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, member.Name)
	}
	if !slices.Equal(names, want) {
		t.Errorf("got %v, want %v", names, want)
	}
	if pages := len(cluster.requests("members")); pages != 3 {
		t.Errorf("25 members in pages of 10 took %d requests", pages)
	}
}

func TestMembersOfARangeAreThoseFromItsFirstUntilItsEnd(t *testing.T) {
	_, nodes := newCluster(t, 1)
	cart := open(t, nodes).Set("carts", "42")
	if err := cart.Add(t.Context(), "a", "b", "c", "d"); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ first, end, want string }{{"b", "d", "bc"}, {"", "c", "ab"}, {"bb", "", "cd"}, {"d", "b", ""}} {
		got := ""
		for member, err := range cart.Members(t.Context(), cartwheel.Between(test.first, test.end), cartwheel.PageSize(1)) {
			if err != nil {
				t.Fatal(err)
			}
			got += member.Name
		}
		if got != test.want {
			t.Errorf("between %q and %q: %q, want %q", test.first, test.end, got, test.want)
		}
	}
}

func TestMembersAsksForNoPageThatNobodyWants(t *testing.T) {
	cluster, nodes := newCluster(t, 1)
	cart := open(t, nodes).Set("carts", "42")
	if err := cart.Add(t.Context(), "a", "b", "c", "d"); err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, err := range cart.Members(t.Context(), cartwheel.PageSize(2)) {
		if err != nil {
			t.Fatal(err)
		}
		if seen++; seen == 2 {
			break
		}
	}
	if pages := len(cluster.requests("members")); pages != 1 {
		t.Errorf("2 members in pages of 2 took %d requests", pages)
	}
}

func TestAListingCanBeRangedOverTwiceAndGoneOnWith(t *testing.T) {
	_, nodes := newCluster(t, 1)
	cart := open(t, nodes).Set("carts", "42")
	if err := cart.Add(t.Context(), "a", "b", "c"); err != nil {
		t.Fatal(err)
	}
	pages := cart.Pages(t.Context(), cartwheel.PageSize(2))
	for range 2 {
		for page, err := range pages {
			if err != nil || len(page.Members) != 2 || page.Next != "b" || page.Context != "page of " {
				t.Fatalf("first page: %+v, %v", page, err)
			}
			break
		}
	}
	for page, err := range cart.Pages(t.Context(), cartwheel.From("b")) {
		if err != nil || len(page.Members) != 1 || page.Members[0].Name != "c" || page.Next != "" {
			t.Errorf("page from b: %+v, %v", page, err)
		}
	}
}

func TestAnErrorIsTheLastThingAListingYields(t *testing.T) {
	_, nodes := newCluster(t, 1)
	cart := open(t, nodes).Set("carts", "42")
	var errs []error
	for _, err := range cart.Members(t.Context(), cartwheel.From("wrong")) {
		errs = append(errs, err)
	}
	if len(errs) != 1 || !errors.Is(errs[0], cartwheel.CursorInvalid) {
		t.Errorf("got %v", errs)
	}
}

func TestACounterAddsReadsAndResets(t *testing.T) {
	_, nodes := newCluster(t, 1)
	db := open(t, nodes)
	stock := db.Counter("stock", "1")
	for _, step := range []struct {
		name string
		do   func() (int64, error)
		want int64
	}{
		{"add", func() (int64, error) { return stock.Add(t.Context(), 5) }, 5},
		{"take away", func() (int64, error) { return stock.Add(t.Context(), -7) }, -2},
		{"get", func() (int64, error) { return stock.Get(t.Context()) }, -2},
		{"reset gives what was", func() (int64, error) { return stock.Reset(t.Context()) }, -2},
		{"get after reset", func() (int64, error) { return stock.Get(t.Context()) }, 0},
	} {
		if got, err := step.do(); got != step.want || err != nil {
			t.Fatalf("%s: got %d, %v, want %d", step.name, got, err, step.want)
		}
	}
	var info cartwheel.Info
	if _, err := db.Counter("stock", "brimming").With(cartwheel.Report(&info)).Get(t.Context()); err != nil || !info.Saturated {
		t.Errorf("saturated: %+v, %v", info, err)
	}
}

func TestARegisterTellsEmptyFromAbsent(t *testing.T) {
	_, nodes := newCluster(t, 1)
	last := open(t, nodes).Register("retail", "last")
	if got, err := last.Get(t.Context()); got.Exists || err != nil {
		t.Errorf("absent: %+v, %v", got, err)
	}
	if err := last.Set(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if got, err := last.Get(t.Context()); !got.Exists || len(got.Value) != 0 || got.Concurrent != nil || err != nil {
		t.Errorf("empty: %+v, %v", got, err)
	}
	got, err := last.Concurrent(t.Context())
	if err != nil || len(got.Concurrent) != 1 || string(got.Concurrent[0].Value) != "late" || got.Concurrent[0].Stamp != 7 {
		t.Errorf("concurrent: %+v, %v", got, err)
	}
	if err := last.DeleteWith(t.Context(), got.Context); err != nil {
		t.Fatal(err)
	}
	if got, err := last.Get(t.Context()); got.Exists || err != nil {
		t.Errorf("deleted: %+v, %v", got, err)
	}
}

func TestABlobKeepsSiblingsUntilAContextCoversThem(t *testing.T) {
	_, nodes := newCluster(t, 1)
	blob := open(t, nodes).Blob("notes", "1")
	for _, value := range []string{"x", "y"} {
		if _, err := blob.Put(t.Context(), []byte(value), ""); err != nil {
			t.Fatal(err)
		}
	}
	shown, err := blob.Get(t.Context())
	if err != nil || len(shown.Siblings) != 2 {
		t.Fatalf("two blind puts: %+v, %v", shown, err)
	}
	next, err := blob.Put(t.Context(), []byte("xy"), shown.Context)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := blob.Put(t.Context(), []byte("xyz"), next); err != nil {
		t.Fatal(err)
	}
	if got, err := blob.Get(t.Context()); err != nil || len(got.Siblings) != 1 || string(got.Siblings[0]) != "xyz" {
		t.Errorf("after a chain of puts: %q, %v", got.Siblings, err)
	}
	if err := blob.Delete(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, err := blob.Get(t.Context()); err != nil || len(got.Siblings) != 0 {
		t.Errorf("deleted: %q, %v", got.Siblings, err)
	}
}

func TestOptionsTravelWithTheRequest(t *testing.T) {
	cluster, nodes := newCluster(t, 1)
	db := open(t, nodes)
	var info cartwheel.Info
	cart := db.Set("carts", "42").With(cartwheel.W(1), cartwheel.Report(&info))
	if err := cart.Add(t.Context(), "milk"); err != nil {
		t.Fatal(err)
	}
	added := cluster.requests("add")[0]
	if added.w != 1 || info.OperationID != added.operationID || info.Replicas != 2 || info.Coordinator != "node-0" || info.Attempts != 1 || info.Endpoint != nodes[0].server.URL {
		t.Errorf("sent %+v, reported %+v", added, info)
	}
	if _, err := cart.With(cartwheel.R(3)).Size(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := cart.With(cartwheel.Fast()).Size(t.Context()); err != nil {
		t.Fatal(err)
	}
	sizes := cluster.requests("size")
	if sizes[0].r != 3 || sizes[0].fast || sizes[1].r != 0 || !sizes[1].fast {
		t.Errorf("an option stuck to a handle it was not given to: %+v", sizes)
	}
}

func TestTheClusterDescribesItself(t *testing.T) {
	cluster, nodes := newCluster(t, 1)
	at := time.UnixMilli(1764000000000)
	cluster.clock = func() time.Time { return at }
	c := open(t, nodes).Cluster()
	self := cartwheel.Node{ID: "node-0", State: "ready", Weight: 1, APIAddress: nodes[0].server.Listener.Addr().String()}

	status, err := c.Status(t.Context())
	want := cartwheel.Status{
		Node: self, Version: "v0.0.1", Uptime: 1500 * time.Millisecond, ServerTime: at, ClusterID: "fake",
		N: 3, R: 2, W: 2, Q: 2, RingHash: "feed", Stored: 4, Owned: 3, Ready: 2, HandingOff: 1,
		Peers:      []cartwheel.Peer{{Node: cartwheel.Node{ID: "other", State: "unspecified"}, Alive: true, RingHash: "beef", Age: 60 * time.Millisecond, Missing: 7}},
		Partitions: cartwheel.PartitionCounts{Joining: 1, Recovering: 2, Ready: 3, Draining: 4},
		Staleness:  cartwheel.Staleness{Bound: cartwheel.UnknownStaleness, Reachable: 5 * time.Millisecond, Unreachable: []string{"other"}},
		Installs:   []cartwheel.Install{{Partition: 1, From: "other", Phase: "log", Done: 5}},
		LogGroups:  1, LogBytes: 2, Operations: 3, DamagedRows: 4, TrimmedEarly: 5,
	}
	if diff := cmp.Diff(want, status); diff != "" || err != nil {
		t.Error(err, diff)
	}
	members, err := c.Members(t.Context())
	if diff := cmp.Diff([]cartwheel.Node{self}, members); diff != "" || err != nil {
		t.Error(err, diff)
	}
	ring, err := c.Ring(t.Context())
	if diff := cmp.Diff(cartwheel.Ring{Hash: "feed", Owners: [][]string{{"a", "b"}, {"b", "a"}}}, ring); diff != "" || err != nil {
		t.Error(err, diff)
	}
	for i, dataType := range []cartwheel.DataType{cartwheel.TypeSet, cartwheel.TypeCounter, cartwheel.TypeRegister, cartwheel.TypeBlob, cartwheel.TypeMap} {
		location, err := c.Locate(t.Context(), dataType, "carts", "42")
		want := cartwheel.Location{Partition: i + 1, Owners: []string{"a", "b"}, Active: []cartwheel.ActiveNode{
			{Node: cartwheel.Node{ID: "a", State: "unspecified"}, Reachable: true},
			{Node: cartwheel.Node{ID: "c", State: "unspecified"}, FallbackFor: "b"},
		}}
		if diff := cmp.Diff(want, location); diff != "" || err != nil {
			t.Error(dataType, err, diff)
		}
	}
	if _, err := c.Locate(t.Context(), "heap", "carts", "42"); !errors.Is(err, cartwheel.InvalidOption) {
		t.Errorf("an unknown type: %v", err)
	}
}

func list(t *testing.T, set *cartwheel.Set) (members []cartwheel.Member) {
	t.Helper()
	for member, err := range set.Members(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		members = append(members, member)
	}
	return members
}
