package store

import (
	"testing"
	"time"
)

// Whoever holds a view may need another one before it ends the first.
func TestACommitThatOutgrowsTheMapWaitsForViewsAndKeepsNobodyFromOpeningThem(t *testing.T) {
	o := testOptions()
	o.MapSize = 1 << 16
	s := mustOpen(t, sample(t, 10), o)
	begin := func() *View {
		t.Helper()
		opened := make(chan *View)
		go func() {
			v, err := s.View()
			if err != nil {
				t.Error(err)
			}
			opened <- v
		}()
		select {
		case v := <-opened:
			return v
		case <-time.After(5 * time.Second):
			t.Fatal("a view does not open while a commit waits for another to end")
			return nil
		}
	}
	end := func(v *View) {
		t.Helper()
		if err := v.Close(); err != nil {
			t.Error(err)
		}
	}
	for round := range 3 { // each outgrows the map that the one before left
		held := begin()
		tx, err := s.Begin()
		if err != nil {
			t.Fatal(err)
		}
		if !tx.Outgrows() {
			t.Error("the map is small, and the commit does not say so")
		}
		for i := range 8 << round {
			if err := tx.Stage(round, []byte{byte(i)}, make([]byte, 1<<20)); err != nil {
				t.Fatal(err)
			}
		}
		done := make(chan error, 1)
		go func() { done <- tx.Commit() }()
		waits := func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.standby.awaits
		}
		for until := time.Now().Add(5 * time.Second); !waits(); {
			if time.Now().After(until) {
				t.Fatal("the commit does not wait for the view")
			}
		}
		for range 3 {
			second := begin()
			end(held)
			held = second
		}
		if _, found, err := held.Staged(round, []byte{0}); err != nil || found {
			t.Errorf("a view shows what is not committed: %v, %v", found, err)
		}
		end(held)
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
		case <-time.After(5 * time.Second):
			t.Fatal("the commit does not end, although no view is open")
		}
		after := begin()
		if _, found, err := after.Staged(round, []byte{7}); err != nil || !found {
			t.Errorf("what was committed is not shown: %v, %v", found, err)
		}
		end(after)
	}
}
