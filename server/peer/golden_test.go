package peer

import (
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden holds named byte strings against testdata/file, one "name: hex" a line.
func golden(t *testing.T, file string, names []string, encoded map[string][]byte) {
	t.Helper()
	var b strings.Builder
	for _, name := range names {
		b.WriteString(name + ": " + hex.EncodeToString(encoded[name]) + "\n")
	}
	path := filepath.Join("testdata", file)
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("bytes differ from %s\ngot:\n%swant:\n%s", path, b.String(), want)
	}
}

// allocated returns the bytes f allocates, freed or not.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// eventually waits for a condition, generously: the deadline only ends a test that has failed anyway.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	poll := time.NewTicker(2 * time.Millisecond)
	defer poll.Stop()
	deadline := time.After(20 * time.Second)
	for !condition() {
		select {
		case <-poll.C:
		case <-deadline:
			t.Fatalf("waited 20 s in vain: %s", what)
		}
	}
}

// leakFree, called first in a test, waits at its very end until no goroutine of a Transport is left.
func leakFree(t *testing.T) {
	t.Cleanup(func() {
		left := func() string {
			buf := make([]byte, 4<<20)
			for _, g := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
				if strings.Contains(g, "server/peer.(*Transport)") || strings.Contains(g, "server/peer.(*link)") {
					return g
				}
			}
			return ""
		}
		eventually(t, "every goroutine of the transports to end", func() bool { return left() == "" })
	})
}
