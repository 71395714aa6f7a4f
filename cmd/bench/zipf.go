package bench

import "math"

// zipf draws ranks from 0 to n-1, rank i with a weight of 1/(i+1)^theta. The
// method is that of Gray et al., "Quickly Generating Billion-Record Synthetic
// Databases" (SIGMOD 1994, section 3.2), which YCSB uses: one power per draw,
// exact for the first two ranks and close for the rest.
type zipf struct {
	n                       float64
	theta, alpha, zeta, eta float64
}

// newZipf prepares draws from n ranks, at least 1; theta is from 0 (uniform) to
// below 1. It takes time in proportion to n.
func newZipf(n int, theta float64) zipf {
	z := zipf{n: float64(n), theta: theta, alpha: 1 / (1 - theta)}
	for i := range n {
		z.zeta += math.Pow(float64(i+1), -theta)
	}
	two := 1 + math.Pow(0.5, theta)
	z.eta = (1 - math.Pow(2/z.n, 1-theta)) / (1 - two/z.zeta)
	return z
}

// rank turns a uniform draw from [0, 1) into a rank.
func (z *zipf) rank(u float64) int {
	switch at := u * z.zeta; {
	case at < 1:
		return 0
	case at < 1+math.Pow(0.5, z.theta):
		return 1
	}
	return min(int(z.n*math.Pow(z.eta*u-z.eta+1, z.alpha)), int(z.n)-1)
}
