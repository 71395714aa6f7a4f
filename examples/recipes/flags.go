package recipes

import (
	"context"

	cartwheel "github.com/cartwheel-db/cartwheel/sdk"
)

// Flags are the feature flags of a deployment: a map of flags. Whoever enables one
// while somebody else disables it wins. Where off has to win, call the flag by what
// it forbids.
type Flags struct{ of *cartwheel.Map }

// NewFlags returns the flags of a deployment.
func NewFlags(db *cartwheel.DB, deployment string) Flags {
	return Flags{db.Map("flags", deployment)}
}

// Switch turns features on and off, all of them at the same moment for everybody.
func (f Flags) Switch(ctx context.Context, on, off []string) error {
	var changes []cartwheel.MapChange
	for _, feature := range on {
		changes = append(changes, cartwheel.Enable(feature))
	}
	for _, feature := range off {
		changes = append(changes, cartwheel.Disable(feature))
	}
	return f.of.Update(ctx, changes...)
}

// On reads all that is on.
func (f Flags) On(ctx context.Context) (map[string]bool, error) {
	shown, err := f.of.Get(ctx)
	return shown.Flags, err
}
