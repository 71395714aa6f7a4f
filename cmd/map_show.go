package cmd

import (
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	cartwheel "github.com/cartwheel-db/cartwheel/sdk"
)

// mapValue is the answer of get: fields by their kinds, and so by name.
type mapValue struct {
	of
	Counters  map[string]int64    `json:"counters"`
	Registers map[string]data     `json:"registers"`
	Sets      map[string][]member `json:"sets"`
	Flags     []string            `json:"flags"`
	Context   string              `json:"context"`
	Info      info                `json:"info"`
}

func newMapGetCommand(s *session) *cobra.Command {
	var r reading
	var k keep
	c := &cobra.Command{
		Use:   "get KEY [FIELD...]",
		Short: "Read the map, or some fields",
		Long: `Read the map, or some fields: one per line, with its kind, name and value, and a line
for each member of a set. One field that is asked for alone is its value and nothing
else. Where nothing is there, or not every field that was asked for, the exit code is 3.`,
		Example: `  cartwheel map get carts/42
  cartwheel map get carts/42 counter:apples
  cartwheel map get carts/42 counter:apples set:tags
  cartwheel map get carts/42 -o json | jq .counters.apples`,
		Args: takes("KEY [FIELD...]", 1, -1),
	}
	r.flags(c)
	k.flags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		fields, err := parseFields("map get", args[1:])
		if err != nil {
			return err
		}
		t, err := s.target(c.Context(), args[0])
		if err != nil {
			return err
		}
		defer t.db.Close()
		handle := t.db.Map(t.bucket, t.key).With(r.options(t)...)
		var value cartwheel.MapValue
		if len(fields) == 0 {
			value, err = handle.Get(c.Context())
		} else {
			value, err = handle.GetFields(c.Context(), fields...)
		}
		if err != nil {
			return err
		}
		if err := k.save(value.Context); err != nil {
			return err
		}
		s.warn(c, t)
		s.warnSaturated(c, value.Fields)
		err = s.answer(c, asMapValue(t, value), func(w io.Writer) error { return fieldLines(w, value.Fields, len(fields) == 1) })
		if missing := missing(value, fields); err == nil && missing != "" {
			return &absentError{fmt.Sprintf("map.get %s: %s", args[0], missing)}
		}
		return err
	}
	return c
}

// missing names what is not there, empty for nothing.
func missing(value cartwheel.MapValue, asked []cartwheel.Field) string {
	if len(asked) == 0 && len(value.Fields) == 0 {
		return "no fields"
	}
	there := map[cartwheel.Field]bool{}
	for _, f := range value.Fields {
		there[f.Field] = true
	}
	for _, f := range asked {
		if !there[f] {
			return fmt.Sprintf("no %s:%s", f.Kind, line(f.Name))
		}
	}
	return ""
}

// warnSaturated notes on stderr which counters are past their numbers.
func (s *session) warnSaturated(c *cobra.Command, fields []cartwheel.MapField) {
	for _, f := range fields {
		if f.Saturated && s.output == "text" {
			fmt.Fprintf(c.ErrOrStderr(), "cartwheel: note: the sum of %s is past 64 bits; this is the nearest end\n", line(f.Name))
		}
	}
}

func asMapValue(t *target, value cartwheel.MapValue) mapValue {
	object := mapValue{
		of: t.of(), Counters: value.Counters, Registers: map[string]data{}, Sets: map[string][]member{}, Flags: []string{},
		Context: string(value.Context), Info: t.reply(),
	}
	for name, register := range value.Registers {
		object.Registers[name] = asData(register)
	}
	for name, members := range value.Sets {
		for _, m := range members {
			object.Sets[name] = append(object.Sets[name], asMember(m))
		}
	}
	for _, f := range value.Fields { // in order
		if f.Kind == cartwheel.FlagField {
			object.Flags = append(object.Flags, f.Name)
		}
	}
	return object
}

func asMember(m cartwheel.Member) member {
	shown := member{Member: m.Name, ExpiresAt: asTime(m.ExpiresAt)}
	if len(m.Note) > 0 {
		note := asData(m.Note)
		shown.Note, shown.NoteUTF8 = note.Value, note.UTF8
	}
	return shown
}

