package server_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"pgregory.net/rapid"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica"
	v1 "github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1"
	"github.com/cartwheel-db/cartwheel/server"
)

// scan lists a set page by page and returns the members and how many each page
// held.
func (s cart) scan(prefix string, limit uint32) (members []string, pages []int) {
	s.t.Helper()
	return s.list(&v1.SetServiceMembersRequest{Prefix: prefix, Limit: limit})
}

func (s cart) list(req *v1.SetServiceMembersRequest) (members []string, pages []int) {
	s.t.Helper()
	for {
		res := s.page(req)
		members, pages = append(members, names(res.GetMembers())...), append(pages, len(res.GetMembers()))
		if res.GetNextCursor() == "" {
			return members, pages
		}
		req.Cursor = res.GetNextCursor()
	}
}

// numbered returns members prefix00000 and so on.
func numbered(prefix string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("%s%05d", prefix, i)
	}
	return out
}

func (s cart) addAll(members []string) {
	s.t.Helper()
	for part := range slices.Chunk(members, replica.MaxChanges) {
		s.add("", part...)
	}
}

func TestAListingComesInPagesThatJoinUp(t *testing.T) {
	n := newSingle(t, 1)
	s := cart{t, serve(t, n), "large"}
	all := numbered("m", 2500)
	s.addAll(all)
	s.add("", "a", "m", "m\xf4\x8f\xbf\xbf", "z")
	whole := slices.Concat([]string{"a", "m"}, all, []string{"m\xf4\x8f\xbf\xbf", "z"})
	for _, test := range []struct {
		name, prefix string
		limit        uint32
		want         []string
		pages        []int
	}{
		{"by default a page has 1,000", "", 0, whole, []int{1000, 1000, 504}},
		{"a page may have one", "m0000", 1, all[:10], slices.Repeat([]int{1}, 10)},
		{"a page may have more than one query holds", "", 1800, whole, []int{1800, 704}},
		{"a page that ends with the set says so", "", 2504, whole, []int{2504}},
		{"a page has 10,000 at most, whatever is asked", "", 4_000_000_000, whole, []int{2504}},
		{"a prefix shows only what begins with it, itself included", "m", 2000, whole[1:2503], []int{2000, 502}},
		{"a prefix may be a whole member", "m00007", 0, all[7:8], []int{1}},
		{"a prefix nobody has shows nothing", "n", 0, nil, []int{0}},
		{"a prefix behind all shows nothing", "zz", 0, nil, []int{0}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, pages := s.scan(test.prefix, test.limit)
			if !slices.Equal(got, test.want) {
				t.Errorf("%d members in %v, want %d", len(got), pages, len(test.want))
			}
			if !slices.Equal(pages, test.pages) {
				t.Errorf("pages %v, want %v", pages, test.pages)
			}
		})
	}
	for _, test := range []struct {
		name, prefix, from, until string
		want                      []string
	}{
		{"without bounds", "", "", "", whole},
		{"from a member that is there", "", "m02499", "", whole[2501:]},
		{"from between two", "", "m02499+", "", whole[2502:]},
		{"from before all", "", "A", "", whole},
		{"from behind all", "", "zz", "", nil},
		{"until a member that is there, which is out", "", "", "m00002", whole[:4]},
		{"until the first", "", "", "a", nil},
		{"until behind all", "", "", "zz", whole},
		{"from one until another", "", "m00100", "m00107", all[100:107]},
		{"from one until the same", "", "m00100", "m00100", nil},
		{"from one until one before it", "", "m00107", "m00100", nil},
		{"over more pages than one query holds", "", "m00001", "m02400", all[1:2400]},
		{"under a prefix, from within it", "m00", "m00990", "", all[990:1000]},
		{"under a prefix, until within it", "m00", "", "m00003", all[:3]},
		{"under a prefix, from before it until behind it", "m0249", "a", "z", all[2490:]},
		{"under a prefix, from behind it", "m00", "m01", "", nil},
		{"under a prefix, until before it", "m01", "", "m01", nil},
	} {
		t.Run("a range "+test.name, func(t *testing.T) {
			for _, limit := range []uint32{3, 999, 0} {
				if limit == 3 && len(test.want) > 100 {
					continue
				}
				got, _ := s.list(&v1.SetServiceMembersRequest{Prefix: test.prefix, From: test.from, Until: test.until, Limit: limit})
				if !slices.Equal(got, test.want) {
					t.Errorf("pages of %d: %d members, want %d: %.100q", limit, len(got), len(test.want), got)
				}
			}
		})
	}
	if n := s.size(); n != 2504 {
		t.Errorf("size %d", n)
	}
}

