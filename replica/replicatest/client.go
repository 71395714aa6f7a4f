package replicatest

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica"
)

// client does one operation after another, and what it was shown earlier, by
// whatever node, it uses later as a context. It tries an operation again under
// the same id when a try failed or left it in doubt.
type client struct {
	w     *World
	at    int
	id    [16]byte
	seq   uint64
	left  int
	node  int        // the endpoint it talks to
	ahead int64      // ms the endpoint's wall clock was ahead when it connected
	stamp crdt.Stamp // the highest it heard of
	try   int        // of all operations: a late reply to an older one is not heard

	shown   []shown
	session []dvv.Clock     // by partition: all that its answers showed
	bits    map[string]uint // exact counters: the next power of two
}

// shown is what a read showed of a key: a context for later.
type shown struct {
	key    crdt.Key
	dots   dvv.Clock
	ops    []crdt.Operation // of a register: the writes behind it
	resets []replica.Change // of a map: the removal of each counter
}

func newClient(w *World, i, ops int) *client {
	c := &client{w: w, at: i, left: ops, bits: map[string]uint{}, session: make([]dvv.Clock, w.profile.partitions)}
	c.id[0] = byte(i)
	binary.BigEndian.PutUint64(c.id[8:], w.dice.Uint64())
	c.connect(w.dice.IntN(len(w.nodes)))
	return c
}

func (c *client) connect(node int) {
	c.node = node
	c.ahead = c.w.nodes[node].skew
}

// next begins the client's next operation.
func (c *client) next() {
	if c.left == 0 {
		c.w.running--
		return
	}
	c.left--
	if c.w.chance(0.1) {
		c.connect(c.w.dice.IntN(len(c.w.nodes)))
	}
	if c.w.chance(0.35) {
		c.read(c.anyQuery(), pick(c.w.dice, 0, 0, 0, 1, 3), 0)
		return
	}
	c.mutate(c.anyMutation())
}

const maxTries = 6

func (c *client) rest() { c.w.after(c.w.around(c.w.profile.think), c.next) }

const bucket = "b"

func key(t crdt.Type, name string) crdt.Key { return crdt.Key{Type: t, Bucket: bucket, Name: name} }

func (c *client) member() string { return fmt.Sprintf("m%d", c.w.dice.IntN(8)) }

// Registers whose name begins with keep are never deleted, counters whose name
// begins with exact never reset: they are held to a stricter oracle. In counters whose
// name begins with timed every increment expires.
func (c *client) anyKey() crdt.Key {
	r := c.w.dice
	n := r.IntN(c.w.profile.keys)
	switch r.IntN(11) {
	case 8, 9, 10:
		return c.anyMap()
	case 0, 1, 2:
		return key(crdt.Set, fmt.Sprintf("set%d", n))
	case 3:
		return key(crdt.Counter, fmt.Sprintf("exact%d-%d", n, c.generation(n)))
	case 4:
		return key(crdt.Counter, fmt.Sprintf("%s%d", pick(r, "reset", "timed"), n))
	case 5:
		return key(crdt.Register, fmt.Sprintf("keep%d", n))
	case 6:
		return key(crdt.Register, fmt.Sprintf("drop%d", n))
	}
	return key(crdt.Blob, fmt.Sprintf("blob%d", n))
}

// generation numbers exact counters: one that has run out of bits is left for
// the next.
func (c *client) generation(n int) uint { return c.w.history.bits[n] / maxBits }

const maxBits = 56

// bit returns a power of two that no other increment of the counter has.
func (c *client) bit(k crdt.Key) int64 {
	n := int(k.Name[len("exact")] - '0')
	b := c.w.history.bits[n]
	c.w.history.bits[n]++
	return 1 << (b % maxBits)
}

func (c *client) anyQuery() replica.Query {
	q := replica.Query{Key: c.anyKey()}
	if q.Key.Type == crdt.Map {
		c.anyMapQuery(&q)
	}
	if q.Key.Type == crdt.Set {
		if c.w.chance(0.4) {
			q.Fields = []string{c.member()}
		} else {
			q.Span = &replica.Span{Limit: pick(c.w.dice, 2, 3, 100)}
		}
	}
	return q
}

// context finds something the client was shown of the key, not always the
// latest.
func (c *client) context(k crdt.Key) (shown, bool) {
	var of []shown
	for _, s := range c.shown {
		if s.key == k {
			of = append(of, s)
		}
	}
	if len(of) == 0 {
		return shown{}, false
	}
	if c.w.chance(0.7) {
		return of[len(of)-1], true
	}
	return of[c.w.dice.IntN(len(of))], true
}

func (c *client) learn(s shown) {
	c.shown = append(c.shown, s)
	if len(c.shown) > 40 {
		c.shown = slices.Delete(c.shown, 0, 1)
	}
}

