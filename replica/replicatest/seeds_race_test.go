//go:build race

package replicatest

// Fewer under the race detector: a simulation is one goroutine.
const (
	defaultSeeds = 60
	aloneSeeds   = 10
	frozenSeeds  = 20
)
