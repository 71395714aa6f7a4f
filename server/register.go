package server

import (
	"context"

	"connectrpc.com/connect"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica"
	cartwheelv1 "github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1"
)

// registerService answers for registers.
type registerService struct{ *api }

func (s registerService) Set(ctx context.Context, req *connect.Request[cartwheelv1.RegisterServiceSetRequest]) (*connect.Response[cartwheelv1.RegisterServiceSetResponse], error) {
	c, token, err := s.write(ctx, "register.set", crdt.Register, replica.Assign, req.Msg)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&cartwheelv1.RegisterServiceSetResponse{Info: c.info, Context: token}), nil
}

// writing is what the requests that write one value have in common.
type writing interface {
	changing
	GetValue() []byte
}

// write is the set of a register and the put of a blob.
func (a *api) write(ctx context.Context, op string, t crdt.Type, verb replica.Verb, m writing) (*call, string, error) {
	c, err := a.call(op, t, m.GetBucket(), m.GetKey())
	if err != nil {
		return nil, "", err
	}
	if p := checkValue("value", m.GetValue()); p != nil {
		return nil, "", c.error(p)
	}
	_, token, p := c.mutate(ctx, m.GetOptions(), m.GetContext(), replica.Mutation{Verb: verb, Value: m.GetValue()})
	if p != nil {
		return nil, "", c.error(p)
	}
	return c, token, nil
}

func (s registerService) Get(ctx context.Context, req *connect.Request[cartwheelv1.RegisterServiceGetRequest]) (*connect.Response[cartwheelv1.RegisterServiceGetResponse], error) {
	m := req.Msg
	c, err := s.call("register.get", crdt.Register, m.GetBucket(), m.GetKey())
	if err != nil {
		return nil, err
	}
	row, p := c.row(ctx, m.GetOptions())
	if p != nil {
		return nil, c.error(p)
	}
	writes, err := row.Register()
	if err != nil {
		return nil, c.error(damaged(err))
	}
	var shown dvv.Clock
	addDots(&shown, row)
	res := &cartwheelv1.RegisterServiceGetResponse{Info: c.info}
	if res.Context, p = c.seal(shown); p != nil {
		return nil, c.error(p)
	}
	for i, w := range writes {
		switch {
		case i == 0:
			res.Exists, res.Value, res.Stamp, res.ExpiresAtMs = true, w.Value, uint64(w.Stamp), uint64(w.Expires)
		case m.GetWithConcurrent():
			res.Concurrent = append(res.Concurrent, &cartwheelv1.RegisterLoser{Value: w.Value, Stamp: uint64(w.Stamp)})
		}
	}
	return connect.NewResponse(res), nil
}

func (s registerService) Delete(ctx context.Context, req *connect.Request[cartwheelv1.RegisterServiceDeleteRequest]) (*connect.Response[cartwheelv1.RegisterServiceDeleteResponse], error) {
	c, err := s.remove(ctx, "register.delete", crdt.Register, req.Msg)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&cartwheelv1.RegisterServiceDeleteResponse{Info: c.info}), nil
}
