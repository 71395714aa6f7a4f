package ring

import (
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; what is stored or sent by others would no longer be understood\ngot\n%s\nwant\n%s", path, got, want)
	}
}

func factGen() *rapid.Generator[Fact] {
	return rapid.Custom(func(t *rapid.T) Fact {
		f := Fact{
			Number: rapid.Uint64Range(1, 5).Draw(t, "number"),
			Kind:   rapid.SampledFrom([]FactKind{Joined, Left, Replaced}).Draw(t, "kind"),
			Node:   rapid.SampledFrom([]NodeID{"n1", "n2", "n3"}).Draw(t, "node"),
		}
		if f.Kind == Replaced {
			f.By = "by"
		}
		if f.Kind != Left {
			f.PeerAddr = rapid.SampledFrom([]string{"", "a:1", "b:2"}).Draw(t, "peer")
			f.Zone = rapid.SampledFrom([]string{"", "z1"}).Draw(t, "zone")
			f.Weight = rapid.Uint32Range(0, 2).Draw(t, "weight")
		}
		return f
	})
}

func factsGen() *rapid.Generator[Facts] {
	return rapid.Custom(func(t *rapid.T) Facts {
		var s Facts
		for _, f := range rapid.SliceOfN(factGen(), 0, 12).Draw(t, "facts") {
			if _, err := s.Add(f); err != nil {
				t.Fatal(err)
			}
		}
		return s
	})
}

func union(a, b Facts) Facts {
	a.Merge(b)
	return a
}

func TestMergeCommutesAssociatesIsIdempotentAndLeavesItsArgumentsAlone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := factsGen().Draw(t, "a"), factsGen().Draw(t, "b"), factsGen().Draw(t, "c")
		was := b.String()
		if !union(a, b).Equal(union(b, a)) {
			t.Fatal("does not commute")
		}
		if !union(union(a, b), c).Equal(union(a, union(b, c))) {
			t.Fatal("does not associate")
		}
		if u := a; u.Merge(a) || !u.Equal(a) {
			t.Fatal("is not idempotent")
		}
		u := a
		if grew := u.Merge(b); grew != (u.Len() > a.Len()) {
			t.Fatalf("reports growth %v from %d to %d facts", grew, a.Len(), u.Len())
		}
		for _, f := range append(a.All(), b.All()...) {
			if !u.Contains(f) {
				t.Fatalf("lost %v", f)
			}
			if f.Number >= u.Next() {
				t.Fatalf("next number %d is not above %v", u.Next(), f)
			}
		}
		if b.String() != was {
			t.Fatal("changed its argument")
		}
	})
}

func TestEqualSetsHaveEqualBytesAndHashesAndComeBackFromThem(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := factsGen().Draw(t, "a"), factsGen().Draw(t, "b")
		encoded, err := union(a, b).AppendBinary([]byte("before"))
		if err != nil {
			t.Fatal(err)
		}
		other, _ := union(b, a).AppendBinary([]byte("before"))
		if string(encoded) != string(other) {
			t.Fatal("two encodings of one set")
		}
		back, err := DecodeFacts(encoded[len("before"):])
		if err != nil {
			t.Fatal(err)
		}
		if !back.Equal(union(a, b)) || back.Hash() != union(b, a).Hash() {
			t.Fatalf("came back as\n%v", back)
		}
		if !a.Equal(b) && a.Hash() == b.Hash() {
			t.Fatal("different sets, same hash")
		}
	})
}

func storyFacts(tb testing.TB) Facts {
	tb.Helper()
	return setOf(tb,
		Fact{Number: 1, Kind: Joined, Node: "n1", PeerAddr: "10.0.0.1:7001", APIAddr: "10.0.0.1:7000", Zone: "a"},
		Fact{Number: 2, Kind: Joined, Node: "n2", PeerAddr: "10.0.0.2:7001", APIAddr: "10.0.0.2:7000", Zone: "b", Weight: 2},
		Fact{Number: 300, Kind: Left, Node: "n1"},
		Fact{Number: 301, Kind: Replaced, Node: "n2", By: "n3", PeerAddr: "10.0.0.3:7001", APIAddr: "10.0.0.3:7000"},
		Fact{Number: 302, Kind: Joined, Node: "n\u00e9", Weight: MaxWeight},
	)
}

