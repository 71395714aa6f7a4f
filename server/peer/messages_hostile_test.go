package peer

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/crdt/pack"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica"
	"github.com/cartwheel-db/cartwheel/replica/merkle"
)

// hostile messages are made by the encoder, which writes what it is told, or by hand.
var hostileMessages = []struct {
	name  string
	bytes []byte
	says  string
}{
	{"nothing", nil, "no kind byte"},
	{"a kind that is not given", []byte{0x4d, 0x90}, "decode kind 77 message of 2 bytes"},
	{"a partition beyond all", Append(nil, replica.Offer{Partition: 65536}), "over its limit 65535"},
	{"a negative partition", Append(nil, replica.Nudge{Partition: -1, From: "n1"}), "over its limit 65535"},
	{"a shipment of a partition beyond all", Append(nil, replica.Replicate{Batch: []replica.Shipment{{Partition: 70000}}}), "over its limit"},
	{"sixty-five thousand shipments of nothing", []byte{1, 0xdc, 0xff, 0xff}, "array of 65535 values in 0 bytes"},
	{"a thousand shipments in a kilobyte", append([]byte{1, 0xdc, 4, 0}, make([]byte, 1024)...), "1024 shipments in 1024 bytes"},
	{"four thousand million groups", []byte{9, 3, 0xdd, 0xff, 0xff, 0xff, 0xff}, "array of 4294967295 values"},
	{"a group for every byte", append([]byte{9, 3, 0xdc, 4, 0}, bytes.Repeat([]byte{0x97}, 1024)...), "1024 groups in 1024 bytes"},
	{"a group without events", Append(nil, replica.Events{Groups: []crdt.Group{{First: 1}, countVisit()}}), "group of 0 events"},
	{"a receipt for no event", Append(nil, replica.Acked{Batch: []replica.Receipt{{Dots: []dvv.Dot{{Actor: 1}}}}}), "without a sequence"},
	{"a mutation that makes no sense", forwarding(replica.Mutation{Key: cart, Verb: replica.Update}), "0 changes, from 1 to 1000"},
	{"a verb of another type", forwarding(replica.Mutation{Key: visits, Verb: replica.Put}), "put on a counter"},
	{"a verb that is none", forwarding(replica.Mutation{Key: visits, Verb: 200}), "verb(200) on a counter"},
	{"a type that is none", forwarding(replica.Mutation{Key: crdt.Key{Type: 9, Bucket: "b", Name: "n"}, Verb: replica.Put}), "unknown type(9)"},
	{"a bucket without a name", forwarding(replica.Mutation{Key: crdt.Key{Type: crdt.Blob, Name: "n"}, Verb: replica.Put}), "bucket of 0 bytes"},
	{"a key that is not UTF-8", forwarding(replica.Mutation{Key: crdt.Key{Type: crdt.Blob, Bucket: "b", Name: "\xff"}, Verb: replica.Put}), "not valid UTF-8"},
	{"a key of more than a kilobyte", forwarding(replica.Mutation{Key: crdt.Key{Type: crdt.Blob, Bucket: "b", Name: strings.Repeat("n", 1025)}, Verb: replica.Put}), "over the limit of 1024"},
	{"a member without a name", forwarding(replica.Mutation{Key: cart, Verb: replica.Update, Changes: []replica.Change{{}}}), "member of 0 bytes"},
	{"an expiry before all time", forwarding(replica.Mutation{Key: cart, Verb: replica.Update, Changes: []replica.Change{{Member: "milk", Expires: -1}}}), "over its limit"},
	{"more changes than one mutation has", forwarding(replica.Mutation{Key: cart, Verb: replica.Update, Changes: slices.Repeat([]replica.Change{{Member: "milk"}}, 1001)}), "1001 changes, limit 1000"},
	{"two contexts", []byte{3, 0, 2, 1, 'b', 0x92}, "where a string belongs"},
	{"a negative quorum", Append(nil, replica.Forward{Mutation: replica.Mutation{Key: visits, Verb: replica.Add, Delta: 1}, W: -1}), "over its limit"},
	{"no reason at all", failing(replica.Failure{}), "reason(0)"},
	{"a reason unheard of", failing(replica.Failure{Reason: 99}), "reason(99)"},
	{"half a failure", []byte{4, 0, 0x92, 1, 1}, "failure of 2 parts"},
	{"a coordinator with too long an id", Append(nil, replica.Forwarded{Result: replica.Result{Coordinator: "0123456789012345678901234567890123456789012345678901234567890123x"}}), "over the limit of 64"},
	{"a coordinator that is not UTF-8", Append(nil, replica.Forwarded{Result: replica.Result{Coordinator: "\xff"}}), "not UTF-8"},
	{"a query that makes no sense", Append(nil, replica.Asking{Query: replica.Query{Key: cart}}), "names members or a span"},
	{"all rows of a set", Append(nil, replica.Asking{Query: replica.Query{Key: cart, Every: true}}), "every row of a set"},
	{"a count of a map", Append(nil, replica.Asking{Query: replica.Query{Key: basket, Count: 1, Every: true}}), "or their count at 1"},
	{"a field of a map that is no path", Append(nil, replica.Asking{Query: replica.Query{Key: basket, Fields: []string{"apples"}}}), "malformed path"},
	{"a change of a map at no path", forwarding(replica.Mutation{Key: basket, Verb: replica.Edit, Changes: []replica.Change{{Member: "apples", Delta: 1}}}), "malformed path"},
	{"a counter of a map changed by nothing", forwarding(replica.Mutation{Key: basket, Verb: replica.Edit, Changes: []replica.Change{{Member: apples.Encode()}}}), "changed by +0"},
	{"a removal with what is no reset", forwarding(replica.Mutation{Key: basket, Verb: replica.Edit, Changes: []replica.Change{{Member: apples.Encode(), Remove: true, Shown: crdt.Payload{5, 0}}}}), "has a reset beside it"},
	{"a set of a map written as a whole", forwarding(replica.Mutation{Key: basket, Verb: replica.Edit, Changes: []replica.Change{{Member: crdt.Path{Name: "tags", Kind: crdt.SetField}.Encode()}}}), "written without a member"},
	{"a change removed and written", forwarding(replica.Mutation{Key: basket, Verb: replica.Edit, Changes: []replica.Change{{Member: apples.Encode(), Remove: true, Delta: 2}}}), "removed and written"},
	{"members of a counter", Append(nil, replica.Asking{Query: replica.Query{Key: visits, Fields: []string{"x"}}}), "has no members"},
	{"a page beyond the limit", Append(nil, replica.Asking{Query: replica.Query{Key: cart, Span: &replica.Span{Limit: 1001}}}), "over its limit 1000"},
	{"half a span", []byte{5, 0, 0, 1, 0xa1, 'b', 0xa1, 'n', 0x90, 0x91, 0xa0}, "span of 1 parts"},
	{"rows out of order", answering("b", milkRow(), "a", milkRow()), `rows out of order: "a" after "b"`},
	{"a row of a member that is not UTF-8", answering("\xff", milkRow()), "not valid UTF-8"},
	{"a member's row without a member", answering("", milkRow()), "member of 0 bytes"},
	{"a counter's row with a field", answeringOf(crdt.Counter, "x", crdt.Row{Live: []crdt.Live{{Dot: dot(1, 1), Payload: countVisit().Events[0].Payload}}}), "a counter has no fields"},
	{"a map's row at no path", answeringOf(crdt.Map, "x", milkRow()), "malformed path"},
	{"a payload of another kind of field", answeringOf(crdt.Map, apples.Encode(), milkRow()), "payload of member in a counter"},

	{"rows of two types", answering("a", milkRow(), "b", crdt.Row{Live: []crdt.Live{{Dot: dot(1, 1), Payload: countVisit().Events[0].Payload}}}), "payload of entry in a set"},
	{"a payload of no kind", answering("a", crdt.Row{Live: []crdt.Live{{Dot: dot(1, 1), Payload: crdt.Payload{77}}}}), "payload of kind(77) in a set"},
	{"rows without a type", answeringOf(0, "milk", milkRow()), "a row of no type"},
	{"more rows than one answer has", answeringMany(1<<16 + 1), "65537 rows, limit 65536"},
	{"a short fingerprint", append([]byte{7, 0x91, 1, 0xc4, 15}, make([]byte, 16)...), "fingerprint of 15 bytes"},
	{"a clock cut short", []byte{8, 1, 0xc4, 1, 5, 0xc2}, "actors do not fit"},
	{"a number in a long form", []byte{10, 0xcc, 3, 0}, "not in its shortest form"},
	{"a nudge toward nobody", Append(nil, replica.Nudge{}), "toward no node"},
	{"a verdict of no kind", Append(nil, replica.TreeVerdicts{Batch: []replica.TreeVerdict{{Partition: 1}}}), "no known kind: 0"},
	{"a verdict of a kind unheard of", Append(nil, replica.TreeVerdicts{Batch: []replica.TreeVerdict{{Found: 99}}}), "no known kind: 99"},
	{"a leaf beyond all", Append(nil, replica.RowPrints{Leaves: []int{1 << 16}}), "over its limit 65535"},
	{"a level beyond all", Append(nil, replica.TreeBranch{Step: merkle.Step{Level: 17}}), "over its limit 16"},
	{"sixty-five thousand nodes of nothing", append(Append(nil, replica.TreeBranch{})[:23], 0xdc, 0xff, 0xff), "array of 65535 values"},
	{"an address of no type", Append(nil, replica.RowsMend{Rows: []replica.AddressedRow{{Address: crdt.Key{Bucket: "b", Name: "n"}.Row()}}}), "malformed row address"},
	{"an address with a payload of another type", Append(nil, replica.RowsMend{Rows: []replica.AddressedRow{{Address: visits.Row(), Row: milkRow()}}}), "in a counter"},
	{"wanted places out of order", Append(nil, replica.RowsApart{Wanted: []uint64{2, 1}}), "places out of order"},
	{"addresses that end before they begin", Append(nil, replica.Fetch{From: []byte{2}, Until: []byte{1}}), "addresses from 02 until 01"},
	{"deferred dots of no key", Append(nil, replica.Fetched{Dead: []replica.FetchedDead{{Key: crdt.Key{Bucket: "b", Name: "n"}}}}), "unknown type(0)"},
	{"a fetched row of no address", append(Append(nil, replica.Fetched{})[:8], 0x91, 0xc4, 4, 1, 1, 'b', 0, 0xc4, 0, 0xc4, 0), "malformed"},
	{"a boolean that is none", []byte{8, 1, 0xc4, 1, 0, 1}, "where a boolean belongs"},
	{"a part of a cut that is none", Append(nil, replica.CutAsk{Part: 9}), "part 9 of a cut"},
	{"a key of a cut without a bucket", Append(nil, replica.CutAsk{Part: replica.CutRows, Wanted: replica.Wanted{Keys: []crdt.Key{{Type: crdt.Set, Name: "n"}}}}), "bucket of 0 bytes"},
	{"more keys than a cut is asked for", Append(nil, replica.CutAsk{Part: replica.CutRows, Wanted: replica.Wanted{Keys: slices.Repeat([]crdt.Key{cart}, 1025)}}), "1025 keys, limit 1024"},
	{"more leaves than a tree has", Append(nil, replica.CutHead{Leaves: 65537}), "over its limit 65536"},
	{"a row of a cut at no address", []byte{33, 0, 0, 0, 4, 0xc4, 0, 0xc2, 0x91, 0xc4, 7, 0, 0, 0, 0, 0, 0, 0, 0x90, 0x90, 0xc4, 0}, "unknown type(0)"},
	{"a thousand sums in a kilobyte", append([]byte{33, 0, 0, 0, 3, 0xc4, 0, 0xc2, 0xdc, 3, 232}, make([]byte, 1000)...), "1000 sums in 1000 bytes"},
	{"a kilobyte of kinds", bytes.Repeat([]byte{1}, 1024), "where an array belongs"},
	{"a kilobyte of nested arrays", append([]byte{1}, bytes.Repeat([]byte{0x91}, 1023)...), "where an unsigned integer belongs"},
	{"a kilobyte of empty shipments and one too few", append([]byte{1, 0xdc, 2, 0}, bytes.Repeat([]byte{0, 0x90}, 510)...), "512 shipments in 1020 bytes"},
}

