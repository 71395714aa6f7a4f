//go:build mutants

package replica

var planted mutant

func mutated(m mutant) bool { return m == planted }

// Mutants lists the mistakes that can be planted.
func Mutants() []string { return mutantNames[1:] }

// Plant plants one mistake in all shards, in place of the one before; the empty
// name plants none.
func Plant(name string) {
	planted = none
	for i, n := range mutantNames {
		if i > 0 && n == name {
			planted = mutant(i)
		}
	}
}
