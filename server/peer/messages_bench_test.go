package peer

import (
	"fmt"
	"testing"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica"
)

// adds is what a commit of a busy coordinator sends: 64 adds to sets, over 16 partitions.
func adds() replica.Replicate {
	const actor = 0xfedcba9876543210
	var m replica.Replicate
	for p := range 16 {
		s := replica.Shipment{Partition: 100 + p}
		for i := range 4 {
			k := crdt.Key{Type: crdt.Set, Bucket: "carts", Name: fmt.Sprintf("customer-%04d", 10*p+i)}
			s.Groups = append(s.Groups, crdt.Group{Actor: actor, First: uint64(1000 + i), Op: op, Sum: 0xfeedfacefeedface, Stamp: noon, Events: []crdt.Event{
				{Row: k.Member("85123A"), Payload: crdt.Member{Stamp: noon}.Payload(), Kills: []dvv.Dot{{Actor: actor, Seq: 900}}},
			}})
		}
		m.Batch = append(m.Batch, s)
	}
	return m
}

// page is what a replica answers about 20 members of a set, under the clock of five openings.
func page() replica.Answered {
	m := replica.Answered{ID: 1 << 20, Ready: true}
	for a := range dvv.Actor(5) {
		m.Answer.Clock.AddRange(a*0x9e3779b97f4a7c15, 1, 5000)
	}
	for i := range 20 {
		m.Answer.Rows = append(m.Answer.Rows, replica.Found{Field: fmt.Sprintf("85%03dA", i), Row: crdt.Row{
			Live: []crdt.Live{{Dot: dvv.Dot{Actor: 0x9e3779b97f4a7c15, Seq: uint64(100 + i)}, Payload: crdt.Member{Stamp: noon}.Payload()}},
		}})
	}
	return m
}

func BenchmarkMessage(b *testing.B) {
	for _, c := range []struct {
		name, unit string
		message    replica.Message
		things     int
	}{
		{"replicate-64-adds", "ns/group", adds(), 64},
		{"answered-20-rows", "ns/row", page(), 20},
		{"nudge", "ns/nudge", replica.Nudge{Partition: 7, From: "n2"}, 1},
	} {
		encoded := Append(nil, c.message)
		run := func(name string, do func()) {
			b.Run(name+"/"+c.name, func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(len(encoded)))
				for b.Loop() {
					do()
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(c.things), c.unit)
			})
		}
		run("encode", func() { Append(nil, c.message) })
		run("decode", func() {
			if _, err := Decode(encoded); err != nil {
				b.Fatal(err)
			}
		})
	}
}
