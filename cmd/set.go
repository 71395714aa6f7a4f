package cmd

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	cartwheel "github.com/cartwheel-db/cartwheel/sdk"
)

func newSetCommand(s *session) *cobra.Command {
	c := &cobra.Command{
		Use:   "set",
		Short: "Sets of strings; adds win",
		Long: `Sets of strings. An add that runs beside a remove or a clear stays. A remove takes
away what was observed: by a read made for the purpose, or by the given context.`,
	}
	asGroup(c)
	c.AddCommand(newSetAddCommand(s), newSetRemoveCommand(s), newSetUpdateCommand(s), newSetContainsCommand(s),
		newSetSizeCommand(s), newSetMembersCommand(s), newSetClearCommand(s))
	return c
}

// setChange is the answer of add, remove, update and clear.
type setChange struct {
	of
	Members []string `json:"members,omitempty"`
	Context string   `json:"context,omitempty"`
	Info    info     `json:"info"`
}

func newSetAddCommand(s *session) *cobra.Command {
	var m mutation
	var k keep
	var l lasting
	var note string
	c := &cobra.Command{
		Use:   "add KEY MEMBER...",
		Short: "Put members in",
		Long: `Put members in, all in one step. Those already there get the note and the expiry given
now. An expiry is a duration from now, or a time such as 2027-01-15T08:00:00Z.`,
		Example: `  cartwheel set add carts/42 milk eggs
  cartwheel set add carts/42 milk --note "2 bottles"
  cartwheel set add online/users ann --expires 30s
  cartwheel set add carts/42 -- --odd-member`,
		Args: takes("KEY MEMBER...", 2, -1),
	}
	m.flags(c)
	k.flags(c)
	l.flags(c)
	c.Flags().StringVar(&note, "note", "", "note that travels with the members")
	c.RunE = func(c *cobra.Command, args []string) error {
		until, err := l.options("set add")
		if err != nil {
			return err
		}
		t, err := s.target(c.Context(), args[0])
		if err != nil {
			return err
		}
		defer t.db.Close()
		members := make([]cartwheel.Member, len(args)-1)
		for i, name := range args[1:] {
			members[i] = cartwheel.Member{Name: name, Note: []byte(note)}
		}
		shown, err := t.db.Set(t.bucket, t.key).With(append(m.options(t), until...)...).AddMembers(c.Context(), members...)
		if err != nil {
			return err
		}
		if err := k.save(shown); err != nil {
			return err
		}
		return s.done(c, t, setChange{t.of(), args[1:], string(shown), t.reply()})
	}
	return c
}

func newSetRemoveCommand(s *session) *cobra.Command {
	var m mutation
	var with shown
	c := &cobra.Command{
		Use:   "remove KEY MEMBER...",
		Short: "Take members out",
		Long: `Take out what a read now shows of the members, or exactly what a context showed.
Removing a member that is not there succeeds.`,
		Example: `  cartwheel set remove carts/42 eggs
  cartwheel set members carts/42 --limit 100 --save-context seen
  cartwheel set remove carts/42 eggs --context @seen`,
		Args: takes("KEY MEMBER...", 2, -1),
	}
	m.flags(c)
	with.flags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		return s.removeShown(c, args, &m, &with, func(set *cartwheel.Set, shown cartwheel.Context) error {
			return set.RemoveWith(c.Context(), shown, args[1:]...)
		})
	}
	return c
}

// setStep is one change of an update.
type setStep struct {
	member string
	remove bool
}

