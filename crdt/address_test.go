package crdt_test

import (
	"bytes"
	"cmp"
	"errors"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/cartwheel-db/cartwheel/crdt"
)

// names are short and of few letters, so that one is often the prefix of
// another; some have the bytes that encodings like to use as separators.
func names(limit int) *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.StringMatching(`[ab]{1,4}`),
		rapid.StringOfN(rapid.SampledFrom([]rune{0, 1, 2, 'a', 0x7f, 'ü', '\U0010ffff'}), 1, 5, 16),
		rapid.Map(rapid.SampledFrom([]int{limit - 1, limit}), func(n int) string { return strings.Repeat("a", n) }),
	)
}

func keys() *rapid.Generator[crdt.Key] {
	return rapid.Custom(func(t *rapid.T) crdt.Key {
		return crdt.Key{
			Type:   rapid.SampledFrom([]crdt.Type{crdt.Set, crdt.Counter, crdt.Register, crdt.Blob, crdt.Map}).Draw(t, "type"),
			Bucket: names(crdt.MaxBucket).Draw(t, "bucket"),
			Name:   names(crdt.MaxKey).Draw(t, "key"),
		}
	})
}

func addresses() *rapid.Generator[crdt.Address] {
	return rapid.Custom(func(t *rapid.T) crdt.Address {
		k := keys().Draw(t, "of")
		switch k.Type {
		case crdt.Set:
			return k.Member(names(crdt.MaxMember).Draw(t, "member"))
		case crdt.Map:
			return k.At(paths().Draw(t, "path"))
		}
		return k.Row()
	})
}

func paths() *rapid.Generator[crdt.Path] {
	return rapid.Custom(func(t *rapid.T) crdt.Path {
		p := crdt.Path{Name: names(crdt.MaxFieldName).Draw(t, "field"), Kind: crdt.FieldKind(rapid.IntRange(1, 4).Draw(t, "kind"))}
		if p.Kind == crdt.SetField {
			p.Member = names(crdt.MaxMember).Draw(t, "member")
		}
		return p
	})
}

func TestPathsLieInTheOrderOfNamesThenKindsThenMembers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := paths().Draw(t, "a"), paths().Draw(t, "b")
		want := cmp.Or(strings.Compare(a.Name, b.Name), cmp.Compare(a.Kind, b.Kind), strings.Compare(a.Member, b.Member))
		if got := strings.Compare(a.Encode(), b.Encode()); got != want {
			t.Fatalf("%v and %v compare as %d, want %d", a, b, got, want)
		}
		if back, err := crdt.DecodePath(a.Encode()); err != nil || back != a || len(a.Encode()) > crdt.MaxPath {
			t.Fatalf("%v came back as %v, %v", a, back, err)
		}
		whole := crdt.Path{Name: a.Name, Kind: a.Kind}
		under := b.Name == a.Name && b.Kind == a.Kind
		if strings.HasPrefix(b.Encode(), whole.Encode()) != under {
			t.Fatalf("%v under %v", b, whole)
		}
		if strings.HasPrefix(b.Encode(), crdt.PathPrefix(a.Name)) != strings.HasPrefix(b.Name, a.Name) {
			t.Fatalf("%v under the name of %v", b, a)
		}
	})
}

