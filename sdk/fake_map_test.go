package cartwheel_test

import (
	"context"
	"slices"
	"strings"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	cartwheelv1 "github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1"
)

// mapService is a fake of maps: fields in order, one row to a member. What contexts
// do is the business of real nodes.
type mapService struct{ *fakeNode }

// rows finds the rows of a map; all maps of a fake lie in one place.
func (s mapService) rows(bucket, key string) *[]*cartwheelv1.MapField {
	if s.maps == nil {
		s.maps = map[string]*[]*cartwheelv1.MapField{}
	}
	if s.maps[at(bucket, key)] == nil {
		s.maps[at(bucket, key)] = &[]*cartwheelv1.MapField{}
	}
	return s.maps[at(bucket, key)]
}

func member(f *cartwheelv1.MapField) string {
	if len(f.GetMembers()) == 0 {
		return ""
	}
	return f.GetMembers()[0].GetMember()
}

func compareRows(a, b *cartwheelv1.MapField) int {
	if c := strings.Compare(a.GetField(), b.GetField()); c != 0 {
		return c
	}
	if a.GetKind() != b.GetKind() {
		return int(a.GetKind()) - int(b.GetKind())
	}
	return strings.Compare(member(a), member(b))
}

func (s mapService) Update(_ context.Context, r *connect.Request[cartwheelv1.MapServiceUpdateRequest]) (*connect.Response[cartwheelv1.MapServiceUpdateResponse], error) {
	return reply(once(s.fakeNode, "map.update", r.Msg.GetOptions(), func(info *cartwheelv1.ReplyInfo) (*cartwheelv1.MapServiceUpdateResponse, error) {
		s.updates = append(s.updates, proto.CloneOf(r.Msg))
		if r.Msg.GetContext() == "forged" {
			return nil, failure(connect.CodeInvalidArgument, &cartwheelv1.ErrorDetail{Reason: cartwheelv1.ErrorDetail_REASON_CONTEXT_FORGED})
		}
		rows := s.rows(r.Msg.GetBucket(), r.Msg.GetKey())
		for _, step := range r.Msg.GetChanges() {
			f := &cartwheelv1.MapField{Field: step.GetField(), ExpiresAtMs: step.GetExpiresAtMs()}
			remove := false
			switch c := step.GetChange().(type) {
			case *cartwheelv1.MapChange_Increment:
				f.Kind, f.Counter = cartwheelv1.FieldKind_FIELD_KIND_COUNTER, c.Increment
			case *cartwheelv1.MapChange_Assign:
				f.Kind, f.Register, f.Stamp = cartwheelv1.FieldKind_FIELD_KIND_REGISTER, c.Assign, info.GetStamp()
			case *cartwheelv1.MapChange_Add:
				f.Kind, f.Members, f.ExpiresAtMs = cartwheelv1.FieldKind_FIELD_KIND_SET, []*cartwheelv1.Member{c.Add}, 0
			case *cartwheelv1.MapChange_RemoveMember:
				f.Kind, f.Members, remove = cartwheelv1.FieldKind_FIELD_KIND_SET, []*cartwheelv1.Member{{Member: c.RemoveMember}}, true
			case *cartwheelv1.MapChange_Flag:
				f.Kind, remove = cartwheelv1.FieldKind_FIELD_KIND_FLAG, !c.Flag
			case *cartwheelv1.MapChange_Remove:
				f.Kind, remove = c.Remove, true
			}
			if f.GetKind() == 0 {
				return nil, failure(connect.CodeInvalidArgument, &cartwheelv1.ErrorDetail{Reason: cartwheelv1.ErrorDetail_REASON_INVALID_OPTION})
			}
			*rows = slices.DeleteFunc(*rows, func(old *cartwheelv1.MapField) bool {
				if old.GetField() != f.GetField() || old.GetKind() != f.GetKind() || len(f.GetMembers()) > 0 && member(old) != member(f) {
					return false
				}
				f.Counter += old.GetCounter()
				return true
			})
			if !remove {
				*rows = append(*rows, f)
			}
			slices.SortFunc(*rows, compareRows)
		}
		return &cartwheelv1.MapServiceUpdateResponse{Info: info, Context: "written"}, nil
	}))
}

func (s mapService) Get(_ context.Context, r *connect.Request[cartwheelv1.MapServiceGetRequest]) (*connect.Response[cartwheelv1.MapServiceGetResponse], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	res := &cartwheelv1.MapServiceGetResponse{Info: s.begin("map.get", nil, r.Msg.GetOptions()), Context: "page" + r.Msg.GetCursor()}
	if r.Msg.GetCursor() == "wrong" {
		return nil, failure(connect.CodeInvalidArgument, &cartwheelv1.ErrorDetail{Reason: cartwheelv1.ErrorDetail_REASON_CURSOR_INVALID})
	}
	wanted := func(f *cartwheelv1.MapField) bool {
		return strings.HasPrefix(f.GetField(), r.Msg.GetPrefix()) && (len(r.Msg.GetFields()) == 0 ||
			slices.ContainsFunc(r.Msg.GetFields(), func(n *cartwheelv1.MapFieldName) bool {
				return n.GetField() == f.GetField() && n.GetKind() == f.GetKind()
			}))
	}
	// A fake page holds three rows at most, and its cursor is their number so far.
	limit, skip, rows := min(int(r.Msg.GetLimit()), 3), len(r.Msg.GetCursor()), 0
	if limit == 0 || len(r.Msg.GetFields()) > 0 {
		limit = 1000
	}
	for _, f := range *s.rows(r.Msg.GetBucket(), r.Msg.GetKey()) {
		if !wanted(f) {
			continue
		}
		if rows++; rows <= skip {
			continue
		}
		if rows > skip+limit {
			res.NextCursor = strings.Repeat("+", skip+limit)
			break
		}
		f = proto.CloneOf(f)
		if n := len(res.Fields); n > 0 && len(f.GetMembers()) > 0 && res.Fields[n-1].GetField() == f.GetField() && res.Fields[n-1].GetKind() == f.GetKind() {
			res.Fields[n-1].Members = append(res.Fields[n-1].Members, f.GetMembers()...)
			continue
		}
		res.Fields = append(res.Fields, f)
	}
	return connect.NewResponse(res), nil
}

func (s mapService) Delete(_ context.Context, r *connect.Request[cartwheelv1.MapServiceDeleteRequest]) (*connect.Response[cartwheelv1.MapServiceDeleteResponse], error) {
	return reply(once(s.fakeNode, "map.delete", r.Msg.GetOptions(), func(info *cartwheelv1.ReplyInfo) (*cartwheelv1.MapServiceDeleteResponse, error) {
		s.deletes = append(s.deletes, r.Msg.GetContext())
		*s.rows(r.Msg.GetBucket(), r.Msg.GetKey()) = nil
		return &cartwheelv1.MapServiceDeleteResponse{Info: info}, nil
	}))
}
