package server

import (
	"context"

	"connectrpc.com/connect"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica"
	cartwheelv1 "github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1"
)

// A listing is read in pages, each a merged read of a span of members, so that
// a set of any size costs a bounded piece of memory. Pages follow one another by
// the last member they went past, never by a count: members that come or go
// meanwhile move nobody else, and one that stays is met exactly once.

// scan walks a span in byte order and calls fn for each member that is live,
// until fn returns false. last is where it stopped, and more tells whether the
// span goes on behind it. rows says how many rows the next read should ask for.
func (c *call) scan(ctx context.Context, o *cartwheelv1.ReadOptions, span replica.Span, rows func() int, fn func(string, crdt.Member, crdt.Row) bool) (last string, more bool, p *problem) {
	for {
		span.Limit = min(max(rows(), minRows), replica.MaxPage)
		asked := span
		merged, p := c.read(ctx, o, replica.Query{Span: &asked})
		if p != nil {
			return "", false, p
		}
		for i, f := range merged.Rows {
			m, live, p := c.member(f.Row)
			if p != nil {
				return "", false, p
			}
			if live && !fn(f.Field, m, f.Row) {
				return f.Field, merged.More || i < len(merged.Rows)-1, nil
			}
		}
		if !merged.More {
			return "", false, nil
		}
		span.After = merged.Last // in a copy: the shard keeps the query while a late answer may come
	}
}

// page gathers one page of a listing.
type page struct {
	wanted, bytes int
	members       []*cartwheelv1.Member
	shown         dvv.Clock
	dots          int
}

// A page's context stays within a token even when each dot costs the most bytes
// it can: its actor, one interval, a gap and a length.
const (
	maxDotBytes = 8 + 1 + 10 + 10
	maxPageDots = (dvv.MaxTokenPayload - 4<<10) / maxDotBytes // 4 KiB for the siblings of the last member
)

// take adds a member and tells whether there is room for another.
func (pg *page) take(name string, m crdt.Member, row crdt.Row) bool {
	pg.members = append(pg.members, &cartwheelv1.Member{Member: name, Note: m.Note, ExpiresAtMs: uint64(m.Expires)})
	pg.bytes += len(name) + len(m.Note)
	pg.dots += len(row.Dots())
	addDots(&pg.shown, row)
	if pg.dots >= maxPageDots {
		// Dots of neighbours in one clock cost far less than the worst: measure,
		// and reckon with the worst for those to come only.
		pg.dots = len(pg.shown.AppendBinary(nil))/maxDotBytes + 1
	}
	return len(pg.members) < pg.wanted && pg.bytes < PageBytes && pg.dots < maxPageDots
}

func (s setService) Members(ctx context.Context, req *connect.Request[cartwheelv1.SetServiceMembersRequest]) (*connect.Response[cartwheelv1.SetServiceMembersResponse], error) {
	m := req.Msg
	c, err := s.call("set.members", crdt.Set, m.GetBucket(), m.GetKey())
	if err != nil {
		return nil, err
	}
	res, p := c.members(ctx, m)
	if p != nil {
		return nil, c.error(p)
	}
	return connect.NewResponse(res), nil
}

func (c *call) members(ctx context.Context, m *cartwheelv1.SetServiceMembersRequest) (*cartwheelv1.SetServiceMembersResponse, *problem) {
	span := replica.Span{Prefix: m.GetPrefix(), From: m.GetFrom(), Until: m.GetUntil()}
	for _, bound := range []struct{ what, is string }{{"prefix", span.Prefix}, {"from", span.From}, {"until", span.Until}} {
		if n := len(bound.is); n > crdt.MaxMember {
			return nil, tooLarge(crdt.MaxMember, n, "%s of %d bytes, limit %d", bound.what, n, crdt.MaxMember)
		}
	}
	var p *problem
	if span.After, p = c.openCursor(m.GetCursor(), span); p != nil {
		return nil, p
	}
	pg := page{wanted: int(min(m.GetLimit(), MaxPage))}
	if pg.wanted == 0 {
		pg.wanted = DefaultPage
	}
	last, more, p := c.scan(ctx, m.GetOptions(), span, func() int { return pg.wanted - len(pg.members) }, pg.take)
	if p != nil {
		return nil, p
	}
	res := &cartwheelv1.SetServiceMembersResponse{Info: c.info, Members: pg.members}
	if more {
		if res.NextCursor, p = c.sealCursor(span, last); p != nil {
			return nil, p
		}
	}
	res.Context, p = c.seal(pg.shown)
	return res, p
}
