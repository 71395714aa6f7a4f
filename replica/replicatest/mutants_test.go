//go:build mutants

package replicatest

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/cartwheel-db/cartwheel/replica"
)

// TestEveryMutantIsFound plants each of the mistakes that package replica lists,
// one after the other, in its own code, and lets the same simulations and the
// same checkers as ever find it. The first seed that does, and what is said, stand
// in testdata/mutants.golden: any change of what shards say, or when, moves them.
//
//	go test -tags mutants ./replica/replicatest -run TestEveryMutantIsFound
//
// With -update the list is written anew. One of them is looked at with
//
//	go test -tags mutants ./replica/replicatest -run TestSimulation -mutant "no hold" -seed 110 -seeds 1 -v
func TestEveryMutantIsFound(t *testing.T) {
	const path = "testdata/mutants.golden"
	b, err := os.ReadFile(path)
	if err != nil && !*update {
		t.Fatal(err)
	}
	known := strings.Split(string(b), "\n")
	var list strings.Builder
	defer replica.Plant("")
	for i, name := range replica.Mutants() {
		replica.Plant(name)
		line := name + ": not found"
		if seed, said := firstFound(raggedLogs[name]); seed > 0 {
			line = fmt.Sprintf("%s: seed %d%s: %s", name, seed, (&Options{Ragged: raggedLogs[name]}).flags(), said)
		} else {
			t.Errorf("%s: not found within %d seeds", name, mutantSeeds)
		}
		switch {
		case *update:
		case i >= len(known) || !strings.HasPrefix(known[i], name+": seed "):
			t.Errorf("%s is not in %s, or not in its place", name, path)
		case known[i] != line:
			t.Logf("the list is of an earlier day, when the same seed was another history: %s", known[i])
		}
		t.Log(line)
		fmt.Fprintln(&list, line)
	}
	if *update {
		if err := os.WriteFile(path, []byte(list.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

var mutant = flag.String("mutant", "", "the mistake to plant")

func TestMain(m *testing.M) {
	flag.Parse()
	replica.Plant(*mutant)
	os.Exit(m.Run())
}

// Without a mutant planted, the build with the tag is the ordinary code.
func TestNothingIsFoundWhereNothingIsPlanted(t *testing.T) {
	replica.Plant("")
	simulate(1, 20, func(seed uint64) Options { return Options{Seed: seed} }, func(_ *Report, err error) {
		if err != nil {
			t.Error(err)
		}
	})
}

const mutantSeeds = 2000

// raggedLogs are for mistakes that show where a log holds an event and not what
// became of it: whole logs are cut from their oldest end, and rarely do.
var raggedLogs = map[string]bool{"leaves compared before the log": true, "no hold": true}

// firstFound returns the lowest seed that a checker stops, and the kind of what
// it says: dots, names and numbers left out.
func firstFound(ragged bool) (first uint64, said string) {
	const batch = 20
	for from := uint64(1); from <= mutantSeeds && first == 0; from += batch {
		simulate(from, batch, func(seed uint64) Options {
			return Options{Seed: seed, Ragged: ragged}
		}, func(r *Report, err error) {
			if err != nil && first == 0 {
				line, _, _ := strings.Cut(err.Error(), "\n")
				_, what, _ := strings.Cut(line, " s: ")
				first, said = r.Seed, shortly(what)
			}
		})
	}
	return first, said
}

var particulars = regexp.MustCompile(`\{[^}]*\}|\[[^\]]*\]|[0-9a-f]{16}(:[0-9-]+)?|\d+(\.\d+)?`)

func shortly(what string) string {
	s := particulars.ReplaceAllString(what, "…")
	if len(s) > 160 {
		s = s[:160]
	}
	return strings.ToValidUTF8(s, "")
}
