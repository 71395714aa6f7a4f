package docs

import (
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

func TestLinksLeadSomewhere(t *testing.T) {
	for _, p := range append(pages(t), readPage(t, "RELIABILITY.md"), readPage(t, "ARCHITECTURE.md")) {
		for i, line := range p.prose() {
			for _, found := range link.FindAllStringSubmatch(line, -1) {
				if err := follow(p, found[1]); err != nil {
					t.Errorf("%s:%d: %v", p.path, i+1, err)
				}
			}
		}
	}
}

// prose is the page with its blocks left empty.
func (p *page) prose() []string {
	lines := slices.Clone(p.lines)
	for _, b := range p.blocks() {
		for i := b.first; i <= b.last && i < len(lines); i++ {
			lines[i] = ""
		}
	}
	return lines
}

// follow looks for the file, and for the heading, that a link names.
func follow(from *page, target string) error {
	at, err := url.Parse(target)
	if err != nil || at.Scheme != "" {
		return err // elsewhere in the world
	}
	to := from.path
	if at.Path != "" {
		to = path.Join(path.Dir(from.path), at.Path)
	}
	text, err := os.ReadFile(filepath.Join(root, to))
	if at.Fragment == "" || err != nil {
		if _, err := os.Stat(filepath.Join(root, to)); err != nil {
			return fmt.Errorf("link to %s: there is no %s", target, to)
		}
		return nil
	}
	for line := range strings.Lines(string(text)) {
		if title, heading := strings.CutPrefix(strings.TrimLeft(line, "#"), " "); heading && strings.HasPrefix(line, "#") && anchor(title) == at.Fragment {
			return nil
		}
	}
	return fmt.Errorf("link to %s: %s has no such heading", target, to)
}

// anchor is how a heading is named in a link.
func anchor(title string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case unicode.IsLetter(r) || unicode.IsDigit(r) || r == '-' || r == '_':
			return unicode.ToLower(r)
		}
		return -1
	}, strings.TrimSpace(title))
}

var testName = regexp.MustCompile("`(Test[A-Z][A-Za-z0-9]+)`")

func TestTheTestsThatPagesNameAreThere(t *testing.T) {
	known := map[string]bool{}
	declared := regexp.MustCompile(`(?m)^func (Test[A-Z][A-Za-z0-9]+)\(`)
	err := filepath.WalkDir(root, func(file string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == "node_modules" || entry.Name() == ".git"):
			return fs.SkipDir
		case entry.IsDir() || !strings.HasSuffix(file, "_test.go"):
			return nil
		}
		text, err := os.ReadFile(file)
		for _, found := range declared.FindAllSubmatch(text, -1) {
			known[string(found[1])] = true
		}
		return err
	})
	if err != nil || !known["TestTheTestsThatPagesNameAreThere"] {
		t.Fatalf("found %d tests, %v", len(known), err)
	}
	for _, p := range append(pages(t), readPage(t, "RELIABILITY.md"), readPage(t, "ARCHITECTURE.md")) {
		for i, line := range p.lines {
			for _, found := range testName.FindAllStringSubmatch(line, -1) {
				if !known[found[1]] {
					t.Errorf("%s:%d: there is no %s", p.path, i+1, found[1])
				}
			}
		}
	}
}

var caseName = regexp.MustCompile(`case "([^"]+)"`)

func TestTheCasesThatPagesNameAreThere(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "sdk", "behaviour", "cases.json"))
	if err != nil {
		t.Fatal(err)
	}
	named := 0
	for _, p := range pages(t) {
		for _, found := range caseName.FindAllStringSubmatch(strings.Join(p.lines, " "), -1) {
			named++
			if !strings.Contains(string(text), fmt.Sprintf("{\"name\": %q", found[1])) {
				t.Errorf("%s: there is no case %q", p.path, found[1])
			}
		}
	}
	if named == 0 {
		t.Error("no page names a case: the search is broken")
	}
}
