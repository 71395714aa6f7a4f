package replica

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/ring"
)

// Damaged records (rule 9). Nothing here fails half-way because of one: what
// meets a damaged record passes it over, notes it, and the rest of the
// transaction goes on. What then becomes of it depends on its part:
//
//	rows                   damage_repair.go   another owner's row, and my logged events of it
//	clocks, dead, marks    damage_wiped.go    the partition is a wiped store; peers fill it again
//	log                    a gap, until every owner is known to hold the events
//	remembered             a retry of it is refused as unknown until its window is closed
//	deferred, expiring     the index is built again from the rows
//	summaries              the set is summed up again
//	trees, staged          whoever reads them begins anew

// DamageStats counts damaged records, each once.
type DamageStats struct {
	DamagedRows       uint64
	RepairedRows      uint64 // damaged rows that are whole again
	DamagedLog        uint64 // groups that the log cannot give any more
	DroppedLog        uint64 // of those: left the log, since every owner holds them
	DamagedOperations uint64 // retries of these may count twice, or are refused as unknown
	DamagedOthers     uint64 // clocks, deferred clears, indexes, marks, trees, staged rows
	WipedPartitions   uint64 // partitions begun anew, because their clock or clears were damaged
	Unrepairable      uint64 // times that a damaged record was asked for in vain from every owner
}

// partDamage is what a replica knows of damaged records that it met.
type partDamage struct {
	wounds  []record // rows, until they are whole; sorted
	torn    []record // logged groups, until they are dropped; sorted
	noticed []record // what the shard has not taken note of yet
}

// spares tells whether an error is about damaged records alone, and notes them:
// they are left alone, and the step goes on.
func (p *Partition) spares(err error) bool {
	return eachDamage(err, func(r record) { p.meet(r) })
}

// sparing passes on every error but those about damaged records.
func (p *Partition) sparing(err error) error {
	if p.spares(err) {
		return nil
	}
	return err
}

// meet notes a damaged record, and leaves word of it for the shard.
func (p *Partition) meet(r record) {
	if p.keep(r) && !slices.Contains(p.noticed, r) {
		p.noticed = append(p.noticed, r)
	}
}

// keep notes a damaged record, and tells whether it may be news.
func (p *Partition) keep(r record) (fresh bool) {
	switch r.part {
	case partRows:
		if p.wounds, fresh = insertRecord(p.wounds, r); fresh {
			p.sums.forget() // events leave the row alone from here on
			p.walk = nil
		}
	case partLog:
		p.torn, fresh = insertRecord(p.torn, r)
	default:
		fresh = true
	}
	return fresh
}

// inLog tells whether an error is about damaged records of the log alone.
func inLog(err error) bool {
	in := true
	return eachDamage(err, func(r record) { in = in && r.part == partLog }) && in
}

// adoptDamage tells a partition that was just loaded what is known of its
// damaged records.
func (s *Shard) adoptDamage(p *Partition) {
	for _, r := range s.shardDamage.known {
		if r.partition == p.ID {
			p.keep(r)
		}
	}
}

// trimmable tells whether events may leave the log: a damaged row is made whole
// with them.
func (p *Partition) trimmable() bool { return len(p.wounds) == 0 }

// DamagedRows tells how many damaged rows are known.
func (p *Partition) DamagedRows() int { return len(p.wounds) }

// dropTorn removes damaged records from the log when it is known that every
// owner holds their events. A damaged name tells nothing: then all that is here
// must be held by all.
func (p *Partition) dropTorn(tx Tx, stable dvv.Clock) (dropped int, err error) {
	for _, r := range slices.Clone(p.torn) {
		if !stable.Contains(r.dot()) && !stable.Covers(p.clock) {
			continue
		}
		if err := tx.Purge(r.part, r.partition, []byte(r.key)); err != nil {
			return dropped, err
		}
		p.torn = deleteRecord(p.torn, r)
		dropped++
	}
	return dropped, nil
}

type shardDamage struct {
	known   []record // that were counted and reported; sorted
	wounds  []*wound // damaged rows, in order of records
	heads   []record // clocks, dead or marks that wait for a job, or for a member to fetch from
	indexes []record // damaged entries of the index of deferred dots
	lost    []lostOperation
	reports []string

	repairs map[uint64]*repair
	waking  bool // a look at wounds is due
}

// lostOperation is a damaged record of an operation. It is kept until the window
// is closed of all that were issued before it was found.
type lostOperation struct {
	record
	found int64 // [Now.Mono]
}

// maxReports bounds what waits to be taken.
const maxReports = 256

// Reports takes what there is to tell an operator about damaged records: each is
// told of once when it is found, and once when it is whole again.
func (s *Shard) Reports() []string {
	out := s.shardDamage.reports
	s.shardDamage.reports = nil
	return out
}

