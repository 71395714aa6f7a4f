package dvv_test

import (
	"bytes"
	"encoding/gob"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"runtime"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/cartwheel-db/cartwheel/dvv"
)

var update = flag.Bool("update", false, "rewrite the golden files in testdata")

// golden compares got with testdata/name, or writes it there under -update.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := "testdata/" + name
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: bytes that peers and disks already hold have changed\n--- got\n%s--- want\n%s", path, got, want)
	}
}

// TestClockBytesNeverChange freezes the format. These bytes are on disks.
func TestClockBytesNeverChange(t *testing.T) {
	wide := dvv.ClockOf(dvv.Dot{Actor: 0xfedcba9876543210, Seq: 1}, dvv.Dot{Actor: 0, Seq: 300})
	var many dvv.Clock
	for a := dvv.Actor(1); a <= 130; a++ { // more actors than one byte can count
		many.AddRange(a, 1, uint64(a))
	}
	var out strings.Builder
	for _, c := range []dvv.Clock{
		{}, clk("a:1"), clk("a:3 b:2 +b:5"), clk("+a:2"), clk("a:128"), clk("a:1 +a:3 +a:300-70000"),
		clk("a:max"), clk("+a:max"), wide,
	} {
		fmt.Fprintf(&out, "%v\n  bytes %x\n  fingerprint %x\n", c, c.AppendBinary(nil), c.Fingerprint())
	}
	fmt.Fprintf(&out, "130 actors\n  length %d\n  fingerprint %x\n", len(many.AppendBinary(nil)), many.Fingerprint())
	golden(t, "clock.golden", out.String())
}

func TestAClockIsReadFromTheFrontAndTheRestIsLeft(t *testing.T) {
	want := clk("a:3 b:2 +b:5")
	b := append(want.AppendBinary([]byte("before")), "after"...)
	got, rest, err := dvv.DecodeClock(b[len("before"):])
	if err != nil || !got.Equal(want) || string(rest) != "after" {
		t.Fatalf("got %v, rest %q, %v", got, rest, err)
	}
	err = got.UnmarshalBinary(b[len("before"):])
	if wrong := new(dvv.DecodeError); !errors.As(err, &wrong) || wrong.Got != uint64(len("after")) {
		t.Errorf("UnmarshalBinary took trailing bytes: %v", err)
	}
	if !got.Equal(want) {
		t.Errorf("a failed UnmarshalBinary left %v", got)
	}
	for i := range b {
		b[i] = 0xff
	}
	if !got.Equal(want) {
		t.Errorf("the clock shares the buffer it was read from: %v", got)
	}
}

func TestReflectiveCodecsKeepTheSet(t *testing.T) {
	type message struct{ Seen dvv.Clock }
	want := message{clk("a:3 b:2 +b:5")}
	var buf bytes.Buffer
	if err := gob.NewEncoder(&buf).Encode(want); err != nil {
		t.Fatal(err)
	}
	var got message
	if err := gob.NewDecoder(&buf).Decode(&got); err != nil || !got.Seen.Equal(want.Seen) {
		t.Fatalf("got %v, %v", got.Seen, err)
	}
}

