package crdt_test

import (
	"bytes"
	"errors"
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/cartwheel-db/cartwheel/crdt/pack"
)

// hostile are inputs of one kilobyte, made to be dear for what they are.
func hostile() map[string][]byte {
	fill := func(head, body string) []byte {
		return []byte((head + strings.Repeat(body, 1<<10))[:1<<10])
	}
	group := "\x97\x01\x01\x90\x00\x00\x00"
	out := map[string][]byte{
		"lengths of bytes":                fill("", "\xc6\xff\xff\xff\xff"),
		"lengths of arrays":               fill("", "\xdd\xff\xff\xff\xff"),
		"nested arrays":                   fill("", "\x91"),
		"zeros":                           fill("", "\x00"),
		"a group of small events":         fill(group+"\xdc\x01\xf0\x00\x02\xa1b\xa1k", "\x01"),
		"a group of clears":               fill(group+"\xdc\x00\xf8\x10\x01\xa1b\xa1k\xc4\x01\x00", "\x11\xc4\x01\x00"),
		"a group of keys":                 fill(group+"\xdc\x00\x78", "\x00\x02\xa1b\xa1k\x00\x03\xa1b\xa1k"),
		"a group of members":              fill(group+"\xdc\x01\x40\x00\x01\xa1b\xa1k\xa1x", "\x01\xa1x"),
		"a group of more than fits":       fill(group+"\xcd\x10\x00", "\x01"),
		"a group with a wide clear":       fill(group+"\x91\x10\x01\xa1b\xa1k\xc5\x03\xe0\x57", "\x00\x00\x00\x00\x00\x00\x00\x01\x01\x01\x00"),
		"a group with many kills":         fill(group+"\x91\x04\x02\xa1b\xa1k\xdc\x01\xf0", "\x01\x01"),
		"a row of small payloads":         fill("\xdc\x00\xc8", "\x01\x01\xc4\x01\x03"),
		"a row of more than fits":         fill("\xdc\x03\xff", "\x01\x01\xc4\x01\x03"),
		"a row that defers much":          fill("\x90\xdc\x01\xfe", "\x01\x01"),
		"a reset of many actors":          fill("\x03\xdc\x00\xa9", "\x01"),
		"a reset in a row":                fill("\x91\x01\x01\xc5\x03\xf8\x03\xdc\x03\xf0", "\x01"),
		"an address of nothing":           fill("\x01\xff", "\x00"),
		"remembered, with very many dots": fill("\x98\x90\x00\x00\x00\x00\xdc\x01\xf8", "\x01\x01"),
	}
	var ascending []byte // a list of dots that is in order all the way
	for i := range 500 {
		ascending = append(ascending, byte(i/100), byte(i%100+1))
	}
	out["remembered, with dots in order"] = append([]byte("\x98\x90\x00\x00\x00\x00\xdc\x01\xf4"), ascending...)
	out["a row that defers dots in order"] = append([]byte("\x90\xdc\x01\xf4"), ascending...)
	out["a group with kills in order"] = append([]byte(group+"\x91\x04\x02\xa1b\xa1k\xdc\x01\xf4"), ascending...)
	return out
}

// limits of what a kilobyte may make a decoder allocate.
const hostileLimit = 1 << 20

func TestAHostileKilobyteAllocatesLittle(t *testing.T) {
	worst := map[string]uint64{}
	for name, b := range hostile() {
		for decoder, decode := range decoders {
			got := allocated(func() { _, _ = decode(b) })
			worst[decoder] = max(worst[decoder], got)
			if got > hostileLimit {
				t.Errorf("%s read as %s: %d bytes allocated, limit %d", name, decoder, got, hostileLimit)
			}
		}
	}
	for _, decoder := range slices.Sorted(maps.Keys(worst)) {
		t.Logf("%-18s %6d bytes at worst", decoder, worst[decoder])
	}
}

