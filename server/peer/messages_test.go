package peer

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/crdt/pack"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica"
	"github.com/cartwheel-db/cartwheel/replica/merkle"
	"github.com/cartwheel-db/cartwheel/ring"
)

var (
	cart   = crdt.Key{Type: crdt.Set, Bucket: "carts", Name: "42"}
	visits = crdt.Key{Type: crdt.Counter, Bucket: "stats", Name: "visits"}
	basket = crdt.Key{Type: crdt.Map, Bucket: "carts", Name: "42"}
	apples = crdt.Path{Name: "apples", Kind: crdt.CounterField}
	pears  = crdt.Path{Name: "pears", Kind: crdt.CounterField}
	op     = crdt.Operation{Client: [16]byte{1, 2, 3, 15: 16}, Seq: 7, Issued: 1_700_000_000_000}
	noon   = crdt.StampAt(1_700_000_000_000)
)

func dot(a dvv.Actor, seq uint64) dvv.Dot { return dvv.Dot{Actor: a, Seq: seq} }

func clockPtr(c dvv.Clock) *dvv.Clock { return &c }

func addMilk() crdt.Group {
	return crdt.Group{Actor: 0xfedcba9876543210, First: 9, Op: op, Sum: 0xfeed, Stamp: noon, Events: []crdt.Event{
		{Row: cart.Member("milk"), Payload: crdt.Member{Stamp: noon, Note: []byte("semi"), Expires: 1_800_000_000_000}.Payload(), Kills: []dvv.Dot{dot(1, 3)}},
		{Row: cart.Member("eggs"), Kills: []dvv.Dot{dot(1, 4), dot(2, 1)}},
	}}
}

func countVisit() crdt.Group {
	return crdt.Group{Actor: 2, First: 5, Sum: 1, Stamp: noon + 1, Answer: 12, Events: []crdt.Event{
		{Row: visits.Row(), Payload: crdt.Entry{P: crdt.TotalOf(12)}.Payload(), Kills: []dvv.Dot{dot(2, 4)}, Delta: 3, Follows: 4},
	}}
}

func clearCart() crdt.Group {
	return crdt.Group{Actor: 3, First: 1, Stamp: noon, Events: []crdt.Event{{Row: cart.Row(), Clear: clockPtr(dvv.ClockOf(dot(1, 1), dot(1, 2), dot(2, 9)))}}}
}

func milkRow() crdt.Row {
	return crdt.Row{Live: []crdt.Live{{Dot: dot(1, 3), Payload: crdt.Member{Stamp: noon}.Payload()}}, Deferred: []dvv.Dot{dot(2, 7)}}
}

type named struct {
	name    string
	message replica.Message
}

