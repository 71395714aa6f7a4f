package store

import (
	"bytes"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/crdt/pack"
	"github.com/cartwheel-db/cartwheel/dvv"
)

func readGroup(key, value []byte) (crdt.Group, error) {
	g, err := crdt.DecodeGroup(bytes.Clone(value))
	if err == nil && (len(key) != dotKeySize || readDot(key) != (dvv.Dot{Actor: g.Actor, Seq: g.Last()})) {
		err = errKey
	}
	return g, malformed(log, key, err)
}

// Group returns the logged group that holds d.
func (r *reader) Group(p int, d dvv.Dot) (g crdt.Group, logged bool, err error) {
	if err := r.check(p); err != nil {
		return g, false, err
	}
	defer r.failed(&err)
	defer r.guard.leave(r.guard.enter(), r.s.path, log, &r.key, &err)
	r.key = appendDot(r.key[:0], p, d)
	c := r.cursor(log)
	k, v := c.Seek(r.key)
	if !bytes.HasPrefix(k, r.key[:dotPrefix]) {
		return g, false, gap(log, c, k, v)
	}
	value, err := unseal(log, k, v)
	if err == nil {
		g, err = readGroup(k, value)
	}
	switch {
	case err != nil:
		return crdt.Group{}, false, err
	case g.First > d.Seq:
		return crdt.Group{}, false, gap(log, c, k, v)
	}
	return g, true, nil
}

// Log calls fn for each logged group that has a dot in wanted, ordered by actor
// and sequence. size is that of the group's encoding.
func (r *reader) Log(p int, wanted dvv.Clock, fn func(g crdt.Group, size int) bool) (err error) {
	if err := r.check(p); err != nil {
		return err
	}
	defer r.failed(&err)
	defer r.guard.leave(r.guard.enter(), r.s.path, log, &r.key, &err)
	var last dvv.Dot
	stopped := false
	var met error
	for actor, run := range wanted.Intervals() {
		if last.Actor == actor && run.Last <= last.Seq {
			continue // within the group that was shown last
		}
		start := appendDot(nil, p, dvv.Dot{Actor: actor, Seq: run.First})
		err := r.walk(log, start[:dotPrefix], start, func(key, value []byte) (bool, error) {
			if len(key) == dotKeySize && readDot(key) == last {
				return true, nil // spans two runs
			}
			g, err := readGroup(key, value)
			if err != nil || g.First > run.Last {
				return false, err
			}
			last = dvv.Dot{Actor: actor, Seq: g.Last()}
			stopped = !r.call(func() bool { return fn(g, len(value)) })
			return !stopped, nil
		})
		if met = firstDamage(met, err); stopped || err != nil && damageIn(err) == nil {
			return firstDamage(err, met)
		}
	}
	return met
}

func readRemembered(key, value []byte) (crdt.Remembered, error) {
	r := pack.NewReader(value) // what it reads shares nothing with value
	m := crdt.ReadRemembered(r)
	return m, malformed(remembered, key, r.Close())
}

// Remembered returns what is known of an operation.
func (r *reader) Remembered(p int, op crdt.Operation) (m crdt.Remembered, found bool, err error) {
	if err := r.check(p); err != nil {
		return m, false, err
	}
	defer r.failed(&err)
	defer r.guard.leave(r.guard.enter(), r.s.path, remembered, &r.key, &err)
	r.key = appendOperation(r.key[:0], p, op)
	raw, found, err := r.lookup(remembered, r.key)
	if err != nil || !found {
		return m, false, err
	}
	if m, err = readRemembered(r.key, raw); err != nil {
		return crdt.Remembered{}, false, err
	}
	return m, true, nil
}

// AllRemembered calls fn for each remembered operation from that one on, ordered
// by time of issue, client and sequence.
func (r *reader) AllRemembered(p int, from crdt.Operation, fn func(crdt.Remembered) bool) (err error) {
	if err := r.check(p); err != nil {
		return err
	}
	defer r.failed(&err)
	defer r.guard.leave(r.guard.enter(), r.s.path, remembered, &r.key, &err)
	prefix := appendPartition(nil, p)
	return r.walk(remembered, prefix, appendOperation(nil, p, from), func(key, value []byte) (bool, error) {
		m, err := readRemembered(key, value)
		if err != nil {
			return false, err
		}
		return r.call(func() bool { return fn(m) }), nil
	})
}
