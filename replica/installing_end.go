package replica

import (
	"errors"
	"slices"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
)

// How an install ends: promoted, given up, or lost with its stage.

func (s *Shard) promoteOn(in *install) {
	s.enqueue(s.promotePiece(), func(c *commit) error { return s.fillPromote(c, in) })
}

// promotePiece is how many bytes of rows are joined in one commit, about.
func (s *Shard) promotePiece() int { return s.cfg.BatchBytes / 4 }

func (s *Shard) fillPromote(c *commit, in *install) error {
	if !s.current(in) {
		s.endInstall(in)
		return nil
	}
	p, err := c.part(in.partition)
	if err != nil {
		return err
	}
	held, done, err := in.in.Promote(c.tx, s.promotePiece(), s.now.Wall, func(op crdt.Operation, dots []dvv.Dot) error {
		for _, d := range dots {
			if err := c.void(p, op, d); err != nil {
				return err
			}
		}
		return nil
	})
	if errors.Is(err, errStageLost) {
		return s.loseStage(c, in)
	}
	if err != nil {
		return err
	}
	for i := range held {
		if _, err := c.apply(p, &held[i]); err != nil {
			return err
		}
	}
	in.pieces = in.pieces || !done
	in.done++
	c.then = append(c.then, func(err error) {
		switch {
		case err != nil:
		case done:
			in.pieces = false
			s.finishInstall(in)
		default:
			s.promoteOn(in)
		}
	})
	return nil
}

// loseStage gives up a promotion whose stage cannot be read. Rows and clock of
// the partition may not fit any more: it begins anew, like a lost disk, and under
// a new actor.
func (s *Shard) loseStage(c *commit, in *install) error {
	p := s.parts[in.partition]
	switch {
	case !s.current(in):
		return nil
	case slices.Contains(c.touched, p): // not together with what else this transaction did to it
		c.then = append(c.then, func(error) {
			s.enqueue(0, func(c *commit) error { return s.loseStage(c, in) })
		})
		return nil
	}
	if err := c.tx.Drop(in.partition); err != nil {
		return err
	}
	c.drops = append(c.drops, in.partition)
	s.Stats.StagesLost++
	s.Stats.Add(p.Counts)
	s.parts[in.partition] = s.newPart(&Partition{ID: in.partition, dead: map[crdt.Key]dvv.Clock{}}, s.cfg.NewActor())
	c.then = append(c.then, func(error) { s.endInstall(in) })
	return nil
}

// finishInstall ends an install that brought what it could.
func (s *Shard) finishInstall(in *install) {
	if in.cut != 0 {
		s.send(in.from, CutDone{Partition: in.partition, Cut: in.cut})
	}
	if in.from != "" && s.owns(in.partition) && in.cut != 0 {
		if s.ring.Owns(in.from, in.partition) {
			s.catchUpFrom(in.partition, in.from, true) // what happened since the cut
		} else {
			s.receiveOffer(in.from, Offer{Partition: in.partition, Ring: s.ring.Hash()})
		}
	}
	s.clean(in, func() { s.endInstall(in) })
}

// giveUp ends an install before its time, and begins it anew if its cut is gone.
func (s *Shard) giveUp(in *install, again bool) {
	s.Stats.InstallsGivenUp++
	if in.in != nil {
		held := in.in.Abort()
		in.in = nil
		s.enqueue(0, func(c *commit) error { return s.fillHeld(c, in.partition, held) })
	}
	if in.cut != 0 {
		s.send(in.from, CutDone{Partition: in.partition, Cut: in.cut})
	}
	in.asked++
	in.storing = false
	s.clean(in, func() {
		if in.restarts++; again && in.restarts <= maxRestarts && s.owns(in.partition) && s.current(in) {
			s.openInstall(in)
			return
		}
		s.endInstall(in)
	})
}

func (s *Shard) fillHeld(c *commit, partition int, held []crdt.Group) error {
	if len(held) == 0 {
		return nil
	}
	p, err := c.part(partition)
	for i := range held {
		if err == nil {
			_, err = c.apply(p, &held[i])
		}
	}
	return err
}

// clean empties the stage, some of it with every commit, and goes on.
func (s *Shard) clean(in *install, then func()) {
	in.phase = cleaning
	s.enqueue(0, func(c *commit) error {
		more, err := c.tx.DropStaged(in.partition, cleanSlice)
		c.then = append(c.then, func(err error) {
			switch {
			case err != nil:
			case more:
				s.clean(in, then)
			default:
				then()
			}
		})
		return err
	})
}

// endInstall lets the next one begin.
func (s *Shard) endInstall(in *install) {
	if s.current(in) {
		s.parts[in.partition].install = nil
	}
	s.installs = slices.DeleteFunc(s.installs, func(o *install) bool { return o == in })
	s.beginInstalls()
}

// installProgress tells how far a snapshot of a partition is, nil when none is on
// its way.
func (s *Shard) installProgress(partition int) *Progress {
	p := s.parts[partition]
	if p == nil || p.install == nil || p.install.phase == cleaning {
		return nil
	}
	in := p.install
	g := &Progress{From: in.from, Phase: "log", Done: in.done}
	switch {
	case in.phase == promotingNow:
		g.Phase = "promoting"
	case in.part >= CutRows:
		g.Phase = "rows"
	case in.part >= CutClears:
		g.Phase, g.Total = "comparing", int64(in.leaves)
	}
	return g
}
