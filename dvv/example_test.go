package dvv_test

import (
	"errors"
	"fmt"

	"github.com/cartwheel-db/cartwheel/dvv"
)

func ExampleClock() {
	var seen dvv.Clock
	seen.AddRange(1, 1, 3)               // actor 1 prints as a
	seen.Add(dvv.Dot{Actor: 2, Seq: 1})  // b:1
	seen.Add(dvv.Dot{Actor: 2, Seq: 2})  // b:2
	fmt.Println(seen.Add(dvv.Dot{2, 5})) // news, though b:3 and b:4 are missing
	fmt.Println(seen.Add(dvv.Dot{2, 5})) // a repetition
	fmt.Println(seen, seen.Count(), "dots")
	// Output:
	// true
	// false
	// {a:3 b:2 +b:5} 6 dots
}

// What I must send you is a subtraction.
func ExampleClock_Minus() {
	mine := dvv.ClockOf(dvv.Dot{1, 1}, dvv.Dot{1, 2}, dvv.Dot{1, 3}, dvv.Dot{2, 1})
	yours := dvv.ClockOf(dvv.Dot{1, 1}, dvv.Dot{1, 3}, dvv.Dot{3, 1})
	for d := range mine.Minus(yours).Dots() {
		fmt.Println("send", d)
	}
	// Output:
	// send a:2
	// send b:1
}

func ExampleClock_Join() {
	left := dvv.ClockOf(dvv.Dot{1, 1}, dvv.Dot{1, 3})
	right := dvv.ClockOf(dvv.Dot{1, 2}, dvv.Dot{2, 1})
	left.Join(right)
	fmt.Println(left, left.Covers(right), right.Covers(left))
	// Output: {a:3 b:1} true false
}

// A context belongs to the key it was read from.
func ExampleSealer() {
	sealer, err := dvv.NewSealer([]byte("the secret in the cluster file"))
	if err != nil {
		fmt.Println(err)
		return
	}
	k1 := dvv.Scope{Purpose: dvv.PurposeContext, Type: 1, Bucket: "carts", Key: "1"}
	k2 := dvv.Scope{Purpose: dvv.PurposeContext, Type: 1, Bucket: "carts", Key: "2"}
	token, err := sealer.SealContext(k1, dvv.ClockOf(dvv.Dot{1, 1}))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(sealer.OpenContext(k1, token))
	_, err = sealer.OpenContext(k2, token)
	fmt.Println(err)
	fmt.Println(errors.Is(err, dvv.Foreign))
	// Output:
	// {a:1} <nil>
	// dvv: open context of type 1 "carts"/"2": token was issued for another key, type, purpose or cluster
	// true
}
