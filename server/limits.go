package server

import (
	"math"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/replica"
	cartwheelv1 "github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1"
)

// Bounds of the API. Those of names and values are crdt's.
const (
	// MaxRequest is the most bytes of one request message, decompressed.
	MaxRequest = 4 << 20
	// MaxAsked is the most members that one Contains asks about.
	MaxAsked = 10_000
	// DefaultPage and MaxPage are the members of one page of a listing.
	DefaultPage = 1_000
	MaxPage     = 10_000
	// PageBytes of members and notes end a page early.
	PageBytes = 1 << 20

	// maxBody leaves room for the envelope and for what the wire adds.
	maxBody = MaxRequest + 64<<10
	// minCompress: smaller replies cost more to compress than to send.
	minCompress = 1 << 10
	// minRows are asked for at least, so that a short page of a set full of
	// expired members is not sought row by row.
	minRows = 64
)

// replicas holds the r or w of a request, called name, against N. 0 stands for
// the cluster's default.
func (c *call) replicas(name string, asked uint32) (int, *problem) {
	n := c.backend.Ring().Config().Replicas
	if uint64(asked) > uint64(n) {
		return 0, invalidOption(uint64(n), uint64(asked), "%s is %d, and each partition has %s", name, asked, plural(n, "owner"))
	}
	return int(asked), nil
}

// answers returns how many replicas a read is to join.
func (c *call) answers(o *cartwheelv1.ReadOptions) (int, *problem) {
	if o.GetFast() {
		if o.GetR() != 0 {
			return 0, invalidOption(1, uint64(o.GetR()), "fast asks one replica and r asks %d: give one of them", o.GetR())
		}
		return 1, nil
	}
	return c.replicas("r", o.GetR())
}

// checkCount holds a number of things against 1 and a limit.
func checkCount(what string, n, limit int) *problem {
	switch {
	case n == 0:
		return invalidOption(1, 0, "0 %s given, at least 1 is needed", what)
	case n > limit:
		return tooLarge(limit, n, "%d %s given, limit %d", n, what, limit)
	}
	return nil
}

func checkValue(what string, value []byte) *problem {
	if n := len(value); n > crdt.MaxValue {
		return tooLarge(crdt.MaxValue, n, "%s of %d bytes, limit %d", what, n, crdt.MaxValue)
	}
	return nil
}

func checkMembers(members []string, limit int) *problem {
	if p := checkCount("members", len(members), limit); p != nil {
		return p
	}
	for i, m := range members {
		if err := crdt.CheckMember(m); err != nil {
			return badName(err).in("member", i, len(members), m)
		}
	}
	return nil
}

// adding checks a member and turns it into a change.
func adding(m *cartwheelv1.Member) (replica.Change, *problem) {
	if err := crdt.CheckMember(m.GetMember()); err != nil {
		return replica.Change{}, badName(err)
	}
	if p := checkValue("note", m.GetNote()); p != nil {
		return replica.Change{}, p
	}
	if at := m.GetExpiresAtMs(); at > math.MaxInt64 {
		return replica.Change{}, invalidOption(math.MaxInt64, at, "expires_at_ms is %d, limit %d", at, int64(math.MaxInt64))
	}
	return replica.Change{Member: m.GetMember(), Note: m.GetNote(), Expires: int64(m.GetExpiresAtMs())}, nil
}

func removing(m string) (replica.Change, *problem) {
	if err := crdt.CheckMember(m); err != nil {
		return replica.Change{}, badName(err)
	}
	return replica.Change{Member: m, Remove: true}, nil
}
