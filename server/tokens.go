package server

import (
	"encoding/binary"
	"errors"
	"strings"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
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
	return c.seal(written)
}

// A cursor is the length of the listing's prefix and the last member it went
// past: it goes on with that very listing and no other.

func (c *call) sealCursor(prefix, last string) (string, *problem) {
	payload := append(binary.AppendUvarint(nil, uint64(len(prefix))), last...)
	token, err := c.backend.Sealer().Seal(c.scope(dvv.PurposeCursor), payload)
	if err != nil {
		return "", badContext(err)
	}
	return token, nil
}

func (c *call) openCursor(token, prefix string) (after string, p *problem) {
	if token == "" {
		return "", nil
	}
	payload, err := c.backend.Sealer().Open(c.scope(dvv.PurposeCursor), token)
	if err == nil {
		size, n := binary.Uvarint(payload)
		if n <= 0 {
			err = errors.New("no length of a prefix")
		} else if after = string(payload[n:]); size != uint64(len(prefix)) || !strings.HasPrefix(after, prefix) {
			err = errors.New("it belongs to a listing under another prefix")
		} else {
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
