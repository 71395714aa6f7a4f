package cmd

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	cartwheel "github.com/cartwheel-db/cartwheel/sdk"
)

const mapHelp = `Maps: fields that are counters, registers, sets or flags, under one key. A FIELD is
written KIND:NAME, such as counter:apples or set:tags; two kinds of one name are two
fields. What update changes is seen as a whole or not at all.

A removal takes away what was observed: by a read made for the purpose, or by the given
context. So removing a line of a cart while somebody adds one more leaves that one more.`

func newMapCommand(s *session) *cobra.Command {
	c := &cobra.Command{Use: "map", Short: "Fields under one key, changed together", Long: mapHelp}
	asGroup(c)
	c.AddCommand(newMapUpdateCommand(s), newMapIncrementCommand(s), newMapRemoveCommand(s),
		newMapGetCommand(s), newMapFieldsCommand(s), newMapDeleteCommand(s))
	return c
}

// mapChange is the answer of update, increment and remove.
type mapChange struct {
	of
	Context string `json:"context,omitempty"`
	Info    info   `json:"info"`
}

// steps gathers the changes of several flags in the order in which they are given.
type steps []cartwheel.MapChange

// step is one flag, which may be repeated, and the changes into which it goes.
type step[C any] struct {
	into *[]C
	form string // how its value is written
	make func(text string) (C, error)
}

func (f step[C]) String() string { return "" }
func (f step[C]) Type() string   { return f.form }
func (f step[C]) Set(text string) error {
	change, err := f.make(text)
	if err == nil {
		*f.into = append(*f.into, change)
	}
	return err
}

// pair is a flag of NAME=VALUE, split at the first "=".
func pair(form string, change func(name, value string) (cartwheel.MapChange, error)) (string, func(string) (cartwheel.MapChange, error)) {
	return form, func(text string) (cartwheel.MapChange, error) {
		name, value, found := strings.Cut(text, "=")
		if !found {
			return cartwheel.MapChange{}, fmt.Errorf("want %s", form)
		}
		return change(name, value)
	}
}

func always(change func(name, value string) cartwheel.MapChange) func(name, value string) (cartwheel.MapChange, error) {
	return func(name, value string) (cartwheel.MapChange, error) { return change(name, value), nil }
}

func named(change func(name string) cartwheel.MapChange) (string, func(string) (cartwheel.MapChange, error)) {
	return "NAME", func(name string) (cartwheel.MapChange, error) { return change(name), nil }
}

func (all *steps) flags(c *cobra.Command) {
	add := func(name, usage string) func(string, func(string) (cartwheel.MapChange, error)) {
		return func(form string, change func(string) (cartwheel.MapChange, error)) {
			c.Flags().Var(step[cartwheel.MapChange]{(*[]cartwheel.MapChange)(all), form, change}, name, usage)
		}
	}
	add("increment", "add to a counter; N may be negative")(pair("NAME=N", func(name, n string) (cartwheel.MapChange, error) {
		delta, err := wholeNumber(n)
		return cartwheel.Increment(name, delta), err
	}))
	add("assign", "write a register")(pair("NAME=VALUE", always(func(name, value string) cartwheel.MapChange { return cartwheel.Assign(name, []byte(value)) })))
	add("add", "add a member to a set")(pair("NAME=MEMBER", always(cartwheel.AddTo)))
	add("remove-member", "remove a member of a set")(pair("NAME=MEMBER", always(cartwheel.RemoveFrom)))
	add("enable", "turn a flag on")(named(cartwheel.Enable))
	add("disable", "turn a flag off")(named(cartwheel.Disable))
	add("remove", "remove a field")("KIND:NAME", func(text string) (cartwheel.MapChange, error) {
		field, err := parseField(text)
		return cartwheel.RemoveField(field.Kind, field.Name), err
	})
}

func wholeNumber(text string) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q: want a whole number of 64 bits with a sign", text)
	}
	return n, nil
}

// parseField reads KIND:NAME.
func parseField(text string) (cartwheel.Field, error) {
	kind, name, found := strings.Cut(text, ":")
	field := cartwheel.Field{Kind: cartwheel.FieldKind(kind), Name: name}
	switch field.Kind {
	case cartwheel.CounterField, cartwheel.RegisterField, cartwheel.SetField, cartwheel.FlagField:
		if found && name != "" {
			return field, nil
		}
	}
	return field, fmt.Errorf("field %q: want KIND:NAME, such as counter:apples; kinds are counter, register, set and flag", text)
}

func parseFields(command string, texts []string) ([]cartwheel.Field, error) {
	fields := make([]cartwheel.Field, len(texts))
	for i, text := range texts {
		var err error
		if fields[i], err = parseField(text); err != nil {
			return nil, usagef("%s: %v", command, err)
		}
	}
	return fields, nil
}

