package recipes

import (
	"context"
	"time"

	cartwheel "github.com/cartwheel-db/cartwheel/sdk"
)

// Room tells who is there: a set of people who go by themselves unless they say
// again, in time, that they are there.
type Room struct {
	people *cartwheel.Set
	away   time.Duration
}

// NewRoom returns a room from which people are gone that were not heard of for so
// long.
func NewRoom(db *cartwheel.DB, name string, away time.Duration) Room {
	return Room{db.Set("rooms", name), away}
}

// Here says that somebody is there. Call it three times in the time after which they
// would be away, so that one lost call does not matter.
func (r Room) Here(ctx context.Context, person string) error {
	return r.people.With(cartwheel.ExpiresIn(r.away)).Add(ctx, person)
}

// Leave says that somebody is gone.
func (r Room) Leave(ctx context.Context, person string) error { return r.people.Remove(ctx, person) }

// Present lists who is there.
func (r Room) Present(ctx context.Context) (people []string, err error) {
	for member, err := range r.people.Members(ctx) {
		if err != nil {
			return nil, err
		}
		people = append(people, member.Name)
	}
	return people, nil
}
