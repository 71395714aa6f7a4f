package server

import (
	"bytes"
	"encoding/binary"
	"errors"
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
		return "", badContext(err)
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
		return nil, badContext(err)
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
		return "", badContext(err)
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
			err = errors.New("it belongs to another listing")
		} else {
			after = string(last)
			err = c.checkAfter(after)
		}
	}
	if err != nil {
		p = badContext(err) // for the numbers
		p.reason, p.text = cartwheelv1.ErrorDetail_REASON_CURSOR_INVALID, "cursor: "+err.Error()
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