func (s cart) size() uint64 {
	s.t.Helper()
	return must(s.set.Size(s.t.Context(), connect.NewRequest(&v1.SetServiceSizeRequest{Bucket: "carts", Key: s.key}))).Msg.GetSize()
}

func TestAPageThatShowsNothingIsPassedOverWhileMoreRemains(t *testing.T) {
	n := newSingle(t, 1)
	s := cart{t, serve(t, n), "presence"}
	s.add("", "a")
	for part := range slices.Chunk(numbered("m", 3000), replica.MaxChanges) {
		req := &v1.SetServiceAddRequest{Bucket: "carts", Key: s.key}
		for _, m := range part {
			req.Members = append(req.Members, &v1.Member{Member: m, ExpiresAtMs: uint64(n.WallMillis() + 1000)})
		}
		must(s.set.Add(t.Context(), connect.NewRequest(req)))
	}
	s.add("", "z")
	n.pass(2000)
	for _, limit := range []uint32{1, 2, 1000} {
		if got, pages := s.scan("", limit); !slices.Equal(got, []string{"a", "z"}) || slices.Contains(pages[:1], 0) {
			t.Errorf("limit %d: got %v in pages %v", limit, got, pages)
		}
	}
}

func TestALargeNoteEndsAPageEarlyAndNobodyIsLeftOut(t *testing.T) {
	n := newSingle(t, 1)
	s := cart{t, serve(t, n), "notes"}
	want := numbered("m", 12)
	for _, m := range want {
		must(s.set.Add(t.Context(), connect.NewRequest(&v1.SetServiceAddRequest{Bucket: "carts", Key: s.key, Members: []*v1.Member{{Member: m, Note: make([]byte, 300<<10)}}})))
	}
	got, pages := s.scan("", 0)
	if !slices.Equal(got, want) || len(pages) != 3 {
		t.Errorf("got %v in pages %v", got, pages)
	}
}

func TestTheContextOfAPageCoversThatPageAndNoOther(t *testing.T) {
	n := newSingle(t, 1)
	s := cart{t, serve(t, n), "cleared"}
	s.add("", "a", "b", "c", "d")
	first := s.page(&v1.SetServiceMembersRequest{Limit: 2})
	s.clear(first.GetContext())
	s.shows("c", "d")
	// The page behind a cursor is where it was.
	if rest := s.page(&v1.SetServiceMembersRequest{Limit: 2, Cursor: first.GetNextCursor()}); !slices.Equal(names(rest.GetMembers()), []string{"c", "d"}) || rest.GetNextCursor() != "" {
		t.Errorf("got %v", rest)
	}
	// Hidden members were not shown.
	must(s.set.Add(t.Context(), connect.NewRequest(&v1.SetServiceAddRequest{Bucket: "carts", Key: s.key, Members: []*v1.Member{{Member: "late", ExpiresAtMs: 1}}})))
	before := s.shows("c", "d")
	s.add("", "late")
	s.clear(before)
	s.shows("late")
}

func TestAMemberPresentThroughoutAScanIsListedExactlyOnce(t *testing.T) {
	n := newSingle(t, 1)
	c := serve(t, n)
	keys := 0
	rapid.Check(t, func(rt *rapid.T) {
		keys++
		s := cart{t, c, fmt.Sprint("scanned", keys)}
		key := crdt.Key{Type: crdt.Set, Bucket: "carts", Name: s.key}
		stable := numbered("s", rapid.IntRange(0, 90).Draw(rt, "stable"))
		ever := map[string]bool{}
		change := func(member string, remove bool) {
			ever[member] = true
			n.mutate(t, replica.Mutation{Key: key, Verb: replica.Update, Changes: []replica.Change{{Member: member, Remove: remove}}})
		}
		for _, m := range stable {
			change(m, false)
		}
		// Around every read of the scan somebody comes, goes, or is renewed.
		mover := rapid.SampledFrom(append(numbered("s", 100)[90:], "a", "s", "zz"))
		n.before = func(r replica.Request) {
			if r.Query == nil {
				return
			}
			for range rapid.IntRange(0, 3).Draw(rt, "movers") {
				change(mover.Draw(rt, "mover"), rapid.Bool().Draw(rt, "goes"))
			}
			if len(stable) > 0 {
				change(rapid.SampledFrom(stable).Draw(rt, "renewed"), false)
			}
		}
		defer func() { n.before = nil }()
		bound := rapid.SampledFrom([]string{"", "", "s", "s00020", "s00070+", "zz"})
		from, until := bound.Draw(rt, "from"), bound.Draw(rt, "until")
		within := func(m string) bool { return m >= from && (until == "" || m < until) }
		got, _ := s.list(&v1.SetServiceMembersRequest{From: from, Until: until, Limit: rapid.Uint32Range(2, 40).Draw(rt, "limit")})
		if !slices.IsSorted(got) || len(slices.Compact(slices.Clone(got))) != len(got) {
			rt.Fatalf("not in order, each once: %v", got)
		}
		for _, m := range stable {
			if within(m) && !slices.Contains(got, m) {
				rt.Fatalf("%s was there all the time and is not in %v", m, got)
			}
		}
		for _, m := range got {
			if !ever[m] || !within(m) {
				rt.Fatalf("%s was never there from %q until %q", m, from, until)
			}
		}
	})
}

