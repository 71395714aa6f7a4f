package server_test

import (
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
	"github.com/cartwheel-db/cartwheel/server"
)

const (
	counterKind  = v1.FieldKind_FIELD_KIND_COUNTER
	registerKind = v1.FieldKind_FIELD_KIND_REGISTER
	setKind      = v1.FieldKind_FIELD_KIND_SET
	flagKind     = v1.FieldKind_FIELD_KIND_FLAG
)

func increment(field string, delta int64) *v1.MapChange {
	return &v1.MapChange{Field: field, Change: &v1.MapChange_Increment{Increment: delta}}
}

func assign(field, value string) *v1.MapChange {
	return &v1.MapChange{Field: field, Change: &v1.MapChange_Assign{Assign: []byte(value)}}
}

func addTo(field, member string) *v1.MapChange {
	return &v1.MapChange{Field: field, Change: &v1.MapChange_Add{Add: &v1.Member{Member: member}}}
}

func removeFrom(field, member string) *v1.MapChange {
	return &v1.MapChange{Field: field, Change: &v1.MapChange_RemoveMember{RemoveMember: member}}
}

func turn(field string, on bool) *v1.MapChange {
	return &v1.MapChange{Field: field, Change: &v1.MapChange_Flag{Flag: on}}
}

func drop(field string, kind v1.FieldKind) *v1.MapChange {
	return &v1.MapChange{Field: field, Change: &v1.MapChange_Remove{Remove: kind}}
}

func until(at uint64, m *v1.MapChange) *v1.MapChange {
	m.ExpiresAtMs = at
	return m
}

// lines is a client of one map.
type lines struct {
	t testing.TB
	client
	key string
}

func (s lines) update(context string, changes ...*v1.MapChange) string {
	s.t.Helper()
	req := &v1.MapServiceUpdateRequest{Bucket: "carts", Key: s.key, Context: context, Changes: changes}
	return must(s.maps.Update(s.t.Context(), connect.NewRequest(req))).Msg.GetContext()
}

func (s lines) delete(context string) {
	s.t.Helper()
	must(s.maps.Delete(s.t.Context(), connect.NewRequest(&v1.MapServiceDeleteRequest{Bucket: "carts", Key: s.key, Context: context})))
}

func (s lines) page(req *v1.MapServiceGetRequest) *v1.MapServiceGetResponse {
	s.t.Helper()
	req.Bucket, req.Key = "carts", s.key
	return must(s.maps.Get(s.t.Context(), connect.NewRequest(req))).Msg
}

// shows compares the whole map, and returns the context of what it showed.
func (s lines) shows(want ...string) string {
	s.t.Helper()
	res := s.page(&v1.MapServiceGetRequest{})
	if got := fieldTexts(res.GetFields()); !slices.Equal(got, want) {
		s.t.Errorf("the map shows %v, want %v", got, want)
	}
	return res.GetContext()
}

// fieldTexts spells fields as "counter apples 2", "set tags [a b]", "flag f".
func fieldTexts(fields []*v1.MapField) []string {
	var out []string
	for _, f := range fields {
		text := strings.ToLower(strings.TrimPrefix(f.GetKind().String(), "FIELD_KIND_")) + " " + f.GetField()
		switch f.GetKind() {
		case counterKind:
			text += fmt.Sprint(" ", f.GetCounter())
		case registerKind:
			text += " " + string(f.GetRegister())
		case setKind:
			text += fmt.Sprint(" ", names(f.GetMembers()))
		}
		out = append(out, text)
	}
	return out
}

