package bench

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"
)

// wire is a small HTTP/1.1 client. A generator shares the machine with what it
// measures, and refused calls cost the client as much as the server: one write
// and one read a call, on the caller's goroutine, with no other goroutine
// between. It does not follow redirects, and a deadline closes the connection.
type wire struct {
	mu   sync.Mutex
	idle map[string][]*wireConn // by host:port; the last that was used on top
	shut bool
}

type wireConn struct {
	net.Conn
	in  *bufio.Reader
	out []byte
}

// maxWireReply bounds a reply, in bytes: well above the largest page.
const maxWireReply = 64 << 20

func newWire() *wire { return &wire{idle: map[string][]*wireConn{}} }

// Do implements connect.HTTPClient.
func (w *wire) Do(r *http.Request) (*http.Response, error) {
	c, err := w.conn(r.Context(), r.URL.Host)
	if err != nil {
		return nil, err
	}
	response, err := c.roundTrip(r)
	if err != nil {
		_ = c.Close()
		if ctx := r.Context().Err(); ctx != nil {
			return nil, ctx
		}
		if errors.Is(err, os.ErrDeadlineExceeded) { // that of the context, a moment earlier
			return nil, context.DeadlineExceeded
		}
		return nil, fmt.Errorf("%s: %w", r.URL.Host, err)
	}
	w.mu.Lock()
	kept := !w.shut && !response.Close
	if kept {
		w.idle[r.URL.Host] = append(w.idle[r.URL.Host], c)
	}
	w.mu.Unlock()
	if !kept {
		_ = c.Close()
	}
	return response, nil
}

func (w *wire) conn(ctx context.Context, host string) (*wireConn, error) {
	w.mu.Lock()
	if list := w.idle[host]; len(list) > 0 {
		c := list[len(list)-1]
		w.idle[host] = list[:len(list)-1]
		w.mu.Unlock()
		return c, nil
	}
	w.mu.Unlock()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", host)
	if err != nil {
		return nil, err
	}
	return &wireConn{Conn: conn, in: bufio.NewReader(conn)}, nil
}

// roundTrip returns a response whose body is read already.
func (c *wireConn) roundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
		_ = r.Body.Close()
	}
	b := append(c.out[:0], r.Method...)
	b = append(append(append(b, ' '), r.URL.RequestURI()...), " HTTP/1.1\r\nHost: "...)
	b = append(append(b, r.URL.Host...), "\r\nContent-Length: "...)
	b = append(strconv.AppendInt(b, int64(len(body)), 10), "\r\n"...)
	for name, values := range r.Header {
		for _, v := range values {
			b = append(append(append(append(b, name...), ": "...), v...), "\r\n"...)
		}
	}
	c.out = append(append(b, "\r\n"...), body...)
	deadline, _ := r.Context().Deadline() // zero for none
	if err := c.SetDeadline(deadline); err != nil {
		return nil, err
	}
	if _, err := c.Write(c.out); err != nil {
		return nil, err
	}
	response, err := http.ReadResponse(c.in, r)
	if err != nil {
		return nil, err
	}
	got, err := io.ReadAll(io.LimitReader(response.Body, maxWireReply))
	_ = response.Body.Close()
	if err != nil {
		return nil, err
	}
	response.Body = io.NopCloser(bytes.NewReader(got))
	return response, nil
}

// close closes what is idle, and keeps nothing from then on.
func (w *wire) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.shut = true
	for _, list := range w.idle {
		for _, c := range list {
			_ = c.SetDeadline(time.Now())
			_ = c.Close()
		}
	}
	clear(w.idle)
}