// Every way to be wrong, with the place and the numbers of the complaint.
var hostileClocks = []struct{ name, hex, complaint string }{
	{"nothing at all", "", "byte 0: bytes end within a number: 0"},
	{"a count cut in half", "80", "byte 1: bytes end within a number: 0"},
	{"a count of more than 64 bits", "ffffffffffffffffffff01", "byte 0: number longer than 64 bits: 0"},
	{"a padded count", "8000", "byte 0: number padded with zeros: 0"},
	{"actors that are not there", "01", "byte 0: actors do not fit the bytes left: 1"},
	{"2^63 actors", "80808080808080808001", "byte 0: actors do not fit the bytes left: 9223372036854775808"},
	{"one actor more than fits", "02 0000000000000001 01 0100 0000000000000002 01 01", "byte 0: actors do not fit the bytes left: 2, limit 1"},
	{"an actor cut in half", "02 0000000000000001 01 8180808080808080800100 00000000", "byte 25: bytes end within an actor: 0"},
	{"an actor twice", "02 0000000000000001 01 0100 0000000000000001 01 0100", "byte 12: actor out of order: 1"},
	{"actors backwards", "02 0000000000000002 01 0100 0000000000000001 01 0100", "byte 12: actor out of order: 1"},
	{"an actor without intervals", "01 0000000000000001 00 0100", "byte 9: actor without intervals: 0"},
	{"2^28 intervals", "01 0000000000000001 8080808001 0100", "byte 9: intervals do not fit the bytes left: 268435456, limit 1"},
	{"a run that starts at 0", "01 0000000000000001 01 0000", "byte 10: gap too small: 0, limit 1"},
	{"overlapping runs", "01 0000000000000001 02 0100 0000", "byte 12: gap too small: 0, limit 2"},
	{"adjacent runs", "01 0000000000000001 02 0100 0100", "byte 12: gap too small: 1, limit 2"},
	{"a run past the largest seq", "01 0000000000000001 01 01ffffffffffffffffff01", "byte 11: length passes the largest seq: 18446744073709551615, limit 18446744073709551614"},
	{"a length that wraps around", "01 0000000000000001 02 05fdffffffffffffffff01 0200", "byte 11: length passes the largest seq: 18446744073709551613, limit 18446744073709551610"},
	{"a gap that wraps around", "01 0000000000000001 02 0104 ffffffffffffffffff0100", "byte 12: gap passes the largest seq: 18446744073709551615, limit 18446744073709551610"},
	{"a run after the largest seq", "01 0000000000000001 02 01feffffffffffffffff01 0200", "byte 21: gap passes the largest seq: 2"},
	{"a padded gap", "01 0000000000000001 01 818000 00", "byte 10: number padded with zeros: 1"},
	{"an interval without its length", "01 0000000000000001 01 8101", "byte 12: bytes end within a number: 0"},
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

func TestBytesThatAreNoClockAreRefusedWithThePlace(t *testing.T) {
	for _, c := range hostileClocks {
		t.Run(c.name, func(t *testing.T) {
			b := unhex(c.hex)
			got, rest, err := dvv.DecodeClock(b)
			var wrong *dvv.DecodeError
			if !errors.As(err, &wrong) || !strings.Contains(err.Error(), c.complaint) {
				t.Fatalf("got %v, %v; want the complaint %q", got, err, c.complaint)
			}
			if !got.IsEmpty() || len(rest) != len(b) {
				t.Errorf("after the error: clock %v, rest %d of %d bytes", got, len(rest), len(b))
			}
		})
	}
}

func TestEveryCutOfAClockIsRefused(t *testing.T) {
	whole := clk("a:3 b:2 +b:500-90000 c:1").AppendBinary(nil)
	for n := range whole {
		if got, _, err := dvv.DecodeClock(whole[:n]); err == nil {
			t.Errorf("the first %d of %d bytes decode to %v", n, len(whole), got)
		}
	}
}

// allocated returns the bytes that do allocates.
func allocated(do func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	do()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestHostileClocksOfAKilobyteCostAFewKilobytes(t *testing.T) {
	// The costliest shapes by construction: all actors, all runs, and claims of
	// the most that a check by bytes left lets through.
	actors, ivals := []byte{93}, append(unhex("01 0000000000000001"), 0xfa, 0x03) // 506 runs
	for a := range byte(93) {
		actors = append(actors, 0, 0, 0, 0, 0, 0, 0, a, 1, 1, 0)
	}
	for range 506 {
		ivals = append(ivals, 2, 0)
	}
	claims := append(unhex("5c 0000000000000001"), 0xf8, 0x03) // 92 actors, the first of 504 runs
	claims = append(claims, make([]byte, 1024-len(claims))...)
	inputs := map[string][]byte{"actors": actors, "runs": ivals, "claims": claims}
	for _, c := range hostileClocks {
		b := unhex(c.hex)
		inputs[c.name] = append(b, bytes.Repeat([]byte{0x7f}, 1024-len(b))...)
	}
	for name, b := range inputs {
		var err error
		got := allocated(func() { _, _, err = dvv.DecodeClock(b) })
		if got > 32<<10 {
			t.Errorf("%s: %d bytes in, %d bytes allocated", name, len(b), got)
		}
		if wellFormed := name == "actors" || name == "runs"; wellFormed != (err == nil) && (wellFormed || name == "claims") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Clocks of many gaps arrive from outside; merging two may not be quadratic in them.
func TestJoiningInterleavedGapsIsLinear(t *testing.T) {
	const n = 200_000 // far more than a token can hold; shifting slices 200,000 times would take minutes
	var odd, even dvv.Clock
	for i := range uint64(n) {
		odd.AddRange(1, 4*i+1, 4*i+1)
		even.AddRange(1, 4*i+3, 4*i+3)
	}
	before := runCount(odd)
	odd.Join(even)
	if got := runCount(odd); got != 2*before {
		t.Fatalf("%d runs, want %d", got, 2*before)
	}
	if !odd.Minus(even).Intersect(even).IsEmpty() || odd.Count() != 2*n {
		t.Fatal("the union is wrong")
	}
}

func TestClocksSurviveTheirBytes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := drawClock(t, "clock")
		for range rapid.IntRange(0, 3).Draw(t, "wide") {
			seq := rapid.Uint64Range(1, math.MaxUint64).Draw(t, "any seq")
			c.Add(dvv.Dot{Actor: dvv.Actor(rapid.Uint64().Draw(t, "any actor")), Seq: seq})
		}
		got, rest, err := dvv.DecodeClock(c.AppendBinary(nil))
		if err != nil || len(rest) != 0 || !got.Equal(c) {
			t.Fatalf("%v came back as %v, %d bytes left, %v", c, got, len(rest), err)
		}
	})
}

func FuzzDecodeClock(f *testing.F) {
	for _, s := range []string{"", "a:1", "a:3 b:2 +b:5", "+a:2 +a:9-max c:70000"} {
		f.Add(clk(s).AppendBinary(nil))
	}
	for _, c := range hostileClocks {
		f.Add(unhex(c.hex))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var c dvv.Clock
		var rest []byte
		var err error
		if got := allocated(func() { c, rest, err = dvv.DecodeClock(b) }); got > 1<<20+uint64(16*len(b)) {
			t.Fatalf("%d bytes in, %d bytes allocated", len(b), got)
		}
		if err != nil {
			if !c.IsEmpty() || !bytes.Equal(rest, b) {
				t.Fatalf("an error and a clock: %v", c)
			}
			return
		}
		// What is accepted is canonical: it has no other spelling.
		if again := c.AppendBinary(nil); !bytes.Equal(again, b[:len(b)-len(rest)]) {
			t.Fatalf("%x was accepted as %v, whose bytes are %x", b, c, again)
		}
		whole := c.Clone()
		whole.Join(c)
		if !whole.Equal(c) || !c.Minus(c).IsEmpty() || !c.Intersect(c).Equal(c) {
			t.Fatalf("%v breaks the laws", c)
		}
	})
}
