package cartwheel_test

import "fmt"

func ExampleRegister() {
	db := exampleDB()

	color := db.Register("config", "color")
	err := color.Set(ctx, []byte("blue"))
	if err != nil {
		fmt.Println(err)
		return
	}
	value, err := color.Get(ctx)
	fmt.Println(value.Exists, string(value.Value), err)
	// Output: true blue <nil>
}

func ExampleRegister_DeleteWith() {
	db := exampleDB()
	ann, ben := db.Register("config", "color"), db.Register("config", "color")
	_ = ann.Set(ctx, []byte("blue"))

	// Ann deletes the blue that she was shown; Ben's red was written since.
	shown, err := ann.Get(ctx)
	_ = ben.Set(ctx, []byte("red"))
	if err == nil {
		err = ann.DeleteWith(ctx, shown.Context)
	}
	value, _ := ann.Get(ctx)
	fmt.Println(string(value.Value), err)
	// Output: red <nil>
}
