package cmd

import (
	"fmt"
	"io"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	cartwheel "github.com/cartwheel-db/cartwheel/sdk"
)

func newRegisterCommand(s *session) *cobra.Command {
	c := &cobra.Command{
		Use:   "register",
		Short: "Values where the last writer wins",
		Long: `Values where the last writer wins. Of concurrent writes all but one are discarded
by definition; get --concurrent shows those that lost, while they last.`,
	}
	asGroup(c)
	c.AddCommand(newRegisterSetCommand(s), newRegisterGetCommand(s), newRegisterDeleteCommand(s))
	return c
}

// valueChange is the answer of commands that write or delete a value.
type valueChange struct {
	of
	Size    *int   `json:"size,omitempty"`
	Context string `json:"context,omitempty"`
	Info    info   `json:"info"`
}

func newRegisterSetCommand(s *session) *cobra.Command {
	var m mutation
	var l lasting
	var in input
	c := &cobra.Command{
		Use:   "set KEY [VALUE]",
		Short: "Write the value",
		Long:  "Write the value: the argument, the content of --file, or stdin.",
		Example: `  cartwheel register set config/color blue
  cartwheel register set config/page --file page.html
  date | cartwheel register set seen/alice
  cartwheel register set logins/8f3a mary --expires 30m`,
		Args: takes("KEY [VALUE]", 1, 2),
	}
	m.flags(c)
	in.flags(c)
	l.flags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		until, err := l.options("register set")
		if err != nil {
			return err
		}
		value, err := in.value(c, args[1:])
		if err != nil {
			return err
		}
		t, err := s.target(c.Context(), args[0])
		if err != nil {
			return err
		}
		defer t.db.Close()
		if err := t.db.Register(t.bucket, t.key).With(append(m.options(t), until...)...).Set(c.Context(), value); err != nil {
			return err
		}
		size := len(value)
		return s.done(c, t, valueChange{t.of(), &size, "", t.reply()})
	}
	return c
}

type registerValue struct {
	of
	Exists bool `json:"exists"`
	*data
	Stamp      string     `json:"stamp,omitempty"`
	ExpiresAt  *time.Time `json:"expires_at,omitempty"`
	Context    string     `json:"context"`
	Concurrent []loser    `json:"concurrent,omitempty"`
	Info       info       `json:"info"`
}

type loser struct {
	data
	Stamp string `json:"stamp"`
}

func newRegisterGetCommand(s *session) *cobra.Command {
	var r reading
	var k keep
	var concurrent bool
	c := &cobra.Command{
		Use:   "get KEY",
		Short: "Read the value",
		Long: `Read the value and print it with a newline at its end. With --concurrent, the value
and each concurrent one that lost to it, newest first, one per line. Where there
is no value the exit code is 3.`,
		Example: `  cartwheel register get config/color
  cartwheel register get config/color --concurrent
  cartwheel register get config/color -o json | jq -r .value | base64 -d`,
		Args: takes("KEY", 1, 1),
	}
	r.flags(c)
	k.flags(c)
	c.Flags().BoolVar(&concurrent, "concurrent", false, "show the concurrent values that lost, too")
	c.RunE = func(c *cobra.Command, args []string) error {
		t, err := s.target(c.Context(), args[0])
		if err != nil {
			return err
		}
		defer t.db.Close()
		register := t.db.Register(t.bucket, t.key).With(r.options(t)...)
		get := register.Get
		if concurrent {
			get = register.Concurrent
		}
		value, err := get(c.Context())
		if err != nil {
			return err
		}
		if err := k.save(value.Context); err != nil {
			return err
		}
		object := registerValue{of: t.of(), Exists: value.Exists, ExpiresAt: asTime(value.ExpiresAt), Context: string(value.Context), Info: t.reply()}
		if value.Exists {
			current := asData(value.Value)
			object.data, object.Stamp = &current, strconv.FormatUint(value.Stamp, 10)
		}
		for _, lost := range value.Concurrent {
			object.Concurrent = append(object.Concurrent, loser{asData(lost.Value), strconv.FormatUint(lost.Stamp, 10)})
		}
		s.warn(c, t)
		err = s.answer(c, object, func(w io.Writer) error { return object.text(w, concurrent) })
		if err == nil && !value.Exists {
			return &absentError{fmt.Sprintf("register.get %s: no value", args[0])}
		}
		return err
	}
	return c
}

func (o registerValue) text(w io.Writer, concurrent bool) error {
	if !o.Exists {
		return nil
	}
	if !concurrent {
		_, err := w.Write(wholeLine(o.Value))
		return err
	}
	if _, err := fmt.Fprintf(w, "value\t%s\n", shownLine(o.Value)); err != nil {
		return err
	}
	for _, lost := range o.Concurrent {
		if _, err := fmt.Fprintf(w, "lost\t%s\n", shownLine(lost.Value)); err != nil {
			return err
		}
	}
	return nil
}

// mostShown bounds what a line shows of a value, in bytes.
const mostShown = 200

// shownLine is a value on one line, cut if it is long.
func shownLine(value []byte) string {
	if len(value) <= mostShown {
		return line(string(value))
	}
	cut := value[:mostShown]
	for n := 1; n < utf8.UTFMax && !utf8.Valid(cut); n++ {
		cut = value[:mostShown-n]
	}
	return fmt.Sprintf("%s... (%d bytes)", line(string(cut)), len(value))
}

func newRegisterDeleteCommand(s *session) *cobra.Command {
	var m mutation
	var with shown
	c := &cobra.Command{
		Use:   "delete KEY",
		Short: "Remove the value",
		Long:  "Remove what a read now shows, or exactly what a context showed. A set that runs\nbeside it survives. Deleting an absent value succeeds.",
		Example: `  cartwheel register delete config/color
  cartwheel register delete config/color --context @seen`,
		Args: takes("KEY", 1, 1),
	}
	m.flags(c)
	with.flags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		return s.deleteShown(c, args, &with, func(t *target, shown cartwheel.Context) error {
			return t.db.Register(t.bucket, t.key).With(m.options(t)...).DeleteWith(c.Context(), shown)
		})
	}
	return c
}

// deleteShown deletes a value: what a read shows, or what a context showed.
func (s *session) deleteShown(c *cobra.Command, args []string, with *shown, remove func(*target, cartwheel.Context) error) error {
	token, err := with.context()
	if err != nil {
		return err
	}
	t, err := s.target(c.Context(), args[0])
	if err != nil {
		return err
	}
	defer t.db.Close()
	if err := remove(t, token); err != nil {
		return err
	}
	return s.done(c, t, valueChange{of: t.of(), Info: t.reply()})
}
