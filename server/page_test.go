package server

import (
	"testing"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
)

func TestAPageEndsBeforeItsContextOutgrowsAToken(t *testing.T) {
	sealer, err := dvv.NewSealer([]byte("sixteen bytes and more"))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name    string
		dot     func(i int) dvv.Dot
		atLeast int
	}{
		{"dots side by side fill the page", func(i int) dvv.Dot { return dvv.Dot{Actor: 1, Seq: uint64(i)} }, MaxPage},
		{"dots with a gap each fill it too", func(i int) dvv.Dot { return dvv.Dot{Actor: 1, Seq: uint64(2 * i)} }, MaxPage},
		{"dots far apart end it", func(i int) dvv.Dot { return dvv.Dot{Actor: 1, Seq: uint64(i) << 49} }, 1000},
		{"an actor each ends it", func(i int) dvv.Dot { return dvv.Dot{Actor: dvv.Actor(i), Seq: 1 << 63} }, 1000},
	} {
		t.Run(test.name, func(t *testing.T) {
			pg := page{wanted: MaxPage}
			for i := 1; pg.take("m", crdt.Member{}, crdt.Row{Live: []crdt.Live{{Dot: test.dot(i)}}}); i++ {
			}
			if len(pg.members) < test.atLeast || len(pg.members) > MaxPage {
				t.Errorf("%d members, want at least %d", len(pg.members), test.atLeast)
			}
			if _, err := sealer.SealContext(dvv.Scope{}, pg.shown); err != nil {
				t.Errorf("a page of %d members: %v", len(pg.members), err)
			}
		})
	}
}