// vectors has every kind, and every field of every kind at least once with something in it.
var vectors = []named{
	{"replicate", replica.Replicate{Batch: []replica.Shipment{{Partition: 3, Groups: []crdt.Group{addMilk(), clearCart()}}, {Partition: 65535, Groups: []crdt.Group{countVisit()}}}}},
	{"acked", replica.Acked{Batch: []replica.Receipt{{Partition: 3, Dots: []dvv.Dot{dot(9, 9), dot(3, 1)}}, {Partition: 65535, Dots: []dvv.Dot{dot(2, 5)}}}}},
	{"forward", replica.Forward{ID: 1 << 40, W: 2, Left: 1_500_000_000, Mutation: replica.Mutation{
		Key: cart, Verb: replica.Update, Op: op, Sum: 0xfeed, Context: clockPtr(dvv.ClockOf(dot(1, 1))),
		Changes: []replica.Change{{Member: "milk", Expires: 1_800_000_000_000, Note: []byte("semi")}, {Member: "eggs", Remove: true}},
	}}},
	{"forward an update of a map", replica.Forward{ID: 2, Left: 7, Mutation: replica.Mutation{Key: basket, Verb: replica.Edit, Op: op, Context: clockPtr(dvv.ClockOf(dot(1, 1))), Changes: []replica.Change{
		{Member: apples.Encode(), Delta: 3, Expires: 1_800_000_000_000},
		{Member: pears.Encode(), Remove: true, Shown: crdt.Reset{{Actor: 1, Seq: 1, Entry: crdt.Entry{P: crdt.TotalOf(9)}}}.Payload()},
		{Member: crdt.Path{Name: "tags", Kind: crdt.SetField}.Encode(), Remove: true},
		{Member: crdt.Path{Name: "note", Kind: crdt.RegisterField}.Encode(), Note: []byte("gift")}}}}},
	{"forward an increment that expires", replica.Forward{ID: 2, Mutation: replica.Mutation{Key: visits, Verb: replica.Add, Delta: 1, Expires: 1_800_000_000_000}}},
	{"forward an increment", replica.Forward{ID: 2, Mutation: replica.Mutation{Key: visits, Verb: replica.Add, Delta: -40}, Left: -1}},
	{"forward a put", replica.Forward{ID: 3, Mutation: replica.Mutation{Key: crdt.Key{Type: crdt.Blob, Bucket: "b", Name: "ü"}, Verb: replica.Put, Value: []byte{0, 1}, Context: &dvv.Clock{}}}},
	{"forwarded", replica.Forwarded{ID: 1 << 40, Result: replica.Result{Wrote: true, Context: dvv.ClockOf(dot(1, 9)), Minted: dvv.ClockOf(dot(1, 9)), Answer: -12, Coordinator: "n2"}}},
	{"forwarded a failure", replica.Forwarded{ID: 2, Result: replica.Result{Answers: 1, Degraded: true, Coordinator: "n3",
		Failure: &replica.Failure{Reason: replica.NoQuorum, Needed: 2, Got: 1, Unknown: true, Text: "add counter stats/visits: 1 of 2"}}}},
	{"asking", replica.Asking{ID: 5, Partition: 3, Query: replica.Query{Key: cart, Fields: []string{"milk", "eggs"}}}},
	{"asking a span", replica.Asking{ID: 6, Partition: 3, Query: replica.Query{Key: cart, Span: &replica.Span{Prefix: "m", After: "milk", Limit: 100}}}},
	{"asking a range", replica.Asking{ID: 6, Partition: 3, Query: replica.Query{Key: cart, Span: &replica.Span{From: "eggs", Until: "milk", Limit: 100}}}},
	{"asking how many", replica.Asking{ID: 6, Partition: 3, Query: replica.Query{Key: cart, Count: 1_800_000_000_000}}},
	{"asking for fields of a map", replica.Asking{ID: 6, Partition: 3, Query: replica.Query{Key: basket, Fields: []string{apples.Encode(), crdt.Path{Name: "tags", Kind: crdt.SetField}.Encode()}}}},
	{"asking for all of a map", replica.Asking{ID: 6, Partition: 3, Query: replica.Query{Key: basket, Every: true}}},
	{"asking a counter", replica.Asking{ID: 7, Query: replica.Query{Key: visits}}},
	{"asking for something fresh", replica.Asking{ID: 8, Query: replica.Query{Key: visits}, MaxStale: 5_000_000_000, Hashed: true, Hash: [16]byte{1, 15: 2}}},
	{"forward under a session", replica.Forward{ID: 4, Mutation: replica.Mutation{Key: visits, Verb: replica.Zero, Session: clockPtr(dvv.ClockOf(dot(1, 7)))}}},
	{"answered", replica.Answered{ID: 5, Ready: true, Answer: replica.Answer{Clock: dvv.ClockOf(dot(1, 1), dot(1, 3)), Dead: dvv.ClockOf(dot(4, 4)), Type: crdt.Set, More: true,
		Rows: []replica.Found{{Field: "eggs", Row: crdt.Row{Deferred: []dvv.Dot{dot(2, 2)}}}, {Field: "milk", Row: milkRow()}}}}},
	{"answered nothing live", replica.Answered{ID: 6, Answer: replica.Answer{Type: crdt.Counter, Rows: []replica.Found{{Row: crdt.Row{Deferred: []dvv.Dot{dot(2, 2)}}}}}}},
	{"answered absence", replica.Answered{ID: 7, Ready: true, Answer: replica.Answer{Clock: dvv.ClockOf(dot(1, 1))}}},
	{"answered rows of a map", replica.Answered{ID: 7, Answer: replica.Answer{Type: crdt.Map, Rows: []replica.Found{
		{Field: apples.Encode(), Row: crdt.Row{Live: []crdt.Live{{Dot: dot(2, 5), Payload: countVisit().Events[0].Payload}}}},
		{Field: crdt.Path{Name: "tags", Kind: crdt.SetField, Member: "new"}.Encode(), Row: milkRow()}}}}},
	{"answered a count", replica.Answered{ID: 7, Answer: replica.Answer{Type: crdt.Set, Counted: true, Count: 1 << 40, Sum: merkle.Sum{1, 15: 2}}}},
	{"answered that it failed", replica.Answered{ID: 8, Ready: true, Failed: true}},
	{"digest", replica.Digest{Batch: []replica.ClockPrint{{Partition: 1, Print: [16]byte{0xaa, 15: 0xbb}}, {Partition: 255}}}},
	{"catch-up", replica.CatchUp{Partition: 3, Clock: dvv.ClockOf(dot(1, 1), dot(1, 3)), Final: true}},
	{"events", replica.Events{Partition: 3, Groups: []crdt.Group{addMilk()}, More: true, Gap: true, Report: true}},
	{"events that are gone", replica.Events{Partition: 3, Gap: true}},
	{"offer", replica.Offer{Partition: 3, Ring: 1 << 63}},
	{"coverage", replica.Coverage{Partition: 3, Ring: 1 << 63, Clock: dvv.ClockOf(dot(1, 1))}},
	{"nudge", replica.Nudge{Partition: 3, From: "n2"}},
	{"tree roots", replica.TreeRoots{ID: 5, Batch: []replica.TreeRoot{{Partition: 3, Print: [16]byte{1, 15: 2}, Root: merkle.Sum{3, 15: 4}}, {Partition: 255, Clock: dvv.ClockOf(dot(1, 1))}}}},
	{"tree verdicts", replica.TreeVerdicts{ID: 5, Batch: []replica.TreeVerdict{{Partition: 3, Found: replica.TreesAlike}, {Partition: 4, Found: replica.NotNow}, {Partition: 255, Found: replica.ClocksApart, Clock: dvv.ClockOf(dot(1, 2))}}}},
	{"tree branch", replica.TreeBranch{ID: 5, Partition: 3, Print: [16]byte{1, 15: 2}, Reply: true, Step: merkle.Step{Level: 2, Indices: []int{0, 255}, Sums: []merkle.Sum{{1}, {15: 2}}}}},
	{"tree branch that ends the walk", replica.TreeBranch{ID: 5, Partition: 3, Reply: true}},
	{"row prints", replica.RowPrints{ID: 5, Partition: 3, Print: [16]byte{1, 15: 2}, Leaves: []int{0, 4095}, Rows: []replica.RowPrint{{Place: 1 << 63, Sum: merkle.Sum{1, 15: 2}}}}},
	{"rows apart", replica.RowsApart{ID: 5, Partition: 3, Print: [16]byte{1, 15: 2}, Wanted: []uint64{7, 1 << 63}, Rows: []replica.AddressedRow{
		{Address: cart.Member("milk"), Row: milkRow()}, {Address: visits.Row(), Row: crdt.Row{Live: []crdt.Live{{Dot: dot(2, 5), Payload: countVisit().Events[0].Payload}}}}}}},
	{"rows mend", replica.RowsMend{Partition: 3, Print: [16]byte{1, 15: 2}, Rows: []replica.AddressedRow{{Address: cart.Member("milk"), Row: milkRow()}}}},
	{"fetch", replica.Fetch{ID: 5, Partition: 3, From: cart.Member("eggs").AppendBinary(nil), Until: cart.Member("milk").AppendBinary(nil)}},
	{"fetch all", replica.Fetch{ID: 6, Partition: 65535}},
	{"fetched", replica.Fetched{ID: 5, Partition: 3, Clock: dvv.ClockOf(dot(1, 1), dot(1, 3)), Dead: []replica.FetchedDead{{Key: cart, Dots: dvv.ClockOf(dot(4, 4))}},
		Rows: []replica.AddressedRow{{Address: cart.Member("milk"), Row: milkRow()}}}},
	{"fetched nothing", replica.Fetched{ID: 6, Partition: 65535, Failed: true}},
	{"answered the same rows", replica.Answered{ID: 9, Ready: true, Same: true, Staleness: replica.Staleness{Bound: replica.Unknown, Reachable: 1_500_000, Missing: []ring.NodeID{"n3", "n4"}},
		Answer: replica.Answer{Clock: dvv.ClockOf(dot(1, 1))}}},
	{"sounding", replica.Sounding{ID: 5, Batch: []replica.Shown{{Partition: 3, Print: [16]byte{1, 15: 2}}, {Partition: 255, Open: true, Clock: dvv.ClockOf(dot(1, 1))}}}},
	{"sounded", replica.Sounded{ID: 5, Ring: 1 << 63, Active: true, Batch: []replica.Depth{{Partition: 3, Same: true, Ready: true}, {Partition: 255, Lost: true, Clock: dvv.ClockOf(dot(1, 2))}}}},
	{"cut open", replica.CutOpen{ID: 5, Partition: 3, Clock: dvv.ClockOf(dot(1, 1), dot(1, 3))}},
	{"cut head", replica.CutHead{ID: 5, Partition: 3, Cut: 1 << 40, Clock: dvv.ClockOf(dot(1, 1), dot(2, 3)), Leaves: 4096}},
	{"cut head of a busy node", replica.CutHead{ID: 5, Partition: 3, Busy: true}},
	{"cut ask", replica.CutAsk{ID: 5, Partition: 3, Cut: 1 << 40, Part: replica.CutRows, After: cart.Member("eggs").AppendBinary(nil),
		Wanted: replica.Wanted{Leaves: []byte{0, 1, 0x80}, Keys: []crdt.Key{cart, visits}}}},
	{"cut ask for all", replica.CutAsk{ID: 5, Cut: 7, Part: replica.CutRows, Wanted: replica.Wanted{All: true}}},
	{"cut page of the log", replica.CutPage{ID: 5, Partition: 3, Cut: 7, Part: replica.CutLog, After: []byte{1}, Groups: []crdt.Group{addMilk(), clearCart()}, Next: []byte{2}}},
	{"cut page of clears", replica.CutPage{ID: 5, Partition: 3, Cut: 7, Part: replica.CutClears, Clears: []replica.Clears{{Key: cart, Dots: dvv.ClockOf(dot(4, 4))}}}},
	{"cut page of sums", replica.CutPage{ID: 5, Partition: 3, Cut: 7, Part: replica.CutSums, Sums: []merkle.Sum{{1, 15: 2}, {}}}},
	{"cut page of rows", replica.CutPage{ID: 5, Partition: 3, Cut: 7, Part: replica.CutRows, Rows: []replica.AddressedRow{{Address: cart.Member("milk"), Row: milkRow()}}}},
	{"cut page of operations", replica.CutPage{ID: 5, Partition: 3, Cut: 7, Part: replica.CutOperations, Operations: []crdt.Remembered{
		{Op: op, Sum: 0xfeed, Seen: 1_700_000_000_500, Answer: -3, Events: 1, Dots: []dvv.Dot{dot(1, 1), dot(2, 4)}, Voided: []dvv.Dot{dot(2, 4)}, Adds: []crdt.Increment{{Row: visits.Row(), Delta: -2}}},
		{Op: op, Events: 3, Dots: []dvv.Dot{dot(1, 7)}, Adds: []crdt.Increment{{Row: basket.At(apples), Delta: 3}, {Row: basket.At(pears), Delta: -1}}}}}},
	{"cut page that is gone", replica.CutPage{ID: 5, Partition: 3, Cut: 7, Part: replica.CutRows, Gone: true}},
	{"cut done", replica.CutDone{Partition: 3, Cut: 1 << 40}},
}

