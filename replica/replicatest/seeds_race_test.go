//go:build race

package replicatest

// defaultSeeds is fewer under the race detector: a simulation is one goroutine.
const defaultSeeds = 60
