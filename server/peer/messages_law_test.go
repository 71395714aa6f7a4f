package peer

import (
	"bytes"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica"
	"github.com/cartwheel-db/cartwheel/replica/merkle"
	"github.com/cartwheel-db/cartwheel/ring"
)

func TestEveryMessageReadsBackAndNoneIsCutOrPadded(t *testing.T) {
	for _, v := range []struct {
		name string
		draw func(draw) replica.Message
	}{
		{"replicate", func(d draw) replica.Message {
			return replica.Replicate{Batch: some3(d, func() replica.Shipment { return replica.Shipment{Partition: d.partition(), Groups: some3(d, d.group)} })}
		}},
		{"acked", func(d draw) replica.Message {
			return replica.Acked{Batch: some3(d, func() replica.Receipt { return replica.Receipt{Partition: d.partition(), Dots: some3(d, d.dot)} })}
		}},
		{"forward", func(d draw) replica.Message {
			return replica.Forward{ID: d.uint(), Mutation: d.mutation(), W: d.below(4), Left: d.int()}
		}},
		{"forwarded", func(d draw) replica.Message {
			return replica.Forwarded{ID: d.uint(), Result: d.result()}
		}},
		{"asking", func(d draw) replica.Message {
			m := replica.Asking{ID: d.uint(), Partition: d.partition(), Query: d.query(), MaxStale: int64(d.below(1 << 40)), Hashed: d.bool()}
			if m.Hashed {
				m.Hash = d.clock().Fingerprint()
			}
			return m
		}},
		{"answered", func(d draw) replica.Message {
			m := replica.Answered{ID: d.uint(), Ready: d.bool(), Failed: d.bool()}
			if !m.Failed {
				m.Answer, m.Same, m.Staleness = d.answer(), d.bool(), d.staleness()
			}
			return m
		}},
		{"digest", func(d draw) replica.Message {
			return replica.Digest{Batch: some3(d, func() replica.ClockPrint {
				return replica.ClockPrint{Partition: d.partition(), Print: d.clock().Fingerprint()}
			})}
		}},
		{"catch-up", func(d draw) replica.Message {
			return replica.CatchUp{Partition: d.partition(), Clock: d.clock(), Final: d.bool()}
		}},
		{"events", func(d draw) replica.Message {
			return replica.Events{Partition: d.partition(), Groups: some3(d, d.group), More: d.bool(), Gap: d.bool(), Report: d.bool()}
		}},
		{"offer", func(d draw) replica.Message { return replica.Offer{Partition: d.partition(), Ring: d.uint()} }},
		{"coverage", func(d draw) replica.Message {
			return replica.Coverage{Partition: d.partition(), Ring: d.uint(), Clock: d.clock()}
		}},
		{"sounding", func(d draw) replica.Message {
			return replica.Sounding{ID: d.uint(), Batch: some3(d, func() replica.Shown {
				e := replica.Shown{Partition: d.partition(), Print: d.clock().Fingerprint(), Open: d.bool()}
				if e.Open {
					e.Clock = d.clock()
				}
				return e
			})}
		}},
		{"sounded", func(d draw) replica.Message {
			return replica.Sounded{ID: d.uint(), Ring: d.uint(), Active: d.bool(), Batch: some3(d, func() replica.Depth {
				e := replica.Depth{Partition: d.partition(), Same: d.bool(), Ready: d.bool(), Lost: d.bool()}
				if !e.Same {
					e.Clock = d.clock()
				}
				return e
			})}
		}},
		{"fetch", func(d draw) replica.Message {
			m := replica.Fetch{ID: d.uint(), Partition: d.partition()}
			if m.From, m.Until = d.address().AppendBinary(nil), d.address().AppendBinary(nil); bytes.Compare(m.From, m.Until) >= 0 {
				m.Until = nil
			}
			return m
		}},
		{"fetched", func(d draw) replica.Message {
			if d.bool() {
				return replica.Fetched{ID: d.uint(), Partition: d.partition(), Failed: true}
			}
			return replica.Fetched{ID: d.uint(), Partition: d.partition(), Clock: d.clock(),
				Dead: some3(d, func() replica.FetchedDead { return replica.FetchedDead{Key: d.anyKey(), Dots: d.clock()} }),
				Rows: some3(d, func() replica.AddressedRow {
					a := d.address()
					return replica.AddressedRow{Address: a, Row: d.row(a.RowType())}
				})}
		}},
		{"cut open", func(d draw) replica.Message {
			return replica.CutOpen{ID: d.uint(), Partition: d.partition(), Clock: d.clock()}
		}},
		{"cut head", func(d draw) replica.Message {
			return replica.CutHead{ID: d.uint(), Partition: d.partition(), Cut: d.uint(), Busy: d.bool(), Clock: d.clock(), Leaves: d.below(65537)}
		}},
		{"cut ask", func(d draw) replica.Message {
			return replica.CutAsk{ID: d.uint(), Partition: d.partition(), Cut: d.uint(), Part: replica.CutPart(1 + d.below(5)), After: d.bytes(),
				Wanted: replica.Wanted{All: d.bool(), Leaves: d.bytes(), Keys: some3(d, d.anyKey)}}
		}},
		{"cut page", func(d draw) replica.Message {
			m := replica.CutPage{ID: d.uint(), Partition: d.partition(), Cut: d.uint(), Part: replica.CutPart(1 + d.below(5)), After: d.bytes(), Gone: d.bool(), Next: d.bytes()}
			switch m.Part {
			case replica.CutLog:
				m.Groups = some3(d, d.group)
			case replica.CutClears:
				m.Clears = some3(d, func() replica.Clears { return replica.Clears{Key: d.anyKey(), Dots: d.clock()} })
			case replica.CutSums:
				m.Sums = some3(d, func() merkle.Sum { return merkle.Sum(d.clock().Fingerprint()) })
			case replica.CutRows:
				m.Rows = some3(d, d.addressed)
			case replica.CutOperations:
				m.Operations = some3(d, d.remembered)
			}
			return m
		}},
		{"cut done", func(d draw) replica.Message { return replica.CutDone{Partition: d.partition(), Cut: d.uint()} }},
		{"nudge", func(d draw) replica.Message { return replica.Nudge{Partition: d.partition(), From: "n" + d.node()} }},
		{"tree roots", func(d draw) replica.Message {
			return replica.TreeRoots{ID: d.uint(), Batch: some3(d, func() replica.TreeRoot {
				return replica.TreeRoot{Partition: d.partition(), Print: d.clock().Fingerprint(), Root: d.sum(), Clock: d.clock()}
			})}
		}},
		{"tree verdicts", func(d draw) replica.Message {
			return replica.TreeVerdicts{ID: d.uint(), Batch: some3(d, func() replica.TreeVerdict {
				return replica.TreeVerdict{Partition: d.partition(), Found: replica.Likeness(1 + d.below(int(replica.NotNow))), Clock: d.clock()}
			})}
		}},
		{"tree branch", func(d draw) replica.Message {
			m := replica.TreeBranch{ID: d.uint(), Partition: d.partition(), Print: d.clock().Fingerprint(), Reply: d.bool()}
			m.Step.Level = d.below(5)
			for range d.below(4) {
				m.Step.Indices, m.Step.Sums = append(m.Step.Indices, d.below(merkle.MaxLeaves)), append(m.Step.Sums, d.sum())
			}
			return m
		}},
		{"row prints", func(d draw) replica.Message {
			return replica.RowPrints{ID: d.uint(), Partition: d.partition(), Print: d.clock().Fingerprint(), Leaves: some3(d, func() int { return d.below(merkle.MaxLeaves) }),
				Rows: some3(d, func() replica.RowPrint { return replica.RowPrint{Place: d.uint(), Sum: d.sum()} })}
		}},
		{"rows apart", func(d draw) replica.Message {
			m := replica.RowsApart{ID: d.uint(), Partition: d.partition(), Print: d.clock().Fingerprint(), Rows: some3(d, d.addressed), Wanted: some3(d, d.uint)}
			slices.Sort(m.Wanted)
			return m
		}},
		{"rows mend", func(d draw) replica.Message {
			return replica.RowsMend{Partition: d.partition(), Print: d.clock().Fingerprint(), Rows: some3(d, d.addressed)}
		}},
	} {
		t.Run(v.name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) { holdsTheCodec(t, v.draw(draw{t})) })
		})
	}
}

