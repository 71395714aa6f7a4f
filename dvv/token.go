package dvv

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A token is what a client holds for us: it can store, compare and return it,
// and neither read it, change it, nor use it elsewhere.
//
//	+---------+-----------+-------------- - - -+----------------------+
//	| version | scope tag | payload            | MAC, 128 of 256 bits |   base64url,
//	| 1 byte  | 4 bytes   | 0 to 49,131 bytes  | 16 bytes             |   no padding
//	+---------+-----------+-------------- - - -+----------------------+
//
//	scope digest = HMAC-SHA256(scope subkey, purpose, type, bucket, key)
//	scope tag    = its first 4 bytes
//	MAC          = HMAC-SHA256(token subkey, whole scope digest, all before the MAC)
//
// The tag decides nothing: the MAC covers the whole digest. It is there to tell
// an honest client that mixed up two keys from a token that was cut or forged.
// The payload is signed, not encrypted.
const (
	// MaxTokenLen is the most characters of a token, 64 KiB. A token is measured
	// before it is decoded.
	MaxTokenLen = 64 << 10
	// MaxTokenPayload is the most bytes that Seal takes.
	MaxTokenPayload = MaxTokenLen/4*3 - tokenOverhead
	// MinSecretLen is the fewest bytes of a Sealer's secret.
	MinSecretLen = 16

	tokenVersion  = 1
	tagLen        = 4
	macLen        = 16
	tokenOverhead = 1 + tagLen + macLen
)

// Purposes in use. Tokens of one purpose never open as another.
const (
	PurposeContext = "context" // dots a client was shown of one key
	PurposeCursor  = "cursor"  // a place within pages of one key
	PurposeSession = "session" // clocks a client's next answer must cover
)

// Strict refuses stray bits in the last character, so no two strings decode to
// the same token.
var tokenText = base64.RawURLEncoding.Strict()

// Scope is what a token is bound to. It opens under the very same scope only;
// fields that do not apply stay zero, on both sides.
type Scope struct {
	Purpose     string
	Type        uint8
	Bucket, Key string
}

// String prints "context of type 1 carts/42".
func (s Scope) String() string {
	return fmt.Sprintf("%s of type %d %q/%q", s.Purpose, s.Type, s.Bucket, s.Key)
}

// Reason is the kind of a TokenError. It is an error itself, so that
// errors.Is(err, dvv.Forged) asks for it.
type Reason uint8

const (
	// Malformed: not the shape of a token: empty, too short, not base64url, or
	// (by a bug of the issuer) a sound token around a payload that is no clock.
	Malformed Reason = iota + 1
	// Oversized: longer than MaxTokenLen, or a payload that would make it so.
	Oversized
	// Version: of a version this build does not know.
	Version
	// Foreign: issued for another bucket, key, type or purpose, or under another
	// secret, as far as its scope tag can be believed; a forger may write any tag.
	Foreign
	// Forged: the tag fits and the signature does not: changed, cut or made up.
	Forged
	// Unkeyed: the Sealer is the zero value, or its secret is too short.
	Unkeyed
)

// ErrTokenTooLarge is what errors.Is finds when Seal or Open meets the limit.
const ErrTokenTooLarge = Oversized

func (r Reason) Error() string {
	switch r {
	case Malformed:
		return "malformed token"
	case Oversized:
		return "token too large"
	case Version:
		return "unknown token version"
	case Foreign:
		return "token was issued for another key, type, purpose or cluster"
	case Forged:
		return "token was changed, cut or forged"
	case Unkeyed:
		return "no usable secret for tokens"
	}
	return fmt.Sprintf("token reason %d", uint8(r))
}

// TokenError says which token operation failed, on what, and with which
// numbers. It never holds the token or any part of a secret.
type TokenError struct {
	Op     string // "seal", "open" or "key"
	Scope  Scope
	Reason Reason // also reached by errors.Is
	Got    int    // Malformed, Oversized, Unkeyed: a length; Version: the version
	Limit  int    // what Got was held against
	Err    error  // what went wrong beneath, or nil
}

func (e *TokenError) Error() string {
	s := "dvv: " + e.Op
	if e.Scope != (Scope{}) {
		s += " " + e.Scope.String()
	}
	s += ": " + e.Reason.Error()
	if e.Got != 0 || e.Limit != 0 {
		s += fmt.Sprintf(": got %d, limit %d", e.Got, e.Limit)
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap gives errors.Is and errors.As the reason and the cause.
func (e *TokenError) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Reason}
	}
	return []error{e.Reason, e.Err}
}

// Sealer makes and opens tokens under one secret. Tokens outlive restarts: any
// Sealer of the same secret opens them. It may be used by many goroutines. The
// zero Sealer refuses everything.
type Sealer struct {
	// A pointer, so that printing whatever holds a Sealer prints an address.
	keys *subkeys
}

type subkeys struct{ scope, token keyed }