func TestTheEncodingOfFactsIsTheOneThatOthersStore(t *testing.T) {
	b, err := storyFacts(t).AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "facts.golden", storyFacts(t).String()+hex.Dump(b))
}

func TestABadFactIsRefusedWithTheReasonAndChangesNothing(t *testing.T) {
	long := strings.Repeat("x", 300)
	for name, c := range map[string]struct {
		fact Fact
		want string
	}{
		"number zero":           {Fact{Kind: Joined, Node: "n"}, "number 0 is not within 1..4611686018427387904"},
		"number too high":       {Fact{Number: math.MaxUint64, Kind: Joined, Node: "n"}, "number 18446744073709551615 is not within"},
		"unknown kind":          {Fact{Number: 1, Kind: 9, Node: "n"}, "unknown kind 9"},
		"nobody":                {Fact{Number: 1, Kind: Joined}, "empty node id"},
		"long id":               {Fact{Number: 1, Kind: Joined, Node: NodeID(long)}, "node id of 300 bytes, at most 64"},
		"long address":          {Fact{Number: 1, Kind: Joined, Node: "n", PeerAddr: long}, "peer address of 300 bytes, at most 255"},
		"long zone":             {Fact{Number: 1, Kind: Joined, Node: "n", Zone: long}, "zone of 300 bytes, at most 64"},
		"not UTF-8":             {Fact{Number: 1, Kind: Joined, Node: "\xff"}, "node id is not UTF-8"},
		"too heavy":             {Fact{Number: 1, Kind: Joined, Node: "n", Weight: 65537}, "weight 65537 is above 65536"},
		"replaced by nobody":    {Fact{Number: 1, Kind: Replaced, Node: "n"}, "replaced by nobody"},
		"replaced by itself":    {Fact{Number: 1, Kind: Replaced, Node: "n", By: "n"}, "replaced by itself"},
		"joined by somebody":    {Fact{Number: 1, Kind: Joined, Node: "n", By: "m"}, "only a replaced node has a replacement, got m"},
		"left with an address":  {Fact{Number: 1, Kind: Left, Node: "n", APIAddr: "a:1"}, "a node that left has no address"},
		"left but it weighs on": {Fact{Number: 1, Kind: Left, Node: "n", Weight: 3}, "a node that left has no address, zone or weight"},
	} {
		t.Run(name, func(t *testing.T) {
			s := storyFacts(t)
			added, err := s.Add(c.fact)
			if added || !errors.Is(err, ErrFact) || !strings.Contains(fmt.Sprint(err), c.want) {
				t.Fatalf("added %v, error %v, want one with %q", added, err, c.want)
			}
			var typed *FactError
			if !errors.As(err, &typed) || !s.Equal(storyFacts(t)) {
				t.Fatalf("error %#v, facts\n%v", err, s)
			}
		})
	}
}

