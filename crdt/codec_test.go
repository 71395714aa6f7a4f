package crdt_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/crdt/crdttest"
	"github.com/cartwheel-db/cartwheel/crdt/pack"
	"github.com/cartwheel-db/cartwheel/dvv"
)

var update = flag.Bool("update", false, "rewrite the golden files in testdata")

// golden compares got with testdata/name, or writes it there under -update.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := "testdata/" + name
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: bytes that peers and disks already hold have changed\n--- got\n%s--- want\n%s", path, got, want)
	}
}

var (
	shopping = crdt.Key{Type: crdt.Set, Bucket: "carts", Name: "42"}
	cart     = crdt.Key{Type: crdt.Map, Bucket: "carts", Name: "42"}
	profile  = crdt.Key{Type: crdt.Register, Bucket: "users", Name: "mary"}
	session  = crdt.Key{Type: crdt.Blob, Bucket: "users", Name: "mary"}
	retried  = crdt.Operation{Client: [16]byte{0xde, 0xad, 15: 0x01}, Seq: 300, Issued: 1700000000123}
	largest  = dvv.Dot{Actor: math.MaxUint64, Seq: math.MaxUint64 - 1}
)

// payloads are examples of every kind.
func payloads() []interface {
	fmt.Stringer
	Payload() crdt.Payload
} {
	return []interface {
		fmt.Stringer
		Payload() crdt.Payload
	}{
		crdt.Member{},
		crdt.Member{Stamp: crdt.StampAt(1700000000123) + 7, Expires: 1700000009999, Note: []byte("2 bottles")},
		crdt.Entry{},
		entry(300, 70000),
		crdt.Entry{P: crdt.Total{Hi: 1, Lo: 5}, N: crdt.Total{Hi: 0, Lo: math.MaxUint64}},
		crdt.Reset{},
		crdt.Reset{saw("a:3", 10, 4), saw("b:1", 0, 300)},
		void("b:1", "a:1", 1, -5),
		crdt.Void{Voided: largest, Winner: dot("a:1"), Op: retried, Delta: math.MinInt64},
		crdt.Assign{},
		crdt.Assign{Stamp: crdt.StampAt(1700000000123), Value: []byte("blue")},
		crdt.BlobValue{},
		crdt.BlobValue{Op: retried, Value: bytes.Repeat([]byte{0xff}, 300)},
	}
}

// timed are payloads with a time, which is their last part: without it they are
// payloads too.
func timed() []interface {
	fmt.Stringer
	Payload() crdt.Payload
} {
	return []interface {
		fmt.Stringer
		Payload() crdt.Payload
	}{
		expiring(300, 70000, 1700000009999),
		crdt.Assign{Stamp: 9, Value: []byte("blue"), Expires: 1700000009999},
		crdt.BlobValue{Op: retried, Value: []byte("x"), Expires: 1700000009999},
	}
}

func groups() []crdt.Group {
	cleared := clock("a:3 +b:5")
	return []crdt.Group{
		{Actor: 1, First: 1, Events: []crdt.Event{{Row: shopping.Member("milk"), Payload: crdt.Member{}.Payload()}}},
		{Actor: largest.Actor, First: 7, Op: retried, Sum: math.MaxUint64, Stamp: 9, Events: []crdt.Event{
			{Row: shopping.Member("milk"), Payload: crdt.Member{Stamp: 9}.Payload(), Kills: dots("a:1 b:2")},
			{Row: shopping.Member("eggs"), Kills: dots("a:1")},
			{Row: profile.Row(), Payload: crdt.Assign{Stamp: 9, Value: []byte("x")}.Payload()},
			{Row: session.Row(), Payload: crdt.BlobValue{Value: []byte("y")}.Payload()},
			{Row: session.Row(), Kills: []dvv.Dot{largest}},
		}},
		{Actor: 2, First: 300, Op: retried, Stamp: 10, Answer: -41, Events: []crdt.Event{
			{Row: hits, Payload: entry(1, 42).Payload(), Kills: dots("b:1"), Delta: -42}}},
		{Actor: 2, First: 301, Answer: math.MaxInt64, Events: []crdt.Event{{Row: hits, Payload: crdt.Reset{saw("b:300", 1, 42)}.Payload(), Kills: []dvv.Dot{{Actor: 2, Seq: 300}}}}},
		{Actor: 2, First: 302, Events: []crdt.Event{{Row: hits, Payload: entry(3, 42).Payload(), Delta: 2, Follows: 300}}},
		{Actor: 3, First: 1, Events: []crdt.Event{{Row: shopping.Row(), Clear: &cleared}}},
		{Actor: 4, First: 5, Op: retried, Events: []crdt.Event{
			{Row: cart.At(crdt.Path{Name: "apples", Kind: crdt.CounterField}), Payload: entry(3, 0).Payload(), Delta: 3, Follows: 4},
			{Row: cart.At(crdt.Path{Name: "pears", Kind: crdt.CounterField}), Payload: entry(1, 2).Payload(), Kills: dots("d:4"), Delta: -2},
			{Row: cart.At(crdt.Path{Name: "apples", Kind: crdt.CounterField}), Payload: crdt.Reset{saw("d:4", 9, 0)}.Payload()},
			{Row: cart.At(crdt.Path{Name: "note", Kind: crdt.RegisterField}), Payload: crdt.Assign{Value: []byte("gift")}.Payload()},
			{Row: cart.At(crdt.Path{Name: "tags", Kind: crdt.SetField, Member: "new"}), Payload: crdt.Member{}.Payload()},
			{Row: cart.At(crdt.Path{Name: "express", Kind: crdt.FlagField}), Kills: dots("a:1")},
		}},
		{Actor: 3, First: 2, Events: []crdt.Event{{Row: shopping.Row(), Clear: &dvv.Clock{}}, {Row: shopping.Member("tea"), Payload: crdt.Member{}.Payload()}}},
	}
}

