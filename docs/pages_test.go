package docs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// root is where the repository begins, seen from this package.
const root = ".."

// page is one file of Markdown.
type page struct {
	path  string // from the root
	lines []string
}

// block is a fenced block of a page.
type block struct {
	page      *page
	first     int    // line of the opening fence, from 0
	last      int    // of the closing fence
	language  string // console, sh, go, ts, or none
	directive string // the text of a comment right above it
}

func (b block) lines() []string { return b.page.lines[b.first+1 : b.last] }

func readPage(t *testing.T, path string) *page {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return &page{path: path, lines: strings.Split(string(text), "\n")}
}

// pages are all that users read and this package answers for.
func pages(t *testing.T) []*page {
	t.Helper()
	paths, err := filepath.Glob("*.md")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no pages: %v", err)
	}
	all := []*page{readPage(t, "README.md")}
	for _, path := range paths {
		all = append(all, readPage(t, "docs/"+path))
	}
	return all
}

// blocks finds the fenced blocks of a page, in order.
func (p *page) blocks() []block {
	var all []block
	open := -1
	for i, line := range p.lines {
		switch fence, language, _ := strings.Cut(strings.TrimSpace(line), "```"); {
		case fence != "" || !strings.Contains(line, "```"):
		case open < 0:
			open = i
			all = append(all, block{page: p, first: i, language: language, directive: directive(p.lines[:i])})
		default:
			all[len(all)-1].last = i
			open = -1
		}
	}
	if open >= 0 {
		all[len(all)-1].last = len(p.lines) // a fence that nobody closed shows to the end
	}
	return all
}

// directive is what a comment right above a block says, for the tests and not for
// readers.
func directive(above []string) string {
	if len(above) == 0 {
		return ""
	}
	text, opened := strings.CutPrefix(strings.TrimSpace(above[len(above)-1]), "<!--")
	text, closed := strings.CutSuffix(text, "-->")
	if !opened || !closed {
		return ""
	}
	return strings.TrimSpace(text)
}

func TestBlocksOfAPageAreFoundWithWhatStandsAboveThem(t *testing.T) {
	p := &page{lines: strings.Split("text\n<!-- not run: why -->\n```console\n$ a\nb\n```\n```go\nx\n```\n", "\n")}
	all := p.blocks()
	if len(all) != 2 {
		t.Fatalf("found %d blocks", len(all))
	}
	if b := all[0]; b.language != "console" || b.directive != "not run: why" || strings.Join(b.lines(), "|") != "$ a|b" {
		t.Errorf("the first is %q %q %q", b.language, b.directive, b.lines())
	}
	if b := all[1]; b.language != "go" || b.directive != "" || strings.Join(b.lines(), "|") != "x" {
		t.Errorf("the second is %q %q %q", b.language, b.directive, b.lines())
	}
}