// draw makes the parts that messages are of: all that a replica could send, with numbers on both sides of every width.
type draw struct{ t *rapid.T }

func (d draw) below(n int) int { return rapid.IntRange(0, n-1).Draw(d.t, "n") }
func (d draw) bool() bool      { return rapid.Bool().Draw(d.t, "flag") }
func (d draw) partition() int  { return rapid.IntRange(0, ring.MaxPartitions-1).Draw(d.t, "partition") }
func (d draw) uint() uint64    { return rapid.Uint64().Draw(d.t, "uint") }
func (d draw) int() int64      { return rapid.Int64().Draw(d.t, "int") }

func (d draw) text(least, most int) string {
	return rapid.StringN(least, -1, most).Draw(d.t, "text")
}

func (d draw) node() ring.NodeID { return ring.NodeID(d.text(0, ring.MaxIDLen-1)) }

// bytes are nil when empty, as decoded ones are.
func (d draw) bytes() []byte {
	n := rapid.SampledFrom([]int{0, 1, 31, 32, 255, 256, 300}).Draw(d.t, "size")
	return append([]byte(nil), sample(n)...)
}

func (d draw) actor() dvv.Actor {
	return dvv.Actor(rapid.OneOf(rapid.Uint64Range(0, 3), rapid.Uint64()).Draw(d.t, "actor"))
}

