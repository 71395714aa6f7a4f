package merkle_test

import (
	"bytes"
	"encoding"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/cartwheel-db/cartwheel/replica/merkle"
)

var update = flag.Bool("update", false, "rewrite testdata/vectors.txt")

var _ encoding.BinaryAppender = (*merkle.Tree)(nil)

// The file freezes what replicas of different releases must agree on.
func TestGoldenVectors(t *testing.T) {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("# key = first 16 bytes of HMAC-SHA256(secret, \"cartwheel merkle key v1\")")
	k := merkle.NewKey([]byte("cartwheel"))
	line("secret \"cartwheel\"  key %x", k[:])
	line("\n# row = SipHash-2-4-128(key, bytes); leaf of 1024 = SipHash-2-4-64(key', bytes) mod 1024")
	rows := []string{"", "a", "milk", strings.Repeat("x", 100)}
	var total merkle.Sum
	for _, row := range rows {
		line("%3d bytes %-6.4q row %v  leaf %d", len(row), row, k.Row([]byte(row)), k.Leaf([]byte(row), 1024))
		total = total.Add(k.Row([]byte(row)))
	}
	line("their sum            %v", total)
	line("\n# those rows in trees of several sizes: the root")
	for _, n := range []int{1, 2, 16, 32, 1024, merkle.MaxLeaves} {
		tree := merkle.NewTree(n)
		for _, row := range rows {
			tree.Apply(k.Leaf([]byte(row), n), merkle.Sum{}, k.Row([]byte(row)))
		}
		line("%5d leaves  %v", n, tree.Root())
		if n == 2 || n == 32 {
			stored, _ := tree.AppendBinary(nil)
			line("      stored  %x", stored)
		}
	}
	const file = "testdata/vectors.txt"
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

// From the reference implementation's vectors (key and input are 00 01 02 ...).
func TestRowIsSipHash128OfItsAuthors(t *testing.T) {
	var k merkle.Key
	input := make([]byte, 15)
	for i := range k {
		k[i] = byte(i)
	}
	for i := range input {
		input[i] = byte(i)
	}
	// The reference writes both halves little-endian, a Sum big-endian.
	for n, want := range map[int]string{
		0:  "a3817f04ba25a8e66df67214c7550293",
		15: "5493e99933b0a8117e08ec0f97cfc3d9",
	} {
		s := k.Row(input[:n])
		var reference []byte
		for i := range 8 {
			reference = append(reference, s[7-i])
		}
		for i := range 8 {
			reference = append(reference, s[15-i])
		}
		if got := hex.EncodeToString(reference); got != want {
			t.Errorf("%d bytes: %s, want %s", n, got, want)
		}
	}
}

func TestAStoredTreeComesBack(t *testing.T) {
	for _, tt := range []struct{ used, bytes int }{{0, 5}, {1, 5 + 18}, {20, 5 + 20*18}, {56, 5 + 56*18}, {57, 5 + 64*16}, {64, 5 + 64*16}} {
		tree := merkle.NewTree(64)
		for i := range tt.used {
			tree.Set(i*3%64, key.Row([]byte{byte(i)}))
		}
		b, err := tree.AppendBinary([]byte("before"))
		if err != nil || len(b) != len("before")+tt.bytes {
			t.Fatalf("%d leaves in use take %d bytes, want %d: %v", tt.used, len(b)-len("before"), tt.bytes, err)
		}
		back, err := merkle.DecodeTree(b[len("before"):], 64)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 64 {
			if back.Leaf(i) != tree.Leaf(i) {
				t.Fatalf("leaf %d came back as %v, was %v", i, back.Leaf(i), tree.Leaf(i))
			}
		}
		if back.Root() != tree.Root() {
			t.Errorf("came back as %v, was %v", back, tree)
		}
	}
}

func TestBytesThatAreNoTreeAreRefused(t *testing.T) {
	full, half := merkle.NewTree(4), merkle.NewTree(4)
	for i := range 4 {
		full.Set(i, merkle.Sum{1})
	}
	half.Set(1, merkle.Sum{1})
	half.Set(2, merkle.Sum{2})
	good, _ := full.AppendBinary(nil)
	few, _ := half.AppendBinary(nil)
	with := func(i int, v byte) []byte {
		b := bytes.Clone(good)
		b[i] = v
		return b
	}
	tests := []struct {
		name   string
		b      []byte
		leaves int
		want   string
	}{
		{"nothing", nil, 4, "of 4 leaves from 0 bytes: shorter than its header of 5 bytes"},
		{"half a header", good[:4], 4, "of 4 leaves from 4 bytes: shorter than its header of 5 bytes"},
		{"another version", with(0, 3), 4, "of 4 leaves from 69 bytes: version 3, this program reads 1 and 2"},
		{"another size", good, 8, "of 8 leaves from 69 bytes: it claims 4 leaves"},
		{"a huge claim", with(1, 0xff), 4, "of 4 leaves from 69 bytes: it claims 4278190084 leaves"},
		{"one byte missing", good[:68], 4, "of 4 leaves from 68 bytes: want 69 bytes"},
		{"one byte too many", append(bytes.Clone(good), 0), 4, "of 4 leaves from 70 bytes: want 69 bytes"},
		{"few leaves in the long form", append(good[:5:5], make([]byte, 64)...), 4, "of 4 leaves from 69 bytes: 0 leaves in use are stored one by one"},
		{"many leaves in the short form", append([]byte{2}, append(good[1:5:5], make([]byte, 72)...)...), 4, "of 4 leaves from 77 bytes: 72 bytes of leaves in use, 18 each"},
		{"half a leaf in use", few[:30], 4, "of 4 leaves from 30 bytes: 25 bytes of leaves in use, 18 each"},
		{"leaves in use out of order", append(few[:5:5], append(bytes.Clone(few[23:]), few[5:23]...)...), 4, "of 4 leaves from 41 bytes: leaf 1 with sum 01000000000000000000000000000000, want one in use from 3 to 3"},
		{"a leaf in use beyond all", append(few[:5:5], append([]byte{0, 4, 1}, make([]byte, 15)...)...), 4, "of 4 leaves from 23 bytes: leaf 4 with sum 01000000000000000000000000000000, want one in use from 0 to 3"},
		{"an empty leaf in use", append(few[:5:5], make([]byte, 18)...), 4, "of 4 leaves from 23 bytes: leaf 0 with sum 00000000000000000000000000000000, want one in use from 0 to 3"},
		{"a size that no tree has", good, 3, "of 3 leaves from 69 bytes: want a power of two from 1 to 65536"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tree, err := merkle.DecodeTree(tt.b, tt.leaves)
			var refused *merkle.DecodeError
			if !errors.As(err, &refused) || tree != nil || err.Error() != "merkle: decode tree "+tt.want {
				t.Errorf("got %v, error %v", tree, err)
			}
		})
	}
}

