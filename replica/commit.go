package replica

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/ring"
)

// A job changes rows and so waits for the shard's next transaction.
type job struct {
	size int // estimated bytes
	fill func(*commit) error
}

// commit is one transaction under way: what goes out at once, and what must not
// go out before it is durable.
type commit struct {
	s       *Shard
	tx      Tx
	touched []*part
	ship    map[ring.NodeID][]Shipment // to replicas, while the commit is under way
	acks    map[ring.NodeID][]Receipt  // to those who sent us groups, afterwards
	then    []func(error)              // afterwards, in order
	drops   []int
	pulls   map[pulled]bool
	chains  map[chained]bool
	groups  int
	expired int // rows of which something was removed because its time was over

	soundings []func() // answers that wait for it
}

type pulled struct {
	from      ring.NodeID
	partition int
}

func (s *Shard) enqueue(size int, fill func(*commit) error) {
	s.queue = append(s.queue, job{size, fill})
	s.queueBytes += size
}

// full tells whether the queue has no room for one more client's mutation.
func (s *Shard) full() bool {
	return len(s.queue) >= s.cfg.MaxQueue || s.queueBytes >= 32*s.cfg.BatchBytes
}

// Waiting tells whether something waits for a transaction and none is under
// way.
func (s *Shard) Waiting() bool { return s.committing == nil && len(s.queue) > 0 }

// Fill moves what is waiting into a transaction: as much as has gathered, up to
// the bounds of one batch. The driver commits it and calls Committed with the
// outcome; sends that Fill left in the outputs need not wait for that.
//
// An error means that the store cannot be trusted: the driver rolls back, calls
// Committed with the error, and opens the store again, under a new actor.
func (s *Shard) Fill(now Now, tx Tx) error {
	s.now = now
	c := &commit{s: s, tx: tx, ship: map[ring.NodeID][]Shipment{}, pulls: map[pulled]bool{}, chains: map[chained]bool{}, acks: map[ring.NodeID][]Receipt{}}
	s.committing = c
	taken, bytes := 0, 0
	for taken < len(s.queue) && (taken == 0 || c.groups < s.cfg.BatchGroup && bytes < s.cfg.BatchBytes) {
		j := s.queue[taken]
		taken++
		bytes += j.size
		if err := j.fill(c); unusable(err) {
			s.damaged(-1, err)
		} else if err != nil {
			s.dequeue(taken)
			return fmt.Errorf("fill a commit of shard %v: %w", s.cfg.Self, err)
		}
	}
	s.dequeue(taken)
	for _, p := range c.touched {
		if err := p.Save(tx); err != nil {
			return fmt.Errorf("store the clock of partition %d: %w", p.ID, err)
		}
		s.noticed(p.Partition)
		s.surveyGrown(c, p)
		s.cutSoon(c, p)
	}
	for _, to := range sortedKeys(c.ship) {
		s.send(to, Replicate{Batch: c.ship[to]})
	}
	if mutated(ackBeforeSync) {
		s.sendAcks(c)
	}
	return nil
}

func (s *Shard) dequeue(n int) {
	for _, j := range s.queue[:n] {
		s.queueBytes -= j.size
	}
	s.queue = append(s.queue[:0], s.queue[n:]...)
	clear(s.queue[len(s.queue):cap(s.queue)])
}

// Committed ends the transaction that Fill filled. With an error nothing of it
// is known to be durable; the shard then answers what it can and must be
// replaced.
func (s *Shard) Committed(now Now, err error) {
	s.now = now
	c := s.committing
	s.committing = nil
	if err == nil {
		s.Stats.Commits++
		s.Stats.CommitGroups += uint64(c.groups)
		for _, id := range c.drops {
			if at, found := slices.BinarySearch(s.stored, id); found {
				s.stored = slices.Delete(s.stored, at, at+1)
			}
		}
		for _, p := range c.touched {
			if at, found := slices.BinarySearch(s.stored, p.ID); !found && !p.Clock().IsEmpty() {
				s.stored = slices.Insert(s.stored, at, p.ID)
			}
		}
		for _, p := range c.touched {
			p.committed(p.Clock())
		}
		s.sendAcks(c)
	}
	for _, then := range c.then {
		then(err)
	}
	if err != nil {
		return
	}
	for _, answer := range c.soundings {
		answer()
	}
	for _, p := range c.touched {
		s.checkReady(p)
	}
	s.wakeWaiting()
}

func (s *Shard) sendAcks(c *commit) {
	for _, to := range sortedKeys(c.acks) {
		s.send(to, Acked{Batch: c.acks[to]})
	}
	clear(c.acks)
}

// sortedKeys lists the keys of a map in order: nothing that goes out may depend on
// the order of a map.
func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// part returns the replica of a partition that this transaction will change.
func (c *commit) part(id int) (*part, error) {
	p, err := c.partOrWipe(id)
	if err == nil && !slices.Contains(c.touched, p) {
		c.touched = append(c.touched, p)
	}
	return p, err
}

