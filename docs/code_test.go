package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// sources says where the code of a language that pages show is compiled and run.
var sources = map[string]struct {
	ending  string
	folders []string
}{
	"go": {".go", []string{"examples", "sdk"}},
	"ts": {".ts", []string{"sdk/ts/examples"}},
	"js": {".md", []string{"sdk/ts"}}, // whose own tests run its README
}

func TestCodeInThePagesIsSourceThatIsCompiledAndRun(t *testing.T) {
	compiled := map[string][][]string{}
	for language, at := range sources {
		for _, folder := range at.folders {
			compiled[language] = append(compiled[language], readSources(t, folder, at.ending)...)
		}
	}
	shown := 0
	for _, p := range pages(t) {
		for _, b := range p.blocks() {
			if _, code := sources[b.language]; !code {
				continue
			}
			shown++
			if !slices.ContainsFunc(compiled[b.language], func(file []string) bool { return containsRun(file, b.lines()) }) {
				t.Errorf("%s:%d: this %s is in no file under %v: it may not work", p.path, b.first+1, b.language, sources[b.language].folders)
			}
		}
	}
	if shown == 0 {
		t.Error("the pages show no code at all: the search is broken")
	}
}

// readSources returns the lines of every file below a folder that ends so.
func readSources(t *testing.T, folder, ending string) (files [][]string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(root, folder), func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == "node_modules" || entry.Name() == "dist" || entry.Name() == "gen"):
			return fs.SkipDir
		case entry.IsDir() || !strings.HasSuffix(path, ending):
			return nil
		}
		text, err := os.ReadFile(path)
		files = append(files, strings.Split(string(text), "\n"))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// containsRun tells whether the lines stand in the file one after the other, all
// of them indented as much more as the first.
func containsRun(file, lines []string) bool {
	for at := range len(file) - len(lines) + 1 {
		indent, ok := strings.CutSuffix(file[at], lines[0])
		if !ok || strings.TrimSpace(indent) != "" {
			continue
		}
		same := true
		for i, line := range lines {
			there := file[at+i]
			same = same && (there == indent+line || line == "" && there == "")
		}
		if same {
			return true
		}
	}
	return false
}

func TestARunOfLinesIsFoundWhateverItsIndent(t *testing.T) {
	file := []string{"func f() {", "\tif x {", "\t\ty()", "", "\t}", "}"}
	for _, test := range []struct {
		name  string
		lines []string
		want  bool
	}{
		{"as it stands", []string{"\tif x {", "\t\ty()"}, true},
		{"less indented, with an empty line", []string{"if x {", "\ty()", "", "}"}, true},
		{"indented unevenly", []string{"if x {", "y()"}, false},
		{"with a line left out", []string{"if x {", "", "}"}, false},
		{"half a line", []string{"x {"}, false},
		{"to the end and beyond", []string{"}", "more"}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := containsRun(file, test.lines); got != test.want {
				t.Errorf("found: %v, want %v", got, test.want)
			}
		})
	}
}
