package docs

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write what the commands print now into the pages")

// A block in the language console is a terminal: lines that begin with "$ " are
// typed, those behind "> " go on with them, and the others are printed. A comment
// right above a block may say that it is
//
//	not run: and why
//	dev       what the cluster itself printed when it was started for the page
//
// What differs from run to run, such as ids and tokens, is compared by its form;
// see volatile. A line of three dots stands for any lines.

const (
	prompt = "$ "
	more   = "> "
	gap    = "..."
)

// step is a command and what it prints.
type step struct {
	command []string // its lines as typed
	output  []string
}

func steps(lines []string) (all []step) {
	for _, line := range lines {
		typed, command := strings.CutPrefix(line, prompt)
		goesOn, longer := strings.CutPrefix(line, more)
		switch {
		case command:
			all = append(all, step{command: []string{typed}})
		case len(all) == 0:
		case longer && len(all[len(all)-1].output) == 0:
			s := &all[len(all)-1]
			s.command = append(s.command, goesOn)
		default:
			s := &all[len(all)-1]
			s.output = append(s.output, line)
		}
	}
	return all
}

func TestSessionsInThePagesRunAsShown(t *testing.T) {
	bin := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", bin, ".")
	build.Dir = root
	if said, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, said)
	}
	typed := 0
	for _, p := range pages(t) {
		var sessions []block
		for _, b := range p.blocks() {
			switch why, excused := strings.CutPrefix(b.directive, "not run:"); {
			case b.language != "console":
			case !excused:
				sessions = append(sessions, b)
			case strings.TrimSpace(why) == "":
				t.Errorf("%s:%d: not run, and nobody says why", p.path, b.first+1)
			}
		}
		if len(sessions) == 0 {
			continue
		}
		t.Run(p.path, func(t *testing.T) { typed += play(t, startDev(t, bin), p, sessions) })
	}
	if typed == 0 {
		t.Error("no page shows a session: the search is broken")
	}
}

// play types all that a page shows into one shell, holds what is printed against
// what is shown, and returns how many commands there were.
func play(t *testing.T, c *devCluster, p *page, sessions []block) (typed int) {
	t.Helper()
	var all []step
	for _, b := range sessions {
		if b.directive != "dev" {
			all = append(all, steps(b.lines())...)
		}
	}
	printed := c.shell(t, all)
	now := make([][]string, len(sessions)) // what the blocks would be today
	for i, b := range sessions {
		mine := []step{{command: b.lines()[:1], output: b.lines()[1:]}}
		got := [][]string{c.startup}
		if b.directive != "dev" {
			mine = steps(b.lines())
			got, typed = printed[typed:typed+len(mine)], typed+len(mine)
		}
		for n, s := range mine {
			for line, command := range s.command {
				switch {
				case b.directive == "dev":
				case line == 0:
					command = prompt + command
				default:
					command = more + command
				}
				now[i] = append(now[i], command)
			}
			now[i] = append(now[i], shorter(got[n], s.output)...)
			if !*update && !same(s.output, got[n]) {
				t.Errorf("%s:%d: %s\nprints\n%s\nand not\n%s", p.path, b.first+1, strings.Join(s.command, "\n"),
					strings.Join(got[n], "\n"), strings.Join(s.output, "\n"))
			}
		}
	}
	if *update {
		p.replace(t, sessions, now) // all of it, so that a page shows one run
	}
	return typed
}

// shorter is what was printed, cut where the page cuts it.
func shorter(printed, shown []string) []string {
	if n := len(shown) - 1; n >= 0 && shown[n] == gap && same(shown, printed) {
		return append(slices.Clone(printed[:n]), gap)
	}
	return printed
}