func TestAnAddressComesBackFromItsBytes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := addresses().Draw(t, "address")
		got, err := crdt.DecodeAddress(a.AppendBinary(nil))
		if err != nil || got != a {
			t.Fatalf("%v came back as %v, %v", a, got, err)
		}
		k, rest, err := crdt.DecodeKey(append(a.Key.AppendPrefix(nil), "rest"...))
		if err != nil || k != a.Key || string(rest) != "rest" {
			t.Fatalf("%v came back as %v, rest %q, %v", a.Key, k, rest, err)
		}
		if err := a.Check(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestTheRowsOfAKeyLieTogetherInTheOrderOfMembers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := rapid.SliceOfNDistinct(addresses(), 2, 12, func(a crdt.Address) crdt.Address { return a }).Draw(t, "addresses")
		slices.SortFunc(all, func(a, b crdt.Address) int { return bytes.Compare(a.AppendBinary(nil), b.AppendBinary(nil)) })
		closed := map[crdt.Key]bool{}
		for i := 1; i < len(all); i++ {
			a, b := all[i-1], all[i]
			if a.Compare(b) >= 0 || b.Compare(a) <= 0 || a.Compare(a) != 0 {
				t.Fatalf("Compare orders %v and %v otherwise than their bytes", a, b)
			}
			if a.Key == b.Key {
				if a.Field >= b.Field {
					t.Fatalf("member %q before %q", a.Field, b.Field)
				}
				continue
			}
			if closed[a.Key] = true; closed[b.Key] {
				t.Fatalf("rows of %v lie apart", b.Key)
			}
		}
	})
}

func TestAKeysPrefixBeginsItsOwnRowsOnly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k, a := keys().Draw(t, "key"), addresses().Draw(t, "address")
		if bytes.HasPrefix(a.AppendBinary(nil), k.AppendPrefix(nil)) != (a.Key == k) {
			t.Fatalf("the prefix of %v and the row %v", k, a)
		}
	})
}

