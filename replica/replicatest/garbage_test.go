package replicatest

import "runtime/debug"

// Worlds are small and short-lived: collecting their garbage half as often makes
// a quarter of the time.
func init() { debug.SetGCPercent(400) }
