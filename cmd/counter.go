package cmd

import (
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	cartwheel "github.com/cartwheel-db/cartwheel/sdk"
)

func newCounterCommand(s *session) *cobra.Command {
	c := &cobra.Command{
		Use:   "counter",
		Short: "Counters that are exact",
		Long:  "Counters of 64 bits with a sign. Concurrent increments all count, and one that is\nretried counts once. A counter nobody added to is 0.",
	}
	asGroup(c)
	c.AddCommand(newCounterAddCommand(s), newCounterGetCommand(s), newCounterResetCommand(s))
	return c
}

type counterValue struct {
	of
	Value     int64      `json:"value"`
	Saturated bool       `json:"saturated"`
	ExpiresAt *time.Time `json:"expires_at,omitempty"`
	Info      info       `json:"info"`
}

func newCounterAddCommand(s *session) *cobra.Command {
	var m mutation
	var l lasting
	c := &cobra.Command{
		Use:   "add KEY [N]",
		Short: "Add N, by default 1",
		Long: `Add N, by default 1, and print the value just after as the coordinator saw it. N may
be negative. What one coordinator added expires together, at the latest time given
with any of it (for ever is later than any), so give all increments of a counter
the same expiry.`,
		Example: `  cartwheel counter add likes/page-1
  cartwheel counter add likes/page-1 3
  cartwheel counter add likes/page-1 -3
  cartwheel counter add tries/ann --expires 10m`,
		Args: takes("KEY [N]", 1, 2),
	}
	m.flags(c)
	l.flags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		until, err := l.options("counter add")
		if err != nil {
			return err
		}
		delta := int64(1)
		if len(args) == 2 {
			if delta, err = strconv.ParseInt(args[1], 10, 64); err != nil {
				return usagef("counter add %s: N %q: want a whole number of 64 bits with a sign", args[0], args[1])
			}
		}
		return s.counter(c, args[0], m.options, func(counter *cartwheel.Counter) (v cartwheel.CounterValue, err error) {
			v.Value, err = counter.With(until...).Add(c.Context(), delta)
			return v, err
		})
	}
	return c
}

func newCounterGetCommand(s *session) *cobra.Command {
	var r reading
	c := &cobra.Command{
		Use:     "get KEY",
		Short:   "Read the value",
		Example: `  cartwheel counter get likes/page-1`,
		Args:    takes("KEY", 1, 1),
	}
	r.flags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		return s.counter(c, args[0], r.options, func(counter *cartwheel.Counter) (cartwheel.CounterValue, error) { return counter.Read(c.Context()) })
	}
	return c
}

func newCounterResetCommand(s *session) *cobra.Command {
	var m mutation
	c := &cobra.Command{
		Use:     "reset KEY",
		Short:   "Take away what a read shows",
		Long:    "Take away what a read now shows, and print that. Increments that run beside it\ncount on from 0.",
		Example: `  cartwheel counter reset likes/page-1`,
		Args:    takes("KEY", 1, 1),
	}
	m.flags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		return s.counter(c, args[0], m.options, func(counter *cartwheel.Counter) (v cartwheel.CounterValue, err error) {
			v.Value, err = counter.Reset(c.Context())
			return v, err
		})
	}
	return c
}

// counter carries out one operation and prints the number it gives.
func (s *session) counter(c *cobra.Command, key string, options func(*target) []cartwheel.CallOption, do func(*cartwheel.Counter) (cartwheel.CounterValue, error)) error {
	t, err := s.target(c.Context(), key)
	if err != nil {
		return err
	}
	defer t.db.Close()
	value, err := do(t.db.Counter(t.bucket, t.key).With(options(t)...))
	if err != nil {
		return err
	}
	s.warn(c, t)
	if t.info.Saturated && s.output == "text" {
		fmt.Fprintln(c.ErrOrStderr(), "cartwheel: note: the sum is past 64 bits; this is the nearest end")
	}
	return s.answer(c, counterValue{t.of(), value.Value, t.info.Saturated, asTime(value.ExpiresAt), t.reply()}, func(w io.Writer) error {
		_, err := fmt.Fprintln(w, value.Value)
		return err
	})
}