func (c *client) anyMutation() *replica.Mutation {
	r := c.w.dice
	m := &replica.Mutation{Key: c.anyKey()}
	c.seq++
	m.Op = crdt.Operation{Client: c.id, Seq: c.seq, Issued: epochMillis + c.w.now/ms + c.ahead}
	withContext := func(p float64) {
		if s, ok := c.context(m.Key); ok && c.w.chance(p) {
			dots := s.dots.Clone()
			m.Context = &dots
		}
	}
	value := []byte(fmt.Sprintf("v%d.%d", c.at, c.seq))
	switch m.Key.Type {
	case crdt.Map:
		c.anyEdit(m)
	case crdt.Set:
		if c.w.chance(0.06) {
			m.Verb = replica.Delete
			withContext(0.5)
			break
		}
		m.Verb = replica.Update
		for range 1 + r.IntN(3) {
			ch := replica.Change{Member: c.member(), Remove: c.w.chance(0.35)}
			if !ch.Remove && c.w.chance(0.2) {
				ch.Note = value
			}
			m.Changes = append(m.Changes, ch)
		}
		withContext(0.4)
	case crdt.Counter:
		m.Verb = replica.Add
		if m.Key.Name[0] == 'e' {
			m.Delta = c.bit(m.Key)
		} else if c.w.chance(0.2) {
			m.Verb = replica.Zero
		} else {
			m.Delta = int64(1+r.IntN(9)) * pick(r, int64(1), 10, 100, 1000, 10000)
		}
		if m.Verb == replica.Add && c.w.chance(0.3) {
			m.Delta = -m.Delta
		}
	case crdt.Register:
		if m.Key.Name[0] == 'd' && c.w.chance(0.2) {
			m.Verb = replica.Delete
			withContext(0.5)
			break
		}
		m.Verb, m.Value = replica.Assign, value
		withContext(0.3)
	case crdt.Blob:
		if s, ok := c.context(m.Key); ok && c.w.chance(0.1) {
			dots := s.dots.Clone()
			m.Verb, m.Context = replica.Delete, &dots
			break
		}
		m.Verb, m.Value = replica.Put, value
		withContext(0.8)
	}
	c.letExpire(m)
	return m
}

func (c *client) mutate(m *replica.Mutation) {
	c.mutateAt(m, pick(c.w.dice, 2, 2, 2, 2, 2, 1, 3))
}

func (c *client) mutateAt(m *replica.Mutation, copies int) {
	w := c.w
	rec := &opRecord{client: c.at, mutation: m, began: w.now, floor: c.stamp, partition: w.ring.Partition(m.Key.Bucket, m.Key.Name)}
	rec.w = copies
	if m.Context != nil {
		rec.context = m.Context.Clone()
	}
	for _, s := range c.shown {
		if s.key == m.Key {
			rec.knew = append(rec.knew, s.ops...)
		}
	}
	rec.quorate, rec.wild = w.quorate(rec.partition, 2), w.wild
	if w.chance(0.3) {
		rec.session = c.session[rec.partition].Clone()
		m.Session = &rec.session
	}
	w.history.add(rec)
	c.attempt(rec)
}

// attempt sends the operation to the client's endpoint, and waits.
func (c *client) attempt(rec *opRecord) {
	w := c.w
	rec.tries++
	if rec.tries > 1 {
		w.report.Ops.Retried++
	}
	left := pick(w.dice, 300*ms, second, 3*second)
	w.trace.note(w, issued, c.node, c.node, briefly(rec.mutation))
	m := *rec.mutation
	c.ask(replica.Request{Mutation: &m, W: rec.w}, left, func(res *replica.Result) { c.heard(rec, res) })
}

// ask sends a request; res is nil when no answer came, refused when there was
// nobody to take it.
func (c *client) ask(r replica.Request, left int64, done func(res *replica.Result)) {
	w, n := c.w, c.w.nodes[c.node]
	c.try++
	try := c.try
	once := func(res *replica.Result) {
		if c.try == try {
			c.try++
			done(res)
		}
	}
	var land func()
	land = func() {
		switch {
		case !n.up:
			w.after(w.between(100*us, 2*ms), func() { once(refused) })
			return
		case n.postponed(land):
			return
		}
		w.asked++
		r.ID, r.Deadline = w.asked, n.clock().Mono+left
		var read asking
		if r.Query != nil {
			read = w.begin(n, r)
		}
		n.waiting[r.ID] = func(res replica.Result, stamp crdt.Stamp) {
			switch {
			case r.Query != nil:
				w.checkRead(read, res)
				w.checkAnswerBound(read, res)
				if res.Merged != nil && w.err == nil {
					c.session[w.ring.Partition(r.Query.Key.Bucket, r.Query.Key.Name)].Join(res.Merged.Clock)
				}
			case res.Failure == nil:
				w.checkAcknowledged(w.history.byID[r.Mutation.Op], res)
			}
			w.after(w.between(100*us, 5*ms), func() {
				if c.try == try {
					c.stamp = max(c.stamp, stamp)
				}
				once(&res)
			})
		}
		n.shard.Observe(n.clock(), c.stamp)
		n.shard.Request(n.clock(), r)
		n.settle()
	}
	w.after(w.between(100*us, 5*ms), land)
	w.after(left+200*ms, func() { once(nil) })
}

