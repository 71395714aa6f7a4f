package gossip

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// A hello is one frame each way, in clear, before anything is encrypted:
//
//	C -> S   "CWG1" len identity
//	S -> C   "CWG1" len identity
//
// No stream of memberlist begins with a 'C': it opens with the label's mark (244)
// or a message type (below 16).
const (
	helloMark    = "CWG1"
	helloTimeout = 2 * time.Second
	maxKnocking  = 128 // streams that have not yet said what they are
)

func writeHello(w io.Writer, id Identity) error {
	body := id.append(nil)
	frame := append(append([]byte(helloMark), byte(len(body))), body...)
	_, err := w.Write(frame)
	return err
}

func readHello(r io.Reader) (Identity, error) {
	head := make([]byte, len(helloMark)+1)
	if _, err := io.ReadFull(r, head); err != nil {
		return Identity{}, fmt.Errorf("read hello: %w", err)
	}
	size := int(head[len(helloMark)])
	if string(head[:len(helloMark)]) != helloMark || size > maxIdentity {
		return Identity{}, fmt.Errorf("%w: hello %q", ErrMalformed, head)
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(r, body); err != nil {
		return Identity{}, fmt.Errorf("read hello of %d bytes: %w", size, err)
	}
	id, rest, err := cutIdentity(body)
	if err == nil && len(rest) > 0 {
		return Identity{}, fmt.Errorf("%w: hello with %d bytes too many", ErrMalformed, len(rest))
	}
	return id, err
}

// door is a transport that answers hellos and lets all else through.
type door struct {
	memberlist.NodeAwareTransport
	self     Identity
	streams  chan net.Conn
	knocking chan struct{} // one token per stream not yet told apart
	refused  func(error)
	open     context.Context // until shutdown begins
	stop     context.CancelFunc
	gone     chan struct{} // closed when nothing comes from below any more
	shut     sync.Once
	done     sync.WaitGroup
}

func newDoor(inner memberlist.NodeAwareTransport, self Identity, refused func(error)) *door {
	d := &door{
		NodeAwareTransport: inner,
		self:               self,
		streams:            make(chan net.Conn),
		knocking:           make(chan struct{}, maxKnocking),
		refused:            refused,
		gone:               make(chan struct{}),
	}
	d.open, d.stop = context.WithCancel(context.Background())
	d.done.Go(d.listen)
	return d
}

// StreamCh hands memberlist the streams that are its own.
func (d *door) StreamCh() <-chan net.Conn { return d.streams }

// Shutdown closes the listeners and waits for everybody at the door.
func (d *door) Shutdown() error {
	var err error
	d.shut.Do(func() {
		d.stop()
		err = d.NodeAwareTransport.Shutdown()
		close(d.gone)
	})
	d.done.Wait()
	return err
}

// listen keeps taking streams until the transport below is gone, even when it
// has to send them away: that transport waits for each to be taken.
func (d *door) listen() {
	inner := d.NodeAwareTransport.StreamCh()
	for {
		select {
		case conn := <-inner:
			select {
			case <-d.open.Done():
				_ = conn.Close()
			case d.knocking <- struct{}{}:
				d.done.Go(func() {
					d.hear(conn)
					<-d.knocking
				})
			default:
				_ = conn.Close()
			}
		case <-d.gone:
			return
		}
	}
}

// hear reads the first byte of a stream to see whose it is.
func (d *door) hear(conn net.Conn) {
	_ = conn.SetDeadline(time.Now().Add(helloTimeout))
	// A stream that says nothing must not hold up a shutdown.
	defer context.AfterFunc(d.open, func() { _ = conn.SetReadDeadline(time.Now()) })()
	first := make([]byte, 1)
	if _, err := io.ReadFull(conn, first); err != nil {
		_ = conn.Close()
		return
	}
	whole := &peekedStream{Conn: conn, rest: io.MultiReader(bytes.NewReader(first), conn)}
	if first[0] != helloMark[0] {
		_ = conn.SetDeadline(time.Time{})
		select {
		case d.streams <- whole:
		case <-d.open.Done():
			_ = conn.Close()
		}
		return
	}
	defer func() { _ = conn.Close() }()
	theirs, err := readHello(whole)
	if err != nil {
		d.refused(fmt.Errorf("gossip: from %s: %w", conn.RemoteAddr(), err))
		return
	}
	_ = writeHello(conn, d.self)
	if err := d.self.admit(theirs, conn.RemoteAddr().String()); err != nil {
		d.refused(err)
	}
}

// DialAddressTimeout dials, and hangs up when the door is shut: neither a dial nor an
// answer that does not come holds up a shutdown.
func (d *door) DialAddressTimeout(to memberlist.Address, timeout time.Duration) (net.Conn, error) {
	type dialled struct {
		net.Conn
		error
	}
	answer := make(chan dialled, 1)
	go func() {
		conn, err := d.NodeAwareTransport.DialAddressTimeout(to, timeout)
		answer <- dialled{conn, err}
	}()
	select {
	case got := <-answer:
		if got.error != nil {
			return nil, got.error
		}
		return &ownStream{got.Conn, context.AfterFunc(d.open, func() { _ = got.Close() })}, nil
	case <-d.open.Done():
		go func() {
			if got := <-answer; got.error == nil {
				_ = got.Close()
			}
		}()
		return nil, net.ErrClosed
	}
}

// ownStream is a stream that this node dialled.
type ownStream struct {
	net.Conn
	forget func() bool
}

func (s *ownStream) Close() error {
	s.forget()
	return s.Conn.Close()
}

type peekedStream struct {
	net.Conn
	rest io.Reader
}

func (s *peekedStream) Read(b []byte) (int, error) { return s.rest.Read(b) }

// ask says hello to an address and returns who lives there.
func (d *door) ask(addr string) (Identity, error) {
	conn, err := d.DialAddressTimeout(memberlist.Address{Addr: addr}, helloTimeout)
	if err != nil {
		return Identity{}, err
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(helloTimeout))
	if err := writeHello(conn, d.self); err != nil {
		return Identity{}, fmt.Errorf("write hello: %w", err)
	}
	return readHello(conn)
}