func (d draw) dot() dvv.Dot {
	return dvv.Dot{Actor: d.actor(), Seq: rapid.OneOf(rapid.Uint64Range(1, 9), rapid.Uint64Min(1)).Draw(d.t, "seq")}
}

func (d draw) staleness() replica.Staleness {
	s := replica.Staleness{Bound: int64(d.below(1<<40)) - 1, Reachable: int64(d.below(1<<40)) - 1, Missing: some3(d, d.node)}
	slices.Sort(s.Missing)
	return s
}

// some3 draws up to three things, nil for none.
func some3[T any](d draw, one func() T) (all []T) {
	for range d.below(4) {
		all = append(all, one())
	}
	return all
}

func (d draw) dots() []dvv.Dot {
	dots := some3(d, d.dot)
	slices.SortFunc(dots, dvv.Dot.Compare)
	return slices.Compact(dots)
}

func (d draw) clock() dvv.Clock { return dvv.ClockOf(some3(d, d.dot)...) }

func (d draw) contextPtr() *dvv.Clock {
	if d.bool() {
		return nil
	}
	return clockPtr(d.clock())
}

func (d draw) key(types ...crdt.Type) crdt.Key {
	k := crdt.Key{Type: rapid.SampledFrom(types).Draw(d.t, "type"), Bucket: "b", Name: "n"}
	if d.bool() {
		k.Bucket, k.Name = d.text(1, crdt.MaxBucket), d.text(1, 300)
	}
	return k
}

func (d draw) anyKey() crdt.Key {
	return d.key(crdt.Set, crdt.Counter, crdt.Register, crdt.Blob, crdt.Map)
}

func (d draw) address() crdt.Address {
	k := d.anyKey()
	return crdt.Address{Key: k, Field: d.field(k.Type)}
}

func (d draw) member() string { return d.text(1, 300) }

func (d draw) operation() crdt.Operation {
	if d.bool() {
		return crdt.Operation{}
	}
	return crdt.Operation{Client: [16]byte(sample(16)), Seq: d.uint(), Issued: d.int()}
}

