package server

import (
	"time"

	"golang.org/x/sys/unix"
)

// uptime is a monotonic clock that goes on while the machine is suspended: the
// runtime's own stands still then, and a node that slept for an hour would report
// data as fresh that is an hour old. Only differences mean anything.
func uptime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		return time.Since(began)
	}
	return time.Duration(t.Nano())
}
