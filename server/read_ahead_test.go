package server

import (
	"bytes"
	"io"
	"net"
	"slices"
	"testing"
)

// segments is a connection that has what it is sent in pieces.
type segments struct {
	net.Conn
	pieces [][]byte
	reads  int
}

func (c *segments) Read(p []byte) (int, error) {
	if c.reads++; len(c.pieces) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.pieces[0])
	if c.pieces[0] = c.pieces[0][n:]; len(c.pieces[0]) == 0 {
		c.pieces = c.pieces[1:]
	}
	return n, nil
}

// listening is a listener with one connection.
type listening struct {
	net.Listener
	c net.Conn
}

func (l listening) Accept() (net.Conn, error) { return l.c, nil }

func TestAConnectionTakesWhatHasArrivedAtOnce(t *testing.T) {
	frame := slices.Concat(make([]byte, 9), bytes.Repeat([]byte{7}, 100)) // a head and what it announces
	large := bytes.Repeat([]byte{9}, 3*readAhead)
	from := &segments{pieces: [][]byte{frame, slices.Concat(frame, frame), large}}
	in, err := readingAhead{listening{c: from}}.Accept()
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		head, rest := make([]byte, 9), make([]byte, 100)
		_, err := io.ReadFull(in, head)
		if _, then := io.ReadFull(in, rest); err != nil || then != nil || !bytes.Equal(slices.Concat(head, rest), frame) {
			t.Fatalf("frame %d is %x %x, %v, %v", i, head, rest, err, then)
		}
	}
	if from.reads != 2 {
		t.Errorf("3 frames in 2 pieces took %d reads, want 2", from.reads)
	}
	if all, err := io.ReadAll(in); err != nil || !bytes.Equal(all, large) {
		t.Errorf("%d bytes after the frames, %v, want %d", len(all), err, len(large))
	}
}
