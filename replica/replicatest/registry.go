package replicatest

import (
	"bytes"
	"slices"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
)

// registry knows every group that any shard ever wrote, whatever became of it:
// the checkers' own idea of what happened. From it follows what a replica with a
// given clock must hold.
type registry struct {
	w     *World
	parts []*partition
}

// partition is the set of events of one partition.
type partition struct {
	id     int
	groups map[dvv.Dot]*known // by every dot of theirs
	all    []*known           // in the order of minting
	keys   []*keyLog
	byKey  map[crdt.Key]*keyLog

	promised dvv.Clock // see promised_writes.go
}

// known is a group and what the checkers know of it.
type known struct {
	partition int
	group     crdt.Group
	bytes     []byte
	minted    int64
	by        int // node
	life      int
	promised  int64           // when its client was told, if two owners had it then
	held      uint            // nodes that ever had it durable, a bit each
	since     [maxNodes]int64 // when each node's disk got it; 0 while it is not there
	op        *opRecord
}

// keyLog is what concerns one key.
type keyLog struct {
	key    crdt.Key
	rows   []*rowLog // sorted by field
	clears []eventRef
}

type rowLog struct {
	field  string
	holds  crdt.Type // whose payloads
	spared bool      // a clear of the key does not reach it
	events []eventRef
}

type eventRef struct {
	dot   dvv.Dot
	event *crdt.Event
	of    *known
}

func (r *registry) init(w *World) {
	r.w = w
	for i := range w.profile.partitions {
		r.parts = append(r.parts, &partition{id: i, groups: map[dvv.Dot]*known{}, byKey: map[crdt.Key]*keyLog{}})
	}
}

// see is told each group that a shard writes. A new one must be of an actor that
// this very opening of the node drew; one that is known must be the same.
func (r *registry) see(n *node, p int, g *crdt.Group) {
	part := r.parts[p]
	k := part.groups[g.Dot(0)]
	b := crdt.AppendGroup(nil, g)
	if k != nil {
		if !bytes.Equal(b, k.bytes) {
			r.w.fail("the dot %v was minted twice: by %v as %v, and %v now writes %v", g.Dot(0), nodeID(k.by), &k.group, n.id, g)
		}
		return
	}
	if !slices.Contains(n.actors, g.Actor) {
		r.w.fail("%v writes %v, which nobody minted", n.id, g)
		return
	}
	own, err := crdt.DecodeGroup(b) // a copy: nothing of it is shared with the shard
	if err != nil {
		r.w.fail("%v writes %v, which cannot be read back: %w", n.id, g, err)
		return
	}
	k = &known{partition: p, group: own, bytes: b, minted: r.w.now, by: n.at, life: n.life}
	for i := range g.Events {
		d, e := g.Dot(i), &k.group.Events[i]
		if o := part.groups[d]; o != nil {
			r.w.fail("the dot %v was minted twice: in %v and in %v", d, &o.group, g)
		}
		part.groups[d] = k
		part.log(e.Row.Key).add(eventRef{d, e, k})
	}
	part.all = append(part.all, k)
	r.w.history.minted(r.w, k)
}

// find returns the event at a dot.
func (p *partition) find(d dvv.Dot) (eventRef, bool) {
	k := p.groups[d]
	if k == nil {
		return eventRef{}, false
	}
	return eventRef{d, &k.group.Events[d.Seq-k.group.First], k}, true
}

func (p *partition) log(key crdt.Key) *keyLog {
	l := p.byKey[key]
	if l == nil {
		l = &keyLog{key: key}
		p.byKey[key] = l
		p.keys = append(p.keys, l)
	}
	return l
}

func (l *keyLog) add(e eventRef) {
	if e.event.Clear != nil {
		l.clears = append(l.clears, e)
		return
	}
	row := l.row(e.event.Row.Field)
	if row == nil {
		row = &rowLog{field: e.event.Row.Field, holds: rowType(l.key, e.event.Row.Field)}
		row.spared = l.key.Type == crdt.Map && row.holds == crdt.Counter
		at, _ := slices.BinarySearchFunc(l.rows, row.field, fieldOrder)
		l.rows = slices.Insert(l.rows, at, row)
	}
	row.events = append(row.events, e)
}

// at is the address of a row.
func (l *keyLog) at(r *rowLog) crdt.Address { return crdt.Address{Key: l.key, Field: r.field} }

func fieldOrder(r *rowLog, field string) int {
	switch {
	case r.field < field:
		return -1
	case r.field > field:
		return 1
	}
	return 0
}

func (l *keyLog) row(field string) *rowLog {
	if at, found := slices.BinarySearchFunc(l.rows, field, fieldOrder); found {
		return l.rows[at]
	}
	return nil
}

// fold is the row that follows from the events in the clock: what nobody killed
// lives, what was killed before it arrived is deferred. It is a second,
// independent reading of rule 1, without order.
func (l *keyLog) fold(row *rowLog, clock dvv.Clock) crdt.Row {
	var out crdt.Row
	dead := map[dvv.Dot]bool{}
	for _, e := range row.events {
		if len(e.event.Kills) == 0 || !clock.Contains(e.dot) {
			continue
		}
		for _, k := range e.event.Kills {
			dead[k] = true
			if !clock.Contains(k) {
				out.Deferred = append(out.Deferred, k)
			}
		}
	}
	for _, e := range row.events {
		if e.event.Payload != nil && clock.Contains(e.dot) && !dead[e.dot] && (row.spared || !l.cleared(e.dot, clock)) {
			out.Live = append(out.Live, crdt.Live{Dot: e.dot, Payload: e.event.Payload})
		}
	}
	slices.SortFunc(out.Live, func(a, b crdt.Live) int { return a.Dot.Compare(b.Dot) })
	slices.SortFunc(out.Deferred, dvv.Dot.Compare)
	out.Deferred = slices.Compact(out.Deferred)
	return out
}

// cleared tells whether a clear in the clock reaches the dot.
func (l *keyLog) cleared(d dvv.Dot, clock dvv.Clock) bool {
	for _, c := range l.clears {
		if c.event.Clear.Contains(d) && clock.Contains(c.dot) {
			return true
		}
	}
	return false
}

// dead is what clears in the clock reached before it arrived.
func (l *keyLog) dead(clock dvv.Clock) dvv.Clock {
	var dead dvv.Clock
	for _, c := range l.clears {
		if clock.Contains(c.dot) {
			dead.Join(c.event.Clear.Minus(clock))
		}
	}
	return dead
}