// fieldLines prints fields, or of one that was asked for alone its value.
func fieldLines(w io.Writer, fields []cartwheel.MapField, alone bool) error {
	for _, f := range fields {
		var values []string
		switch f.Kind {
		case cartwheel.CounterField:
			values = []string{strconv.FormatInt(f.Counter, 10)}
		case cartwheel.RegisterField:
			if alone {
				_, err := w.Write(wholeLine(f.Register))
				return err
			}
			values = []string{shownLine(f.Register)}
		case cartwheel.FlagField:
			values = []string{"on"}
		case cartwheel.SetField:
			for _, m := range f.Members {
				values = append(values, line(m.Name))
			}
		}
		for _, value := range values {
			if !alone {
				value = string(f.Kind) + "\t" + line(f.Name) + "\t" + value
			}
			if _, err := fmt.Fprintln(w, value); err != nil {
				return err
			}
		}
	}
	return nil
}

type mapFields struct {
	of
	Fields []mapField `json:"fields"`
	paged
}

type mapField struct {
	Kind      string `json:"kind"`
	Field     string `json:"field"`
	Counter   *int64 `json:"counter,omitempty"`
	Saturated bool   `json:"saturated,omitempty"`
	*data
	Stamp     string     `json:"stamp,omitempty"`
	Members   []member   `json:"members,omitempty"`
	ExpiresAt *time.Time `json:"expires_at,omitempty"`
}

func asMapField(f cartwheel.MapField) mapField {
	shown := mapField{Kind: string(f.Kind), Field: f.Name, Saturated: f.Saturated, ExpiresAt: asTime(f.ExpiresAt)}
	switch f.Kind {
	case cartwheel.CounterField:
		shown.Counter = &f.Counter
	case cartwheel.RegisterField:
		value := asData(f.Register)
		shown.data, shown.Stamp = &value, strconv.FormatUint(f.Stamp, 10)
	}
	for _, m := range f.Members {
		shown.Members = append(shown.Members, asMember(m))
	}
	return shown
}

func newMapFieldsCommand(s *session) *cobra.Command {
	var r reading
	var k keep
	var prefix, cursor string
	var limit uint32
	c := &cobra.Command{
		Use:   "fields KEY",
		Short: "List the fields by the page",
		Long: `List the fields in byte order of their names, and then by kind, as get does. With
--limit, one page of at most that many, a member of a set counting one, and where
the next begins: it may go on with the same set. A context is given for what one
page shows.`,
		Example: `  cartwheel map fields carts/42 --prefix app
  cartwheel map fields carts/42 --limit 100
  cartwheel map fields carts/42 --limit 100 --cursor CURSOR`,
		Args: takes("KEY", 1, 1),
	}
	r.flags(c)
	k.flags(c)
	c.Flags().StringVar(&prefix, "prefix", "", "only fields whose names begin with this")
	c.Flags().StringVar(&cursor, "cursor", "", "begin where an earlier page ended")
	c.Flags().Uint32Var(&limit, "limit", 0, "one page of at most this many, from 1 (default: all pages)")
	c.RunE = func(c *cobra.Command, args []string) error {
		t, err := s.target(c.Context(), args[0])
		if err != nil {
			return err
		}
		defer t.db.Close()
		object := mapFields{of: t.of(), Fields: []mapField{}}
		list := []cartwheel.ListOption{cartwheel.Prefix(prefix), cartwheel.From(cursor), cartwheel.PageSize(limit)}
		pages := t.db.Map(t.bucket, t.key).With(r.options(t)...).Pages(c.Context(), list...)
		object.paged, err = gather(s, c, t, &k, limit > 0, pages, func(page cartwheel.MapPage) (cartwheel.Context, string, error) {
			s.warnSaturated(c, page.Fields)
			return page.Context, page.Next, object.add(c, s, page.Fields)
		})
		if err != nil {
			return err
		}
		return s.answer(c, object, object.more(c))
	}
	return c
}

// add takes in one page: for JSON it waits for the rest, text goes out at once.
func (o *mapFields) add(c *cobra.Command, s *session, page []cartwheel.MapField) error {
	if s.output == "text" {
		return fieldLines(c.OutOrStdout(), page, false)
	}
	for _, f := range page {
		o.Fields = append(o.Fields, asMapField(f))
	}
	return nil
}
