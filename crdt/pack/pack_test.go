package pack_test

import (
	"bytes"
	"errors"
	"math"
	"runtime"
	"strings"
	"testing"

	"github.com/vmihailenco/msgpack/v5"
	"pgregory.net/rapid"

	"github.com/cartwheel-db/cartwheel/crdt/pack"
)

// Both sides of every change of width, where a form that is one too long or too
// short would hide.
var edges = []uint64{
	0, 1, 0x1f, 0x20, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x10000,
	0x7fffffff, 0x80000000, 0xffffffff, 0x100000000, math.MaxInt64, math.MaxInt64 + 1, math.MaxUint64,
}

func uints() *rapid.Generator[uint64] {
	return rapid.OneOf(rapid.Uint64(), rapid.SampledFrom(edges), rapid.Map(rapid.IntRange(0, 63), func(n int) uint64 { return 1 << n }))
}

// library encodes v as vmihailenco/msgpack does, in its compact form.
func library(t rapid.TB, encode func(*msgpack.Encoder) error) []byte {
	t.Helper()
	var b bytes.Buffer
	e := msgpack.NewEncoder(&b)
	e.UseCompactInts(true)
	if err := encode(e); err != nil {
		t.Fatalf("the library refuses: %v", err)
	}
	return b.Bytes()
}

func TestTheBytesAreTheLibrarysAndReadBack(t *testing.T) {
	sizes := rapid.OneOf(rapid.IntRange(0, 40), rapid.SampledFrom([]int{255, 256, 257, 65535, 65536}))
	rapid.Check(t, func(t *rapid.T) {
		u := uints().Draw(t, "uint")
		i := int64(uints().Draw(t, "int"))
		raw := bytes.Repeat([]byte{0xc1}, sizes.Draw(t, "size"))
		text := strings.Repeat("ü", sizes.Draw(t, "text")/2)
		flag := rapid.Bool().Draw(t, "bool")
		for _, v := range []struct {
			name      string
			ours      []byte
			libraries []byte
			read      func(*pack.Reader) bool
		}{
			{"uint", pack.AppendUint(nil, u), library(t, func(e *msgpack.Encoder) error { return e.EncodeUint(u) }),
				func(r *pack.Reader) bool { return r.Uint() == u }},
			{"int", pack.AppendInt(nil, i), library(t, func(e *msgpack.Encoder) error { return e.EncodeInt(i) }),
				func(r *pack.Reader) bool { return r.Int() == i }},
			{"bytes", pack.AppendBytes(nil, raw), library(t, func(e *msgpack.Encoder) error { return e.EncodeBytes(raw) }),
				func(r *pack.Reader) bool { return bytes.Equal(r.Bytes(len(raw)), raw) }},
			{"string", pack.AppendString(nil, text), library(t, func(e *msgpack.Encoder) error { return e.EncodeString(text) }),
				func(r *pack.Reader) bool { return r.String(len(text)) == text }},
			{"bool", pack.AppendBool(nil, flag), library(t, func(e *msgpack.Encoder) error { return e.EncodeBool(flag) }),
				func(r *pack.Reader) bool { return r.Bool() == flag }},
			{"array", pack.AppendArray(nil, len(raw)), library(t, func(e *msgpack.Encoder) error { return e.EncodeArrayLen(len(raw)) }), nil},
		} {
			if !bytes.Equal(v.ours, v.libraries) {
				t.Fatalf("%s: we write %x, the library %x", v.name, head(v.ours), head(v.libraries))
			}
			if v.read == nil {
				continue
			}
			r := pack.NewReader(v.libraries)
			if same := v.read(r); !same || r.Close() != nil {
				t.Fatalf("%s: %x reads as another value, or not at all: %v", v.name, head(v.ours), r.Err())
			}
		}
		r := pack.NewReader(append(pack.AppendArray(nil, len(raw)), raw...))
		if n := r.Array(); n != len(raw) || r.Err() != nil {
			t.Fatalf("array of %d reads as %d, %v", len(raw), n, r.Err())
		}
	})
}

func head(b []byte) []byte { return b[:min(len(b), 16)] }

