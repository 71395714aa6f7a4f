//go:build unix

package cmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	cartwheel "github.com/cartwheel-db/cartwheel/sdk"
)

// asCommand makes the test binary the command line itself, for nodes that are
// processes of their own.
const asCommand = "CARTWHEEL_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		os.Exit(Main())
	}
	os.Exit(m.Run())
}

// process is a node that can be stopped as a split stops it for the others: it
// says nothing, closes nothing, and later goes on as if nothing had been.
type process struct {
	id  string
	run *exec.Cmd
	db  *cartwheel.DB // asks this node only
}

func startProcesses(t *testing.T) []process {
	t.Helper()
	file, first := filepath.Join(t.TempDir(), "cluster.yaml"), freePorts(t)
	command := func(args ...string) *exec.Cmd {
		c := exec.CommandContext(context.Background(), os.Args[0], args...)
		c.Env = append(os.Environ(), asCommand+"=1")
		return c
	}
	if said, err := command("init", "--file", file, "--partitions", "8").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	var all []process
	for i := range 3 {
		at := func(kind int) string { return fmt.Sprintf("127.0.0.1:%d", first+kind-devAPI+i) }
		args := []string{"serve", "--cluster", file, "--data", t.TempDir(), "--api", at(devAPI), "--peer", at(devPeer), "--gossip", at(devGossip)}
		if i > 0 {
			args = append(args, "--join", fmt.Sprintf("127.0.0.1:%d", first+devGossip-devAPI))
		}
		p, log := process{run: command(args...)}, &screen{}
		p.run.Stdout, p.run.Stderr = log, log
		if err := p.run.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = p.run.Process.Kill()
			_ = p.run.Wait()
			if t.Failed() {
				t.Logf("node %d:\n%s", i+1, log)
			}
		})
		var err error
		if p.db, err = cartwheel.Open(t.Context(), []string{at(devAPI)}, cartwheel.WithoutSessions(), cartwheel.WithoutRouting(), cartwheel.WithTimeout(3*time.Second)); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = p.db.Close() })
		eventually(t, "a node is ready, and reaches those before it", func() bool {
			status, err := p.db.Cluster().Status(t.Context())
			p.id = status.Node.ID
			return err == nil && status.Node.State == "ready" && len(status.Peers) == i && status.Staleness.Known()
		})
		all = append(all, p)
	}
	eventually(t, "all know of each other, and how far behind they are", func() bool {
		for _, p := range all {
			status, err := p.db.Cluster().Status(t.Context())
			if err != nil || len(status.Peers) != 2 || !status.Staleness.Known() || len(status.Staleness.Unreachable) > 0 {
				return false
			}
		}
		return true
	})
	return all
}

