package replica_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica"
	"github.com/cartwheel-db/cartwheel/replica/replicatest"
)

// damage is what became of some of a store's records: they fail as on disk, where
// a look-up that finds nothing checks the records on both sides, and a walk those
// it passes and the ones beside its ends.
type damage struct{ records []*damagedRecord }

// damagedRecord is filed under a name that may itself be damaged. Beneath, the
// store still holds what was stored: nobody may ever see it.
type damagedRecord struct {
	part      string
	partition int
	key       string        // as it is read now
	row       *crdt.Address // of a row: where it was stored, nil when that was written anew
}

func (d *damagedRecord) Error() string {
	return fmt.Sprintf("test: damaged record %x in %s of partition %d", d.key, d.part, d.partition)
}

func (d *damagedRecord) Record() (string, int, []byte) { return d.part, d.partition, []byte(d.key) }

func (d *damagedRecord) place() []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(d.partition)), d.key...)
}

// row damages a row, and its name where another one is given.
func (d *damage) row(partition int, a crdt.Address, name string) {
	if name == "" {
		name = string(a.AppendBinary(nil))
	}
	d.records = append(d.records, &damagedRecord{"rows", partition, name, &a})
}

func (d *damage) other(part string, partition int, key []byte) {
	d.records = append(d.records, &damagedRecord{part: part, partition: partition, key: string(key)})
}

func (d *damage) find(part string, partition int, key []byte) *damagedRecord {
	for _, r := range d.records {
		if r.part == part && r.partition == partition && r.key == string(key) {
			return r
		}
	}
	return nil
}

func (d *damage) heal(part string, partition int, key []byte) (healed *damagedRecord) {
	if healed = d.find(part, partition, key); healed != nil {
		d.records = slices.DeleteFunc(d.records, func(r *damagedRecord) bool { return r == healed })
	}
	return healed
}

func (d *damage) of(v replica.View) replica.View { return damagedView{v, d} }

func (d *damage) in(tx *replicatest.MemTx) replica.Tx {
	return damagedTx{tx, damagedView{tx, d}, d}
}

// damagedView reads a store that is damaged.
type damagedView struct {
	replica.View
	d *damage
}

// entry is a record as it lies on disk.
type entry struct {
	place   []byte // partition, then address
	address crdt.Address
	row     crdt.Row
	damaged *damagedRecord
}

// entries lists the rows as they lie on disk, of all partitions.
func (v damagedView) entries() (all []entry) {
	for p := range 8 {
		_ = v.View.AllRows(p, nil, func(a crdt.Address, r crdt.Row) bool {
			for _, d := range v.d.records {
				if d.part == "rows" && d.partition == p && d.row != nil && *d.row == a {
					return true
				}
			}
			all = append(all, entry{place: placeOf(p, a.AppendBinary(nil)), address: a, row: r})
			return true
		})
	}
	for _, d := range v.d.records {
		if d.part == "rows" {
			all = append(all, entry{place: d.place(), damaged: d})
		}
	}
	slices.SortFunc(all, func(a, b entry) int { return bytes.Compare(a.place, b.place) })
	return all
}

func placeOf(p int, key []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(p)), key...)
}

func (v damagedView) walkRows(prefix, from []byte, fn func(entry) bool) error {
	all := v.entries()
	at, exact := slices.BinarySearchFunc(all, from, func(e entry, b []byte) int { return bytes.Compare(e.place, b) })
	var met error
	note := func(i int) {
		if met == nil && i >= 0 && i < len(all) && all[i].damaged != nil {
			met = all[i].damaged
		}
	}
	if !exact {
		note(at)
		note(at - 1)
	}
	for i := at; i < len(all); i++ {
		note(i)
		switch {
		case !bytes.HasPrefix(all[i].place, prefix):
			return met
		case all[i].damaged == nil && !fn(all[i]):
			return met
		}
	}
	return met
}

