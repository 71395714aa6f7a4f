package replica

import (
	"slices"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/ring"
)

// A damaged row is made whole with another owner's:
//
//	a ── Fetch ────▶ b     the addresses between a's whole neighbours
//	a ◀─ Fetched ─── b     b's rows there, and the clock they were read under
//	  …                    a catches up until its clock covers b's
//	a: b's rows, a's logged events that b lacks applied to them, in one commit
//
// What a holds must come out, so b's clock must cover a's, but for what a logs.

// Fetch asks an owner for its rows strictly between two addresses. Nil bounds
// reach to the ends of the partition.
type Fetch struct {
	ID          uint64 // of the sender
	Partition   int
	From, Until []byte // address bytes
}

// Fetched replies to [Fetch].
type Fetched struct {
	ID        uint64
	Partition int
	Failed    bool // the rows are damaged here too, or too many for one message
	Clock     dvv.Clock
	Dead      []FetchedDead  // of the keys whose rows may lie between, in order
	Rows      []AddressedRow // in order
}

// FetchedDead is the dots deferred at a key.
type FetchedDead struct {
	Key  crdt.Key
	Dots dvv.Clock
}

// MaxFetched bounds the rows, and the keys with deferred dots, of one [Fetched].
const MaxFetched = 4096

func (Fetch) message()   {}
func (Fetched) message() {}

// wound is a damaged row on its way to be made whole.
type wound struct {
	record
	tried    []ring.NodeID // that could not help, since all were tried last
	at       int64         // [Now.Mono]: not before
	wait     int64         // until all owners are tried again
	hopeless bool          // all were tried in vain
	repair   *repair
}

// repair is one try at a wound.
type repair struct {
	id      uint64
	wound   *wound
	pieces  []piece
	sources []ring.NodeID // of the pieces
	replies []*Fetched
	until   int64 // [Now.Mono]: given up
}

const (
	maxRepairs     = 16 // at a time
	repairPatience = int64(5e9)
	repairAgain    = int64(50e6) // until a look whether this node has caught up
	maxRepairWait  = int64(60e9)
)

func (s *Shard) wound(r record) {
	d := &s.shardDamage
	at, found := slices.BinarySearchFunc(d.wounds, r, func(w *wound, r record) int { return w.compare(r) })
	if !found {
		d.wounds = slices.Insert(d.wounds, at, &wound{record: r})
		s.wakeRepairs()
	}
}

// wakeRepairs looks at wounds as soon as the step under way is over: it may be
// one that reads.
func (s *Shard) wakeRepairs() {
	if d := &s.shardDamage; !d.waking {
		d.waking = true
		s.after(0, func() {
			d.waking = false
			s.repairRound()
		})
	}
}

func (s *Shard) repairRound() {
	d := &s.shardDamage
	active := 0
	for _, w := range d.wounds {
		if w.repair != nil && w.repair.until <= s.now.Mono {
			s.abandon(w, w.repair.sources...)
		}
		if w.repair != nil {
			active++
		}
	}
	for _, w := range slices.Clone(d.wounds) {
		if w.repair == nil && w.at <= s.now.Mono && active < maxRepairs {
			if s.startRepair(w); w.repair != nil {
				active++
			}
		}
	}
}

// abandon ends a try; those named could not help.
func (s *Shard) abandon(w *wound, tried ...ring.NodeID) {
	if w.repair != nil {
		delete(s.shardDamage.repairs, w.repair.id)
		w.repair = nil
	}
	for _, id := range tried {
		if !slices.Contains(w.tried, id) {
			w.tried = append(w.tried, id)
		}
	}
	s.wakeRepairs()
}

func (s *Shard) startRepair(w *wound) {
	var pieces []piece
	var whole bool
	err := s.cfg.Read(func(v View) (err error) {
		pieces, whole, err = s.pieces(v, w.record)
		return err
	})
	switch {
	case err != nil:
		w.at = s.now.Mono + damageEvery
		return
	case whole:
		s.healed(w)
		return
	}
	r := &repair{id: s.id(), wound: w, pieces: pieces, replies: make([]*Fetched, len(pieces)), until: s.now.Mono + repairPatience}
	for _, c := range pieces {
		from, left := s.sourceFor(c.partition, w.tried)
		if from == "" {
			if !left {
				s.restWound(w)
			}
			w.at = max(w.at, s.now.Mono+damageEvery)
			return
		}
		r.sources = append(r.sources, from)
	}
	w.repair = r
	s.shardDamage.repairs[r.id] = r
	for i, c := range pieces {
		s.send(r.sources[i], Fetch{ID: r.id, Partition: c.partition, From: c.from, Until: c.until})
	}
	if len(pieces) == 0 {
		s.enqueue(0, func(c *commit) error { return s.fillRepair(c, r) })
	}
}