func TestMapsByStories(t *testing.T) {
	n := newSingle(t, 1)
	c := serve(t, n)
	path := func(s lines, p crdt.Path) crdt.Address {
		return crdt.Key{Type: crdt.Map, Bucket: "carts", Name: s.key}.At(p)
	}
	// elsewhere is an increment at another node, at the same time.
	elsewhere := func(s lines, field string, total int64) {
		n.deliver(s.t, path(s, crdt.Path{Name: field, Kind: crdt.CounterField}), crdt.Operation{}, func(crdt.Stamp) crdt.Payload {
			return crdt.Entry{P: crdt.TotalOf(total)}.Payload()
		})
	}
	for _, story := range []struct {
		name string
		tell func(s lines)
	}{
		{"an update of all kinds is shown in order of names, then kinds", func(s lines) {
			s.update("", turn("express", true), increment("apples", 2), addTo("tags", "b"), addTo("tags", "a"), assign("apples", "red"))
			s.shows("counter apples 2", "register apples red", "flag express", "set tags [a b]")
		}},
		{"removing a line while someone adds one more leaves exactly that one more", func(s lines) {
			s.update("", increment("apples", 2))
			seen := s.shows("counter apples 2")
			s.update("", increment("apples", 1))
			s.update(seen, drop("apples", counterKind))
			s.shows("counter apples 1")
		}},
		{"and so it is when the one more was added at another node", func(s lines) {
			s.update("", increment("apples", 2))
			seen := s.shows("counter apples 2")
			elsewhere(s, "apples", 1)
			s.update(seen, drop("apples", counterKind))
			s.shows("counter apples 1")
			elsewhere(s, "apples", 5) // totals: 1 and 4 more
			s.shows("counter apples 5")
		}},
		{"a removal without a context takes what a read shows", func(s lines) {
			s.update("", increment("apples", 2))
			elsewhere(s, "apples", 3)
			s.shows("counter apples 5")
			s.update("", drop("apples", counterKind))
			s.shows()
		}},
		{"the context of an update does not cover what it increased", func(s lines) {
			mine := s.update("", increment("apples", 2), assign("note", "v"))
			s.update(mine, drop("apples", counterKind), drop("note", registerKind))
			s.shows("counter apples 2")
			seen := s.shows("counter apples 2")
			mine = s.update(seen, increment("apples", 1), assign("note", "w"))
			s.update(mine, drop("apples", counterKind), drop("note", registerKind))
			s.shows("counter apples 1") // the 2 were shown before
		}},
		{"the context of an update goes on covering what was shown before it", func(s lines) {
			s.update("", assign("note", "v"), addTo("tags", "a"), turn("express", true))
			seen := s.shows("flag express", "register note v", "set tags [a]")
			mine := s.update(seen, assign("memo", "w"))
			s.delete(mine)
			s.shows()
		}},
		{"a removal of a register takes the concurrent writes that lost, too", func(s lines) {
			s.update("", assign("note", "lost"))
			n.deliver(s.t, path(s, crdt.Path{Name: "note", Kind: crdt.RegisterField}), crdt.Operation{}, func(at crdt.Stamp) crdt.Payload {
				return crdt.Assign{Stamp: at, Value: []byte("won")}.Payload()
			})
			s.delete(s.shows("register note won"))
			s.shows()
		}},
		{"a removal by two contexts of one counter takes what the later one showed", func(s lines) {
			s.update("", increment("apples", 2))
			first := s.shows("counter apples 2")
			s.update("", increment("apples", 3), assign("note", "v"))
			second := s.shows("counter apples 5", "register note v")
			s.update("", increment("apples", 4))
			s.delete(second + "." + first)
			s.shows("counter apples 4")
		}},
		{"a delete by a context leaves what it did not show", func(s lines) {
			s.update("", increment("apples", 2), increment("pears", 2), assign("note", "v"), addTo("tags", "a"), turn("express", true))
			seen := s.shows("counter apples 2", "flag express", "register note v", "counter pears 2", "set tags [a]")
			s.update("", increment("apples", 1), addTo("tags", "b"), increment("plums", 9))
			s.delete(seen)
			s.shows("counter apples 1", "counter plums 9", "set tags [b]")
			s.delete("")
			s.shows()
		}},
		{"two kinds under one name do not meet", func(s lines) {
			s.update("", increment("x", 1), assign("x", "v"), addTo("x", "m"), turn("x", true))
			s.update("", drop("x", setKind), drop("x", counterKind))
			s.shows("register x v", "flag x")
			s.update("", turn("x", false), drop("x", registerKind))
			s.shows()
		}},
		{"a flag that is enabled again stays on", func(s lines) {
			s.update("", turn("express", true))
			seen := s.shows("flag express")
			s.update("", turn("express", true))
			s.update(seen, turn("express", false))
			s.shows("flag express")
		}},
		{"members are removed one by one, and with their set", func(s lines) {
			s.update("", addTo("tags", "a"), addTo("tags", "b"), addTo("tagsy", "z"))
			seen := s.shows("set tags [a b]", "set tagsy [z]")
			s.update("", removeFrom("tags", "a"))
			s.update("", addTo("tags", "c"))
			s.update(seen, drop("tags", setKind))
			s.shows("set tags [c]", "set tagsy [z]")
		}},
		{"changes of one field happen in their order", func(s lines) {
			s.update("", increment("n", 7), assign("r", "old"))
			s.update("", drop("n", counterKind), increment("n", 3), drop("r", registerKind), assign("r", "new"), turn("f", true), turn("f", false), addTo("s", "x"), drop("s", setKind))
			s.shows("counter n 3", "register r new")
		}},
		{"an increment past int64 writes nothing of the update", func(s lines) {
			s.update("", increment("n", math.MaxInt64))
			_, err := s.maps.Update(s.t.Context(), connect.NewRequest(&v1.MapServiceUpdateRequest{Bucket: "carts", Key: s.key, Changes: []*v1.MapChange{assign("r", "v"), increment("n", 1)}}))
			refused(s.t, err, "map.update", want{code: connect.CodeOutOfRange, reason: v1.ErrorDetail_REASON_COUNTER_OVERFLOW, text: "nothing was written"})
			s.shows(fmt.Sprint("counter n ", math.MaxInt64))
		}},
		{"concurrent increments beyond int64 read as saturated", func(s lines) {
			s.update("", increment("n", math.MaxInt64))
			elsewhere(s, "n", 5)
			if f := s.page(&v1.MapServiceGetRequest{}).GetFields(); len(f) != 1 || !f[0].GetSaturated() || f[0].GetCounter() != math.MaxInt64 {
				s.t.Errorf("got %v", f)
			}
		}},
		{"a retry counts once in each field, and gets a context", func(s lines) {
			req := &v1.MapServiceUpdateRequest{Bucket: "carts", Key: s.key, Changes: []*v1.MapChange{increment("a", 1), increment("b", 2), assign("r", "v")},
				Options: &v1.WriteOptions{OperationId: fmt.Sprintf("%032x-7-%d", len(s.key), n.WallMillis())}}
			first := must(s.maps.Update(s.t.Context(), connect.NewRequest(req))).Msg.GetContext()
			if again := must(s.maps.Update(s.t.Context(), connect.NewRequest(req))).Msg.GetContext(); again != first {
				s.t.Errorf("first %s, then %s", first, again)
			}
			s.shows("counter a 1", "counter b 2", "register r v")
		}},
	} {
		t.Run(story.name, func(t *testing.T) { story.tell(lines{t, c, t.Name()}) })
	}
}