func (v damagedView) Row(p int, a crdt.Address) (row crdt.Row, err error) {
	if len(v.d.records) == 0 { // as nearly always
		return v.View.Row(p, a)
	}
	if len(v.d.records) == 0 {
		return v.View.Row(p, a)
	}
	place, found := placeOf(p, a.AppendBinary(nil)), false
	err = v.walkRows(place, place, func(e entry) bool {
		if found = bytes.Equal(e.place, place); found {
			row = e.row
		}
		return false
	})
	if found {
		return row, nil
	}
	return crdt.Row{}, err
}

func (v damagedView) Rows(p int, k crdt.Key, from string, fn func(string, crdt.Row) bool) error {
	if len(v.d.records) == 0 {
		return v.View.Rows(p, k, from, fn)
	}
	prefix := placeOf(p, k.AppendPrefix(nil))
	if k.Type == crdt.Set {
		prefix = placeOf(p, k.Row().AppendBinary(nil))
	}
	return v.walkRows(prefix, append(slices.Clip(prefix), from...), func(e entry) bool { return fn(e.address.Field, e.row) })
}

func (v damagedView) AllRows(p int, from []byte, fn func(crdt.Address, crdt.Row) bool) error {
	if len(v.d.records) == 0 {
		return v.View.AllRows(p, from, fn)
	}
	prefix := placeOf(p, nil)
	return v.walkRows(prefix, placeOf(p, from), func(e entry) bool { return fn(e.address, e.row) })
}

func (v damagedView) DeferredIn(p int, dots dvv.Clock, fn func(dvv.Dot, crdt.Address) bool) error {
	err := v.View.DeferredIn(p, dots, fn)
	for _, d := range v.d.records {
		if d.part == "deferred" && err == nil {
			err = d
		}
	}
	return err
}

func (v damagedView) Expiring(p int, until int64, fn func(int64, crdt.Address) bool) error {
	var met error
	err := v.View.Expiring(p, until, func(at int64, a crdt.Address) bool {
		if d := v.d.find("expiring", p, expiringKey(at, a)); d != nil {
			met = d
			return true
		}
		return fn(at, a)
	})
	return errors.Join(err, met)
}

func expiringKey(at int64, a crdt.Address) []byte {
	return a.AppendBinary(binary.BigEndian.AppendUint64(nil, uint64(at)))
}

func (v damagedView) Summary(p int, k crdt.Key) (replica.Summary, bool, error) {
	if d := v.d.find("summaries", p, k.AppendPrefix(nil)); d != nil {
		return replica.Summary{}, false, d
	}
	return v.View.Summary(p, k)
}

func (v damagedView) AllSummaries(p int, fn func(crdt.Key, replica.Summary) bool) error {
	var met error
	err := v.View.AllSummaries(p, func(k crdt.Key, s replica.Summary) bool {
		if d := v.d.find("summaries", p, k.AppendPrefix(nil)); d != nil {
			met = d
			return true
		}
		return fn(k, s)
	})
	return errors.Join(err, met)
}

func (v damagedView) Partitions() (out []int, err error) {
	all, err := v.View.Partitions()
	for _, p := range all {
		if d := v.d.find("clocks", p, nil); d != nil {
			err = errors.Join(err, d)
		} else {
			out = append(out, p)
		}
	}
	return out, err
}

func (v damagedView) Clock(p int) (dvv.Clock, bool, error) {
	if d := v.d.find("clocks", p, nil); d != nil {
		return dvv.Clock{}, false, d
	}
	return v.View.Clock(p)
}

func (v damagedView) Mark(p int) (bool, bool, error) {
	if d := v.d.find("marks", p, nil); d != nil {
		return false, false, d
	}
	return v.View.Mark(p)
}

func (v damagedView) Dead(p int, k crdt.Key) (dvv.Clock, error) {
	if d := v.d.find("dead", p, k.AppendPrefix(nil)); d != nil {
		return dvv.Clock{}, d
	}
	return v.View.Dead(p, k)
}

