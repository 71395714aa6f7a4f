package gossip

import (
	"fmt"

	"github.com/cartwheel-db/cartwheel/ring"
)

// Facts travel behind the sender's identity, in a broadcast as in a push/pull.
const (
	maxMessage   = 16 << 20 // of a push/pull
	maxBroadcast = 1100     // leaves room in a packet of 1400 bytes for label and encryption
)

func encodeFacts(from Identity, facts ring.Facts) ([]byte, error) {
	b, err := facts.AppendBinary(from.append(nil))
	if err != nil {
		return nil, err
	}
	if len(b) > maxMessage {
		return nil, fmt.Errorf("gossip: %d membership facts take %d bytes, at most %d", facts.Len(), len(b), maxMessage)
	}
	return b, nil
}

// decodeFacts refuses facts of another cluster before it looks at them.
func decodeFacts(ours Identity, b []byte) (ring.Facts, Identity, error) {
	if len(b) > maxMessage {
		return ring.Facts{}, Identity{}, fmt.Errorf("%w: facts of %d bytes, at most %d", ErrMalformed, len(b), maxMessage)
	}
	theirs, rest, err := cutIdentity(b)
	if err != nil {
		return ring.Facts{}, Identity{}, err
	}
	if err := ours.admit(theirs, ""); err != nil {
		return ring.Facts{}, theirs, err
	}
	facts, err := ring.DecodeFacts(rest)
	if err != nil {
		return ring.Facts{}, theirs, fmt.Errorf("%w from node %s: %w", ErrMalformed, theirs.Node, err)
	}
	return facts, theirs, nil
}
