package replica

import (
	"github.com/cartwheel-db/cartwheel/crdt"
)

// mendIndex builds the index of deferred dots or of expiries again from the rows: an
// entry that cannot be read may hide a row whose deferred dots have arrived, or
// one that has expired. Readers do not ask the latter, so until then such a member
// stays hidden and is merely not removed.
func (s *Shard) mendIndex(r record) {
	d := &s.shardDamage
	var fresh bool
	if d.indexes, fresh = insertRecord(d.indexes, r); fresh {
		s.enqueue(0, func(c *commit) error { return s.fillIndex(c, r, nil) })
	}
}

// indexSlice is how many rows one commit looks at.
const indexSlice = 2000

func (s *Shard) fillIndex(c *commit, r record, from []byte) error {
	over := func() error {
		c.then = append(c.then, func(err error) {
			if err == nil {
				s.shardDamage.indexes = deleteRecord(s.shardDamage.indexes, r)
				s.mended(r)
			}
		})
		return c.tx.Purge(r.part, r.partition, []byte(r.key))
	}
	if !s.stores(r.partition) {
		return over()
	}
	p, err := c.part(r.partition)
	if err != nil {
		return err
	}
	type filed struct {
		a   crdt.Address
		row crdt.Row
	}
	var rows []filed
	var next []byte
	seen := 0
	err = p.sparing(c.tx.AllRows(p.ID, from, func(a crdt.Address, row crdt.Row) bool {
		if r.part == partDeferred && len(row.Deferred) > 0 || r.part == partExpiring && row.Timed() {
			rows = append(rows, filed{a, row})
		}
		if seen++; seen == indexSlice {
			next = append(a.AppendBinary(nil), 0)
		}
		return seen < indexSlice
	}))
	for _, d := range rows {
		if err != nil {
			break
		}
		after := d.row.Clone()
		if after.Forget(p.clock) {
			err = p.putRow(c.tx, d.a, d.row, after)
		}
		if err == nil {
			err = c.tx.ReplaceRow(p.ID, d.a, after) // which rebuilds what the index says of it
		}
	}
	switch {
	case err != nil:
		return err
	case next == nil:
		return over()
	}
	c.then = append(c.then, func(err error) {
		if err == nil {
			s.enqueue(0, func(c *commit) error { return s.fillIndex(c, r, next) })
		}
	})
	return nil
}

// dropSummary removes a damaged summary. The set is summed up again when it grows or
// somebody wants its size.
func (s *Shard) dropSummary(r record) {
	s.enqueue(0, func(c *commit) error {
		c.then = append(c.then, func(err error) {
			if err == nil {
				s.mended(r)
			}
		})
		return c.tx.Purge(r.part, r.partition, []byte(r.key))
	})
}
