package peer

import (
	"bufio"
	"encoding/binary"
	"hash/crc32"
	"io"
	"slices"
)

const (
	readAhead  = 32 << 10 // bytes of the connection's buffer
	chunkBytes = 64 << 10 // memory a claim of any length gets before its bytes are there
	keepBytes  = 1 << 20  // a larger buffer is not kept for the next frame
)

// frameReader takes frames off a connection. A declared length is refused above the limit and otherwise believed one chunk
// at a time, so memory follows the bytes that really arrived.
type frameReader struct {
	src   *bufio.Reader
	alive func() error // extends the read deadline; called before each wait, so a chunk is also the least a sender must move in that time
	limit int          // bytes of a body
	head  [frameHeadBytes]byte
	body  []byte
}

func newFrameReader(src io.Reader, limit int, alive func() error) *frameReader {
	return &frameReader{src: bufio.NewReaderSize(src, min(readAhead, limit+frameHeadBytes)), limit: limit, alive: alive}
}

// next returns the body of the next frame, checked against its CRC and valid until the next call. io.EOF means the other
// side closed between two frames.
func (r *frameReader) next() ([]byte, error) {
	if err := r.alive(); err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(r.src, r.head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(r.head[:])
	if uint64(n) > uint64(r.limit) {
		return nil, &FrameError{Reason: "body longer than allowed", Got: uint64(n), Want: uint64(r.limit)}
	}
	if cap(r.body) > keepBytes {
		r.body = nil
	}
	body := r.body[:0]
	for len(body) < int(n) {
		if err := r.alive(); err != nil {
			return nil, err
		}
		have, step := len(body), min(int(n)-len(body), chunkBytes)
		body = slices.Grow(body, step)[:have+step]
		if _, err := io.ReadFull(r.src, body[have:]); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
	r.body = body
	if got, want := crc32.Checksum(body, castagnoli), binary.BigEndian.Uint32(r.head[4:]); got != want {
		return nil, &FrameError{Reason: "checksum of the body", Got: uint64(got), Want: uint64(want)}
	}
	return body, nil
}