// replace writes the page with other lines in some of its blocks.
func (p *page) replace(t *testing.T, blocks []block, lines [][]string) {
	t.Helper()
	out, from := []string(nil), 0
	for i, b := range blocks {
		out = append(append(out, p.lines[from:b.first+1]...), lines[i]...)
		from = b.last
	}
	out = append(out, p.lines[from:]...)
	if err := os.WriteFile(filepath.Join(root, p.path), []byte(strings.Join(out, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
}

// volatile is what differs from run to run, and what stands for it when compared.
var volatile = []struct {
	form *regexp.Regexp
	as   string
}{
	{regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`), "NODE"},
	{regexp.MustCompile(`[0-9a-f]{32}-[0-9]+-[0-9]+`), "OPERATION"},
	{regexp.MustCompile(`"(context|session|nextCursor|cursor|next)": ?"[A-Za-z0-9_-]+"`), `"$1":"TOKEN"`},
	{regexp.MustCompile(`--cursor [A-Za-z0-9_-]+`), "--cursor TOKEN"},
	{regexp.MustCompile(`"(stamp|boundMs|reachableBoundMs|expiresAtMs|bound_ms|reachable_bound_ms)": ?"?[0-9]+"?`), `"$1":NUMBER`},
	{regexp.MustCompile(`"(replicasAnswered|replicas|attempts)": ?[0-9]`), `"$1":NUMBER`},
	{regexp.MustCompile(`\b[0-9] replicas?\b`), "SOME replicas"}, // the third may be as quick as the second
	{regexp.MustCompile(`20[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-9:.]+Z`), "TIME"},
	{regexp.MustCompile(`\b[0-9.]+(ms|s) behind`), "SOME behind"},
	{regexp.MustCompile(`127\.0\.0\.1:74[0-9]{2}`), "ADDRESS"}, // nodes are listed in the order of their ids
	{regexp.MustCompile(`([,:{[]) +`), "$1"},                   // protojson puts spaces by dice, to keep people from comparing bytes
	{regexp.MustCompile(` {2,}`), "  "},                        // columns are as wide as what is in them
}

// form is a line with what is volatile replaced.
func form(line string) string {
	for _, v := range volatile {
		line = v.form.ReplaceAllString(line, v.as)
	}
	return strings.TrimRight(line, " ")
}

// same compares what a page shows with what was printed.
func same(shown, printed []string) bool {
	if len(shown) == 0 || len(printed) == 0 {
		return len(shown) == len(printed) || len(shown) == 1 && shown[0] == gap
	}
	if shown[0] == gap {
		for skip := range len(printed) + 1 {
			if same(shown[1:], printed[skip:]) {
				return true
			}
		}
		return false
	}
	return form(shown[0]) == form(printed[0]) && same(shown[1:], printed[1:])
}

func TestWhatIsVolatileIsComparedByItsForm(t *testing.T) {
	id := "ce4a1a36-ec38-451d-82fd-a936c5a774a7"
	for _, test := range []struct {
		name           string
		shown, printed []string
		want           bool
	}{
		{"equal", []string{"eggs"}, []string{"eggs"}, true},
		{"another word", []string{"eggs"}, []string{"milk"}, false},
		{"a line too few", []string{"eggs", "milk"}, []string{"eggs"}, false},
		{"a line too many", []string{"eggs"}, []string{"eggs", "milk"}, false},
		{"any lines", []string{"eggs", gap, "tea"}, []string{"eggs", "milk", "salt", "tea"}, true},
		{"no lines", []string{"eggs", gap}, []string{"eggs"}, true},
		{"any lines, and then another", []string{gap, "tea"}, []string{"milk"}, false},
		{"another node", []string{"by " + id}, []string{"by " + strings.ReplaceAll(id, "c", "d")}, true},
		{"another token and spaces", []string{`{"context":"AVq0", "size":"1"}`}, []string{`{"context": "BBB_-","size":"1"}`}, true},
		{"another size", []string{`{"context":"AVq0","size":"1"}`}, []string{`{"context":"AVq0","size":"2"}`}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := same(test.shown, test.printed); got != test.want {
				t.Errorf("same: %v, want %v", got, test.want)
			}
		})
	}
}
