//go:build !race

package replicatest

// defaultSeeds is what a plain go test runs; make simulation runs more.
const (
	defaultSeeds = 300
	aloneSeeds   = 60
	frozenSeeds  = 100
)
