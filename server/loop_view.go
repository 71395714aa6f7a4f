package server

import (
	"errors"

	"github.com/cartwheel-db/cartwheel/replica"
	"github.com/cartwheel-db/cartwheel/replica/store"
)

// read shows the shard what is committed. All that it reads between two changes of
// that it reads from one view: opening one, and finding the way to each bucket, costs
// as much as reading a row does.
//
//	committed 6        begin 7         committed 7          begin 8
//	─────┼─── view of 6 ───┼─── view of 6 ───┼─── view of 7 ───┼──▶
//
// The shard is told of a commit when the view of what was before has ended, so it
// never sees less than it knows to be durable. And no view lasts from before a
// commit to after it, so the file does not grow behind one. Where the file may
// outgrow its map, the commit waits for views, and one ends with its turn.
func (l *loop) read(fn func(replica.View) error) (err error) {
	if l.reading { // from within fn: a view has one reader at a time
		v, err := l.openView()
		if err != nil {
			return err
		}
		return errors.Join(fn(v), v.Close())
	}
	if l.view == nil {
		if l.view, err = l.openView(); err != nil {
			return err
		}
	}
	l.reading = true
	defer func() { l.reading = false }()
	err = fn(l.view)
	if failed := l.store.Failed(); failed != nil { // fn, or who holds another view, may have passed over it
		l.broken = failed
	}
	if err != nil || l.broken != nil {
		l.endView() // what met damage is not used again
	}
	return err
}

func (l *loop) openView() (*store.View, error) {
	v, err := l.store.View()
	l.noteFailed(err)
	return v, err
}

// endView ends the view, if there is one.
func (l *loop) endView() {
	if l.view != nil {
		l.noteFailed(l.view.Close())
		l.view = nil
	}
}

// noteFailed keeps the error of a store that failed: no write may come that would
// find it out.
func (l *loop) noteFailed(err error) {
	if errors.Is(err, store.ErrFailed) {
		l.broken = err
	}
}
