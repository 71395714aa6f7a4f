package cartwheel_test

import (
	"fmt"

	cartwheel "github.com/cartwheel-db/cartwheel/sdk"
)

func ExampleMap() {
	db := exampleDB()

	profile := db.Map("profiles", "ann")
	err := profile.Update(ctx,
		cartwheel.Assign("name", []byte("Ann")),
		cartwheel.Increment("visits", 1),
		cartwheel.AddTo("tags", "reader"),
		cartwheel.Enable("newsletter"),
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	shown, err := profile.Get(ctx)
	fmt.Println(string(shown.Registers["name"]), shown.Counters["visits"], err)
	fmt.Println(shown.Sets["tags"][0].Name, shown.Flags["newsletter"], shown.Flags["beta"])
	// Output:
	// Ann 1 <nil>
	// reader true false
}

func ExampleMap_RemoveWith() {
	db := exampleDB()
	ann, ben := db.Map("carts", "42"), db.Map("carts", "42")
	_ = ann.Update(ctx, cartwheel.Increment("milk", 2))

	// Ann takes out the line that she was shown, while Ben puts in one more.
	shown, err := ann.Get(ctx)
	_ = ben.Update(ctx, cartwheel.Increment("milk", 1))
	if err == nil {
		err = ann.RemoveWith(ctx, shown.Context, cartwheel.Field{Kind: cartwheel.CounterField, Name: "milk"})
	}
	left, _ := ann.Get(ctx)
	fmt.Println(left.Counters, err)
	// Output: map[milk:1] <nil>
}

func ExampleMap_Fields() {
	stock := exampleDB().Map("stock", "shelf-7")
	_ = stock.Update(ctx, cartwheel.Increment("apples", 5), cartwheel.Increment("pears", 2), cartwheel.Enable("full"))

	for field, err := range stock.Fields(ctx) {
		fmt.Println(field.Kind, field.Name, field.Counter, err)
	}
	// Output:
	// counter apples 5 <nil>
	// flag full 0 <nil>
	// counter pears 2 <nil>
}

func ExampleMap_GetFields() {
	stock := exampleDB().Map("stock", "shelf-7")
	_ = stock.Update(ctx, cartwheel.Increment("apples", 5), cartwheel.Increment("pears", 2))

	shown, err := stock.GetFields(ctx, cartwheel.Field{Kind: cartwheel.CounterField, Name: "pears"})
	fmt.Println(shown.Counters, err)
	// Output: map[pears:2] <nil>
}