func forwarding(m replica.Mutation) []byte { return Append(nil, replica.Forward{Mutation: m}) }

func failing(f replica.Failure) []byte {
	return Append(nil, replica.Forwarded{Result: replica.Result{Failure: &f}})
}

func answering(parts ...any) []byte { return answeringOf(crdt.Set, parts...) }

func answeringOf(t crdt.Type, parts ...any) []byte {
	a := replica.Answer{Type: t}
	for i := 0; i < len(parts); i += 2 {
		a.Rows = append(a.Rows, replica.Found{Field: parts[i].(string), Row: parts[i+1].(crdt.Row)})
	}
	return Append(nil, replica.Answered{Answer: a})
}

func answeringMany(n int) []byte {
	a := replica.Answer{Type: crdt.Set, Rows: make([]replica.Found, n)}
	for i := range a.Rows {
		a.Rows[i].Field = fmt.Sprintf("%06d", i)
	}
	return Append(nil, replica.Answered{Answer: a})
}

func TestMalformedMessagesAreRefusedWithoutBelievingThem(t *testing.T) {
	for _, c := range hostileMessages {
		t.Run(c.name, func(t *testing.T) {
			var m replica.Message
			var err error
			if n := allocated(func() { m, err = Decode(c.bytes) }); n > 1<<20 {
				t.Errorf("allocated %d bytes for %d", n, len(c.bytes))
			}
			var refused *MessageError
			if m != nil || !errors.As(err, &refused) || !errors.Is(err, pack.ErrMalformed) || refused.Size != len(c.bytes) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %+v, %v, want a MessageError that says %q", m, err, c.says)
			}
		})
	}
}

