package server

import (
	"context"
	"math"

	"connectrpc.com/connect"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/replica"
	cartwheelv1 "github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1"
)

// mapService answers for maps. Each field is a row, and a set field a row for each
// member: an update writes those that it names, whatever the size of the map.
type mapService struct{ *api }

func (s mapService) Update(ctx context.Context, req *connect.Request[cartwheelv1.MapServiceUpdateRequest]) (*connect.Response[cartwheelv1.MapServiceUpdateResponse], error) {
	m := req.Msg
	c, err := s.call("map.update", crdt.Map, m.GetBucket(), m.GetKey())
	if err != nil {
		return nil, err
	}
	res, p := c.updateMap(ctx, m)
	if p != nil {
		return nil, c.error(p)
	}
	return connect.NewResponse(res), nil
}

func (c *call) updateMap(ctx context.Context, m *cartwheelv1.MapServiceUpdateRequest) (*cartwheelv1.MapServiceUpdateResponse, *problem) {
	n := len(m.GetChanges())
	if p := checkCount("changes", n, replica.MaxChanges); p != nil {
		return nil, p
	}
	lasting, p := expiryOf(m.GetOptions().GetExpiresAtMs())
	if p != nil {
		return nil, p
	}
	update, writes := replica.Mutation{Verb: replica.Edit, Changes: make([]replica.Change, n)}, false
	for i, change := range m.GetChanges() {
		if update.Changes[i], p = editing(change, lasting); p != nil {
			return nil, p.in("change", i, n, change.GetField())
		}
		writes = writes || !update.Changes[i].Remove
	}
	if lasting != 0 && !writes {
		return nil, invalidOption(0, uint64(lasting), "expires_at_ms is %d, and of %d changes none writes anything", lasting, n)
	}
	given, p := c.openMap(m.GetContext())
	if p != nil {
		return nil, p
	}
	if given != nil {
		dots := given.dots.Clone()
		update.Context = &dots
		for i := range update.Changes {
			if change := &update.Changes[i]; change.Remove {
				change.Shown = given.reset(change.Member)
			}
		}
	}
	done, p := c.carryOut(ctx, m.GetOptions(), update)
	if p != nil {
		return nil, p
	}
	res := &cartwheelv1.MapServiceUpdateResponse{Info: c.info}
	res.Context, p = c.coveringMap(done.Context, given)
	return res, p
}

// fieldKind checks the kind that a client gives of a field.
func fieldKind(kind cartwheelv1.FieldKind) (crdt.FieldKind, *problem) {
	if kind < cartwheelv1.FieldKind_FIELD_KIND_COUNTER || kind > cartwheelv1.FieldKind_FIELD_KIND_FLAG {
		return 0, invalidOption(uint64(crdt.FlagField), uint64(kind), "its kind is %v: neither counter, register, set nor flag", kind)
	}
	return crdt.FieldKind(kind), nil
}

// expiryOf checks a time at which something expires.
func expiryOf(ms uint64) (int64, *problem) {
	if ms > math.MaxInt64 {
		return 0, invalidOption(math.MaxInt64, ms, "expires_at_ms is %d, limit %d", ms, int64(math.MaxInt64))
	}
	return int64(ms), nil
}

// editing checks a change and turns it into one of the engine's. What it writes lasts
// as long as it says, else as long as the options say.
func editing(m *cartwheelv1.MapChange, lasting int64) (replica.Change, *problem) {
	own, p := expiryOf(m.GetExpiresAtMs())
	if p != nil {
		return replica.Change{}, p
	}
	path := crdt.Path{Name: m.GetField()}
	var change replica.Change
	switch step := m.GetChange().(type) {
	case *cartwheelv1.MapChange_Increment:
		path.Kind, change.Delta = crdt.CounterField, step.Increment
		if step.Increment == 0 {
			p = invalidOption(0, 0, "an increment of 0")
		}
	case *cartwheelv1.MapChange_Assign:
		path.Kind, change.Note = crdt.RegisterField, step.Assign
		p = checkValue("value", step.Assign)
	case *cartwheelv1.MapChange_Add:
		if change, p = adding(step.Add); p == nil {
			path.Kind, path.Member = crdt.SetField, change.Member
		}
	case *cartwheelv1.MapChange_RemoveMember:
		if change, p = removing(step.RemoveMember); p == nil {
			path.Kind, path.Member = crdt.SetField, change.Member
		}
	case *cartwheelv1.MapChange_Flag:
		path.Kind, change.Remove = crdt.FlagField, !step.Flag
	case *cartwheelv1.MapChange_Remove:
		change.Remove = true
		path.Kind, p = fieldKind(step.Remove)
	default:
		p = invalidOption(0, 0, "it does nothing")
	}
	if p != nil {
		return replica.Change{}, p
	}
	if err := path.Check(); err != nil {
		return replica.Change{}, badName(err)
	}
	change.Member = path.Encode()
	switch {
	case change.Remove && own != 0:
		return replica.Change{}, invalidOption(0, uint64(own), "it removes, and what is gone does not expire at %d", own)
	case change.Remove || change.Expires != 0: // a member may have its own
	case own != 0:
		change.Expires = own
	default:
		change.Expires = lasting
	}
	return change, nil
}

func (s mapService) Delete(ctx context.Context, req *connect.Request[cartwheelv1.MapServiceDeleteRequest]) (*connect.Response[cartwheelv1.MapServiceDeleteResponse], error) {
	m := req.Msg
	c, err := s.call("map.delete", crdt.Map, m.GetBucket(), m.GetKey())
	if err != nil {
		return nil, err
	}
	if p := c.deleteMap(ctx, m); p != nil {
		return nil, c.error(p)
	}
	return connect.NewResponse(&cartwheelv1.MapServiceDeleteResponse{Info: c.info}), nil
}

func (c *call) deleteMap(ctx context.Context, m *cartwheelv1.MapServiceDeleteRequest) *problem {
	given, p := c.openMap(m.GetContext())
	if p != nil {
		return p
	}
	remove := replica.Mutation{Verb: replica.Delete}
	if given != nil {
		if n := len(given.counters); n >= replica.MaxRows {
			return tooLarge(replica.MaxRows-1, n, "context: it shows %d counters, limit %d", n, replica.MaxRows-1)
		}
		remove.Context = &given.dots
		for _, s := range given.counters {
			remove.Changes = append(remove.Changes, replica.Change{Member: s.path, Remove: true, Shown: s.reset})
		}
	}
	_, p = c.carryOut(ctx, m.GetOptions(), remove)
	return p
}
