package server

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica"
	cartwheelv1 "github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1"
)

func (c *call) scope(purpose string) dvv.Scope {
	return dvv.Scope{Purpose: purpose, Type: uint8(c.key.Type), Bucket: c.key.Bucket, Key: c.key.Name}
}

// seal returns the dots that a reply shows as a token. A reply that shows
// nothing gets a token too: handed back it means "replace nothing", where the
// empty string would mean "whatever is there now".
func (c *call) seal(dots dvv.Clock) (string, *problem) {
	token, err := c.backend.Sealer().SealContext(c.scope(dvv.PurposeContext), dots)
	if err != nil {
		return "", c.badContext(err)
	}
	return token, nil
}

// open returns the dots of a context that a client gave, nil for none.
func (c *call) open(token string) (*dvv.Clock, *problem) {
	if token == "" {
		return nil, nil
	}
	dots, err := c.backend.Sealer().OpenContext(c.scope(dvv.PurposeContext), token)
	if err != nil {
		return nil, c.badContext(err)
	}
	return &dots, nil
}

// maxChained bounds, in bytes, what a mutation's context takes over from the one
// it was given.
const maxChained = 4 << 10

// covering returns the context of a mutation's reply: what it wrote and, of a
// client that chains writes without reading in between, what it was shown
// before. The new event kills the latter wherever it arrives, so a chain of
// thousands may let them go; until then a second write kills them by itself at
// a node that the first has not reached.
func (c *call) covering(written dvv.Clock, given *dvv.Clock) (string, *problem) {
	if given != nil {
		both := written.Clone()
		both.Join(*given)
		if len(both.AppendBinary(nil)) <= maxChained || written.IsEmpty() {
			written = both
		}
	}
	token, p := c.seal(written)
	if p != nil && p.reason == cartwheelv1.ErrorDetail_REASON_TOO_LARGE {
		return c.seal(dvv.Clock{}) // the write has happened: nothing fails it any more
	}
	return token, p
}

// A cursor is a sum over what the listing was narrowed to, 8 bytes, and the last
// member it went past: it goes on with that very listing and no other.

func listingSum(of replica.Span) []byte {
	h := fnv.New64a()
	for _, bound := range [...]string{of.Prefix, of.From, of.Until} {
		_, _ = h.Write(append(binary.AppendUvarint(nil, uint64(len(bound))), bound...))
	}
	return h.Sum(nil)
}

func (c *call) sealCursor(of replica.Span, last string) (string, *problem) {
	payload := append(listingSum(of), last...)
	token, err := c.backend.Sealer().Seal(c.scope(dvv.PurposeCursor), payload)
	if err != nil {
		return "", c.badContext(err)
	}
	return token, nil
}

func (c *call) openCursor(token string, of replica.Span) (after string, p *problem) {
	if token == "" {
		return "", nil
	}
	payload, err := c.backend.Sealer().Open(c.scope(dvv.PurposeCursor), token)
	if err == nil {
		if last, same := bytes.CutPrefix(payload, listingSum(of)); !same {
			err = errors.New("given for another listing: of another prefix, or from or until another member")
		} else {
			after = string(last)
			err = c.checkAfter(after)
		}
	}
	if err != nil {
		p = c.badToken("cursor", err)
		p.reason = cartwheelv1.ErrorDetail_REASON_CURSOR_INVALID
	}
	return after, p
}

// checkAfter checks what a listing of the key may have gone past.
func (c *call) checkAfter(after string) error {
	if c.key.Type == crdt.Map {
		_, err := crdt.DecodePath(after)
		return err
	}
	return crdt.CheckMember(after)
}

// badContext says why a context was refused. A token of another cluster looks
// foreign rather than forged: its tag was made under another secret.
func (c *call) badContext(err error) *problem { return c.badToken("context", err) }

// badToken says why a token was refused: what of is "context", "session" or "cursor".
func (c *call) badToken(of string, err error) *problem {
	p := &problem{reason: cartwheelv1.ErrorDetail_REASON_CONTEXT_MALFORMED, text: of + ": " + err.Error()}
	var token *dvv.TokenError
	if !errors.As(err, &token) {
		return p
	}
	p.limit, p.actual = uint64(token.Limit), uint64(token.Got)
	p.text = of + ": " + c.flaw(of, token)
	switch token.Reason {
	case dvv.Oversized:
		p.reason = cartwheelv1.ErrorDetail_REASON_TOO_LARGE
	case dvv.Foreign:
		p.reason = cartwheelv1.ErrorDetail_REASON_CONTEXT_FOREIGN
	case dvv.Forged:
		p.reason = cartwheelv1.ErrorDetail_REASON_CONTEXT_FORGED
	case dvv.Unkeyed:
		p.reason = cartwheelv1.ErrorDetail_REASON_NOT_READY
	}
	return p
}

// flaw says what is wrong with a token to somebody who never looks into one, and
// what to do.
func (c *call) flaw(of string, token *dvv.TokenError) string {
	var text base64.CorruptInputError
	switch {
	case token.Op == "seal" && token.Reason == dvv.Oversized:
		return fmt.Sprintf("one of %d bytes would be needed, limit %d", token.Got, token.Limit)
	case token.Reason == dvv.Oversized:
		return fmt.Sprintf("%d characters, limit %d", token.Got, token.Limit)
	case token.Reason == dvv.Foreign:
		return fmt.Sprintf("given for another key or type, for another use than as a %s, or by another cluster; this is the %v %s/%s", of, c.key.Type, c.key.Bucket, c.key.Name)
	case token.Reason == dvv.Forged:
		return "changed or cut since it was given; hand it back as it is"
	case token.Reason == dvv.Version:
		return fmt.Sprintf("of version %d, and this node knows %d", token.Got, token.Limit)
	case token.Reason == dvv.Malformed && errors.As(token.Err, &text):
		return fmt.Sprintf("not one that was given, for no token has such a character at byte %d; hand it back as it is", int64(text))
	case token.Reason == dvv.Malformed && token.Limit > 0:
		return fmt.Sprintf("not one that was given, or cut: %d bytes decoded, at least %d are needed; hand it back as it is", token.Got, token.Limit)
	case token.Reason == dvv.Malformed:
		return "there is nothing in it that a " + of + " could have"
	}
	return token.Error()
}
