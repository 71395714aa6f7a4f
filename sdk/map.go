package cartwheel

import (
	"context"
	"errors"
	"strings"
	"time"

	"connectrpc.com/connect"

	cartwheelv1 "github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1"
)

// Map is a handle on a map: fields that are counters, registers, sets or flags,
// under one key. Updates of several fields are seen whole or not at all. A removal
// takes away what was observed, by the given Context or by a read made for the
// purpose: an increment of a counter that runs beside its removal stays, and
// nothing else of it.
//
// A map is a record, with at most 4,096 rows (fields, and members of its sets) to be
// removed or deleted at once. What grows beyond that belongs into a Set of its own.
type Map struct{ address }

// Map returns a handle on the map at bucket and key. An absent map has no fields.
func (db *DB) Map(bucket, key string) *Map {
	return &Map{db.at(bucket, key)}
}

// With returns a handle with more options.
func (m *Map) With(options ...CallOption) *Map { return &Map{m.with(options)} }

// FieldKind is what a field of a map is. It is part of the field's name: "apples"
// may be a counter and a register at once.
type FieldKind string

// The kinds of fields.
const (
	CounterField  FieldKind = "counter"  // increments add up
	RegisterField FieldKind = "register" // the last writer wins
	SetField      FieldKind = "set"      // adds win over removes
	FlagField     FieldKind = "flag"     // on or absent; enabling wins over disabling
)

var fieldKinds = map[FieldKind]cartwheelv1.FieldKind{
	CounterField:  cartwheelv1.FieldKind_FIELD_KIND_COUNTER,
	RegisterField: cartwheelv1.FieldKind_FIELD_KIND_REGISTER,
	SetField:      cartwheelv1.FieldKind_FIELD_KIND_SET,
	FlagField:     cartwheelv1.FieldKind_FIELD_KIND_FLAG,
}

// Field names a field of a map.
type Field struct {
	Kind FieldKind
	Name string // non-empty UTF-8, at most 1 KiB
}

// MapChange is one step of an update of a map: see Increment, Assign, AddTo,
// RemoveFrom, Enable, Disable and RemoveField.
type MapChange struct {
	step  *cartwheelv1.MapChange
	until time.Time
}

// Increment adds to a counter; delta may be negative, and not 0.
func Increment(field string, delta int64) MapChange {
	return MapChange{step: &cartwheelv1.MapChange{Field: field, Change: &cartwheelv1.MapChange_Increment{Increment: delta}}}
}

// Assign writes a register: at most 1 MiB.
func Assign(field string, value []byte) MapChange {
	return MapChange{step: &cartwheelv1.MapChange{Field: field, Change: &cartwheelv1.MapChange_Assign{Assign: value}}}
}

// AddTo adds a member to a set field.
func AddTo(field, member string) MapChange { return AddMemberTo(field, Member{Name: member}) }

// AddMemberTo adds a member with its note and expiry to a set field.
func AddMemberTo(field string, member Member) MapChange {
	return MapChange{step: &cartwheelv1.MapChange{Field: field, Change: &cartwheelv1.MapChange_Add{Add: member.proto()}}}
}

// RemoveFrom removes a member of a set field.
func RemoveFrom(field, member string) MapChange {
	return MapChange{step: &cartwheelv1.MapChange{Field: field, Change: &cartwheelv1.MapChange_RemoveMember{RemoveMember: member}}}
}

// Enable turns a flag on.
func Enable(field string) MapChange {
	return MapChange{step: &cartwheelv1.MapChange{Field: field, Change: &cartwheelv1.MapChange_Flag{Flag: true}}}
}

// Disable turns a flag off, which is to remove it.
func Disable(field string) MapChange {
	return MapChange{step: &cartwheelv1.MapChange{Field: field, Change: &cartwheelv1.MapChange_Flag{}}}
}

// RemoveField removes a field: of a counter what was observed of it, of a set every
// member that was.
func RemoveField(kind FieldKind, name string) MapChange {
	return MapChange{step: &cartwheelv1.MapChange{Field: name, Change: &cartwheelv1.MapChange_Remove{Remove: fieldKinds[kind]}}}
}

// Until returns the change with an expiry: what it writes is no longer shown from
// then on, to the millisecond. A removal has none.
func (c MapChange) Until(at time.Time) MapChange {
	c.until = at
	return c
}

// proto returns the change for a request, and the names in it. A change may be used
// for several requests, and so is not changed itself.
func (c MapChange) proto() (*cartwheelv1.MapChange, []string) {
	if c.step == nil {
		return &cartwheelv1.MapChange{}, nil
	}
	step := &cartwheelv1.MapChange{Field: c.step.GetField(), Change: c.step.GetChange(), ExpiresAtMs: expiryMillis(c.until)}
	return step, []string{step.GetField(), step.GetAdd().GetMember(), step.GetRemoveMember()}
}

// Update applies the changes as one operation, those of one field in order:
// everybody sees all of it or none. Removals take away what a read now shows.
func (m *Map) Update(ctx context.Context, changes ...MapChange) error {
	_, err := m.UpdateWith(ctx, "", changes...)
	return err
}

