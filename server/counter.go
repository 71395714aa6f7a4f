package server

import (
	"context"
	"math"

	"connectrpc.com/connect"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/replica"
	cartwheelv1 "github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1"
)

// counterService answers for counters.
type counterService struct{ *api }

func (s counterService) Add(ctx context.Context, req *connect.Request[cartwheelv1.CounterServiceAddRequest]) (*connect.Response[cartwheelv1.CounterServiceAddResponse], error) {
	m := req.Msg
	c, err := s.call("counter.add", crdt.Counter, m.GetBucket(), m.GetKey())
	if err != nil {
		return nil, err
	}
	res := &cartwheelv1.CounterServiceAddResponse{Info: c.info}
	var p *problem
	if m.GetDelta() == 0 {
		res.Value, res.Saturated, p = c.addNothing(ctx, m.GetOptions())
	} else {
		res.Value, res.Saturated, p = c.increment(ctx, m.GetOptions(), m.GetDelta())
	}
	if p != nil {
		return nil, c.error(p)
	}
	return connect.NewResponse(res), nil
}

func (c *call) increment(ctx context.Context, o *cartwheelv1.WriteOptions, delta int64) (value int64, saturated bool, p *problem) {
	added, _, p := c.mutate(ctx, o, "", replica.Mutation{Verb: replica.Add, Delta: delta})
	if p != nil || !atEnd(added.Answer) {
		return added.Answer, false, p
	}
	// Exactly the end of int64, or beyond it? Whoever gets there can afford a
	// read; should it fail, the increment has not.
	info := c.info
	c.info = &cartwheelv1.ReplyInfo{}
	_, saturated, _ = c.value(ctx, nil)
	c.info = info
	return added.Answer, saturated, nil
}

// addNothing answers an increment of 0, which is no event, with a read.
func (c *call) addNothing(ctx context.Context, o *cartwheelv1.WriteOptions) (value int64, saturated bool, p *problem) {
	if _, p := c.replicas("w", o.GetW()); p != nil {
		return 0, false, p
	}
	if _, p := c.operation(o); p != nil {
		return 0, false, p
	}
	if _, p := expiryOf(o.GetExpiresAtMs()); p != nil {
		return 0, false, p
	}
	return c.value(ctx, &cartwheelv1.ReadOptions{Stamp: o.GetStamp(), Session: o.GetSession()})
}

func atEnd(v int64) bool { return v == math.MaxInt64 || v == math.MinInt64 }

func (s counterService) Get(ctx context.Context, req *connect.Request[cartwheelv1.CounterServiceGetRequest]) (*connect.Response[cartwheelv1.CounterServiceGetResponse], error) {
	m := req.Msg
	c, err := s.call("counter.get", crdt.Counter, m.GetBucket(), m.GetKey())
	if err != nil {
		return nil, err
	}
	tally, p := c.tally(ctx, m.GetOptions())
	if p != nil {
		return nil, c.error(p)
	}
	res := &cartwheelv1.CounterServiceGetResponse{Info: c.info, ExpiresAtMs: uint64(tally.Expires())}
	res.Value, res.Saturated = tally.Value()
	return connect.NewResponse(res), nil
}

func (c *call) value(ctx context.Context, o *cartwheelv1.ReadOptions) (value int64, saturated bool, p *problem) {
	tally, p := c.tally(ctx, o)
	if p != nil {
		return 0, false, p
	}
	value, saturated = tally.Value()
	return value, saturated, nil
}

func (c *call) tally(ctx context.Context, o *cartwheelv1.ReadOptions) (*crdt.Tally, *problem) {
	row, p := c.row(ctx, o)
	if p != nil {
		return nil, p
	}
	tally, err := row.TallyAt(c.backend.WallMillis())
	if err != nil {
		return nil, damaged(err)
	}
	return tally, nil
}

// row reads the only row of a counter, register or blob, without what expired; a
// counter's is read at the time as a whole.
func (c *call) row(ctx context.Context, o *cartwheelv1.ReadOptions) (crdt.Row, *problem) {
	merged, p := c.read(ctx, o, replica.Query{})
	if p != nil {
		return crdt.Row{}, p
	}
	row, err := merged.Row("").At(c.key.Type, c.backend.WallMillis())
	if err != nil {
		return crdt.Row{}, damaged(err)
	}
	return row, nil
}

// Reset knows the value it took away, and not whether that was the nearest end
// of int64 or just there: at an end it reads as saturated.
func (s counterService) Reset(ctx context.Context, req *connect.Request[cartwheelv1.CounterServiceResetRequest]) (*connect.Response[cartwheelv1.CounterServiceResetResponse], error) {
	m := req.Msg
	c, err := s.call("counter.reset", crdt.Counter, m.GetBucket(), m.GetKey())
	if err != nil {
		return nil, err
	}
	reset, _, p := c.mutate(ctx, m.GetOptions(), "", replica.Mutation{Verb: replica.Zero})
	if p != nil {
		return nil, c.error(p)
	}
	return connect.NewResponse(&cartwheelv1.CounterServiceResetResponse{Info: c.info, Value: reset.Answer, Saturated: atEnd(reset.Answer)}), nil
}
