package gossip

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/cartwheel-db/cartwheel/ring"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func ours() Identity {
	return Identity{Node: "n1", Boot: 0xb007, ClusterID: "shop", Partitions: 64, Replicas: 3}
}

func sampleMeta() meta {
	return meta{Identity: ours(), peerAddr: "10.0.0.1:7001", apiAddr: "10.0.0.1:7000", ringHash: math.MaxUint64, state: Ready}
}

func mustEncode(tb testing.TB, m meta) []byte {
	tb.Helper()
	b, err := m.encode()
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func sampleFacts(tb testing.TB) []byte {
	tb.Helper()
	b, err := encodeFacts(ours(), joinedFact(3, "n2"))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func sampleHello(tb testing.TB) []byte {
	tb.Helper()
	var b bytes.Buffer
	if err := writeHello(&b, ours()); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func TestWhatIsSentIsWhatOthersRead(t *testing.T) {
	got := "meta\n" + hex.Dump(mustEncode(t, sampleMeta())) +
		"facts\n" + hex.Dump(sampleFacts(t)) + "hello\n" + hex.Dump(sampleHello(t))
	path := filepath.Join("testdata", "wire.golden")
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
		t.Errorf("other versions would not understand this:\n%s\nwant\n%s", got, want)
	}
	if m, err := decodeMeta(mustEncode(t, sampleMeta())); err != nil || m != sampleMeta() {
		t.Errorf("meta came back as %+v, %v", m, err)
	}
	if f, from, err := decodeFacts(ours(), sampleFacts(t)); err != nil || from != ours() || !f.Equal(joinedFact(3, "n2")) {
		t.Errorf("facts came back from %+v as\n%v%v", from, f, err)
	}
	if id, err := readHello(bytes.NewReader(sampleHello(t))); err != nil || id != ours() {
		t.Errorf("hello came back as %+v, %v", id, err)
	}
}

func TestTheLargestFactFitsIntoAPacket(t *testing.T) {
	id := ours()
	id.Node, id.ClusterID = ring.NodeID(strings.Repeat("n", ring.MaxIDLen)), strings.Repeat("c", MaxClusterID)
	var one ring.Facts
	long := strings.Repeat("a", ring.MaxAddrLen)
	if _, err := one.Add(ring.Fact{Number: ring.MaxNumber, Kind: ring.Replaced, Node: id.Node, By: ring.NodeID(strings.Repeat("m", ring.MaxIDLen)),
		PeerAddr: long, APIAddr: long, Zone: strings.Repeat("z", ring.MaxZoneLen), Weight: ring.MaxWeight}); err != nil {
		t.Fatal(err)
	}
	b, err := encodeFacts(id, one)
	if err != nil || len(b) > maxBroadcast {
		t.Errorf("%d bytes, at most %d, %v", len(b), maxBroadcast, err)
	}
}

func TestMetaIsReadStrictly(t *testing.T) {
	good := string(mustEncode(t, sampleMeta()))
	other := func(change func(*meta)) string {
		m := sampleMeta()
		change(&m)
		return string(mustEncode(t, m))
	}
	for name, c := range map[string]struct{ in, want string }{
		"nothing":                {"", "node meta of 0 bytes"},
		"too long":               {strings.Repeat("x", 513), "node meta of 513 bytes, at most 512"},
		"a trailing byte":        {good + "x", "not in its canonical form"},
		"a map":                  {"\x8a" + good[1:], "array"},
		"too few":                {"\x99" + good[1:], "array of 9, want 10"},
		"a count of 4 billion":   {"\xdd\xff\xff\xff\xff" + good[1:], "array of"},
		"another version":        {"\x9a\x02" + good[2:], "version 2, this node reads 1"},
		"a string of 4 gigabyte": {"\x9a\x01\xdb\xff\xff\xff\xff" + good[2:], "node id of"},
		"a nil string":           {"\x9a\x01\xc0" + good[5:], "node id of -1 bytes"},
		"a number as a float":    {strings.Replace(good, "\x40\x03", "\xca\x42\x80\x00\x00\x03", 1), "partitions"},
		"a number made longer":   {strings.Replace(good, "\x40\x03", "\xcc\x40\x03", 1), "canonical"},
		"an odd shape":           {other(func(m *meta) { m.Partitions = 63 }), "63 partitions"},
		"too many replicas":      {other(func(m *meta) { m.Replicas = 65 }), "replicas 65 is above 64"},
		"no state":               {other(func(m *meta) { m.state = 0 }), "state 0"},
		"an unknown state":       {other(func(m *meta) { m.state = 6 }), "state 6 is above 5"},
		"a name in colour":       {other(func(m *meta) { m.Node = "\x1b[31m" }), "printable"},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := decodeMeta([]byte(c.in))
			if !errors.Is(err, ErrMalformed) || !strings.Contains(fmt.Sprint(err), c.want) || m != (meta{}) {
				t.Errorf("got %+v, error %v, want one with %q", m, err, c.want)
			}
		})
	}
	for cut := range good {
		if _, err := decodeMeta([]byte(good[:cut])); err == nil {
			t.Errorf("the first %d of %d bytes decode", cut, len(good))
		}
	}
}

