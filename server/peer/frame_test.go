package peer

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
	"testing"

	"github.com/vmihailenco/msgpack/v5"
	"pgregory.net/rapid"
)

// libraryBody is what msgpack's own encoder makes of a frame.
func libraryBody(t testing.TB, h Header, messages [][]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	e := msgpack.NewEncoder(&b)
	err := errors.Join(e.EncodeArrayLen(3), e.EncodeUint64(h.RingHash), e.EncodeUint64(h.Stamp), e.EncodeArrayLen(len(messages)))
	for _, m := range messages {
		err = errors.Join(err, e.Encode(m))
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func sample(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * 7)
	}
	return b
}

func repeat(n int, m []byte) [][]byte {
	messages := make([][]byte, n)
	for i := range messages {
		messages[i] = m
	}
	return messages
}

func TestAFrameHoldsTheBytesThatTheLibraryWouldWrite(t *testing.T) {
	h := Header{RingHash: 0x0123456789abcdef, Stamp: 1<<63 + 5}
	for _, messages := range [][][]byte{
		{}, {{}}, repeat(1, sample(255)), repeat(1, sample(256)), repeat(1, sample(1<<16-1)), repeat(1, sample(1<<16)),
		repeat(15, sample(3)), repeat(16, sample(3)), repeat(1000, sample(100)), repeat(frameMessages, []byte{1}),
	} {
		frame := appendFrame([]byte("before"), h, messages)
		want := libraryBody(t, h, messages)
		if got := frame[len("before")+frameHeadBytes:]; !bytes.Equal(got, want) {
			t.Errorf("%d messages: body differs from the library's (%d bytes, want %d)", len(messages), len(got), len(want))
		}
	}
}

func TestADecodedFrameIsWhatWasEncoded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := Header{RingHash: rapid.Uint64().Draw(t, "ring"), Stamp: rapid.Uint64().Draw(t, "stamp")}
		sizes := rapid.SliceOfN(rapid.OneOf(rapid.IntRange(0, 20), rapid.IntRange(250, 260), rapid.IntRange(65530, 65540)), 0, 40).Draw(t, "sizes")
		var messages [][]byte
		for _, n := range sizes {
			messages = append(messages, sample(n))
		}
		frame := appendFrame(nil, h, messages)
		body, err := reader(frame, 8<<20).next()
		if err != nil {
			t.Fatal(err)
		}
		gotHeader, got, err := decodeBody(body, nil)
		if err != nil || gotHeader != h || len(got) != len(messages) {
			t.Fatalf("got %v, %d messages, %v", gotHeader, len(got), err)
		}
		for i := range got {
			if !bytes.Equal(got[i], messages[i]) || cap(got[i]) != len(got[i]) {
				t.Fatalf("message %d differs, or its capacity reaches into the next", i)
			}
		}
	})
}

func TestFramesKeepTheirBytes(t *testing.T) {
	frames := map[string][]byte{
		"heartbeat":       appendFrame(nil, Header{RingHash: 1, Stamp: 2}, nil),
		"one message":     appendFrame(nil, Header{RingHash: 0xfeedface, Stamp: 1 << 48}, [][]byte{[]byte("milk")}),
		"an empty one":    appendFrame(nil, Header{}, [][]byte{{}, []byte("x")}),
		"sixteen":         appendFrame(nil, Header{Stamp: 9}, repeat(16, []byte{0xc0})),
		"a bin16 message": appendFrame(nil, Header{Stamp: 9}, [][]byte{sample(256)}),
	}
	golden(t, "frames.golden", []string{"heartbeat", "one message", "an empty one", "sixteen", "a bin16 message"}, frames)
}

