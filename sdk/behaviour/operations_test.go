package behaviour_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	cartwheel "github.com/cartwheel-db/cartwheel/sdk"
)

// result is what an operation answers, by the names of README.md.
type result map[string]any

// handle is what a case works with: a value at its address.
type handle struct {
	db          *cartwheel.DB
	bucket, key string
	session     *cartwheel.Session
	options     []cartwheel.CallOption
	info        *cartwheel.Info // of the last reply
}

func (h handle) all() []cartwheel.CallOption {
	return append([]cartwheel.CallOption{cartwheel.InSession(h.session)}, h.options...)
}

func (h handle) set() *cartwheel.Set         { return h.db.Set(h.bucket, h.key).With(h.all()...) }
func (h handle) counter() *cartwheel.Counter { return h.db.Counter(h.bucket, h.key).With(h.all()...) }
func (h handle) register() *cartwheel.Register {
	return h.db.Register(h.bucket, h.key).With(h.all()...)
}
func (h handle) blob() *cartwheel.Blob { return h.db.Blob(h.bucket, h.key).With(h.all()...) }
func (h handle) table() *cartwheel.Map { return h.db.Map(h.bucket, h.key).With(h.all()...) }

type operation func(ctx context.Context, h handle, a *arguments) (result, error)

var operations = map[string]operation{
	"set.add": func(ctx context.Context, h handle, a *arguments) (result, error) {
		var members []cartwheel.Member
		for _, m := range a.list("members") {
			members = append(members, memberOf(h, m))
		}
		a.end()
		shown, err := h.set().AddMembers(ctx, members...)
		return result{"context": string(shown)}, err
	},
	"set.remove": func(ctx context.Context, h handle, a *arguments) (result, error) {
		members, shown := a.texts("members"), a.token("context")
		a.end()
		return result{}, h.set().RemoveWith(ctx, cartwheel.Context(shown), members...)
	},
	"set.update": func(ctx context.Context, h handle, a *arguments) (result, error) {
		var changes []cartwheel.Change
		for _, c := range a.list("changes") {
			change := c.(map[string]any)
			if add, ok := change["add"]; ok {
				changes = append(changes, cartwheel.Adding(memberOf(h, add)))
			} else {
				changes = append(changes, cartwheel.Removing(textOf(change["remove"])))
			}
		}
		shown := a.token("context")
		a.end()
		return result{}, h.set().UpdateWith(ctx, cartwheel.Context(shown), changes...)
	},
	"set.clear": func(ctx context.Context, h handle, a *arguments) (result, error) {
		shown := a.token("context")
		a.end()
		return result{}, h.set().ClearWith(ctx, cartwheel.Context(shown))
	},
	"set.contains": func(ctx context.Context, h handle, a *arguments) (result, error) {
		members := a.texts("members")
		a.end()
		found, shown, err := h.set().ContainsEach(ctx, members...)
		list := make([]any, len(found))
		for i := range found {
			list[i] = found[i]
		}
		return result{"contains": list, "context": string(shown)}, err
	},
	"set.size": func(ctx context.Context, h handle, a *arguments) (result, error) {
		a.end()
		size, err := h.set().Size(ctx)
		return result{"size": strconv.FormatUint(size, 10)}, err
	},
	"set.page": func(ctx context.Context, h handle, a *arguments) (result, error) {
		for page, err := range h.set().Pages(ctx, listing(a)...) {
			return result{"members": membersShown(page.Members), "next": page.Next, "context": string(page.Context)}, err
		}
		return nil, nil
	},
	"set.members": func(ctx context.Context, h handle, a *arguments) (result, error) {
		var members []cartwheel.Member
		for m, err := range h.set().Members(ctx, listing(a)...) {
			if err != nil {
				return nil, err
			}
			members = append(members, m)
		}
		return result{"members": membersShown(members)}, nil
	},
	"counter.add": func(ctx context.Context, h handle, a *arguments) (result, error) {
		delta := whole64(a.text("delta"))
		a.end()
		return counted(h, func(c *cartwheel.Counter) (int64, error) { return c.Add(ctx, delta) })
	},
	"counter.get": func(ctx context.Context, h handle, a *arguments) (result, error) {
		a.end()
		return counted(h, func(c *cartwheel.Counter) (int64, error) { return c.Get(ctx) })
	},
	"counter.reset": func(ctx context.Context, h handle, a *arguments) (result, error) {
		a.end()
		return counted(h, func(c *cartwheel.Counter) (int64, error) { return c.Reset(ctx) })
	},
	"register.set": func(ctx context.Context, h handle, a *arguments) (result, error) {
		value := a.text("value")
		a.end()
		return result{}, h.register().Set(ctx, []byte(value))
	},
	"register.get": func(ctx context.Context, h handle, a *arguments) (result, error) {
		get := h.register().Get
		if _, given := a.take("concurrent"); given {
			get = h.register().Concurrent
		}
		a.end()
		v, err := get(ctx)
		lost := []any{}
		for _, l := range v.Concurrent {
			lost = append(lost, string(l.Value))
		}
		return result{"exists": v.Exists, "value": string(v.Value), "expires": expiry(v.ExpiresAt), "context": string(v.Context), "concurrent": lost}, err
	},
	"register.delete": func(ctx context.Context, h handle, a *arguments) (result, error) {
		shown := a.token("context")
		a.end()
		return result{}, h.register().DeleteWith(ctx, cartwheel.Context(shown))
	},
	"blob.put": func(ctx context.Context, h handle, a *arguments) (result, error) {
		value, shown := a.text("value"), a.token("context")
		a.end()
		next, err := h.blob().Put(ctx, []byte(value), cartwheel.Context(shown))
		return result{"context": string(next)}, err
	},
	"blob.get": func(ctx context.Context, h handle, a *arguments) (result, error) {
		a.end()
		v, err := h.blob().Get(ctx)
		siblings := []any{}
		for _, s := range v.Siblings {
			siblings = append(siblings, string(s))
		}
		return result{"siblings": siblings, "context": string(v.Context)}, err
	},
	"blob.delete": func(ctx context.Context, h handle, a *arguments) (result, error) {
		shown := a.token("context")
		a.end()
		return result{}, h.blob().DeleteWith(ctx, cartwheel.Context(shown))
	},
	"blob.update": func(ctx context.Context, h handle, a *arguments) (result, error) {
		word := a.text("word")
		meanwhile, _ := a.take("meanwhile")
		a.end()
		value, err := h.blob().Update(ctx, func(siblings [][]byte) ([]byte, error) {
			if meanwhile != nil {
				a.r.nested(ctx, meanwhile)
				meanwhile = nil
			}
			words := append(strings.Fields(string(bytes.Join(siblings, []byte(" ")))), word)
			slices.Sort(words)
			return []byte(strings.Join(slices.Compact(words), " ")), nil
		})
		return result{"value": string(value)}, err
	},
	"map.update": func(ctx context.Context, h handle, a *arguments) (result, error) {
		var changes []cartwheel.MapChange
		for _, c := range a.list("changes") {
			changes = append(changes, changeOf(h, c.(map[string]any)))
		}
		shown := a.token("context")
		a.end()
		next, err := h.table().UpdateWith(ctx, cartwheel.Context(shown), changes...)
		return result{"context": string(next)}, err
	},
	"map.get": func(ctx context.Context, h handle, a *arguments) (result, error) {
		var fields []cartwheel.Field
		for _, f := range a.list("fields") {
			field := f.(map[string]any)
			fields = append(fields, cartwheel.Field{Kind: cartwheel.FieldKind(textOf(field["kind"])), Name: textOf(field["field"])})
		}
		a.end()
		get := h.table().Get
		if fields != nil {
			get = func(ctx context.Context) (cartwheel.MapValue, error) { return h.table().GetFields(ctx, fields...) }
		}
		v, err := get(ctx)
		if err != nil {
			return nil, err
		}
		counters, registers, sets, flags := map[string]any{}, map[string]any{}, map[string]any{}, []any{}
		for _, f := range v.Fields { // in order; the maps must say the same
			switch f.Kind {
			case cartwheel.CounterField:
				counters[f.Name] = strconv.FormatInt(v.Counters[f.Name], 10)
			case cartwheel.RegisterField:
				registers[f.Name] = string(v.Registers[f.Name])
			case cartwheel.SetField:
				sets[f.Name] = membersShown(v.Sets[f.Name])
			case cartwheel.FlagField:
				if v.Flags[f.Name] {
					flags = append(flags, f.Name)
				}
			}
		}
		if n := len(v.Counters) + len(v.Registers) + len(v.Sets) + len(v.Flags); n != len(v.Fields) {
			return nil, fmt.Errorf("%d fields in order, and %d by their names", len(v.Fields), n)
		}
		return result{"counters": counters, "registers": registers, "sets": sets, "flags": flags, "context": string(v.Context)}, nil
	},
	"map.page": func(ctx context.Context, h handle, a *arguments) (result, error) {
		for page, err := range h.table().Pages(ctx, listing(a)...) {
			fields := []any{}
			for _, f := range page.Fields {
				shown := map[string]any{"kind": string(f.Kind), "field": f.Name, "expires": expiry(f.ExpiresAt)}
				switch f.Kind {
				case cartwheel.CounterField:
					shown["value"] = strconv.FormatInt(f.Counter, 10)
				case cartwheel.RegisterField:
					shown["value"] = string(f.Register)
				case cartwheel.SetField:
					shown["members"] = membersShown(f.Members)
				}
				fields = append(fields, shown)
			}
			return result{"fields": fields, "next": page.Next, "context": string(page.Context)}, err
		}
		return nil, nil
	},
	"map.delete": func(ctx context.Context, h handle, a *arguments) (result, error) {
		shown := a.token("context")
		a.end()
		return result{}, h.table().DeleteWith(ctx, cartwheel.Context(shown))
	},
}

