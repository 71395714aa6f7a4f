package ring

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// NodeID names a node for ever: the text of a UUID, or something short such as
// "n1" in simulations.
type NodeID string

// FactKind says what a fact tells about a node.
type FactKind uint8

// The three things an operator can say.
const (
	Joined   FactKind = 1 // the node is a member, with these addresses, zone and weight
	Left     FactKind = 2 // the node is gone for good
	Replaced FactKind = 3 // the node is gone for good and By takes its partitions
)

func (k FactKind) String() string {
	switch k {
	case Joined:
		return "joined"
	case Left:
		return "left"
	case Replaced:
		return "replaced"
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Bounds of a fact and of a set of them.
const (
	MaxNumber  = 1 << 62 // highest Lamport number
	MaxIDLen   = 64      // bytes of a NodeID
	MaxAddrLen = 255     // bytes of an address
	MaxZoneLen = 64      // bytes of a zone name
	MaxWeight  = 1 << 16 // highest weight
	MaxFacts   = 1 << 16 // facts in one encoded set
	MaxMembers = 1 << 12 // members at one time
)

// Fact is one signed-off statement about membership. Facts are comparable
// values; two equal facts are one fact.
//
// Of a Replaced fact, the addresses, zone and weight describe By, the node that
// takes over; left empty, By inherits the zone and weight of Node.
type Fact struct {
	Number   uint64 // Lamport number, 1..MaxNumber
	Kind     FactKind
	Node     NodeID // whom the fact is about
	PeerAddr string // host:port of the peer link
	APIAddr  string // host:port of the client API
	Zone     string // failure domain; a node without one is a domain of its own
	Weight   uint32 // share of the data relative to others; 0 reads as 1
	By       NodeID // Replaced: who takes over
}

// String reads like a line of a log: "#4 joined n4 zone=b weight=2".
func (f Fact) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "#%d %s %s", f.Number, f.Kind, f.Node)
	for _, part := range [...]struct{ name, value string }{
		{"by", string(f.By)}, {"peer", f.PeerAddr}, {"api", f.APIAddr}, {"zone", f.Zone},
	} {
		if part.value != "" {
			fmt.Fprintf(&b, " %s=%s", part.name, part.value)
		}
	}
	if f.Weight > 1 {
		fmt.Fprintf(&b, " weight=%d", f.Weight)
	}
	return b.String()
}

// ErrFact is what every refusal of a fact matches with errors.Is.
var ErrFact = errors.New("bad fact")

// FactError says which fact was refused and why.
type FactError struct {
	Fact   Fact
	Reason string
}

func (e *FactError) Error() string { return fmt.Sprintf("ring: fact %v: %s", e.Fact, e.Reason) }

// Is makes errors.Is(err, ErrFact) true.
func (e *FactError) Is(target error) bool { return target == ErrFact }

func (f Fact) check() error {
	refuse := func(format string, args ...any) error {
		return &FactError{Fact: f, Reason: fmt.Sprintf(format, args...)}
	}
	if f.Number < 1 || f.Number > MaxNumber {
		return refuse("number %d is not within 1..%d", f.Number, uint64(MaxNumber))
	}
	if f.Kind < Joined || f.Kind > Replaced {
		return refuse("unknown kind %d", uint8(f.Kind))
	}
	if f.Node == "" {
		return refuse("empty node id")
	}
	for _, part := range [...]struct {
		name, value string
		limit       int
	}{
		{"node id", string(f.Node), MaxIDLen}, {"replacement id", string(f.By), MaxIDLen},
		{"peer address", f.PeerAddr, MaxAddrLen}, {"api address", f.APIAddr, MaxAddrLen}, {"zone", f.Zone, MaxZoneLen},
	} {
		if len(part.value) > part.limit {
			return &FactError{Fact: Fact{Number: f.Number, Kind: f.Kind},
				Reason: fmt.Sprintf("%s of %d bytes, at most %d", part.name, len(part.value), part.limit)}
		}
		if !utf8.ValidString(part.value) {
			return refuse("%s is not UTF-8", part.name)
		}
	}
	if f.Weight > MaxWeight {
		return refuse("weight %d is above %d", f.Weight, MaxWeight)
	}
	switch {
	case f.Kind == Replaced && f.By == "":
		return refuse("replaced by nobody")
	case f.Kind == Replaced && f.By == f.Node:
		return refuse("replaced by itself")
	case f.Kind != Replaced && f.By != "":
		return refuse("only a replaced node has a replacement, got %s", f.By)
	case f.Kind == Left && (f.PeerAddr != "" || f.APIAddr != "" || f.Zone != "" || f.Weight != 0):
		return refuse("a node that left has no address, zone or weight")
	}
	return nil
}

// compareFacts is the order of replay: number, then node, then kind, then the
// rest. The remaining fields are compared in the order they are encoded; any
// total order would do, as long as all nodes have the same one.
func compareFacts(a, b Fact) int {
	return cmp.Or(
		cmp.Compare(a.Number, b.Number),
		cmp.Compare(a.Node, b.Node),
		cmp.Compare(a.Kind, b.Kind),
		cmp.Compare(a.PeerAddr, b.PeerAddr),
		cmp.Compare(a.APIAddr, b.APIAddr),
		cmp.Compare(a.Zone, b.Zone),
		cmp.Compare(a.Weight, b.Weight),
		cmp.Compare(a.By, b.By),
	)
}
