package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	cartwheel "github.com/cartwheel-db/cartwheel/sdk"
)

// open connects to the cluster that the flags name.
func (s *session) open(ctx context.Context) (*cartwheel.DB, error) {
	db, err := s.openAt(ctx, s.addresses())
	s.unopened = err != nil
	return db, err
}

func (s *session) openAt(ctx context.Context, addresses []string) (*cartwheel.DB, error) {
	// An endpoint that hangs must leave time for the next one.
	attempt := min(2*time.Second, max(s.timeout/2, time.Millisecond))
	// Who names a node means it, and one call has nobody to travel with.
	db, err := cartwheel.Open(ctx, addresses, cartwheel.WithTimeout(s.timeout), cartwheel.WithAttemptTimeout(attempt),
		cartwheel.WithoutRouting(), cartwheel.WithAPI(cartwheel.Unary))
	var failed *cartwheel.Error
	switch {
	case errors.As(err, &failed):
		failed.Op = s.command
	case err != nil:
		return nil, &usageError{err: err}
	}
	return db, err
}

// addresses are the endpoints of the flag, else of the environment, else those
// of a dev cluster.
func (s *session) addresses() []string {
	list := s.endpoints
	if len(list) == 0 {
		list = strings.Split(os.Getenv(endpointsVariable), ",")
	}
	var named []string
	for _, address := range list {
		if address = strings.TrimSpace(address); address != "" {
			named = append(named, address)
		}
	}
	if len(named) == 0 {
		return defaultEndpoints
	}
	return named
}

// splitKey splits bucket/key at the first slash.
func splitKey(arg string) (bucket, key string, err error) {
	bucket, key, found := strings.Cut(arg, "/")
	if !found || bucket == "" || key == "" {
		return "", "", usagef("key %q: want bucket/key, such as carts/42", arg)
	}
	return bucket, key, nil
}

// target is what a command on a value works with.
type target struct {
	db          *cartwheel.DB
	bucket, key string
	info        cartwheel.Info // of the last reply, when the handle reports here
}

func (s *session) target(ctx context.Context, arg string) (*target, error) {
	bucket, key, err := splitKey(arg)
	if err != nil {
		return nil, err
	}
	db, err := s.open(ctx)
	if err != nil {
		var failed *cartwheel.Error
		if errors.As(err, &failed) {
			failed.Bucket, failed.Key = bucket, key
		}
		return nil, err
	}
	return &target{db: db, bucket: bucket, key: key}, nil
}

// mutation holds the flags of commands that change a value.
type mutation struct {
	w         uint32
	operation string
}

func (m *mutation) flags(c *cobra.Command) {
	c.Flags().Uint32Var(&m.w, "w", 0, "durable copies to wait for (default: the cluster's W)")
	c.Flags().StringVar(&m.operation, "operation", "", "operation id of an earlier attempt whose outcome is unknown")
}

func (m *mutation) options(t *target) []cartwheel.CallOption {
	options := []cartwheel.CallOption{cartwheel.Report(&t.info)}
	if m.w > 0 {
		options = append(options, cartwheel.W(m.w))
	}
	if m.operation != "" {
		options = append(options, cartwheel.Operation(m.operation))
	}
	return options
}

// reading holds the flags of commands that read a value.
type reading struct {
	r            uint32
	fast         bool
	maxStaleness time.Duration
}

func (r *reading) flags(c *cobra.Command) {
	c.Flags().Uint32Var(&r.r, "r", 0, "replicas to join (default: the cluster's R)")
	c.Flags().BoolVar(&r.fast, "fast", false, "ask one replica only: cheapest, and possibly behind")
	c.Flags().Var((*someTime)(&r.maxStaleness), "max-staleness", "answer from replicas at most this far behind, such as 5s, or fail (default: any)")
	c.MarkFlagsMutuallyExclusive("r", "fast")
}

func (r *reading) options(t *target) []cartwheel.CallOption {
	options := []cartwheel.CallOption{cartwheel.Report(&t.info)}
	if r.r > 0 {
		options = append(options, cartwheel.R(r.r))
	}
	if r.fast {
		options = append(options, cartwheel.Fast())
	}
	if r.maxStaleness != 0 {
		options = append(options, cartwheel.MaxStaleness(r.maxStaleness))
	}
	return options
}

// maxToken bounds a context that is read from a file, in bytes; tokens are far
// smaller, and the cluster checks them.
const maxToken = 1 << 20

// shown holds the flag that hands back a context.
type shown struct{ text string }

func (s *shown) flags(c *cobra.Command) {
	c.Flags().StringVar(&s.text, "context", "", "change exactly what this context showed; @FILE reads it from a file")
}

func (s *shown) context() (cartwheel.Context, error) {
	file, isFile := strings.CutPrefix(s.text, "@")
	if !isFile {
		return cartwheel.Context(s.text), nil
	}
	token, err := readFile(file, maxToken)
	return cartwheel.Context(strings.TrimSpace(string(token))), err
}

// keep holds the flag that stores the context of a reply in a file, for text
// output has no place for it.
type keep struct{ file string }

func (k *keep) flags(c *cobra.Command) {
	c.Flags().StringVar(&k.file, "save-context", "", "write the context of the reply to this file")
}

func (k *keep) save(shown cartwheel.Context) error {
	if k.file == "" {
		return nil
	}
	return os.WriteFile(k.file, []byte(shown+"\n"), 0o600)
}

// maxValue bounds what is read as a value, in bytes. The cluster takes less and
// says how much; this keeps an endless input from filling the memory.
const maxValue = 16 << 20

// input holds the flag of commands that take a value.
type input struct{ file string }

func (i *input) flags(c *cobra.Command) {
	c.Flags().StringVarP(&i.file, "file", "f", "", "read the value from this file; - is stdin")
}

// value is the argument, else the content of the file, else stdin.
func (i *input) value(c *cobra.Command, args []string) ([]byte, error) {
	switch {
	case len(args) > 0 && i.file != "":
		return nil, usagef("%s: a value and --file: want one of them", commandName(c.CommandPath()))
	case len(args) > 0:
		return []byte(args[0]), nil
	case i.file == "" || i.file == "-":
		return readAll("stdin", c.InOrStdin(), maxValue)
	default:
		return readFile(i.file, maxValue)
	}
}

func readFile(path string, limit int64) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, &usageError{err: err}
	}
	defer file.Close()
	return readAll(path, file, limit)
}

func readAll(name string, from io.Reader, limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(from, limit+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if int64(len(data)) > limit {
		return nil, usagef("%s: more than %d bytes", name, limit)
	}
	return data, nil
}
