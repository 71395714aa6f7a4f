//go:build linux && (amd64 || arm64)

package store

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"testing"
	"unsafe"
)

// The system calls that change a file are seen before each is carried out, and a
// test decides what comes of it. The kernel does that: a seccomp filter on one
// thread sends what it calls to a listener (seccomp_unotify(2), Linux 5.5). So
// nothing is between the store and its file but the kernel, as ever.

// A call is a system call about to be made.
type call struct {
	nr           int32
	fd           int
	size, offset int64 // of writes; size of truncations
}

func (c call) writes() bool    { return c.nr == syscall.SYS_PWRITE64 }
func (c call) syncs() bool     { return c.nr == syscall.SYS_FDATASYNC || c.nr == syscall.SYS_FSYNC }
func (c call) truncates() bool { return c.nr == syscall.SYS_FTRUNCATE }
func (c call) links() bool     { return c.nr == syscall.SYS_LINKAT }

// file returns the path that the call is about.
func (c call) file() string {
	name, _ := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", c.fd))
	return name
}

// A verdict is what comes of a call.
type verdict struct {
	skip  bool          // it is not made and returns 0
	errno syscall.Errno // it is not made and fails
}

const (
	prSetNoNewPrivs   = 38
	seccompSetFilter  = 1
	seccompNewListen  = 1 << 3
	seccompContinue   = 1
	retAllow          = 0x7fff0000
	retNotify         = 0x7fc00000
	bpfLoadWord       = 0x20
	bpfJumpEqual      = 0x15
	bpfReturn         = 0x06
	ioctlReceive      = 3<<30 | 80<<16 | '!'<<8
	ioctlSend         = 3<<30 | 24<<16 | '!'<<8 | 1
	sysSeccompAMD64   = 317
	sysSeccompARM64   = 277
	notificationIsOld = syscall.ENOENT
)

type notification struct {
	id         uint64
	pid, flags uint32
	nr         int32
	arch       uint32
	ip         uint64
	args       [6]uint64
}

type response struct {
	id    uint64
	val   int64
	err   int32
	flags uint32
}

// install filters the calling thread. Threads made later from others stay free.
func install() (listener int, err error) {
	watched := []uint32{syscall.SYS_PWRITE64, syscall.SYS_FDATASYNC, syscall.SYS_FSYNC, syscall.SYS_FTRUNCATE, syscall.SYS_LINKAT}
	filter := []syscall.SockFilter{{Code: bpfLoadWord}}
	for i, nr := range watched {
		filter = append(filter, syscall.SockFilter{Code: bpfJumpEqual, Jt: uint8(len(watched) - i), K: nr})
	}
	filter = append(filter, syscall.SockFilter{Code: bpfReturn, K: retAllow}, syscall.SockFilter{Code: bpfReturn, K: retNotify})
	program := syscall.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if _, _, e := syscall.RawSyscall6(syscall.SYS_PRCTL, prSetNoNewPrivs, 1, 0, 0, 0, 0); e != 0 {
		return 0, fmt.Errorf("no new privileges: %w", e)
	}
	nr := uintptr(sysSeccompAMD64)
	if runtime.GOARCH == "arm64" {
		nr = sysSeccompARM64
	}
	fd, _, e := syscall.RawSyscall(nr, seccompSetFilter, seccompNewListen, uintptr(unsafe.Pointer(&program)))
	runtime.KeepAlive(filter)
	if e != 0 {
		return 0, fmt.Errorf("seccomp: %w", e)
	}
	return int(fd), nil
}

// watched runs work on a thread of its own, and decide before each call that work
// makes. It returns when work has. decide runs on another goroutine while work
// stands still; it may be asked twice about one call, when a signal came between.
func watched(t *testing.T, decide func(call) verdict, work func()) {
	t.Helper()
	ready, done := make(chan error), make(chan struct{})
	var listener int
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with its filter
		var err error
		listener, err = install()
		ready <- err
		if err == nil {
			defer close(done)
			work()
		}
	}()
	if err := <-ready; err != nil {
		t.Skipf("system calls cannot be watched here: %v", err)
	}
	ended, end, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		for awaitCall(listener, int(ended.Fd())) {
			var n notification
			if _, _, e := syscall.Syscall(syscall.SYS_IOCTL, uintptr(listener), ioctlReceive, uintptr(unsafe.Pointer(&n))); e != 0 {
				continue // a signal called it off
			}
			c := call{nr: n.nr, fd: int(n.args[0])}
			if c.size = int64(n.args[2]); c.truncates() {
				c.size = int64(n.args[1])
			}
			c.offset = int64(n.args[3])
			v := decide(c)
			r := response{id: n.id, flags: seccompContinue}
			if v.skip || v.errno != 0 {
				r.flags, r.err = 0, -int32(v.errno)
			}
			_, _, e := syscall.Syscall(syscall.SYS_IOCTL, uintptr(listener), ioctlSend, uintptr(unsafe.Pointer(&r)))
			if e != 0 && !errors.Is(e, notificationIsOld) {
				t.Errorf("answer a call: %v", e)
			}
		}
	}()
	<-done
	_ = end.Close()
	<-stopped
	_, _ = ended.Close(), syscall.Close(listener)
}

type pollFD struct {
	fd              int32
	events, revents int16
}

// awaitCall waits for a call, and returns false when there will be none.
func awaitCall(listener, ended int) bool {
	const in, hangUp = 1, 0x10
	for {
		fds := [2]pollFD{{fd: int32(listener), events: in}, {fd: int32(ended), events: in}}
		_, _, e := syscall.Syscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&fds[0])), uintptr(len(fds)), 0, 0, 0, 0)
		switch {
		case e == 0 && fds[0].revents&in != 0:
			return true
		case e == 0 && fds[1].revents&(in|hangUp) != 0:
			return false
		}
	}
}
