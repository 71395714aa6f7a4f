package cartwheel_test

import (
	"context"
	"fmt"

	cartwheel "github.com/cartwheel-db/cartwheel/sdk"
)

var ctx = context.Background()

func Example() {
	db, err := cartwheel.Open(ctx, exampleAddresses())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer db.Close()

	cart := db.Set("carts", "42")
	if err := cart.Add(ctx, "milk", "eggs"); err != nil {
		fmt.Println(err)
		return
	}
	for member, err := range cart.Members(ctx) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(member.Name)
	}
	// Output:
	// eggs
	// milk
}
