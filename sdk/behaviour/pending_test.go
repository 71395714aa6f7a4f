package behaviour_test

import (
	"errors"
	"time"

	cartwheel "github.com/cartwheel-db/cartwheel/sdk"
)

// What the client does not have yet.

var errPending = errors.New("the client has no expiry of a call yet")

func expiresAt(time.Time) cartwheel.CallOption { panic(mistake{errPending}) }

func registerExpiry(cartwheel.RegisterValue) time.Time { return time.Time{} }