func TestMessagesKeepTheirBytes(t *testing.T) {
	var names []string
	encoded := map[string][]byte{}
	for _, v := range vectors {
		names = append(names, v.name)
		encoded[v.name] = Append(nil, v.message)
	}
	golden(t, "messages.golden", names, encoded)
}

func TestEveryVectorReadsBackAndNoneIsCutOrPadded(t *testing.T) {
	for _, v := range vectors {
		t.Run(v.name, func(t *testing.T) { holdsTheCodec(t, v.message) })
	}
}

// holdsTheCodec is what must be true of every message that a replica can send.
func holdsTheCodec(t rapid.TB, m replica.Message) {
	t.Helper()
	b := Append([]byte("before"), m)
	if !bytes.HasPrefix(b, []byte("before")) {
		t.Fatalf("what stood before the message is gone")
	}
	b = b[len("before"):]
	got, err := Decode(b)
	if err != nil || !reflect.DeepEqual(got, m) {
		t.Fatalf("got  %+v, %v\nwant %+v\nfrom %x", got, err, m, b)
	}
	for n := range b {
		if cut, err := Decode(b[:n:n]); err == nil {
			t.Fatalf("%d of %d bytes decode to %+v", n, len(b), cut)
		}
	}
	if _, err := Decode(append(bytes.Clone(b), 0xc0)); err == nil || !strings.Contains(err.Error(), "1 bytes left over") {
		t.Fatalf("with a byte behind it: %v", err)
	}
	input := bytes.Clone(b)
	if got, err = Decode(input); err != nil {
		t.Fatalf("decode: %v", err)
	}
	for i := range input {
		input[i] ^= 0xff
	}
	if !bytes.Equal(Append(nil, got), b) {
		t.Fatalf("the message changes with the buffer it was decoded from: %+v", got)
	}
}