func TestACursorGoesOnWithItsOwnListingOnly(t *testing.T) {
	n := newSingle(t, 1)
	s := cart{t, serve(t, n), "listed"}
	s.add("", "a1", "a2", "a3", "b1", "b2")
	cursor := func(prefix string) string {
		return s.page(&v1.SetServiceMembersRequest{Prefix: prefix, Limit: 1}).GetNextCursor()
	}
	other := cart{t, s.client, "other"}
	other.add("", "a1", "a2")
	scope := dvv.Scope{Purpose: dvv.PurposeCursor, Type: uint8(crdt.Set), Bucket: "carts", Key: "listed"}
	good := cursor("a")
	for _, test := range []struct {
		name, prefix, cursor string
		limit, got           uint64
	}{
		{"of another set", "", other.page(&v1.SetServiceMembersRequest{Limit: 1}).GetNextCursor(), 0, 0},
		{"of a listing under another prefix", "b", good, 0, 0},
		{"of a listing under a shorter prefix", "a", cursor(""), 0, 0},
		{"of a listing under a longer prefix", "", good, 0, 0},
		{"of a listing that begins elsewhere", "a", s.page(&v1.SetServiceMembersRequest{Prefix: "a", From: "a1", Limit: 1}).GetNextCursor(), 0, 0},
		{"of a listing that ends elsewhere", "a", s.page(&v1.SetServiceMembersRequest{Prefix: "a", Until: "a3", Limit: 1}).GetNextCursor(), 0, 0},
		{"of a listing whose bounds together are the same letters", "a", s.page(&v1.SetServiceMembersRequest{From: "a", Limit: 1}).GetNextCursor(), 0, 0},
		{"that is a context", "a", s.page(&v1.SetServiceMembersRequest{Prefix: "a"}).GetContext(), 0, 0},
		{"that was cut", "a", good[:len(good)-4], 0, 0},
		{"that is a stump", "a", good[:4], 21, 3},
		{"that is a number", "a", "17", 0, 0},
		{"that is a member", "a", "a2", 0, 0},
		{"that is oversized", "a", strings.Repeat("A", dvv.MaxTokenLen+1), dvv.MaxTokenLen, dvv.MaxTokenLen + 1},
		{"around nothing", "", must(n.sealer.Seal(scope, nil)), 0, 0},
		{"around no member", "", must(n.sealer.Seal(scope, server.ListingSum(replica.Span{}))), 0, 0},
		{"around more than a member", "", must(n.sealer.Seal(scope, append(server.ListingSum(replica.Span{}), strings.Repeat("x", 5000)...))), 0, 0},
		{"of a format of the past", "a", must(n.sealer.Seal(scope, []byte("\x01a1"))), 0, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := s.set.Members(t.Context(), connect.NewRequest(&v1.SetServiceMembersRequest{Bucket: "carts", Key: "listed", Prefix: test.prefix, Cursor: test.cursor}))
			refused(t, err, "set.members", want{code: connect.CodeInvalidArgument, reason: v1.ErrorDetail_REASON_CURSOR_INVALID, limit: test.limit, actual: test.got, text: "cursor"})
		})
	}
	if rest := s.page(&v1.SetServiceMembersRequest{Prefix: "a", Cursor: good}); !slices.Equal(names(rest.GetMembers()), []string{"a2", "a3"}) {
		t.Errorf("the good cursor shows %v", rest)
	}
}