func (v damagedView) AllDead(p int, fn func(crdt.Key, dvv.Clock) bool) error {
	var met error
	err := v.View.AllDead(p, func(k crdt.Key, c dvv.Clock) bool {
		if d := v.d.find("dead", p, k.AppendPrefix(nil)); d != nil {
			met = d
			return true
		}
		return fn(k, c)
	})
	return errors.Join(err, met)
}

func logKey(g *crdt.Group) []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(g.Actor))
	return binary.BigEndian.AppendUint64(b, g.Last())
}

func (v damagedView) Group(p int, dot dvv.Dot) (crdt.Group, bool, error) {
	g, logged, err := v.View.Group(p, dot)
	if logged {
		if d := v.d.find("log", p, logKey(&g)); d != nil {
			return crdt.Group{}, false, d
		}
	}
	return g, logged, err
}

func (v damagedView) Log(p int, wanted dvv.Clock, fn func(crdt.Group, int) bool) error {
	var met error
	err := v.View.Log(p, wanted, func(g crdt.Group, size int) bool {
		if d := v.d.find("log", p, logKey(&g)); d != nil {
			met = d
			return true
		}
		return fn(g, size)
	})
	if err == nil {
		err = met
	}
	return err
}

func operationKey(op crdt.Operation) []byte {
	b := append(binary.BigEndian.AppendUint64(nil, uint64(op.Issued)), op.Client[:]...)
	return binary.BigEndian.AppendUint64(b, op.Seq)
}

func (v damagedView) Remembered(p int, op crdt.Operation) (crdt.Remembered, bool, error) {
	if d := v.d.find("remembered", p, operationKey(op)); d != nil {
		return crdt.Remembered{}, false, d
	}
	return v.View.Remembered(p, op)
}

// damagedTx writes to it. What is written anew is whole.
type damagedTx struct {
	*replicatest.MemTx
	damagedView
	d *damage
}

func (t damagedTx) Partitions() ([]int, error)                  { return t.damagedView.Partitions() }
func (t damagedTx) Clock(p int) (dvv.Clock, bool, error)        { return t.damagedView.Clock(p) }
func (t damagedTx) Mark(p int) (bool, bool, error)              { return t.damagedView.Mark(p) }
func (t damagedTx) Row(p int, a crdt.Address) (crdt.Row, error) { return t.damagedView.Row(p, a) }
func (t damagedTx) Rows(p int, k crdt.Key, from string, fn func(string, crdt.Row) bool) error {
	return t.damagedView.Rows(p, k, from, fn)
}
func (t damagedTx) AllRows(p int, from []byte, fn func(crdt.Address, crdt.Row) bool) error {
	return t.damagedView.AllRows(p, from, fn)
}
func (t damagedTx) Dead(p int, k crdt.Key) (dvv.Clock, error) { return t.damagedView.Dead(p, k) }
func (t damagedTx) AllDead(p int, fn func(crdt.Key, dvv.Clock) bool) error {
	return t.damagedView.AllDead(p, fn)
}
func (t damagedTx) DeferredIn(p int, dots dvv.Clock, fn func(dvv.Dot, crdt.Address) bool) error {
	return t.damagedView.DeferredIn(p, dots, fn)
}
func (t damagedTx) Expiring(p int, until int64, fn func(int64, crdt.Address) bool) error {
	return t.damagedView.Expiring(p, until, fn)
}
func (t damagedTx) Summary(p int, k crdt.Key) (replica.Summary, bool, error) {
	return t.damagedView.Summary(p, k)
}
func (t damagedTx) AllSummaries(p int, fn func(crdt.Key, replica.Summary) bool) error {
	return t.damagedView.AllSummaries(p, fn)
}
func (t damagedTx) Group(p int, dot dvv.Dot) (crdt.Group, bool, error) {
	return t.damagedView.Group(p, dot)
}
func (t damagedTx) Log(p int, wanted dvv.Clock, fn func(crdt.Group, int) bool) error {
	return t.damagedView.Log(p, wanted, fn)
}
func (t damagedTx) Remembered(p int, op crdt.Operation) (crdt.Remembered, bool, error) {
	return t.damagedView.Remembered(p, op)
}