// UpdateWith is Update where removals take away what the context showed. The new
// context covers what was written and what was shown before, and nothing of counters
// that were increased: read them before removing them by a context.
func (m *Map) UpdateWith(ctx context.Context, shown Context, changes ...MapChange) (Context, error) {
	request := &cartwheelv1.MapServiceUpdateRequest{Bucket: m.bucket, Key: m.key, Context: string(shown)}
	var names []string
	for _, change := range changes {
		step, named := change.proto()
		request.Changes, names = append(request.Changes, step), append(names, named...)
	}
	res, err := mutate(ctx, m.address, "map.update", names, func(options *cartwheelv1.WriteOptions) invoke[cartwheelv1.MapServiceUpdateResponse] {
		request.Options = options
		return func(ctx context.Context, e *endpoint) (*connect.Response[cartwheelv1.MapServiceUpdateResponse], error) {
			return e.maps.Update(ctx, connect.NewRequest(request))
		}
	})
	return Context(res.GetContext()), err
}

// Remove removes what a read now shows of the fields. An absent one is no error.
func (m *Map) Remove(ctx context.Context, fields ...Field) error {
	return m.RemoveWith(ctx, "", fields...)
}

// RemoveWith removes what the context showed of the fields, and leaves what it did
// not show: of a counter that was increased since just that much.
func (m *Map) RemoveWith(ctx context.Context, shown Context, fields ...Field) error {
	changes := make([]MapChange, len(fields))
	for i, field := range fields {
		changes[i] = RemoveField(field.Kind, field.Name)
	}
	_, err := m.UpdateWith(ctx, shown, changes...)
	return err
}

// Delete removes every field that a read now shows. What is changed meanwhile stays.
func (m *Map) Delete(ctx context.Context) error { return m.DeleteWith(ctx, "") }

// DeleteWith removes exactly what the context showed.
func (m *Map) DeleteWith(ctx context.Context, shown Context) error {
	request := &cartwheelv1.MapServiceDeleteRequest{Bucket: m.bucket, Key: m.key, Context: string(shown)}
	_, err := mutate(ctx, m.address, "map.delete", nil, func(options *cartwheelv1.WriteOptions) invoke[cartwheelv1.MapServiceDeleteResponse] {
		request.Options = options
		return func(ctx context.Context, e *endpoint) (*connect.Response[cartwheelv1.MapServiceDeleteResponse], error) {
			return e.maps.Delete(ctx, connect.NewRequest(request))
		}
	})
	return err
}

// MapValue is a map as a read shows it. Fields that are absent are in none of its
// maps, which are never nil.
type MapValue struct {
	Counters  map[string]int64
	Registers map[string][]byte
	Sets      map[string][]Member // in byte order
	Flags     map[string]bool     // those that are on
	Fields    []MapField          // all of it again, in order, with stamps and expiries
	Context   Context             // covers exactly this
}

// Get reads the whole map. It asks for as many pages as it takes, one after the
// other; all of the value is in memory.
func (m *Map) Get(ctx context.Context) (MapValue, error) {
	value := newMapValue()
	var contexts []string
	for page, err := range m.Pages(ctx, PageSize(mapPage)) {
		if err != nil {
			return MapValue{}, err
		}
		contexts = append(contexts, string(page.Context))
		for _, field := range page.Fields {
			value.Fields = joinField(value.Fields, field)
		}
	}
	value.sort()
	// Contexts of one map that are joined by dots are one.
	value.Context = Context(strings.Join(contexts, "."))
	return value, nil
}

// mapPage is the most rows of a page.
const mapPage = 4096

// GetFields reads the fields, at most 1,000 with 4,096 rows; the context covers what
// was shown of these.
func (m *Map) GetFields(ctx context.Context, fields ...Field) (MapValue, error) {
	request := &cartwheelv1.MapServiceGetRequest{Bucket: m.bucket, Key: m.key}
	if len(fields) == 0 { // which a node takes for all
		return MapValue{}, &Error{Op: "map.get", Bucket: m.bucket, Key: m.key, Reason: InvalidOption, Limit: 1, Err: errNoFields}
	}
	names := make([]string, len(fields))
	for i, field := range fields {
		names[i] = field.Name
		request.Fields = append(request.Fields, &cartwheelv1.MapFieldName{Kind: fieldKinds[field.Kind], Field: field.Name})
	}
	page, err := m.get(ctx, request, names)
	if err != nil {
		return MapValue{}, err
	}
	value := newMapValue()
	value.Fields, value.Context = page.Fields, page.Context
	value.sort()
	return value, nil
}

var errNoFields = errors.New("fields by name: at least 1 is needed")

func newMapValue() MapValue {
	return MapValue{Counters: map[string]int64{}, Registers: map[string][]byte{}, Sets: map[string][]Member{}, Flags: map[string]bool{}}
}

// sort puts the fields into the maps of their kinds.
func (v *MapValue) sort() {
	for _, f := range v.Fields {
		switch f.Kind {
		case CounterField:
			v.Counters[f.Name] = f.Counter
		case RegisterField:
			v.Registers[f.Name] = f.Register
		case SetField:
			v.Sets[f.Name] = f.Members
		case FlagField:
			v.Flags[f.Name] = true
		}
	}
}
