package cartwheel_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	cartwheel "github.com/cartwheel-db/cartwheel/sdk"
	cartwheelv1 "github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1"
)

func TestAMapKeepsFieldsOfEachKind(t *testing.T) {
	_, nodes := newCluster(t, 1)
	cart := open(t, nodes).Map("carts", "42")
	expiry := time.UnixMilli(4102444800123)
	for _, step := range []struct {
		name    string
		changes []cartwheel.MapChange
		want    cartwheel.MapValue
	}{
		{"all kinds", []cartwheel.MapChange{
			cartwheel.Increment("apples", 2), cartwheel.Assign("note", []byte("gift")), cartwheel.AddTo("tags", "fresh"),
			cartwheel.AddMemberTo("tags", cartwheel.Member{Name: "old", Note: []byte("n"), ExpiresAt: expiry}), cartwheel.Enable("express"),
		}, cartwheel.MapValue{
			Counters: map[string]int64{"apples": 2}, Registers: map[string][]byte{"note": []byte("gift")},
			Sets:  map[string][]cartwheel.Member{"tags": {{Name: "fresh"}, {Name: "old", Note: []byte("n"), ExpiresAt: expiry}}},
			Flags: map[string]bool{"express": true},
		}},
		{"changed again", []cartwheel.MapChange{
			cartwheel.Increment("apples", -5), cartwheel.Assign("note", nil), cartwheel.RemoveFrom("tags", "old"), cartwheel.Disable("express"),
		}, cartwheel.MapValue{
			Counters: map[string]int64{"apples": -3}, Registers: map[string][]byte{"note": nil},
			Sets: map[string][]cartwheel.Member{"tags": {{Name: "fresh"}}}, Flags: map[string]bool{},
		}},
		{"removed", []cartwheel.MapChange{
			cartwheel.RemoveField(cartwheel.CounterField, "apples"), cartwheel.RemoveField(cartwheel.SetField, "tags"), cartwheel.RemoveField(cartwheel.RegisterField, "note"),
		}, cartwheel.MapValue{Counters: map[string]int64{}, Registers: map[string][]byte{}, Sets: map[string][]cartwheel.Member{}, Flags: map[string]bool{}}},
	} {
		if err := cart.Update(t.Context(), step.changes...); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		got, err := cart.Get(t.Context())
		if err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		got.Fields, got.Context = nil, ""
		if diff := cmp.Diff(step.want, got); diff != "" {
			t.Errorf("%s: %s", step.name, diff)
		}
	}
}

func TestChangesOfAMapTravelAsTheyAreAndMayBeUsedAgain(t *testing.T) {
	cluster, nodes := newCluster(t, 1)
	cart := open(t, nodes).Map("carts", "42")
	expiry := time.UnixMilli(1764000000123)
	apple := cartwheel.Increment("apples", 2)
	limited := apple.Until(expiry)
	shown, err := cart.UpdateWith(t.Context(), "seen", apple, limited, apple.Until(time.UnixMilli(-5)), cartwheel.Disable("f"), cartwheel.RemoveField(cartwheel.FlagField, "f"))
	if shown != "written" || err != nil {
		t.Fatalf("context %q, %v", shown, err)
	}
	if err := cart.RemoveWith(t.Context(), "seen", cartwheel.Field{Kind: cartwheel.CounterField, Name: "apples"}); err != nil {
		t.Fatal(err)
	}
	if err := cart.DeleteWith(t.Context(), "seen too"); err != nil {
		t.Fatal(err)
	}
	increment := func(at uint64) *cartwheelv1.MapChange {
		return &cartwheelv1.MapChange{Field: "apples", ExpiresAtMs: at, Change: &cartwheelv1.MapChange_Increment{Increment: 2}}
	}
	want := []*cartwheelv1.MapServiceUpdateRequest{
		{Bucket: "carts", Key: "42", Context: "seen", Changes: []*cartwheelv1.MapChange{
			increment(0), increment(1764000000123), increment(1), // the epoch and all before it become its first moment
			{Field: "f", Change: &cartwheelv1.MapChange_Flag{}},
			{Field: "f", Change: &cartwheelv1.MapChange_Remove{Remove: cartwheelv1.FieldKind_FIELD_KIND_FLAG}},
		}},
		{Bucket: "carts", Key: "42", Context: "seen", Changes: []*cartwheelv1.MapChange{
			{Field: "apples", Change: &cartwheelv1.MapChange_Remove{Remove: cartwheelv1.FieldKind_FIELD_KIND_COUNTER}},
		}},
	}
	for i, got := range cluster.updates {
		if got.Options = nil; !proto.Equal(got, want[i]) {
			t.Errorf("sent %v, want %v", got, want[i])
		}
	}
	if len(cluster.updates) != 2 || !slices.Equal(cluster.deletes, []string{"seen too"}) {
		t.Errorf("%d updates, deletes under %q", len(cluster.updates), cluster.deletes)
	}
}