// values are the readers of one value, by name.
var values = map[string]func(*pack.Reader){
	"uint":   func(r *pack.Reader) { r.Uint() },
	"small":  func(r *pack.Reader) { r.UintMax(100) },
	"int":    func(r *pack.Reader) { r.Int() },
	"bool":   func(r *pack.Reader) { r.Bool() },
	"bytes":  func(r *pack.Reader) { r.Bytes(8) },
	"string": func(r *pack.Reader) { r.String(8) },
	"array":  func(r *pack.Reader) { r.Array() },
	"pair":   func(r *pack.Reader) { r.ArrayOf(2) },
}

func TestWhatIsNotCanonicalIsRefusedWithThePlace(t *testing.T) {
	for _, test := range []struct{ name, value, bytes, complaint string }{
		{"nothing is no uint", "uint", "", "at byte 0: 1 bytes declared, 0 left"},
		{"nothing is no int", "int", "", "at byte 0: integer expected, nothing left"},
		{"nothing is no array", "array", "", "at byte 0: 1 bytes declared, 0 left"},
		{"a number cut in half", "uint", "\xce\x00\x01", "4 bytes declared, 2 left"},
		{"a small number in 8 bits", "uint", "\xcc\x7f", "integer 127 not in its shortest form"},
		{"an 8-bit number in 16 bits", "uint", "\xcd\x00\xff", "integer 255 not in its shortest form"},
		{"a 16-bit number in 32 bits", "uint", "\xce\x00\x00\xff\xff", "integer 65535 not in its shortest form"},
		{"a 32-bit number in 64 bits", "uint", "\xcf\x00\x00\x00\x00\xff\xff\xff\xff", "integer 4294967295 not in its shortest form"},
		{"a positive number in a signed form", "uint", "\xd0\x01", "0xd0 where an unsigned integer belongs"},
		{"a negative number where none may be", "uint", "\xff", "0xff where an unsigned integer belongs"},
		{"a number over its limit", "small", "\x65", "integer 101 over its limit 100"},
		{"a signed form of a positive number", "int", "\xd0\x01", "integer 1 not in its shortest form"},
		{"a small negative number in 8 bits", "int", "\xd0\xe0", "integer -32 not in its shortest form"},
		{"an 8-bit negative number in 16 bits", "int", "\xd1\xff\x80", "integer -128 not in its shortest form"},
		{"a 16-bit negative number in 32 bits", "int", "\xd2\xff\xff\x80\x00", "integer -32768 not in its shortest form"},
		{"a 32-bit negative number in 64 bits", "int", "\xd3\xff\xff\xff\xff\x80\x00\x00\x00", "integer -2147483648 not in its shortest form"},
		{"an unsigned number past int64", "int", "\xcf\x80\x00\x00\x00\x00\x00\x00\x00", "integer 9223372036854775808 over its limit 9223372036854775807"},
		{"a float", "int", "\xcb\x00\x00\x00\x00\x00\x00\x00\x00", "0xcb where an integer belongs"},
		{"nil is no boolean", "bool", "\xc0", "0xc0 where a boolean belongs"},
		{"a string is not bytes", "bytes", "\xa1a", "0xa1 where bytes belong"},
		{"bytes are no string", "string", "\xc4\x01a", "0xc4 where a string belongs"},
		{"bytes with a length too wide", "bytes", "\xc5\x00\x01a", "bytes length 1 not in its shortest form"},
		{"bytes with a length far too wide", "bytes", "\xc6\x00\x00\x00\x01a", "bytes length 1 not in its shortest form"},
		{"bytes over the limit", "bytes", "\xc4\x09aaaaaaaaa", "bytes of 9 bytes over the limit of 8"},
		{"bytes that are not there", "bytes", "\xc4\x02a", "2 bytes declared, 1 left"},
		{"4 GiB of bytes in five", "bytes", "\xc6\xff\xff\xff\xff", "bytes of 4294967295 bytes over the limit of 8"},
		{"a string with a length too wide", "string", "\xd9\x01a", "string length 1 not in its shortest form"},
		{"4 GiB of text in five bytes", "string", "\xdb\xff\xff\xff\xff", "string of 4294967295 bytes over the limit of 8"},
		{"an array with a length too wide", "array", "\xdc\x00\x01\x00", "array of 1 values in 1 bytes"},
		{"4 Gi values in five bytes", "array", "\xdd\xff\xff\xff\xff", "array of 4294967295 values in 0 bytes"},
		{"more values than bytes", "array", "\x92\x00", "array of 2 values in 1 bytes"},
		{"a map", "array", "\x81\x00\x00", "0x81 where an array belongs"},
		{"an array of another length", "pair", "\x91\x00", "array of 1 values where 2 belong"},
		{"bytes behind the value", "uint", "\x01\x02\x03", "at byte 1: 2 bytes left over"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := pack.NewReader([]byte(test.bytes))
			values[test.value](r)
			err := r.Close()
			if !errors.Is(err, pack.ErrMalformed) || !strings.Contains(err.Error(), test.complaint) {
				t.Errorf("got %v, want the complaint %q", err, test.complaint)
			}
		})
	}
}

