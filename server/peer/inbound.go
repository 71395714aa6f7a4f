package peer

import (
	"context"
	"errors"
	"io"
	"net"
	"time"

	"github.com/cartwheel-db/cartwheel/ring"
)

// handshaking bounds the connections that have not authenticated yet; one more is closed unheard. Each may hold
// handshakeBytes for HandshakeTimeout, so strangers can keep no more than that.
const handshaking = 128

// inbound is a peer's outgoing half as we see it: a connection it dialled, on which we read and answer with heartbeats.
type inbound struct {
	conn net.Conn
	done chan struct{} // closed when its last Deliver has returned
}

// accept takes connections until the listener is closed.
func (t *Transport) accept() {
	defer t.wg.Done()
	slots := make(chan struct{}, handshaking)
	for {
		conn, err := t.listener.Accept()
		if t.ctx.Err() != nil {
			if err == nil {
				conn.Close()
			}
			return
		}
		if err != nil { // out of file descriptors, most likely: let some go
			t.log.Error("peer accept", "addr", t.Addr(), "error", err)
			select {
			case <-t.ctx.Done():
			case <-time.After(t.cfg.RetryMin):
			}
			continue
		}
		select {
		case slots <- struct{}{}:
			t.wg.Add(1)
			go t.serve(conn, func() { <-slots })
		default:
			t.turnedAway.Add(1)
			conn.Close()
		}
	}
}

// serve is the life of one connection that was dialled to us. leave gives its handshake's slot back.
func (t *Transport) serve(conn net.Conn, leave func()) {
	defer t.wg.Done()
	defer conn.Close()
	ctx, cancel := context.WithCancel(t.ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() { conn.Close() })()

	var theirs hello
	talk, err := t.newHandshake(conn)
	if err == nil {
		theirs, err = talk.answer()
	}
	leave()
	if err != nil {
		t.refuse(err)
		return
	}
	in, prev, counts := t.admit(theirs, conn)
	defer t.leave(theirs.id, in)
	beats := make(chan struct{})
	go func() {
		defer close(beats)
		t.pulse(ctx, conn, counts)
	}()
	if prev != nil {
		// The peer dialled again: what it sends now comes after all it sent before, and so must its delivery.
		prev.conn.Close()
		<-prev.done
	}
	err = t.receive(theirs.id, conn, counts)
	if t.ctx.Err() == nil && !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
		t.log.Warn("peer connection broken", "peer", theirs.id, "addr", conn.RemoteAddr().String(), "error", err)
	}
	cancel()
	<-beats
}

// receive delivers frame after frame until the connection fails.
func (t *Transport) receive(from ring.NodeID, conn net.Conn, counts *tally) error {
	alive := func() error { return conn.SetReadDeadline(time.Now().Add(t.cfg.DeadAfter)) }
	frames := newFrameReader(conn, t.cfg.MaxFrame, alive)
	var messages [][]byte
	for {
		body, err := frames.next()
		if err != nil {
			return silence(err, t.cfg.DeadAfter)
		}
		var h Header
		if h, messages, err = decodeBody(body, messages[:0]); err != nil {
			return err
		}
		counts.received(len(messages), frameHeadBytes+len(body))
		t.cfg.Deliver(from, h, messages)
	}
}

// pulse tells the dialler, which is told nothing else, that we live. A process too stuck to run this goroutine is dead to it.
func (t *Transport) pulse(ctx context.Context, conn net.Conn, counts *tally) {
	beat := time.NewTicker(t.cfg.Heartbeat)
	defer beat.Stop()
	var frame []byte
	for {
		frame = appendFrame(frame[:0], t.cfg.Header(), nil)
		if err := conn.SetWriteDeadline(time.Now().Add(t.cfg.DeadAfter)); err != nil {
			return
		}
		if _, err := conn.Write(frame); err != nil {
			conn.Close() // the dialler does not read: receive ends too
			return
		}
		counts.sent(0, len(frame))
		select {
		case <-ctx.Done():
			return
		case <-beat.C:
		}
	}
}

// admit makes conn the peer's inbound connection and returns the one it replaces, if any.
func (t *Transport) admit(theirs hello, conn net.Conn) (in, prev *inbound, counts *tally) {
	in = &inbound{conn: conn, done: make(chan struct{})}
	t.mu.Lock()
	prev = t.inbound[theirs.id]
	t.inbound[theirs.id] = in
	counts = t.tallyOf(theirs.id)
	l := t.links[theirs.id]
	t.mu.Unlock()
	counts.boot.Store(theirs.boot)
	if l != nil && !l.queue.isOpen() {
		select {
		case l.poke <- struct{}{}:
		default:
		}
	}
	return in, prev, counts
}

// leave undoes admit, unless a newer connection has taken the place.
func (t *Transport) leave(peer ring.NodeID, in *inbound) {
	t.mu.Lock()
	if t.inbound[peer] == in {
		delete(t.inbound, peer)
		t.forget(peer)
	}
	t.mu.Unlock()
	close(in.done)
}

// refuse counts a failed handshake and logs it, the same difference with the same peer at most once a minute: a node that
// is configured wrongly dials every two seconds for as long as nobody looks.
func (t *Transport) refuse(err error) {
	if t.ctx.Err() != nil {
		return
	}
	var differs *HandshakeError
	key := refusalKey{}
	if errors.As(err, &differs) {
		key = refusalKey{differs.Peer, differs.Field}
	}
	t.mu.Lock()
	t.refused++
	t.lastRefusal = err
	news := key != t.refusalSaid || time.Since(t.refusalAt) > time.Minute
	if news {
		t.refusalSaid, t.refusalAt = key, time.Now()
	}
	t.mu.Unlock()
	if news {
		t.log.Warn("peer refused", "error", err)
	}
}

type refusalKey struct {
	peer  ring.NodeID
	field string
}
