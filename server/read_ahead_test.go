package server

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
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

// A client that is refused while it still sends reads the refusal to its end: the
// server says that it has no more to say, and closes only then.
func TestARefusalIsReadToItsEndByWhoIsStillSending(t *testing.T) {
	at, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 100)); err != nil {
			http.Error(w, "too large", http.StatusRequestEntityTooLarge)
		}
	})}
	go func() { _ = s.Serve(readingAhead{at}) }()
	defer func() { _ = s.Close() }()
	c, err := net.Dial("tcp", at.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n\r\n%s", bytes.Repeat([]byte{7}, 1<<20)); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(c)
	if err != nil || !bytes.HasPrefix(got, []byte("HTTP/1.1 413 ")) || !bytes.HasSuffix(got, []byte("too large\n")) {
		t.Errorf("read %q, %v", got, err)
	}
}
