package peer

import (
	"bytes"
	"fmt"

	"github.com/cartwheel-db/cartwheel/crdt/pack"
	"github.com/cartwheel-db/cartwheel/replica"
)

// A kind is the first byte of a message. The numbers stand for ever: one that falls out of use is not given away again.
// Those from 240 on are left to who runs the link.
type kind byte

const (
	kindReplicate kind = 1
	kindAcked     kind = 2
	kindForward   kind = 3
	kindForwarded kind = 4
	kindAsking    kind = 5
	kindAnswered  kind = 6
	kindDigest    kind = 7
	kindCatchUp   kind = 8
	kindEvents    kind = 9
	kindOffer     kind = 10
	kindCoverage  kind = 11
	kindNudge     kind = 12
)

var kindNames = [...]string{
	kindReplicate: "replicate", kindAcked: "acked", kindForward: "forward", kindForwarded: "forwarded",
	kindAsking: "asking", kindAnswered: "answered", kindDigest: "digest", kindCatchUp: "catch-up",
	kindEvents: "events", kindOffer: "offer", kindCoverage: "coverage", kindNudge: "nudge", kindSounding: "sounding", kindSounded: "sounded",
	kindTreeRoots: "tree roots", kindTreeVerdicts: "tree verdicts", kindTreeBranch: "tree branch",
	kindRowPrints: "row prints", kindRowsApart: "rows apart", kindRowsMend: "rows mend",
	kindCutOpen: "cut open", kindCutHead: "cut head", kindCutAsk: "cut ask", kindCutPage: "cut page", kindCutDone: "cut done",
	kindFetch: "fetch", kindFetched: "fetched",
}

func (k kind) String() string {
	if int(k) < len(kindNames) && kindNames[k] != "" {
		return kindNames[k]
	}
	return fmt.Sprintf("kind %d", byte(k))
}

// MessageError says which message could not be decoded and why. It wraps [pack.ErrMalformed]. Unlike after a [FrameError]
// the link stands: the frame was whole, only this message of it is lost.
type MessageError struct {
	Kind  string // "replicate", "forward", ...; "kind 77" for one that is not known
	Size  int    // bytes of the whole message
	Cause error  // with the offset behind the kind byte
}

func (e *MessageError) Error() string {
	return fmt.Sprintf("decode %s message of %d bytes: %v", e.Kind, e.Size, e.Cause)
}

func (e *MessageError) Unwrap() error { return e.Cause }

// Append appends the canonical bytes of a message, as the package's page shows them. A [replica.Result] travels without
// Merged (only mutations are forwarded), and an [replica.Answered] that failed without its answer. Append panics on a
// message of a type that has no kind, which is a mistake in the program.
func Append(b []byte, m replica.Message) []byte {
	switch m := m.(type) {
	case replica.Replicate:
		return appendReplicate(begin(b, kindReplicate, shipmentsSize(m.Batch)), m)
	case replica.Acked:
		return appendAcked(begin(b, kindAcked, receiptsSize(m.Batch)), m)
	case replica.Forward:
		return appendForward(begin(b, kindForward, mutationSize(&m.Mutation)), m)
	case replica.Forwarded:
		return appendForwarded(begin(b, kindForwarded, 0), m)
	case replica.Asking:
		return appendAsking(begin(b, kindAsking, 0), m)
	case replica.Answered:
		return appendAnswered(begin(b, kindAnswered, answerSize(&m.Answer)), m)
	case replica.Digest:
		return appendDigest(begin(b, kindDigest, 21*len(m.Batch)), m)
	case replica.CatchUp:
		return appendCatchUp(begin(b, kindCatchUp, clockSize(m.Clock)), m)
	case replica.Events:
		return appendEvents(begin(b, kindEvents, groupsSize(m.Groups)), m)
	case replica.Offer:
		return appendOffer(begin(b, kindOffer, 0), m)
	case replica.Coverage:
		return appendCoverage(begin(b, kindCoverage, clockSize(m.Clock)), m)
	case replica.Nudge:
		return appendNudge(begin(b, kindNudge, 0), m)
	case replica.Sounding:
		return appendSounding(begin(b, kindSounding, soundingSize(m)), m)
	case replica.Sounded:
		return appendSounded(begin(b, kindSounded, soundedSize(m)), m)
	case replica.TreeRoots:
		return appendTreeRoots(begin(b, kindTreeRoots, treeRootsSize(m)), m)
	case replica.TreeVerdicts:
		return appendTreeVerdicts(begin(b, kindTreeVerdicts, treeVerdictsSize(m)), m)
	case replica.TreeBranch:
		return appendTreeBranch(begin(b, kindTreeBranch, 21*len(m.Step.Indices)), m)
	case replica.RowPrints:
		return appendRowPrints(begin(b, kindRowPrints, 3*len(m.Leaves)+27*len(m.Rows)), m)
	case replica.RowsApart:
		return appendRowsApart(begin(b, kindRowsApart, addressedSize(m.Rows)+9*len(m.Wanted)), m)
	case replica.RowsMend:
		return appendRowsMend(begin(b, kindRowsMend, addressedSize(m.Rows)), m)
	case replica.CutOpen:
		return appendCutOpen(begin(b, kindCutOpen, clockSize(m.Clock)), m)
	case replica.CutHead:
		return appendCutHead(begin(b, kindCutHead, clockSize(m.Clock)), m)
	case replica.CutAsk:
		return appendCutAsk(begin(b, kindCutAsk, len(m.After)+wantedSize(m.Wanted)), m)
	case replica.CutPage:
		return appendCutPage(begin(b, kindCutPage, cutPageSize(&m)), m)
	case replica.CutDone:
		return appendCutDone(begin(b, kindCutDone, 0), m)
	case replica.Fetch:
		return appendFetch(begin(b, kindFetch, fetchSize(m)), m)
	case replica.Fetched:
		return appendFetched(begin(b, kindFetched, fetchedSize(m)), m)
	default:
		panic(fmt.Sprintf("peer: a message of type %T has no encoding", m))
	}
}

