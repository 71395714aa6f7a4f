package recipes_test

import (
	"slices"
	"testing"
	"time"

	"github.com/cartwheel-db/cartwheel/examples/recipes"
)

// eventually waits for what time brings about by itself.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for until := time.Now().Add(20 * time.Second); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

func TestWhoIsNotHeardOfIsAwayAndWhoIsStays(t *testing.T) {
	t.Parallel()
	room := recipes.NewRoom(laptop, fresh("kitchen"), 3*time.Second)
	for _, person := range []string{"ann", "ben"} {
		if err := room.Here(ctx, person); err != nil {
			t.Fatal(err)
		}
	}
	lasting := recipes.NewRoom(phone, fresh("hall"), time.Hour)
	if err := lasting.Here(ctx, "ann"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "Ben, who says no more, is away, and Ann, who does, is there", func() bool {
		if err := room.Here(ctx, "ann"); err != nil {
			t.Fatal(err)
		}
		people, err := room.Present(ctx)
		if err != nil || !slices.Contains(people, "ann") {
			t.Fatalf("%v are there, and Ann said so just now: %v", people, err)
		}
		return !slices.Contains(people, "ben")
	})
	if people, err := lasting.Present(ctx); err != nil || !slices.Equal(people, []string{"ann"}) {
		t.Errorf("in the other room: %v, %v", people, err)
	}
}

func TestALoginLastsFromItsLastUse(t *testing.T) {
	t.Parallel()
	logins, id, idle := recipes.NewLogins(phone, 3*time.Second), fresh("used"), fresh("idle")
	for _, id := range []string{id, idle} {
		if err := logins.Save(ctx, id, []byte("ann")); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the login that nobody uses is over, and the other lasts", func() bool {
		if err := logins.Save(ctx, id, []byte("ann")); err != nil {
			t.Fatal(err)
		}
		if _, found, err := logins.Load(ctx, id); err != nil || !found {
			t.Fatalf("the login used just now: found %v, %v", found, err)
		}
		_, found, err := logins.Load(ctx, idle)
		return err == nil && !found
	})
}