func TestTheFirstErrorSticksAndEverythingAfterItIsZero(t *testing.T) {
	r := pack.NewReader([]byte("\xc0\x01\x01\x01\x01"))
	r.Uint()
	first := r.Err()
	if first == nil || r.Left() != 0 {
		t.Fatalf("nil was read as a number: %v, %d bytes left", first, r.Left())
	}
	u, i, b, s, y, n, rest := r.Uint(), r.Int(), r.Bool(), r.String(9), r.Bytes(9), r.Array(), r.Rest()
	if u != 0 || i != 0 || b || s != "" || y != nil || n != 0 || rest != nil {
		t.Errorf("after an error: %d %d %t %q %v %d %v", u, i, b, s, y, n, rest)
	}
	r.Fail("something else")
	r.ArrayOf(3)
	if err := r.Close(); !errors.Is(err, first) || err.Error() != first.Error() {
		t.Errorf("the first error %q became %q", first, err)
	}
}

func TestRestTakesWhatIsLeft(t *testing.T) {
	r := pack.NewReader([]byte("\x05abc"))
	if n, rest := r.Uint(), r.Rest(); n != 5 || string(rest) != "abc" || r.Close() != nil {
		t.Errorf("got %d, %q, %v", n, rest, r.Err())
	}
}

func TestBytesReadCannotReachIntoTheirNeighbours(t *testing.T) {
	in := []byte("\xc4\x01a\x07")
	r := pack.NewReader(in)
	_ = append(r.Bytes(8), 0xff)
	if n := r.Uint(); n != 7 {
		t.Errorf("appending to a value changed the next one to %d", n)
	}
}

// read walks b with a script of values, as a decoder of some format would, and
// writes again what it understood.
func read(script, b []byte) (again []byte, err error) {
	r := pack.NewReader(b)
	for _, s := range script {
		switch s % 6 {
		case 0:
			again = pack.AppendUint(again, r.Uint())
		case 1:
			again = pack.AppendInt(again, r.Int())
		case 2:
			again = pack.AppendBool(again, r.Bool())
		case 3:
			again = pack.AppendBytes(again, r.Bytes(1<<20))
		case 4:
			again = pack.AppendString(again, r.String(1<<20))
		case 5:
			again = pack.AppendArray(again, r.Array())
		}
		if r.Err() != nil {
			return nil, r.Err()
		}
	}
	return again, r.Close()
}

// FuzzReader: no bytes make it panic, and what it accepts has one encoding.
// The seeds are in testdata/fuzz.
func FuzzReader(f *testing.F) {
	f.Fuzz(func(t *testing.T, script, b []byte) {
		if again, err := read(script, b); err == nil && !bytes.Equal(again, b) {
			t.Errorf("%x was accepted and is written as %x", b, again)
		}
	})
}

func TestAHostileKilobyteAllocatesLittle(t *testing.T) {
	for name, fill := range map[string]string{
		"lengths of bytes": "\xc6\xff\xff\xff\xff", "lengths of text": "\xdb\xff\xff\xff\xff",
		"lengths of arrays": "\xdd\xff\xff\xff\xff", "nested arrays": "\x91", "wide arrays": "\xdc\x03\x00",
	} {
		b := []byte(strings.Repeat(fill, 1<<10/len(fill)))
		for value, f := range values {
			got := allocated(func() {
				r := pack.NewReader(b)
				for r.Err() == nil && r.Left() > 0 {
					f(r)
				}
			})
			if got > 1<<20 {
				t.Errorf("%s read as %s: %d bytes allocated", name, value, got)
			}
		}
	}
}

func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}
