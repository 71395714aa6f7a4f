package cmd

import (
	"fmt"
	"io"
	"iter"

	"github.com/spf13/cobra"

	cartwheel "github.com/cartwheel-db/cartwheel/sdk"
)

// paged is what the answer of a listing says beside what it lists.
type paged struct {
	Next    string `json:"next,omitempty"`
	Context string `json:"context,omitempty"`
	Info    info   `json:"info"`
}

// gather goes through the pages of a listing, or only the first, and hands each to
// take, which returns its context and where the next begins. The context that is kept
// is that of one page: where there are several, there is none.
func gather[P any](s *session, c *cobra.Command, t *target, k *keep, onlyFirst bool, pages iter.Seq2[P, error], take func(P) (cartwheel.Context, string, error)) (p paged, err error) {
	several := false
	for page, err := range pages {
		if err != nil {
			return p, err
		}
		s.warn(c, t)
		shown, next, err := take(page)
		if err != nil {
			return p, err
		}
		if p.Info, p.Context = t.reply(), string(shown); several {
			p.Context = ""
		}
		several = true
		if onlyFirst {
			p.Next = next
			break
		}
	}
	return p, k.save(cartwheel.Context(p.Context))
}

// more tells who reads text that the listing goes on; the pages themselves are out.
func (p paged) more(c *cobra.Command) func(io.Writer) error {
	return func(io.Writer) error {
		if p.Next != "" {
			fmt.Fprintf(c.ErrOrStderr(), "cartwheel: note: there is more, from --cursor %s\n", p.Next)
		}
		return nil
	}
}