// sourceFor returns the next owner to be asked, or whether there will be one that
// was not asked yet.
func (s *Shard) sourceFor(partition int, tried []ring.NodeID) (id ring.NodeID, left bool) {
	for _, id := range s.ring.Owners(partition) {
		if id == s.cfg.Self || slices.Contains(tried, id) {
			continue
		}
		if left = true; s.usable(id) {
			return id, true
		}
	}
	return "", left
}

// restWound lets a wound rest: no owner could help. It is tried again, ever more
// slowly.
func (s *Shard) restWound(w *wound) {
	w.tried = nil
	w.wait = min(max(2*w.wait, damageEvery), maxRepairWait)
	w.at = s.now.Mono + w.wait
	if !w.hopeless {
		w.hopeless = true
		s.Stats.Unrepairable++
		s.report("cannot be repaired now, no other owner has it whole: %v", w.record)
	}
}

func (s *Shard) healed(w *wound) {
	d := &s.shardDamage
	d.wounds = slices.DeleteFunc(d.wounds, func(o *wound) bool { return o == w })
	s.mended(w.record)
}

// receiveFetch replies with this owner's rows, read in one view.
func (s *Shard) receiveFetch(from ring.NodeID, m Fetch) {
	if !s.valid(m.Partition) {
		s.Stats.Malformed++
		return
	}
	p, err := s.loaded(m.Partition)
	if err != nil || p.promoting() {
		s.send(from, Fetched{ID: m.ID, Partition: m.Partition, Failed: true})
		return
	}
	reply := Fetched{ID: m.ID, Partition: m.Partition}
	err = s.cfg.Read(func(v View) error { return reply.read(v, piece{m.Partition, m.From, m.Until}) })
	if err != nil {
		s.damaged(m.Partition, err)
		reply.Failed = true
	}
	if reply.Failed {
		reply = Fetched{ID: m.ID, Partition: m.Partition, Failed: true}
	}
	s.send(from, reply)
}

func (m *Fetched) read(v View, c piece) error {
	var stored bool
	var err error
	if m.Clock, stored, err = v.Clock(c.partition); err != nil || !stored {
		m.Failed = true
		return err
	}
	size := 0
	err = v.AllRows(c.partition, c.first(), func(a crdt.Address, r crdt.Row) bool {
		if !c.holds(a.AppendBinary(nil)) {
			return false
		}
		m.Rows = append(m.Rows, AddressedRow{a, r})
		size += rowBytes(r) + len(a.Name) + len(a.Field)
		m.Failed = len(m.Rows) > MaxFetched || size > maxAnswer
		return !m.Failed
	})
	if err != nil {
		return err
	}
	return v.AllDead(c.partition, func(k crdt.Key, dots dvv.Clock) bool {
		if c.touches(k) {
			m.Dead = append(m.Dead, FetchedDead{k, dots})
			m.Failed = m.Failed || len(m.Dead) > MaxFetched
		}
		return !m.Failed
	})
}

// touches tells whether rows of a key may lie in the piece.
func (c piece) touches(k crdt.Key) bool {
	low := k.AppendPrefix(nil)
	if c.until != nil && string(low) >= string(c.until) {
		return false
	}
	return c.from == nil || string(low) > string(c.from) || len(c.from) >= len(low) && string(c.from[:len(low)]) == string(low)
}

func (s *Shard) receiveFetched(from ring.NodeID, m Fetched) {
	r := s.shardDamage.repairs[m.ID]
	if r == nil {
		return
	}
	at := slices.IndexFunc(r.pieces, func(c piece) bool { return c.partition == m.Partition })
	if at < 0 || r.sources[at] != from || r.replies[at] != nil {
		return
	}
	if !m.Failed && !m.within(r.pieces[at]) {
		s.Stats.Malformed++
		m.Failed = true
	}
	if m.Failed {
		s.abandon(r.wound, from)
		return
	}
	r.replies[at] = &m
	if !slices.Contains(r.replies, nil) {
		r.until = s.now.Mono + repairPatience
		s.enqueue(0, func(c *commit) error { return s.fillRepair(c, r) })
	}
}