func TestFactsAreReadStrictlyAndOnlyFromTheOwnCluster(t *testing.T) {
	good := sampleFacts(t)
	foreign := ours()
	foreign.Partitions = 256
	if _, _, err := decodeFacts(foreign, good); err == nil ||
		!strings.Contains(err.Error(), "node n1 belongs to cluster shop with 64 partitions and 3 replicas; this node to cluster shop with 256") {
		t.Errorf("foreign facts: %v", err)
	}
	for cut := range good {
		if _, _, err := decodeFacts(ours(), good[:cut]); !errors.Is(err, ErrMalformed) {
			t.Errorf("the first %d of %d bytes: %v", cut, len(good), err)
		}
	}
	if _, _, err := decodeFacts(ours(), append(good, 0)); !errors.Is(err, ErrMalformed) || !errors.Is(err, ring.ErrFacts) {
		t.Errorf("a trailing byte: %v", err)
	}
}

func TestAHostileKilobyteAllocatesLessThanAMegabyte(t *testing.T) {
	head := ours().append(nil)
	for name, in := range map[string][]byte{
		"0xff":                     bytes.Repeat([]byte{0xff}, 1024),
		"zeros":                    make([]byte, 1024),
		"a meta of 4 gigabytes":    append([]byte("\x9a\x01\xdb\xff\xff\xff\xff"), make([]byte, 400)...),
		"nested arrays":            bytes.Repeat([]byte{0x9a}, 500),
		"facts beyond their bytes": append(append([]byte(nil), head...), "\x01\x80\x80\x04\x01\x01\xff\xff\xff\xff\x7f"...),
	} {
		for what, decode := range map[string]func(){
			"meta":  func() { _, _ = decodeMeta(in) },
			"facts": func() { _, _, _ = decodeFacts(ours(), in) },
			"hello": func() { _, _ = readHello(bytes.NewReader(in)) },
		} {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			decode()
			runtime.ReadMemStats(&after)
			if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
				t.Errorf("%s as %s: %d bytes in, %d allocated", name, what, len(in), n)
			}
		}
	}
}

func TestTheInboxIsBounded(t *testing.T) {
	g := &Gossip{news: make(chan struct{}, 1)}
	b := []byte{1}
	for range maxInbox + 10 {
		g.take(b)
	}
	b[0] = 2
	if len(g.inbox) != maxInbox || g.waiting != maxInbox || g.inbox[0][0] != 1 {
		t.Errorf("%d messages of %d bytes wait, the first is %v", len(g.inbox), g.waiting, g.inbox[0])
	}
}

func TestAStreamThatSaysNothingDoesNotHoldUpAShutdown(t *testing.T) {
	t.Parallel()
	g, _ := start(t, fast("n1"))
	var dialer net.Dialer
	silent, err := dialer.DialContext(t.Context(), "tcp", g.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	rude, err := dialer.DialContext(t.Context(), "tcp", g.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rude.Close() }()
	if _, err := rude.Write([]byte("CWG1\xff")); err != nil {
		t.Fatal(err)
	}
	if answer, _ := io.ReadAll(rude); len(answer) > 0 { // read until hung up on
		t.Errorf("a rude hello is answered with %q", answer)
	}
	eventually(t, "the silent one waits at the door", func() bool { return len(g.door.knocking) == 1 })
	began := time.Now()
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took >= helloTimeout {
		t.Errorf("took %v", took)
	}
}

func FuzzDecodeMeta(f *testing.F) {
	f.Add(mustEncode(f, sampleMeta()))
	f.Add([]byte("\x9a\x01\xdb\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := decodeMeta(b); err == nil && !bytes.Equal(mustEncode(t, m), b) {
			t.Fatalf("%x decodes as %+v, which encodes as %x", b, m, mustEncode(t, m))
		}
	})
}

func FuzzDecodeFacts(f *testing.F) {
	f.Add(sampleFacts(f))
	f.Add(sampleFacts(f)[:20])
	f.Fuzz(func(t *testing.T, b []byte) {
		facts, from, err := decodeFacts(ours(), b)
		if err != nil {
			return
		}
		if again, err := encodeFacts(from, facts); err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%x decodes, but encodes as %x (%v)", b, again, err)
		}
	})
}

func FuzzReadHello(f *testing.F) {
	f.Add(sampleHello(f))
	f.Add([]byte("CWG1\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		id, err := readHello(bytes.NewReader(b))
		if err != nil {
			return
		}
		var again bytes.Buffer
		if err := writeHello(&again, id); err != nil || !bytes.HasPrefix(b, again.Bytes()) {
			t.Fatalf("%x decodes, but encodes as %x (%v)", b, again.Bytes(), err)
		}
	})
}