func (d draw) stamp() crdt.Stamp { return crdt.Stamp(d.uint()) }

func (d draw) expires() int64 { return rapid.Int64Range(0, math.MaxInt64).Draw(d.t, "expires") }

func (d draw) total() crdt.Total { return crdt.Total{Hi: d.uint() >> 1, Lo: d.uint()} }

func (d draw) payload(t crdt.Type) crdt.Payload {
	switch t {
	case crdt.Set:
		return crdt.Member{Stamp: d.stamp(), Expires: d.expires(), Note: d.bytes()}.Payload()
	case crdt.Register:
		return crdt.Assign{Stamp: d.stamp(), Value: d.bytes()}.Payload()
	case crdt.Blob:
		return crdt.BlobValue{Op: d.operation(), Value: d.bytes()}.Payload()
	default:
		return d.counting()
	}
}

func (d draw) counting() crdt.Payload {
	switch d.below(3) {
	case 0:
		return crdt.Reset{{Actor: 1, Seq: 4, Entry: crdt.Entry{P: d.total()}}, {Actor: 2, Seq: 1}}.Payload()
	case 1:
		return crdt.Void{Voided: d.dot(), Winner: d.dot(), Op: d.operation(), Delta: d.int()}.Payload()
	default:
		return crdt.Entry{P: d.total(), N: d.total()}.Payload()
	}
}

func (d draw) event() crdt.Event {
	k := d.anyKey()
	if d.below(4) == 0 {
		return crdt.Event{Row: k.Row(), Clear: clockPtr(d.clock())}
	}
	e := crdt.Event{Row: crdt.Address{Key: k, Field: d.field(k.Type)}, Kills: d.dots()}
	if d.bool() || len(e.Kills) == 0 {
		e.Payload = d.payload(e.Row.RowType())
	}
	if e.Payload.Kind() == crdt.KindEntry {
		e.Delta = d.int()
	}
	return e
}

func (d draw) group() crdt.Group {
	g := crdt.Group{
		Actor: d.actor(), First: rapid.Uint64Range(1, math.MaxUint64-9).Draw(d.t, "first"), Op: d.operation(), Sum: d.uint(),
		Stamp: d.stamp(), Answer: d.int(), Events: append(some3(d, d.event), d.event()),
	}
	for _, e := range g.Events {
		if e.Delta != 0 { // increments come first, and may follow earlier ones
			e.Follows = rapid.Uint64Range(0, g.First-1).Draw(d.t, "follows")
			g.Events = []crdt.Event{e}
			break
		}
	}
	return g
}

// field is what tells apart the rows of a key of the type.
func (d draw) field(t crdt.Type) string {
	switch t {
	case crdt.Set:
		return d.member()
	case crdt.Map:
		p := crdt.Path{Name: d.text(1, 20), Kind: crdt.FieldKind(1 + d.below(4))}
		if p.Kind == crdt.SetField {
			p.Member = d.member()
		}
		return p.Encode()
	}
	return ""
}

// change is one of a map's update.
func (d draw) change() replica.Change {
	c := replica.Change{Member: d.field(crdt.Map), Remove: d.bool()}
	p, _ := crdt.DecodePath(c.Member)
	switch {
	case c.Remove && p.Kind == crdt.CounterField:
		c.Shown = crdt.Reset{{Actor: 1, Seq: 4, Entry: crdt.Entry{P: d.total()}}}.Payload()
	case c.Remove:
	case p.Kind == crdt.CounterField:
		c.Expires, c.Delta = d.expires(), d.int()|1
	default:
		c.Expires, c.Note = d.expires(), d.bytes()
	}
	return c
}

