package recipes

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"

	cartwheel "github.com/cartwheel-db/cartwheel/sdk"
)

// Score is what a player has.
type Score struct {
	Player string `json:"player"`
	Points int64  `json:"points"`
}

// Leaderboard keeps the points of a league in a map of counters, and those at its
// top in a register. The store sorts by name and never by value: who wants the top
// reads the league and sorts, or reads what was sorted a moment ago.
type Leaderboard struct {
	points *cartwheel.Map
	top    *cartwheel.Register
}

// NewLeaderboard returns the board of a league, of some thousand players at most.
func NewLeaderboard(db *cartwheel.DB, league string) Leaderboard {
	return Leaderboard{db.Map("points", league), db.Register("top", league)}
}

// Win adds points.
func (l Leaderboard) Win(ctx context.Context, player string, points int64) error {
	return l.points.Update(ctx, cartwheel.Increment(player, points))
}

// Sort reads the whole league, by the page, and sorts it here.
func (l Leaderboard) Sort(ctx context.Context, n int) ([]Score, error) {
	var all []Score
	for field, err := range l.points.Fields(ctx) {
		if err != nil {
			return nil, err
		}
		all = append(all, Score{field.Name, field.Counter})
	}
	slices.SortFunc(all, func(a, b Score) int {
		return cmp.Or(cmp.Compare(b.Points, a.Points), cmp.Compare(a.Player, b.Player))
	})
	return all[:min(n, len(all))], nil
}

// Publish sorts and writes what Top reads: call it every few seconds, from anywhere.
func (l Leaderboard) Publish(ctx context.Context, n int) error {
	top, err := l.Sort(ctx, n)
	if err != nil {
		return err
	}
	text, err := json.Marshal(top)
	if err != nil {
		return err
	}
	return l.top.Set(ctx, text)
}

// Top reads what was published last, whatever the size of the league.
func (l Leaderboard) Top(ctx context.Context) (top []Score, err error) {
	value, err := l.top.Get(ctx)
	if err != nil || !value.Exists {
		return nil, err
	}
	return top, json.Unmarshal(value.Value, &top)
}