func TestAHostileKibibyteCannotMakeTheDecoderAllocate(t *testing.T) {
	hostile := make([]byte, 1024)
	hostile[0], hostile[2] = 1, 1 // version 1, 65536 leaves
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := merkle.DecodeTree(hostile, merkle.MaxLeaves); err == nil {
		t.Fatal("taken")
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 64<<10 {
		t.Errorf("allocated %d bytes", n)
	}
}

func FuzzDecodeTree(f *testing.F) {
	for _, n := range []int{1, 4, 16} {
		b, _ := merkle.NewTree(n).AppendBinary(nil)
		f.Add(b, n)
	}
	few := merkle.NewTree(16)
	few.Set(3, merkle.Sum{7})
	b, _ := few.AppendBinary(nil)
	f.Add(b, 16)
	f.Add([]byte{1, 0, 1, 0, 0}, merkle.MaxLeaves)
	f.Add([]byte{1, 0xff, 0xff, 0xff, 0xff}, -1)
	f.Fuzz(func(t *testing.T, b []byte, leaves int) {
		tree, err := merkle.DecodeTree(b, leaves)
		if err != nil {
			var refused *merkle.DecodeError
			if !errors.As(err, &refused) || tree != nil {
				t.Fatalf("got %v, error %v", tree, err)
			}
			return
		}
		again, _ := tree.AppendBinary(nil)
		if !bytes.Equal(again, b) {
			t.Fatalf("%x was taken, but is written %x", b, again)
		}
		var sums []merkle.Sum
		for i := range tree.Leaves() {
			sums = append(sums, tree.Leaf(i))
		}
		if tree.Root() != naiveRoot(sums) {
			t.Fatal("the root is not that of the leaves")
		}
	})
}
