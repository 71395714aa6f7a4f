package cartwheel_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	cartwheel "github.com/cartwheel-db/cartwheel/sdk"
)

var ctx = context.Background()

// exampleAddresses stands for a cluster that listens somewhere.
func exampleAddresses() []string {
	_, nodes := startCluster(3)
	return []string{nodes[0].server.URL, nodes[1].server.URL, nodes[2].server.URL}
}

func exampleDB() *cartwheel.DB {
	db, err := cartwheel.Open(ctx, exampleAddresses())
	if err != nil {
		panic(err)
	}
	return db
}

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

func ExampleSet_RemoveWith() {
	cart := exampleDB().Set("carts", "42")
	_ = cart.Add(ctx, "milk")

	// Take out the milk that was seen, and none that is added meanwhile.
	found, shown, err := cart.ContainsEach(ctx, "milk")
	if err == nil && found[0] {
		err = cart.RemoveWith(ctx, shown, "milk")
	}
	fmt.Println(err)
	// Output: <nil>
}

func ExampleCounter() {
	stock := exampleDB().Counter("stock", "85123A")
	_, _ = stock.Add(ctx, 12)
	left, err := stock.Add(ctx, -5)
	fmt.Println(left, err)
	// Output: 7 <nil>
}

func ExampleBlob_Update() {
	note := exampleDB().Blob("notes", "42")
	_, _ = note.Put(ctx, []byte("milk"), "")
	_, _ = note.Put(ctx, []byte("eggs"), "") // beside the first: it showed no context

	// Keep every line of every sibling, once.
	merged, err := note.Update(ctx, func(siblings [][]byte) ([]byte, error) {
		lines := bytes.Split(bytes.Join(siblings, []byte("\n")), []byte("\n"))
		slices.SortFunc(lines, bytes.Compare)
		return bytes.Join(slices.CompactFunc(lines, bytes.Equal), []byte("\n")), nil
	})
	fmt.Printf("%q %v\n", merged, err)
	// Output: "eggs\nmilk" <nil>
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
