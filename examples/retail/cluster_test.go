package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	// The nodes are built from this by a command of which the test cache knows
	// nothing: the import makes a change of theirs a change of the test.
	_ "github.com/cartwheel-db/cartwheel/cmd"
)

var buildFlags []string

// builds holds the binary for all tests.
var builds struct {
	once   sync.Once
	dir    string
	binary string
	err    error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if builds.dir != "" {
		_ = os.RemoveAll(builds.dir)
	}
	os.Exit(code)
}

func binary(t *testing.T) string {
	t.Helper()
	builds.once.Do(func() {
		//nolint:usetesting // it outlives the test that happens to come first
		if builds.dir, builds.err = os.MkdirTemp("", "cartwheel-retail-"); builds.err != nil {
			return
		}
		builds.binary = filepath.Join(builds.dir, "cartwheel")
		build := exec.CommandContext(context.Background(), "go", append(append([]string{"build"}, buildFlags...), "-o", builds.binary, ".")...)
		build.Dir = filepath.Join("..", "..")
		if said, err := build.CombinedOutput(); err != nil {
			builds.err = fmt.Errorf("go build: %w\n%s", err, said)
		}
	})
	if builds.err != nil {
		t.Fatal(builds.err)
	}
	return builds.binary
}

// member is one node as a process of its own. It keeps its addresses and its
// directory through deaths.
type member struct {
	t       *testing.T
	name    string
	args    []string
	api     string
	log     *os.File
	process *exec.Cmd
	exited  chan struct{} // closed when the process is gone
	ending  error         // of the process, once it is gone
	killed  bool
}

// startCluster runs three nodes as processes and returns when each knows, and
// reaches, the other two.
func startCluster(t *testing.T) []*member {
	t.Helper()
	dir, at := t.TempDir(), freeAddresses(t, 9)
	file := filepath.Join(dir, "cluster.yaml")
	if said, err := exec.CommandContext(t.Context(), binary(t), "init", "--file", file).CombinedOutput(); err != nil {
		t.Fatalf("cartwheel init: %v\n%s", err, said)
	}
	var members []*member
	for i := range 3 {
		name := fmt.Sprintf("n%d", i+1)
		log, err := os.Create(filepath.Join(dir, name+".log"))
		if err != nil {
			t.Fatal(err)
		}
		m := &member{t: t, name: name, api: at[3*i], log: log}
		m.args = []string{"serve", "--cluster", file, "--data", filepath.Join(dir, name), "--api", at[3*i], "--peer", at[3*i+1], "--gossip", at[3*i+2]}
		members = append(members, m)
		t.Cleanup(m.end)
		if i == 0 {
			m.start()
		} else {
			m.start("--join", at[2])
		}
		// One joins after the other, as an operator would do it.
		limit, cancel := context.WithTimeout(t.Context(), time.Minute)
		err = await(limit, func() (bool, error) { return allReady(limit, endpointsOf(members)) })
		cancel()
		if err != nil {
			t.Fatalf("with %d nodes started: %v", i+1, err)
		}
	}
	return members
}

func endpointsOf(members []*member) []string {
	var endpoints []string
	for _, m := range members {
		endpoints = append(endpoints, m.api)
	}
	return endpoints
}

// start runs the node, again with the same data if it ran before.
func (m *member) start(more ...string) {
	process := exec.CommandContext(context.Background(), builds.binary, append(m.args, more...)...)
	process.Stdout, process.Stderr = m.log, m.log
	// Where there is a race detector, a race is the last thing a node says.
	process.Env = append(os.Environ(), "GORACE=halt_on_error=1")
	if err := process.Start(); err != nil {
		m.t.Errorf("%s: %v", m.name, err)
		return
	}
	exited := make(chan struct{})
	m.process, m.exited, m.killed = process, exited, false
	go func() {
		m.ending = process.Wait()
		close(exited)
	}()
}

// kill ends the node as a power cut would, and returns when it is gone.
func (m *member) kill() {
	if err := m.process.Process.Kill(); err != nil {
		m.t.Errorf("kill -9 %s: %v", m.name, err)
	}
	m.killed = true
	<-m.exited
}

// end tells the node to drain, holds it to that, and shows its log if anything
// went wrong.
func (m *member) end() {
	defer m.log.Close()
	if m.process == nil {
		return
	}
	const drain = 10 * time.Second
	_ = m.process.Process.Signal(syscall.SIGTERM)
	timer := time.NewTimer(drain)
	defer timer.Stop()
	select {
	case <-m.exited:
		if m.ending != nil && !m.killed {
			m.t.Errorf("%s did not end well: %v", m.name, m.ending)
		}
	case <-timer.C:
		m.t.Errorf("%s still ran %v after SIGTERM", m.name, drain)
		m.kill()
	}
	if m.t.Failed() {
		m.t.Logf("the end of what %s said:\n%s", m.name, m.lastWords())
	}
}

// lastWords is the end of the log, which may be long where a node is in trouble.
func (m *member) lastWords() []byte {
	const most = 16 << 10
	size, err := m.log.Seek(0, io.SeekEnd)
	if err != nil {
		return []byte(err.Error())
	}
	from := max(0, size-most)
	said := make([]byte, size-from)
	if _, err := m.log.ReadAt(said, from); err != nil {
		return []byte(err.Error())
	}
	return said
}

// freeAddresses finds loopback ports that are free for TCP and UDP. They lie below
// those that systems hand to outgoing connections: a node that is down must find
// its port again.
func freeAddresses(t *testing.T, n int) []string {
	t.Helper()
	var addresses []string
	var taken []interface{ Close() error }
	for try := 0; len(addresses) < n; try++ {
		if try > 1000 {
			t.Fatalf("found %d free ports of %d", len(addresses), n)
		}
		at := fmt.Sprintf("127.0.0.1:%d", 20000+rand.IntN(12000))
		var listen net.ListenConfig
		tcp, err := listen.Listen(t.Context(), "tcp", at)
		if err != nil {
			continue
		}
		taken = append(taken, tcp)
		udp, err := listen.ListenPacket(t.Context(), "udp", at)
		if err != nil {
			continue
		}
		taken = append(taken, udp)
		addresses = append(addresses, at)
	}
	for _, socket := range taken {
		socket.Close()
	}
	return addresses
}
