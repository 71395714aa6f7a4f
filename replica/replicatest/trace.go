package replicatest

import (
	"encoding/binary"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica"
)

// what happened, in the words of the story.
type kind uint8

const (
	sent kind = iota
	received
	linkNews
	gossip
	ringNews
	opened
	crashed
	filling
	committed
	commitFailed
	faulted
	issued
	answered
)

var kindWords = [...]string{
	sent: "sends", received: "receives", linkNews: "link", gossip: "gossip", ringNews: "learns ring", opened: "opens, life", crashed: "CRASHES, commit lost:",
	filling: "fills groups:", committed: "committed, number", commitFailed: "COMMIT FAILS, durable all the same:", faulted: "FAULT", issued: "client asks", answered: "client hears",
}

// trace keeps a hash of everything that happened, and the last of it in full.
type trace struct {
	hash  uint64
	ring  [1 << 14]entry
	next  int
	buf   []byte
	bytes []byte // of a message, while it is summed up
}

type entry struct {
	at       int64
	kind     kind
	node, to int
	what     any // a message, or something to print
}

const (
	fnvOffset = 14695981039346656037
	fnvPrime  = 1099511628211
)

func fnv(h uint64, b []byte) uint64 {
	for _, c := range b {
		h = (h ^ uint64(c)) * fnvPrime
	}
	return h
}

func (t *trace) message(w *World, k kind, node, peer int, m replica.Message, sum uint64) {
	t.add(w, entry{w.now, k, node, peer, m}, sum)
}

func (t *trace) note(w *World, k kind, node, peer int, what any) {
	t.buf = fmt.Append(t.buf[:0], what)
	t.add(w, entry{w.now, k, node, peer, what}, fnv(fnvOffset, t.buf))
}

func (t *trace) add(w *World, e entry, sum uint64) {
	var b [26]byte
	binary.LittleEndian.PutUint64(b[:], uint64(e.at))
	b[8], b[9], b[10] = byte(e.kind), byte(e.node), byte(e.to)
	binary.LittleEndian.PutUint64(b[11:], sum)
	t.hash = fnv(t.hash^fnvOffset, b[:19])
	t.ring[t.next%len(t.ring)] = e
	t.next++
	if w.opt.Story != nil {
		fmt.Fprintln(w.opt.Story, e)
	}
}

// names in a violation that the story of it is about: operations, keys, dots.
var (
	ops   = regexp.MustCompile(`c\d+/\d+`)
	names = regexp.MustCompile(`b/\w+(-\d+)?|[0-9a-f]{16}:\d+`)
)

// tail tells the last n things that happened and have to do with the violation,
// and every fault among them.
func (t *trace) tail(violation string, n int) string {
	about := ops.FindAllString(violation, 12)
	if len(about) == 0 {
		about = names.FindAllString(violation, 12)
	}
	var lines []string
	for i := t.next - 1; i >= max(0, t.next-len(t.ring)) && len(lines) < n; i-- {
		e := t.ring[i%len(t.ring)]
		line := e.String()
		of := len(about) == 0 || e.kind == faulted || e.kind == crashed || e.kind == opened
		for _, a := range about {
			of = of || strings.Contains(line, a)
		}
		if of {
			lines = append(lines, line)
		}
	}
	slices.Reverse(lines)
	return strings.Join(lines, "\n")
}

func (e entry) String() string {
	at := fmt.Sprintf("%9.4f", float64(e.at)/1e9)
	switch e.kind {
	case sent:
		return fmt.Sprintf("%s  %v ──▶ %v  %s", at, nodeID(e.node), nodeID(e.to), describe(e.what))
	case received:
		return fmt.Sprintf("%s  %v ◀── %v  %s", at, nodeID(e.node), nodeID(e.to), describe(e.what))
	case linkNews, gossip:
		return fmt.Sprintf("%s  %v hears by %s: %v up %v", at, nodeID(e.node), kindWords[e.kind], nodeID(e.to), e.what)
	case faulted:
		return fmt.Sprintf("%s  FAULT %v", at, e.what)
	case issued, answered:
		return fmt.Sprintf("%s  %v %s %v", at, nodeID(e.node), kindWords[e.kind], e.what)
	}
	return fmt.Sprintf("%s  %v %s %v", at, nodeID(e.node), kindWords[e.kind], e.what)
}

