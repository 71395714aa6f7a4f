package cmd

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/cartwheel-db/cartwheel/replica"
	"github.com/cartwheel-db/cartwheel/server"
)

var update = flag.Bool("update", false, "write the transcripts anew")

// A transcript is what a person sees at a terminal:
//
//	# prose that tells the story
//	$ cartwheel counter add likes/page-1 -3
//	-3
//
// What comes on stderr has "! " before it, an exit code other than 0 is a line
// "exit 3". "< text" at the end of a command is its stdin. Commands run in
// order, in an empty directory, in this process.
type transcript struct {
	prose   []string // lines before the command
	command string
	seen    string
}

func readTranscript(t *testing.T, file string) (list []transcript) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var prose []string
	for l := range strings.Lines(string(text)) {
		l = strings.TrimSuffix(l, "\n")
		command, isCommand := strings.CutPrefix(l, "$ cartwheel")
		switch {
		case isCommand:
			list = append(list, transcript{prose: prose, command: strings.TrimSpace(command)})
			prose = nil
		case strings.HasPrefix(l, "#") || l == "":
			prose = append(prose, l)
		case len(list) == 0:
			t.Fatalf("%s: %q before any command", file, l)
		default:
			list[len(list)-1].seen += l + "\n"
		}
	}
	if len(list) == 0 {
		t.Fatalf("%s: no commands", file)
	}
	return list
}

// words splits a command line at spaces outside double quotes.
func words(command string) (args []string, in string) {
	command, in, _ = strings.Cut(command, " < ")
	for _, quoted := range regexp.MustCompile(`"[^"]*"|[^ ]+`).FindAllString(command, -1) {
		args = append(args, strings.Trim(quoted, `"`))
	}
	return args, in
}

