package recipes

import (
	"context"
	"time"

	cartwheel "github.com/cartwheel-db/cartwheel/sdk"
)

// Logins keeps what a web server knows of people who are logged in: a register for
// each, that nobody sees any more when its time is over.
type Logins struct {
	db  *cartwheel.DB
	ttl time.Duration
}

// NewLogins returns a store of logins that last ttl from their last use.
func NewLogins(db *cartwheel.DB, ttl time.Duration) Logins { return Logins{db, ttl} }

func (l Logins) register(id string) *cartwheel.Register { return l.db.Register("logins", id) }

// Save writes a login, and lets it last anew.
func (l Logins) Save(ctx context.Context, id string, data []byte) error {
	return l.register(id).With(cartwheel.ExpiresIn(l.ttl)).Set(ctx, data)
}

// Load reads a login. found is false where there is none, or none any more.
func (l Logins) Load(ctx context.Context, id string) (data []byte, found bool, err error) {
	value, err := l.register(id).Get(ctx)
	return value.Value, value.Exists, err
}

// End logs out.
func (l Logins) End(ctx context.Context, id string) error { return l.register(id).Delete(ctx) }