func (t damagedTx) AllRemembered(p int, from crdt.Operation, fn func(crdt.Remembered) bool) error {
	return t.MemTx.AllRemembered(p, from, fn)
}
func (t damagedTx) Tree(p int) ([]byte, error) { return t.MemTx.Tree(p) }
func (t damagedTx) Staged(p int, key []byte) ([]byte, bool, error) {
	return t.MemTx.Staged(p, key)
}
func (t damagedTx) AllStaged(p int, from []byte, fn func(key, value []byte) bool) error {
	return t.MemTx.AllStaged(p, from, fn)
}
func (t damagedTx) Tally(p int) (int64, int64, int64) { return t.MemTx.Tally(p) }

func (t damagedTx) PutClock(p int, c dvv.Clock) error {
	_ = t.d.heal("clocks", p, nil)
	return t.MemTx.PutClock(p, c)
}

func (t damagedTx) PutMark(p int, ready, promoting bool) error {
	_ = t.d.heal("marks", p, nil)
	return t.MemTx.PutMark(p, ready, promoting)
}

func (t damagedTx) PutDead(p int, k crdt.Key, c dvv.Clock) error {
	_ = t.d.heal("dead", p, k.AppendPrefix(nil))
	return t.MemTx.PutDead(p, k, c)
}

func (t damagedTx) PutSummary(p int, k crdt.Key, s replica.Summary) error {
	_ = t.d.heal("summaries", p, k.AppendPrefix(nil))
	return t.MemTx.PutSummary(p, k, s)
}

func (t damagedTx) PutRemembered(p int, m *crdt.Remembered) error {
	_ = t.d.heal("remembered", p, operationKey(m.Op))
	return t.MemTx.PutRemembered(p, m)
}

func (t damagedTx) PutRow(p int, a crdt.Address, before, after crdt.Row) error {
	if _, err := t.Row(p, a); err != nil {
		return fmt.Errorf("put row %v, which is damaged: %w", a, errors.New("the caller did not look"))
	}
	return t.MemTx.PutRow(p, a, before, after)
}

func (t damagedTx) ReplaceRow(p int, a crdt.Address, after crdt.Row) error {
	if err := t.Purge("rows", p, a.AppendBinary(nil)); err != nil {
		return err
	}
	for _, d := range t.d.records { // filed under another name by now
		if d.row != nil && *d.row == a && d.partition == p {
			d.row = nil
		}
	}
	return t.MemTx.ReplaceRow(p, a, after)
}

func (t damagedTx) Purge(part string, p int, key []byte) error {
	d := t.d.heal(part, p, key)
	switch {
	case d == nil:
	case d.row != nil:
		return t.MemTx.ReplaceRow(d.partition, *d.row, crdt.Row{})
	case part == "remembered":
		op := crdt.Operation{Issued: int64(binary.BigEndian.Uint64(key)), Client: [16]byte(key[8:24]), Seq: binary.BigEndian.Uint64(key[24:])}
		return t.MemTx.DeleteRemembered(p, op)
	case part == "log":
		return t.MemTx.DeleteGroup(p, &crdt.Group{Actor: dvv.Actor(binary.BigEndian.Uint64(key)), First: binary.BigEndian.Uint64(key[8:]), Events: make([]crdt.Event, 1)})
	}
	return nil
}

func (t damagedTx) Drop(p int) error {
	t.d.records = slices.DeleteFunc(t.d.records, func(r *damagedRecord) bool { return r.partition == p })
	return t.MemTx.Drop(p)
}