func TestBatchesStayWithinTheirBounds(t *testing.T) {
	for _, c := range []struct {
		name     string
		messages [][]byte
		limit    int
		want     int
	}{
		{"one message alone", repeat(1, sample(10)), 100, 1},
		{"a message beyond the limit travels alone", repeat(3, sample(200)), 100, 1},
		{"as many as fit", repeat(10, sample(18)), bodyHeadBytes + 3 + 4*20, 4},
		{"never more than a receiver's slice may hold", repeat(frameMessages+5, nil), 1 << 20, frameMessages},
	} {
		got := batch(c.messages, c.limit)
		if got != c.want {
			t.Errorf("%s: %d messages, want %d", c.name, got, c.want)
		}
		body := len(appendFrame(nil, Header{}, c.messages[:got])) - frameHeadBytes
		if got > 1 && body > c.limit {
			t.Errorf("%s: body of %d bytes, limit %d", c.name, body, c.limit)
		}
	}
	largest := repeat(1, sample(minFrameBytes-frameOverhead))
	if body := len(appendFrame(nil, Header{}, largest)) - frameHeadBytes; body > minFrameBytes {
		t.Errorf("the largest message that Send takes makes a body of %d bytes, limit %d", body, minFrameBytes)
	}
}

// header is the start of a body, up to its messages.
var header = appendFrame(nil, Header{RingHash: 1, Stamp: 2}, nil)[frameHeadBytes : frameHeadBytes+bodyHeadBytes]

func with(tail ...byte) []byte { return append(bytes.Clone(header), tail...) }

var hostileBodies = []struct {
	name string
	body []byte
	says string
}{
	{"nothing", nil, "cut short"},
	{"a header without messages", header, "cut short"},
	{"an array of two", append([]byte{0x92}, with(0x90)[1:]...), "wrong msgpack code"},
	{"a map where the messages belong", with(0x81, 1, 1), "not an array"},
	{"an array32 of four thousand million", with(0xdd, 0xff, 0xff, 0xff, 0xff), "not an array"},
	{"an array16 with nothing in it", with(0xdc, 0xff, 0xff), "more messages declared"},
	{"an array16 that a fixarray could be", append(with(0xdc, 0, 3), 0xc4, 0, 0xc4, 0, 0xc4, 0), "shortest form"},
	{"a bin32 of four thousand million", with(0x91, 0xc6, 0xff, 0xff, 0xff, 0xff), "longer than the bytes left"},
	{"a bin16 that a bin8 could be", with(0x91, 0xc5, 0, 1, 7), "shortest form"},
	{"a bin32 cut in its length", with(0x91, 0xc6, 0xff), "not a message"},
	{"a message one byte too long", with(0x91, 0xc4, 3, 1, 2), "longer than the bytes left"},
	{"a string instead of a binary", with(0x91, 0xa1, 'x'), "not a message"},
	{"a second message missing", with(0x92, 0xc4, 1, 1), "more messages declared"},
	{"a second message cut", with(0x92, 0xc4, 1, 1, 0xc4), "cut short"},
	{"a byte after the last message", with(0x91, 0xc4, 0, 0), "bytes after"},
	{"a kilobyte of nested arrays", bytes.Repeat([]byte{0x91}, 1024), "wrong msgpack code"},
	{"a kilobyte of array claims", with(bytes.Repeat([]byte{0xdc, 0xff}, 500)...), "more messages declared"},
}

func TestMalformedBodiesAreRefusedWithoutBelievingThem(t *testing.T) {
	for _, c := range hostileBodies {
		t.Run(c.name, func(t *testing.T) {
			var err error
			if n := allocated(func() { _, _, err = decodeBody(c.body, nil) }); n > 1<<20 {
				t.Errorf("allocated %d bytes", n)
			}
			var malformed *FrameError
			if !errors.As(err, &malformed) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want a FrameError that says %q", err, c.says)
			}
		})
	}
}

func reader(stream []byte, limit int) *frameReader {
	return newFrameReader(bytes.NewReader(stream), limit, func() error { return nil })
}

func claim(n uint32, body ...byte) []byte {
	return append(binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, n), crc32.Checksum(body, castagnoli)), body...)
}