func newSetUpdateCommand(s *session) *cobra.Command {
	var m mutation
	var with shown
	var l lasting
	var all []setStep
	var note string
	c := &cobra.Command{
		Use:   "update KEY",
		Short: "Put members in and take others out, all in one step",
		Long: `Put members in and take others out, all in one step. Each change is a flag, and may be
given many times; they happen in the order given, and are seen as a whole or not at
all. What is removed is what a read now shows of it, or exactly what a context showed.
A note and an expiry are those of all that is added.`,
		Example: `  cartwheel set update carts/42 --remove milk --add "oat milk"
  cartwheel set update tasks/42 --remove open --add done --note "by Ann" --expires 24h
  cartwheel set update carts/42 --remove eggs --add flour --context @seen`,
		Args: takes("KEY", 1, 1),
	}
	c.Flags().Var(step[setStep]{&all, "MEMBER", func(name string) (setStep, error) { return setStep{member: name}, nil }}, "add", "put a member in")
	c.Flags().Var(step[setStep]{&all, "MEMBER", func(name string) (setStep, error) { return setStep{name, true}, nil }}, "remove", "take a member out")
	m.flags(c)
	l.flags(c)
	with.flags(c)
	c.Flags().StringVar(&note, "note", "", "note that travels with the members added")
	c.RunE = func(c *cobra.Command, args []string) error {
		changes, adds := make([]cartwheel.Change, len(all)), false
		for i, step := range all {
			if changes[i] = cartwheel.Removing(step.member); !step.remove {
				changes[i], adds = cartwheel.Adding(cartwheel.Member{Name: step.member, Note: []byte(note)}), true
			}
		}
		switch {
		case len(all) == 0:
			return usagef("set update %s: no change given, want --add or --remove", args[0])
		case (note != "" || l.expires != "") && !adds:
			return usagef("set update %s: --note or --expires, and nothing is added", args[0])
		}
		until, err := l.options("set update")
		if err != nil {
			return err
		}
		return s.removeShown(c, args, &m, &with, func(set *cartwheel.Set, shown cartwheel.Context) error {
			return set.With(until...).UpdateWith(c.Context(), shown, changes...)
		})
	}
	return c
}

func newSetClearCommand(s *session) *cobra.Command {
	var m mutation
	var with shown
	c := &cobra.Command{
		Use:   "clear KEY",
		Short: "Take all members out",
		Long:  "Take out every member that a read now shows, or exactly what a context showed.",
		Example: `  cartwheel set clear carts/42
  cartwheel set clear carts/42 --context @seen`,
		Args: takes("KEY", 1, 1),
	}
	m.flags(c)
	with.flags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		return s.removeShown(c, args, &m, &with, func(set *cartwheel.Set, shown cartwheel.Context) error {
			return set.ClearWith(c.Context(), shown)
		})
	}
	return c
}

// removeShown carries out what removes something observed, and answers it.
func (s *session) removeShown(c *cobra.Command, args []string, m *mutation, with *shown, remove func(*cartwheel.Set, cartwheel.Context) error) error {
	token, err := with.context()
	if err != nil {
		return err
	}
	t, err := s.target(c.Context(), args[0])
	if err != nil {
		return err
	}
	defer t.db.Close()
	if err := remove(t.db.Set(t.bucket, t.key).With(m.options(t)...), token); err != nil {
		return err
	}
	return s.done(c, t, setChange{t.of(), args[1:], "", t.reply()})
}

type setContains struct {
	of
	Contains []presence `json:"contains"`
	Context  string     `json:"context"`
	Info     info       `json:"info"`
}

type presence struct {
	Member  string `json:"member"`
	Present bool   `json:"present"`
}

func newSetContainsCommand(s *session) *cobra.Command {
	var r reading
	var k keep
	c := &cobra.Command{
		Use:   "contains KEY MEMBER...",
		Short: "Tell whether members are in",
		Long: `Tell whether members are in: true or false for one, a line with the name for each
of several. The exit code is 0 if all of them are, else 3.`,
		Example: `  cartwheel set contains carts/42 milk
  cartwheel set contains carts/42 milk eggs -o json
  if cartwheel set contains carts/42 milk >/dev/null; then echo yes; fi`,
		Args: takes("KEY MEMBER...", 2, -1),
	}
	r.flags(c)
	k.flags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		t, err := s.target(c.Context(), args[0])
		if err != nil {
			return err
		}
		defer t.db.Close()
		found, shown, err := t.db.Set(t.bucket, t.key).With(r.options(t)...).ContainsEach(c.Context(), args[1:]...)
		if err != nil {
			return err
		}
		if err := k.save(shown); err != nil {
			return err
		}
		object := setContains{of: t.of(), Context: string(shown), Info: t.reply()}
		missing := false
		for i, name := range args[1:] {
			object.Contains = append(object.Contains, presence{name, found[i]})
			missing = missing || !found[i]
		}
		s.warn(c, t)
		if err := s.answer(c, object, object.text); err != nil || !missing {
			return err
		}
		return &absentError{}
	}
	return c
}

