package peer

import (
	"bytes"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/cartwheel-db/cartwheel/ring"
)

const (
	roleDialler  = "dialler"
	roleAcceptor = "acceptor"
)

// linkKey derives the key of the proofs, so that the secret itself meets no message.
func linkKey(secret []byte) ([]byte, error) {
	return hkdf.Key(sha256.New, secret, nil, "cartwheel peer link v1", sha256.Size)
}

// proof binds a role to both hellos whole: ids, cluster, challenges, everything said so far.
func proof(key []byte, role string, dialler, acceptor []byte) []byte {
	mac := hmac.New(sha256.New, key)
	for _, part := range [][]byte{[]byte(role), dialler, acceptor} {
		var n [4]byte
		binary.BigEndian.PutUint32(n[:], uint32(len(part)))
		mac.Write(n[:])
		mac.Write(part)
	}
	return mac.Sum(nil)
}

// verdict is the acceptor's last word: its own proof, or what it refuses.
type verdict struct {
	proof   []byte
	refusal string
}

func (v verdict) encode() []byte {
	var b bytes.Buffer
	e := msgpack.NewEncoder(&b)
	_ = e.EncodeArrayLen(2)
	_ = e.EncodeBytes(append([]byte{}, v.proof...)) // nil would be written as a third kind of nothing
	_ = e.EncodeString(v.refusal)
	return b.Bytes()
}

func parseVerdict(b []byte) (verdict, error) {
	var v verdict
	d := msgpack.NewDecoder(io.LimitReader(bytes.NewReader(b), handshakeBytes))
	fields, err := d.DecodeArrayLen()
	if err == nil && fields != 2 {
		err = fmt.Errorf("%d fields, want 2", fields)
	}
	if err == nil {
		v.proof, err = boundedBytes(d, sha256.Size)
	}
	if err == nil {
		err = boundedString(d, &v.refusal)
	}
	if err == nil && !bytes.Equal(v.encode(), b) {
		err = errors.New("not in its canonical form")
	}
	return v, err
}

// handshake is one side's part of the talk on a fresh connection.
type handshake struct {
	conn net.Conn
	in   *io.LimitedReader
	key  []byte
	ours hello
	peer ring.NodeID // who the other side must be, or says it is
}

func (t *Transport) newHandshake(conn net.Conn) (*handshake, error) {
	challenge := make([]byte, challengeBytes)
	_, _ = rand.Read(challenge) // never fails: the runtime would end the process first
	return &handshake{
		conn: conn,
		in:   &io.LimitedReader{R: conn, N: handshakeBytes},
		key:  t.key,
		ours: hello{
			version: handshakeVersion, cluster: t.cfg.ClusterID,
			partitions: uint64(t.cfg.Partitions), replicas: uint64(t.cfg.Replicas),
			id: t.cfg.Self, boot: t.cfg.Boot, ringHash: t.cfg.Header().RingHash,
			challenge: challenge,
		},
	}, conn.SetDeadline(time.Now().Add(t.cfg.HandshakeTimeout))
}

// greet is the handshake of the side that dialled want. Errors are *HandshakeError.
func (h *handshake) greet(want ring.NodeID) (hello, error) {
	h.peer, h.ours.to = want, want
	mine := h.ours.encode()
	if err := h.write(mine); err != nil {
		return hello{}, h.failed("hello", err)
	}
	its, err := h.read()
	if err != nil {
		return hello{}, h.failed("hello", err)
	}
	theirs, err := parseHello(its)
	if err != nil {
		return hello{}, h.failed("hello", err)
	}
	if differs := compare(h.ours, theirs, want); differs != nil {
		return theirs, h.differs(differs)
	}
	if err := h.write(proof(h.key, roleDialler, mine, its)); err != nil {
		return theirs, h.failed("proof", err)
	}
	answer, err := h.read()
	if err != nil {
		return theirs, h.failed("verdict", err)
	}
	last, err := parseVerdict(answer)
	if err != nil {
		return theirs, h.failed("verdict", err)
	}
	if last.refusal != "" || !hmac.Equal(last.proof, proof(h.key, roleAcceptor, mine, its)) {
		return theirs, h.differs(&HandshakeError{Field: "secret"})
	}
	return theirs, h.finish()
}

// answer is the handshake of the side that was dialled. Errors are *HandshakeError. It says who it is before it judges, so
// that the other side too can name what differs.
func (h *handshake) answer() (hello, error) {
	its, err := h.read()
	if err != nil {
		return hello{}, h.failed("hello", err)
	}
	theirs, err := parseHello(its)
	if err != nil {
		return hello{}, h.failed("hello", err)
	}
	h.peer, h.ours.to = theirs.id, theirs.id
	mine := h.ours.encode()
	if err := h.write(mine); err != nil {
		return theirs, h.failed("hello", err)
	}
	if differs := compare(h.ours, theirs, ""); differs != nil {
		return theirs, h.differs(differs)
	}
	word, err := h.read()
	if err != nil {
		return theirs, h.failed("proof", err)
	}
	if !hmac.Equal(word, proof(h.key, roleDialler, its, mine)) {
		_ = h.write(verdict{refusal: "secret"}.encode()) // a courtesy: the connection ends either way
		return theirs, h.differs(&HandshakeError{Field: "secret"})
	}
	if err := h.write(verdict{proof: proof(h.key, roleAcceptor, its, mine)}.encode()); err != nil {
		return theirs, h.failed("verdict", err)
	}
	return theirs, h.finish()
}

// read takes one length-prefixed word; all of them together stay within handshakeBytes.
func (h *handshake) read() ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(h.in, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if int64(n) > h.in.N {
		return nil, &FrameError{Reason: "handshake longer than allowed", Got: uint64(n), Want: uint64(h.in.N)}
	}
	b := make([]byte, n)
	_, err := io.ReadFull(h.in, b)
	return b, err
}

func (h *handshake) write(b []byte) error {
	_, err := h.conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...))
	return err
}

func (h *handshake) finish() error {
	if err := h.conn.SetDeadline(time.Time{}); err != nil {
		return h.failed("verdict", err)
	}
	return nil
}

func (h *handshake) failed(step string, err error) error {
	return h.differs(&HandshakeError{Field: step, Cause: err})
}

func (h *handshake) differs(e *HandshakeError) error {
	e.Peer, e.Remote = h.peer, h.conn.RemoteAddr().String()
	return e
}
