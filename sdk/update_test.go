package cartwheel_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	cartwheel "github.com/cartwheel-db/cartwheel/sdk"
)

// with is a merge: the words of all siblings and one more, each once.
func with(word string, siblings [][]byte) []byte {
	words := strings.Fields(string(bytes.Join(siblings, []byte(" "))) + " " + word)
	slices.Sort(words)
	return []byte(strings.Join(slices.Compact(words), " "))
}

func TestUpdateBeginsWithNothingAndGoesOnFromTheValue(t *testing.T) {
	_, nodes := newCluster(t, 1)
	blob := open(t, nodes).Blob("notes", "1")
	for _, step := range []struct{ word, want string }{{"b", "b"}, {"a", "a b"}, {"a", "a b"}} {
		calls := 0
		got, err := blob.Update(t.Context(), func(siblings [][]byte) ([]byte, error) {
			calls++
			return with(step.word, siblings), nil
		})
		if string(got) != step.want || calls != 1 || err != nil {
			t.Errorf("adding %s: %q in %d calls, %v, want %q in 1", step.word, got, calls, err, step.want)
		}
	}
}

func TestUpdateLoopsUntilItsValueIsAlone(t *testing.T) {
	_, nodes := newCluster(t, 1)
	db := open(t, nodes)
	blob := db.Blob("notes", "1")
	var met []int
	got, err := blob.Update(t.Context(), func(siblings [][]byte) ([]byte, error) {
		met = append(met, len(siblings))
		if len(met) <= 2 {
			// Somebody else puts between our read and our put.
			if _, err := blob.Put(t.Context(), fmt.Append(nil, "other", len(met)), ""); err != nil {
				return nil, err
			}
		}
		return with("mine", siblings), nil
	})
	if string(got) != "mine other1 other2" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if !slices.Equal(met, []int{0, 2, 2}) {
		t.Errorf("resolve met %v siblings, want [0 2 2]", met)
	}
	if shown, err := blob.Get(t.Context()); err != nil || len(shown.Siblings) != 1 || !bytes.Equal(shown.Siblings[0], got) {
		t.Errorf("left %q, %v", shown.Siblings, err)
	}
}

func TestConcurrentUpdatesLoseNoWord(t *testing.T) {
	_, nodes := newCluster(t, 3)
	db := open(t, nodes, cartwheel.WithRotation(), cartwheel.WithTimeout(time.Minute))
	const writers = 8
	var running sync.WaitGroup
	for i := range writers {
		running.Go(func() {
			_, err := db.Blob("notes", "1").Update(t.Context(), func(siblings [][]byte) ([]byte, error) {
				return with(fmt.Sprint("w", i), siblings), nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	running.Wait()
	shown, err := db.Blob("notes", "1").Get(t.Context())
	if err != nil || len(shown.Siblings) != 1 || string(shown.Siblings[0]) != "w0 w1 w2 w3 w4 w5 w6 w7" {
		t.Errorf("left %q, %v", shown.Siblings, err)
	}
}

func TestUpdateEndsWithTheErrorOfResolveAndWritesNothing(t *testing.T) {
	cluster, nodes := newCluster(t, 1)
	cannot := errors.New("cannot")
	_, err := open(t, nodes).Blob("notes", "1").Update(t.Context(), func([][]byte) ([]byte, error) { return nil, cannot })
	if !errors.Is(err, cannot) || len(cluster.requests("blob.put")) != 0 {
		t.Errorf("got %v after %d puts", err, len(cluster.requests("blob.put")))
	}
}

func TestUpdateThatStoredButCouldNotLookAgainSaysSo(t *testing.T) {
	_, nodes := newCluster(t, 1)
	ctx, cancel := context.WithCancel(t.Context())
	db := open(t, nodes, cartwheel.WithObserver(func(a cartwheel.Attempt) {
		if a.Op == "blob.put" {
			cancel()
		}
	}))
	got, err := db.Blob("notes", "1").Update(ctx, func([][]byte) ([]byte, error) { return []byte("v"), nil })
	if string(got) != "v" || !errors.Is(err, cartwheel.ErrSiblings) || !errors.Is(err, context.Canceled) {
		t.Errorf("got %q, %v", got, err)
	}
}
