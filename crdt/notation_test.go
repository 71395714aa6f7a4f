package crdt_test

import (
	"strconv"
	"strings"

	"github.com/cartwheel-db/cartwheel/dvv"
)

// dot reads "a:3".
func dot(s string) dvv.Dot {
	actor, seq, ok := strings.Cut(s, ":")
	n, err := strconv.ParseUint(seq, 10, 64)
	if !ok || err != nil || len(actor) != 1 {
		panic("no dot: " + s)
	}
	return dvv.Dot{Actor: dvv.Actor(actor[0] - 'a' + 1), Seq: n}
}

// dots reads "a:1 b:2".
func dots(s string) []dvv.Dot {
	var out []dvv.Dot
	for _, d := range strings.Fields(s) {
		out = append(out, dot(d))
	}
	return out
}

// clock reads "a:3 +b:5": a's first three dots, and b's fifth.
func clock(s string) dvv.Clock {
	var c dvv.Clock
	for _, f := range strings.Fields(s) {
		if alone, ok := strings.CutPrefix(f, "+"); ok {
			c.Add(dot(alone))
			continue
		}
		c.AddRange(dot(f).Actor, 1, dot(f).Seq)
	}
	return c
}
