//go:build !race

package replica_test

// modelSeeds take about ten seconds of one core.
const modelSeeds = 700
