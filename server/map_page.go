package server

import (
	"context"

	"connectrpc.com/connect"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica"
	cartwheelv1 "github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1"
)

func (s mapService) Get(ctx context.Context, req *connect.Request[cartwheelv1.MapServiceGetRequest]) (*connect.Response[cartwheelv1.MapServiceGetResponse], error) {
	m := req.Msg
	c, err := s.call("map.get", crdt.Map, m.GetBucket(), m.GetKey())
	if err != nil {
		return nil, err
	}
	read := c.listMap
	if len(m.GetFields()) > 0 {
		read = c.fieldsOfMap
	}
	res, p := read(ctx, m)
	if p != nil {
		return nil, c.error(p)
	}
	return connect.NewResponse(res), nil
}

// fieldsOfMap reads fields by their names. All that there is of them is in the reply.
func (c *call) fieldsOfMap(ctx context.Context, m *cartwheelv1.MapServiceGetRequest) (*cartwheelv1.MapServiceGetResponse, *problem) {
	if m.GetPrefix() != "" || m.GetCursor() != "" || m.GetLimit() != 0 {
		return nil, invalidOption(0, uint64(m.GetLimit()), "fields by name, and a prefix, a cursor or a limit of %d: give one or the other", m.GetLimit())
	}
	if p := checkCount("fields", len(m.GetFields()), replica.MaxFields); p != nil {
		return nil, p
	}
	q := replica.Query{}
	for i, f := range m.GetFields() {
		kind, p := fieldKind(f.GetKind())
		path := crdt.Path{Name: f.GetField(), Kind: kind}
		if err := path.Check(); p == nil && err != nil {
			p = badName(err)
		}
		if p != nil {
			return nil, p.in("field", i, len(m.GetFields()), f.GetField())
		}
		q.Fields = append(q.Fields, path.Encode())
	}
	merged, p := c.read(ctx, m.GetOptions(), q)
	if p != nil {
		return nil, p
	}
	if merged.More {
		return nil, tooLarge(replica.MaxRows, replica.MaxRows+1, "the %d fields have more than %d rows, or too many bytes for one reply: ask for fewer, or by the page", len(q.Fields), replica.MaxRows)
	}
	pg := mapPage{wall: c.backend.WallMillis()}
	for _, f := range merged.Rows {
		if err := pg.show(f); err != nil {
			return nil, damaged(err)
		}
	}
	return c.mapReply(&pg)
}

// listMap reads one page.
func (c *call) listMap(ctx context.Context, m *cartwheelv1.MapServiceGetRequest) (*cartwheelv1.MapServiceGetResponse, *problem) {
	if n := len(m.GetPrefix()); n > crdt.MaxFieldName {
		return nil, tooLarge(crdt.MaxFieldName, n, "prefix of %d bytes, limit %d", n, crdt.MaxFieldName)
	}
	prefix := crdt.PathPrefix(m.GetPrefix())
	after, p := c.openCursor(m.GetCursor(), replica.Span{Prefix: prefix})
	if p != nil {
		return nil, p
	}
	pg := mapPage{wanted: int(min(m.GetLimit(), replica.MaxRows)), wall: c.backend.WallMillis()}
	if pg.wanted == 0 {
		pg.wanted = DefaultPage
	}
	last, more, p := c.fill(ctx, m.GetOptions(), &pg, replica.Span{Prefix: prefix, After: after})
	if p != nil {
		return nil, p
	}
	res, p := c.mapReply(&pg)
	if p != nil || !more {
		return res, p
	}
	res.NextCursor, p = c.sealCursor(replica.Span{Prefix: prefix}, last)
	return res, p
}

// fill reads rows until the page is full or the map ends. last is the row that the
// page ends with, and more tells whether something may lie behind it.
func (c *call) fill(ctx context.Context, o *cartwheelv1.ReadOptions, pg *mapPage, span replica.Span) (last string, more bool, p *problem) {
	for {
		span.Limit = min(max(pg.wanted-pg.rows, minRows), replica.MaxPage)
		merged, p := c.read(ctx, o, replica.Query{Span: &span})
		if p != nil {
			return "", false, p
		}
		for i, f := range merged.Rows {
			if pg.full(f) {
				return last, true, nil
			}
			if err := pg.show(f); err != nil {
				return "", false, damaged(err)
			}
			if last = f.Field; pg.rows == pg.wanted {
				return last, merged.More || i < len(merged.Rows)-1, nil
			}
		}
		if !merged.More {
			return "", false, nil
		}
		last = merged.Last
		// A new span: the shard keeps the query while a late answer may come.
		span = replica.Span{Prefix: span.Prefix, After: last}
	}
}

