package cmd

import (
	"time"

	"github.com/spf13/cobra"

	cartwheel "github.com/cartwheel-db/cartwheel/sdk"
)

// lasting holds the flag of commands that write what may expire.
type lasting struct{ expires string }

func (l *lasting) flags(c *cobra.Command) {
	c.Flags().StringVar(&l.expires, "expires", "", "no longer shown after this long, or from this time on (default: never)")
}

// options reads a duration from now, or a time; nothing is neither.
func (l *lasting) options(command string) ([]cartwheel.CallOption, error) {
	if l.expires == "" {
		return nil, nil
	}
	if left, err := time.ParseDuration(l.expires); err == nil {
		if left <= 0 {
			return nil, usagef("%s: --expires %s: want more than 0", command, l.expires)
		}
		return []cartwheel.CallOption{cartwheel.ExpiresIn(left)}, nil
	}
	at, err := time.Parse(time.RFC3339, l.expires)
	if err != nil {
		return nil, usagef("%s: --expires %q: want a duration such as 30s, or a time such as 2027-01-15T08:00:00Z", command, l.expires)
	}
	return []cartwheel.CallOption{cartwheel.ExpiresAt(at)}, nil
}

// asTime is a time for an answer in JSON; nil for none.
func asTime(at time.Time) *time.Time {
	if at.IsZero() {
		return nil
	}
	at = at.UTC()
	return &at
}
