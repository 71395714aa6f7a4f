package cmd

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	cartwheel "github.com/cartwheel-db/cartwheel/sdk"
)

func newBlobCommand(s *session) *cobra.Command {
	c := &cobra.Command{
		Use:   "blob",
		Short: "Bytes that the store never merges",
		Long: `Bytes that the store never merges. Concurrent puts stay side by side, as siblings,
until somebody who was shown them puts one value in their place:

  cartwheel blob get docs/plan --save-context seen > plan.txt
  cartwheel blob put docs/plan --file plan.txt --context @seen`,
	}
	asGroup(c)
	c.AddCommand(newBlobGetCommand(s), newBlobPutCommand(s), newBlobDeleteCommand(s))
	return c
}

type blobValue struct {
	of
	Siblings []sibling `json:"siblings"`
	Context  string    `json:"context"`
	Info     info      `json:"info"`
}

type sibling struct {
	data
	ExpiresAt *time.Time `json:"expires_at,omitempty"`
}

func newBlobGetCommand(s *session) *cobra.Command {
	var r reading
	var k keep
	var only int
	c := &cobra.Command{
		Use:   "get KEY",
		Short: "Read the value, or all siblings",
		Long: `Read the value and print exactly its bytes. Where there are several siblings, print
a numbered line for each; --sibling N prints the bytes of one. Where there is no
value the exit code is 3.`,
		Example: `  cartwheel blob get docs/plan > plan.txt
  cartwheel blob get docs/plan --sibling 2
  cartwheel blob get docs/plan --save-context seen
  cartwheel blob get docs/plan -o json`,
		Args: takes("KEY", 1, 1),
	}
	r.flags(c)
	k.flags(c)
	c.Flags().IntVar(&only, "sibling", 0, "print the bytes of this sibling, from 1")
	c.RunE = func(c *cobra.Command, args []string) error {
		if c.Flags().Changed("sibling") && only < 1 {
			return usagef("blob get %s: --sibling %d: they count from 1", args[0], only)
		}
		t, err := s.target(c.Context(), args[0])
		if err != nil {
			return err
		}
		defer t.db.Close()
		value, err := t.db.Blob(t.bucket, t.key).With(r.options(t)...).Get(c.Context())
		if err != nil {
			return err
		}
		if err := k.save(value.Context); err != nil {
			return err
		}
		object := blobValue{of: t.of(), Siblings: []sibling{}, Context: string(value.Context), Info: t.reply()}
		for i, bytes := range value.Siblings {
			object.Siblings = append(object.Siblings, sibling{asData(bytes), asTime(value.ExpiresAt[i])})
		}
		s.warn(c, t)
		err = s.answer(c, object, func(w io.Writer) error { return object.text(w, only) })
		switch {
		case err != nil:
			return err
		case len(value.Siblings) == 0:
			return &absentError{fmt.Sprintf("blob.get %s: no value", args[0])}
		case only > len(value.Siblings):
			return &absentError{fmt.Sprintf("blob.get %s: no sibling %d, of %d", args[0], only, len(value.Siblings))}
		}
		return nil
	}
	return c
}

// text prints one value as it is: the given sibling, or the only one.
func (o blobValue) text(w io.Writer, only int) error {
	if only == 0 && len(o.Siblings) == 1 {
		only = 1
	}
	if only > 0 {
		if only > len(o.Siblings) {
			return nil
		}
		_, err := w.Write(o.Siblings[only-1].Value)
		return err
	}
	for i, value := range o.Siblings {
		if _, err := fmt.Fprintf(w, "%d\t%s\n", i+1, shownLine(value.Value)); err != nil {
			return err
		}
	}
	return nil
}

func newBlobPutCommand(s *session) *cobra.Command {
	var m mutation
	var l lasting
	var in input
	var with shown
	var k keep
	c := &cobra.Command{
		Use:   "put KEY [VALUE]",
		Short: "Write a value in place of what a context showed",
		Long: `Write a value: the argument, the content of --file, or stdin. It takes the place of
what --context showed, and stands beside all else; without one it replaces
nothing.`,
		Example: `  cartwheel blob put docs/plan "first draft"
  cartwheel blob put docs/plan --file plan.txt --context @seen
  cartwheel blob put docs/plan --save-context mine < plan.txt
  cartwheel blob put drafts/plan --file plan.txt --expires 24h`,
		Args: takes("KEY [VALUE]", 1, 2),
	}
	m.flags(c)
	in.flags(c)
	l.flags(c)
	with.flags(c)
	k.flags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		until, err := l.options("blob put")
		if err != nil {
			return err
		}
		value, err := in.value(c, args[1:])
		if err != nil {
			return err
		}
		token, err := with.context()
		if err != nil {
			return err
		}
		t, err := s.target(c.Context(), args[0])
		if err != nil {
			return err
		}
		defer t.db.Close()
		mine, err := t.db.Blob(t.bucket, t.key).With(append(m.options(t), until...)...).Put(c.Context(), value, token)
		if err != nil {
			return err
		}
		if err := k.save(mine); err != nil {
			return err
		}
		size := len(value)
		return s.done(c, t, valueChange{t.of(), &size, string(mine), t.reply()})
	}
	return c
}

func newBlobDeleteCommand(s *session) *cobra.Command {
	var m mutation
	var with shown
	c := &cobra.Command{
		Use:   "delete KEY",
		Short: "Remove the siblings",
		Long:  "Remove the siblings that a read now shows, or exactly those a context showed. A put\nthat runs beside it survives. Deleting an absent value succeeds.",
		Example: `  cartwheel blob delete docs/plan
  cartwheel blob delete docs/plan --context @seen`,
		Args: takes("KEY", 1, 1),
	}
	m.flags(c)
	with.flags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		return s.deleteShown(c, args, &with, func(t *target, shown cartwheel.Context) error {
			return t.db.Blob(t.bucket, t.key).With(m.options(t)...).DeleteWith(c.Context(), shown)
		})
	}
	return c
}