// apply applies a group and mints, in the same transaction, the voids that it
// makes necessary.
func (c *commit) apply(p *part, g *crdt.Group) (Outcome, error) {
	s := c.s
	if g.Actor == p.actor && g.Last() > p.seq {
		// Somebody else's event bears this opening's actor: a restored or copied
		// store. Never mint under that actor again.
		s.Stats.Rotations++
		p.actor, p.seq = s.cfg.NewActor(), 0
		clear(p.unsettled)
	}
	outcome, voids, err := p.Apply(c.tx, g, s.now.Wall)
	switch {
	case errors.Is(err, errPartialGroup):
		s.Stats.Malformed++
		return Held, nil // not applied, so not acknowledged
	case err != nil:
		return outcome, err
	}
	if outcome == Applied {
		c.groups++
	}
	for _, d := range voids {
		if err := c.void(p, g.Op, d); err != nil {
			return outcome, err
		}
	}
	return outcome, nil
}

func (c *commit) void(p *part, op crdt.Operation, d dvv.Dot) error {
	g, err := p.Void(c.tx, op, d, p.mint, c.s.nextStamp())
	if err != nil {
		return err
	}
	c.s.Stats.Minted++
	if _, _, err := p.Apply(c.tx, &g, c.s.now.Wall); err != nil {
		return err
	}
	c.groups++
	for _, st := range c.s.ring.Active(p.ID, c.s.usable) {
		c.shipTo(st.Node, p.ID, g)
	}
	return nil
}

// mint hands out the next dots of this opening in the partition, and returns the
// first of them.
func (p *part) mint(n int) dvv.Dot {
	first := dvv.Dot{Actor: p.actor, Seq: p.seq + 1}
	p.seq += uint64(n)
	return first
}

func (c *commit) shipTo(to ring.NodeID, partition int, g crdt.Group) {
	if to == c.s.cfg.Self {
		return
	}
	batch := c.ship[to]
	for i := range batch {
		if batch[i].Partition == partition {
			batch[i].Groups = append(batch[i].Groups, g)
			return
		}
	}
	c.ship[to] = append(batch, Shipment{partition, []crdt.Group{g}})
}

// shipChain ships a group to a fallback, and before it what it follows, as far as
// this commit did not ship that already: nobody sent it to the fallback before,
// and a fallback does not catch up.
func (c *commit) shipChain(to ring.NodeID, partition int, g *crdt.Group) {
	if p := c.s.parts[partition]; p != nil && g.Adds() {
		of := func(first uint64) chained {
			return chained{to, partition, dvv.Dot{Actor: g.Actor, Seq: first}}
		}
		chain := p.chain(g, func(first uint64) bool { return c.chains[of(first)] })
		for _, before := range chain[:len(chain)-1] {
			c.chains[of(before.First)] = true
			c.shipTo(to, partition, before)
		}
		c.chains[of(g.First)] = true
	}
	c.shipTo(to, partition, *g)
}

// chained is a group of increments, by its first dot, that was shipped to a
// fallback.
type chained struct {
	to        ring.NodeID
	partition int
	first     dvv.Dot
}

// pull asks a peer, once this transaction is durable, for what is missing of a
// partition: an increment came whose predecessor did not.
func (c *commit) pull(from ring.NodeID, partition int) {
	key := pulled{from, partition}
	if c.pulls[key] {
		return
	}
	c.pulls[key] = true
	c.then = append(c.then, func(err error) {
		if err == nil {
			c.s.catchUpFrom(partition, from, true)
		}
	})
}

func (c *commit) ack(to ring.NodeID, partition int, d dvv.Dot) {
	batch := c.acks[to]
	if n := len(batch); n > 0 && batch[n-1].Partition == partition {
		batch[n-1].Dots = append(batch[n-1].Dots, d)
		return
	}
	c.acks[to] = append(batch, Receipt{partition, []dvv.Dot{d}})
}

// receiveReplicate applies what a coordinator sent and acknowledges it when it
// is durable. A node that does not own the partition thereby becomes a replica
// that hands off later.
func (s *Shard) receiveReplicate(from ring.NodeID, m Replicate) {
	size := 0
	for _, sh := range m.Batch {
		if !s.valid(sh.Partition) {
			s.Stats.Malformed++
			return
		}
		for i := range sh.Groups {
			size += sh.Groups[i].Bytes()
		}
	}
	s.deliver(size, func(c *commit) error {
		if s.departed() {
			return nil // unacknowledged: a fallback will be asked
		}
		for _, sh := range m.Batch {
			p, err := c.part(sh.Partition)
			if err != nil {
				return err
			}
			for i := range sh.Groups {
				if p.promoting() {
					break // not acknowledged, so it comes again
				}
				outcome, err := c.apply(p, &sh.Groups[i])
				if err != nil {
					return err
				}
				switch outcome {
				case Applied, Known:
					c.ack(from, sh.Partition, sh.Groups[i].Dot(0))
				case Early:
					if p.install == nil { // what it follows may be in the cut
						c.pull(from, sh.Partition)
					}
				}
			}
		}
		return nil
	})
}

// deliver queues a peer's groups, or refuses them when the queue is far over
// its bounds: an unacknowledged message is one that was lost.
func (s *Shard) deliver(size int, fill func(*commit) error) {
	if s.ailing || len(s.queue) >= 2*s.cfg.MaxQueue || s.queueBytes >= 64*s.cfg.BatchBytes {
		s.Stats.Refused++
		return
	}
	s.enqueue(size, fill)
}
