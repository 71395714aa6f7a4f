package quorum_test

import (
	"testing"

	"github.com/cartwheel-db/cartwheel/replica/quorum"
)

var three = []string{"n1", "n2", "n3"}

func TestWrite(t *testing.T) {
	tests := []struct {
		name  string
		write quorum.Write[string]
		do    func(w *quorum.Write[string])
		want  string
		state quorum.State
	}{
		{"the zero value promises nothing", quorum.Write[string]{}, nil, "0 of 1 acks", quorum.Unreachable},
		{"a quorum of none is taken as one", quorum.NewWrite(0, three), nil, "0 of 1 acks: n1? n2? n3?", quorum.Pending},
		{"a node named twice is one node", quorum.NewWrite(2, []string{"n1", "n1"}), nil, "0 of 2 acks: n1?", quorum.Unreachable},
		{"failing a node never asked is nothing", quorum.NewWrite(2, three),
			func(w *quorum.Write[string]) { w.Fail("n9") }, "0 of 2 acks: n1? n2? n3?", quorum.Pending},
		{"asking a node that has acked leaves its ack", quorum.NewWrite(1, three),
			func(w *quorum.Write[string]) { w.Ack("n2"); w.Ask("n2") }, "1 of 1 acks: n1? n2+ n3?", quorum.Reached},
		{"a reset count has forgotten everything", quorum.NewWrite(1, three),
			func(w *quorum.Write[string]) { w.Ack("n2"); w.Ack("n9"); w.Reset(2, three[1:]) }, "0 of 2 acks: n2? n3?", quorum.Pending},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := tt.write
			if tt.do != nil {
				tt.do(&w)
			}
			if got := w.String(); got != tt.want || w.State() != tt.state {
				t.Errorf("%s, %v; want %s, %v", got, w.State(), tt.want, tt.state)
			}
		})
	}
}

func TestRead(t *testing.T) {
	tests := []struct {
		name  string
		read  quorum.Read[string]
		do    func(r *quorum.Read[string])
		want  string
		state quorum.State
	}{
		{"the zero value promises nothing", quorum.Read[string]{}, nil, "0 of 1 ready, 0 answers", quorum.Unreachable},
		{"a quorum of none is taken as one", quorum.NewRead(-3, three), nil, "0 of 1 ready, 0 answers: n1? n2? n3?", quorum.Pending},
		{"asking a node that answered unready leaves its answer", quorum.NewRead(1, three[:1]),
			func(r *quorum.Read[string]) { r.Answer("n1", false); r.Ask("n1") }, "0 of 1 ready, 1 answers: n1~", quorum.Degraded},
		{"failing a node that answered unready leaves its answer", quorum.NewRead(1, three[:1]),
			func(r *quorum.Read[string]) { r.Answer("n1", false); r.Fail("n1") }, "0 of 1 ready, 1 answers: n1~", quorum.Degraded},
		{"an answer of a node never asked counts", quorum.NewRead[string](1, nil),
			func(r *quorum.Read[string]) { r.Answer("n9", true) }, "1 of 1 ready, 1 answers: n9+", quorum.Reached},
		{"a reset count has forgotten everything", quorum.NewRead(1, three),
			func(r *quorum.Read[string]) { r.Answer("n2", true); r.Reset(1, three[:1]) }, "0 of 1 ready, 0 answers: n1?", quorum.Pending},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := tt.read
			if tt.do != nil {
				tt.do(&r)
			}
			if got := r.String(); got != tt.want || r.State() != tt.state {
				t.Errorf("%s, %v; want %s, %v", got, r.State(), tt.want, tt.state)
			}
		})
	}
}

func TestAllYieldsNodesInTheOrderOfAskingAndStopsWhenToldTo(t *testing.T) {
	w := quorum.NewWrite(2, three)
	w.Ask("f4")
	w.Ack("f4")
	w.Fail("n2")
	var got string
	for id, mark := range w.All() {
		got += id + mark.String()
		if id == "n3" {
			break
		}
	}
	if want := "n1?n2-n3?"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestACountAllocatesOnceAndAReusedOneNotAtAll(t *testing.T) {
	ids := []uint64{1, 2, 3}
	finish := func(w *quorum.Write[uint64], r *quorum.Read[uint64]) {
		w.Fail(3)
		w.Ask(4)
		w.Ask(5)
		w.Ack(1)
		w.Ack(5)
		r.Answer(1, true)
		r.Ask(4)
		r.Answer(4, true)
		if w.State() != quorum.Reached || r.State() != quorum.Reached {
			t.Fatal("not reached")
		}
	}
	if n := testing.AllocsPerRun(100, func() {
		w, r := quorum.NewWrite(2, ids), quorum.NewRead(2, ids)
		finish(&w, &r)
	}); n > 2 {
		t.Errorf("a write and a read with two fallbacks allocate %v times, want one each", n)
	}
	w, r := quorum.NewWrite(2, ids), quorum.NewRead(2, ids)
	if n := testing.AllocsPerRun(100, func() {
		w.Reset(2, ids)
		r.Reset(2, ids)
		finish(&w, &r)
	}); n != 0 {
		t.Errorf("reused counts allocate %v times", n)
	}
}

func BenchmarkWriteOfThreeAcks(b *testing.B) {
	ids := []uint64{1, 2, 3}
	w := quorum.NewWrite(2, ids)
	b.ReportAllocs()
	for b.Loop() {
		w.Reset(2, ids)
		for _, id := range ids {
			w.Ack(id)
			_ = w.State()
		}
	}
}
