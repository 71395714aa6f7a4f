package server

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/cartwheel-db/cartwheel/crdt"
	cartwheelv1 "github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1"
)

// issuer makes operation ids for clients that send none. A node that fails over
// between coordinators needs one just as a retrying client does.
type issuer struct {
	client [16]byte // random, of this process
	last   atomic.Uint64
}

func newIssuer() *issuer {
	i := &issuer{}
	_, _ = rand.Read(i.client[:]) // never fails: it ends the process instead
	return i
}

func (i *issuer) next(wallMillis int64) crdt.Operation {
	return crdt.Operation{Client: i.client, Seq: i.last.Add(1), Issued: wallMillis}
}

// maxOperation is the longest text of an operation id: 32 digits of the client,
// 20 of a sequence, 19 of a time.
const maxOperation = 32 + 1 + 20 + 1 + 19

// parseOperation reads "<client, 32 lower-case hex>-<sequence>-<issue time>".
// Each id has one spelling: two of them would be two operations to some and one
// to others.
func parseOperation(text string) (crdt.Operation, *problem) {
	invalid := func(format string, args ...any) (crdt.Operation, *problem) {
		return crdt.Operation{}, &problem{
			reason: cartwheelv1.ErrorDetail_REASON_OPERATION_INVALID,
			text:   "operation id: " + fmt.Sprintf(format, args...),
		}
	}
	if len(text) > maxOperation {
		return invalid("%d bytes, limit %d", len(text), maxOperation)
	}
	client, rest, found := strings.Cut(text, "-")
	seq, issued, both := strings.Cut(rest, "-")
	if !found || !both {
		return invalid("%q is not <client>-<sequence>-<issue time>", text)
	}
	var op crdt.Operation
	raw, err := hex.DecodeString(client)
	if err != nil || len(raw) != len(op.Client) || strings.ToLower(client) != client {
		return invalid("client id %q is not %d lower-case hex digits", client, 2*len(op.Client))
	}
	copy(op.Client[:], raw)
	if op.Seq, err = decimal(seq, math.MaxUint64); err != nil {
		return invalid("sequence %q: %v", seq, err)
	}
	ms, err := decimal(issued, math.MaxInt64)
	if err != nil {
		return invalid("issue time %q: %v", issued, err)
	}
	if op.Issued = int64(ms); op.IsZero() {
		return invalid("all zero, which names no operation")
	}
	return op, nil
}

func decimal(text string, limit uint64) (uint64, error) {
	n, err := strconv.ParseUint(text, 10, 64)
	switch {
	case err != nil || strconv.FormatUint(n, 10) != text:
		return 0, fmt.Errorf("not a plain decimal of at most %d", limit)
	case n > limit:
		return 0, fmt.Errorf("limit %d", limit)
	}
	return n, nil
}

// operation returns the id of a mutation, one of the server's own making where
// the client gave none.
func (a *api) operation(o *cartwheelv1.WriteOptions) (crdt.Operation, *problem) {
	if o.GetOperationId() == "" {
		return a.issuer.next(a.backend.WallMillis()), nil
	}
	return parseOperation(o.GetOperationId())
}
