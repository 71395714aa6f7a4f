package server

import (
	"bufio"
	"net"
)

// readingAhead makes connections take what has arrived at once. The HTTP/2 server
// reads the 9 bytes that begin a frame by themselves, and then the frame: with
// messages of a few hundred bytes every other system call was for that.
type readingAhead struct{ net.Listener }

// readAhead is what a connection takes at a time, in bytes. What a reader wants
// that is longer goes past it.
const readAhead = 4 << 10

// Accept implements [net.Listener].
func (l readingAhead) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &aheadConn{Conn: c, in: bufio.NewReaderSize(c, readAhead)}, nil
}

type aheadConn struct {
	net.Conn
	in *bufio.Reader
}

// Read implements [net.Conn].
func (c *aheadConn) Read(p []byte) (int, error) { return c.in.Read(p) }

// CloseWrite ends what is sent, as the server does after a refusal: a client that is
// still sending then reads it, and is not cut off before.
func (c *aheadConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}