// declared returns the types of package replica that have a method message().
func declared(t *testing.T) map[string]bool {
	t.Helper()
	files, err := filepath.Glob("../../replica/*.go")
	if err != nil {
		t.Fatal(err)
	}
	types := map[string]bool{}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range parsed.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv != nil && f.Name.Name == "message" {
				types[f.Recv.List[0].Type.(*ast.Ident).Name] = true
			}
		}
	}
	return types
}

func TestEveryMessageOfTheReplicaHasACodecAndAVector(t *testing.T) {
	types := declared(t)
	if len(types) < 12 {
		t.Errorf("only %d messages found: the search is broken", len(types))
	}
	kinds := map[string]string{}
	for _, v := range vectors {
		name := reflect.TypeOf(v.message).Name()
		b := Append(nil, v.message)
		if m, err := Decode(b); err != nil || reflect.TypeOf(m).Name() != name {
			t.Errorf("a %s decodes to %T, %v", name, m, err)
		}
		k := kind(b[0]).String()
		if before, ok := kinds[k]; ok && before != name {
			t.Errorf("kind %q stands for %s and for %s", k, before, name)
		}
		kinds[k] = name
		delete(types, name)
	}
	for name := range types {
		t.Errorf("replica.%s has no vector here, and so perhaps no codec", name)
	}
}