// NewSealer derives the keys for tokens from a secret of at least MinSecretLen
// bytes. The secret itself signs nothing, so it may serve elsewhere too.
func NewSealer(secret []byte) (Sealer, error) {
	if len(secret) < MinSecretLen {
		return Sealer{}, &TokenError{Op: "key", Reason: Unkeyed, Got: len(secret), Limit: MinSecretLen}
	}
	return Sealer{&subkeys{
		scope: newKeyed(mac(secret, []byte("cartwheel token v1: scope"))),
		token: newKeyed(mac(secret, []byte("cartwheel token v1: seal"))),
	}}, nil
}

func mac(key, text []byte) []byte {
	h := hmac.New(sha256.New, key)
	_, _ = h.Write(text) // a hash never fails to write
	return h.Sum(nil)
}

// digest is injective in the scope up to the strength of HMAC: every string is
// preceded by its length, so no two scopes spell the same input.
func (k *subkeys) digest(s Scope) [sha256.Size]byte {
	var room [256]byte
	in := append(room[:0], s.Type)
	for _, part := range [...]string{s.Purpose, s.Bucket, s.Key} {
		in = binary.AppendUvarint(in, uint64(len(part)))
		in = append(in, part...)
	}
	return k.scope.mac(in)
}

// sign is over three fields of fixed length (digest; version and tag, the head
// of body), then the payload.
func (k *subkeys) sign(digest [sha256.Size]byte, body []byte) (sum [macLen]byte) {
	whole := k.token.mac(digest[:], body)
	copy(sum[:], whole[:])
	return sum
}

// Seal returns the payload as a token that opens under the same secret and
// scope only. The payload is authenticated, not hidden. Errors are *TokenError:
// Oversized or Unkeyed.
func (s Sealer) Seal(scope Scope, payload []byte) (string, error) {
	if s.keys == nil {
		return "", &TokenError{Op: "seal", Scope: scope, Reason: Unkeyed, Limit: MinSecretLen}
	}
	if len(payload) > MaxTokenPayload {
		return "", &TokenError{Op: "seal", Scope: scope, Reason: Oversized, Got: len(payload), Limit: MaxTokenPayload}
	}
	digest := s.keys.digest(scope)
	var room, text [256]byte
	raw := append(room[:0], tokenVersion)
	raw = append(raw, digest[:tagLen]...)
	raw = append(raw, payload...)
	sum := s.keys.sign(digest, raw)
	raw = append(raw, sum[:]...)
	return string(tokenText.AppendEncode(text[:0], raw)), nil
}

// Open returns the payload of a token that Seal made under the same secret and
// scope. Anything else is a *TokenError and no payload.
func (s Sealer) Open(scope Scope, token string) ([]byte, error) {
	fail := func(why Reason, got, limit int, err error) ([]byte, error) {
		return nil, &TokenError{Op: "open", Scope: scope, Reason: why, Got: got, Limit: limit, Err: err}
	}
	if s.keys == nil {
		return fail(Unkeyed, 0, MinSecretLen, nil)
	}
	if len(token) > MaxTokenLen {
		return fail(Oversized, len(token), MaxTokenLen, nil)
	}
	// The decoder skips line breaks; a token has one spelling only.
	if i := strings.IndexAny(token, "\r\n"); i >= 0 {
		return fail(Malformed, 0, 0, base64.CorruptInputError(i))
	}
	raw, err := tokenText.DecodeString(token)
	if err != nil {
		return fail(Malformed, 0, 0, err)
	}
	if len(raw) < tokenOverhead {
		return fail(Malformed, len(raw), tokenOverhead, errTooShort)
	}
	if raw[0] != tokenVersion {
		return fail(Version, int(raw[0]), tokenVersion, nil)
	}
	body, sum := raw[:len(raw)-macLen], raw[len(raw)-macLen:]
	digest := s.keys.digest(scope)
	if want := s.keys.sign(digest, body); !hmac.Equal(sum, want[:]) {
		if !hmac.Equal(body[1:1+tagLen], digest[:tagLen]) {
			return fail(Foreign, 0, 0, nil)
		}
		return fail(Forged, 0, 0, nil)
	}
	return slices.Clip(body[1+tagLen:]), nil
}

var errTooShort = errors.New("too short for any token")

// SealContext returns the dots a client was shown as a token. A clock of many
// gaps may be Oversized; the error has the numbers.
func (s Sealer) SealContext(scope Scope, dots Clock) (string, error) {
	var room [128]byte
	return s.Seal(scope, dots.AppendBinary(room[:0]))
}

// OpenContext returns the dots of a token that SealContext made for the same
// scope. They may name events this node has never seen: the client read
// elsewhere, and that is legitimate.
func (s Sealer) OpenContext(scope Scope, token string) (Clock, error) {
	payload, err := s.Open(scope, token)
	if err != nil {
		return Clock{}, err
	}
	var dots Clock
	if err := dots.UnmarshalBinary(payload); err != nil {
		return Clock{}, &TokenError{Op: "open", Scope: scope, Reason: Malformed, Err: err}
	}
	return dots, nil
}