// refused is the result of a connection that could not be made.
var refused = &replica.Result{Failure: &replica.Failure{Reason: replica.Overloaded, Text: "connection refused"}}

func (c *client) heard(rec *opRecord, res *replica.Result) {
	w := c.w
	switch {
	case res == nil:
		w.trace.note(w, answered, c.node, c.node, opName(rec.mutation.Op)+" nothing in time")
		rec.unknown = true
	case res.Failure != nil:
		w.trace.note(w, answered, c.node, c.node, opName(rec.mutation.Op)+" "+outcome(*res))
		rec.unknown = rec.unknown || res.Failure.Unknown
		switch res.Failure.Reason {
		case replica.OpExpired:
			if (w.now-rec.began)/ms+2*w.profile.skew+1 < w.profile.opWindow {
				w.fail("%s of client %d was refused as too old %d ms after it began: %v", briefly(rec.mutation), c.at, (w.now-rec.began)/ms, res.Failure)
				return
			}
			w.report.Checked.Expired++
			rec.tries = maxTries
		case replica.Invalid, replica.OpReused, replica.Overflow, replica.TooStale:
			w.fail("%s of client %d was refused: %v", briefly(rec.mutation), c.at, res.Failure)
			return
		}
	default:
		w.trace.note(w, answered, c.node, c.node, opName(rec.mutation.Op)+" "+outcome(*res))
		rec.acked, rec.result, rec.calm = true, *res, rec.wild == w.wild
		c.keep(rec)
	}
	if !rec.acked && rec.tries < maxTries && w.chance(0.85) {
		if w.chance(0.7) {
			c.connect((c.node + 1) % len(w.nodes))
		}
		w.after(w.around(100*ms), func() { c.attempt(rec) })
		return
	}
	rec.ended = w.now
	switch {
	case rec.acked:
		w.report.Ops.Acked++
	case rec.unknown:
		w.report.Ops.Unknown++
	default:
		w.report.Ops.Failed++
	}
	c.rest()
}

// keep remembers what an acknowledgement showed: the dots that were minted.
func (c *client) keep(rec *opRecord) {
	c.session[rec.partition].Join(rec.result.Minted)
	if !rec.result.Context.IsEmpty() {
		dots := rec.result.Context.Clone()
		if rec.mutation.Key.Type == crdt.Blob && rec.mutation.Verb == replica.Put {
			dots.Join(rec.context)
		}
		c.learn(shown{key: rec.mutation.Key, dots: dots, ops: []crdt.Operation{rec.mutation.Op}})
	}
}

// read asks for rows, page by page.
func (c *client) read(q replica.Query, r, pages int) {
	w := c.w
	left := pick(w.dice, 300*ms, second, 3*second)
	w.trace.note(w, issued, c.node, c.node, q)
	req := replica.Request{Query: &q, R: r}
	if w.chance(0.3) {
		session := c.session[w.ring.Partition(q.Key.Bucket, q.Key.Name)].Clone()
		req.Session = &session
	}
	if w.chance(0.2) {
		req.MaxStale = pick(w.dice, 100*ms, 500*ms, 5*second)
	}
	c.ask(req, left, func(res *replica.Result) {
		w.report.Ops.Reads++
		if res == nil || res.Failure != nil {
			w.report.Ops.ReadFailed++
			if w.chance(0.7) {
				c.connect((c.node + 1) % len(w.nodes))
			}
			c.rest()
			return
		}
		w.trace.note(w, answered, c.node, c.node, outcome(*res))
		c.look(q.Key, res.Merged)
		if res.Merged.More && pages < 6 {
			span := *q.Span
			span.After = res.Merged.Last
			c.read(replica.Query{Key: q.Key, Span: &span}, r, pages+1)
			return
		}
		c.rest()
	})
}

// look remembers what a read showed.
func (c *client) look(k crdt.Key, m *replica.Merged) {
	s := shown{key: k}
	for _, f := range m.Rows {
		if err := s.shownRow(f); err != nil {
			c.w.fail("%v shows %q, which cannot be read: %w", k, f.Field, err)
		}
		for _, d := range f.Row.Dots() {
			if rowType(k, f.Field) == crdt.Register {
				if e, ok := c.w.memory.parts[c.w.ring.Partition(k.Bucket, k.Name)].find(d); ok {
					s.ops = append(s.ops, e.of.group.Op)
				}
			}
		}
	}
	if !s.dots.IsEmpty() {
		c.learn(s)
	}
}
