package behaviour_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	cartwheel "github.com/cartwheel-db/cartwheel/sdk"
	"github.com/cartwheel-db/cartwheel/server/servertest"
)

// What is too long for a table: a map that takes several pages to read.
func TestAMapOfSeveralPagesIsReadWholeAndItsContextDeletesWhatItShowed(t *testing.T) {
	starting, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cluster, err := servertest.Start(starting, 3)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	db, err := cartwheel.Open(t.Context(), cluster.Endpoints())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	large := db.Map("carts", "large")
	var changes []cartwheel.MapChange
	for i := range 2000 {
		changes = append(changes, cartwheel.Increment(fmt.Sprintf("n%04d", i), int64(i+1)))
	}
	for i := range 500 {
		changes = append(changes, cartwheel.AddTo("tags", fmt.Sprintf("m%04d", i)))
	}
	for part := range slices.Chunk(changes, 1000) {
		if err := large.Update(t.Context(), part...); err != nil {
			t.Fatal(err)
		}
	}
	value, err := large.Get(t.Context())
	if err != nil || len(value.Counters) != 2000 || value.Counters["n1999"] != 2000 || len(value.Sets["tags"]) != 500 || len(value.Fields) != 2001 {
		t.Fatalf("%d counters, %d tags, %d fields, %v", len(value.Counters), len(value.Sets["tags"]), len(value.Fields), err)
	}
	if !strings.Contains(string(value.Context), ".") {
		t.Fatal("it took one page: make it larger")
	}
	if err := large.Update(t.Context(), cartwheel.Increment("n0007", 5), cartwheel.AddTo("tags", "m0007"), cartwheel.AddTo("tags", "new")); err != nil {
		t.Fatal(err)
	}
	if err := large.DeleteWith(t.Context(), value.Context); err != nil {
		t.Fatal(err)
	}
	left, err := large.Get(t.Context())
	if err != nil || len(left.Fields) != 2 || left.Counters["n0007"] != 5 || len(left.Sets["tags"]) != 2 || left.Sets["tags"][1].Name != "new" {
		t.Errorf("left: %+v, %v", left.Fields, err)
	}
}
