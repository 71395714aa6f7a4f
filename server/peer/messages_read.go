package peer

import (
	"math"
	"unicode/utf8"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/crdt/pack"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica"
	"github.com/cartwheel-db/cartwheel/replica/merkle"
	"github.com/cartwheel-db/cartwheel/ring"
)

// The least bytes that elements take: what an array claims is held against the bytes left, so that memory follows what
// was really sent.
const (
	minShipmentBytes = 1 + 1
	minGroupBytes    = 8 + 6 // eight headers and numbers, and one event with the shortest key
	minReceiptBytes  = 1 + 1
	minDotBytes      = 1 + 1
	minChangeBytes   = 2 + 1 + 1 + 2
	minFieldBytes    = 2
	minFoundBytes    = 1 + 1 + 1
	minPrintBytes    = 1 + 2 + 16
)

// count reads the header of an array of elements of at least size bytes each.
func count(r *pack.Reader, what string, size int) int {
	n := r.Array()
	if n > r.Left()/size {
		r.Fail("%d %s in %d bytes", n, what, r.Left())
		return 0
	}
	return n
}

// list reads n elements, nil for none, and stops at the first that is malformed.
func list[T any](r *pack.Reader, what string, size, limit int, read func(*pack.Reader) T) []T {
	n := count(r, what, size)
	if n > limit {
		r.Fail("%d %s, limit %d", n, what, limit)
	}
	if r.Err() != nil || n == 0 {
		return nil
	}
	all := make([]T, 0, n)
	for range n {
		e := read(r)
		if r.Err() != nil {
			return nil
		}
		all = append(all, e)
	}
	return all
}

const unlimited = math.MaxInt // bounded by the bytes alone

func readPartition(r *pack.Reader) int { return int(r.UintMax(ring.MaxPartitions - 1)) }

// readCount reads a number of nodes or rows.
func readCount(r *pack.Reader) int { return int(r.UintMax(math.MaxInt32)) }

// readBytes reads a value of which nobody tells nil from empty: both are nil then.
func readBytes(r *pack.Reader, limit int) []byte {
	if v := r.Bytes(limit); len(v) > 0 {
		return v
	}
	return nil
}

// some reads the header of something that may be left out: an array of no parts, or of all of them.
func some(r *pack.Reader, what string, parts int) bool {
	n := r.Array()
	if n != 0 && n != parts {
		r.Fail("%s of %d parts, want none or %d", what, n, parts)
	}
	return n == parts && r.Err() == nil
}

func readNode(r *pack.Reader) ring.NodeID {
	id := r.String(ring.MaxIDLen)
	if !utf8.ValidString(id) {
		r.Fail("node id %q is not UTF-8", id)
	}
	return ring.NodeID(id)
}

func refuse(r *pack.Reader, err error) {
	if err != nil && r.Err() == nil {
		r.Fail("%v", err)
	}
}

func readGroups(r *pack.Reader) []crdt.Group {
	return list(r, "groups", minGroupBytes, unlimited, crdt.ReadGroup)
}

func readReplicate(r *pack.Reader) replica.Replicate {
	return replica.Replicate{Batch: list(r, "shipments", minShipmentBytes, unlimited, func(r *pack.Reader) replica.Shipment {
		return replica.Shipment{Partition: readPartition(r), Groups: readGroups(r)}
	})}
}

func readAcked(r *pack.Reader) replica.Acked {
	return replica.Acked{Batch: list(r, "receipts", minReceiptBytes, unlimited, func(r *pack.Reader) replica.Receipt {
		return replica.Receipt{Partition: readPartition(r), Dots: list(r, "dots", minDotBytes, unlimited, readDot)}
	})}
}

func readDot(r *pack.Reader) dvv.Dot {
	d := dvv.Dot{Actor: dvv.Actor(r.Uint()), Seq: r.Uint()}
	if d.Seq == 0 {
		r.Fail("dot of %v without a sequence", d.Actor)
	}
	return d
}

func readForward(r *pack.Reader) replica.Forward {
	return replica.Forward{ID: r.Uint(), Mutation: readMutation(r), W: readCount(r), Left: r.Int()}
}

// readKey leaves the check of names to the check of what the key is part of.
func readKey(r *pack.Reader) crdt.Key {
	return crdt.Key{Type: crdt.Type(r.UintMax(math.MaxUint8)), Bucket: r.String(crdt.MaxBucket), Name: r.String(crdt.MaxKey)}
}

func readMutation(r *pack.Reader) replica.Mutation {
	m := replica.Mutation{Key: readKey(r), Verb: replica.Verb(r.UintMax(math.MaxUint8)), Op: crdt.ReadOperation(r), Sum: r.Uint()}
	most, change := replica.MaxChanges, readChange
	if m.Key.Type == crdt.Map {
		most, change = replica.MaxRows, readEdit
	}
	m.Changes = list(r, "changes", minChangeBytes, most, change)
	m.Value, m.Delta, m.Expires = readBytes(r, crdt.MaxValue), r.Int(), int64(r.UintMax(math.MaxInt64))
	if some(r, "context", 1) {
		c := crdt.ReadClock(r)
		m.Context = &c
	}
	if some(r, "session", 1) {
		c := crdt.ReadClock(r)
		m.Session = &c
	}
	if r.Err() == nil {
		refuse(r, m.Check())
	}
	return m
}

func readChange(r *pack.Reader) replica.Change {
	return replica.Change{
		Member: r.String(crdt.MaxMember), Remove: r.Bool(),
		Expires: int64(r.UintMax(math.MaxInt64)), Note: readBytes(r, crdt.MaxValue),
	}
}

