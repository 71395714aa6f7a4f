package server_test

import (
	"fmt"
	"slices"
	"testing"

	"connectrpc.com/connect"

	"github.com/cartwheel-db/cartwheel/crdt"
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
