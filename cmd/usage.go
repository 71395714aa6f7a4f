package cmd

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

var (
	exclusive = regexp.MustCompile(`^if any flags in the group \[.*\] are set none of the others can be; \[(.*)\] were all set$`)
	required  = regexp.MustCompile(`^required flag\(s\) (.*) not set$`)
)

// plain says what is wrong with a command line without the words of the parser's
// insides.
func plain(err error) error {
	var bad *pflag.InvalidValueError
	if errors.As(err, &bad) {
		return fmt.Errorf("--%s %s: %s", bad.GetFlag().Name, line(bad.GetValue()), wants(bad))
	}
	if m := exclusive.FindStringSubmatch(err.Error()); m != nil {
		return fmt.Errorf("--%s: want one of them", strings.ReplaceAll(m[1], " ", " and --"))
	}
	if m := required.FindStringSubmatch(err.Error()); m != nil {
		return fmt.Errorf("--%s is missing", strings.ReplaceAll(strings.ReplaceAll(m[1], `"`, ""), ", ", " and --"))
	}
	return err
}

// wants says what form the value of a flag has.
func wants(bad *pflag.InvalidValueError) string {
	switch kind := bad.GetFlag().Value.Type(); kind {
	case "uint32":
		return "want a whole number from 0 to 4294967295"
	case "int", "int64":
		return "want a whole number"
	case "uint", "uint64":
		return "want a whole number that is not negative"
	case "float64":
		return "want a number"
	case "duration":
		if _, err := time.ParseDuration(bad.GetValue()); err == nil {
			return "want more than 0"
		}
		return "want a duration such as 500ms, 30s or 2h"
	case "bool":
		return "want true or false"
	}
	if inner := bad.Unwrap(); inner != nil {
		return inner.Error()
	}
	return bad.Error()
}

// someTime is a flag for a duration that is not 0; it is where nothing is given.
type someTime time.Duration

func (d *someTime) Type() string { return "duration" }

func (d *someTime) String() string {
	if *d == 0 {
		return ""
	}
	return time.Duration(*d).String()
}

func (d *someTime) Set(text string) error {
	given, err := time.ParseDuration(text)
	if err == nil && given <= 0 {
		err = errors.New("not more than 0")
	}
	*d = someTime(given)
	return err
}
