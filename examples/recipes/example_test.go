package recipes_test

import (
	"fmt"
	"time"

	"github.com/cartwheel-db/cartwheel/examples/recipes"
)

func ExampleCart() {
	customer := fresh("ann")
	atHome, onTheWay := recipes.NewCart(laptop, customer), recipes.NewCart(phone, customer)
	_ = atHome.Put(ctx, "milk", 2)
	_ = atHome.Put(ctx, "eggs", 6)

	// The laptop shows two bottles of milk. While its owner thinks about them, one
	// more is put in on the phone.
	_, shown, _ := atHome.Lines(ctx)
	_ = onTheWay.Put(ctx, "milk", 1)
	err := atHome.Remove(ctx, shown, "milk")

	lines, _, _ := atHome.Lines(ctx)
	show(err, lines)
	// Output: map[eggs:6 milk:1]
}

func ExampleCart_CheckOut() {
	cart := recipes.NewCart(laptop, fresh("ben"))
	_ = cart.Put(ctx, "milk", 2)

	// What was ordered is what was shown.
	ordered, shown, _ := cart.Lines(ctx)
	_ = cart.Put(ctx, "tea", 1)
	err := cart.CheckOut(ctx, shown)

	left, _, _ := cart.Lines(ctx)
	show(err, ordered, left)
	// Output: map[milk:2] map[tea:1]
}

func ExampleLikes() {
	page := fresh("page")
	likes := recipes.NewLikes(phone, page)
	_ = likes.Like(ctx, "ann")
	_ = likes.Like(ctx, "ann") // pressed twice
	_ = likes.Like(ctx, "ben")
	_ = likes.Unlike(ctx, "ben")
	_ = likes.Clap(ctx, 3)
	err := recipes.NewLikes(laptop, page).Clap(ctx, 2)

	people, _ := likes.Count(ctx)
	claps, _ := likes.Claps(ctx)
	show(err, people, claps)
	// Output: 1 5
}

func ExampleLogins() {
	id := fresh("login")
	err := recipes.NewLogins(phone, 30*time.Minute).Save(ctx, id, []byte("ann, cart 42"))
	if err != nil {
		fmt.Println(err)
		return
	}
	logins := recipes.NewLogins(laptop, 30*time.Minute)
	data, found, err := logins.Load(ctx, id)
	show(err, string(data), found)

	err = logins.End(ctx, id)
	_, found, _ = logins.Load(ctx, id)
	show(err, found)
	// Output:
	// ann, cart 42 true
	// false
}

func ExampleFlags() {
	flags := recipes.NewFlags(laptop, fresh("production"))
	_ = flags.Switch(ctx, []string{"dark-mode", "old-search"}, nil)

	// Nobody has both searches, or none.
	err := flags.Switch(ctx, []string{"new-search"}, []string{"old-search"})

	on, _ := flags.On(ctx)
	show(err, on)
	// Output: map[dark-mode:true new-search:true]
}

func ExampleRoom() {
	room := recipes.NewRoom(laptop, fresh("kitchen"), 30*time.Second)
	_ = room.Here(ctx, "ann")
	_ = room.Here(ctx, "ben")
	err := room.Leave(ctx, "ben")

	people, _ := room.Present(ctx)
	show(err, people)
	// Output: [ann]
}

func ExampleLeaderboard() {
	board := recipes.NewLeaderboard(phone, fresh("league"))
	_ = board.Win(ctx, "ann", 10)
	_ = board.Win(ctx, "ben", 30)
	_ = board.Win(ctx, "ann", 25)
	_ = board.Win(ctx, "cleo", 5)

	err := board.Publish(ctx, 2)
	top, _ := board.Top(ctx)
	show(err, top)
	// Output: [{ann 35} {ben 30}]
}
