package crdt

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/cartwheel-db/cartwheel/dvv"
)

// Operation identifies one mutation of one client, across retries. The zero
// value means none.
type Operation struct {
	Client [16]byte // random, of one opening of one client
	Seq    uint64
	Issued int64 // milliseconds since the Unix epoch, by the server's clock as the client learnt it
}

// IsZero tells whether there is no operation id.
func (o Operation) IsZero() bool { return o == Operation{} }

// Compare orders operations by client, sequence and time.
func (o Operation) Compare(p Operation) int {
	if c := bytes.Compare(o.Client[:], p.Client[:]); c != 0 {
		return c
	}
	if c := cmp.Compare(o.Seq, p.Seq); c != 0 {
		return c
	}
	return cmp.Compare(uint64(o.Issued), uint64(p.Issued))
}

func (o Operation) String() string {
	return fmt.Sprintf("%s-%d-%d", hex.EncodeToString(o.Client[:]), o.Seq, o.Issued)
}

// An Event changes one row, or, as a clear, all rows of one key. Its dot is its
// place in a [Group].
type Event struct {
	Row     Address
	Kills   []dvv.Dot // sorted; dots of this row that die
	Payload Payload   // lives under the event's dot; nil for none
	Delta   int64     // what an increment adds; 0 for all other events

	// Follows, of an increment, is the seq of its actor's earlier increment of this
	// counter, if that one was not durable on W replicas when this one was minted;
	// else 0. The totals include it, so a replica that lacks it must not take this
	// one: were the earlier one lost for good and retried elsewhere, it would count
	// twice and nobody could tell.
	Follows uint64

	// Clear, if not nil, kills every dot it holds in every row of Row.Key.
	// Row.Field is empty, and there are no Kills and no Payload.
	Clear *dvv.Clock
}

// A Group is the events of one operation, with consecutive dots. It is logged,
// sent, applied and shown as a unit.
type Group struct {
	Actor  dvv.Actor
	First  uint64 // seq of Events[0]
	Op     Operation
	Sum    uint64 // fingerprint of what the operation asked for; tells a retry from a reused id
	Stamp  Stamp
	Answer int64 // the value an increment or reset returned to its client
	Events []Event
}

// Last returns the seq of the last event.
func (g *Group) Last() uint64 { return g.First + uint64(len(g.Events)) - 1 }

// Dot returns the dot of event i.
func (g *Group) Dot(i int) dvv.Dot { return dvv.Dot{Actor: g.Actor, Seq: g.First + uint64(i)} }

// In tells whether all of the group's dots are in the clock. A clock holds a
// group whole or not at all.
func (g *Group) In(c dvv.Clock) bool { return c.ContainsRange(g.Actor, g.First, g.Last()) }

// Bytes estimates the encoded size of the group.
func (g *Group) Bytes() int {
	n := 64
	for i := range g.Events {
		e := &g.Events[i]
		n += 16 + len(e.Row.Bucket) + len(e.Row.Name) + len(e.Row.Field) + len(e.Payload) + 16*len(e.Kills)
		if e.Clear != nil {
			n += 32 * e.Clear.Actors()
		}
	}
	return n
}

// Increment is what an operation adds to one counter.
type Increment struct {
	Row   Address
	Delta int64
}

// Increments returns what the group adds, in the order of rows. They are the events
// that it begins with: the dot of the i-th is [Group.Dot](i).
func (g *Group) Increments() []Increment {
	var all []Increment
	for i := range g.Events {
		e := &g.Events[i]
		if e.Delta == 0 {
			break
		}
		all = append(all, Increment{e.Row, e.Delta})
	}
	return all
}

// Adds tells whether the group increments a counter.
func (g *Group) Adds() bool { return len(g.Events) > 0 && g.Events[0].Delta != 0 }

func (e Event) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v", e.Row)
	if e.Payload != nil {
		fmt.Fprintf(&b, " puts %v", e.Payload)
	}
	if len(e.Kills) > 0 {
		fmt.Fprintf(&b, " kills %v", e.Kills)
	}
	if e.Clear != nil {
		fmt.Fprintf(&b, " clears %v", *e.Clear)
	}
	return b.String()
}

func (g Group) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v", g.Dot(0))
	for i, e := range g.Events {
		if i > 0 {
			b.WriteString(";")
		}
		fmt.Fprintf(&b, " %v", e)
	}
	return b.String()
}