func counted(h handle, do func(*cartwheel.Counter) (int64, error)) (result, error) {
	value, err := do(h.counter())
	return result{"value": strconv.FormatInt(value, 10), "saturated": h.info.Saturated}, err
}

func listing(a *arguments) []cartwheel.ListOption {
	list := []cartwheel.ListOption{cartwheel.Prefix(a.text("prefix")), cartwheel.From(a.token("cursor"))}
	if from, until := a.text("from"), a.text("until"); from != "" || until != "" {
		list = append(list, cartwheel.Between(from, until))
	}
	if limit, given := a.take("limit"); given {
		list = append(list, cartwheel.PageSize(uint32(number(limit))))
	}
	a.end()
	return list
}

func memberOf(h handle, value any) cartwheel.Member {
	if name, ok := value.(string); ok {
		return cartwheel.Member{Name: name}
	}
	v := value.(map[string]any)
	m := cartwheel.Member{Name: textOf(v["member"]), ExpiresAt: timeOf(h, v)}
	if note, ok := v["note"]; ok {
		m.Note = []byte(textOf(note))
	}
	return m
}

// timeOf reads expires or expiresInMs of an object.
func timeOf(h handle, v map[string]any) time.Time {
	if at, ok := v["expires"]; ok {
		return time.UnixMilli(whole64(textOf(at)))
	}
	if left, ok := v["expiresInMs"]; ok {
		return h.db.ServerTime().Add(time.Duration(whole64(textOf(left))) * time.Millisecond)
	}
	return time.Time{}
}

