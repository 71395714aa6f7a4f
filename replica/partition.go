package replica

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
)

// Partition is one node's replica of one partition: the clock in memory, rows
// and log behind a [Tx]. Its steps are those of the rules in the package
// comment; all of them happen under the shard's single writer.
//
// The clock in memory runs ahead of the stored one by what the open transaction
// applied. When a transaction is lost, the Partition is loaded anew.
type Partition struct {
	ID    int
	clock dvv.Clock
	fresh dvv.Clock // what the open transaction added to clock

	// What clears reached before it arrived, by key. A clear names dots of the
	// whole partition, so any event may make some of it obsolete: it is kept here
	// to be looked through once per transaction.
	dead map[crdt.Key]dvv.Clock

	partTree
	partDamage
	partSets

	// While a snapshot is staged, events of the cut that were not seen yet are held.
	awaited   dvv.Clock
	held      []crdt.Group
	heldBytes int

	Counts Counts
}

// Counts tells how often the rare paths of the algebra were taken.
type Counts struct {
	Applied      uint64 // groups
	Known        uint64 // groups that were there already
	Held         uint64 // groups kept back while a snapshot was staged
	Deferred     uint64 // dots killed before they arrived
	Stillborn    uint64 // payloads dead on arrival
	DeferredKeys uint64 // clears that reached dots not seen yet
	Voids        uint64 // increments applied twice and taken back
	Collisions   uint64 // one dot with different bytes: an alarm
	Promoted     uint64 // snapshots
	Aborted      uint64 // snapshots given up
	Released     uint64 // groups applied after being held
	Unheld       uint64 // groups dropped because too many were held
	Pieces       uint64 // of snapshots that took more than one commit
	Early        uint64 // increments that came before the one they follow: left to catch-up
	Concurrent   uint64 // register writes that stand beside a concurrent one: one of them is not shown
}

// Add adds o to c.
func (c *Counts) Add(o Counts) {
	c.Applied += o.Applied
	c.Known += o.Known
	c.Held += o.Held
	c.Deferred += o.Deferred
	c.Stillborn += o.Stillborn
	c.DeferredKeys += o.DeferredKeys
	c.Voids += o.Voids
	c.Collisions += o.Collisions
	c.Promoted += o.Promoted
	c.Aborted += o.Aborted
	c.Released += o.Released
	c.Unheld += o.Unheld
	c.Pieces += o.Pieces
	c.Early += o.Early
	c.Concurrent += o.Concurrent
}

