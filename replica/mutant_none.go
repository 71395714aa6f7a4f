//go:build !mutants

package replica

func mutated(mutant) bool { return false }
