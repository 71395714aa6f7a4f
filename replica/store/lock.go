package store

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

const (
	lockWait  = time.Second
	lockRetry = 20 * time.Millisecond
)

// lock takes the exclusive lock that bbolt will ask for again on the same
// descriptor: a file is only looked at while nobody else can change it.
func lock(f *os.File) error {
	for deadline := time.Now().Add(lockWait); ; time.Sleep(lockRetry) {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR):
			return fmt.Errorf("lock %s: %w", f.Name(), err)
		case time.Now().After(deadline):
			return fmt.Errorf("store %s is in use by another process (waited %v): %w", f.Name(), lockWait, ErrBusy)
		}
	}
}

// unlock does nothing to a file that is closed already.
func unlock(f *os.File) {
	if c, err := f.SyscallConn(); err == nil {
		_ = c.Control(func(fd uintptr) { _ = syscall.Flock(int(fd), syscall.LOCK_UN) })
	}
}