// within tells whether all rows lie in the piece, in order.
func (m *Fetched) within(c piece) bool {
	for i, r := range m.Rows {
		if !c.holds(r.Address.AppendBinary(nil)) || i > 0 && m.Rows[i-1].Address.Compare(r.Address) >= 0 {
			return false
		}
	}
	return true
}

// fillRepair puts whole rows in the place of damaged ones, when what was fetched
// fits what is here now.
func (s *Shard) fillRepair(c *commit, r *repair) error {
	if r.wound.repair != r {
		return nil // given up
	}
	pieces, whole, err := s.pieces(c.tx, r.wound.record)
	switch {
	case err != nil:
		return err
	case whole:
		s.healed(r.wound)
		return nil
	case !slices.EqualFunc(pieces, r.pieces, piece.equal):
		s.abandon(r.wound)
		return nil
	}
	grown := make([][]AddressedRow, len(pieces))
	for i, at := range pieces {
		p, err := c.part(at.partition)
		if err != nil {
			return err
		}
		if p.promoting() { // what a snapshot brings this row may have been passed over by now
			c.then = append(c.then, func(error) { s.fitAgain(r) })
			return nil
		}
		rows, why, err := p.regrow(c.tx, at, r.replies[i])
		switch {
		case err != nil:
			return err
		case why == lagging:
			s.abandon(r.wound, r.sources[i])
			return nil
		case why == leading:
			s.catchUpForRepair(c, r, i)
			return nil
		}
		grown[i] = rows
	}
	gone := s.within(pieces, r.wound.record)
	for _, w := range gone {
		if err := c.tx.Purge(w.part, w.partition, []byte(w.key)); err != nil {
			return err
		}
	}
	for i, at := range pieces {
		if err := s.parts[at.partition].regrown(c.tx, at, gone, grown[i]); err != nil {
			return err
		}
	}
	c.then = append(c.then, func(err error) {
		if err == nil {
			s.repaired(r, gone)
		}
	})
	return nil
}

// catchUpForRepair asks for what the source of a piece had and this node lacks,
// and looks again a little later.
func (s *Shard) catchUpForRepair(c *commit, r *repair, i int) {
	c.then = append(c.then, func(err error) {
		if err != nil {
			return
		}
		s.catchUpFrom(r.pieces[i].partition, r.sources[i], true)
		s.fitAgain(r)
	})
}

// fitAgain looks a little later whether what was fetched fits by then.
func (s *Shard) fitAgain(r *repair) {
	s.after(repairAgain, func() {
		if r.wound.repair == r {
			s.enqueue(0, func(c *commit) error { return s.fillRepair(c, r) })
		}
	})
}

// within lists the known damaged rows of some pieces, and the one they are for.
func (s *Shard) within(pieces []piece, of record) (out []record) {
	for _, w := range s.shardDamage.wounds {
		in := slices.ContainsFunc(pieces, func(c piece) bool { return c.partition == w.partition && c.holds([]byte(w.key)) })
		if in || w.record == of {
			out = append(out, w.record)
		}
	}
	return out
}

// regrown puts the rows of a piece in place. What the damaged records were filed
// under is replaced by nothing where no row is: the index may speak of it.
func (p *Partition) regrown(tx Tx, c piece, gone []record, rows []AddressedRow) error {
	for _, w := range gone {
		a, err := crdt.DecodeAddress([]byte(w.key))
		if err != nil || w.partition != p.ID || !c.holds([]byte(w.key)) {
			continue
		}
		if err := tx.ReplaceRow(p.ID, a, crdt.Row{}); err != nil {
			return err
		}
	}
	for _, r := range rows {
		if err := tx.ReplaceRow(p.ID, r.Address, r.Row); err != nil {
			return err
		}
	}
	p.sums.forget() // nobody knows what the damaged rows were summed up as
	if err := p.forgetSummaries(tx); err != nil {
		return err
	}
	return p.outdateTree(tx)
}

func (s *Shard) repaired(r *repair, gone []record) {
	delete(s.shardDamage.repairs, r.id)
	for _, w := range slices.Clone(s.shardDamage.wounds) {
		if slices.Contains(gone, w.record) {
			s.Stats.RepairedRows++
			s.report("repaired from %v: %v", r.sources, w.record)
			s.healed(w)
		}
	}
	s.wakeRepairs()
}