func (o setContains) text(w io.Writer) error {
	if len(o.Contains) == 1 {
		_, err := fmt.Fprintln(w, o.Contains[0].Present)
		return err
	}
	for _, p := range o.Contains {
		if _, err := fmt.Fprintf(w, "%t\t%s\n", p.Present, line(p.Member)); err != nil {
			return err
		}
	}
	return nil
}

type setSize struct {
	of
	Size uint64 `json:"size"`
	Info info   `json:"info"`
}

func newSetSizeCommand(s *session) *cobra.Command {
	var r reading
	c := &cobra.Command{
		Use:   "size KEY",
		Short: "Count the members",
		Long: `Count the members. Replicas that hold the same tell the number without reading; while
they differ all members are read.`,
		Example: `  cartwheel set size carts/42`,
		Args:    takes("KEY", 1, 1),
	}
	r.flags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		t, err := s.target(c.Context(), args[0])
		if err != nil {
			return err
		}
		defer t.db.Close()
		size, err := t.db.Set(t.bucket, t.key).With(r.options(t)...).Size(c.Context())
		if err != nil {
			return err
		}
		s.warn(c, t)
		return s.answer(c, setSize{t.of(), size, t.reply()}, func(w io.Writer) error {
			_, err := fmt.Fprintln(w, size)
			return err
		})
	}
	return c
}

type setMembers struct {
	of
	Members []member `json:"members"`
	paged
}

type member struct {
	Member    string     `json:"member"`
	Note      []byte     `json:"note,omitempty"`
	NoteUTF8  *string    `json:"note_utf8,omitempty"`
	ExpiresAt *time.Time `json:"expires_at,omitempty"`
}

func newSetMembersCommand(s *session) *cobra.Command {
	var r reading
	var k keep
	var prefix, from, until, cursor string
	var limit uint32
	c := &cobra.Command{
		Use:   "members KEY",
		Short: "List the members",
		Long: `List the members in byte order, one per line; a name that would break the line is
quoted. With --limit, one page of at most that many, and where the next begins;
--cursor goes with the prefix and range of the page before. A context is given for
what one page shows.`,
		Example: `  cartwheel set members carts/42
  cartwheel set members carts/42 --prefix m
  cartwheel set members carts/42 --from m --until n
  cartwheel set members carts/42 --limit 100
  cartwheel set members carts/42 --limit 100 --cursor CURSOR`,
		Args: takes("KEY", 1, 1),
	}
	r.flags(c)
	k.flags(c)
	c.Flags().StringVar(&prefix, "prefix", "", "only members that begin with this")
	c.Flags().StringVar(&from, "from", "", "only this member and those behind it")
	c.Flags().StringVar(&until, "until", "", "only members before this one")
	c.Flags().StringVar(&cursor, "cursor", "", "begin where an earlier page ended")
	c.Flags().Uint32Var(&limit, "limit", 0, "one page of at most this many, from 1 (default: all pages)")
	c.RunE = func(c *cobra.Command, args []string) error {
		t, err := s.target(c.Context(), args[0])
		if err != nil {
			return err
		}
		defer t.db.Close()
		object := setMembers{of: t.of(), Members: []member{}}
		list := []cartwheel.ListOption{cartwheel.Prefix(prefix), cartwheel.Between(from, until), cartwheel.From(cursor), cartwheel.PageSize(limit)}
		pages := t.db.Set(t.bucket, t.key).With(r.options(t)...).Pages(c.Context(), list...)
		object.paged, err = gather(s, c, t, &k, limit > 0, pages, func(page cartwheel.Page) (cartwheel.Context, string, error) {
			return page.Context, page.Next, object.add(c, s, page.Members)
		})
		if err != nil {
			return err
		}
		return s.answer(c, object, object.more(c))
	}
	return c
}

// add takes in one page: for JSON it waits for the rest, text goes out at once.
func (o *setMembers) add(c *cobra.Command, s *session, page []cartwheel.Member) error {
	for _, m := range page {
		if s.output == "text" {
			if _, err := fmt.Fprintln(c.OutOrStdout(), line(m.Name)); err != nil {
				return err
			}
			continue
		}
		shown := member{Member: m.Name, ExpiresAt: asTime(m.ExpiresAt)}
		if len(m.Note) > 0 {
			note := asData(m.Note)
			shown.Note, shown.NoteUTF8 = note.Value, note.UTF8
		}
		o.Members = append(o.Members, shown)
	}
	return nil
}
