package peer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/cartwheel-db/cartwheel/ring"
)

// link is our outgoing half of a pair: it dials one peer for as long as it is a member, and writes what is sent to it.
type link struct {
	t     *Transport
	peer  ring.NodeID
	addr  string
	queue *sendQueue
	tally *tally

	ctx    context.Context
	cancel context.CancelFunc
	poke   chan struct{} // one token: the peer was heard of, dial now
	done   chan struct{} // closed when run has returned
}

// run holds the link until it is cancelled. It starts when prev, the link it replaces, has ended: a peer never has two.
func (l *link) run(prev *link) {
	defer l.t.wg.Done()
	defer l.t.ended(l)
	if prev != nil {
		<-prev.done
	}
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = l.t.cfg.RetryMin, l.t.cfg.RetryMax
	pause.Reset()
	for {
		began := time.Now()
		err := l.session()
		if l.ctx.Err() != nil {
			return
		}
		if l.tally.failed(err) {
			level := slog.LevelWarn
			if l.t.leaving.Load() {
				level = slog.LevelDebug
			}
			l.t.log.Log(l.ctx, level, "peer link down", "peer", l.peer, "addr", l.addr, "error", err)
		}
		// Only a link that lived starts the pauses afresh: one that is refused after each dial must not be dialled in a hurry.
		if time.Since(began) > l.t.cfg.DeadAfter {
			pause.Reset()
		}
		select {
		case <-l.ctx.Done():
			return
		case <-time.After(pause.NextBackOff()):
		case <-l.poke:
		}
	}
}

// session is the life of one connection: dial, handshake, write until something fails. It returns what failed first.
func (l *link) session() error {
	ctx, fail := context.WithCancelCause(l.ctx)
	defer fail(nil)
	dialer := net.Dialer{Timeout: l.t.cfg.HandshakeTimeout}
	conn, err := dialer.DialContext(ctx, "tcp", l.addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()

	talk, err := l.t.newHandshake(conn)
	if err != nil {
		return err
	}
	theirs, err := talk.greet(l.peer)
	if err != nil {
		return err
	}
	l.tally.boot.Store(theirs.boot)
	l.tally.ups.Add(1)

	heard := make(chan struct{})
	go func() {
		defer close(heard)
		fail(l.listen(conn))
	}()
	l.queue.setOpen()
	l.t.log.Info("peer link up", "peer", l.peer, "addr", l.addr)
	l.t.cfg.OnLink(l.peer, true)

	fail(l.write(ctx, conn))
	<-heard
	l.tally.dropped.Add(uint64(l.queue.close()))
	l.t.cfg.OnLink(l.peer, false)
	return context.Cause(ctx)
}

// write sends what is queued, all that waits at a time, and a heartbeat at every interval. A write that blocks is a peer that
// is slow; one that is dead is found by listen, which then closes the connection under it.
func (l *link) write(ctx context.Context, conn net.Conn) error {
	beat := time.NewTicker(l.t.cfg.Heartbeat)
	defer beat.Stop()
	var buf []byte
	var taken [][]byte
	limit := min(batchBytes, l.t.cfg.MaxFrame)
	// The first heartbeat goes out at once: it tells the peer our ring and stamp.
	if err := l.writeFrame(conn, &buf, nil); err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-beat.C:
			if err := l.writeFrame(conn, &buf, nil); err != nil {
				return err
			}
		case <-l.queue.wake:
			runtime.Gosched() // whoever can run now may have more for this frame
			taken = l.queue.take(taken)
			for rest := taken; len(rest) > 0; {
				n := batch(rest, limit)
				if err := l.writeFrame(conn, &buf, rest[:n]); err != nil {
					return err
				}
				l.queue.written(rest[:n])
				rest = rest[n:]
			}
			clear(taken) // the backing array waits for the next round; the messages must not wait with it
		}
	}
}

func (l *link) writeFrame(conn net.Conn, buf *[]byte, messages [][]byte) error {
	frame := appendFrame((*buf)[:0], l.t.cfg.Header(), messages)
	if *buf = frame; cap(frame) > keepBytes {
		*buf = nil
	}
	if _, err := conn.Write(frame); err != nil {
		return err
	}
	l.tally.sent(len(messages), len(frame))
	return nil
}

// listen reads the heartbeats that come back and returns when there are none any more.
func (l *link) listen(conn net.Conn) error {
	alive := func() error { return conn.SetReadDeadline(time.Now().Add(l.t.cfg.DeadAfter)) }
	frames := newFrameReader(conn, heartbeatBytes, alive)
	for {
		body, err := frames.next()
		if err != nil {
			return silence(err, l.t.cfg.DeadAfter)
		}
		if _, messages, err := decodeBody(body, nil); err != nil {
			return err
		} else if len(messages) > 0 {
			return &FrameError{Reason: "messages against the direction of the link", Got: uint64(len(messages))}
		}
		l.tally.received(0, frameHeadBytes+len(body))
	}
}

// silence names the two ordinary ends of a connection for what they mean here.
func silence(err error, after time.Duration) error {
	var timeout net.Error
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("closed by the other side: %w", err)
	}
	if errors.As(err, &timeout) && timeout.Timeout() {
		return fmt.Errorf("nothing heard for %v: %w", after, err)
	}
	return err
}