func TestDecodingIsStrict(t *testing.T) {
	good, _ := setOf(t, Fact{Number: 1, Kind: Joined, Node: "a"}, Fact{Number: 2, Kind: Left, Node: "a"}).AppendBinary(nil)
	one := string(good[2:10]) // 01 01 "a" and four empty texts and weight
	for name, c := range map[string]struct{ in, want string }{
		"nothing at all":           {"", "cut short in version"},
		"another version":          {"\x02\x00", "version 2, this node reads 1"},
		"a trailing byte":          {string(good) + "x", "1 bytes too many"},
		"a long zero":              {"\x01\x80\x00", "count is not in its shortest form"},
		"a count beyond the bound": {"\x01\x81\x80\x04", "count 65537 is above 65536"},
		"a count beyond the bytes": {"\x01\x03" + string(good[2:]), "cut short in number"},
		"a length beyond the rest": {"\x01\x01\x01\x01\x30ab", "node of 48 bytes, 2 left"},
		"a number of eleven bytes": {"\x01\x01" + strings.Repeat("\xff", 11), "cut short in number"},
		"the same fact twice":      {"\x01\x02" + one + "\x00" + one + "\x00", "fact 2 of 2 is out of order"},
		"a fact that breaks rules": {"\x01\x01\x01\x09\x01a\x00\x00\x00\x00\x00", "unknown kind 9"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := DecodeFacts([]byte(c.in))
			if !errors.Is(err, ErrFacts) || !strings.Contains(fmt.Sprint(err), c.want) || s.Len() != 0 {
				t.Fatalf("got %d facts, error %v, want one with %q", s.Len(), err, c.want)
			}
		})
	}
	for cut := range good {
		if _, err := DecodeFacts(good[:cut]); err == nil {
			t.Errorf("the first %d of %d bytes decode", cut, len(good))
		}
	}
}

// allocated is how many bytes f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestAHostileKilobyteAllocatesLessThanAMegabyte(t *testing.T) {
	smallest := "\x00\x01\x01a\x00\x00\x00\x00\x00" // after its number
	for name, in := range map[string]string{
		"a huge count":      "\x01\x80\x80\x04" + strings.Repeat("\xff", 1021),
		"a huge length":     "\x01\x01\x01\x01\xff\xff\xff\xff\x7f" + strings.Repeat("a", 1015),
		"many small facts":  "\x01\x80\x80\x04" + strings.Repeat("\x01"+smallest[1:], 113),
		"only zeros":        strings.Repeat("\x00", 1024),
		"only 0xff":         strings.Repeat("\xff", 1024),
		"rising good facts": rising(t),
	} {
		if n := allocated(func() { _, _ = DecodeFacts([]byte(in)) }); n > 1<<20 {
			t.Errorf("%s: %d bytes in, %d allocated", name, len(in), n)
		}
	}
}

func rising(tb testing.TB) string {
	tb.Helper()
	var s Facts
	for n := range uint64(100) {
		s = union(s, setOf(tb, Fact{Number: n + 1, Kind: Left, Node: "a"}))
	}
	b, err := s.AppendBinary(nil)
	if err != nil {
		tb.Fatal(err)
	}
	return string(b)
}

func TestASetTooLargeToSendIsAnErrorNotACutSet(t *testing.T) {
	large := Facts{sorted: make([]Fact, MaxFacts+1)}
	for i := range large.sorted {
		large.sorted[i] = Fact{Number: uint64(i) + 1, Kind: Left, Node: "a"}
	}
	if _, err := large.AppendBinary(nil); err == nil || !strings.Contains(err.Error(), "65537") {
		t.Fatalf("error %v", err)
	}
	largest := Facts{sorted: large.sorted[:MaxFacts]}
	b, err := largest.AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	if back, err := DecodeFacts(b); err != nil || !back.Equal(largest) {
		t.Fatalf("%d facts, error %v", back.Len(), err)
	}
}

func FuzzDecodeFacts(f *testing.F) {
	good, _ := storyFacts(f).AppendBinary(nil)
	f.Add(good)
	f.Add(good[:len(good)/2])
	f.Add([]byte("\x01\x00"))
	f.Add([]byte("\x01\x80\x80\x04"))
	f.Add([]byte(rising(f)))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := DecodeFacts(b)
		if err != nil {
			if !errors.Is(err, ErrFacts) || s.Len() != 0 {
				t.Fatalf("%d facts, error %v", s.Len(), err)
			}
			return
		}
		again, err := s.AppendBinary(nil)
		if err != nil || string(again) != string(b) {
			t.Fatalf("%x decodes, but encodes as %x (%v)", b, again, err)
		}
		if s.Len() < 20 {
			if _, err := Fold(Config{Partitions: 4, Replicas: 2}, s); err != nil {
				t.Fatal(err)
			}
		}
	})
}
