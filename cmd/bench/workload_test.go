package bench

import (
	"math"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

func TestAWorkloadDrawsItsMixWithinOnePercent(t *testing.T) {
	const draws = 50_000
	keys := newZipf(1000, 0.99)
	for _, w := range workloads {
		t.Run(w.name, func(t *testing.T) {
			g := newGenerator(w, &keys, 1, 0)
			counts := map[string]int{}
			for range draws {
				counts[g.next().kind]++
			}
			sum := 0
			for _, s := range w.mix {
				sum += s.percent
				if got := 100 * float64(counts[s.kind]) / draws; math.Abs(got-float64(s.percent)) > 1 {
					t.Errorf("%s: got %.1f %%, want %d %%", s.kind, got, s.percent)
				}
			}
			if sum != 100 || len(counts) != len(w.mix) {
				t.Errorf("the mix %v adds up to %d %% and drew %v", w.mix, sum, counts)
			}
		})
	}
}

func TestCartsSettleAtTheSizeTheyAreLoadedWith(t *testing.T) {
	w, err := findWorkload("cart")
	if err != nil {
		t.Fatal(err)
	}
	one := newZipf(1, 0.99)
	g := newGenerator(w, &one, 7, 0)
	cart, sum, reads := map[int]bool{}, 0, 0
	for range 100_000 {
		switch s := g.next(); s.kind {
		case addMember:
			cart[s.member] = true
		case removeMember:
			delete(cart, s.member)
		case read:
			sum += len(cart)
			reads++
		}
	}
	if mean := float64(sum) / float64(reads); math.Abs(mean-cartSize) > 0.5 {
		t.Errorf("a cart had %.2f members on average, want about %d", mean, cartSize)
	}
}

func TestTheSameSeedDrawsTheSameStepsAndEveryClientItsOwn(t *testing.T) {
	keys := newZipf(1000, 0.99)
	steps := func(seed uint64, client int) (list [50]step) {
		g := newGenerator(workloads[0], &keys, seed, client)
		for i := range list {
			list[i] = g.next()
		}
		return list
	}
	if first, again := steps(1, 3), steps(1, 3); first != again {
		t.Error("seed 1, client 3 drew two different lists of steps")
	}
	if steps(1, 3) == steps(1, 4) {
		t.Error("clients 3 and 4 drew the same steps")
	}
	if steps(1, 3) == steps(2, 3) {
		t.Error("seeds 1 and 2 drew the same steps")
	}
}

func TestZipfDrawsEachRankAboutAsOftenAsItsWeightSays(t *testing.T) {
	const n, draws = 1000, 300_000
	for _, theta := range []float64{0, 0.5, 0.99} {
		z := newZipf(n, theta)
		dice := rand.New(rand.NewPCG(1, 2))
		counts := make([]int, n)
		for range draws {
			counts[z.rank(dice.Float64())]++
		}
		// The method is an approximation for ranks from the third on, and by the
		// paper a good one: hold sums over ranks, as a hot set is judged by them.
		drawn, weight := 0.0, 0.0
		for rank := range n {
			drawn += float64(counts[rank]) / draws
			weight += math.Pow(float64(rank+1), -theta) / z.zeta
			if math.Abs(drawn-weight) > 0.02 {
				t.Fatalf("theta %v: ranks to %d were drawn %.3f of the time, want %.3f", theta, rank, drawn, weight)
			}
		}
	}
}

func TestZipfStaysWithinItsRanks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 300).Draw(t, "n")
		z := newZipf(n, rapid.Float64Range(0, 0.999).Draw(t, "theta"))
		u := rapid.OneOf(rapid.Just(0.0), rapid.Just(math.Nextafter(1, 0)), rapid.Float64Range(0, math.Nextafter(1, 0))).Draw(t, "u")
		if rank := z.rank(u); rank < 0 || rank >= n {
			t.Fatalf("rank %d of %d", rank, n)
		}
	})
}
