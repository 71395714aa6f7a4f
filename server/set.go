package server

import (
	"context"

	"connectrpc.com/connect"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica"
	cartwheelv1 "github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1"
)

// setService answers for sets. Each member is a row: an add writes one, whatever
// the size of the set.
type setService struct{ *api }

func (s setService) Add(ctx context.Context, req *connect.Request[cartwheelv1.SetServiceAddRequest]) (*connect.Response[cartwheelv1.SetServiceAddResponse], error) {
	m := req.Msg
	c, token, err := s.change(ctx, "set.add", m, "member", len(m.GetMembers()), func(i int) (replica.Change, string, *problem) {
		change, p := adding(m.GetMembers()[i])
		return change, m.GetMembers()[i].GetMember(), p
	})
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&cartwheelv1.SetServiceAddResponse{Info: c.info, Context: token}), nil
}

func (s setService) Remove(ctx context.Context, req *connect.Request[cartwheelv1.SetServiceRemoveRequest]) (*connect.Response[cartwheelv1.SetServiceRemoveResponse], error) {
	m := req.Msg
	c, token, err := s.change(ctx, "set.remove", m, "member", len(m.GetMembers()), func(i int) (replica.Change, string, *problem) {
		change, p := removing(m.GetMembers()[i])
		return change, m.GetMembers()[i], p
	})
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&cartwheelv1.SetServiceRemoveResponse{Info: c.info, Context: token}), nil
}

func (s setService) Update(ctx context.Context, req *connect.Request[cartwheelv1.SetServiceUpdateRequest]) (*connect.Response[cartwheelv1.SetServiceUpdateResponse], error) {
	m := req.Msg
	c, token, err := s.change(ctx, "set.update", m, "change", len(m.GetChanges()), func(i int) (replica.Change, string, *problem) {
		switch step := m.GetChanges()[i].GetChange().(type) {
		case *cartwheelv1.SetChange_Add:
			change, p := adding(step.Add)
			return change, step.Add.GetMember(), p
		case *cartwheelv1.SetChange_Remove:
			change, p := removing(step.Remove)
			return change, step.Remove, p
		}
		return replica.Change{}, "", invalidOption(0, 0, "neither adds nor removes")
	})
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&cartwheelv1.SetServiceUpdateResponse{Info: c.info, Context: token}), nil
}

// changing is what the three requests that change members have in common.
type changing interface {
	GetBucket() string
	GetKey() string
	GetOptions() *cartwheelv1.WriteOptions
	GetContext() string
}

// change carries out n changes, each of which is what; at returns one and the name of
// its member.
func (s setService) change(ctx context.Context, op string, m changing, what string, n int, at func(int) (replica.Change, string, *problem)) (*call, string, error) {
	c, err := s.call(op, crdt.Set, m.GetBucket(), m.GetKey())
	if err != nil {
		return nil, "", err
	}
	if p := checkCount(what+"s", n, replica.MaxChanges); p != nil {
		return nil, "", c.error(p)
	}
	update := replica.Mutation{Verb: replica.Update, Changes: make([]replica.Change, n)}
	for i := range update.Changes {
		change, name, p := at(i)
		if p != nil {
			return nil, "", c.error(p.in(what, i, n, name))
		}
		update.Changes[i] = change
	}
	_, token, p := c.mutate(ctx, m.GetOptions(), m.GetContext(), update)
	if p != nil {
		return nil, "", c.error(p)
	}
	return c, token, nil
}

func (s setService) Clear(ctx context.Context, req *connect.Request[cartwheelv1.SetServiceClearRequest]) (*connect.Response[cartwheelv1.SetServiceClearResponse], error) {
	c, err := s.remove(ctx, "set.clear", crdt.Set, req.Msg)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&cartwheelv1.SetServiceClearResponse{Info: c.info}), nil
}

// remove is the clear of a set and the delete of a register or blob.
func (a *api) remove(ctx context.Context, op string, t crdt.Type, m changing) (*call, error) {
	c, err := a.call(op, t, m.GetBucket(), m.GetKey())
	if err != nil {
		return nil, err
	}
	if _, _, p := c.mutate(ctx, m.GetOptions(), m.GetContext(), replica.Mutation{Verb: replica.Delete}); p != nil {
		return nil, c.error(p)
	}
	return c, nil
}

func (s setService) Contains(ctx context.Context, req *connect.Request[cartwheelv1.SetServiceContainsRequest]) (*connect.Response[cartwheelv1.SetServiceContainsResponse], error) {
	m := req.Msg
	c, err := s.call("set.contains", crdt.Set, m.GetBucket(), m.GetKey())
	if err != nil {
		return nil, err
	}
	if p := checkMembers(m.GetMembers(), MaxAsked); p != nil {
		return nil, c.error(p)
	}
	present, shown, p := c.present(ctx, m.GetOptions(), m.GetMembers())
	if p != nil {
		return nil, c.error(p)
	}
	token, p := c.seal(shown)
	if p != nil {
		return nil, c.error(p)
	}
	res := &cartwheelv1.SetServiceContainsResponse{Info: c.info, Context: token, Contains: make([]bool, len(m.GetMembers()))}
	for i, member := range m.GetMembers() {
		res.Contains[i] = present[member]
	}
	return connect.NewResponse(res), nil
}

// present reads which of the members are in the set, each once, and the dots
// that say so.
func (c *call) present(ctx context.Context, o *cartwheelv1.ReadOptions, members []string) (map[string]bool, dvv.Clock, *problem) {
	present := make(map[string]bool, len(members))
	ask := make([]string, 0, len(members))
	for _, m := range members {
		if _, twice := present[m]; !twice {
			present[m], ask = false, append(ask, m)
		}
	}
	var shown dvv.Clock
	for len(ask) > 0 {
		n := min(len(ask), replica.MaxFields)
		merged, p := c.read(ctx, o, replica.Query{Fields: ask[:n]})
		if p != nil {
			return nil, shown, p
		}
		for _, f := range merged.Rows {
			_, live, p := c.member(f.Row)
			if p != nil {
				return nil, shown, p
			}
			if present[f.Field] = live; live {
				addDots(&shown, f.Row)
			}
		}
		ask = ask[n:]
	}
	return present, shown, nil
}

// member reads the row of a member; one whose time is over is not live.
func (c *call) member(row crdt.Row) (m crdt.Member, live bool, p *problem) {
	m, ok, err := row.Member()
	if err != nil {
		return m, false, damaged(err)
	}
	return m, ok && !m.Expired(c.backend.WallMillis()), nil
}

func addDots(shown *dvv.Clock, row crdt.Row) {
	for _, d := range row.Dots() {
		shown.Add(d)
	}
}
