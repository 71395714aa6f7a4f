package store

import (
	"testing"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
)

func liveRow(seq uint64) crdt.Row {
	return crdt.Row{Live: []crdt.Live{{Dot: dvv.Dot{Actor: 100, Seq: seq}, Payload: crdt.Member{Stamp: 7}.Payload()}}}
}

// A view is held for as long as a snapshot of it takes.
func TestACommitBehindAHeldViewWritesNoMoreThanOneBefore(t *testing.T) {
	const members, commits = 500, 1500
	path := sample(t, members)
	s, err := Open(path, testOptions())
	if err != nil {
		t.Fatal(err)
	}
	seq := uint64(0)
	pages := func(n int) uint64 {
		before := s.Stats().Pages
		for range n {
			update(t, s, func(tx *Tx) error {
				seq++
				return tx.ReplaceRow(3, sampleMember(int(seq)%members), liveRow(seq))
			})
		}
		return (s.Stats().Pages - before) / uint64(n)
	}
	alone := pages(members)
	v, err := s.View()
	if err != nil {
		t.Fatal(err)
	}
	_ = pages(commits)
	behind := pages(100)
	t.Logf("a commit writes %d bytes, behind a view of %d commits %d", alone, s.Held(), behind)
	if behind > 2*alone || s.Held() != commits+100 {
		t.Errorf("a commit writes %d bytes, %d behind a view of %d commits", alone, behind, s.Held())
	}
	if r, err := v.Row(3, sampleMember(1)); err != nil || !r.Equal(liveRow(1)) && !r.Equal(liveRow(members+1)) {
		t.Errorf("the view shows %v, %v", r, err)
	}
	crashed := copyFile(t, path) // now: with no list of free pages
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	size := s.Stats().File
	_ = pages(commits)
	if grown := s.Stats().File - size; grown > size/10 || s.Held() != 0 {
		t.Errorf("without the view %d commits take %d bytes more, held %d", commits, grown, s.Held())
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, path string
		unlisted   bool
	}{{"the file after the view", path, false}, {"the file of a crash while it was held", crashed, true}} {
		s, err = Open(test.path, testOptions())
		if err != nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		if s.unlisted != test.unlisted {
			t.Errorf("%s: unlisted %t", test.name, s.unlisted)
		}
		size := s.Stats().File
		_ = pages(commits)
		if grown := s.Stats().File - size; grown > size/10 || len(s.Damaged()) > 0 {
			t.Errorf("%s: %d commits take %d bytes more, damaged %v", test.name, commits, grown, s.Damaged())
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
