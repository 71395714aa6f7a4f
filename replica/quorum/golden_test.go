package quorum_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/cartwheel-db/cartwheel/replica/quorum"
)

var update = flag.Bool("update", false, "redraw the pictures in testdata")

// Each file in testdata tells stories: prose after #, commands, a line of four
// dashes, the picture the commands draw, an empty line.
func TestStoriesDrawThePicturesInTestdata(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no stories: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			drawn, err := redraw(string(text))
			if err != nil {
				t.Fatal(err)
			}
			if *update {
				if err := os.WriteFile(file, []byte(drawn), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if drawn != string(text) {
				t.Errorf("the pictures changed (-update redraws them):\n%s", drawn)
			}
		})
	}
}

// redraw returns the text with every picture drawn anew.
func redraw(text string) (string, error) {
	var out strings.Builder
	var story *story
	inPicture := false
	for n, line := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		switch {
		case line == "----":
			if story == nil {
				return "", fmt.Errorf("line %d: a picture without commands", n+1)
			}
			inPicture = true
			fmt.Fprintf(&out, "----\n%s", story.picture.String())
			story = nil
		case line == "":
			inPicture = false
			out.WriteByte('\n')
		case inPicture: // the old picture
		default:
			fmt.Fprintln(&out, line)
			if strings.HasPrefix(line, "#") {
				continue
			}
			if story == nil {
				story = newStory()
			}
			if err := story.command(line); err != nil {
				return "", fmt.Errorf("line %d: %q: %w", n+1, line, err)
			}
		}
	}
	if story != nil {
		return "", fmt.Errorf("the last story has no picture")
	}
	return out.String(), nil
}

// count is what Write and Read have in common.
type count interface {
	Ask(string)
	Fail(string)
	Expire()
	State() quorum.State
	Short() int
	Needed() int
	String() string
}

type story struct {
	write   quorum.Write[string]
	read    quorum.Read[string]
	now     count
	done    func() int
	picture strings.Builder
}

func newStory() *story { return &story{} }

func (s *story) command(line string) error {
	words := strings.Fields(line)
	verb, ids := words[0], words[1:]
	each := func(do func(string)) {
		for _, id := range ids {
			do(id)
		}
	}
	switch {
	case verb == "write" || verb == "read":
		if len(ids) < 2 || ids[1] != "of" {
			return fmt.Errorf("want: %s NEEDED of NODES", verb)
		}
		needed, err := strconv.Atoi(ids[0])
		if err != nil {
			return err
		}
		if verb == "write" {
			s.write = quorum.NewWrite(needed, ids[2:])
			s.now, s.done = &s.write, s.write.Acked
		} else {
			s.read = quorum.NewRead(needed, ids[2:])
			s.now, s.done = &s.read, s.read.Ready
		}
	case s.now == nil:
		return fmt.Errorf("a story begins with write or read")
	case verb == "ask":
		each(s.now.Ask)
	case verb == "fail":
		each(s.now.Fail)
	case verb == "expire":
		s.now.Expire()
	case verb == "ack" && s.now == &s.write:
		each(s.write.Ack)
	case verb == "ready" && s.now == &s.read:
		each(func(id string) { s.read.Answer(id, true) })
	case verb == "behind" && s.now == &s.read:
		each(func(id string) { s.read.Answer(id, false) })
	default:
		return fmt.Errorf("no such command here")
	}
	s.draw(line)
	return nil
}

// draw adds one line: command, a bar of what is needed, verdict, the count.
func (s *story) draw(line string) {
	full := min(s.done(), s.now.Needed())
	bar := strings.Repeat("#", full) + strings.Repeat(".", s.now.Needed()-full)
	verdict := s.now.State().String()
	if short := s.now.Short(); short > 0 {
		verdict += fmt.Sprintf(", ask %d", short)
	}
	fmt.Fprintf(&s.picture, "%-20s [%s] %-20s %s\n", line, bar, verdict, s.now)
}