// A field that is added to a message, or to what travels in one, must be added here.
func TestEveryFieldOfEveryMessageTravels(t *testing.T) {
	seen := map[string]bool{"Result.Merged": true, "Result.Staleness": true} // of a query, and only mutations are forwarded
	for _, v := range vectors {
		m, err := Decode(Append(nil, v.message))
		if err != nil {
			t.Fatal(err)
		}
		walk(reflect.ValueOf(m), seen)
	}
	for field, filled := range seen {
		if !filled {
			t.Errorf("%s is in no vector, or does not travel", field)
		}
	}
	for _, field := range []string{"Offer.Ring", "Event.Clear", "Failure.Text", "Key.Bucket", "Live.Payload"} {
		if _, ok := seen[field]; !ok {
			t.Errorf("%s was not visited: the walk is broken", field)
		}
	}
}

// walk notes for each field below v whether it has something in it.
func walk(v reflect.Value, seen map[string]bool) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			walk(v.Elem(), seen)
		}
	case reflect.Slice:
		for i := range v.Len() {
			walk(v.Index(i), seen)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() {
				name := v.Type().Name() + "." + f.Name
				seen[name] = seen[name] || !v.Field(i).IsZero()
				walk(v.Field(i), seen)
			}
		}
	default:
	}
}

func TestOnlyTheKindsOfTheTableAreRead(t *testing.T) {
	for b := range 256 {
		_, err := Decode([]byte{byte(b)})
		var refused *MessageError
		if !errors.As(err, &refused) || !errors.Is(err, pack.ErrMalformed) {
			t.Fatalf("kind %d alone: %v", b, err)
		}
		unknown := strings.Contains(err.Error(), "no message is of this kind") && refused.Kind == fmt.Sprintf("kind %d", b)
		if known := b < len(kindNames) && kindNames[b] != ""; known == unknown {
			t.Errorf("kind %d: %v", b, err)
		}
	}
}

