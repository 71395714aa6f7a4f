package cartwheel_test

import (
	"bytes"
	"fmt"
	"slices"
)

func ExampleBlob() {
	db := exampleDB()

	plan := db.Blob("docs", "plan")
	mine, err := plan.Put(ctx, []byte("first draft"), "")
	if err == nil {
		_, err = plan.Put(ctx, []byte("second draft"), mine)
	}
	value, _ := plan.Get(ctx)
	fmt.Printf("%q %v\n", value.Siblings, err)
	// Output: ["second draft"] <nil>
}

func ExampleBlob_Put() {
	db := exampleDB()
	ann, ben := db.Blob("docs", "plan"), db.Blob("docs", "plan")
	_, _ = ann.Put(ctx, []byte("draft"), "")

	// Both were shown the draft, and both replace it: neither is lost.
	shown, _ := ann.Get(ctx)
	_, _ = ann.Put(ctx, []byte("Ann's"), shown.Context)
	_, _ = ben.Put(ctx, []byte("Ben's"), shown.Context)

	value, err := ann.Get(ctx)
	slices.SortFunc(value.Siblings, bytes.Compare)
	fmt.Printf("%q %v\n", value.Siblings, err)
	// Output: ["Ann's" "Ben's"] <nil>
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