// What is well-formed and small may still unfold: the most that a kilobyte becomes.
func TestAKilobyteUnfoldsToLittle(t *testing.T) {
	least := crdt.Event{Row: crdt.Key{Type: crdt.Counter, Bucket: "b", Name: "n"}.Row(), Kills: []dvv.Dot{dot(1, 1)}}
	group := crdt.Group{First: 1, Events: []crdt.Event{least}}
	for _, c := range []struct {
		name    string
		message replica.Message
	}{
		{"empty shipments", replica.Replicate{Batch: make([]replica.Shipment, 500)}},
		{"the least groups", replica.Events{Groups: slices.Repeat([]crdt.Group{group}, 59)}},
		{"events of one key", replica.Events{Groups: []crdt.Group{{First: 1, Events: slices.Repeat([]crdt.Event{least}, 249)}}}},
		{"receipts", replica.Acked{Batch: make([]replica.Receipt, 500)}},
		{"dots", replica.Acked{Batch: []replica.Receipt{{Dots: slices.Repeat([]dvv.Dot{dot(1, 1)}, 500)}}}},
		{"empty rows", replica.Answered{Answer: replica.Answer{Type: crdt.Set, Rows: slices.Repeat([]replica.Found{{Field: "a"}}, 250)}}},
		{"rows of a cut", replica.CutPage{Part: replica.CutRows, Rows: slices.Repeat([]replica.AddressedRow{{Address: crdt.Key{Type: crdt.Blob, Bucket: "b", Name: "n"}.Row()}}, 90)}},
		{"operations of a cut", replica.CutPage{Part: replica.CutOperations, Operations: make([]crdt.Remembered, 110)}},
		{"keys of a cut", replica.CutAsk{Part: replica.CutRows, Wanted: replica.Wanted{Keys: slices.Repeat([]crdt.Key{{Type: crdt.Blob, Bucket: "b", Name: "n"}}, 200)}}},
		{"leaves", replica.RowPrints{Leaves: make([]int, 980)}},
		{"rows of one byte", replica.RowsMend{Rows: slices.Repeat([]replica.AddressedRow{{Address: crdt.Key{Type: crdt.Blob, Bucket: "b", Name: "n"}.Row()}}, 90)}},
		{"changes", replica.Forward{Mutation: replica.Mutation{Key: cart, Verb: replica.Update, Changes: slices.Repeat([]replica.Change{{Member: "a"}}, 160)}}},
	} {
		b, err := Append(nil, c.message), error(nil)
		n := allocated(func() { _, err = Decode(b) })
		if err != nil || len(b) < 900 || len(b) > 1024 {
			t.Errorf("%s: %d bytes, want about a kilobyte that decodes: %v", c.name, len(b), err)
		}
		if n > 1<<17 {
			t.Errorf("%s: allocated %d bytes for %d", c.name, n, len(b))
		}
	}
}
