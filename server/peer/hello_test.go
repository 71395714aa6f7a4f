package peer

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
)

func sampleHello() hello {
	return hello{
		version: handshakeVersion, cluster: "groceries", partitions: 256, replicas: 3, id: "n1", to: "n2",
		boot: 7, ringHash: 0xfeedface, challenge: bytes.Repeat([]byte{0xab}, challengeBytes),
	}
}

// words of a handshake that must be refused, or that only say the version.
var hostileHellos = []struct {
	name string
	word []byte
	says string
}{
	{"nothing", nil, "EOF"},
	{"another protocol", []byte("SSH-2.0-OpenSSH_9.6"), "hello:"},
	{"another magic", []byte("\x9a\xa4HTTP\x01"), "magic"},
	{"a magic of 4 GiB", []byte("\x9a\xdb\xff\xff\xff\xff"), "magic"},
	{"a cluster of 4 GiB", []byte("\x9a\xa4CWPL\x01\xdb\xff\xff\xff\xff"), "at most 256"},
	{"a cluster of a kilobyte", append([]byte("\x9a\xa4CWPL\x01\xda\x04\x00"), make([]byte, 1024)...), "at most 256"},
	{"no cluster at all", []byte("\x9a\xa4CWPL\x01\xc0"), "at most 256"},
	{"one field too few", []byte("\x99\xa4CWPL\x01"), "9 fields"},
	{"an array of 4 GiB", []byte("\xdd\xff\xff\xff\xff\xa4CWPL\x01"), "fields"},
	{"nesting without end", bytes.Repeat([]byte{0x91}, 1024), "hello:"},
	{"a byte after the end", append(sampleHello().encode(), 0), "canonical"},
	{"a number in a long form", bytes.Replace(sampleHello().encode(), []byte("\x01\xa9groceries"), []byte("\xcc\x01\xa9groceries"), 1), "canonical"},
	{"a short challenge", func() []byte { h := sampleHello(); h.challenge = []byte{1}; return h.encode() }(), "challenge of 1 bytes"},
	{"a hello cut in its middle", sampleHello().encode()[:40], "EOF"},
}

func TestMalformedHellosAreRefusedWithoutBelievingThem(t *testing.T) {
	for _, c := range hostileHellos {
		t.Run(c.name, func(t *testing.T) {
			var err error
			if n := allocated(func() { _, err = parseHello(c.word) }); n > 1<<20 {
				t.Errorf("allocated %d bytes", n)
			}
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want it to say %q", err, c.says)
			}
			if n := allocated(func() { _, err = parseVerdict(c.word) }); n > 1<<20 || err == nil {
				t.Errorf("as a verdict: allocated %d bytes, error %v", n, err)
			}
		})
	}
}

func TestAHelloOfAnotherVersionSaysItsVersionWhateverFollows(t *testing.T) {
	h, err := parseHello([]byte("\x93\xa4CWPL\x02\xc3"))
	if err != nil || h.version != 2 {
		t.Fatalf("version %d, %v", h.version, err)
	}
	if differs := compare(sampleHello(), h, ""); differs == nil || differs.Field != "version" || differs.Ours != "1" || differs.Theirs != "2" {
		t.Errorf("got %v", differs)
	}
}

func TestHelloAndVerdictKeepTheirBytes(t *testing.T) {
	key, err := linkKey([]byte("a secret of sixteen bytes or more"))
	if err != nil {
		t.Fatal(err)
	}
	dialler, acceptor := sampleHello().encode(), sampleHello().encode()
	words := map[string][]byte{
		"hello":          dialler,
		"dialler proof":  proof(key, roleDialler, dialler, acceptor),
		"acceptor proof": proof(key, roleAcceptor, dialler, acceptor),
		"verdict":        verdict{proof: proof(key, roleAcceptor, dialler, acceptor)}.encode(),
		"refusal":        verdict{refusal: "secret"}.encode(),
	}
	golden(t, "handshake.golden", []string{"hello", "dialler proof", "acceptor proof", "verdict", "refusal"}, words)
	if back, err := parseHello(dialler); err != nil || !bytes.Equal(back.encode(), dialler) {
		t.Errorf("a hello does not survive its encoding: %+v, %v", back, err)
	}
}

func TestAProofHoldsForOneRoleOneKeyAndOneTalk(t *testing.T) {
	a, b := []byte("hello a"), []byte("hello b")
	proofs := map[string]string{}
	for name, p := range map[string][]byte{
		"dialler":             proof([]byte("key"), roleDialler, a, b),
		"acceptor":            proof([]byte("key"), roleAcceptor, a, b),
		"another key":         proof([]byte("kez"), roleDialler, a, b),
		"hellos exchanged":    proof([]byte("key"), roleDialler, b, a),
		"another cut of them": proof([]byte("key"), roleDialler, []byte("hello ah"), []byte("ello b")),
	} {
		if other, taken := proofs[string(p)]; taken {
			t.Errorf("%s and %s have the same proof", name, other)
		}
		proofs[string(p)] = name
	}
}

func FuzzHandshake(f *testing.F) {
	for _, c := range hostileHellos {
		f.Add(c.word)
	}
	f.Add(sampleHello().encode())
	f.Add(verdict{proof: make([]byte, 32)}.encode())
	f.Fuzz(func(t *testing.T, word []byte) {
		if h, err := parseHello(word); err == nil && h.version == handshakeVersion && !bytes.Equal(h.encode(), word) {
			t.Errorf("hello %+v has two encodings", h)
		}
		if v, err := parseVerdict(word); err == nil && !bytes.Equal(v.encode(), word) {
			t.Errorf("verdict %+v has two encodings", v)
		}
	})
}

func prefixed(word []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(word))), word...)
}