func remembereds() []*crdt.Remembered {
	two := remember(applied("b:1", 1, 5), applied("c:1", 1, 5))
	two.Seen, two.Answer = 1700000000123, math.MinInt64
	apples := crdt.Event{Row: cart.At(crdt.Path{Name: "apples", Kind: crdt.CounterField}), Payload: entry(3, 0).Payload(), Delta: 3}
	pears := crdt.Event{Row: cart.At(crdt.Path{Name: "pears", Kind: crdt.CounterField}), Payload: entry(0, 2).Payload(), Delta: -2}
	return []*crdt.Remembered{remember(crdt.Group{Actor: 4, First: 5, Op: retried, Events: []crdt.Event{apples, pears}}), {}, remember(applied("b:1", 1, 0)), remember(applied("b:1", 1, -5)), two}
}

func TestTheBytesNeverChange(t *testing.T) {
	var out strings.Builder
	for _, p := range slices.Concat(payloads(), timed()) {
		fmt.Fprintf(&out, "%v %v\n  %x\n", p.Payload().Kind(), p, []byte(p.Payload()))
	}
	golden(t, "payload.golden", out.String())

	out.Reset()
	for _, g := range groups() {
		fmt.Fprintf(&out, "%v\n  %x\n", g, crdt.AppendGroup(nil, &g))
	}
	golden(t, "group.golden", out.String())

	out.Reset()
	for _, r := range []crdt.Row{{}, row("a:1=milk"), row("a:1=eggs a:1=milk b:300=tea / c:1 c:70000"), {Deferred: []dvv.Dot{largest}}} {
		fmt.Fprintf(&out, "%v\n  %x\n", r, crdt.AppendRow(nil, r))
	}
	golden(t, "row.golden", out.String())

	out.Reset()
	for _, a := range []crdt.Address{shopping.Member("milk"), shopping.Member("日本"), hits, profile.Row(), session.Row(),
		cart.At(crdt.Path{Name: "apples", Kind: crdt.CounterField}), cart.At(crdt.Path{Name: "a\x00b", Kind: crdt.SetField, Member: "m\x00"}), cart.At(crdt.Path{Name: "express", Kind: crdt.FlagField}),
		crdt.Key{Type: crdt.Blob, Bucket: strings.Repeat("b", 64), Name: strings.Repeat("k", 300)}.Row()} {
		fmt.Fprintf(&out, "%v\n  key     %x\n  address %x\n", a, a.Key.AppendPrefix(nil), a.AppendBinary(nil))
	}
	golden(t, "address.golden", out.String())

	out.Reset()
	for _, m := range remembereds() {
		fmt.Fprintf(&out, "%v\n  %x\n", m, crdt.AppendRemembered(nil, m))
	}
	golden(t, "remembered.golden", out.String())
}

// decoders read bytes and write again what they understood.
var decoders = map[string]func(b []byte) (again []byte, err error){
	"group": func(b []byte) ([]byte, error) {
		g, err := crdt.DecodeGroup(b)
		if err != nil {
			return nil, err
		}
		_, _, _ = g.String(), g.Increments(), g.Last() // must not panic on what was accepted
		return crdt.AppendGroup(nil, &g), nil
	},
	"row of a set":      rowOfType(crdt.Set),
	"row of a counter":  rowOfType(crdt.Counter),
	"row of a register": rowOfType(crdt.Register),
	"row of a blob":     rowOfType(crdt.Blob),
	"address": func(b []byte) ([]byte, error) {
		a, err := crdt.DecodeAddress(b)
		return a.AppendBinary(nil), err
	},
	"remembered": func(b []byte) ([]byte, error) {
		r := pack.NewReader(b)
		m := crdt.ReadRemembered(r)
		if err := r.Close(); err != nil {
			return nil, err
		}
		_ = m.String()
		return crdt.AppendRemembered(nil, &m), nil
	},
	"payload": func(b []byte) ([]byte, error) {
		p := crdt.Payload(b)
		if err := p.Check(p.Kind().Type()); err != nil {
			return nil, err
		}
		_ = p.String()
		return decoded(p)
	},
}

