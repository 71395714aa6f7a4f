package breaker

// Durations in nanoseconds: the package imports no clock, not even its types.
const (
	millisecond int64 = 1_000_000
	second            = 1000 * millisecond
)

// Config is what a breaker goes by. Zero fields take the default; nonsense is
// bent to the nearest sense (MaxBackoff below MinBackoff becomes MinBackoff).
type Config struct {
	// Threshold is the number of failures in a row that opens it. Default 5.
	Threshold int
	// MinBackoff is the first wait before a probe, in ns. Each failed probe
	// doubles it up to MaxBackoff. Defaults 100 ms and 5 s.
	MinBackoff, MaxBackoff int64
	// ProbeTimeout, in ns: a probe without an outcome for so long is taken for
	// lost and another is let through. Default 1 s.
	ProbeTimeout int64
	// Seed, when not 0, shortens each wait by up to a quarter, by an amount that
	// depends on the seed and the number of failed probes alone. Give each pair
	// of nodes its own.
	Seed uint64
}

func (c Config) withDefaults() Config {
	positive := func(v *int64, otherwise int64) {
		if *v <= 0 {
			*v = otherwise
		}
	}
	if c.Threshold <= 0 {
		c.Threshold = 5
	}
	positive(&c.MinBackoff, 100*millisecond)
	positive(&c.MaxBackoff, 5*second)
	positive(&c.ProbeTimeout, second)
	c.MaxBackoff = max(c.MaxBackoff, c.MinBackoff)
	return c
}

// Backoff is the wait, in ns, after the given number of failed probes: MinBackoff
// doubled that many times, at most MaxBackoff, less the seed's share.
func (c Config) Backoff(failedProbes int) int64 {
	c = c.withDefaults()
	wait := c.MinBackoff
	for range failedProbes {
		if wait > c.MaxBackoff/2 { // so that doubling cannot overflow
			wait = c.MaxBackoff
			break
		}
		wait *= 2
	}
	if c.Seed != 0 {
		wait -= int64(scramble(c.Seed+uint64(failedProbes)) % uint64(wait/4+1))
	}
	return wait
}

// scramble is the output function of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014).
func scramble(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