func TestAMapIsReadWholeByThePageAndByFields(t *testing.T) {
	cluster, nodes := newCluster(t, 1)
	cart := open(t, nodes).Map("carts", "42")
	var changes []cartwheel.MapChange
	for i := range 5 {
		changes = append(changes, cartwheel.AddTo("b", fmt.Sprint("m", i)))
	}
	changes = append(changes, cartwheel.Increment("a", 1), cartwheel.Enable("b"), cartwheel.Assign("c", []byte("v")))
	if err := cart.Update(t.Context(), changes...); err != nil {
		t.Fatal(err)
	}
	whole, err := cart.Get(t.Context())
	if err != nil || whole.Context != "page.page+++.page++++++" || len(whole.Sets["b"]) != 5 || len(whole.Fields) != 4 {
		t.Errorf("whole: %+v, %v", whole, err)
	}
	spell := func(f cartwheel.MapField) string { return fmt.Sprint(f.Kind, " ", f.Name, " ", len(f.Members)) }
	want := []string{"counter a 0", "set b 5", "flag b 0", "register c 0"}
	var got []string
	for _, f := range whole.Fields {
		got = append(got, spell(f))
	}
	if !slices.Equal(got, want) {
		t.Errorf("whole: %v", got)
	}
	for size := uint32(1); size <= 3; size++ {
		got = nil
		for f, err := range cart.Fields(t.Context(), cartwheel.PageSize(size)) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, spell(f))
		}
		if !slices.Equal(got, want) {
			t.Errorf("by %d: %v", size, got)
		}
	}
	before := len(cluster.requests("map.get"))
	for f, err := range cart.Fields(t.Context(), cartwheel.PageSize(1)) {
		if f.Kind != cartwheel.CounterField || f.Counter != 1 || err != nil {
			t.Errorf("first: %+v, %v", f, err)
		}
		break
	}
	if asked := len(cluster.requests("map.get")) - before; asked != 1 {
		t.Errorf("one field of pages of one took %d requests", asked)
	}
	some, err := cart.GetFields(t.Context(), cartwheel.Field{Kind: cartwheel.SetField, Name: "b"}, cartwheel.Field{Kind: cartwheel.CounterField, Name: "c"})
	if err != nil || len(some.Sets["b"]) != 5 || len(some.Fields) != 1 || some.Context != "page" {
		t.Errorf("by name: %+v, %v", some, err)
	}
	for page, err := range cart.Pages(t.Context(), cartwheel.From("+++++++"), cartwheel.PageSize(3)) {
		if err != nil || len(page.Fields) != 1 || page.Fields[0].Name != "c" || page.Next != "" {
			t.Errorf("the last page: %+v, %v", page, err)
		}
	}
}

func TestWhatAMapIsAskedForWronglyIsRefused(t *testing.T) {
	_, nodes := newCluster(t, 1)
	cart := open(t, nodes).Map("carts", "42")
	update := func(changes ...cartwheel.MapChange) error { return cart.Update(t.Context(), changes...) }
	_, forged := cart.UpdateWith(t.Context(), "forged", cartwheel.Enable("f"))
	_, none := cart.GetFields(t.Context())
	_, torn := cart.GetFields(t.Context(), cartwheel.Field{Kind: cartwheel.SetField, Name: "\xff"})
	for _, test := range []struct {
		name string
		err  error
		want cartwheel.Reason
	}{
		{"a change that is none", update(cartwheel.MapChange{}), cartwheel.InvalidOption},
		{"a kind that is none", update(cartwheel.RemoveField("heap", "a")), cartwheel.InvalidOption},
		{"a field that is not UTF-8", update(cartwheel.Increment("\xff", 1)), cartwheel.InvalidName},
		{"a member that is not UTF-8", update(cartwheel.AddTo("a", "\xff")), cartwheel.InvalidName},
		{"a member to remove that is not UTF-8", update(cartwheel.RemoveFrom("a", "\xff")), cartwheel.InvalidName},
		{"a forged context", forged, cartwheel.ContextForged},
		{"no field asked for", none, cartwheel.InvalidOption},
		{"a field asked for that is not UTF-8", torn, cartwheel.InvalidName},
	} {
		if !errors.Is(test.err, test.want) {
			t.Errorf("%s: %v, want %v", test.name, test.err, test.want)
		}
	}
	var errs []error
	for _, err := range cart.Fields(t.Context(), cartwheel.From("wrong")) {
		errs = append(errs, err)
	}
	if len(errs) != 1 || !errors.Is(errs[0], cartwheel.CursorInvalid) {
		t.Errorf("a wrong cursor: %v", errs)
	}
}
