package cartwheel_test

import (
	"fmt"
	"time"

	cartwheel "github.com/cartwheel-db/cartwheel/sdk"
)

func ExampleSet() {
	db := exampleDB()

	cart := db.Set("carts", "42")
	err := cart.Add(ctx, "milk", "eggs", "salt")
	if err == nil {
		err = cart.Remove(ctx, "salt")
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	in, _ := cart.Contains(ctx, "milk")
	size, _ := cart.Size(ctx)
	fmt.Println(in, size)
	for member, err := range cart.Members(ctx) {
		fmt.Println(member.Name, err)
	}
	// Output:
	// true 2
	// eggs <nil>
	// milk <nil>
}

func ExampleSet_Members() {
	tags := exampleDB().Set("tags", "page-1")
	_ = tags.Add(ctx, "color:blue", "color:red", "size:l", "size:m")

	for member, err := range tags.Members(ctx, cartwheel.Prefix("color:"), cartwheel.PageSize(1)) {
		fmt.Println(member.Name, err)
	}
	for member, err := range tags.Members(ctx, cartwheel.Between("color:c", "size:m")) {
		fmt.Println(member.Name, err)
	}
	// Output:
	// color:blue <nil>
	// color:red <nil>
	// color:red <nil>
	// size:l <nil>
}

func ExampleSet_Pages() {
	tags := exampleDB().Set("tags", "page-1")
	_ = tags.Add(ctx, "a", "b", "c")

	// One page, and the rest later: Next is text, to be kept or sent to somebody.
	var next string
	for page, err := range tags.Pages(ctx, cartwheel.PageSize(2)) {
		fmt.Println(len(page.Members), err)
		next = page.Next
		break
	}
	for page, err := range tags.Pages(ctx, cartwheel.From(next)) {
		fmt.Println(page.Members[0].Name, page.Next == "", err)
	}
	// Output:
	// 2 <nil>
	// c true <nil>
}

func ExampleSet_RemoveWith() {
	db := exampleDB()
	ann, ben := db.Set("carts", "42"), db.Set("carts", "42")
	_ = ann.Add(ctx, "milk")

	// Ann takes out the milk that she was shown, and none that is added meanwhile.
	found, shown, err := ann.ContainsEach(ctx, "milk")
	_ = ben.Add(ctx, "milk")
	if err == nil && found[0] {
		err = ann.RemoveWith(ctx, shown, "milk")
	}
	in, _ := ann.Contains(ctx, "milk")
	fmt.Println(in, err)
	// Output: true <nil>
}

func ExampleSet_Update() {
	cart := exampleDB().Set("carts", "42")
	_ = cart.Add(ctx, "milk 1l")

	// Nobody sees the cart without milk, or with both.
	err := cart.Update(ctx, cartwheel.Removing("milk 1l"), cartwheel.Adding(cartwheel.Member{Name: "milk 2l"}))
	if err != nil {
		fmt.Println(err)
		return
	}
	for member, err := range cart.Members(ctx) {
		fmt.Println(member.Name, err)
	}
	// Output: milk 2l <nil>
}

func ExampleSet_AddMembers() {
	cart := exampleDB().Set("carts", "42")
	_, err := cart.AddMembers(ctx, cartwheel.Member{Name: "milk", Note: []byte("2 bottles")})
	if err != nil {
		fmt.Println(err)
		return
	}
	for member, err := range cart.Members(ctx) {
		fmt.Printf("%s (%s) %v\n", member.Name, member.Note, err)
	}
	// Output: milk (2 bottles) <nil>
}

func ExampleSet_Update_shorterExpiry() {
	db := exampleDB()
	room := db.Set("rooms", "kitchen")
	_ = room.Add(ctx, "ann") // for ever

	// An add that another node coordinates stands beside the first: remove that.
	soon := db.ServerTime().Add(time.Hour)
	err := room.Update(ctx, cartwheel.Removing("ann"), cartwheel.Adding(cartwheel.Member{Name: "ann", ExpiresAt: soon}))
	if err != nil {
		fmt.Println(err)
		return
	}
	for member, err := range room.Members(ctx) {
		fmt.Println(member.Name, member.ExpiresAt.IsZero(), err)
	}
	// Output: ann false <nil>
}