func changeOf(h handle, c map[string]any) cartwheel.MapChange {
	field := textOf(c["field"])
	var change cartwheel.MapChange
	switch {
	case c["increment"] != nil:
		change = cartwheel.Increment(field, whole64(textOf(c["increment"])))
	case c["assign"] != nil:
		change = cartwheel.Assign(field, []byte(textOf(c["assign"])))
	case c["add"] != nil:
		change = cartwheel.AddMemberTo(field, memberOf(h, c["add"]))
	case c["removeMember"] != nil:
		change = cartwheel.RemoveFrom(field, textOf(c["removeMember"]))
	case c["flag"] == true:
		change = cartwheel.Enable(field)
	case c["flag"] == false:
		change = cartwheel.Disable(field)
	case c["remove"] != nil:
		change = cartwheel.RemoveField(cartwheel.FieldKind(textOf(c["remove"])), field)
	default:
		must(fmt.Errorf("map.update: no change in %v", c))
	}
	if at := timeOf(h, c); !at.IsZero() {
		change = change.Until(at)
	}
	return change
}

func membersShown(members []cartwheel.Member) []any {
	list := make([]any, len(members))
	for i, m := range members {
		list[i] = map[string]any{"member": m.Name, "note": string(m.Note), "expires": expiry(m.ExpiresAt)}
	}
	return list
}

func expiry(at time.Time) string {
	if at.IsZero() {
		return "0"
	}
	return strconv.FormatInt(at.UnixMilli(), 10)
}

func whole64(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	must(err)
	return n
}
