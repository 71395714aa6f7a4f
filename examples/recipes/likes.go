package recipes

import (
	"context"

	cartwheel "github.com/cartwheel-db/cartwheel/sdk"
)

// Likes of a page: who likes it is a set, so that nobody counts twice and a like can
// be taken back. How often it was clapped for, by whomever, is a counter.
type Likes struct {
	by    *cartwheel.Set
	claps *cartwheel.Counter
}

// NewLikes returns the likes of a page.
func NewLikes(db *cartwheel.DB, page string) Likes {
	return Likes{db.Set("liked-by", page), db.Counter("claps", page)}
}

// Like adds a person; who likes the page already changes nothing.
func (l Likes) Like(ctx context.Context, person string) error { return l.by.Add(ctx, person) }

// Unlike takes a like back.
func (l Likes) Unlike(ctx context.Context, person string) error { return l.by.Remove(ctx, person) }

// Count tells how many people like the page. It costs the same for ten as for a
// million.
func (l Likes) Count(ctx context.Context) (uint64, error) { return l.by.Size(ctx) }

// Clap counts applause. Tried again after a timeout it still counts once.
func (l Likes) Clap(ctx context.Context, times int64) error {
	_, err := l.claps.Add(ctx, times)
	return err
}

// Claps tells how often people clapped.
func (l Likes) Claps(ctx context.Context) (int64, error) { return l.claps.Get(ctx) }
