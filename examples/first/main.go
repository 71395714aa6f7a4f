// Command first is the README's first session in Go. Give it the addresses of nodes.
package main

import (
	"context"
	"fmt"
	"log"
	"os"

	cartwheel "github.com/cartwheel-db/cartwheel/sdk"
)

func main() {
	ctx := context.Background()
	db, err := cartwheel.Open(ctx, os.Args[1:])
	check(err)
	defer db.Close()

	// A cart with quantities. Two people have it open, each with a handle of their own.
	ann, ben := db.Map("carts", "first"), db.Map("carts", "first")
	check(ann.Delete(ctx)) // what an earlier run left
	check(ann.Update(ctx, cartwheel.Increment("milk", 2), cartwheel.Increment("eggs", 6)))

	// Ann takes out the two bottles that she sees, while Ben puts in one more.
	shown, err := ann.Get(ctx)
	check(err)
	check(ben.Update(ctx, cartwheel.Increment("milk", 1)))
	check(ann.RemoveWith(ctx, shown.Context, cartwheel.Field{Kind: cartwheel.CounterField, Name: "milk"}))

	left, err := ann.Get(ctx)
	check(err)
	fmt.Println(shown.Counters, left.Counters)
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