func rowOfType(kind crdt.Type) func(b []byte) ([]byte, error) {
	return func(b []byte) ([]byte, error) {
		r, err := crdt.DecodeRow(b, kind)
		if err != nil {
			return nil, err
		}
		_, _ = r.String(), r.Dots()
		switch kind {
		case crdt.Set:
			_, _, err = r.Member()
		case crdt.Counter:
			var tl *crdt.Tally
			if tl, err = r.Tally(); err == nil {
				tl.Value()
				tl.Reset()
			}
		case crdt.Register:
			_, err = r.Register()
		case crdt.Blob:
			_, err = r.Siblings()
		}
		if err != nil {
			return nil, fmt.Errorf("a row that was accepted cannot be read: %w", errUnreadable)
		}
		return crdt.AppendRow(nil, r), nil
	}
}

var errUnreadable = errors.New("unreadable")

func decoded(p crdt.Payload) ([]byte, error) {
	switch p.Kind() {
	case crdt.KindMember:
		v, err := crdt.DecodeMember(p)
		return v.Payload(), err
	case crdt.KindEntry:
		v, err := crdt.DecodeEntry(p)
		return v.Payload(), err
	case crdt.KindReset:
		v, err := crdt.DecodeReset(p)
		return v.Payload(), err
	case crdt.KindVoid:
		v, err := crdt.DecodeVoid(p)
		return v.Payload(), err
	case crdt.KindAssign:
		v, err := crdt.DecodeAssign(p)
		return v.Payload(), err
	case crdt.KindBlob:
		v, err := crdt.DecodeBlobValue(p)
		return v.Payload(), err
	default:
		return nil, fmt.Errorf("%v was accepted", p.Kind())
	}
}

// examples are bytes that each decoder must accept.
func examples() map[string][][]byte {
	out := map[string][][]byte{}
	for _, p := range payloads() {
		out["payload"] = append(out["payload"], p.Payload())
	}
	for _, p := range slices.Concat(payloads(), timed()) {
		kind := "row of a " + p.Payload().Kind().Type().String()
		r := crdt.Row{Live: []crdt.Live{{Dot: dot("a:1"), Payload: p.Payload()}}, Deferred: dots("b:1 c:300")}
		out[kind] = append(out[kind], crdt.AppendRow(nil, r))
	}
	for _, g := range groups() {
		out["group"] = append(out["group"], crdt.AppendGroup(nil, &g))
	}
	for _, m := range remembereds() {
		out["remembered"] = append(out["remembered"], crdt.AppendRemembered(nil, m))
	}
	for _, a := range []crdt.Address{shopping.Member("milk"), hits, profile.Row(), cart.At(crdt.Path{Name: "tags", Kind: crdt.SetField, Member: "new"})} {
		out["address"] = append(out["address"], a.AppendBinary(nil))
	}
	return out
}

func TestEveryExampleIsReadBackAndNoPartOfItIs(t *testing.T) {
	for name, all := range examples() {
		for _, b := range all {
			again, err := decoders[name](b)
			if err != nil || !bytes.Equal(again, b) {
				t.Errorf("%s %x came back as %x, %v", name, b, again, err)
			}
			if name == "address" {
				continue // a member ends where its bytes end
			}
			for n := range b {
				if _, err := decoders[name](b[:n]); err == nil {
					t.Errorf("%s %x was accepted without its last %d bytes", name, b, len(b)-n)
				}
			}
			if _, err := decoders[name](append(slices.Clone(b), 0)); err == nil {
				t.Errorf("%s %x was accepted with a byte behind it", name, b)
			}
		}
	}
}

func TestRandomHistoriesComeBackFromTheirBytes(t *testing.T) {
	histories := crdttest.Histories()
	rapid.Check(t, func(t *rapid.T) {
		h := histories.Draw(t, "history")
		for i := range h.Groups {
			b := crdt.AppendGroup(nil, &h.Groups[i])
			g, err := crdt.DecodeGroup(b)
			if err != nil || !bytes.Equal(crdt.AppendGroup(nil, &g), b) || g.String() != h.Groups[i].String() {
				t.Fatalf("%v came back as %v, %v", h.Groups[i], g, err)
			}
			if n := g.Bytes(); n < len(b)/2 || n > 8*len(b) {
				t.Fatalf("%v of %d bytes is estimated at %d", g, len(b), n)
			}
		}
		for a, r := range crdttest.Oracle(h.Groups) {
			got, err := crdt.DecodeRow(crdt.AppendRow(nil, r), a.RowType())
			if err != nil || !got.Equal(r) {
				t.Fatalf("%v came back as %v, %v", r, got, err)
			}
		}
	})
}
