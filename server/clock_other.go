//go:build !linux

package server

import "time"

// uptime is the runtime's monotonic clock. Elsewhere than on Linux it may stand
// still while the machine is suspended, and staleness bounds with it.
func uptime() time.Duration { return time.Since(began) }