func newMapUpdateCommand(s *session) *cobra.Command {
	var m mutation
	var with shown
	var k keep
	var l lasting
	var all steps
	c := &cobra.Command{
		Use:   "update KEY",
		Short: "Change fields, all in one step",
		Long: `Change fields, all in one step. Each change is a flag, and may be given many times; those
of one field happen in the order given. A name ends at the first "=" behind it. An expiry
is that of all that is written. The context of the answer covers what was written, and
no counter that was increased.`,
		Example: `  cartwheel map update carts/42 --increment apples=2 --assign note=gift --enable express
  cartwheel map update carts/42 --add tags=fresh --remove-member tags=old
  cartwheel map update carts/42 --remove counter:pears --increment apples=-1
  cartwheel map update carts/42 --remove counter:pears --context @seen
  cartwheel map update sessions/ann --assign token=1f9a --enable seen --expires 30m`,
		Args: takes("KEY", 1, 1),
	}
	all.flags(c)
	m.flags(c)
	l.flags(c)
	with.flags(c)
	k.flags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(all) == 0 {
			return usagef("map update %s: no change given, see --help", args[0])
		}
		return s.changeMap(c, args[0], &m, &l, &with, &k, all)
	}
	return c
}

// changeMap carries out an update and answers it.
func (s *session) changeMap(c *cobra.Command, key string, m *mutation, l *lasting, with *shown, k *keep, changes []cartwheel.MapChange) error {
	token, err := with.context()
	if err != nil {
		return err
	}
	expiring, err := l.options(commandName(c.CommandPath()))
	if err != nil {
		return err
	}
	t, err := s.target(c.Context(), key)
	if err != nil {
		return err
	}
	defer t.db.Close()
	next, err := t.db.Map(t.bucket, t.key).With(append(m.options(t), expiring...)...).UpdateWith(c.Context(), token, changes...)
	if err != nil {
		return err
	}
	if err := k.save(next); err != nil {
		return err
	}
	return s.done(c, t, mapChange{t.of(), string(next), t.reply()})
}

func newMapIncrementCommand(s *session) *cobra.Command {
	var m mutation
	var l lasting
	c := &cobra.Command{
		Use:   "increment KEY NAME [N]",
		Short: "Add N to a counter, by default 1",
		Long:  "Add N, by default 1, to a counter of the map. NAME may be written counter:NAME, as\nelsewhere. N may be negative.",
		Example: `  cartwheel map increment carts/42 apples
  cartwheel map increment carts/42 apples 2
  cartwheel map increment carts/42 apples -1`,
		Args: takes("KEY NAME [N]", 2, 3),
	}
	m.flags(c)
	l.flags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		delta := int64(1)
		if len(args) == 3 {
			var err error
			if delta, err = wholeNumber(args[2]); err != nil {
				return usagef("map increment %s %s: N %v", args[0], args[1], err)
			}
		}
		name := args[1]
		if field, err := parseField(name); err == nil {
			if name = field.Name; field.Kind != cartwheel.CounterField {
				return usagef("map increment %s %s: only a counter is increased", args[0], args[1])
			}
		}
		return s.changeMap(c, args[0], &m, &l, &shown{}, &keep{}, []cartwheel.MapChange{cartwheel.Increment(name, delta)})
	}
	return c
}

func newMapRemoveCommand(s *session) *cobra.Command {
	var m mutation
	var with shown
	c := &cobra.Command{
		Use:   "remove KEY FIELD...",
		Short: "Remove fields",
		Long: `Remove what a read now shows of the fields, or exactly what a context showed.
Removing a field that is not there succeeds.`,
		Example: `  cartwheel map remove carts/42 counter:apples
  cartwheel map get carts/42 --save-context seen
  cartwheel map remove carts/42 counter:apples set:tags --context @seen`,
		Args: takes("KEY FIELD...", 2, -1),
	}
	m.flags(c)
	with.flags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		fields, err := parseFields("map remove", args[1:])
		if err != nil {
			return err
		}
		changes := make([]cartwheel.MapChange, len(fields))
		for i, f := range fields {
			changes[i] = cartwheel.RemoveField(f.Kind, f.Name)
		}
		return s.changeMap(c, args[0], &m, &lasting{}, &with, &keep{}, changes)
	}
	return c
}

func newMapDeleteCommand(s *session) *cobra.Command {
	var m mutation
	var with shown
	c := &cobra.Command{
		Use:   "delete KEY",
		Short: "Remove all fields",
		Long: `Remove every field that a read now shows, or exactly what a context showed. What is
changed meanwhile stays. Deleting an absent map succeeds.`,
		Example: `  cartwheel map delete carts/42
  cartwheel map delete carts/42 --context @seen`,
		Args: takes("KEY", 1, 1),
	}
	m.flags(c)
	with.flags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		return s.deleteShown(c, args, &with, func(t *target, shown cartwheel.Context) error {
			return t.db.Map(t.bucket, t.key).With(m.options(t)...).DeleteWith(c.Context(), shown)
		})
	}
	return c
}
