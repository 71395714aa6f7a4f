//go:build race

package replica_test

const modelSeeds = 120
