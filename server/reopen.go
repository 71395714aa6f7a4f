package server

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica"
	"github.com/cartwheel-db/cartwheel/replica/store"
)

// What a loop does when its store fails: every opening is a new shard, under a
// new actor.
//
//	a damaged record          not served; the shard fetches it again from another owner
//	a full disk               rolled back; the same file, a new shard, no writes for a while
//	a failed write or sync    nothing is acknowledged before the file was closed and opened again
//	a damaged file            set aside; an empty store in its place, which peers fill
//	another node's file       refused, and left where it is

const (
	minPause = 100 * time.Millisecond
	maxPause = 5 * time.Second
)

// open opens the store and a shard on it, under the new opening's actor.
func (l *loop) open() error {
	s, err := l.openStore()
	if err != nil {
		return err
	}
	if err := l.serve(s, s.Actor()); err != nil {
		return errors.Join(err, s.Close())
	}
	return nil
}

// openStore opens the store's file, or sets a damaged one aside and begins an
// empty one.
func (l *loop) openStore() (*store.Store, error) {
	s, err := store.Open(l.cfg.path, l.cfg.store)
	var refused *store.RefusalError
	if err == nil || !errors.As(err, &refused) || refused.Foreign {
		return s, err
	}
	others := 0
	for _, m := range l.ring.Members() {
		if m.ID != l.cfg.replica.Self {
			others++
		}
	}
	if others == 0 {
		return nil, fmt.Errorf("%w; it is damaged, and this node is the only member of its cluster, so nobody can fill it again: put a copy of the file in its place, or move it away to begin without its data", err)
	}
	aside, moved := setAside(l.cfg.path, time.Now())
	if moved != nil {
		return nil, errors.Join(err, moved)
	}
	l.log.Error("STORE SET ASIDE: its file is damaged. All of this node's data is gone from it, and is fetched again from the other members; what only this node held durably is in the file that was set aside, and nowhere else",
		"path", l.cfg.path, "aside", aside, "err", err, "other_members", others)
	l.asides.Add(1)
	return store.Open(l.cfg.path, l.cfg.store)
}

// setAside renames a file to a name that tells when, and is not taken.
func setAside(path string, now time.Time) (aside string, err error) {
	stem := path + ".damaged-" + now.UTC().Format("20060102T150405Z")
	for n := 1; n < 1000; n++ {
		if aside = stem; n > 1 {
			aside = fmt.Sprintf("%s-%d", stem, n)
		}
		if err = os.Link(path, aside); err == nil { // unlike a rename it takes nobody's place
			if err = os.Remove(path); err == nil {
				err = syncDir(filepath.Dir(path))
			}
			break
		}
		if !errors.Is(err, fs.ErrExist) {
			break
		}
	}
	if err != nil {
		return "", fmt.Errorf("set the damaged file %s aside: %w", path, err)
	}
	return aside, nil
}

// serve puts a new shard on an open store.
func (l *loop) serve(s *store.Store, actor dvv.Actor) error {
	cfg := l.cfg.replica
	cfg.NewActor = randomActor
	l.store, cfg.Read = s, l.read
	cfg.Hold = func() (replica.View, func() error, error) {
		if !l.reading {
			l.endView() // while a commit is under way only one can be had without waiting for it
		}
		v, err := s.View()
		if err != nil {
			return nil, nil, err
		}
		return v, v.Close, nil
	}
	shard, err := replica.New(cfg, actor, l.ring, l.now())
	l.endView()
	if err != nil {
		return err
	}
	l.shard, l.broken = shard, nil
	for _, d := range s.Damaged() {
		shard.Damaged(l.now(), d)
	}
	l.tellDamage()
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
	l.endView()
	if l.full = errors.Is(cause, store.ErrFull) && !errors.Is(cause, store.ErrFailed); l.full {
		if err := l.serve(l.store, l.store.Renew()); err == nil {
			l.rest()
			return
		}
	}
	if err := l.store.Close(); err != nil {
		l.log.Error("close failed store", "path", l.cfg.path, "err", err)
	}
	for wait := 50 * time.Millisecond; !l.closing; wait = min(2*wait, 2*time.Second) {
		err := l.open()
		if err == nil {
			l.rest()
			return
		}
		l.log.Error("store does not open", "path", l.cfg.path, "err", err, "again_in", wait)
		until := time.After(wait)
		for waiting := true; waiting; {
			select {
			case in := <-l.requests:
				l.refuse(in.reply, fmt.Sprintf("the store does not open: %v", err), false)
			case <-l.frames: // lost, as on the way
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

// rest lets the store take no writes for a while, longer each time in a row.
func (l *loop) rest() {
	l.pause = min(max(2*l.pause, minPause), maxPause)
	l.shard.SetWritable(l.now(), false)
	l.resume = time.After(l.pause)
}

// room is what must be free before a store that found no space is tried again.
const room = 1 << 20 // bytes

// hasRoom tries whether there is space again with a file of its own: a commit that
// fails costs those who wait for it.
func hasRoom(path string) bool {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".room-*")
	if err != nil {
		return false
	}
	_, err = f.Write(make([]byte, room))
	return errors.Join(err, f.Close(), os.Remove(f.Name())) == nil
}

// tellDamage writes what a shard has to tell of damaged records into the log:
// each once, however often the store is opened again.
func (l *loop) tellDamage() {
	for _, report := range l.shard.Reports() {
		what, record, _ := strings.Cut(report, ": ")
		if what == "damaged" {
			if l.told[record] || len(l.told) > maxTold {
				continue
			}
			l.told[record] = true
		} else if strings.HasPrefix(what, "repaired") {
			delete(l.told, record)
		}
		l.log.Error("stored data", "what", report, "path", l.cfg.path)
	}
}

// maxTold bounds the damaged records that are told of.
const maxTold = 4096

func (l *loop) refuseAll(why string) {
	for id, reply := range l.replies {
		delete(l.replies, id)
		l.refuse(reply, why, true)
	}
}

func (l *loop) refuse(reply chan<- answer, why string, unknown bool) {
	if reply != nil {
		l.underWay.Add(-1)
		text := why + "; nothing was done"
		if unknown {
			text = why + "; the outcome is unknown"
		}
		reply <- answer{result: replica.Result{Failure: &replica.Failure{Reason: replica.Internal, Unknown: unknown, Text: text}}}
	}
}
