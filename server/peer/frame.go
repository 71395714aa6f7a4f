package peer

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/vmihailenco/msgpack/v5/msgpcode"
)

const (
	frameHeadBytes = 8                 // length and checksum before the body
	bodyHeadBytes  = 1 + 9 + 9         // array of three, ring hash, stamp
	heartbeatBytes = bodyHeadBytes + 1 // and an empty array

	// frameMessages bounds the slice of slices a receiver makes for one frame: 1.5 MiB.
	frameMessages = 1<<16 - 1
	// frameOverhead is what the body of a frame holds besides the bytes of its one message, at most.
	frameOverhead = bodyHeadBytes + 1 + 5
	// batchBytes closes a frame: beyond it one more message saves nothing, while both sides hold the whole frame in memory
	// and the receiver cannot start before its last byte.
	batchBytes = 256 << 10
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// batch returns how many of the messages travel in the next frame: at least one, then as many as stay within the bounds.
func batch(messages [][]byte, limit int) int {
	size := bodyHeadBytes + 3
	for i, m := range messages {
		size += binHeadBytes(len(m)) + len(m)
		if i > 0 && size > limit || i == frameMessages {
			return i
		}
	}
	return len(messages)
}

// appendFrame appends one whole frame to dst. At most frameMessages messages.
func appendFrame(dst []byte, h Header, messages [][]byte) []byte {
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0, 0, 0, 0, 0)
	dst = append(dst, msgpcode.FixedArrayLow|3, msgpcode.Uint64)
	dst = binary.BigEndian.AppendUint64(dst, h.RingHash)
	dst = append(dst, msgpcode.Uint64)
	dst = binary.BigEndian.AppendUint64(dst, h.Stamp)
	if n := len(messages); n < 16 {
		dst = append(dst, msgpcode.FixedArrayLow|byte(n))
	} else {
		dst = binary.BigEndian.AppendUint16(append(dst, msgpcode.Array16), uint16(n))
	}
	for _, m := range messages {
		dst = append(appendBinHead(dst, len(m)), m...)
	}
	body := dst[start+frameHeadBytes:]
	binary.BigEndian.PutUint32(dst[start:], uint32(len(body)))
	binary.BigEndian.PutUint32(dst[start+4:], crc32.Checksum(body, castagnoli))
	return dst
}

func binHeadBytes(n int) int {
	switch {
	case n < 1<<8:
		return 2
	case n < 1<<16:
		return 3
	default:
		return 5
	}
}

func appendBinHead(dst []byte, n int) []byte {
	switch binHeadBytes(n) {
	case 2:
		return append(dst, msgpcode.Bin8, byte(n))
	case 3:
		return binary.BigEndian.AppendUint16(append(dst, msgpcode.Bin16), uint16(n))
	default:
		return binary.BigEndian.AppendUint32(append(dst, msgpcode.Bin32), uint32(n))
	}
}

// decodeBody reads the body of a frame. The messages are appended to into, as slices of body. Only the encoding that
// appendFrame makes is accepted, so decoding and encoding again gives the same bytes.
func decodeBody(body []byte, into [][]byte) (Header, [][]byte, error) {
	var h Header
	if len(body) < heartbeatBytes {
		return h, into, &FrameError{Reason: "body cut short", Got: uint64(len(body)), Want: heartbeatBytes}
	}
	for i, want := range [...]byte{0: msgpcode.FixedArrayLow | 3, 1: msgpcode.Uint64, 10: msgpcode.Uint64} {
		if want != 0 && body[i] != want {
			return h, into, &FrameError{Reason: "wrong msgpack code in the header", Got: uint64(body[i]), Want: uint64(want)}
		}
	}
	h.RingHash = binary.BigEndian.Uint64(body[2:])
	h.Stamp = binary.BigEndian.Uint64(body[11:])

	count, rest, err := cutArrayHead(body[bodyHeadBytes:])
	if err != nil {
		return h, into, err
	}
	// Each message takes two bytes at least: a count beyond that is a lie, told before anything is allocated for it.
	if count > len(rest)/2 {
		return h, into, &FrameError{Reason: "more messages declared than bytes are left for", Got: uint64(count), Want: uint64(len(rest) / 2)}
	}
	for range count {
		var m []byte
		if m, rest, err = cutBin(rest); err != nil {
			return h, into, err
		}
		into = append(into, m)
	}
	if len(rest) > 0 {
		return h, into, &FrameError{Reason: "bytes after the last message", Got: uint64(len(rest)), Want: 0}
	}
	return h, into, nil
}

// cutArrayHead splits the head of an array from what follows. b has one byte or more.
func cutArrayHead(b []byte) (count int, rest []byte, err error) {
	switch c := b[0]; {
	case c >= msgpcode.FixedArrayLow && c <= msgpcode.FixedArrayHigh:
		return int(c & msgpcode.FixedArrayMask), b[1:], nil
	case c == msgpcode.Array16 && len(b) >= 3:
		n := int(binary.BigEndian.Uint16(b[1:]))
		if n < 16 {
			return 0, b, &FrameError{Reason: "array length not in its shortest form", Got: uint64(n), Want: 16}
		}
		return n, b[3:], nil
	default:
		return 0, b, &FrameError{Reason: "not an array of messages", Got: uint64(c), Want: uint64(msgpcode.FixedArrayLow)}
	}
}

// cutBin splits one binary string, without copying it, from what follows. Its capacity ends where it ends, so that an
// append by its reader cannot reach into the next message.
func cutBin(b []byte) (m, rest []byte, err error) {
	if len(b) < 2 {
		return nil, b, &FrameError{Reason: "message cut short", Got: uint64(len(b)), Want: 2}
	}
	var n, head int
	switch c := b[0]; {
	case c == msgpcode.Bin8:
		n, head = int(b[1]), 2
	case c == msgpcode.Bin16 && len(b) >= 3:
		n, head = int(binary.BigEndian.Uint16(b[1:])), 3
	case c == msgpcode.Bin32 && len(b) >= 5:
		n, head = int(binary.BigEndian.Uint32(b[1:])), 5
	default:
		return nil, b, &FrameError{Reason: "not a message", Got: uint64(c), Want: uint64(msgpcode.Bin8)}
	}
	if head != binHeadBytes(n) {
		return nil, b, &FrameError{Reason: "message length not in its shortest form", Got: uint64(head), Want: uint64(binHeadBytes(n))}
	}
	if n > len(b)-head {
		return nil, b, &FrameError{Reason: "message longer than the bytes left", Got: uint64(n), Want: uint64(len(b) - head)}
	}
	return b[head : head+n : head+n], b[head+n:], nil
}
