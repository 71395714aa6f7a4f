package peer

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/cartwheel-db/cartwheel/ring"
)

const (
	handshakeMagic   = "CWPL"
	handshakeVersion = 1
	handshakeBytes   = 4 << 10 // all that one side may send before it is authenticated
	challengeBytes   = 32
)

// hello is the first word of each side.
type hello struct {
	version    uint64
	cluster    string
	partitions uint64
	replicas   uint64
	id         ring.NodeID // who speaks
	to         ring.NodeID // whom it believes to speak to
	boot       uint64
	ringHash   uint64
	challenge  []byte // challengeBytes, fresh
}

const helloFields = 10

// encode writes the one encoding a hello has; parseHello holds others to it.
func (h hello) encode() []byte {
	var b bytes.Buffer
	e := msgpack.NewEncoder(&b)
	// A bytes.Buffer takes every write: none of these can fail.
	_ = e.EncodeArrayLen(helloFields)
	_ = e.EncodeString(handshakeMagic)
	_ = e.EncodeUint(h.version)
	_ = e.EncodeString(h.cluster)
	_ = e.EncodeUint(h.partitions)
	_ = e.EncodeUint(h.replicas)
	_ = e.EncodeString(string(h.id))
	_ = e.EncodeString(string(h.to))
	_ = e.EncodeUint64(h.boot)
	_ = e.EncodeUint64(h.ringHash)
	_ = e.EncodeBytes(h.challenge)
	return b.Bytes()
}

// parseHello reads a hello from at most handshakeBytes. Of a hello of another version only the version is understood; the
// caller compares it.
func parseHello(b []byte) (hello, error) {
	var h hello
	d := msgpack.NewDecoder(io.LimitReader(bytes.NewReader(b), handshakeBytes))
	fields, err := d.DecodeArrayLen()
	if err != nil {
		return h, fmt.Errorf("hello: %w", err)
	}
	magic, err := boundedBytes(d, len(handshakeMagic))
	if err != nil || string(magic) != handshakeMagic {
		return h, fmt.Errorf("hello: magic is %q, want %q", magic, handshakeMagic)
	}
	if h.version, err = d.DecodeUint64(); err != nil {
		return h, fmt.Errorf("hello: version: %w", err)
	}
	if h.version != handshakeVersion {
		return h, nil
	}
	if fields != helloFields {
		return h, fmt.Errorf("hello: %d fields, want %d", fields, helloFields)
	}
	for _, read := range []func() error{
		func() error { return boundedString(d, &h.cluster) },
		func() error { return decodeUint(d, &h.partitions) },
		func() error { return decodeUint(d, &h.replicas) },
		func() error { return boundedString(d, &h.id) },
		func() error { return boundedString(d, &h.to) },
		func() error { return decodeUint(d, &h.boot) },
		func() error { return decodeUint(d, &h.ringHash) },
		func() error { h.challenge, err = boundedBytes(d, challengeBytes); return err },
	} {
		if err := read(); err != nil {
			return h, fmt.Errorf("hello: %w", err)
		}
	}
	if len(h.challenge) != challengeBytes {
		return h, fmt.Errorf("hello: challenge of %d bytes, want %d", len(h.challenge), challengeBytes)
	}
	// Also refuses trailing bytes and every second way to write a number.
	if !bytes.Equal(h.encode(), b) {
		return h, errors.New("hello: not in its canonical form")
	}
	return h, nil
}

// boundedBytes reads a string or binary no longer than limit; the library would allocate whatever length is declared.
func boundedBytes(d *msgpack.Decoder, limit int) ([]byte, error) {
	n, err := d.DecodeBytesLen()
	if err != nil {
		return nil, err
	}
	if n < 0 || n > limit {
		return nil, fmt.Errorf("string of %d bytes, at most %d", n, limit)
	}
	b := make([]byte, n)
	return b, d.ReadFull(b)
}

func boundedString[S ~string](d *msgpack.Decoder, into *S) error {
	b, err := boundedBytes(d, maxNameBytes)
	*into = S(b)
	return err
}

func decodeUint(d *msgpack.Decoder, into *uint64) (err error) {
	*into, err = d.DecodeUint64()
	return err
}

// compare holds what the other side said against what we are; want is whom it must be, or empty for anyone.
func compare(ours, theirs hello, want ring.NodeID) *HandshakeError {
	number := func(n uint64) string { return strconv.FormatUint(n, 10) }
	for _, f := range []struct{ field, ours, theirs string }{
		{"version", number(ours.version), number(theirs.version)},
		{"cluster", ours.cluster, theirs.cluster},
		{"partitions", number(ours.partitions), number(theirs.partitions)},
		{"replicas", number(ours.replicas), number(theirs.replicas)},
		{"node id", string(ours.id), string(theirs.to)},
	} {
		if f.ours != f.theirs {
			return &HandshakeError{Field: f.field, Ours: f.ours, Theirs: f.theirs}
		}
	}
	if want != "" && theirs.id != want {
		return &HandshakeError{Field: "node id", Ours: string(want), Theirs: string(theirs.id)}
	}
	if theirs.id == ours.id || theirs.id == "" {
		return &HandshakeError{Field: "hello", Cause: fmt.Errorf("the other side claims the node id %q; this is %q", theirs.id, ours.id)}
	}
	return nil
}
