package server

import (
	"errors"

	"github.com/cartwheel-db/cartwheel/replica"
	"github.com/cartwheel-db/cartwheel/replica/store"
)

// read shows the shard what is committed. All that it reads in one turn of the loop
// it reads from one view: opening one, and finding the way to each bucket, costs as
// much as reading a row does.
//
//	turn:  requests, messages ─▶ read, read, read ─▶ end of the view ─▶ wait for more
//
// No commit is told to the shard within a turn, so it never sees less than it has
// been told is durable; and no view is held while the loop waits, so the file does
// not grow behind one.
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
	if err = fn(l.view); err != nil {
		l.noteFailed(err)
		l.endView() // what met damage is not used again
	}
	return err
}

func (l *loop) openView() (*store.View, error) {
	v, err := l.store.View()
	l.noteFailed(err)
	return v, err
}

// endView ends the view of the turn, if there is one.
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
