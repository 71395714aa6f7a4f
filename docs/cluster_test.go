package docs

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	// The binary is built by a command of which the test cache knows nothing: the
	// import makes a change of the product a change of the test.
	_ "github.com/cartwheel-db/cartwheel/cmd"
)

// devCluster is `cartwheel dev`, for one page.
type devCluster struct {
	bin     string
	dir     string // where the page's commands run
	port    int    // of the first node's API; pages show defaultPort
	startup []string
}

// defaultPort is where `cartwheel dev` listens where nobody says otherwise, and
// spans those of its three nodes, for clients, peers and gossip.
const defaultPort = 7401

var spans = [...]int{0, 1, 2, 30, 31, 32, 60, 61, 62}

// screen is what a process printed so far.
type screen struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func startDev(t *testing.T, bin string) *devCluster {
	t.Helper()
	c := &devCluster{bin: bin, dir: t.TempDir(), port: freePort(t)}
	var out screen
	run := exec.CommandContext(context.Background(), filepath.Join(bin, "cartwheel"), "dev", "--port", fmt.Sprint(c.port))
	run.Dir, run.Stdout, run.Stderr = c.dir, &out, &out
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = run.Process.Signal(syscall.SIGINT)
		kill := time.AfterFunc(10*time.Second, func() { _ = run.Process.Kill() })
		defer kill.Stop()
		if err := run.Wait(); err != nil || t.Failed() {
			t.Logf("cartwheel dev: %v\n%s", err, out.String())
		}
	})
	const lastWords = "the data stays.\n"
	until := time.Now().Add(30 * time.Second)
	for ; !strings.HasSuffix(out.String(), lastWords) || !c.ready(t); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("not ready in 30 s:\n%s", out.String())
		}
	}
	c.startup = c.printed(out.String())
	return c
}

// ready tells whether every node has caught up in all of its partitions and knows
// how far behind it may be.
func (c *devCluster) ready(t *testing.T) bool {
	t.Helper()
	for i := range 3 {
		ask := exec.CommandContext(t.Context(), filepath.Join(c.bin, "cartwheel"), "partitions", "--endpoint", fmt.Sprintf("127.0.0.1:%d", c.port+i))
		said, err := ask.CombinedOutput()
		if err != nil || bytes.Contains(said, []byte("joining")) || bytes.Contains(said, []byte("unknown")) {
			return false
		}
	}
	return true
}

// moved puts the addresses of this cluster where pages show the usual ones.
func (c *devCluster) moved(text string, back bool) string {
	for _, at := range spans {
		from, to := fmt.Sprintf("127.0.0.1:%d", defaultPort+at), fmt.Sprintf("127.0.0.1:%d", c.port+at)
		if back {
			from, to = to, from
		}
		text = strings.ReplaceAll(text, from, to)
	}
	return text
}

// printed is output as lines, as if the cluster were where pages have it.
func (c *devCluster) printed(text string) []string {
	if text = strings.TrimRight(text, "\n"); text == "" {
		return nil
	}
	return strings.Split(c.moved(text, true), "\n")
}

// The shell has the root of the repository at hand for "go run" and the like, and
// is otherwise in a directory of its own, for files that commands leave.
const preamble = `
go()  { (cd "$CARTWHEEL_ROOT" && command go "$@"); }
exec 2>&1
`

// shell types all commands into one shell and returns what each printed.
func (c *devCluster) shell(t *testing.T, all []step) [][]string {
	t.Helper()
	const end = "\x1e\n"
	var script strings.Builder
	script.WriteString(preamble)
	for _, s := range all {
		fmt.Fprintf(&script, "%s\n_exit=$?; printf '\\036\\n'; (exit $_exit)\n", c.moved(strings.Join(s.command, "\n"), false))
	}
	at, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	limit, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	run := exec.CommandContext(limit, "bash", "-c", script.String())
	run.Dir = c.dir
	run.Env = append(os.Environ(), "PATH="+c.bin+":"+os.Getenv("PATH"), "CARTWHEEL_ROOT="+at,
		fmt.Sprintf("CARTWHEEL_ENDPOINTS=127.0.0.1:%d,127.0.0.1:%d,127.0.0.1:%d", c.port, c.port+1, c.port+2))
	said, err := run.CombinedOutput()
	outputs := strings.Split(string(said), end)
	if len(outputs) != len(all)+1 {
		t.Fatalf("%d of %d commands ended: %v\n%s", len(outputs)-1, len(all), err, said)
	}
	var printed [][]string
	for _, text := range outputs[:len(all)] {
		printed = append(printed, c.printed(text))
	}
	return printed
}

// freePort finds a first API port such that a cluster of three finds all of its
// ports free. It lies below those that systems hand to outgoing connections.
func freePort(t *testing.T) int {
	t.Helper()
	for first := 12_000 + os.Getpid()%7_000; first < 20_000; first += 7 {
		free := true
		for _, at := range spans {
			free = free && isFree(t, fmt.Sprintf("127.0.0.1:%d", first+at))
		}
		if free {
			return first
		}
	}
	t.Fatal("no free ports")
	return 0
}

func isFree(t *testing.T, at string) bool {
	t.Helper()
	var listen net.ListenConfig
	tcp, err := listen.Listen(t.Context(), "tcp", at)
	if err != nil {
		return false
	}
	defer tcp.Close()
	udp, err := listen.ListenPacket(t.Context(), "udp", at)
	if err != nil {
		return false
	}
	return udp.Close() == nil
}