// Decode reads one message that takes up all of b: exactly what [Append] writes, so encoding it again gives the same
// bytes. Names, payloads and order are checked as if a client had sent them, and no count is believed beyond the bytes
// that are there. Errors are [*MessageError].
//
// b may be reused at once: Decode begins with one copy of it, and every payload, note and value of the message is a slice
// of that copy. Whoever keeps one payload for long keeps the whole message, so what is cached is cloned.
func Decode(b []byte) (replica.Message, error) {
	if len(b) == 0 {
		return nil, &MessageError{Kind: "empty", Cause: fmt.Errorf("%w: no kind byte", pack.ErrMalformed)}
	}
	k, r := kind(b[0]), pack.NewReader(bytes.Clone(b[1:]))
	m := readMessage(r, k)
	if err := r.Close(); err != nil {
		return nil, &MessageError{Kind: k.String(), Size: len(b), Cause: err}
	}
	return m, nil
}

func readMessage(r *pack.Reader, k kind) replica.Message {
	switch k {
	case kindReplicate:
		return readReplicate(r)
	case kindAcked:
		return readAcked(r)
	case kindForward:
		return readForward(r)
	case kindForwarded:
		return readForwarded(r)
	case kindAsking:
		return readAsking(r)
	case kindAnswered:
		return readAnswered(r)
	case kindDigest:
		return readDigest(r)
	case kindCatchUp:
		return readCatchUp(r)
	case kindEvents:
		return readEvents(r)
	case kindOffer:
		return readOffer(r)
	case kindCoverage:
		return readCoverage(r)
	case kindNudge:
		return readNudge(r)
	case kindSounding:
		return readSounding(r)
	case kindSounded:
		return readSounded(r)
	case kindTreeRoots:
		return readTreeRoots(r)
	case kindTreeVerdicts:
		return readTreeVerdicts(r)
	case kindTreeBranch:
		return readTreeBranch(r)
	case kindRowPrints:
		return readRowPrints(r)
	case kindRowsApart:
		return readRowsApart(r)
	case kindRowsMend:
		return readRowsMend(r)
	case kindCutOpen:
		return readCutOpen(r)
	case kindCutHead:
		return readCutHead(r)
	case kindCutAsk:
		return readCutAsk(r)
	case kindCutPage:
		return readCutPage(r)
	case kindCutDone:
		return readCutDone(r)
	case kindFetch:
		return readFetch(r)
	case kindFetched:
		return readFetched(r)
	default:
		r.Fail("no message is of this kind")
		return nil
	}
}
