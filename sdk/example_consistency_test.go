package cartwheel_test

import (
	"errors"
	"fmt"
	"time"

	cartwheel "github.com/cartwheel-db/cartwheel/sdk"
)

func ExampleSession() {
	db := exampleDB()
	cart := db.Set("carts", "42")
	_ = cart.Add(ctx, "milk")
	token := cart.Session().Token() // keep it in a cookie, say

	// Later, in another process: the same person sees what she did.
	again := db.Set("carts", "42").With(cartwheel.InSession(cartwheel.NewSession(token)), cartwheel.Fast())
	in, err := again.Contains(ctx, "milk")
	fmt.Println(in, err)
	// Output: true <nil>
}

func ExampleMaxStaleness() {
	cart := exampleDB().Set("carts", "42")
	size, err := cart.With(cartwheel.MaxStaleness(5 * time.Second)).Size(ctx)
	if errors.Is(err, cartwheel.TooStale) {
		// A node has been away for longer: take an older answer, or none.
		size, err = cart.Size(ctx)
	}
	fmt.Println(size, err)
	// Output: 0 <nil>
}

func ExampleReport() {
	var info cartwheel.Info
	cart := exampleDB().Set("carts", "42").With(cartwheel.Report(&info))
	_, err := cart.Size(ctx)
	fmt.Println(info.Degraded, info.Replicas, info.Attempts, err)
	// Output: false 1 1 <nil>
}
