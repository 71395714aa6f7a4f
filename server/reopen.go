package server

import (
	"errors"
	"fmt"
	"time"

	"github.com/cartwheel-db/cartwheel/replica"
	"github.com/cartwheel-db/cartwheel/replica/store"
)

// What a loop does when its store fails: every opening is a new shard, under a
// new actor.

const (
	minPause = 100 * time.Millisecond
	maxPause = 5 * time.Second
)

// open opens the store and a shard on it, under the new opening's actor.
func (l *loop) open() error {
	s, err := store.Open(l.cfg.path, l.cfg.store)
	if err != nil {
		return err
	}
	for _, d := range s.Damaged() {
		l.log.Error("damaged record: not served, not merged", "store", l.cfg.path, "err", d)
	}
	cfg := l.cfg.replica
	cfg.NewActor = randomActor
	cfg.Read = func(fn func(replica.View) error) error {
		v, err := s.View()
		if err != nil {
			return err
		}
		return errors.Join(fn(v), v.Close())
	}
	cfg.Hold = func() (replica.View, func() error, error) {
		v, err := s.View()
		if err != nil {
			return nil, nil, err
		}
		return v, v.Close, nil
	}
	shard, err := replica.New(cfg, s.Actor(), l.ring, l.now())
	if err != nil {
		return errors.Join(err, s.Close())
	}
	l.store, l.shard = s, shard
	for id, up := range l.alive {
		shard.SetPeer(l.now(), id, up)
	}
	for id, up := range l.links {
		shard.SetLink(l.now(), id, up)
	}
	return nil
}

// reopen replaces store and shard after the store failed. What was under way
// has an unknown outcome; what was durable is durable, and whatever events went
// to peers are theirs now. The new opening mints under a new actor.
func (l *loop) reopen(cause error) {
	l.log.Error("store failed: opening it again, no writes for a while", "path", l.cfg.path, "err", cause)
	l.reopens.Add(1)
	l.flush()
	l.refuseAll(fmt.Sprintf("the store failed: %v", cause))
	l.shard.Release()
	if err := l.store.Close(); err != nil {
		l.log.Error("close failed store", "path", l.cfg.path, "err", err)
	}
	for wait := 50 * time.Millisecond; !l.closing; wait = min(2*wait, 2*time.Second) {
		err := l.open()
		if err == nil {
			l.pause = min(max(2*l.pause, minPause), maxPause)
			l.shard.SetWritable(l.now(), false)
			l.resume = time.After(l.pause)
			return
		}
		l.log.Error("store does not open", "path", l.cfg.path, "err", err, "again_in", wait)
		until := time.After(wait)
		for waiting := true; waiting; {
			select {
			case in := <-l.inbox:
				l.refuse(in.reply, fmt.Sprintf("the store does not open: %v", err), false)
			case fn := <-l.calls:
				fn()
			case <-l.stop:
				l.stop = nil
				l.closing = true
				return
			case <-until:
				waiting = false
			}
		}
	}
}

func (l *loop) refuseAll(why string) {
	for id, reply := range l.replies {
		delete(l.replies, id)
		l.refuse(reply, why, true)
	}
}

func (l *loop) refuse(reply chan<- answer, why string, unknown bool) {
	if reply != nil {
		text := why + "; nothing was done"
		if unknown {
			text = why + "; the outcome is unknown"
		}
		reply <- answer{result: replica.Result{Failure: &replica.Failure{Reason: replica.Internal, Unknown: unknown, Text: text}}}
	}
}
