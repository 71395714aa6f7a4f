package cartwheel_test

import (
	"fmt"
	"time"

	cartwheel "github.com/cartwheel-db/cartwheel/sdk"
)

func ExampleExpiresIn() {
	room := exampleDB().Set("rooms", "kitchen")

	// Ann is there until she has not said so for half an hour.
	here := room.With(cartwheel.ExpiresIn(30 * time.Minute))
	err := here.Add(ctx, "ann")
	if err == nil {
		err = here.Add(ctx, "ann")
	}
	in, _ := room.Contains(ctx, "ann")
	fmt.Println(in, err)
	// Output: true <nil>
}

func ExampleExpiresAt() {
	db := exampleDB()

	// A time that is past: what is written is over as soon as it is there.
	over := db.Register("logins", "1").With(cartwheel.ExpiresAt(db.ServerTime().Add(-time.Second)))
	err := over.Set(ctx, []byte("ann"))
	value, _ := over.Get(ctx)
	fmt.Println(value.Exists, err)
	// Output: false <nil>
}

func ExampleMapChange_Until() {
	db := exampleDB()
	order := db.Map("orders", "42")

	// The coupon goes by itself; the note stays.
	tonight := db.ServerTime().Add(8 * time.Hour)
	err := order.Update(ctx,
		cartwheel.Assign("note", []byte("ring twice")),
		cartwheel.Enable("coupon").Until(tonight),
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	for field, err := range order.Fields(ctx) {
		fmt.Println(field.Kind, field.Name, !field.ExpiresAt.IsZero(), err)
	}
	// Output:
	// flag coupon true <nil>
	// register note false <nil>
}
