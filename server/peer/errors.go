package peer

import (
	"errors"
	"fmt"

	"github.com/cartwheel-db/cartwheel/ring"
)

// Why a message was refused; test with errors.Is.
var (
	// ErrNoLink: the peer is unknown, or no connection to it stands right now. Nothing was queued.
	ErrNoLink = errors.New("no link")
	// ErrQueueFull: the peer's send queue is at its bound of messages or bytes. Nothing was queued.
	ErrQueueFull = errors.New("send queue full")
	// ErrTooLarge: the message does not fit a frame of its own.
	ErrTooLarge = errors.New("message too large")
)

// SendError says which message to whom was refused, why, and what the queue held. It unwraps to its Reason.
type SendError struct {
	Peer     ring.NodeID
	Reason   error // ErrNoLink, ErrQueueFull or ErrTooLarge
	Size     int   // bytes of the refused message
	Limit    int   // bytes: the largest message (ErrTooLarge) or the queue's bound (ErrQueueFull)
	Messages int   // messages queued at that moment
	Bytes    int   // bytes queued at that moment
}

func (e *SendError) Error() string {
	switch {
	case errors.Is(e.Reason, ErrTooLarge):
		return fmt.Sprintf("send %d bytes to %s: %v: at most %d", e.Size, e.Peer, e.Reason, e.Limit)
	case errors.Is(e.Reason, ErrQueueFull):
		return fmt.Sprintf("send %d bytes to %s: %v: holds %d messages, %d of %d bytes",
			e.Size, e.Peer, e.Reason, e.Messages, e.Bytes, e.Limit)
	default:
		return fmt.Sprintf("send %d bytes to %s: %v", e.Size, e.Peer, e.Reason)
	}
}

func (e *SendError) Unwrap() error { return e.Reason }

// HandshakeError says why two nodes will not talk, with the values of both sides.
type HandshakeError struct {
	Peer   ring.NodeID // who the other side says it is; empty if it did not get that far
	Remote string      // its network address
	Field  string      // what differs: "version", "cluster", "partitions", "replicas", "node id", "secret", "hello"
	Ours   string      // our value; empty where it must not be told (secret)
	Theirs string      // their value
	Cause  error       // what went wrong below, such as a timeout; nil for a plain difference
}

func (e *HandshakeError) Error() string {
	who := string(e.Peer)
	if who == "" {
		who = "unknown peer"
	}
	text := fmt.Sprintf("handshake with %s at %s: %s", who, e.Remote, e.Field)
	switch {
	case e.Cause != nil:
		return text + ": " + e.Cause.Error()
	case e.Ours == "" && e.Theirs == "":
		return text + " differs"
	default:
		return fmt.Sprintf("%s differs: ours %q, theirs %q", text, e.Ours, e.Theirs)
	}
}

func (e *HandshakeError) Unwrap() error { return e.Cause }

// FrameError says what is wrong with bytes that should be a frame. After one the connection is closed: the place where the
// next frame starts is not known any more.
type FrameError struct {
	Reason string
	Got    uint64
	Want   uint64 // the bound, or the value expected
}

func (e *FrameError) Error() string {
	return fmt.Sprintf("frame: %s: got %d, want %d", e.Reason, e.Got, e.Want)
}

// ConfigError names the field of a Config that cannot be used.
type ConfigError struct {
	Field string
	Got   string
	Want  string
}

func (e *ConfigError) Error() string {
	return fmt.Sprintf("peer config: %s is %s, want %s", e.Field, e.Got, e.Want)
}
