package cmd

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/cartwheel-db/cartwheel/cmd/bench"
)

func TestNegativeNumbersAreNotFlags(t *testing.T) {
	for _, test := range []struct{ name, args, want string }{
		{"none are left alone", "counter add k 3 --w 2", "counter add k 3 --w 2"},
		{"one goes behind the flags", "counter add k -3 --w 2", "counter add k --w 2 -- -3"},
		{"one goes before what is already there", "set add k -3 -- --odd -4", "set add k -- -3 --odd -4"},
		{"that of a flag stays with it", "set members k --limit -1 -2", "set members k --limit -1 -- -2"},
		{"short flags stay flags", "set members k -o json", "set members k -o json"},
		{"a lone minus is not a number", "blob put k -f -", "blob put k -f -"},
		{"a fraction is none of ours", "counter add k -3.5", "counter add k -3.5"},
		{"everything behind the dashes stays", "set add k -- -1 -- -2", "set add k -- -1 -- -2"},
	} {
		t.Run(test.name, func(t *testing.T) {
			args := strings.Fields(test.args)
			kept := slices.Clone(args)
			if got := strings.Join(setNegativesApart(Root(), args), " "); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
			if !slices.Equal(args, kept) {
				t.Errorf("the arguments given became %q", args)
			}
		})
	}
}

func TestEndpointsComeFromTheFlagElseTheEnvironmentElseTheDevCluster(t *testing.T) {
	for _, test := range []struct {
		name, environment string
		flags             []string
		want              []string
	}{
		{"nothing said", "", nil, defaultEndpoints},
		{"the environment", "a:1, b:2,", nil, []string{"a:1", "b:2"}},
		{"the flag wins", "a:1", []string{"--endpoint", "c:3,d:4", "--endpoint", "e:5"}, []string{"c:3", "d:4", "e:5"}},
		{"an empty environment", " , ", nil, defaultEndpoints},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv(endpointsVariable, test.environment)
			root, s := newRoot()
			if err := root.ParseFlags(test.flags); err != nil {
				t.Fatal(err)
			}
			if got := s.addresses(); !slices.Equal(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestEveryCommandExplainsItself(t *testing.T) {
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Short == "" {
			t.Errorf("%s: no short help", c.CommandPath())
		}
		if len(c.Commands()) == 0 && c.Runnable() && !strings.Contains(c.Example, c.CommandPath()) {
			t.Errorf("%s: no example of it in its help", c.CommandPath())
		}
		for l := range strings.Lines(c.Long + "\n" + c.Short) {
			if len(l) > 90 {
				t.Errorf("%s: a line of help of %d bytes: %s", c.CommandPath(), len(l), l)
			}
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(Root())
}

// Each example is tried as far as it can be without a cluster: it must name a
// command and flags that exist.
func TestTheExamplesOfTheHelpAreCommandsThatExist(t *testing.T) {
	tried := 0
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		for l := range strings.Lines(c.Example) {
			_, command, found := strings.Cut(l, "cartwheel ")
			if !found {
				continue
			}
			command = strings.FieldsFunc(command, func(r rune) bool { return strings.ContainsRune("|<>;\n", r) })[0]
			args, _ := words(strings.TrimSpace(command))
			root := Root()
			sub, rest, err := root.Find(setNegativesApart(root, args))
			if err == nil {
				err = sub.ParseFlags(rest)
			}
			if err == nil && sub.Args != nil {
				err = sub.ValidateArgs(sub.Flags().Args())
			}
			if err != nil || sub == root {
				t.Errorf("help of %s: %q: %v", c.CommandPath(), strings.TrimSpace(l), err)
			}
			tried++
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(Root())
	if tried < 30 {
		t.Errorf("only %d examples were found", tried)
	}
}

func TestValuesComeFromFilesToo(t *testing.T) {
	startNode(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "value")
	if err := os.WriteFile(file, []byte{0, 0xff, '\n'}, 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(in string, args ...string) (int, string) {
		var out, errs bytes.Buffer
		code := execute(t.Context(), args, strings.NewReader(in), &out, &errs)
		if errs.Len() > 0 {
			t.Errorf("%q: %s", args, errs.String())
		}
		return code, out.String()
	}
	run("", "blob", "put", "docs/bytes", "--file", file)
	if _, got := run("", "blob", "get", "docs/bytes"); got != "\x00\xff\n" {
		t.Errorf("a file came back as %q", got)
	}
	run("typed", "register", "set", "docs/typed", "--file", "-")
	if _, got := run("", "register", "get", "docs/typed"); got != "typed\n" {
		t.Errorf("stdin came back as %q", got)
	}
	code, got := run("", "blob", "get", "docs/bytes", "-o", "json")
	var object blobValue
	if err := json.Unmarshal([]byte(got), &object); err != nil || code != 0 {
		t.Fatalf("exit %d, %v: %s", code, err, got)
	}
	if len(object.Siblings) != 1 || string(object.Siblings[0].Value) != "\x00\xff\n" || object.Siblings[0].UTF8 != nil {
		t.Errorf("bytes that are no text read %s", got)
	}
}

func TestValuesWithoutEndAreRefused(t *testing.T) {
	t.Setenv(endpointsVariable, "127.0.0.1:0")
	var out, errs bytes.Buffer
	code := execute(t.Context(), []string{"blob", "put", "docs/zero"}, zeros{}, &out, &errs)
	if want := "cartwheel: stdin: more than 16777216 bytes\n"; code != exitUsage || errs.String() != want {
		t.Errorf("exit %d, %q; want %d, %q", code, errs.String(), exitUsage, want)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestBenchReportsToStdoutAndToAFile(t *testing.T) {
	startNode(t)
	file := filepath.Join(t.TempDir(), "report.json")
	base := []string{"bench", "--workload", "counter", "--ops", "50", "--clients", "2", "--keys", "5", "--warmup", "0s"}
	var out, errs bytes.Buffer
	if code := execute(t.Context(), append(base, "--json", file), strings.NewReader(""), &out, &errs); code != 0 {
		t.Fatalf("exit %d: %s", code, errs.String())
	}
	if first, _, _ := strings.Cut(out.String(), "\n"); first != "cartwheel "+strings.Join(base, " ")+" --json "+file {
		t.Errorf("the text begins with %q", first)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	out.Reset()
	if code := execute(t.Context(), append(base, "--json", "-"), strings.NewReader(""), &out, &errs); code != 0 {
		t.Fatalf("exit %d: %s", code, errs.String())
	}
	for _, text := range [][]byte{text, out.Bytes()} {
		var report bench.Report
		if err := json.Unmarshal(text, &report); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		if report.Total.Ops != 50 || report.Total.Errors != 0 || len(report.Warnings) != 0 {
			t.Errorf("50 operations read: %s", text)
		}
	}
}