func readEdit(r *pack.Reader) replica.Change {
	return replica.Change{
		Member: r.String(crdt.MaxPath), Remove: r.Bool(),
		Expires: int64(r.UintMax(math.MaxInt64)), Note: readBytes(r, crdt.MaxValue),
		Delta: r.Int(), Shown: readBytes(r, maxShown),
	}
}

// maxShown bounds what a context shows of one counter: a context is smaller.
const maxShown = 64 << 10

func readForwarded(r *pack.Reader) replica.Forwarded {
	return replica.Forwarded{ID: r.Uint(), Result: replica.Result{
		Failure: readFailure(r), Wrote: r.Bool(), Context: crdt.ReadClock(r), Minted: crdt.ReadClock(r), Answer: r.Int(),
		Coordinator: readNode(r), Answers: readCount(r), Degraded: r.Bool(),
	}}
}

func readFailure(r *pack.Reader) *replica.Failure {
	if !some(r, "failure", 5) {
		return nil
	}
	f := &replica.Failure{
		Reason: replica.Reason(r.UintMax(math.MaxUint8)), Needed: readCount(r), Got: readCount(r),
		Unknown: r.Bool(), Text: r.String(r.Left()),
	}
	if r.Err() == nil && !f.Reason.Valid() {
		r.Fail("failure for no known reason: %v", f.Reason)
	}
	return f
}

func readAsking(r *pack.Reader) replica.Asking {
	m := replica.Asking{ID: r.Uint(), Partition: readPartition(r), Query: replica.Query{
		Key: readKey(r), Fields: list(r, "members", minFieldBytes, replica.MaxFields, readField),
	}}
	if some(r, "span", 5) {
		m.Query.Span = &replica.Span{
			Prefix: readField(r), From: readField(r), Until: readField(r), After: readField(r), Limit: int(r.UintMax(replica.MaxPage)),
		}
	}
	m.Query.Every, m.Query.Count = r.Bool(), int64(r.UintMax(math.MaxInt64))
	m.MaxStale = int64(r.UintMax(math.MaxInt64))
	if m.Hashed = some(r, "hash", 1); m.Hashed {
		m.Hash = readPrint(r)
	}
	if r.Err() == nil {
		refuse(r, m.Query.Check())
	}
	return m
}

// readField reads a member of a set or a path of a map; what it is is checked by what
// it is part of.
func readField(r *pack.Reader) string { return r.String(crdt.MaxPath) }

func readAnswered(r *pack.Reader) replica.Answered {
	m := replica.Answered{ID: r.Uint(), Ready: r.Bool(), Failed: r.Bool()}
	if !m.Failed {
		m.Same, m.Staleness = r.Bool(), readStaleness(r)
		m.Answer = replica.Answer{Clock: crdt.ReadClock(r), Dead: crdt.ReadClock(r), Type: crdt.Type(r.UintMax(uint64(crdt.Map)))}
		m.Answer.Rows, m.Answer.More = readRows(r, m.Answer.Type), r.Bool()
		if m.Answer.Counted = some(r, "count", 2); m.Answer.Counted {
			m.Answer.Count, m.Answer.Sum = r.Uint(), merkle.Sum(readPrint(r))
		}
	}
	return m
}

// readRows reads the rows of one key: a set's or a map's by their fields in order (one of them more than once if the
// query named it so), or the only row of another type.
func readRows(r *pack.Reader, t crdt.Type) []replica.Found {
	last := ""
	return list(r, "rows", minFoundBytes, replica.MaxAnswerRows, func(r *pack.Reader) replica.Found {
		f := replica.Found{Field: readField(r)}
		a := crdt.Address{Key: crdt.Key{Type: t}, Field: f.Field}
		switch {
		case t == 0:
			r.Fail("a row of no type")
		case !t.HasFields() && f.Field != "":
			r.Fail("a %v has no fields, got %q", t, f.Field)
		case f.Field < last:
			r.Fail("rows out of order: %q after %q", f.Field, last)
		case t == crdt.Set:
			refuse(r, crdt.CheckMember(f.Field))
		case t == crdt.Map:
			_, err := crdt.DecodePath(f.Field)
			refuse(r, err)
		}
		if last = f.Field; r.Err() == nil {
			f.Row = crdt.ReadRow(r, a.RowType())
		}
		return f
	})
}

func readDigest(r *pack.Reader) replica.Digest {
	return replica.Digest{Batch: list(r, "fingerprints", minPrintBytes, unlimited, func(r *pack.Reader) replica.ClockPrint {
		return replica.ClockPrint{Partition: readPartition(r), Print: readPrint(r)}
	})}
}

func readPrint(r *pack.Reader) (mark [16]byte) {
	if sum := r.Bytes(len(mark)); copy(mark[:], sum) != len(mark) {
		r.Fail("fingerprint of %d bytes, want %d", len(sum), len(mark))
	}
	return mark
}

func readCatchUp(r *pack.Reader) replica.CatchUp {
	return replica.CatchUp{Partition: readPartition(r), Clock: crdt.ReadClock(r), Final: r.Bool()}
}

func readEvents(r *pack.Reader) replica.Events {
	return replica.Events{Partition: readPartition(r), Groups: readGroups(r), More: r.Bool(), Gap: r.Bool(), Report: r.Bool()}
}

func readOffer(r *pack.Reader) replica.Offer {
	return replica.Offer{Partition: readPartition(r), Ring: r.Uint()}
}

func readCoverage(r *pack.Reader) replica.Coverage {
	return replica.Coverage{Partition: readPartition(r), Ring: r.Uint(), Clock: crdt.ReadClock(r)}
}

func readNudge(r *pack.Reader) replica.Nudge {
	m := replica.Nudge{Partition: readPartition(r), From: readNode(r)}
	if m.From == "" {
		r.Fail("nudge toward no node")
	}
	return m
}