// Load reads a partition's clock. A partition that is not stored yet starts
// empty.
func Load(v View, id int) (*Partition, error) {
	c, stored, err := v.Clock(id)
	if err != nil {
		return nil, fmt.Errorf("load partition %d: %w", id, err)
	}
	p := &Partition{ID: id, clock: c.Clone(), dead: map[crdt.Key]dvv.Clock{}}
	err = v.AllDead(id, func(k crdt.Key, dots dvv.Clock) bool {
		p.dead[k] = dots
		return true
	})
	if err == nil && !stored {
		// The first pieces of a promotion stand before the clock does.
		var promoting bool
		if _, promoting, err = v.Mark(id); err == nil && !promoting {
			err = p.orphaned(v)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("load deferred clears of partition %d: %w", id, err)
	}
	return p, nil
}

// Clock returns the dots applied so far, the open transaction's included. The
// caller must not change it.
func (p *Partition) Clock() dvv.Clock { return p.clock }

// Save writes the clock if the transaction changed it, and the summaries of sets.
// It is called once, after the last step of a transaction.
func (p *Partition) Save(tx Tx) error {
	if err := p.saveClock(tx); err != nil {
		return err
	}
	return p.saveSummaries(tx)
}

func (p *Partition) saveClock(tx Tx) error {
	if p.fresh.IsEmpty() {
		return nil
	}
	if err := p.forgetDeferred(tx, p.fresh); err != nil {
		return err
	}
	p.fresh = dvv.Clock{}
	for k, dots := range p.dead {
		if err := p.putDead(tx, k, dots, dots.Minus(p.clock)); err != nil {
			return err
		}
	}
	return tx.PutClock(p.ID, p.clock)
}

// forgetDeferred drops dots that arrived from the deferred lists of whatever
// rows they stand in. A client's context names dots of several rows, so a dot may
// be deferred at a row it never belonged to; its arrival settles that too, and
// what stays deferred is the same function of the events on every replica.
func (p *Partition) forgetDeferred(tx Tx, arrived dvv.Clock) error {
	var rows []crdt.Address
	err := p.sparing(tx.DeferredIn(p.ID, arrived, func(_ dvv.Dot, a crdt.Address) bool {
		rows = append(rows, a)
		return true
	}))
	for _, a := range rows {
		if err != nil {
			return err
		}
		var before crdt.Row
		if before, err = tx.Row(p.ID, a); err != nil {
			if err = p.sparing(err); err == nil {
				continue // its repair forgets them
			}
			return err
		}
		if after := before.Clone(); after.Forget(p.clock) {
			err = p.putRow(tx, a, before, after)
		}
	}
	return err
}

func (p *Partition) putDead(tx Tx, k crdt.Key, before, after dvv.Clock) error {
	if after.Equal(before) {
		return nil
	}
	if after.IsEmpty() {
		delete(p.dead, k)
	} else {
		p.dead[k] = after
	}
	return tx.PutDead(p.ID, k, after)
}

// Outcome tells what became of a group.
type Outcome uint8

// The outcomes of applying a group.
const (
	Applied Outcome = iota // new here, and part of the transaction
	Known                  // was here already: nothing changed
	Early                  // an increment that follows one not seen here: left to catch-up, which brings both in order; must not be acknowledged
	Held                   // kept back until the staged snapshot is promoted or given up; must not be acknowledged
)

var errPartialGroup = errors.New("a group is known in part")

// Apply is rule 1 for a group. voids are dots of the group's operation that
// must be taken back in the same transaction, see [Partition.Void].
func (p *Partition) Apply(tx Tx, g *crdt.Group, wallMillis int64) (o Outcome, voids []dvv.Dot, err error) {
	if g.In(p.clock) {
		p.Counts.Known++
		return Known, nil, p.collide(tx, g)
	}
	for i := range g.Events {
		if p.clock.Contains(g.Dot(i)) {
			return 0, nil, fmt.Errorf("apply %v in partition %d: %w", g, p.ID, errPartialGroup)
		}
	}
	if p.awaited.Contains(g.Dot(0)) {
		p.hold(g)
		return Held, nil, nil
	}
	if p.early(g) {
		p.Counts.Early++
		return Early, nil, nil
	}
	for i := range g.Events {
		p.clock.Add(g.Dot(i))
		p.fresh.Add(g.Dot(i))
		if err := p.applyEvent(tx, g.Dot(i), &g.Events[i]); err != nil {
			return 0, nil, fmt.Errorf("apply %v to %v in partition %d: %w", g.Dot(i), g.Events[i].Row, p.ID, err)
		}
	}
	if err := tx.PutGroup(p.ID, g); err != nil {
		return 0, nil, fmt.Errorf("log %v in partition %d: %w", g.Dot(0), p.ID, err)
	}
	p.Counts.Applied++
	if g.Op.IsZero() {
		return Applied, nil, nil
	}
	voids, err = p.remember(tx, g, wallMillis)
	return Applied, voids, err
}

// early tells whether the group is an increment whose totals include one that
// this replica lacks. Taking it would let an increment that is lost for good live
// on inside a later total; retried elsewhere, it would count twice.
func (p *Partition) early(g *crdt.Group) bool {
	for i := range g.Events {
		if f := g.Events[i].Follows; f != 0 {
			d := dvv.Dot{Actor: g.Actor, Seq: f}
			if !p.clock.Contains(d) {
				return true
			}
		}
	}
	return false
}

func (p *Partition) applyEvent(tx Tx, dot dvv.Dot, e *crdt.Event) error {
	dead := p.dead[e.Row.Key]
	if e.Clear != nil {
		if err := p.clearRows(tx, e.Row.Key, *e.Clear); err != nil {
			return err
		}
		unseen := e.Clear.Minus(p.clock)
		if unseen.IsEmpty() || mutated(dropDeferral) {
			return nil
		}
		p.Counts.DeferredKeys++
		unseen.Join(dead)
		return p.putDead(tx, e.Row.Key, dead, unseen)
	}
	before, err := tx.Row(p.ID, e.Row)
	if err != nil {
		return p.sparing(err) // the event is logged: the row's repair applies it
	}
	after := before.Clone()
	deferred, stillborn := after.Apply(dot, e.Kills, e.Payload, p.clock, e.Row.Cleared(dead))
	if mutated(dropDeferral) {
		after.Deferred = nil
	}
	p.Counts.Deferred += uint64(deferred)
	if stillborn {
		p.Counts.Stillborn++
	}
	if e.Row.Type == crdt.Register && len(after.Live) > max(1, len(before.Live)) {
		p.Counts.Concurrent++
	}
	return p.putRow(tx, e.Row, before, after)
}

func (p *Partition) clearRows(tx Tx, k crdt.Key, killed dvv.Clock) error {
	type change struct {
		field         string
		before, after crdt.Row
	}
	var changes []change // a store may not be changed while it is walked
	err := p.sparing(tx.Rows(p.ID, k, "", func(field string, r crdt.Row) bool {
		after := r.Clone()
		reached := crdt.Address{Key: k, Field: field}.Cleared(killed)
		if mutated(clearsReachCounters) {
			reached = killed
		}
		if after.Clear(reached) {
			changes = append(changes, change{field, r, after})
		}
		return true
	}))
	for _, c := range changes {
		if err == nil {
			err = p.putRow(tx, crdt.Address{Key: k, Field: c.field}, c.before, c.after)
		}
	}
	return err
}

func (p *Partition) remember(tx Tx, g *crdt.Group, wallMillis int64) ([]dvv.Dot, error) {
	m, _, err := p.recall(tx, g.Op)
	if err != nil {
		return nil, err
	}
	voids := m.Record(g, wallMillis)
	if mutated(countRetryTwice) {
		voids = nil
	}
	return voids, tx.PutRemembered(p.ID, &m)
}

// recall returns what is known of an operation, to be changed: what a view holds
// is only lent. Of a damaged record nothing is known.
func (p *Partition) recall(v View, op crdt.Operation) (crdt.Remembered, bool, error) {
	m, found, err := v.Remembered(p.ID, op)
	if p.spares(err) {
		return crdt.Remembered{}, false, nil
	}
	m.Dots, m.Voided = slices.Clone(m.Dots), slices.Clone(m.Voided)
	return m, found, err
}

// Void returns the group that takes back the application of op whose first dot is d.
// The caller mints its dots and applies it in the transaction that found the
// repetition: a crash can then not separate the two.
func (p *Partition) Void(tx Tx, op crdt.Operation, d dvv.Dot, mint func(n int) dvv.Dot, stamp crdt.Stamp) (crdt.Group, error) {
	m, found, err := p.recall(tx, op)
	if err != nil || !found {
		return crdt.Group{}, fmt.Errorf("void %v of %v in partition %d: remembered %t: %w", d, op, p.ID, found, err)
	}
	voids := m.Void(d)
	if mutated(voidFirstIncrement) {
		voids = voids[:1]
	}
	if err := tx.PutRemembered(p.ID, &m); err != nil {
		return crdt.Group{}, err
	}
	first := mint(len(voids))
	p.Counts.Voids++
	return crdt.Group{Actor: first.Actor, First: first.Seq, Stamp: stamp, Events: voids}, nil
}

// collide is rule 8 for a group that is known: where its logged bytes differ,
// both payloads are kept under the dot.
func (p *Partition) collide(tx Tx, g *crdt.Group) error {
	logged, found, err := tx.Group(p.ID, g.Dot(0))
	if err = p.sparing(err); err != nil || !found || string(crdt.AppendGroup(nil, &logged)) == string(crdt.AppendGroup(nil, g)) {
		return err
	}
	p.Counts.Collisions++
	for i := range g.Events {
		e := &g.Events[i]
		if e.Payload == nil {
			continue
		}
		before, err := tx.Row(p.ID, e.Row)
		if p.spares(err) {
			continue
		}
		if err != nil {
			return err
		}
		after := before.Clone()
		if after.Collide(g.Dot(i), e.Payload) {
			if err := p.putRow(tx, e.Row, before, after); err != nil {
				return err
			}
		}
	}
	return nil
}

// Trim removes from the log the groups whose dots are all stable: in the
// durable clock of every owner (rule 4), limit of them at most. It returns how
// many it removed, and whether there may be more.
func (p *Partition) Trim(tx Tx, stable dvv.Clock, limit int) (removed int, more bool, err error) {
	if !p.trimmable() {
		return 0, false, nil
	}
	var gone []crdt.Group
	err = p.sparing(tx.Log(p.ID, stable, func(g crdt.Group, _ int) bool {
		if g.In(stable) {
			gone = append(gone, g)
		}
		more = len(gone) >= limit
		return !more
	}))
	for i := range gone {
		if err == nil {
			err = tx.DeleteGroup(p.ID, &gone[i])
		}
	}
	return len(gone), more, err
}

// Missing walks the logged groups that a peer with the given clock lacks
// (rule 3). complete is false when the log no longer reaches back to all of
// them: the peer then needs a snapshot.
func Missing(v View, id int, theirs dvv.Clock, fn func(g crdt.Group, size int) bool) (complete bool, err error) {
	mine, _, err := v.Clock(id)
	if err != nil {
		return false, err
	}
	lacking := mine.Minus(theirs)
	if lacking.IsEmpty() {
		return true, nil
	}
	var sent dvv.Clock
	stopped := false
	err = v.Log(id, lacking, func(g crdt.Group, size int) bool {
		sent.AddRange(g.Actor, g.First, g.Last())
		stopped = !fn(g, size)
		return !stopped
	})
	return stopped || sent.Covers(lacking), err
}