// describe is a message in a line.
func describe(m any) string {
	var b strings.Builder
	groups := func(gs []crdt.Group) {
		for i := range gs {
			fmt.Fprintf(&b, " %s", brief(&gs[i]))
		}
	}
	switch m := m.(type) {
	case replica.Replicate:
		b.WriteString("Replicate")
		for _, s := range m.Batch {
			fmt.Fprintf(&b, " p%d", s.Partition)
			groups(s.Groups)
		}
	case replica.Acked:
		b.WriteString("Acked")
		for _, r := range m.Batch {
			fmt.Fprintf(&b, " p%d %v", r.Partition, r.Dots)
		}
	case replica.Forward:
		fmt.Fprintf(&b, "Forward #%d %s w=%d left %d ms", m.ID, briefly(&m.Mutation), m.W, m.Left/ms)
	case replica.Forwarded:
		fmt.Fprintf(&b, "Forwarded #%d %s", m.ID, outcome(m.Result))
	case replica.Asking:
		fmt.Fprintf(&b, "Asking #%d p%d %v", m.ID, m.Partition, m.Query)
	case replica.Answered:
		fmt.Fprintf(&b, "Answered #%d ready=%t %v %d rows", m.ID, m.Ready, m.Answer.Clock, len(m.Answer.Rows))
	case replica.Events:
		fmt.Fprintf(&b, "Events p%d more=%t gap=%t report=%t", m.Partition, m.More, m.Gap, m.Report)
		groups(m.Groups)
	case replica.Digest:
		b.WriteString("Digest of")
		for _, c := range m.Batch {
			fmt.Fprintf(&b, " p%d", c.Partition)
		}
	case replica.Sounding:
		fmt.Fprintf(&b, "Sounding #%d of", m.ID)
		for _, e := range m.Batch {
			fmt.Fprintf(&b, " p%d", e.Partition)
			if e.Open {
				fmt.Fprintf(&b, " at %v", e.Clock)
			}
		}
	case replica.Sounded:
		fmt.Fprintf(&b, "Sounded #%d active=%t", m.ID, m.Active)
		for _, d := range m.Batch {
			fmt.Fprintf(&b, " p%d same=%t ready=%t lost=%t %v", d.Partition, d.Same, d.Ready, d.Lost, d.Clock)
		}
	default:
		fmt.Fprintf(&b, "%T %+v", m, m)
	}
	return b.String()
}

func brief(g *crdt.Group) string {
	var b strings.Builder
	fmt.Fprintf(&b, "[%v", g.Dot(0))
	if n := len(g.Events); n > 1 {
		fmt.Fprintf(&b, "..%d", g.Last())
	}
	if !g.Op.IsZero() {
		fmt.Fprintf(&b, " op %s", opName(g.Op))
	}
	for i := range g.Events {
		fmt.Fprintf(&b, " %v", g.Events[i])
	}
	return b.String() + "]"
}

func opName(o crdt.Operation) string { return fmt.Sprintf("c%d/%d", o.Client[0], o.Seq) }

func briefly(m *replica.Mutation) string {
	s := fmt.Sprintf("%s %v", opName(m.Op), m)
	if m.Delta != 0 {
		s += fmt.Sprintf(" %+d", m.Delta)
	}
	for _, c := range m.Changes {
		name := c.Member
		if p, err := crdt.DecodePath(name); err == nil && m.Key.Type == crdt.Map {
			name = p.String()
		}
		switch {
		case c.Remove:
			s += " -" + name
		case c.Delta != 0:
			s += fmt.Sprintf(" %+d %s", c.Delta, name)
		default:
			s += " +" + name
		}
		if c.Shown != nil {
			s += fmt.Sprintf("(%v)", c.Shown)
		}
	}
	if len(m.Value) > 0 {
		s += fmt.Sprintf(" %q", m.Value)
	}
	if m.Context != nil {
		s += " context " + m.Context.String()
	}
	return s
}

func outcome(r replica.Result) string {
	switch f := r.Failure; {
	case f != nil:
		return fmt.Sprintf("%v (unknown %t): %s", f.Reason, f.Unknown, f.Text)
	case r.Merged != nil:
		s := fmt.Sprintf("%d answers, degraded %t, at %v:", r.Answers, r.Degraded, r.Merged.Clock)
		for _, f := range r.Merged.Rows {
			s += fmt.Sprintf(" %q %v", f.Field, f.Row.Dots())
		}
		return s
	}
	return fmt.Sprintf("done by %v, wrote %t, %v, answer %d", r.Coordinator, r.Wrote, r.Context, r.Answer)
}

