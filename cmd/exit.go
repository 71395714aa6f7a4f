package cmd

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"

	cartwheel "github.com/cartwheel-db/cartwheel/sdk"
)

// Exit codes; the help of the root explains them.
const (
	exitDone = iota
	exitFailed
	exitUsage
	exitAbsent
	exitUnavailable
	exitUnknown
	exitRefused
)

// usageError is a command line that cannot be carried out.
type usageError struct {
	command string // "cartwheel set add"; empty when the command says so itself
	err     error
}

func (e *usageError) Error() string {
	if e.command == "" {
		return e.err.Error()
	}
	text := e.err.Error()
	if name := commandName(e.command); name != "" {
		text = name + ": " + text
	}
	return text + " (see " + e.command + " --help)"
}

// commandName is the path of a command without that of the root: "set add".
func commandName(path string) string {
	return strings.TrimPrefix(strings.TrimPrefix(path, "cartwheel"), " ")
}

func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error {
	return &usageError{err: fmt.Errorf(format, args...)}
}

// absentError is an answer: there is nothing there. Its text, if any, is for
// people who would see nothing at all otherwise; JSON says it on stdout.
type absentError struct{ text string }

func (e *absentError) Error() string { return e.text }

func exitCode(err error) int {
	var usage *usageError
	var absent *absentError
	var unequal *unequalError
	var failed *cartwheel.Error
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &absent):
		return exitAbsent
	case errors.As(err, &unequal):
		return unequal.code
	case errors.Is(err, cartwheel.ErrUnknownOutcome):
		return exitUnknown
	case !errors.As(err, &failed):
		return exitFailed
	}
	switch failed.Reason {
	case cartwheel.QuorumNotReached, cartwheel.Unreachable, cartwheel.NotReady, cartwheel.Overloaded, cartwheel.DeadlinePast,
		cartwheel.TooStale, cartwheel.SessionUnmet:
		return exitUnavailable
	case cartwheel.Canceled, cartwheel.Damaged:
		return exitFailed
	default:
		return exitRefused
	}
}

// failure is how an error reads with --output json: one line on stderr.
type failure struct {
	Error          string `json:"error"`
	ExitCode       int    `json:"exit_code"`
	Operation      string `json:"operation,omitempty"`
	Bucket         string `json:"bucket,omitempty"`
	Key            string `json:"key,omitempty"`
	Reason         string `json:"reason,omitempty"`
	OutcomeUnknown bool   `json:"outcome_unknown"`
	OperationID    string `json:"operation_id,omitempty"`
	Needed         int    `json:"needed,omitempty"`
	Answered       int    `json:"answered,omitempty"`
	Limit          uint64 `json:"limit,omitempty"`
	Actual         uint64 `json:"actual,omitempty"`
	Attempts       int    `json:"attempts,omitempty"`
	Endpoint       string `json:"endpoint,omitempty"`

	Staleness *staleness `json:"staleness,omitempty"`
}

// report tells the error, if any, and returns the exit code.
func (s *session) report(errs io.Writer, err error) int {
	code := exitCode(err)
	if err == nil {
		return code
	}
	text := oneLine(strings.TrimPrefix(err.Error(), "cartwheel: "))
	var failed *cartwheel.Error
	known := errors.As(err, &failed)
	switch {
	case code == exitAbsent && (text == "" || s.output == "json"):
	case s.output != "json":
		if code == exitUnknown && known && failed.Reason != cartwheel.OperationExpired {
			text += "; to find out, repeat it with --operation " + failed.OperationID
		}
		if known && s.unopened {
			text += "; nothing was done" + s.advice(failed)
		}
		fmt.Fprintf(errs, "cartwheel: %s\n", text)
	default:
		f := failure{Error: text, ExitCode: code}
		if known {
			f.Operation, f.Bucket, f.Key = failed.Op, failed.Bucket, failed.Key
			f.Reason, f.OutcomeUnknown, f.OperationID = string(failed.Reason), failed.OutcomeUnknown, failed.OperationID
			f.Needed, f.Answered, f.Limit, f.Actual = failed.Needed, failed.Answered, failed.Limit, failed.Actual
			f.Attempts, f.Endpoint = failed.Attempts, failed.Endpoint
			if failed.Staleness != nil {
				best := asStaleness(*failed.Staleness)
				f.Staleness = &best
			}
		}
		if err := json.NewEncoder(errs).Encode(f); err != nil {
			fmt.Fprintf(errs, "cartwheel: %s\n", text)
		}
	}
	return code
}

// advice is for somebody whose command found no node to ask.
func (s *session) advice(failed *cartwheel.Error) string {
	switch {
	case failed.Reason == cartwheel.DeadlinePast:
		return fmt.Sprintf("; --timeout is %v", s.timeout)
	case failed.Reason == cartwheel.Refused:
		return fmt.Sprintf("; is %s a node? --endpoint names one", failed.Endpoint)
	case failed.Reason != cartwheel.Unreachable || failed.Err == nil:
		return ""
	}
	const noTLS, onlyTLS, badTLS = "HTTP response to HTTPS client", "unexpected EOF", "tls: "
	switch why := failed.Err.Error(); {
	case strings.Contains(why, noTLS):
		return fmt.Sprintf("; %s speaks no TLS: name it with http://", failed.Endpoint)
	case strings.Contains(why, onlyTLS) && strings.HasPrefix(failed.Endpoint, "http://"):
		return fmt.Sprintf("; if %s speaks TLS, name it with https://", failed.Endpoint)
	case strings.Contains(why, badTLS):
		return ""
	}
	return "; is a cluster running? cartwheel dev starts one here, --endpoint names one elsewhere"
}

// oneLine takes out what would break a line or play tricks on a terminal:
// errors may quote names, and proxies may say anything.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
}
