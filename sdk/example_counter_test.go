package cartwheel_test

import (
	"errors"
	"fmt"
	"math"

	cartwheel "github.com/cartwheel-db/cartwheel/sdk"
)

func ExampleCounter() {
	db := exampleDB()

	stock := db.Counter("stock", "85123A")
	_, err := stock.Add(ctx, 12)
	if err == nil {
		_, err = stock.Add(ctx, -5)
	}
	left, _ := stock.Get(ctx)
	fmt.Println(left, err)
	// Output: 7 <nil>
}

func ExampleCounter_Reset() {
	visits := exampleDB().Counter("visits", "today")
	_, _ = visits.Add(ctx, 10)

	// What is taken away is told, and nothing else is taken: visits that are counted
	// meanwhile are tomorrow's.
	yesterday, err := visits.Reset(ctx)
	today, _ := visits.Get(ctx)
	fmt.Println(yesterday, today, err)
	// Output: 10 0 <nil>
}

func ExampleCounter_Add_overflow() {
	c := exampleDB().Counter("counters", "large")
	_, _ = c.Add(ctx, math.MaxInt64)
	_, err := c.Add(ctx, 1)
	fmt.Println(errors.Is(err, cartwheel.CounterOverflow))
	// Output: true
}

func ExampleOperation() {
	stock := exampleDB().Counter("stock", "85123A")
	_, err := stock.Add(ctx, 12)

	// No answer until the deadline: ask again under the same id, now or after a
	// restart, and it still counts once.
	var failed *cartwheel.Error
	if errors.Is(err, cartwheel.ErrUnknownOutcome) && errors.As(err, &failed) {
		_, err = stock.With(cartwheel.Operation(failed.OperationID)).Add(ctx, 12)
	}
	fmt.Println(err)
	// Output: <nil>
}
