package cmd

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	cartwheel "github.com/cartwheel-db/cartwheel/sdk"
	"github.com/cartwheel-db/cartwheel/server"
)

// screen is a terminal that can be watched while something is printed to it.
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

// freePorts returns a first API port such that a dev cluster of three finds all
// of its ports free.
func freePorts(t *testing.T) int {
	t.Helper()
	taken := func(port int) bool {
		at := fmt.Sprintf("127.0.0.1:%d", port)
		tcp, err := net.Listen("tcp", at)
		if err != nil {
			return true
		}
		defer tcp.Close()
		udp, err := net.ListenPacket("udp", at)
		if err != nil {
			return true
		}
		return udp.Close() != nil
	}
	for first := 20_000 + os.Getpid()%8_000; first < 32_000; first += 7 { // below what the system hands out
		free := true
		for i := range 3 {
			free = free && !taken(first+i) && !taken(first+devPeer-devAPI+i) && !taken(first+devGossip-devAPI+i)
		}
		if free {
			return first
		}
	}
	t.Fatal("no free ports")
	return 0
}

// runDev runs a dev cluster while use has it, and then presses Ctrl-C.
func runDev(t *testing.T, args []string, use func(endpoint string)) string {
	t.Helper()
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	var out, errs screen
	exit := make(chan int, 1)
	go func() { exit <- execute(ctx, append([]string{"dev"}, args...), strings.NewReader(""), &out, &errs) }()
	for until := time.Now().Add(30 * time.Second); !strings.Contains(out.String(), " nodes are up"); time.Sleep(5 * time.Millisecond) {
		select {
		case code := <-exit:
			t.Fatalf("exit %d: %s%s", code, out.String(), errs.String())
		default:
		}
		if time.Now().After(until) {
			t.Fatalf("not up in 30 s: %s%s", out.String(), errs.String())
		}
	}
	_, rest, _ := strings.Cut(out.String(), "api http://")
	endpoint, _, _ := strings.Cut(rest, " ")
	use(endpoint)
	interrupt()
	select {
	case code := <-exit:
		if code != 0 {
			t.Errorf("exit %d: %s", code, errs.String())
		}
	case <-time.After(5 * time.Second):
		t.Fatalf("still there 5 s after Ctrl-C: %s%s", out.String(), errs.String())
	}
	return out.String()
}

func TestADevClusterServesStopsWithinFiveSecondsAndComesBackWithItsData(t *testing.T) {
	port := freePorts(t)
	args := []string{"--data", filepath.Join(t.TempDir(), "data"), "--port", fmt.Sprint(port)}
	call := func(want string, args ...string) {
		t.Helper()
		var out, errs bytes.Buffer
		if code := execute(t.Context(), args, strings.NewReader(""), &out, &errs); code != 0 || out.String() != want {
			t.Errorf("%v: exit %d, %q (%s), want %q", args, code, out.String(), errs.String(), want)
		}
	}
	told := runDev(t, args, func(endpoint string) {
		for node := range 3 {
			var out, errs bytes.Buffer
			partitions := []string{"--endpoint", fmt.Sprintf("127.0.0.1:%d", port+node), "partitions"}
			if code := execute(t.Context(), partitions, strings.NewReader(""), &out, &errs); code != 0 || strings.Contains(out.String(), "joining") {
				t.Errorf("it says that it is up, and n%d has not caught up: exit %d, %s%s", node+1, code, out.String(), errs.String())
			}
		}
		call("ok, durable on 2 replicas\n", "--endpoint", endpoint, "set", "add", "carts/42", "milk", "eggs")
		call("3\n", "--endpoint", endpoint, "counter", "add", "likes/page-1", "3")
	})
	if n := strings.Count(told, "\n  cartwheel "); n+strings.Count(told, "\n  curl ") < 5 {
		t.Errorf("fewer than five commands to paste:\n%s", told)
	}
	runDev(t, args, func(endpoint string) {
		call("eggs\nmilk\n", "--endpoint", endpoint, "set", "members", "carts/42")
		call("5\n", "--endpoint", endpoint, "counter", "add", "likes/page-1", "2")
	})
}

func TestADevClusterComesBackWithoutANodeThatLeft(t *testing.T) {
	args := []string{"--data", filepath.Join(t.TempDir(), "data"), "--port", fmt.Sprint(freePorts(t))}
	call := func(want string, args ...string) {
		t.Helper()
		var out, errs bytes.Buffer
		if code := execute(t.Context(), args, strings.NewReader(""), &out, &errs); code != 0 || !strings.Contains(out.String(), want) {
			t.Errorf("%v: exit %d, %q (%s), want %q", args, code, out.String(), errs.String(), want)
		}
	}
	first := ""
	runDev(t, args, func(endpoint string) {
		call("ok", "--endpoint", endpoint, "set", "add", "carts/42", "milk")
		nodes, err := cartwheel.Open(t.Context(), []string{endpoint})
		if err != nil {
			t.Fatal(err)
		}
		defer nodes.Close()
		status, err := nodes.Cluster().Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		first = status.Node.ID
		call("its process may be stopped", "--endpoint", endpoint, "members", "leave", first, "--force", "--yes", "--wait")
	})
	told := runDev(t, args, func(string) {})
	if !strings.Contains(told, "n1  "+first+"  left this cluster and is not started") || !strings.Contains(told, "2 nodes are up") {
		t.Errorf("it says\n%s", told)
	}
}

func TestInitWritesAClusterFileOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cluster.yaml")
	run := func(args ...string) (code int, out, errs bytes.Buffer) {
		code = execute(t.Context(), append([]string{"init", "--file", path}, args...), strings.NewReader(""), &out, &errs)
		return code, out, errs
	}
	if code, _, errs := run("--partitions", "100"); code == 0 || !strings.Contains(errs.String(), "100") {
		t.Errorf("100 partitions: exit %d, %s", code, errs.String())
	}
	if code, out, errs := run("--partitions", "64", "--write", "3"); code != 0 || !strings.Contains(out.String(), "64 partitions") {
		t.Fatalf("exit %d, %s%s", code, out.String(), errs.String())
	}
	first, err := server.ReadCluster(path)
	if err != nil || first.Partitions != 64 || first.Write != 3 || first.Replicas != 3 {
		t.Fatalf("wrote %+v, %v", first, err)
	}
	if code, _, errs := run(); code == 0 || !strings.Contains(errs.String(), path) {
		t.Errorf("over a file that exists: exit %d, %s", code, errs.String())
	}
	if again, err := server.ReadCluster(path); err != nil || again.ID != first.ID || !bytes.Equal(again.Secret, first.Secret) {
		t.Errorf("the file has changed: %v, %v", again.ID, err)
	}
}