// stop returns when the process has stopped, not only been told to.
func (p process) stop(t *testing.T) {
	t.Helper()
	if err := p.run.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	var state syscall.WaitStatus
	for {
		_, err := syscall.Wait4(p.run.Process.Pid, &state, syscall.WUNTRACED, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil || !state.Stopped() {
			t.Fatalf("%v, %v", state, err)
		}
		return
	}
}

func (p process) goOn(t *testing.T) {
	t.Helper()
	if err := p.run.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
}

// tooStale tells whether a read was refused because of those who are away, and
// long before its time was up.
func tooStale(t *testing.T, err error, limit, took time.Duration, away ...string) bool {
	t.Helper()
	var failed *cartwheel.Error
	if !errors.As(err, &failed) || failed.Reason != cartwheel.TooStale {
		return false
	}
	slices.Sort(away)
	if failed.Staleness == nil || failed.Staleness.Bound <= limit || !slices.Equal(failed.Staleness.Unreachable, away) || failed.Limit != uint64(limit.Milliseconds()) {
		t.Errorf("refused with %v", err)
	}
	if took > 2*time.Second {
		t.Errorf("it took %v to refuse what could not be had", took)
	}
	return true
}

func TestUnderASplitReadsAreServedWithinTheirBoundAndThenRefusedOnBothSides(t *testing.T) {
	if testing.Short() {
		t.Skip("holds a split for more than five seconds")
	}
	const limit = 5 * time.Second
	all := startProcesses(t)
	near, other, far := all[0], all[1], all[2]
	var info cartwheel.Info
	cart := func(p process) *cartwheel.Set { return p.db.Set("carts", "42").With(cartwheel.Report(&info)) }
	if err := cart(near).With(cartwheel.W(3)).Add(t.Context(), "milk"); err != nil {
		t.Fatal(err)
	}

	// The side of two.
	far.stop(t)
	split := time.Now()
	if err := cart(near).Add(t.Context(), "eggs"); err != nil {
		t.Fatalf("the side of two writes: %v", err)
	}
	written := time.Now()
	served := 0
	eventually(t, "the side of two refuses what is behind by more than asked", func() bool {
		apart, began := time.Since(split), time.Now()
		size, err := cart(near).With(cartwheel.MaxStaleness(limit)).Size(t.Context())
		if tooStale(t, err, limit, time.Since(began), far.id) {
			return true
		}
		if err != nil {
			t.Fatalf("%v into the split: %v", apart, err)
		}
		if served++; size != 2 || info.Staleness.Bound < apart || info.Staleness.Bound > limit {
			t.Fatalf("%v into the split: size %d, %v", apart, size, info.Staleness)
		}
		return false
	})
	if apart := time.Since(split); served == 0 || apart < limit-2*time.Second {
		t.Errorf("served %d times, refused after %v", served, apart)
	}
	if size, err := cart(near).Size(t.Context()); err != nil || size != 2 || info.Staleness.Bound <= limit || info.Staleness.Reachable >= limit || !slices.Equal(info.Staleness.Unreachable, []string{far.id}) {
		t.Errorf("without a bound: %d, %v, %v", size, info.Staleness, err)
	}

	// The side of one.
	near.stop(t)
	other.stop(t)
	far.goOn(t)
	alone := cart(far).With(cartwheel.R(1))
	eventually(t, "the side of one refuses what is behind by more than asked", func() bool {
		began, unseen := time.Now(), time.Since(written)
		size, err := alone.With(cartwheel.MaxStaleness(limit)).Size(t.Context())
		if err == nil { // its bound may have been younger when the split began
			if info.Staleness.Bound < unseen || info.Staleness.Bound > limit {
				t.Fatalf("served %d, %v after a write it has not seen: %v", size, unseen, info.Staleness)
			}
			return false
		}
		return tooStale(t, err, limit, time.Since(began), near.id, other.id)
	})
	unseen := time.Since(written)
	// What was on its way to a stopped process may have reached its socket.
	if size, err := alone.Size(t.Context()); err != nil || size < 1 || size > 2 || size == 1 && info.Staleness.Bound < unseen {
		t.Errorf("without a bound, %v after a write of the other side: %d, %v, %v", unseen, size, info.Staleness, err)
	}
	if _, err := cart(far).Size(t.Context()); !errors.Is(err, cartwheel.QuorumNotReached) {
		t.Errorf("a read of two: %v", err)
	}
	if err := cart(far).Add(t.Context(), "nobody"); !errors.Is(err, cartwheel.QuorumNotReached) || errors.Is(err, cartwheel.ErrUnknownOutcome) {
		t.Errorf("a write of two: %v", err)
	}
	if err := cart(far).With(cartwheel.W(1)).Add(t.Context(), "bread"); err != nil {
		t.Errorf("a write of one: %v", err)
	}

	// The split heals.
	near.goOn(t)
	other.goOn(t)
	for _, p := range all {
		eventually(t, "every node has what both sides wrote, within the bound", func() bool {
			size, err := cart(p).With(cartwheel.R(1), cartwheel.MaxStaleness(limit)).Size(t.Context())
			return err == nil && size == 3 && info.Staleness.Bound <= limit && len(info.Staleness.Unreachable) == 0
		})
	}
	for _, m := range []string{"milk", "eggs", "bread"} {
		if found, err := cart(other).Contains(t.Context(), m); err != nil || !found {
			t.Errorf("%s: %t, %v", m, found, err)
		}
	}
}