func TestAFailedAnswerLeavesItsRowsBehind(t *testing.T) {
	half := replica.Answered{ID: 1, Failed: true, Answer: replica.Answer{Clock: dvv.ClockOf(dot(1, 1)), Rows: []replica.Found{{Field: "milk", Row: milkRow()}}}}
	got, err := Decode(Append(nil, half))
	if want := (replica.Answered{ID: 1, Failed: true}); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestTheLongestAddressFitsIntoEachMessageThatBearsOne(t *testing.T) {
	zeros := strings.Repeat("\x00", crdt.MaxFieldName)
	a := crdt.Key{Type: crdt.Map, Bucket: strings.Repeat("b", crdt.MaxBucket), Name: strings.Repeat("k", crdt.MaxKey)}.At(
		crdt.Path{Name: zeros, Kind: crdt.SetField, Member: strings.Repeat("m", crdt.MaxMember)})
	place := a.AppendBinary(nil)
	row := replica.AddressedRow{Address: a, Row: milkRow()}
	for _, m := range []replica.Message{
		replica.RowsMend{Rows: []replica.AddressedRow{row}},
		replica.Fetch{From: place[:len(place)-1], Until: place},
		replica.CutAsk{Part: replica.CutRows, After: append([]byte{0}, place...)},
		replica.CutPage{Part: replica.CutRows, Rows: []replica.AddressedRow{row}},
		replica.Asking{Query: replica.Query{Key: a.Key, Fields: []string{a.Field}, Span: &replica.Span{Prefix: a.Field, After: a.Field}}},
		replica.Answered{Answer: replica.Answer{Type: crdt.Map, Rows: []replica.Found{{Field: a.Field, Row: milkRow()}}}},
		replica.Forward{Mutation: replica.Mutation{Key: a.Key, Verb: replica.Edit, Changes: []replica.Change{{Member: a.Field}}}},
		replica.Replicate{Batch: []replica.Shipment{{Groups: []crdt.Group{{Actor: 1, First: 1, Events: []crdt.Event{{Row: a, Payload: crdt.Member{}.Payload()}}}}}}},
	} {
		if got, err := Decode(Append(nil, m)); err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("%T: %v", m, err)
		}
	}
}

// A query may name a member twice, and its answer then holds the row twice.
func TestARowMayBeAnsweredTwice(t *testing.T) {
	milk := replica.Found{Field: "milk", Row: milkRow()}
	holdsTheCodec(t, replica.Answered{ID: 1, Answer: replica.Answer{Type: crdt.Set, Rows: []replica.Found{milk, milk}}})
}

func TestAMessageWithoutAKindIsAMistakeOfTheProgram(t *testing.T) {
	defer func() {
		if s := fmt.Sprint(recover()); !strings.Contains(s, "*replica.Offer has no encoding") {
			t.Errorf("got %q", s)
		}
	}()
	Append(nil, &replica.Offer{})
}

// corpus are the seeds of FuzzDecode, by file name.
func corpus() map[string][]byte {
	seeds := map[string][]byte{}
	for _, v := range vectors {
		seeds[strings.ReplaceAll(v.name, " ", "-")] = Append(nil, v.message)
	}
	for _, h := range hostileMessages {
		if len(h.bytes) <= 1<<10+8 { // larger ones only teach it to be slow
			seeds["not-"+strings.ReplaceAll(h.name, " ", "-")] = h.bytes
		}
	}
	return seeds
}

func TestTheFuzzingCorpusHoldsEveryVector(t *testing.T) {
	dir := filepath.Join("testdata", "fuzz", "FuzzDecode")
	if *update {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, b := range corpus() {
		path, want := filepath.Join(dir, name), "go test fuzz v1\n[]byte("+strconv.QuoteToASCII(string(b))+")\n"
		if *update {
			if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Errorf("seed %s is missing or old: %v", path, err)
		}
	}
}

// FuzzDecode: what decodes has no other encoding, and little memory goes into finding out.
func FuzzDecode(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		var m replica.Message
		var err error
		if n := allocated(func() { m, err = Decode(b) }); n > 1<<20 && len(b) <= 1<<10 {
			t.Errorf("allocated %d bytes for %d", n, len(b))
		}
		if err == nil && !bytes.Equal(Append(nil, m), b) {
			t.Errorf("decoded to %+v, which encodes otherwise", m)
		}
	})
}

func ExampleDecode() {
	b := Append(nil, replica.Nudge{Partition: 7, From: "n2"})
	m, err := Decode(b)
	fmt.Printf("% x: %+v %v\n", b, m, err)
	_, err = Decode(b[:3])
	fmt.Println(err)
	// Output:
	// 0c 07 a2 6e 32: {Partition:7 From:n2} <nil>
	// decode nudge message of 3 bytes: malformed msgpack at byte 2: 2 bytes declared, 0 left
}
