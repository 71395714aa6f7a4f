package recipes

import (
	"context"

	cartwheel "github.com/cartwheel-db/cartwheel/sdk"
)

// Cart is a shopping cart with quantities: a map with a counter for each line.
type Cart struct{ lines *cartwheel.Map }

// NewCart returns the cart of a customer.
func NewCart(db *cartwheel.DB, customer string) Cart {
	return Cart{db.Map("carts", customer)}
}

// Put changes the quantity of an item by so much.
func (c Cart) Put(ctx context.Context, item string, by int64) error {
	return c.lines.Update(ctx, cartwheel.Increment(item, by))
}

// Lines reads the quantities. The context is for what is done on account of them.
func (c Cart) Lines(ctx context.Context) (map[string]int64, cartwheel.Context, error) {
	shown, err := c.lines.Get(ctx)
	return shown.Counters, shown.Context, err
}

// Remove takes a line out, as it was shown. One more that was put in since stays.
func (c Cart) Remove(ctx context.Context, shown cartwheel.Context, item string) error {
	return c.lines.RemoveWith(ctx, shown, cartwheel.Field{Kind: cartwheel.CounterField, Name: item})
}

// CheckOut takes out all that was shown, and leaves what was put in since.
func (c Cart) CheckOut(ctx context.Context, shown cartwheel.Context) error {
	return c.lines.DeleteWith(ctx, shown)
}