func (s *Shard) report(format string, args ...any) {
	if len(s.shardDamage.reports) < maxReports {
		s.shardDamage.reports = append(s.shardDamage.reports, fmt.Sprintf(format, args...))
	}
}

// Damaged takes note of damaged records that an error of the store tells of, such
// as those found when it was opened, and sees to them. It tells whether the error
// is about nothing else.
func (s *Shard) Damaged(now Now, err error) bool {
	s.now = now
	return s.damaged(-1, err)
}

// damaged takes note of damaged records met while a partition was read; -1 when
// it was none in particular.
func (s *Shard) damaged(partition int, err error) bool {
	return eachDamage(err, func(r record) { s.notice(partition, r) })
}

// noticed takes over what a replica met in a transaction.
func (s *Shard) noticed(p *Partition) {
	met := p.noticed
	p.noticed = nil
	for _, r := range met {
		s.notice(p.ID, r)
	}
}

func (s *Shard) notice(met int, r record) {
	d := &s.shardDamage
	var fresh bool
	if d.known, fresh = insertRecord(d.known, r); fresh {
		s.countDamage(r)
		s.report("damaged: %v", r)
	}
	for _, id := range []int{met, r.partition} {
		if p := s.parts[id]; p != nil {
			p.keep(r)
		}
	}
	switch r.part {
	case partRows:
		s.wound(r)
	case partClocks, partDead, partMarks:
		s.mendHead(met, r)
	case partDeferred, partExpiring:
		s.mendIndex(r)
	case partSummaries:
		s.dropSummary(r)
	case partRemembered:
		if fresh {
			d.lost = append(d.lost, lostOperation{r, s.now.Mono})
		}
	}
}

func (s *Shard) countDamage(r record) {
	switch r.part {
	case partRows:
		s.Stats.DamagedRows++
	case partLog:
		s.Stats.DamagedLog++
	case partRemembered:
		s.Stats.DamagedOperations++
	default:
		s.Stats.DamagedOthers++
	}
}

// mended forgets a damaged record that is whole again, or gone.
func (s *Shard) mended(r record) {
	d := &s.shardDamage
	d.known = deleteRecord(d.known, r)
	for _, id := range sortedKeys(s.parts) {
		p := s.parts[id]
		p.wounds, p.torn = deleteRecord(p.wounds, r), deleteRecord(p.torn, r)
	}
}

func (s *Shard) startDamage() {
	s.shardDamage.repairs = map[uint64]*repair{}
	s.after(damageEvery, s.damageRound)
}

// damageEvery is how often damage that was left alone is looked at again.
const damageEvery = int64(1e9) // nanoseconds

func (s *Shard) damageRound() {
	s.after(damageEvery, s.damageRound)
	s.forgetLost()
	s.retryHeads()
	s.repairRound()
}

func (s *Shard) receiveDamage(from ring.NodeID, m Message) bool {
	switch m := m.(type) {
	case Fetch:
		s.receiveFetch(from, m)
	case Fetched:
		s.receiveFetched(from, m)
	default:
		return false
	}
	return true
}

// doubts tells whether an error says that an operation was remembered here and
// cannot be read. Damage beside where it would stand says nothing about it: what
// else may have been there, the other owners remember.
func (p *Partition) doubts(err error, op crdt.Operation) bool {
	in := false
	eachDamage(err, func(r record) {
		if o, ok := r.operation(); ok && r.partition == p.ID && o == op {
			in = true
		}
	})
	return in
}

// forgetLost removes damaged records of operations that nobody can retry any more.
func (s *Shard) forgetLost() {
	d := &s.shardDamage
	due := s.now.Mono - (s.cfg.OpWindow+s.cfg.MaxSkew)*1e6
	n := 0
	for n < len(d.lost) && d.lost[n].found <= due {
		n++
	}
	for _, l := range d.lost[:n] {
		s.enqueue(0, func(c *commit) error {
			c.then = append(c.then, func(err error) {
				if err == nil {
					s.mended(l.record)
				}
			})
			return c.tx.Purge(l.part, l.partition, []byte(l.key))
		})
	}
	d.lost = slices.Delete(d.lost, 0, n)
}

// unusableError tells that a partition cannot be used as it is stored: its clock,
// deferred clears or marks are damaged.
type unusableError struct {
	partition int
	err       error
}

func (e *unusableError) Error() string {
	return fmt.Sprintf("partition %d cannot be used: %v", e.partition, e.err)
}

func (e *unusableError) Unwrap() error { return e.err }

func headless(partition int, err error) error {
	if eachDamage(err, func(record) {}) {
		return &unusableError{partition, err}
	}
	return err
}

// unusable tells whether a job ended because a partition cannot be used. It ended
// between two groups, so what it did until then stands.
func unusable(err error) bool {
	var u *unusableError
	return errors.As(err, &u)
}