// checksum is a hash of all that a message says. It is taken when a message is
// sent and when it arrives: what was handed out is never changed.
func (t *trace) checksum(m replica.Message) uint64 {
	b := t.bytes[:0]
	defer func() { t.bytes = b }()
	num := func(v ...uint64) {
		for _, v := range v {
			b = binary.AppendUvarint(b, v)
		}
	}
	text := func(s string) { num(uint64(len(s))); b = append(b, s...) }
	flags := func(v ...bool) {
		for _, v := range v {
			if v {
				b = append(b, 1)
			} else {
				b = append(b, 0)
			}
		}
	}
	groups := func(gs []crdt.Group) {
		num(uint64(len(gs)))
		for i := range gs {
			b = crdt.AppendGroup(b, &gs[i])
		}
	}
	rows := func(fs []replica.Found) {
		num(uint64(len(fs)))
		for _, f := range fs {
			text(f.Field)
			b = crdt.AppendRow(b, f.Row)
		}
	}
	dots := func(ds []dvv.Dot) {
		num(uint64(len(ds)))
		for _, d := range ds {
			num(uint64(d.Actor), d.Seq)
		}
	}
	switch m := m.(type) {
	case replica.Replicate:
		for _, s := range m.Batch {
			num(1, uint64(s.Partition))
			groups(s.Groups)
		}
	case replica.Acked:
		for _, r := range m.Batch {
			num(2, uint64(r.Partition))
			dots(r.Dots)
		}
	case replica.Forward:
		num(3, m.ID, uint64(m.W), uint64(m.Left), uint64(m.Mutation.Verb), m.Mutation.Sum, uint64(m.Mutation.Delta), uint64(m.Mutation.Expires))
		b = crdt.AppendOperation(b, m.Mutation.Op)
		text(m.Mutation.Key.String())
		text(string(m.Mutation.Value))
		for _, c := range m.Mutation.Changes {
			text(c.Member)
			text(string(c.Note))
			text(string(c.Shown))
			num(uint64(c.Expires), uint64(c.Delta))
			flags(c.Remove)
		}
		if m.Mutation.Context != nil {
			b = m.Mutation.Context.AppendBinary(b)
		}
	case replica.Forwarded:
		num(4, m.ID, uint64(m.Result.Answer))
		flags(m.Result.Wrote, m.Result.Failure == nil)
		if f := m.Result.Failure; f != nil {
			num(uint64(f.Reason), uint64(f.Needed), uint64(f.Got))
			flags(f.Unknown)
			text(f.Text)
		}
		text(string(m.Result.Coordinator))
		b = m.Result.Context.AppendBinary(b)
	case replica.Asking:
		num(5, m.ID, uint64(m.Partition), uint64(m.MaxStale))
		flags(m.Hashed)
		b = append(b, m.Hash[:]...)
		text(m.Query.Key.String())
		for _, f := range m.Query.Fields {
			text(f)
		}
		flags(m.Query.Every)
		if s := m.Query.Span; s != nil {
			text(s.Prefix)
			text(s.After)
			num(uint64(s.Limit))
		}
	case replica.Answered:
		num(6, m.ID)
		flags(m.Ready, m.Failed, m.Same, m.Answer.More)
		num(uint64(m.Staleness.Bound), uint64(m.Staleness.Reachable), uint64(len(m.Staleness.Missing)))
		b = m.Answer.Dead.AppendBinary(m.Answer.Clock.AppendBinary(b))
		rows(m.Answer.Rows)
	case replica.Digest:
		for _, c := range m.Batch {
			num(7, uint64(c.Partition))
			b = append(b, c.Print[:]...)
		}
	case replica.CatchUp:
		num(8, uint64(m.Partition))
		flags(m.Final)
		b = m.Clock.AppendBinary(b)
	case replica.Events:
		num(9, uint64(m.Partition))
		flags(m.More, m.Gap, m.Report)
		groups(m.Groups)
	case replica.Offer:
		num(10, uint64(m.Partition), m.Ring)
	case replica.Coverage:
		num(11, uint64(m.Partition), m.Ring)
		b = m.Clock.AppendBinary(b)
	case replica.Nudge:
		num(12, uint64(m.Partition))
		text(string(m.From))
	case replica.Sounding:
		num(13, m.ID)
		for _, e := range m.Batch {
			num(uint64(e.Partition))
			b = append(b, e.Print[:]...)
			flags(e.Open)
			b = e.Clock.AppendBinary(b)
		}
	case replica.Sounded:
		num(14, m.ID, m.Ring)
		flags(m.Active)
		for _, d := range m.Batch {
			num(uint64(d.Partition))
			flags(d.Same, d.Ready, d.Lost)
			b = d.Clock.AppendBinary(b)
		}
	default:
		b = append(b, reflect.TypeOf(m).Name()...)
		b = appendValue(b, reflect.ValueOf(m))
	}
	return fnv(fnvOffset, b)
}

// appendValue appends all that a value says, whatever is behind pointers and in
// fields that are not exported.
func appendValue(b []byte, v reflect.Value) []byte {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return append(b, 0)
		}
		return appendValue(append(b, 1), v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			b = appendValue(b, v.Field(i))
		}
	case reflect.Slice, reflect.Array:
		b = binary.AppendUvarint(b, uint64(v.Len()))
		if v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Uint8 {
			return append(b, v.Bytes()...)
		}
		for i := range v.Len() {
			b = appendValue(b, v.Index(i))
		}
	case reflect.String:
		b = append(binary.AppendUvarint(b, uint64(v.Len())), v.String()...)
	case reflect.Bool:
		if v.Bool() {
			return append(b, 1)
		}
		return append(b, 0)
	default:
		switch {
		case v.CanUint():
			b = binary.AppendUvarint(b, v.Uint())
		case v.CanInt():
			b = binary.AppendVarint(b, v.Int())
		default:
			panic("replicatest: a message holds a " + v.Type().String())
		}
	}
	return b
}