func TestFieldsOfAMapExpireEachByItself(t *testing.T) {
	n := newSingle(t, 1)
	s := lines{t, serve(t, n), "expiring"}
	soon, later := uint64(n.WallMillis()+1000), uint64(n.WallMillis()+5000)
	req := &v1.MapServiceUpdateRequest{Bucket: "carts", Key: s.key, Options: &v1.WriteOptions{ExpiresAtMs: soon}, Changes: []*v1.MapChange{
		increment("a", 1), until(later, increment("b", 2)), assign("c", "v"), until(later, assign("d", "v")), turn("e", true), until(later, turn("f", true)),
		addTo("g", "x"), until(later, addTo("g", "y")),
		{Field: "g", ExpiresAtMs: soon, Change: &v1.MapChange_Add{Add: &v1.Member{Member: "z", ExpiresAtMs: later}}},
		drop("h", registerKind),
	}}
	must(s.maps.Update(t.Context(), connect.NewRequest(req)))
	s.shows("counter a 1", "counter b 2", "register c v", "register d v", "flag e", "flag f", "set g [x y z]")
	fields := s.page(&v1.MapServiceGetRequest{}).GetFields()
	for i, want := range []uint64{soon, later, soon, later, soon, later} {
		if got := fields[i].GetExpiresAtMs(); got != want {
			t.Errorf("%s expires at %d, want %d", fields[i].GetField(), got, want)
		}
	}
	for i, want := range []uint64{soon, later, later} {
		if got := fields[6].GetMembers()[i].GetExpiresAtMs(); got != want {
			t.Errorf("%v, want %d", fields[6].GetMembers()[i], want)
		}
	}
	n.pass(2000)
	seen := s.shows("counter b 2", "register d v", "flag f", "set g [y z]")
	s.update("", increment("a", 4)) // renewed, and counts from 0
	s.shows("counter a 4", "counter b 2", "register d v", "flag f", "set g [y z]")
	s.delete(seen)
	s.shows("counter a 4")
	n.pass(5000)
	s.shows("counter a 4")
}