func (d draw) mutation() replica.Mutation {
	m := replica.Mutation{Op: d.operation(), Sum: d.uint(), Context: d.contextPtr(), Session: d.contextPtr()}
	switch m.Verb = replica.Verb(1 + d.below(int(replica.Edit))); m.Verb {
	case replica.Update:
		m.Key = d.key(crdt.Set)
		for range 1 + d.below(3) {
			m.Changes = append(m.Changes, replica.Change{Member: d.member(), Remove: d.bool(), Expires: d.expires(), Note: d.bytes()})
		}
	case replica.Edit:
		m.Key = d.key(crdt.Map)
		for range 1 + d.below(3) {
			m.Changes = append(m.Changes, d.change())
		}
	case replica.Delete:
		m.Key = d.key(crdt.Set, crdt.Register, crdt.Blob, crdt.Map)
	case replica.Add:
		m.Key, m.Delta, m.Expires = d.key(crdt.Counter), d.int(), d.expires()
	case replica.Zero:
		m.Key = d.key(crdt.Counter)
	case replica.Assign:
		m.Key, m.Value, m.Expires = d.key(crdt.Register), d.bytes(), d.expires()
	case replica.Put:
		m.Key, m.Value = d.key(crdt.Blob), d.bytes()
	}
	return m
}

func (d draw) result() replica.Result {
	r := replica.Result{Wrote: d.bool(), Context: d.clock(), Minted: d.clock(), Answer: d.int(), Coordinator: d.node(), Answers: d.below(9), Degraded: d.bool()}
	if d.bool() {
		r.Failure = &replica.Failure{
			Reason: replica.Reason(1 + d.below(int(replica.Overflow))), Needed: d.below(300), Got: d.below(70000), Unknown: d.bool(), Text: d.text(0, 300),
		}
	}
	return r
}

func (d draw) remembered() crdt.Remembered {
	m := crdt.Remembered{Op: d.operation(), Sum: d.uint(), Seen: d.int(), Answer: d.int(), Events: d.below(crdt.MaxGroupEvents), Dots: d.dots(), Voided: d.dots()}
	if delta := d.int(); delta != 0 && m.Events > 0 {
		m.Adds = []crdt.Increment{{Row: d.key(crdt.Counter).Row(), Delta: delta}}
	}
	return m
}

func (d draw) query() replica.Query {
	q := replica.Query{Key: d.anyKey()}
	if q.Key.Type.HasFields() {
		q.Fields = some3(d, func() string { return d.field(q.Key.Type) })
	}
	if d.bool() || q.Key.Type.HasFields() && q.Fields == nil {
		q.Span = &replica.Span{Prefix: d.text(0, 40), From: string(d.bytes()), Until: d.text(0, 9), After: string(d.bytes()), Limit: d.below(replica.MaxPage + 1)}
	}
	q.Every = q.Key.Type == crdt.Map && d.bool()
	if q.Key.Type == crdt.Set {
		q.Count = d.expires()
	}
	return q
}

func (d draw) row(t crdt.Type) crdt.Row {
	r := crdt.Row{Deferred: d.dots()}
	for _, dot := range d.dots() {
		r.Live = append(r.Live, crdt.Live{Dot: dot, Payload: d.payload(t)})
	}
	return r
}

func (d draw) sum() merkle.Sum { return merkle.Sum(d.clock().Fingerprint()) }

func (d draw) addressed() replica.AddressedRow {
	k := d.anyKey()
	a := crdt.Address{Key: k, Field: d.field(k.Type)}
	return replica.AddressedRow{Address: a, Row: d.row(a.RowType())}
}

func (d draw) answer() replica.Answer {
	t := d.anyKey().Type
	a := replica.Answer{Clock: d.clock(), Dead: d.clock(), Type: t, More: d.bool()}
	if !t.HasFields() {
		a.Rows = []replica.Found{{Row: d.row(t)}}
		return a
	}
	if a.Counted = d.bool(); a.Counted {
		a.Count, a.Sum = d.uint(), d.sum()
	}
	fields := some3(d, func() string { return d.field(t) })
	slices.Sort(fields)
	for _, f := range fields {
		a.Rows = append(a.Rows, replica.Found{Field: f, Row: d.row(crdt.Address{Key: crdt.Key{Type: t}, Field: f}.RowType())})
	}
	return a
}