func TestNamesThatAreNotAllowed(t *testing.T) {
	long := func(n int) string { return strings.Repeat("x", n) }
	key := func(bucket, name string) crdt.Address {
		return crdt.Key{Type: crdt.Counter, Bucket: bucket, Name: name}.Row()
	}
	member := func(m string) crdt.Address {
		return crdt.Key{Type: crdt.Set, Bucket: "b", Name: "k"}.Member(m)
	}
	field := func(name string, kind crdt.FieldKind, member string) crdt.Address {
		return crdt.Key{Type: crdt.Map, Bucket: "b", Name: "k"}.At(crdt.Path{Name: name, Kind: kind, Member: member})
	}
	for _, c := range []struct {
		name    string
		address crdt.Address
		want    string // empty for allowed
	}{
		{"the longest names", crdt.Key{Type: crdt.Set, Bucket: long(64), Name: long(1024)}.Member(long(4096)), ""},
		{"one byte", member("x"), ""},
		{"letters of several bytes", key("ü", "日本"), ""},
		{"a zero byte", key("b", "\x00"), ""},
		{"no bucket", key("", "k"), "bucket of 0 bytes (limit 64): must not be empty"},
		{"no key", key("b", ""), "key of 0 bytes (limit 1024): must not be empty"},
		{"no member", member(""), "member of 0 bytes (limit 4096): must not be empty"},
		{"a bucket too long", key(long(65), "k"), "bucket of 65 bytes (limit 64): too long"},
		{"a key too long", key("b", long(1025)), "key of 1025 bytes (limit 1024): too long"},
		{"a member too long", member(long(4097)), "member of 4097 bytes (limit 4096): too long"},
		{"a bucket that is no UTF-8", key("\xff", "k"), "bucket of 1 bytes (limit 64): not valid UTF-8"},
		{"half a letter", member("\xc3"), "member of 1 bytes (limit 4096): not valid UTF-8"},
		{"no type", crdt.Key{Bucket: "b", Name: "k"}.Row(), "unknown type(0)"},
		{"an unknown type", crdt.Key{Type: 6, Bucket: "b", Name: "k"}.Row(), "unknown type(6)"},
		{"the longest field of a map", field(long(1024), crdt.CounterField, ""), ""},
		{"the longest member of a set in a map", field("f", crdt.SetField, long(4096)), ""},
		{"a field of zeros", field("\x00\x00", crdt.FlagField, ""), ""},
		{"no field", field("", crdt.CounterField, ""), "field of 0 bytes (limit 1024): must not be empty"},
		{"a field too long", field(long(1025), crdt.RegisterField, ""), "field of 1025 bytes (limit 1024): too long"},
		{"a field that is no UTF-8", field("\xff", crdt.FlagField, ""), "field of 1 bytes (limit 1024): not valid UTF-8"},
		{"a field of no kind", field("f", 0, ""), "malformed path of a map's row: unknown kind(0)"},
		{"a field of an unknown kind", field("f", 5, ""), "malformed path of a map's row: unknown kind(5)"},
		{"a set of a map as a whole", field("f", crdt.SetField, ""), "malformed path of a map's row: set f names no row of its own"},
		{"a member of a counter in a map", field("f", crdt.CounterField, "x"), "malformed path of a map's row: a counter has no members"},
		{"a member of a map too long", field("f", crdt.SetField, long(4097)), "member of 4097 bytes (limit 4096): too long"},
		{"a map as a whole", crdt.Key{Type: crdt.Map, Bucket: "b", Name: "k"}.Row(), "malformed path of a map's row"},
		{"a counter with a member", crdt.Key{Type: crdt.Counter, Bucket: "b", Name: "k"}.Member("x"), `a counter has no fields, got "x"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := c.address.Check()
			switch {
			case c.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case c.want != "" && (err == nil || err.Error() != c.want):
				t.Errorf("got %v, want %s", err, c.want)
			}
			if named := new(crdt.NameError); strings.Contains(c.want, "limit") && !errors.As(err, &named) {
				t.Errorf("%v is no NameError", err)
			}
			// What a check refuses, bytes must not smuggle in.
			if len(c.address.Bucket) < 256 && c.address.Type.Valid() && (c.address.Type.HasFields() || c.address.Field == "") {
				if _, err := crdt.DecodeAddress(c.address.AppendBinary(nil)); (err == nil) != (c.want == "") {
					t.Errorf("decoding: %v", err)
				}
			}
		})
	}
}

func TestBytesThatAreNoAddress(t *testing.T) {
	for _, c := range []struct{ name, bytes string }{
		{"nothing", ""},
		{"a type alone", "\x01"},
		{"a bucket that is not there", "\x01\x05b"},
		{"a key length cut in half", "\x01\x01b\x00"},
		{"a key that is not there", "\x01\x01b\x00\x05k"},
		{"no path", "\x02\x01b\x00\x01k"},
		{"a path of a later version", "\x02\x01b\x00\x01k\x02"},
		{"a counter with the path of a member", "\x02\x01b\x00\x01k\x01x"},
		{"a set as a whole", "\x01\x01b\x00\x01k\x00"},
		{"a counter with bytes behind", "\x02\x01b\x00\x01k\x00x"},
		{"an unknown type", "\x06\x01b\x00\x01k\x00"},
		{"a map as a whole", "\x05\x01b\x00\x01k\x00"},
		{"a map with a member", "\x05\x01b\x00\x01k\x01x"},
		{"a map's row without a kind", "\x05\x01b\x00\x01k\x02f\x00\x01"},
		{"a map's row with a zero that is not escaped", "\x05\x01b\x00\x01k\x02f\x00g\x00\x01\x01"},
		{"a map's row with an escape that is none", "\x05\x01b\x00\x01k\x02f\x00\x03\x00\x01\x01"},
	} {
		if a, err := crdt.DecodeAddress([]byte(c.bytes)); err == nil || a != (crdt.Address{}) {
			t.Errorf("%s: read as %v, %v", c.name, a, err)
		}
	}
}

func TestTypesHaveNames(t *testing.T) {
	for kind, want := range map[crdt.Type]string{crdt.Set: "set", crdt.Counter: "counter", crdt.Register: "register", crdt.Blob: "blob", crdt.Map: "map", 0: "type(0)", 6: "type(6)"} {
		if kind.String() != want || kind.Valid() != (kind >= crdt.Set && kind <= crdt.Map) {
			t.Errorf("%d is %q, valid %t; want %q", uint8(kind), kind, kind.Valid(), want)
		}
	}
}