// What a declared length makes a decoder allocate must be in proportion to what
// was sent, for large inputs too.
func TestAHostileMegabyteAllocatesInProportion(t *testing.T) {
	const size = 1 << 20
	for decoder, head := range map[string]string{
		"payload":          "\x03\xdd\x00\x0f\xff\x00",
		"row of a counter": "\x91\x01\x01\xc6\x00\x0f\xff\xf0\x03\xdd\x00\x0f\xff\x00",
		"row of a blob":    "\xdd\x00\x03\xff\x00",
		"remembered":       "\x98\x90\x00\x00\x00\x00\xdc\xff\xff",
	} {
		b := append([]byte(head), make([]byte, size-len(head))...)
		if got := allocated(func() { _, _ = decoders[decoder](b) }); got > 12*size {
			t.Errorf("%s: %d bytes allocated for %d", decoder, got, size)
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

func TestBytesThatAreRefusedWithTheirReason(t *testing.T) {
	const group = "\x97\x01\x01\x90\x00\x00\x00"
	const name = "\xa1b\xa1k"
	for _, c := range []struct{ name, decoder, bytes, complaint string }{
		{"a group without events", "group", group + "\x90", "group of 0 events"},
		{"a group from seq 0", "group", "\x97\x01\x00\x90\x00\x00\x00\x91\x00\x02" + name, "from seq 0"},
		{"a group that wraps around", "group", "\x97\x01\xcf\xff\xff\xff\xff\xff\xff\xff\xff\x90\x00\x00\x00\x91\x00\x02" + name, "from seq 18446744073709551615"},
		{"a group of six parts", "group", "\x96\x01\x01\x90\x00\x00\x00", "array of 6 values where 7 belong"},
		{"a first event that names no key", "group", group + "\x91\x01\x00", "first event without a key"},
		{"a key repeated in full", "group", group + "\x92\x00\x02" + name + "\x00\x02" + name, "repeated"},
		{"a shape of a later version", "group", group + "\x91\x40\x02" + name, "over its limit 63"},
		{"a write that follows an increment", "group", group + "\x91\x20\x02" + name + "\x01", "event that adds 0 follows 1"},
		{"an unknown type", "group", group + "\x91\x00\x06" + name, "over its limit 5"},
		{"no type", "group", group + "\x91\x00\x00" + name, "unknown type(0)"},
		{"an empty bucket", "group", group + "\x91\x00\x02\xa0\xa1k", "must not be empty"},
		{"an empty member", "group", group + "\x91\x00\x01" + name + "\xa0", "must not be empty"},
		{"a clear with kills", "group", group + "\x91\x14\x01" + name + "\xc4\x01\x00", "a clear with other parts"},
		{"a clear of a nameless key", "group", group + "\x91\x10\x01\xa0\xa1k\xc4\x01\x00", "must not be empty"},
		{"a clear with a broken clock", "group", group + "\x91\x10\x01" + name + "\xc4\x01\x05", "clock of 1 bytes"},
		{"a clear with bytes behind its clock", "group", group + "\x91\x10\x01" + name + "\xc4\x02\x00\x00", "1 left over"},
		{"kills that are none", "group", group + "\x91\x04\x02" + name + "\x90", "an empty list of kills"},
		{"kills out of order", "group", group + "\x91\x04\x02" + name + "\x92\x02\x01\x01\x01", "dots out of order: a:1 after b:1"},
		{"a kill named twice", "group", group + "\x91\x04\x02" + name + "\x92\x01\x01\x01\x01", "dots out of order"},
		{"a kill of seq 0", "group", group + "\x91\x04\x02" + name + "\x91\x01\x00", "dot of a without a sequence"},
		{"a payload of another type", "group", group + "\x91\x02\x02" + name + "\xc4\x04\x05\x00\xc4\x00", "payload of assign in a counter"},
		{"a payload of no kind", "group", group + "\x91\x02\x02" + name + "\xc4\x00", "payload of kind(0) in a counter"},
		{"a delta of nothing", "group", group + "\x91\x0a\x02" + name + "\xc4\x05\x02\x00\x00\x00\x00\x00", "delta 0 with payload of entry"},
		{"a delta without an increment", "group", group + "\x91\x08\x02" + name + "\x05", "delta 5 with payload of kind(0)"},
		{"an increment beside another event", "group", group + "\x92\x00\x04" + name + "\x0a\x02" + name + "\xc4\x05\x02\x00\x00\x00\x00\x05", "increment of +5 at counter b/k behind blob b/k"},
		{"an operation of two parts", "group", "\x97\x01\x01\x92\x00\x00\x00\x00\x00\x91\x00\x02" + name, "operation id of 2 parts"},
		{"an operation with a short client", "group", "\x97\x01\x01\x93\xc4\x01\x07\x01\x01\x00\x00\x00\x91\x00\x02" + name, "client id of 1 bytes, want 16"},
		{"an operation of zeros", "group", "\x97\x01\x01\x93\xc4\x10" + strings.Repeat("\x00", 16) + "\x00\x00\x00\x00\x00\x91\x00\x02" + name, "an operation id of zeros"},
		{"live payloads out of order", "row of a blob", "\x92\x01\x02\xc4\x04\x06\x90\xc4\x00\x01\x01\xc4\x04\x06\x90\xc4\x00\x90", "out of order at a:1"},
		{"one live payload twice", "row of a blob", "\x92\x01\x01\xc4\x04\x06\x90\xc4\x00\x01\x01\xc4\x04\x06\x90\xc4\x00\x90", "out of order at a:1"},
		{"a row of another type", "row of a set", "\x91\x01\x01\xc4\x04\x06\x90\xc4\x00\x90", "payload of blob in a set"},
		{"a row of no type", "row of nothing", "\x91\x01\x01\xc4\x00\x90", "type"},
		{"a row of no type, and nothing in it", "row of nothing", "\x90\x90", "type"},
		{"a payload of no kind alone", "payload", "", "kind(0)"},
		{"a payload of a later kind", "payload", "\x07", "kind(7)"},
		{"an expiry before the epoch", "payload", "\x01\x00\xcf\x80\x00\x00\x00\x00\x00\x00\x00\xc4\x00", "over its limit"},
		{"a reset out of order", "payload", "\x03\x92\x02\x01\x00\x00\x00\x00\x01\x01\x00\x00\x00\x00", "out of order"},
		{"a reset that names an actor twice", "payload", "\x03\x92\x01\x01\x00\x00\x00\x00\x01\x02\x00\x00\x00\x00", "out of order"},
		{"a void of nothing", "payload", "\x04\x01\x00\x01\x01\x90\x05", "without a sequence"},
		{"an increment remembered without its row", "remembered", "\x98\x90\x00\x00\x00\x01\x90\x90\x91\xc4\x00\x05" + "      ", "remembered increment of +5"},
		{"a row remembered without an increment", "remembered", "\x98\x90\x00\x00\x00\x01\x90\x90\x91\xc4\x07\x02\x01b\x00\x01k\x00\x00", "remembered increment of +0"},
		{"more increments than events", "remembered", "\x98\x90\x00\x00\x00\x01\x90\x90\x92" + strings.Repeat("\xc4\x07\x02\x01b\x00\x01k\x00\x05", 2), "2 increments of 1 events"},
		{"an increment of a set", "remembered", "\x98\x90\x00\x00\x00\x01\x90\x90\x91\xc4\x08\x01\x01b\x00\x01k\x01x\x05", "remembered increment of +5"},
	} {
		t.Run(c.name, func(t *testing.T) {
			decode := decoders[c.decoder]
			if c.decoder == "row of nothing" {
				decode = rowOfType(0)
			}
			_, err := decode([]byte(c.bytes))
			if err == nil || !strings.Contains(err.Error(), c.complaint) || errors.Is(err, errUnreadable) {
				t.Fatalf("got %v, want the complaint %q", err, c.complaint)
			}
			if !errors.Is(err, pack.ErrMalformed) {
				t.Errorf("%v is not ErrMalformed", err)
			}
		})
	}
}

// fuzz holds one decoder to: no panic, what was accepted is canonical and can be
// read, little is allocated. The seeds are in testdata/fuzz.
func fuzz(f *testing.F, name string) {
	f.Helper()
	f.Fuzz(func(t *testing.T, b []byte) {
		again, err := decoders[name](b)
		if errors.Is(err, errUnreadable) || err == nil && !bytes.Equal(again, b) {
			t.Errorf("%x was accepted and is written as %x, %v", b, again, err)
		}
	})
}

func FuzzDecodeGroup(f *testing.F)    { fuzz(f, "group") }
func FuzzDecodeSet(f *testing.F)      { fuzz(f, "row of a set") }
func FuzzDecodeCounter(f *testing.F)  { fuzz(f, "row of a counter") }
func FuzzDecodeRegister(f *testing.F) { fuzz(f, "row of a register") }
func FuzzDecodeBlob(f *testing.F)     { fuzz(f, "row of a blob") }
func FuzzDecodeAddress(f *testing.F)  { fuzz(f, "address") }
func FuzzRemembered(f *testing.F)     { fuzz(f, "remembered") }
func FuzzDecodePayload(f *testing.F)  { fuzz(f, "payload") }