func TestABrokenStreamCostsNoMoreMemoryThanItBrought(t *testing.T) {
	heartbeat := appendFrame(nil, Header{}, nil)
	flipped := bytes.Clone(heartbeat)
	flipped[12] ^= 1
	for _, c := range []struct {
		name   string
		stream []byte
		want   string
	}{
		{"a clean end", nil, "EOF"},
		{"half a head", heartbeat[:5], "unexpected EOF"},
		{"a head alone", heartbeat[:8], "unexpected EOF"},
		{"half a body", heartbeat[:20], "unexpected EOF"},
		{"a claim of 8 MiB and ten bytes", claim(8<<20, sample(10)...), "unexpected EOF"},
		{"a claim of 8 MiB and a kilobyte", claim(8<<20, sample(1016)...), "unexpected EOF"},
		{"a claim above the limit", claim(8<<20+1, sample(10)...), "body longer than allowed: got 8388609, want 8388608"},
		{"a claim of 4 GiB", claim(1<<32-1, sample(10)...), "body longer than allowed"},
		{"a flipped bit", flipped, "checksum"},
		{"a request of another protocol", []byte("GET / HTTP/1.1\r\nHost: example\r\n\r\n"), "body longer than allowed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var err error
			if n := allocated(func() { _, err = reader(c.stream, 8<<20).next() }); n > 1<<20 {
				t.Errorf("allocated %d bytes", n)
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || (c.want == "EOF") != errors.Is(err, io.EOF) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestALargeFrameIsReadWholeAndItsBufferNotKept(t *testing.T) {
	big := appendFrame(nil, Header{}, repeat(1, sample(5<<20)))
	r := reader(append(bytes.Clone(big), appendFrame(nil, Header{Stamp: 1}, nil)...), 8<<20)
	body, err := r.next()
	if err != nil || !bytes.Equal(body, big[frameHeadBytes:]) {
		t.Fatalf("%d bytes, %v", len(body), err)
	}
	if _, err := r.next(); err != nil || cap(r.body) > keepBytes {
		t.Errorf("%v; the buffer holds %d bytes", err, cap(r.body))
	}
}

func TestTheReadDeadlineIsExtendedPerChunk(t *testing.T) {
	big := appendFrame(nil, Header{}, repeat(1, sample(3*chunkBytes)))
	waits := 0
	r := &frameReader{src: bufio.NewReader(bytes.NewReader(big)), limit: 1 << 20, alive: func() error { waits++; return nil }}
	if _, err := r.next(); err != nil {
		t.Fatal(err)
	}
	if want := 1 + 4; waits != want { // the head, three whole chunks, the rest
		t.Errorf("extended %d times, want %d", waits, want)
	}
}

// Fuzzing: whatever decodes must be the one encoding of what it decoded to.

func FuzzFrameBody(f *testing.F) {
	for _, c := range hostileBodies {
		f.Add(c.body)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		h, messages, err := decodeBody(body, nil)
		if err == nil && !bytes.Equal(appendFrame(nil, h, messages)[frameHeadBytes:], body) {
			t.Errorf("decoded to %v and %d messages, which encode otherwise", h, len(messages))
		}
	})
}

func FuzzFrameStream(f *testing.F) {
	f.Add(append(appendFrame(nil, Header{Stamp: 3}, repeat(2, []byte("x"))), appendFrame(nil, Header{}, nil)...))
	f.Add(claim(8<<20, 1, 2, 3))
	f.Fuzz(func(t *testing.T, stream []byte) {
		r, at := reader(stream, 1<<20), 0
		for {
			body, err := r.next()
			if err != nil {
				return
			}
			if end := at + frameHeadBytes + len(body); !bytes.Equal(stream[end-len(body):end], body) {
				t.Fatalf("frame at %d is not the bytes that are there", at)
			} else {
				at = end
			}
			if h, messages, err := decodeBody(body, nil); err == nil {
				if again := appendFrame(nil, h, messages); !bytes.Equal(again, stream[at-len(again):at]) {
					t.Fatalf("frame that ends at %d encodes otherwise", at)
				}
			}
		}
	})
}

func ExampleFrameError() {
	_, err := reader(claim(9<<20), 8<<20).next()
	fmt.Println(err)
	// Output: frame: body longer than allowed: got 9437184, want 8388608
}