// volatile is what differs from run to run, and how the transcripts show it.
var volatile = []struct {
	pattern *regexp.Regexp
	shown   string
}{
	{regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`), "<uuid>"},
	{regexp.MustCompile(`[0-9a-f]{32}-[0-9]+-[0-9]{13}`), "<operation>"},
	{regexp.MustCompile(`127\.0\.0\.1:[1-9][0-9]*`), "<address>"},
	{regexp.MustCompile(`("context":|"next":|--cursor )"?[\w-]{20,}"?`), "$1<token>"},
	{regexp.MustCompile(`"(stamp|server_time|uptime_ms|version|commit|go|platform)":("[^"]*"|\d+)`), `"$1":<$1>`},
	{regexp.MustCompile(`("ring_hash":"|ring +(?:is )?)[0-9a-f]{16}`), "$1<hash>"},
	{regexp.MustCompile(`up \d+s, version \S+`), "up <time>, version <version>"},
	{regexp.MustCompile(`tried \d+ times`), "tried <n> times"},
	{regexp.MustCompile(`"attempts":([2-9]|\d\d+)`), `"attempts":<n>`},
	{regexp.MustCompile(`in partition \d+`), "in partition <n>"},
	{regexp.MustCompile(`"partition":\d+,"owners":\["<uuid>"\],"active"`), `"partition":<n>,"owners":["<uuid>"],"active"`},
	{regexp.MustCompile(`issued \d+ ms ago`), "issued <n> ms ago"},
	{regexp.MustCompile(` {2,}`), "  "}, // columns are as wide as what was replaced
	{regexp.MustCompile(` +\n`), "\n"},
	{regexp.MustCompile(`(?m)^\n`), "(blank)\n"},
}

// see runs a command and returns what there is to see of it.
func see(t *testing.T, command string) (shown string, raw string) {
	t.Helper()
	args, in := words(command)
	var out, errs bytes.Buffer
	code := execute(t.Context(), args, strings.NewReader(in), &out, &errs)
	raw = out.String()
	shown = raw
	if shown != "" && !strings.HasSuffix(shown, "\n") {
		shown += "(no newline)\n"
	}
	for l := range strings.Lines(errs.String()) {
		shown += "! " + l
	}
	if code != 0 {
		shown += fmt.Sprintf("exit %d\n", code)
	}
	for _, v := range volatile {
		shown = v.pattern.ReplaceAllString(shown, v.shown)
	}
	return shown, raw
}

// replay holds the commands of a file to what it says they show.
func replay(t *testing.T, name string) {
	t.Helper()
	file, err := filepath.Abs(filepath.Join("testdata", name+".transcript"))
	if err != nil {
		t.Fatal(err)
	}
	list := readTranscript(t, file)
	t.Chdir(t.TempDir())
	var anew strings.Builder
	for _, step := range list {
		shown, raw := see(t, step.command)
		// What lasts until its time is up is short here, and too short for a
		// machine that has other things to do.
		for _, longer := range []string{"00ms", "000ms"} {
			if shown != step.seen && !*update && strings.Contains(step.command, "0ms") {
				shown, raw = see(t, strings.Replace(step.command, "0ms", longer, 1))
			}
		}
		if shown != step.seen && !*update {
			t.Errorf("%s\n$ cartwheel %s\ngot:\n%swant:\n%s", strings.Join(step.prose, "\n"), step.command, shown, step.seen)
		}
		for _, field := range jsonFields(raw) {
			if !regexp.MustCompile(`\b` + field + `\b`).MatchString(jsonHelp) {
				t.Errorf("$ cartwheel %s\nshows the field %q, which the help on JSON leaves out", step.command, field)
			}
		}
		for _, l := range step.prose {
			anew.WriteString(l + "\n")
		}
		fmt.Fprintf(&anew, "$ cartwheel %s\n%s", step.command, shown)
	}
	if *update {
		if err := os.WriteFile(file, []byte(anew.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// jsonFields lists the names of fields in output, none if it is no JSON object.
func jsonFields(output string) (names []string) {
	var object map[string]any
	if json.Unmarshal([]byte(output), &object) != nil {
		return nil
	}
	var walk func(value any)
	walk = func(value any) {
		switch value := value.(type) {
		case map[string]any:
			for name, inner := range value {
				names = append(names, name)
				if ofFields, ok := inner.(map[string]any); ok && (name == "counters" || name == "registers" || name == "sets") {
					for _, inner := range ofFields { // by names of the user's
						walk(inner)
					}
					continue
				}
				walk(inner)
			}
		case []any:
			for _, inner := range value {
				walk(inner)
			}
		}
	}
	walk(object)
	return names
}

// startNode runs a cluster of one real node and makes it the one that commands
// talk to.
func startNode(t *testing.T) *server.Node {
	t.Helper()
	cluster, err := server.NewCluster()
	if err != nil {
		t.Fatal(err)
	}
	cluster.Partitions, cluster.Replicas, cluster.Read, cluster.Write = 8, 1, 1, 1
	node, err := server.Start(t.Context(), server.Config{
		Cluster: cluster, Data: t.TempDir(), API: "127.0.0.1:0", Peer: "127.0.0.1:0", Gossip: "127.0.0.1:0", NoSync: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = node.Close(t.Context()) })
	ready := func() bool {
		for _, h := range node.Health() {
			if h.State != replica.Ready {
				return false
			}
		}
		return node.Snapshot().State == server.Ready
	}
	for until := time.Now().Add(20 * time.Second); !ready(); time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("not ready in 20 s")
		}
	}
	t.Setenv(endpointsVariable, node.APIAddr())
	return node
}

func TestSessionsWithARealNode(t *testing.T) {
	startNode(t)
	for _, name := range []string{"cluster", "set", "counter", "register", "blob", "map", "refusals"} {
		t.Run(name, func(t *testing.T) { replay(t, name) })
	}
}

func TestSessionsThatNeedNoNode(t *testing.T) {
	t.Setenv(endpointsVariable, "127.0.0.1:0") // nobody listens there
	for _, name := range []string{"usage", "unreachable"} {
		t.Run(name, func(t *testing.T) { replay(t, name) })
	}
}
