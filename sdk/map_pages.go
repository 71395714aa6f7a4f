package cartwheel

import (
	"context"
	"iter"
	"time"

	"connectrpc.com/connect"

	cartwheelv1 "github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1"
)

// MapField is one field of a map that is there.
type MapField struct {
	Field
	Counter   int64     // of a counter
	Saturated bool      // of a counter: it went past int64, and is the nearest end
	Register  []byte    // of a register
	Stamp     uint64    // of a register: when it was written, as a hybrid logical clock
	Members   []Member  // of a set, in byte order
	ExpiresAt time.Time // of all but a set: no longer shown from then on; zero for never
}

// Fields lists the fields in byte order of their names and then by kind, page by
// page. A field present throughout the listing comes exactly once, a set with all of
// its members. An error is the last thing it yields.
func (m *Map) Fields(ctx context.Context, options ...ListOption) iter.Seq2[MapField, error] {
	return func(yield func(MapField, error) bool) {
		var held []MapField
		for page, err := range m.Pages(ctx, options...) {
			if err != nil {
				yield(MapField{}, err)
				return
			}
			for i, field := range page.Fields {
				held = joinField(held, field)
				if i == len(page.Fields)-1 && field.Kind == SetField && page.Next != "" {
					break // it may go on in the next page
				}
				for _, whole := range held {
					if !yield(whole, nil) {
						return
					}
				}
				held = nil
			}
		}
		for _, whole := range held {
			if !yield(whole, nil) {
				return
			}
		}
	}
}

// joinField appends a field, or the members of a set to those of the same set.
func joinField(fields []MapField, field MapField) []MapField {
	if n := len(fields); n > 0 && field.Kind == SetField && fields[n-1].Field == field.Field {
		fields[n-1].Members = append(fields[n-1].Members, field.Members...)
		return fields
	}
	return append(fields, field)
}

// MapPage is one page of a listing of a map. A set that it has no room for goes on in
// the next, under the same name.
type MapPage struct {
	Fields  []MapField
	Next    string  // where the next page begins, for From; empty after the last
	Context Context // covers what this page showed
}

// Pages is Fields by the page, for those who need the contexts or want to go on
// later. A member of a set counts as one towards the size of a page; no page has more
// than 4,096.
func (m *Map) Pages(ctx context.Context, options ...ListOption) iter.Seq2[MapPage, error] {
	var from listing
	for _, option := range options {
		option(&from)
	}
	return func(yield func(MapPage, error) bool) {
		for list, more := from, true; more; {
			request := &cartwheelv1.MapServiceGetRequest{Bucket: m.bucket, Key: m.key, Prefix: list.prefix, Cursor: list.cursor, Limit: list.limit}
			page, err := m.get(ctx, request, []string{list.prefix, list.cursor})
			if !yield(page, err) || err != nil {
				return
			}
			list.cursor, more = page.Next, page.Next != ""
		}
	}
}

func (m *Map) get(ctx context.Context, request *cartwheelv1.MapServiceGetRequest, names []string) (MapPage, error) {
	res, err := read(ctx, m.address, "map.get", names, func(options *cartwheelv1.ReadOptions) invoke[cartwheelv1.MapServiceGetResponse] {
		request.Options = options
		return func(ctx context.Context, e *endpoint) (*connect.Response[cartwheelv1.MapServiceGetResponse], error) {
			return e.maps.Get(ctx, connect.NewRequest(request))
		}
	})
	if err != nil {
		return MapPage{}, err
	}
	page := MapPage{Next: res.GetNextCursor(), Context: Context(res.GetContext())}
	for _, field := range res.GetFields() {
		page.Fields = append(page.Fields, fieldShown(field))
	}
	return page, nil
}

func fieldShown(f *cartwheelv1.MapField) MapField {
	field := MapField{
		Field:   Field{Name: f.GetField()},
		Counter: f.GetCounter(), Saturated: f.GetSaturated(), Register: f.GetRegister(), Stamp: f.GetStamp(), ExpiresAt: expiresAt(f.GetExpiresAtMs()),
	}
	for kind, number := range fieldKinds {
		if number == f.GetKind() {
			field.Kind = kind
		}
	}
	for _, member := range f.GetMembers() {
		field.Members = append(field.Members, Member{Name: member.GetMember(), Note: member.GetNote(), ExpiresAt: expiresAt(member.GetExpiresAtMs())})
	}
	return field
}
