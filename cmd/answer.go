package cmd

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"

	cartwheel "github.com/cartwheel-db/cartwheel/sdk"
)

// info is what every object about a value says of the reply.
type info struct {
	OperationID string `json:"operation_id,omitempty"`
	Replicas    int    `json:"replicas"`
	Degraded    bool   `json:"degraded"`
	Coordinator string `json:"coordinator"`
	Endpoint    string `json:"endpoint"`
	Attempts    int    `json:"attempts"`

	Staleness *staleness `json:"staleness,omitempty"`
}

// staleness is how far behind an answer may be; a bound that nobody knows is
// left out.
type staleness struct {
	BoundMS     *int64   `json:"bound_ms,omitempty"`
	ReachableMS *int64   `json:"reachable_bound_ms,omitempty"`
	Unreachable []string `json:"unreachable,omitempty"`
}

func asStaleness(s cartwheel.Staleness) staleness {
	return staleness{milliseconds(s.Bound), milliseconds(s.Reachable), s.Unreachable}
}

func milliseconds(d time.Duration) *int64 {
	if d == cartwheel.UnknownStaleness {
		return nil
	}
	ms := d.Milliseconds()
	return &ms
}

// ago is a duration, or what stands for one that nobody knows.
func ago(ms *int64) string {
	if ms == nil {
		return "unknown"
	}
	return (time.Duration(*ms) * time.Millisecond).String()
}

// of opens every object about a value.
type of struct {
	Bucket string `json:"bucket"`
	Key    string `json:"key"`
}

func (t *target) of() of { return of{Bucket: t.bucket, Key: t.key} }

func (t *target) reply() info {
	in := info{
		OperationID: t.info.OperationID, Replicas: t.info.Replicas, Degraded: t.info.Degraded,
		Coordinator: t.info.Coordinator, Endpoint: t.info.Endpoint, Attempts: t.info.Attempts,
	}
	if in.OperationID == "" {
		behind := asStaleness(t.info.Staleness)
		in.Staleness = &behind
	}
	return in
}

// data is bytes in JSON: base64, and text beside it where it is text.
type data struct {
	Value []byte  `json:"value"`
	UTF8  *string `json:"value_utf8,omitempty"`
}

func asData(value []byte) data {
	d := data{Value: value}
	if d.Value == nil {
		d.Value = []byte{}
	}
	if utf8.Valid(value) {
		text := string(value)
		d.UTF8 = &text
	}
	return d
}

// answer prints the object as one line of JSON, or else what text prints.
func (s *session) answer(c *cobra.Command, object any, text func(io.Writer) error) error {
	if s.output == "json" {
		e := json.NewEncoder(c.OutOrStdout())
		e.SetEscapeHTML(false)
		return e.Encode(object)
	}
	return text(c.OutOrStdout())
}

// warn notes on stderr what text output has no column for.
func (s *session) warn(c *cobra.Command, t *target) {
	if s.output != "text" {
		return
	}
	if t.info.Degraded {
		fmt.Fprintln(c.ErrOrStderr(), "cartwheel: note: the read is degraded and may miss acknowledged writes")
	}
	if s.verbose {
		fmt.Fprintf(c.ErrOrStderr(), "cartwheel: note: staleness: %v; %s joined by %s\n", t.info.Staleness, counted(t.info.Replicas, "replica"), t.info.Coordinator)
	}
}

// done answers a mutation that has nothing to show.
func (s *session) done(c *cobra.Command, t *target, object any) error {
	return s.answer(c, object, func(w io.Writer) error {
		if t.info.Replicas == 0 {
			_, err := fmt.Fprintln(w, "ok")
			return err
		}
		_, err := fmt.Fprintf(w, "ok, durable on %s\n", counted(t.info.Replicas, "replica"))
		return err
	})
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// line is text on one line: as it is, or quoted where it would break the line
// or play tricks on a terminal.
func line(text string) string {
	odd := func(r rune) bool { return !unicode.IsPrint(r) }
	if !utf8.ValidString(text) || strings.ContainsFunc(text, odd) || strings.HasPrefix(text, `"`) {
		return strconv.Quote(text)
	}
	return text
}

// wholeLine ends a value with a newline if it has none.
func wholeLine(value []byte) []byte {
	if len(value) > 0 && value[len(value)-1] == '\n' {
		return value
	}
	return append(value[:len(value):len(value)], '\n')
}