func (c *call) mapReply(pg *mapPage) (*cartwheelv1.MapServiceGetResponse, *problem) {
	token, p := c.sealMap(pg.shown)
	if p != nil {
		return nil, p
	}
	return &cartwheelv1.MapServiceGetResponse{Info: c.info, Fields: pg.fields, Context: token}, nil
}

// mapPage gathers rows into fields.
type mapPage struct {
	wanted, rows int
	wall         int64 // by which expiries go
	fields       []*cartwheelv1.MapField
	shown        mapContext

	bytes    int // of names and values
	dots     int // bytes that the context spends on them at most
	counters int // and on counters
}

// full tells whether the row would be too much for the page: for the reply, or for a
// token that is to cover it. The first always fits, or is refused with the token.
func (pg *mapPage) full(f replica.Found) bool {
	if pg.rows == 0 {
		return false
	}
	size := pg.counters + len(f.Field) + len(f.Row.Live)*maxDotBytes
	for _, l := range f.Row.Live {
		if l.Payload.Kind() == crdt.KindEntry || l.Payload.Kind() == crdt.KindReset {
			size += maxComponent + len(l.Payload) // of a reset of it
		}
	}
	if size+pg.dots > maxMapToken {
		pg.dots = len(pg.shown.dots.AppendBinary(nil)) // those of neighbours cost far less than the most
	}
	return pg.bytes >= PageBytes || size+pg.dots > maxMapToken
}

const (
	// maxMapToken is what a page's context may come to, in bytes, less the lengths
	// of its two parts.
	maxMapToken = dvv.MaxTokenPayload - 16
	// maxComponent is what a reset says of one actor beyond its totals, in bytes: the
	// actor and its seq; and the lengths of a path and a reset.
	maxComponent = 9 + 9 + 8
)

// show takes in a row, unless nothing of it is there any more.
func (pg *mapPage) show(f replica.Found) error {
	path, err := crdt.DecodePath(f.Field)
	if err != nil {
		return err
	}
	field := &cartwheelv1.MapField{Kind: cartwheelv1.FieldKind(path.Kind), Field: path.Name}
	if path.Kind == crdt.CounterField {
		there, err := pg.counter(field, f)
		if there {
			pg.add(field, len(path.Name))
		}
		return err
	}
	row, err := f.Row.At(path.Kind.Type(), pg.wall)
	if err != nil || len(row.Live) == 0 {
		return err
	}
	size := len(f.Field)
	if path.Kind == crdt.RegisterField {
		writes, err := row.Register()
		if err != nil {
			return err
		}
		field.Register, field.Stamp, field.ExpiresAtMs = writes[0].Value, uint64(writes[0].Stamp), uint64(writes[0].Expires)
		size += len(field.Register)
	} else {
		m, _, err := row.Member()
		if err != nil {
			return err
		}
		size += len(m.Note)
		if path.Kind == crdt.FlagField {
			field.ExpiresAtMs = uint64(m.Expires)
		} else {
			field.Members = []*cartwheelv1.Member{{Member: path.Member, Note: m.Note, ExpiresAtMs: uint64(m.Expires)}}
		}
	}
	addDots(&pg.shown.dots, row)
	pg.dots += len(row.Live) * maxDotBytes
	pg.add(field, size)
	return nil
}

// counter reads the row of a counter and tells whether it is there.
func (pg *mapPage) counter(field *cartwheelv1.MapField, f replica.Found) (bool, error) {
	tally, err := f.Row.TallyAt(pg.wall)
	if err != nil || !tally.Present() {
		return false, err
	}
	field.Counter, field.Saturated = tally.Value()
	field.ExpiresAtMs = uint64(tally.Expires())
	reset, kills := tally.Reset()
	for _, d := range kills {
		pg.shown.dots.Add(d)
	}
	s := shownCounter{f.Field, reset.Payload()}
	pg.shown.counters = append(pg.shown.counters, s) // rows come in the order of paths
	pg.counters += len(s.path) + len(s.reset) + 8    // and their lengths
	pg.dots += len(kills) * maxDotBytes
	return true, nil
}

// add puts a field into the page, or a member to those of its set.
func (pg *mapPage) add(field *cartwheelv1.MapField, size int) {
	pg.rows++
	pg.bytes += size
	if n := len(pg.fields); n > 0 && len(field.Members) > 0 {
		if last := pg.fields[n-1]; last.Kind == field.Kind && last.Field == field.Field {
			last.Members = append(last.Members, field.Members...)
			return
		}
	}
	pg.fields = append(pg.fields, field)
}
