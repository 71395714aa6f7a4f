package cartwheel

import (
	"math/rand/v2"
	"testing"
	"time"
)

func TestAThrottleLetsThroughLittleMoreThanIsTaken(t *testing.T) {
	for _, test := range []struct {
		name        string
		capacity    int // of each 1,000 wanted in a second
		least, most float64
	}{
		{"all of what is taken", 1000, 1000, 1000},
		{"twice as much as is taken", 200, 330, 470},
		{"one in ten when nothing is taken", 0, 70, 130},
	} {
		t.Run(test.name, func(t *testing.T) {
			th := throttle{dice: rand.New(rand.NewPCG(1, 2)).Float64}
			now := time.Unix(1000, 0)
			sent := 0
			for second := range 20 {
				taken := 0
				for range 1000 {
					now = now.Add(time.Millisecond)
					if !th.allow(now) {
						continue
					}
					// The cluster takes its share evenly over the second.
					ok := taken*1000 < test.capacity*(now.Nanosecond()/1e6+1)
					if th.note(now, ok); ok {
						taken++
					}
					if second >= 10 {
						sent++
					}
				}
			}
			if rate := float64(sent) / 10; rate < test.least || rate > test.most {
				t.Errorf("%.0f of 1,000 a second were let through, %d are taken; want %.0f to %.0f", rate, test.capacity, test.least, test.most)
			}
		})
	}
}

// One client may be unlucky for longer than another, so there are many.
func TestAThrottleForgetsAnOverloadWithinSeconds(t *testing.T) {
	const clients = 100
	keepBack := make([]int, 12) // clients that keep anything back, by second
	for client := range uint64(clients) {
		th := throttle{dice: rand.New(rand.NewPCG(client, 1)).Float64}
		now := time.Unix(1000, 0)
		for range 5_000 {
			if now = now.Add(time.Millisecond); th.allow(now) {
				th.note(now, false)
			}
		}
		for second := range keepBack {
			kept := 0
			for range 100 {
				if now = now.Add(10 * time.Millisecond); th.allow(now) {
					th.note(now, true)
				} else {
					kept++
				}
			}
			if kept > 0 {
				keepBack[second]++
			}
		}
	}
	t.Logf("of %d clients that wanted 100 a second, so many kept something back in each second after an overload: %d", clients, keepBack)
	if keepBack[0] != clients || keepBack[7] > clients/50 || keepBack[11] > 0 {
		t.Errorf("want all in the first, one in fifty at most in the 8th, none in the 12th: %d", keepBack)
	}
}

func TestAThrottleKeepsNothingBackBeforeTheFirstRefusal(t *testing.T) {
	var th throttle
	for range 1000 { // many at once, none answered yet
		if !th.allow(time.Unix(1000, 0)) {
			t.Fatal("kept back")
		}
	}
}
