package server

import (
	"context"
	"time"

	"connectrpc.com/connect"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/replica"
	cartwheelv1 "github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1"
)

// Size is that of a set which R replicas hold just so: they tell it without reading
// members. While they differ, as writes on their way make them for a moment, they
// are asked again; then every page is read at R, and the size is as good as a
// listing: a member that stays is counted once, and one that comes or goes
// meanwhile may be counted or not.
func (s setService) Size(ctx context.Context, req *connect.Request[cartwheelv1.SetServiceSizeRequest]) (*connect.Response[cartwheelv1.SetServiceSizeResponse], error) {
	m := req.Msg
	c, err := s.call("set.size", crdt.Set, m.GetBucket(), m.GetKey())
	if err != nil {
		return nil, err
	}
	res := &cartwheelv1.SetServiceSizeResponse{Info: c.info}
	size, counted, p := c.count(ctx, m.GetOptions())
	if res.Size = size; p == nil && !counted {
		_, _, p = c.scan(ctx, m.GetOptions(), replica.Span{}, func() int { return replica.MaxPage }, func(string, crdt.Member, crdt.Row) bool {
			res.Size++
			return true
		})
	}
	if p != nil {
		return nil, c.error(p)
	}
	return connect.NewResponse(res), nil
}

// sizePauses are the times before each question for a size, some round trips long.
var sizePauses = [...]time.Duration{0, 2 * time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond, 20 * time.Millisecond}

// count asks for the size, and tells whether the replicas agreed on it.
func (c *call) count(ctx context.Context, o *cartwheelv1.ReadOptions) (uint64, bool, *problem) {
	for _, pause := range sizePauses {
		if pause > 0 {
			select {
			case <-ctx.Done(): // the next read says so
			case <-time.After(pause):
			}
		}
		merged, p := c.read(ctx, o, replica.Query{Count: max(c.backend.WallMillis(), 1)})
		if p != nil {
			return 0, false, p
		}
		if merged.Counted {
			return merged.Count, true, nil
		}
	}
	return 0, false, nil
}