func TestAMapIsReadByFieldsAndByThePage(t *testing.T) {
	n := newSingle(t, 1)
	s := lines{t, serve(t, n), "paged"}
	s.update("", addTo("b", "1"), addTo("b", "2"), addTo("b", "3"), increment("a", 4), turn("c", true), assign("a", "v"), addTo("bb", "4"))
	scan := func(prefix string, limit uint32) (pages []string) {
		req := &v1.MapServiceGetRequest{Prefix: prefix, Limit: limit}
		for {
			res := s.page(req)
			pages = append(pages, strings.Join(fieldTexts(res.GetFields()), ", "))
			if req.Cursor = res.GetNextCursor(); req.Cursor == "" {
				return pages
			}
		}
	}
	for _, test := range []struct {
		name, prefix string
		limit        uint32
		want         []string
	}{
		{"all at once", "", 0, []string{"counter a 4, register a v, set b [1 2 3], set bb [4], flag c"}},
		{"a set goes on in the next page", "", 3, []string{"counter a 4, register a v, set b [1]", "set b [2 3], set bb [4]", "flag c"}},
		{"row by row", "", 1, []string{"counter a 4", "register a v", "set b [1]", "set b [2]", "set b [3]", "set bb [4]", "flag c"}},
		{"under a prefix", "b", 2, []string{"set b [1 2]", "set b [3], set bb [4]"}},
		{"under a prefix that is nobody's", "z", 0, []string{""}},
		{"a page that ends with the map says so", "", 7, []string{"counter a 4, register a v, set b [1 2 3], set bb [4], flag c"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := scan(test.prefix, test.limit); !slices.Equal(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
	named := s.page(&v1.MapServiceGetRequest{Fields: []*v1.MapFieldName{{Kind: setKind, Field: "b"}, {Kind: flagKind, Field: "c"}, {Kind: flagKind, Field: "d"}, {Kind: counterKind, Field: "a"}, {Kind: setKind, Field: "b"}}})
	if got := fieldTexts(named.GetFields()); !slices.Equal(got, []string{"counter a 4", "set b [1 2 3]", "flag c"}) {
		t.Errorf("by name: %v", got)
	}
	first := s.page(&v1.MapServiceGetRequest{Limit: 3})
	s.delete(first.GetContext())
	s.shows("set b [2 3]", "set bb [4]", "flag c")
	s.delete(named.GetContext())
	s.shows("set bb [4]")
}

func TestAMapOfManyRowsComesInPagesWhoseContextsTogetherDeleteIt(t *testing.T) {
	n := newSingle(t, 1)
	s := lines{t, serve(t, n), "large"}
	var want []string
	for part := range slices.Chunk(numbered("m", 3000), replica.MaxChanges) {
		var changes []*v1.MapChange
		for i, name := range part {
			if i%3 > 0 {
				changes, want = append(changes, increment(name, 1)), append(want, "counter "+name+" 1")
			} else {
				changes, want = append(changes, assign(name, "v")), append(want, "register "+name+" v")
			}
		}
		s.update("", changes...)
	}
	var got, contexts []string
	for req := (&v1.MapServiceGetRequest{Limit: 4096}); ; {
		res := s.page(req)
		got, contexts = append(got, fieldTexts(res.GetFields())...), append(contexts, res.GetContext())
		if req.Cursor = res.GetNextCursor(); req.Cursor == "" {
			break
		}
	}
	if !slices.Equal(got, want) || len(contexts) < 2 {
		t.Fatalf("%d fields in %d pages, want %d", len(got), len(contexts), len(want))
	}
	s.update("", increment("m00001", 1))
	// What no token could hold is no reason to refuse what has happened.
	if reply := s.update(strings.Join(contexts, "."), increment("m00002", 1)); len(reply) > 1<<10 {
		t.Errorf("the update's context has %d bytes, and covers more than it wrote", len(reply))
	}
	s.delete(strings.Join(contexts, "."))
	s.shows("counter m00001 1", "counter m00002 1")
}

func TestFieldsByNameAreShownHoweverLargeTheirContextIs(t *testing.T) {
	s := lines{t, serve(t, newSingle(t, 1)), "names"}
	var fields []*v1.MapFieldName
	for i := range 200 {
		name := fmt.Sprintf("%s%03d", strings.Repeat("n", 1000), i)
		fields = append(fields, &v1.MapFieldName{Kind: v1.FieldKind_FIELD_KIND_COUNTER, Field: name})
		s.update("", increment(name, 1))
	}
	res := s.page(&v1.MapServiceGetRequest{Fields: fields})
	if len(res.GetFields()) != len(fields) || !strings.Contains(res.GetContext(), ".") {
		t.Fatalf("%d fields of %d, a context of %d bytes", len(res.GetFields()), len(fields), len(res.GetContext()))
	}
	s.update("", increment(fields[7].GetField(), 1))
	s.delete(res.GetContext())
	s.shows("counter " + fields[7].GetField() + " 1")
}

func TestALargeRegisterEndsAPageOfAMapEarly(t *testing.T) {
	n := newSingle(t, 1)
	s := lines{t, serve(t, n), "wide"}
	for _, name := range numbered("r", 9) {
		s.update("", assign(name, strings.Repeat("v", 400<<10)))
	}
	pages, rows := 0, 0
	for req := (&v1.MapServiceGetRequest{}); ; {
		res := s.page(req)
		pages, rows = pages+1, rows+len(res.GetFields())
		if req.Cursor = res.GetNextCursor(); req.Cursor == "" {
			break
		}
	}
	if pages != 3 || rows != 9 {
		t.Errorf("%d registers in %d pages", rows, pages)
	}
}

func TestWhatAMapIsAskedForIsRefusedWithTheNumbersAndWritesNothing(t *testing.T) {
	n := newSingle(t, 1)
	c := serve(t, n)
	s := lines{t, c, "refused"}
	s.update("", increment("apples", 2))
	good := s.shows("counter apples 2")
	long := strings.Repeat("x", crdt.MaxFieldName+1)
	update := func(context string, changes ...*v1.MapChange) error {
		_, err := c.maps.Update(t.Context(), connect.NewRequest(&v1.MapServiceUpdateRequest{Bucket: "carts", Key: s.key, Context: context, Changes: changes}))
		return err
	}
	expiring := func(at uint64, changes ...*v1.MapChange) error {
		_, err := c.maps.Update(t.Context(), connect.NewRequest(&v1.MapServiceUpdateRequest{Bucket: "carts", Key: s.key, Options: &v1.WriteOptions{ExpiresAtMs: at}, Changes: changes}))
		return err
	}
	get := func(req *v1.MapServiceGetRequest) error {
		req.Bucket, req.Key = "carts", s.key
		_, err := c.maps.Get(t.Context(), connect.NewRequest(req))
		return err
	}
	remove := func(req *v1.MapServiceDeleteRequest) error {
		req.Bucket, req.Key = "carts", s.key
		_, err := c.maps.Delete(t.Context(), connect.NewRequest(req))
		return err
	}
	fields := func(f ...*v1.MapFieldName) *v1.MapServiceGetRequest { return &v1.MapServiceGetRequest{Fields: f} }
	scope := func(purpose string) dvv.Scope {
		return dvv.Scope{Purpose: purpose, Type: uint8(crdt.Map), Bucket: "carts", Key: s.key}
	}
	changed := good[:12] + map[bool]string{true: "B", false: "A"}[good[12] == 'A'] + good[13:]
	other := lines{t, c, "another"}
	other.update("", increment("apples", 2), assign("a", "v"), assign("b", "v"))
	option, name, large := v1.ErrorDetail_REASON_INVALID_OPTION, v1.ErrorDetail_REASON_INVALID_NAME, v1.ErrorDetail_REASON_TOO_LARGE
	before := n.dump()
	for _, test := range []struct {
		name, op      string
		err           error
		reason        v1.ErrorDetail_Reason
		limit, actual uint64
		text          string
	}{
		{"an update of nothing", "map.update", update(""), option, 1, 0, "0 changes"},
		{"an update of 1001 changes", "map.update", update("", make([]*v1.MapChange, 1001)...), large, 1000, 1001, "changes"},
		{"a change that does nothing", "map.update", update("", increment("a", 1), &v1.MapChange{Field: "b"}), option, 0, 0, "change 2 of 2"},
		{"an increment of 0", "map.update", update("", increment("a", 0)), option, 0, 0, `change 1 of 1, "a": an increment of 0`},
		{"a field without a name", "map.update", update("", increment("a", 1), increment("", 1)), name, crdt.MaxFieldName, 0, "change 2 of 2: field"},
		{"a field of 1025 bytes", "map.update", update("", assign(long, "v")), large, 1024, 1025, "field"},
		{"a value of more than a megabyte", "map.update", update("", assign("a", strings.Repeat("v", crdt.MaxValue+1))), large, 1 << 20, 1<<20 + 1, "value"},
		{"a member without a name", "map.update", update("", addTo("a", "")), name, crdt.MaxMember, 0, `change 1 of 1, "a": member`},
		{"a member to remove of 4097 bytes", "map.update", update("", removeFrom("a", strings.Repeat("m", 4097))), large, 4096, 4097, "member"},
		{"a note of more than a megabyte", "map.update", update("", &v1.MapChange{Field: "a", Change: &v1.MapChange_Add{Add: &v1.Member{Member: "m", Note: make([]byte, crdt.MaxValue+1)}}}), large, 1 << 20, 1<<20 + 1, "note"},
		{"a removal of no kind", "map.update", update("", drop("a", 0)), option, 4, 0, "kind"},
		{"a removal of a kind there is not", "map.update", update("", drop("a", 5)), option, 4, 5, "kind"},
		{"a removal of a kind that is far off", "map.update", update("", drop("a", 257)), option, 4, 257, "kind"},
		{"a removal that expires", "map.update", update("", until(7, drop("a", counterKind))), option, 0, 7, "change 1 of 1"},
		{"a flag turned off that expires", "map.update", update("", until(7, turn("a", false))), option, 0, 7, "change 1 of 1"},
		{"an expiry beyond int64", "map.update", update("", until(1<<63, increment("a", 1))), option, math.MaxInt64, 1 << 63, "expires_at_ms"},
		{"an expiry of all beyond int64", "map.update", expiring(1<<63, increment("a", 1)), option, math.MaxInt64, 1 << 63, "expires_at_ms"},
		{"an expiry of nothing that is written", "map.update", expiring(7, drop("a", counterKind), removeFrom("b", "m")), option, 0, 7, "of 2 changes none"},
		{"a delete that expires", "map.delete", remove(&v1.MapServiceDeleteRequest{Options: &v1.WriteOptions{ExpiresAtMs: 7}}), option, 0, 7, "expires_at_ms"},
		{"a field asked for without a kind", "map.get", get(fields(&v1.MapFieldName{Field: "a"})), option, 4, 0, "kind"},
		{"a field asked for of a kind that is far off", "map.get", get(fields(&v1.MapFieldName{Field: "a", Kind: 258})), option, 4, 258, `field 1 of 1, "a": its kind is 258`},
		{"a field asked for without a name", "map.get", get(fields(&v1.MapFieldName{Kind: counterKind})), name, crdt.MaxFieldName, 0, "field"},
		{"1001 fields asked for", "map.get", get(fields(make([]*v1.MapFieldName, 1001)...)), large, 1000, 1001, "fields"},
		{"fields and a limit", "map.get", get(&v1.MapServiceGetRequest{Fields: []*v1.MapFieldName{{Kind: counterKind, Field: "a"}}, Limit: 3}), option, 0, 3, "a limit of 3"},
		{"a prefix of 1025 bytes", "map.get", get(&v1.MapServiceGetRequest{Prefix: long}), large, 1024, 1025, "prefix"},
		{"a cursor of another map", "map.get", get(&v1.MapServiceGetRequest{Cursor: other.page(&v1.MapServiceGetRequest{Limit: 1}).GetNextCursor()}), v1.ErrorDetail_REASON_CURSOR_INVALID, 0, 0, "cursor"},
		{"a cursor under another prefix", "map.get", get(&v1.MapServiceGetRequest{Prefix: "a", Cursor: must(n.sealer.Seal(scope(dvv.PurposeCursor), []byte("\x01b\x00\x01\x02")))}), v1.ErrorDetail_REASON_CURSOR_INVALID, 0, 0, "cursor"},
		{"a cursor around no path", "map.get", get(&v1.MapServiceGetRequest{Cursor: must(n.sealer.Seal(scope(dvv.PurposeCursor), append(server.ListingSum(replica.Span{}), "apples"...)))}), v1.ErrorDetail_REASON_CURSOR_INVALID, 0, 0, "cursor"},
		{"a context of another map", "map.update", update(other.page(&v1.MapServiceGetRequest{}).GetContext(), drop("apples", counterKind)), v1.ErrorDetail_REASON_CONTEXT_FOREIGN, 0, 0, "context"},
		{"a context that is a list of dots only", "map.delete", remove(&v1.MapServiceDeleteRequest{Context: must(n.sealer.SealContext(scope(dvv.PurposeContext), dvv.Clock{}))}), v1.ErrorDetail_REASON_CONTEXT_FOREIGN, 0, 0, "context"},
		{"a context that was changed", "map.delete", remove(&v1.MapServiceDeleteRequest{Context: changed}), v1.ErrorDetail_REASON_CONTEXT_FORGED, 0, 0, "context"},
		{"good contexts and one that is not", "map.delete", remove(&v1.MapServiceDeleteRequest{Context: good + "." + good + ".!"}), v1.ErrorDetail_REASON_CONTEXT_MALFORMED, 0, 0, "context"},
		{"good contexts and an empty one", "map.delete", remove(&v1.MapServiceDeleteRequest{Context: good + "."}), v1.ErrorDetail_REASON_CONTEXT_MALFORMED, 21, 0, "context"},
		{"33 contexts", "map.delete", remove(&v1.MapServiceDeleteRequest{Context: strings.Repeat(good+".", 32) + good}), large, 32, 33, "33 tokens"},
		{"a context around nothing", "map.delete", remove(&v1.MapServiceDeleteRequest{Context: must(n.sealer.Seal(scope("map context"), nil))}), v1.ErrorDetail_REASON_CONTEXT_MALFORMED, 0, 0, "context"},
	} {
		t.Run(test.name, func(t *testing.T) {
			code := connect.CodeInvalidArgument
			refused(t, test.err, test.op, want{code: code, reason: test.reason, limit: test.limit, actual: test.actual, text: test.text})
		})
	}
	if after := n.dump(); after != before {
		t.Errorf("something was written\nbefore %s\nafter %s", before, after)
	}
}
